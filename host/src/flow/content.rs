//! What is kept of a message's content while it passes.
//!
//! Place: filled by `exchange::tee` with the pieces that go on to the other side; read after the end by plugins.
//! Source: RFC 9110 §6.4.

use std::sync::Arc;

use bytes::Bytes;

use super::{CaptureBudget, Decoded, Fields, Pieces, budget::Charge, decode};

/// Captured content: pieces, in order, up to a limit.
#[derive(Clone, Debug, Default)]
pub struct Content {
    pieces: Pieces,
    kept: usize,
    limit: usize,
    /// The budget had no more: nothing is kept from there on, even when there is room again, for what is kept has no holes.
    is_full: bool,
    seen: u64,
    /// What readers get instead of what was kept.
    shown: Option<Decoded>,
    /// What it takes of what all may; `None`: it is not counted.
    charge: Option<Arc<Charge>>,
}

impl Content {
    /// Keeps up to `limit` octets; 0 keeps nothing and still counts.
    pub fn keeping(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    /// The same, counted in a budget: where that is used up, no more is kept.
    pub fn keeping_within(limit: usize, budget: Option<&CaptureBudget>) -> Self {
        Self { limit, charge: budget.cloned().map(Charge::new), ..Self::default() }
    }

    /// Complete content that was held back or made here.
    pub fn whole(octets: Bytes) -> Self {
        Self { kept: octets.len(), limit: octets.len(), seen: octets.len() as u64, pieces: octets.into(), ..Self::default() }
    }

    /// The same, counted in a budget, whether that has room for it or not.
    pub fn whole_within(octets: Bytes, budget: Option<&CaptureBudget>) -> Self {
        let charge = budget.cloned().map(Charge::new);
        if let Some(charge) = &charge {
            charge.whole(octets.len());
        }
        Self { charge, ..Self::whole(octets) }
    }

    /// The same content, of which readers get `shown` in place of what was kept.
    pub fn showing(&self, shown: Decoded) -> Self {
        let (pieces, charge) = (shown.octets.clone().into(), self.charge.clone());
        Self { pieces, shown: Some(shown), charge, ..*self }
    }

    /// Takes note of a piece that passes.
    pub fn pass(&mut self, piece: &Bytes) {
        self.seen += piece.len() as u64;
        let room = self.limit - self.kept;
        if room == 0 || self.is_full || piece.is_empty() {
            return;
        }
        let mut len = piece.len().min(room);
        if let Some(charge) = &self.charge {
            let granted = charge.piece(len);
            (self.is_full, len) = (granted < len, granted);
        }
        if len == 0 {
            return;
        }
        let piece = if piece.len() == len { piece.clone() } else { piece.slice(..len) };
        self.kept += piece.len();
        self.pieces.push(piece);
    }

    /// So many octets more passed, and nobody has them any more. Nothing is kept from there on.
    pub fn miss(&mut self, octets: u64) {
        self.seen += octets;
        self.is_full |= octets > 0;
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
        self.pieces.octets()
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

    #[test]
    fn capture_stops_for_good_where_all_flows_take_too_much() {
        let budget = CaptureBudget::new(200);
        let other = Content::whole_within(Bytes::from(vec![0; 130]), Some(&budget));
        let mut content = Content::keeping_within(1000, Some(&budget));

        content.pass(&Bytes::from("abcdefgh"));
        drop(other);
        content.pass(&Bytes::from("ijk"));

        assert_eq!((content.octets().as_ref(), content.seen(), content.is_cut()), (b"abcdef".as_ref(), 11, true));
        drop(content);
        assert_eq!(budget.taken(), 0);
    }

    #[test]
    fn content_of_which_nothing_could_be_kept_counts_as_truncated_where_somebody_wanted_it() {
        let budget = CaptureBudget::new(100);
        let _other = Content::whole_within(Bytes::from(vec![0; 100]), Some(&budget));

        let [wanted, unwanted] = [1000, 0].map(|limit| {
            let mut content = Content::keeping_within(limit, Some(&budget));
            content.pass(&Bytes::from("abc"));
            content
        });

        assert!(wanted.octets().is_empty() && wanted.is_truncated() && !unwanted.is_truncated());
    }
}
