//! From messages to the octets of one direction, in frames of our own.
//!
//! Place: where a filter may change what passes. Once one message was changed, the coding of all later ones is ours as well: a receiver
//! that keeps its context inflates what we compressed, and never what the sender did.
//! Source: RFC 6455 §5.3 and §5.4, RFC 7692 §7.2.1.

use bytes::BytesMut;
use rustls::crypto::{SecureRandom, aws_lc_rs};

use super::{
    deflate::Deflater,
    extensions::Side,
    frame::{Head, Opcode, mask},
};
use crate::flow::Direction;

/// Keys fetched at a time: asking the system's generator for each frame would cost more than the frame.
const KEYS: usize = 64;

/// Writes one direction.
pub(super) struct Encoder {
    deflater: Option<Deflater>,
    keys: Option<Keys>,
}

impl Encoder {
    /// `deflate`: how who sends in that direction compresses, if it may.
    pub(super) fn new(of: Direction, deflate: Option<Side>) -> Self {
        let keys = match of {
            // RFC 6455 §5.1: what goes to a server is masked, what goes to a client never.
            Direction::Request => Some(Keys::new()),
            Direction::Response => None,
        };
        Self { deflater: deflate.map(Deflater::new), keys }
    }

    /// A whole message; compressed if it `was`, and if that can be done within what was agreed on.
    pub(super) fn message(&mut self, out: &mut BytesMut, is_text: bool, was_compressed: bool, content: &[u8]) {
        let deflated = self.deflater.as_mut().filter(|_| was_compressed).and_then(|deflater| deflater.message(content));
        let opcode = if is_text { Opcode::Text } else { Opcode::Binary };
        match deflated {
            Some(octets) => self.frame(out, true, true, opcode, &octets),
            None => self.frame(out, true, false, opcode, content),
        }
    }

    /// A piece of a message that is too long to be held.
    pub(super) fn piece(&mut self, out: &mut BytesMut, opcode: Opcode, is_last: bool, content: &[u8]) {
        self.frame(out, is_last, false, opcode, content);
    }

    /// A control frame; at most 125 octets.
    pub(super) fn control(&mut self, out: &mut BytesMut, opcode: Opcode, content: &[u8]) {
        self.frame(out, true, false, opcode, content);
    }

    fn frame(&mut self, out: &mut BytesMut, is_last: bool, is_compressed: bool, opcode: Opcode, content: &[u8]) {
        let key = self.keys.as_mut().map(Keys::next);
        Head { is_last, is_compressed, opcode, mask: key, len: content.len() as u64 }.put(out);
        let at = out.len();
        out.extend_from_slice(content);
        if let Some(key) = key {
            mask(&mut out[at..], key, 0);
        }
    }
}

/// Keys that nobody can foresee (RFC 6455 §10.3).
struct Keys {
    random: &'static dyn SecureRandom,
    fresh: [[u8; 4]; KEYS],
    left: usize,
}

impl Keys {
    fn new() -> Self {
        Self { random: aws_lc_rs::default_provider().secure_random, fresh: [[0; 4]; KEYS], left: 0 }
    }

    fn next(&mut self) -> [u8; 4] {
        if self.left == 0 {
            // The library's generator seeds itself at start-up, which TLS would not have come through without.
            self.random.fill(self.fresh.as_flattened_mut()).expect("the generator is seeded");
            self.left = KEYS;
        }
        self.left -= 1;
        self.fresh[self.left]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::websocket::decode::{Decoder, Event};

    const SIDE: Side = Side { forgets: false, window_bits: 15 };

    #[test]
    fn what_is_written_is_read_again_whatever_stood_between() {
        for of in [Direction::Request, Direction::Response] {
            let (mut encoder, mut decoder, mut out) = (Encoder::new(of, Some(SIDE)), Decoder::new(Some(SIDE), 1 << 20), BytesMut::new());
            encoder.message(&mut out, true, true, b"one and one and one");
            encoder.control(&mut out, Opcode::Ping, b"p");
            encoder.message(&mut out, false, false, b"two");
            encoder.piece(&mut out, Opcode::Text, false, b"thr");
            encoder.piece(&mut out, Opcode::Continuation, true, b"ee");
            encoder.message(&mut out, true, true, b"one and one and one");

            let mut read = Vec::new();
            while let Some(event) = decoder.next(&mut out).expect("readable") {
                match event {
                    Event::Data(octets) => read.extend_from_slice(&octets),
                    Event::End => read.push(if decoder.was_compressed() { b'!' } else { b'.' }),
                    Event::Control(opcode, _) => assert_eq!(opcode, Opcode::Ping),
                }
            }
            assert_eq!(String::from_utf8_lossy(&read), "one and one and one!two.three.one and one and one!");
        }
    }

    #[test]
    fn every_frame_to_a_server_has_a_key_of_its_own() {
        let (mut encoder, mut keys) = (Encoder::new(Direction::Request, None), std::collections::HashSet::new());
        for _ in 0..200 {
            let mut out = BytesMut::new();
            encoder.control(&mut out, Opcode::Pong, b"");
            keys.insert(Head::parse(&out).expect("a frame").expect("whole").0.mask.expect("masked"));
        }
        assert!(keys.len() > 190, "{} keys", keys.len());

        let mut out = BytesMut::new();
        Encoder::new(Direction::Response, None).message(&mut out, true, true, b"hi");
        assert_eq!(&out[..], b"\x81\x02hi");
    }
}
