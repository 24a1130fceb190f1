//! Compressing and inflating messages.
//!
//! Place: inside `decode` and `encode`.
//! Source: RFC 7692 §7.2, RFC 1951.

use bytes::{Buf, Bytes};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::extensions::Side;

/// What a sender leaves out at the end of each message (RFC 7692 §7.2.1).
const TAIL: &[u8] = &[0, 0, 0xff, 0xff];
/// Octets inflated at a time.
const STEP: usize = 64 * 1024;
/// The window that the compressor at hand has and no other.
const WINDOW_BITS: u8 = 15;

/// What came is not what a compressor makes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a message that does not inflate")]
pub(super) struct NotDeflated;

/// Inflates the messages of one direction. A window of 32 KiB does for all smaller ones.
pub(super) struct Inflater {
    state: Decompress,
    forgets: bool,
    input: Bytes,
    /// The last step filled its room: there may be more without input.
    has_more: bool,
    room: Box<[u8]>,
}

impl Inflater {
    pub(super) fn new(side: Side) -> Self {
        Self {
            state: Decompress::new(false),
            forgets: side.forgets,
            input: Bytes::new(),
            has_more: false,
            room: vec![0; STEP].into_boxed_slice(),
        }
    }

    /// More of a message; what was pushed before must have been pulled.
    pub(super) fn push(&mut self, octets: Bytes) {
        debug_assert!(self.input.is_empty());
        self.input = octets;
    }

    /// The message is whole.
    pub(super) fn push_tail(&mut self) {
        self.push(Bytes::from_static(TAIL));
    }

    /// The next octets that what was pushed makes, at most 64 KiB; `None`: all are out.
    pub(super) fn pull(&mut self) -> Result<Option<Bytes>, NotDeflated> {
        while self.has_more || !self.input.is_empty() {
            let (read, written) = (self.state.total_in(), self.state.total_out());
            let status = self.state.decompress(&self.input, &mut self.room, FlushDecompress::None).map_err(|_| NotDeflated)?;
            let read = (self.state.total_in() - read) as usize;
            let written = (self.state.total_out() - written) as usize;
            self.input.advance(read);
            self.has_more = written == self.room.len();
            if status == Status::StreamEnd {
                // RFC 7692 §7.2.3.4: a sender may end its stream with every message; what follows begins another.
                self.state.reset(false);
                self.has_more = false;
            } else if read == 0 && written == 0 && !self.input.is_empty() {
                return Err(NotDeflated);
            }
            if written > 0 {
                return Ok(Some(Bytes::copy_from_slice(&self.room[..written])));
            }
        }
        Ok(None)
    }

    /// The tail has been pulled: the next message begins.
    pub(super) fn end_message(&mut self) {
        if self.forgets {
            self.state.reset(false);
        }
    }
}

/// Compresses the messages of one direction.
pub(super) struct Deflater {
    state: Compress,
    side: Side,
}

impl Deflater {
    pub(super) fn new(side: Side) -> Self {
        Self { state: Compress::new(Compression::fast(), false), side }
    }

    /// A whole message compressed; `None`: it is to be sent as it is (RFC 7692 §6: any message may be).
    pub(super) fn message(&mut self, octets: &[u8]) -> Option<Vec<u8>> {
        // A smaller window is kept to by messages that fit into it and refer to nothing before them.
        let is_small = self.side.window_bits < WINDOW_BITS;
        if octets.is_empty() || (is_small && octets.len() > 1 << self.side.window_bits) {
            return None;
        }
        if self.side.forgets || is_small {
            self.state.reset();
        }
        let mut out = Vec::with_capacity(octets.len() / 2 + 64);
        let begin = self.state.total_in();
        loop {
            let read = (self.state.total_in() - begin) as usize;
            let full = out.len();
            // It writes into the vector's room and never beyond it.
            let status = self.state.compress_vec(&octets[read..], &mut out, FlushCompress::Sync);
            let is_done = (self.state.total_in() - begin) as usize == octets.len() && out.len() < out.capacity();
            match status {
                Ok(_) if is_done => break,
                Ok(_) if out.len() > full || out.len() == out.capacity() => out.reserve(octets.len() / 2 + 64),
                // It neither reads nor writes: the window is of no use any more, and the peer's must be like it.
                Ok(_) | Err(_) => {
                    self.state.reset();
                    return None;
                }
            }
        }
        if !out.ends_with(TAIL) {
            // Nobody will inflate it, so nothing may refer to it.
            self.state.reset();
            return None;
        }
        out.truncate(out.len() - TAIL.len());
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEPS: Side = Side { forgets: false, window_bits: 15 };
    const FORGETS: Side = Side { forgets: true, window_bits: 15 };

    fn inflate(inflater: &mut Inflater, octets: &[u8]) -> Result<Vec<u8>, NotDeflated> {
        let mut out = Vec::new();
        inflater.push(Bytes::copy_from_slice(octets));
        while let Some(piece) = inflater.pull()? {
            out.extend_from_slice(&piece);
        }
        inflater.push_tail();
        while let Some(piece) = inflater.pull()? {
            out.extend_from_slice(&piece);
        }
        inflater.end_message();
        Ok(out)
    }

    #[test]
    fn the_examples_of_the_rfc_inflate() {
        let table: [&[&[u8]]; 4] = [
            &[&[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]],
            // The second refers to the first.
            &[&[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], &[0xf2, 0x00, 0x11, 0x00, 0x00]],
            // A block without compression; a last block.
            &[&[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00]],
            &[&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00], &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00]],
        ];
        for messages in table {
            let mut inflater = Inflater::new(KEEPS);
            for message in messages {
                assert_eq!(inflate(&mut inflater, message), Ok(b"Hello".to_vec()), "{message:02x?}");
            }
        }
    }

    #[test]
    fn messages_of_all_sizes_come_back_under_every_agreement() {
        let text: Vec<u8> = (0..300_000_u32).map(|at| (at.wrapping_mul(at) / 7 % 61) as u8 + 32).collect();
        for side in [KEEPS, FORGETS, Side { window_bits: 9, ..KEEPS }, Side { window_bits: 8, ..FORGETS }] {
            let (mut deflater, mut inflater) = (Deflater::new(side), Inflater::new(side));
            for len in [1, 2, 100, 256, 257, 512, 513, 4096, 65_535, 65_536, 65_537, 131_072, 300_000, 5] {
                let message = &text[..len];
                let Some(deflated) = deflater.message(message) else {
                    assert!(side.window_bits < 15 && len > 1 << side.window_bits, "{side:?} {len}");
                    continue;
                };
                assert_eq!(inflate(&mut inflater, &deflated).as_deref(), Ok(message), "{side:?} {len}");
            }
            assert_eq!(deflater.message(b""), None);
        }
    }

    #[test]
    fn what_repeats_costs_little_with_the_context_kept() {
        let noise: Vec<u8> = (0..2000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for (side, expected) in [(KEEPS, true), (FORGETS, false)] {
            let mut deflater = Deflater::new(side);

            let first = deflater.message(&noise).expect("compressed").len();
            let second = deflater.message(&noise).expect("compressed").len();

            assert_eq!(second < first / 4, expected, "{side:?}: {first} {second}");
        }
    }

    #[test]
    fn nonsense_does_not_inflate() {
        for octets in [&[0xff; 20][..], &[0x07, 0, 0], &[0x01, 0x05, 0x00, 0x00, 0x00]] {
            assert_eq!(inflate(&mut Inflater::new(KEEPS), octets), Err(NotDeflated), "{octets:02x?}");
        }
    }
}
