//! Content codings under random edits: the same content however it came, or an error.

use std::io::Write;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder, write::ZlibEncoder};

use super::{Fields, decoder::Decoder};
use crate::fuzzing::fuzz;

/// More than that is not asked for; a bomb would give it.
const ENOUGH: usize = 1 << 20;

const CODINGS: [&str; 5] = ["gzip", "deflate", "br", "zstd", "gzip, br"];

/// What comes of it; `None`: an error; cut off behind so much.
fn decoded(coding: &str, octets: &[u8], step: usize) -> Option<Vec<u8>> {
    let mut fields = Fields::default();
    fields.push("content-encoding", coding);
    let mut decoder = Decoder::of(&fields).ok()??;
    let mut content = Vec::new();
    for piece in octets.chunks(step) {
        decoder.feed(Bytes::copy_from_slice(piece));
        while let Some(piece) = decoder.piece().ok()? {
            assert!(!piece.is_empty());
            content.extend_from_slice(&piece);
            if content.len() >= ENOUGH {
                content.truncate(ENOUGH);
                return Some(content);
            }
        }
    }
    decoder.finish().ok()?;
    Some(content)
}

#[test]
fn content_codings() {
    let text = b"data: one, two, three, one, two, three\n\n".repeat(8);
    let mut gzip = GzEncoder::new(vec![0], Compression::best());
    gzip.write_all(&text).expect("memory");
    let mut zlib = ZlibEncoder::new(vec![1], Compression::fast());
    zlib.write_all(&text).expect("memory");
    let mut brotli = vec![2];
    brotli::CompressorWriter::new(&mut brotli, 4096, 5, 18).write_all(&text).expect("memory");
    let zstd = [&[3][..], &zstd::bulk::compress(&text, 3).expect("memory")].concat();
    let (gzip, zlib) = (gzip.finish().expect("memory"), zlib.finish().expect("memory"));
    let words: &[&[u8]] =
        &[b"\x1f\x8b\x08\x00", b"\x78\x9c", b"\x28\xb5\x2f\xfd", b"\0\0\xff\xff", b"\0", b"\xff", b"\x03\x00\0\0\0\0\0\0\0\0"];
    fuzz("content_codings", &[&gzip, &zlib, &brotli, &zstd], words, |input| {
        let Some((kind, octets)) = input.split_first() else { return "none".to_owned() };
        let coding = CODINGS[usize::from(*kind) % CODINGS.len()];
        let whole = decoded(coding, octets, usize::MAX);
        for step in [1, 3, 50] {
            assert_eq!(decoded(coding, octets, step).is_some(), whole.is_some(), "{coding} by {step}");
            assert!(decoded(coding, octets, step) == whole, "{coding} by {step}");
        }
        format!("{coding} {:?}", whole.map(|content| content.len().min(500)))
    });
}
