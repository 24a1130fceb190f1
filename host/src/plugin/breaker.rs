//! A plugin that fails every time is left alone for a while.
//!
//! Place: asked by `tally` before each call. Only failures in a row count, so a plugin that fails for some flows and serves others is never
//! suspended. After a pause one call may try again: a failure doubles the pause, a success ends it.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::settings::Limits;

/// See the module.
pub(super) struct Breaker {
    /// Failures in a row after which a plugin is suspended.
    most: u32,
    first_pause: Duration,
    longest_pause: Duration,
    /// The last call failed: only then is there anything to look up.
    troubled: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// In a row.
    failures: u32,
    suspended: Option<Suspension>,
}

struct Suspension {
    until: Instant,
    pause: Duration,
    /// The call that may end it is under way.
    trying: bool,
}

impl Breaker {
    pub(super) fn new(limits: &Limits) -> Self {
        let Limits { failures, first_pause, longest_pause, .. } = *limits;
        Self { most: failures, first_pause, longest_pause, troubled: AtomicBool::new(false), state: Mutex::default() }
    }

    /// Whether a call may be made now; else how long it will be until one may.
    pub(super) fn admit(&self, now: Instant) -> Result<(), Duration> {
        if !self.troubled.load(Ordering::Relaxed) {
            return Ok(());
        }
        match &mut self.state().suspended {
            Some(suspended) if now < suspended.until => Err(suspended.until - now),
            Some(suspended) => {
                // This call tries. The others wait until it has come back, or for one more pause: it may be given up with its flow.
                suspended.until = now + suspended.pause;
                suspended.trying = true;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// A call went well. Says whether that ended a suspension.
    pub(super) fn succeeded(&self) -> bool {
        if !self.troubled.swap(false, Ordering::Relaxed) {
            return false;
        }
        std::mem::take(&mut *self.state()).suspended.is_some()
    }

    /// A call failed. Says for how long the plugin is suspended, if this failure is what does it.
    pub(super) fn failed(&self, now: Instant) -> Option<Duration> {
        self.troubled.store(true, Ordering::Relaxed);
        let mut state = self.state();
        state.failures = state.failures.saturating_add(1);
        let pause = match &state.suspended {
            None if state.failures < self.most => return None,
            None => self.first_pause,
            Some(suspended) if suspended.trying => (suspended.pause * 2).min(self.longest_pause),
            // It began before the suspension and says nothing new.
            Some(_) => return None,
        };
        state.suspended = Some(Suspension { until: now + pause, pause, trying: false });
        Some(pause)
    }

    /// How long it will be until a call may be made again; `None`: one may be made now.
    pub(super) fn suspended(&self, now: Instant) -> Option<Duration> {
        let left = self.state().suspended.as_ref().map(|suspended| suspended.until.saturating_duration_since(now));
        left.filter(|left| !left.is_zero())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const FAILURES: u32 = 5;

    fn breaker() -> Breaker {
        let limits = Limits { failures: FAILURES, first_pause: SECOND, longest_pause: SECOND * 60, ..Limits::default() };
        Breaker::new(&limits)
    }

    fn broken(now: Instant) -> Breaker {
        let breaker = breaker();
        let pauses: Vec<_> = (0..FAILURES).map(|_| breaker.failed(now)).collect();
        assert_eq!(pauses, [None, None, None, None, Some(SECOND)]);
        breaker
    }

    #[test]
    fn failures_among_successes_suspend_nobody() {
        let (breaker, now) = (breaker(), Instant::now());

        for _ in 0..100 {
            (1..FAILURES).for_each(|_| assert_eq!(breaker.failed(now), None));
            breaker.succeeded();
        }

        assert_eq!(breaker.admit(now), Ok(()));
    }

    #[test]
    fn pauses_grow_to_a_minute() {
        let mut now = Instant::now();
        let breaker = broken(now);

        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(breaker.admit(now), Err(SECOND * pause));
            now += SECOND * pause;
            assert_eq!(breaker.admit(now), Ok(()));
            breaker.failed(now);
        }
    }

    #[test]
    fn one_call_tries_while_the_others_wait() {
        let now = Instant::now();
        let breaker = broken(now);

        let later = now + SECOND;

        assert_eq!([breaker.admit(later), breaker.admit(later)], [Ok(()), Err(SECOND)]);
        assert!(breaker.succeeded());
        assert_eq!((breaker.admit(later), breaker.suspended(later)), (Ok(()), None));
    }

    #[test]
    fn a_late_failure_says_nothing_new() {
        let now = Instant::now();
        let breaker = broken(now);

        assert_eq!(breaker.failed(now), None);
        assert_eq!(breaker.suspended(now), Some(SECOND));
    }
}
