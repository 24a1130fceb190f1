//! Octets that came in pieces and are kept.
//!
//! Place: what `content` keeps of what passes, and what `exchange` holds back or makes a WebSocket message of. A piece is a handle to the buffer it was read into, which may
//! be a thousand times larger than it: whoever sends an octet at a time would have far more memory held than anybody counts. So small pieces
//! are copied together, and only large ones are kept as they are.

use bytes::Bytes;

/// Pieces up to this size are copied.
const COPY_MAX: usize = 4 * 1024;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Pieces {
    done: Vec<Bytes>,
    /// Small ones that came last.
    small: Vec<u8>,
}

impl Pieces {
    /// One more.
    pub fn push(&mut self, piece: Bytes) {
        if piece.len() <= COPY_MAX {
            self.small.extend_from_slice(&piece);
        } else {
            self.close();
            self.done.push(piece);
        }
    }

    /// All of them as one.
    pub fn octets(&self) -> Bytes {
        self.clone().into_octets()
    }

    /// The same, without a copy of what is one already.
    pub fn into_octets(self) -> Bytes {
        let mut all = self.into_vec();
        match all.len() {
            0 | 1 => all.pop().unwrap_or_default(),
            _ => all.concat().into(),
        }
    }

    /// Fewer, maybe, than they came in.
    pub fn into_vec(mut self) -> Vec<Bytes> {
        self.close();
        self.done
    }

    fn close(&mut self) {
        if !self.small.is_empty() {
            // Without the room that was made for more.
            self.done.push(std::mem::take(&mut self.small).into_boxed_slice().into());
        }
    }
}

impl From<Bytes> for Pieces {
    fn from(whole: Bytes) -> Self {
        Self { done: vec![whole], small: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_piece_holds_on_to_no_buffer_and_a_large_one_is_not_copied() {
        let buffer = Bytes::from(vec![b'x'; 64 * 1024]);
        let mut pieces = Pieces::default();

        for at in 0..1000 {
            pieces.push(buffer.slice(at..at + 1));
        }
        let alone = buffer.is_unique();
        pieces.push(buffer.slice(..=COPY_MAX));
        pieces.push(buffer.slice(..3));

        assert!(alone && !buffer.is_unique());
        assert_eq!(pieces.octets().len(), 1000 + COPY_MAX + 1 + 3);
        let parts = pieces.into_vec();
        assert_eq!(parts.iter().map(Bytes::len).collect::<Vec<_>>(), [1000, COPY_MAX + 1, 3]);
        assert_eq!(parts[1].as_ptr(), buffer.as_ptr());
    }

    #[test]
    fn octets_come_in_the_order_of_their_pieces() {
        let large = "l".repeat(COPY_MAX + 1);
        for cut in [vec![], vec!["a"], vec!["a", "b"], vec![&large], vec![&large, "a"], vec!["a", &large], vec![&large, &large, "a", "b"]] {
            let mut pieces = Pieces::default();
            cut.iter().for_each(|piece| pieces.push(Bytes::copy_from_slice(piece.as_bytes())));

            assert_eq!((pieces.octets(), pieces.clone().into_octets()), (cut.concat().into(), cut.concat().into()));
            assert_eq!(pieces.into_vec().concat(), cut.concat().into_bytes());
        }
    }
}
