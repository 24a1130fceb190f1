//! So many a second, and some more at once: turns of whatever could be asked for without end.
//!
//! Place: where one client could make the proxy do something over and over. Knows only instants, so its tests need no clock.
//! Source: the generic cell rate algorithm (ITU-T I.371, appendix 1): one instant is all that is remembered.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// How often something may be done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rate {
    /// In the long run; at least 1.
    pub per_second: u32,
    /// That may come at once; at least 1.
    pub at_once: u32,
}

/// Turns at a rate.
#[derive(Debug)]
pub struct Pace {
    every: Duration,
    ahead: Duration,
    /// When all turns that were given would have been due, had they come evenly.
    due: Mutex<Option<Instant>>,
}

impl Pace {
    /// With all turns that may come at once still to be had.
    pub fn new(rate: Rate) -> Self {
        let every = Duration::from_secs(1) / rate.per_second.max(1);
        Self { every, ahead: every * rate.at_once.max(1).saturating_sub(1), due: Mutex::new(None) }
    }

    /// A turn, and how long after `now` it is; `None`: it would be longer than `patience`, and so is not taken.
    pub fn turn(&self, now: Instant, patience: Duration) -> Option<Duration> {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let at = due.map_or(now, |due| due.max(now));
        let wait = at.saturating_duration_since(now).saturating_sub(self.ahead);
        (wait <= patience).then(|| {
            *due = Some(at + self.every);
            wait
        })
    }
}

/// Lines of diagnostics at a rate. What comes faster is left out and counted, so that the next one can say so.
#[derive(Debug)]
pub struct Lines {
    pace: Pace,
    left_out: AtomicU64,
}

impl Lines {
    /// With none written yet.
    pub fn new(rate: Rate) -> Self {
        Self { pace: Pace::new(rate), left_out: AtomicU64::new(0) }
    }

    /// How many were left out since the last one; `None`: this one is, too.
    pub fn admit(&self, now: Instant) -> Option<u64> {
        if self.pace.turn(now, Duration::ZERO).is_none() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.left_out.swap(0, Ordering::Relaxed))
    }

    /// How many were left out since, to be said in a line of its own; 0: none, or there is no turn for that line now. `now` is asked only where some
    /// were.
    pub fn settle(&self, now: impl FnOnce() -> Instant) -> u64 {
        if self.left_out() == 0 {
            return 0;
        }
        match self.pace.turn(now(), Duration::ZERO) {
            Some(_) => self.left_out.swap(0, Ordering::Relaxed),
            None => 0,
        }
    }

    /// How many were left out since the last one.
    pub fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_come_at_once_and_then_evenly() {
        let pace = Pace::new(Rate { per_second: 10, at_once: 3 });
        let now = Instant::now();

        let waits: Vec<_> = (0..5).map(|_| pace.turn(now, Duration::MAX).unwrap().as_millis()).collect();

        assert_eq!(waits, [0, 0, 0, 100, 200]);
    }

    #[test]
    fn a_turn_that_is_not_waited_for_is_not_taken() {
        let pace = Pace::new(Rate { per_second: 10, at_once: 1 });
        let now = Instant::now();
        pace.turn(now, Duration::ZERO).unwrap();

        let refused = (0..1000).all(|_| pace.turn(now, Duration::from_millis(99)).is_none());

        assert!(refused);
        assert_eq!(pace.turn(now, Duration::from_millis(100)), Some(Duration::from_millis(100)), "the thousand took nothing away");
        assert_eq!(pace.turn(now + Duration::from_secs(3600), Duration::ZERO), Some(Duration::ZERO));
    }

    #[test]
    fn a_flood_of_lines_is_cut_and_counted() {
        let lines = Lines::new(Rate { per_second: 100, at_once: 200 });
        let start = Instant::now();

        let admitted = (0..1_000_000).filter(|_| lines.admit(start).is_some()).count();

        assert_eq!(admitted, 200);
        let later = start + Duration::from_millis(10);
        assert_eq!([lines.admit(later), lines.admit(later)], [Some(1_000_000 - 200), None]);

        // Nobody writes any more.
        let last = later + Duration::from_millis(10);
        assert_eq!([lines.settle(|| later), lines.settle(|| last), lines.settle(|| last)], [0, 1, 0]);
    }
}
