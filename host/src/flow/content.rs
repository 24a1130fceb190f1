//! What is kept of a message's content while it passes.
//!
//! Place: filled by `exchange::tee` with handles to the very buffers that go on to the other side; read after the end by plugins.
//! Source: RFC 9110 §6.4.

use bytes::Bytes;

use super::{Decoded, Fields, decode};

/// Captured content: handles, in order, up to a limit.
#[derive(Clone, Debug, Default)]
pub struct Content {
    segments: Vec<Bytes>,
    kept: usize,
    limit: usize,
    seen: u64,
    /// What readers get instead of what was kept.
    shown: Option<Decoded>,
}

impl Content {
    /// Keeps up to `limit` octets; 0 keeps nothing and still counts.
    pub fn keeping(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Complete content that was held back or made here.
    pub fn whole(octets: Bytes) -> Self {
        Self { kept: octets.len(), limit: octets.len(), seen: octets.len() as u64, segments: vec![octets], shown: None }
    }

    /// The same content, of which readers get `shown` in place of what was kept.
    pub fn showing(&self, shown: Decoded) -> Self {
        Self { segments: vec![shown.octets.clone()], kept: self.kept, limit: self.limit, seen: self.seen, shown: Some(shown) }
    }

    /// Takes note of a piece that passes. Clones the handle, never the octets.
    pub fn pass(&mut self, piece: &Bytes) {
        self.seen += piece.len() as u64;
        let room = self.limit - self.kept;
        if room == 0 || piece.is_empty() {
            return;
        }
        let piece = if piece.len() <= room { piece.clone() } else { piece.slice(..room) };
        self.kept += piece.len();
        self.segments.push(piece);
    }

    /// Octets that passed on the wire.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Octets kept, content codings still on.
    pub fn kept(&self) -> usize {
        self.kept
    }

    /// The limit cut it short.
    pub fn is_cut(&self) -> bool {
        self.seen > self.kept as u64
    }

    /// Somebody wanted it, and got a part only.
    pub fn is_truncated(&self) -> bool {
        self.limit > 0 && self.is_cut()
    }

    /// The kept octets as one piece.
    pub fn octets(&self) -> Bytes {
        match self.segments.as_slice() {
            [] => Bytes::new(),
            [one] => one.clone(),
            many => many.concat().into(),
        }
    }

    /// The kept octets with the content codings undone that `fields` names, at most `max` octets of them.
    pub fn decoded(&self, fields: &Fields, max: usize) -> Decoded {
        match &self.shown {
            Some(shown) if shown.octets.len() > max => Decoded { octets: shown.octets.slice(..max), truncated: true, trouble: None },
            Some(shown) => shown.clone(),
            None => decode(fields, self.octets(), self.is_cut(), max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capture_stops_at_its_limit_and_counts_on() {
        let mut content = Content::keeping(5);

        for piece in ["abc", "def", "ghi"] {
            content.pass(&Bytes::from(piece));
        }

        assert_eq!((content.octets().as_ref(), content.seen(), content.is_cut()), (b"abcde".as_ref(), 9, true));
    }
}
