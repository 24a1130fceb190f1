//! Octets that captured content takes in all, over all flows.
//!
//! Place: made by `app`, handed to each flow by `exchange`; content takes from it while it passes and gives back when nobody holds it any more.
//! So it bounds what waits for observers, too.
//! Policy when full: newer content is kept with less or none, and counts as cut short; nothing that passes is held up for it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// What a piece takes besides its octets, at most: its handle, or room that was made for more of its kind.
const PIECE: usize = 64;

/// See the module. Clones are the same budget.
#[derive(Clone, Debug)]
pub struct CaptureBudget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limit: usize,
    taken: AtomicUsize,
    /// Said already.
    is_full: AtomicBool,
}

impl CaptureBudget {
    /// At most so many octets.
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Inner { limit, taken: AtomicUsize::new(0), is_full: AtomicBool::new(false) }))
    }

    /// Octets that are taken now.
    pub fn taken(&self) -> usize {
        self.0.taken.load(Ordering::Relaxed)
    }

    /// As many of those octets as there are.
    fn take(&self, wanted: usize) -> usize {
        let room = |taken: usize| self.0.limit.saturating_sub(taken).min(wanted);
        let before = self.0.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| Some(taken + room(taken)));
        let granted = room(before.unwrap_or(self.0.limit));
        if granted < wanted && !self.0.is_full.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                octets = self.0.limit,
                "captured content takes all it may (limits.captured): plugins see newer content cut short, traffic goes on"
            );
        }
        granted
    }

    fn give_back(&self, octets: usize) {
        let before = self.0.taken.fetch_sub(octets, Ordering::Relaxed);
        // Not at each piece that comes and goes around the limit.
        if before.saturating_sub(octets) < self.0.limit / 2 {
            self.0.is_full.store(false, Ordering::Relaxed);
        }
    }
}

/// What one content, or all messages held of one flow, have taken; all clones of that content share it.
#[derive(Debug)]
pub struct Charge {
    budget: CaptureBudget,
    octets: AtomicUsize,
}

impl Charge {
    /// Nothing is taken yet.
    pub fn new(budget: CaptureBudget) -> Arc<Self> {
        Arc::new(Self { budget, octets: AtomicUsize::new(0) })
    }

    /// How many octets of a piece may be kept.
    pub(super) fn piece(&self, octets: usize) -> usize {
        self.take(octets + PIECE).saturating_sub(PIECE)
    }

    /// As many of those octets as there are.
    pub fn take(&self, wanted: usize) -> usize {
        let granted = self.budget.take(wanted);
        self.octets.fetch_add(granted, Ordering::Relaxed);
        granted
    }

    /// So many of the octets that it took are held no longer.
    pub fn give_back(&self, octets: usize) {
        self.octets.fetch_sub(octets, Ordering::Relaxed);
        self.budget.give_back(octets);
    }

    /// Content that has to be kept whole: what is captured has the less.
    pub fn whole(&self, octets: usize) {
        self.budget.0.taken.fetch_add(octets, Ordering::Relaxed);
        self.octets.fetch_add(octets, Ordering::Relaxed);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.give_back(*self.octets.get_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back_with_the_last_who_holds_it() {
        let budget = CaptureBudget::new(1000);
        let (first, second) = (Charge::new(budget.clone()), Charge::new(budget.clone()));

        assert_eq!([first.piece(500), second.piece(500), second.piece(10)], [500, 1000 - 564 - PIECE, 0]);
        let other = first.clone();
        drop(first);
        assert_eq!(budget.taken(), 1000);
        drop(other);
        assert_eq!(budget.taken(), 1000 - 564);
        drop(second);
        assert_eq!(budget.taken(), 0);
    }

    #[test]
    fn what_must_be_whole_leaves_less_to_the_rest() {
        let budget = CaptureBudget::new(1000);
        let (held, captured) = (Charge::new(budget.clone()), Charge::new(budget.clone()));

        held.whole(5000);

        assert_eq!((captured.piece(1), budget.taken()), (0, 5000));
        drop((held, captured));
        assert_eq!(budget.taken(), 0);
    }
}
