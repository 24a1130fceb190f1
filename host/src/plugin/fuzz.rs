//! Server-sent events under random edits: nothing is lost, and the events do not depend on how they arrived.

use bytes::Bytes;

use super::cutter::Cutter;
use crate::fuzzing::fuzz;

fn cut(octets: &[u8], step: usize, most: usize) -> Vec<Bytes> {
    let (mut cutter, mut chunks) = (Cutter::new(Some(most)), Vec::new());
    for piece in octets.chunks(step) {
        cutter.feed(Bytes::copy_from_slice(piece));
        while let Some(chunk) = cutter.next() {
            chunks.push(chunk);
        }
    }
    while let Some(chunk) = cutter.rest() {
        chunks.push(chunk);
    }
    assert!(chunks.iter().all(|chunk| !chunk.is_empty()), "an empty chunk");
    assert_eq!(chunks.concat(), octets, "by {step}, at most {most}");
    chunks
}

/// The events with one kind of line end. An LF that came after its CR had gone belongs to the event before.
fn events(chunks: &[Bytes]) -> Vec<Vec<u8>> {
    let mut events = Vec::new();
    let mut after_cr = false;
    for chunk in chunks {
        let octets = if after_cr { chunk.strip_prefix(b"\n").unwrap_or(chunk) } else { chunk };
        after_cr = chunk.ends_with(b"\r");
        let text: Vec<u8> = String::from_utf8_lossy(octets).replace("\r\n", "\n").replace('\r', "\n").into_bytes();
        if !text.is_empty() {
            events.push(text);
        }
    }
    events
}

#[test]
fn sse_splitting() {
    let seeds: &[&[u8]] = &[
        b"data: one\n\ndata: two\ndata: more\n\n: comment\n\n",
        b"event: x\r\ndata: one\r\n\r\ndata: two\r\n\r\n",
        b"data: one\r\rdata: two\r\r",
        b"\xef\xbb\xbfid: 1\n\nretry: 5",
    ];
    let words: &[&[u8]] =
        &[b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\n\n", b"\r\r", b"data: ", b"data", b":", b"event: x", b"\n\r", b"\xef\xbb\xbf"];
    fuzz("sse_splitting", seeds, words, |input| {
        let whole = events(&cut(input, usize::MAX, 1 << 20));
        for step in [1, 2, 3, 10] {
            assert_eq!(events(&cut(input, step, 1 << 20)), whole, "by {step}");
            cut(input, step, 4);
        }
        format!("{}", whole.len().min(30))
    });
}
