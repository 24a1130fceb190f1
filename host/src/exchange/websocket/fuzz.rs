//! Frames under random edits: the same messages however they are cut.

use bytes::BytesMut;

use super::{
    borders::Borders,
    decode::{Decoder, Event},
    extensions::Side,
    frame::Head,
};
use crate::fuzzing::fuzz;

const STEPS: [usize; 4] = [1, 2, 5, 33];

/// More than any message here is; less than what a bomb would be.
const LIMIT: u64 = 1 << 20;

/// What was said, and whether all of it could be read.
fn read(octets: &[u8], step: usize, deflate: Option<Side>) -> (Vec<String>, bool) {
    let (mut decoder, mut input, mut said) = (Decoder::new(deflate, LIMIT), BytesMut::new(), Vec::new());
    let mut message: Vec<u8> = Vec::new();
    for piece in octets.chunks(step.min(octets.len().max(1))) {
        input.extend_from_slice(piece);
        loop {
            match decoder.next(&mut input) {
                Ok(Some(Event::Data(data))) => message.extend_from_slice(&data),
                Ok(Some(Event::End)) => {
                    said.push(format!("{} {}", decoder.is_text(), message.escape_ascii()));
                    message.clear();
                }
                Ok(Some(other)) => said.push(format!("{other:?}")),
                Ok(None) => break,
                Err(_) => return (said, false),
            }
            assert!(message.len() as u64 <= LIMIT + 64 * 1024, "a bomb");
        }
    }
    said.push(format!("open: {}", message.len()));
    (said, true)
}

#[test]
fn websocket_frames() {
    let seeds: &[&[u8]] = &[
        b"-\x81\x05hello\x82\x00\x89\x02hi\x88\x02\x03\xe9",
        b"-\x81\x85\x01\x02\x03\x04igohn\x01\x03abc\x80\x01d",
        b"d\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\xc1\x05\xf2\x00\x11\x00\x00",
        b"d\x41\x03\xf2\x48\xcd\x80\x04\xc9\xc9\x07\x00",
        b"-\x82\x7e\x00\x80xxxxxxxxxxxxxxxx",
    ];
    let words: &[&[u8]] = &[
        b"\x81",
        b"\x01",
        b"\x80",
        b"\x00",
        b"\xc1",
        b"\x88\x02\x03\xe8",
        b"\x89\x00",
        b"\x8a\x00",
        b"\x7e\x00\x10",
        b"\x7f\x00\x00\x00\x00\x00\x00\x00\x04",
        b"\x7f\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xf2\x48\xcd\xc9\xc9\x07\x00",
        b"\x00\x00\xff\xff",
        b"\xff",
    ];
    fuzz("websocket_frames", seeds, words, |input| {
        let (kind, octets) = input.split_first().map_or((b'-', input), |(first, rest)| (*first, rest));
        let deflate = match kind {
            b'd' => Some(Side { forgets: false, window_bits: 15 }),
            b'f' => Some(Side { forgets: true, window_bits: 9 }),
            _ => None,
        };
        let whole = read(octets, usize::MAX, deflate);
        for step in STEPS {
            let cut = read(octets, step, deflate);
            // What is lost with an error may have been said before it, or not.
            assert!(cut == whole || !(cut.1 || whole.1), "cut by {step}: {cut:?} for {whole:?}");
        }
        let room = |step: usize| {
            let mut borders = Borders::default();
            octets.chunks(step).for_each(|piece| borders.passed(piece));
            borders.is_between_frames()
        };
        let between = room(usize::MAX);
        assert!(STEPS.into_iter().all(|step| room(step) == between), "where a frame ends depends on how it is cut");
        if let Ok(Some((head, len))) = Head::parse(octets) {
            let mut written = BytesMut::new();
            head.put(&mut written);
            assert!(written.len() <= len);
            assert_eq!(Head::parse(&written), Ok(Some((head, written.len()))));
        }
        format!("{} {} {between}", whole.0.len().min(8), whole.1)
    });
}
