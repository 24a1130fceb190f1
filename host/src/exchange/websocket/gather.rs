//! A message while its pieces come.
//!
//! Place: between `decode` and whoever wants whole messages. Keeps up to a limit, counts beyond.

use bytes::Bytes;

use crate::flow::Pieces;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Gather {
    limit: usize,
    pieces: Pieces,
    length: u64,
}

impl Gather {
    /// Keeps up to `limit` octets of each message.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    /// One more piece.
    pub(super) fn add(&mut self, octets: &Bytes) {
        let room = self.limit.saturating_sub(usize::try_from(self.length).unwrap_or(usize::MAX));
        self.pieces.push(octets.slice(..octets.len().min(room)));
        self.length += octets.len() as u64;
    }

    /// Octets so far, kept or not.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The first `len` octets of the message in progress, which must be within the limit.
    pub(super) fn begin(&self, len: u64) -> Bytes {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        self.pieces.octets().slice(..len)
    }

    /// What was kept, and how much there was; the next message begins.
    pub(super) fn take(&mut self) -> (Bytes, u64) {
        (std::mem::take(&mut self.pieces).into_octets(), std::mem::take(&mut self.length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_kept_up_to_the_limit_and_counted_beyond() {
        let table: [(usize, &[&str], &str, u64); 6] = [
            (10, &[], "", 0),
            (10, &["one"], "one", 3),
            (10, &["one", "", "two"], "onetwo", 6),
            (5, &["one", "two", "three"], "onetw", 11),
            (2, &["one", "two"], "on", 6),
            (0, &["one"], "", 3),
        ];
        for (limit, pieces, kept, length) in table {
            let mut gather = Gather::new(limit);
            for _ in 0..2 {
                pieces.iter().for_each(|piece| gather.add(&Bytes::copy_from_slice(piece.as_bytes())));
                assert_eq!((gather.length(), gather.take()), (length, (Bytes::copy_from_slice(kept.as_bytes()), length)), "{pieces:?}");
            }
        }
    }
}
