//! What happened to one build: how often it was called, how long that took, how often it failed, and whether it is suspended for that.
//!
//! Place: every call of a hook goes through `admit` and `done`; read by whoever reports on plugins.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use hdrhistogram::Histogram;
use prometheus_client::metrics::histogram;
use serde::{Deserialize, Serialize};

use super::{breaker::Breaker, capability::log::lines, hook::Hook, instance::Failure, settings::Limits};
use crate::{meters::Page, pace::Lines};

/// Longest call that is told from longer ones, in nanoseconds: no deadline is later.
const LONGEST: u64 = 600_000_000_000;
/// Significant digits of durations: two cost 20 KiB per build and tell 1.0 ms from 1.1.
const DIGITS: u8 = 2;
/// Upper bounds of how long calls take, in seconds: from what a small filter takes to the longest that may be set.
const SECONDS: [f64; 14] = [1e-6, 1e-5, 1e-4, 2.5e-4, 1e-3, 2.5e-3, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0, 10.0, 60.0];

/// What happened to one build so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PluginCounts {
    /// Calls of hooks that were begun.
    pub calls: u64,
    /// Those that failed.
    pub failures: u64,
    /// Calls that were not made because the plugin was suspended.
    pub skipped: u64,
    /// Flows that found no place among the observed.
    pub unobserved: u64,
    /// WebSocket messages that found no place among the observed, or whose observation failed.
    pub missed: u64,
    /// Flows whose observation failed.
    pub lost: u64,
    /// Half of its calls took no longer.
    pub p50: Duration,
    /// 99 of 100 of its calls took no longer.
    pub p99: Duration,
    /// Octets of linear memory of its instances that are not at work now.
    pub memory_bytes: usize,
    /// How long it is still suspended, as a filter or as an observer; `None`: it is not.
    pub suspended: Option<Duration>,
}

impl PluginCounts {
    /// The same as metrics.
    pub(super) fn write(&self, plugin: &str, page: &mut Page) {
        let labels = [("plugin", plugin)];
        let counts = [
            ("flowgate_plugin_calls", "Calls of hooks that were begun", self.calls),
            ("flowgate_plugin_failures", "Calls of hooks that failed", self.failures),
            ("flowgate_plugin_skipped", "Calls that were not made because the plugin was suspended", self.skipped),
            ("flowgate_plugin_unobserved", "Flows that found no place among the observed", self.unobserved),
            ("flowgate_plugin_lost", "Flows whose observation failed", self.lost),
            ("flowgate_plugin_missed", "WebSocket messages that no observer was told of", self.missed),
        ];
        for (name, help, count) in counts {
            page.count(name, help, &labels, count);
        }
        let help = "Linear memory of instances that are not at work";
        page.gauge("flowgate_plugin_memory_bytes", help, &labels, self.memory_bytes as f64);
        let suspended = f64::from(u8::from(self.suspended.is_some()));
        page.gauge("flowgate_plugin_suspended", "Whether the plugin is suspended", &labels, suspended);
    }
}

/// The latest call of a build that failed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LastFailure {
    /// When, in microseconds since the Unix epoch.
    pub at: u64,
    /// As the contract spells it.
    pub hook: String,
    /// About which flow; `None`: about a tunnel, or the plugin itself.
    pub flow: Option<u64>,
    /// A sentence for people.
    pub error: String,
}

/// See the module.
pub(super) struct Tally {
    calls: AtomicU64,
    failures: AtomicU64,
    skipped: AtomicU64,
    pub(super) unobserved: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) missed: AtomicU64,
    last_failure: Mutex<Option<LastFailure>>,
    took: Mutex<Histogram<u64>>,
    /// The same in classes that do not depend on what was measured, as those want it who add up several proxies.
    seconds: histogram::Histogram,
    /// An observer that cannot cope says nothing about the same plugin's filters.
    filtering: Breaker,
    observing: Breaker,
    /// Failures are reported no faster than that.
    pub(super) reports: Lines,
}

impl Tally {
    pub(super) fn new(limits: &Limits) -> Self {
        // These bounds are good: 1 < LONGEST / 2, and 2 digits of at most 5.
        let took = Histogram::new_with_bounds(1, LONGEST, DIGITS).expect("good bounds");
        Self {
            calls: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            unobserved: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            missed: AtomicU64::new(0),
            last_failure: Mutex::default(),
            took: Mutex::new(took),
            seconds: histogram::Histogram::new(SECONDS),
            filtering: Breaker::new(limits),
            observing: Breaker::new(limits),
            reports: lines(limits.reports),
        }
    }

    /// A call is about to be made.
    ///
    /// # Errors
    /// [`Failure::Suspended`]: it must not be.
    pub(super) fn admit(&self, hook: Hook, now: Instant) -> Result<(), Failure> {
        if let Err(left) = self.breaker(hook).admit(now) {
            self.skipped.fetch_add(1, Ordering::Relaxed);
            return Err(Failure::Suspended(left));
        }
        self.calls.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// The call came back. What it means for later ones is in the answer.
    pub(super) fn done(&self, hook: Hook, began: Instant, failed: bool) -> Option<Turn> {
        let now = Instant::now();
        self.seconds.observe(now.saturating_duration_since(began).as_secs_f64());
        let nanos = u64::try_from(now.saturating_duration_since(began).as_nanos()).unwrap_or(u64::MAX);
        self.took.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(nanos);
        let breaker = self.breaker(hook);
        if failed {
            self.failures.fetch_add(1, Ordering::Relaxed);
            return breaker.failed(now).map(Turn::Suspended);
        }
        breaker.succeeded().then_some(Turn::Recovered)
    }

    /// That call failed, and why.
    pub(super) fn failed(&self, hook: Hook, flow: Option<u64>, failure: &Failure) {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at = u64::try_from(at.as_micros()).unwrap_or(u64::MAX);
        let last = LastFailure { at, hook: hook.name().to_owned(), flow, error: failure.to_string() };
        *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(last);
    }

    /// See [`LastFailure`]; `None`: no call failed.
    pub(super) fn last_failure(&self) -> Option<LastFailure> {
        self.last_failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All of it, now; `memory_bytes` is known elsewhere.
    pub(super) fn counts(&self, memory_bytes: usize) -> PluginCounts {
        let (p50, p99) = {
            let took = self.took.lock().unwrap_or_else(PoisonError::into_inner);
            (took.value_at_quantile(0.5), took.value_at_quantile(0.99))
        };
        let now = Instant::now();
        PluginCounts {
            calls: self.calls.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            skipped: self.skipped.load(Ordering::Relaxed),
            unobserved: self.unobserved.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
            missed: self.missed.load(Ordering::Relaxed),
            memory_bytes,
            p50: Duration::from_nanos(p50),
            p99: Duration::from_nanos(p99),
            suspended: self.filtering.suspended(now).max(self.observing.suspended(now)),
        }
    }

    /// How long calls took.
    pub(super) fn seconds(&self) -> &histogram::Histogram {
        &self.seconds
    }

    fn breaker(&self, hook: Hook) -> &Breaker {
        if hook.observes() { &self.observing } else { &self.filtering }
    }
}

/// A plugin was suspended, or is no longer.
pub(super) enum Turn {
    /// For that long.
    Suspended(Duration),
    /// Its calls go well again.
    Recovered,
}
