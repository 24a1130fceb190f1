//! Budgets of one call: computing time, what it asks of the host and hands over to it; and memory of one instance.
//!
//! Place: part of what a guest's store holds; asked by the engine while the guest runs. Computing time is what the call's threads spent in
//! it, so neither a loaded machine nor a wait inside a capability counts against a guest; the time by the clock is bounded in `instance`.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use tokio::task::yield_now;
use wasmtime::{ResourceLimiter, UpdateDeadline};

/// Most lines of a head that a plugin has changed or made, twice as many as a head may come with: work on them grows with their square.
pub(super) const HEAD_LINES: usize = 512;
/// Most octets of its lines and of its path, twice as many as a head may come with.
pub(super) const HEAD_OCTETS: usize = 128 * 1024;
/// Octets of one element of a table.
const ELEMENT: usize = size_of::<usize>();
/// Most elements of one table: what large guests need many times over.
const MAX_TABLE: usize = 100_000;
/// Most core instances and tables of one component: Python's bring dozens.
const MAX_PARTS: usize = 500;
/// Most memories of one component.
const MAX_MEMORIES: usize = 50;

/// The guest used up its computing time.
#[derive(Debug, thiserror::Error)]
#[error("computing time used up")]
pub(super) struct OverBudget;

/// Measures how long a call computes.
#[derive(Default)]
pub(super) struct Meter {
    limit: AtomicU64,
    spent: AtomicU64,
    /// The thread's processor time when measuring began.
    since: AtomicU64,
    measuring: AtomicBool,
}

impl Meter {
    /// Runs a call that may compute for `limit`. Short calls are not measured at all: the first tick of the epoch begins it.
    pub(super) async fn run<F: Future>(self: &Arc<Self>, limit: Duration, call: F) -> F::Output {
        self.limit.store(u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.spent.store(0, Ordering::Relaxed);
        self.measuring.store(false, Ordering::Relaxed);
        let mut call = pin!(call);
        let mut is_first = true;
        poll_fn(|context| {
            // A later poll may be on another thread, and others may have used this one meanwhile.
            if !std::mem::take(&mut is_first) {
                self.since.store(processor_time(), Ordering::Relaxed);
                self.measuring.store(true, Ordering::Relaxed);
            }
            let polled = call.as_mut().poll(context);
            if self.measuring.swap(false, Ordering::Relaxed) {
                self.charge();
            }
            polled
        })
        .await
    }

    /// A tick of the epoch, inside the guest: ends the call or lets others have the thread.
    pub(super) fn tick(&self) -> wasmtime::Result<UpdateDeadline> {
        if self.measuring.swap(true, Ordering::Relaxed) {
            self.charge();
        } else {
            self.since.store(processor_time(), Ordering::Relaxed);
        }
        if self.spent.load(Ordering::Relaxed) > self.limit.load(Ordering::Relaxed) {
            return Err(OverBudget.into());
        }
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(yield_now())))
    }

    fn charge(&self) {
        let now = processor_time();
        let since = self.since.swap(now, Ordering::Relaxed);
        self.spent.fetch_add(now.saturating_sub(since), Ordering::Relaxed);
    }
}

/// What this thread has computed so far, in nanoseconds.
fn processor_time() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    // Neither is ever negative.
    (time.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(time.tv_nsec as u64)
}

/// The guest called the host too often.
#[derive(Debug, thiserror::Error)]
#[error("calls into the host used up")]
pub(super) struct TooManyCalls;

/// The guest handed over too much.
#[derive(Debug, thiserror::Error)]
#[error("output used up")]
pub(super) struct TooMuchOutput;

/// How often one call has called the host, and what it has handed over to be kept or sent.
pub(super) struct Dealings {
    most_calls: u64,
    /// In octets.
    most_output: usize,
    calls: u64,
    output: usize,
}

impl Dealings {
    pub(super) fn new(most_calls: u64, most_output: usize) -> Self {
        Self { most_calls, most_output, calls: 0, output: 0 }
    }

    /// A call begins.
    pub(super) fn begin(&mut self) {
        (self.calls, self.output) = (0, 0);
    }

    /// The guest calls the host.
    pub(super) fn count(&mut self) {
        self.calls += 1;
    }

    /// # Errors
    /// It did so too often: the call ends.
    pub(super) fn check(&self) -> Result<(), TooManyCalls> {
        if self.calls > self.most_calls { Err(TooManyCalls) } else { Ok(()) }
    }

    /// Octets handed over since the call began.
    pub(super) fn handed_over(&self) -> usize {
        self.output
    }

    /// The guest hands over so many octets.
    ///
    /// # Errors
    /// That is too much in all: the call ends.
    pub(super) fn hand_over(&mut self, octets: usize) -> Result<(), TooMuchOutput> {
        self.output = self.output.saturating_add(octets);
        if self.output > self.most_output { Err(TooMuchOutput) } else { Ok(()) }
    }
}

/// Bounds the memory of one instance: the sum of its linear memories and tables.
pub(super) struct Memory {
    limit: usize,
    used: usize,
    tables: usize,
    last_growth: usize,
    refused: bool,
}

impl Memory {
    /// Up to `limit` octets.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, used: 0, tables: 0, last_growth: 0, refused: false }
    }

    /// Linear memory it has, in octets.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// In octets.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// More was asked for than there may be. Guests die of that in ways of their own.
    pub(super) fn was_refused(&self) -> bool {
        self.refused
    }

    /// So full that the next call might fail: three quarters of the limit. Some toolchains leak a little with every call.
    pub(super) fn is_nearly_full(&self) -> bool {
        self.used + self.tables > self.limit / 4 * 3
    }

    /// How much more there is after that growth; `None`: it may not grow like that.
    fn grown(&mut self, growth: usize) -> Option<usize> {
        if self.used.saturating_add(self.tables).saturating_add(growth) > self.limit {
            self.refused = true;
            return None;
        }
        self.last_growth = growth;
        Some(growth)
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let growth = self.grown(desired.saturating_sub(current));
        self.used += growth.unwrap_or(0);
        Ok(growth.is_some())
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.used -= std::mem::take(&mut self.last_growth);
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        if desired > MAX_TABLE {
            return Ok(false);
        }
        let growth = self.grown(desired.saturating_sub(current) * ELEMENT);
        self.tables += growth.unwrap_or(0);
        Ok(growth.is_some())
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.tables -= std::mem::take(&mut self.last_growth);
        Ok(())
    }

    fn instances(&self) -> usize {
        MAX_PARTS
    }

    fn tables(&self) -> usize {
        MAX_PARTS
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_are_bounded_by_their_sum() {
        let mut memory = Memory::new(100);

        assert!(memory.memory_growing(0, 40, None).expect("decided"));
        assert!(memory.memory_growing(0, 40, None).expect("decided"));
        assert!(memory.is_nearly_full() && !memory.was_refused());
        assert!(!memory.memory_growing(40, 61, None).expect("decided"));
        assert!(memory.was_refused());
        assert!(memory.memory_growing(40, 60, None).expect("decided"));
    }

    #[test]
    fn tables_count_with_memories() {
        let mut memory = Memory::new(100 * ELEMENT);

        assert!(memory.memory_growing(0, 50 * ELEMENT, None).expect("decided"));
        assert!(memory.table_growing(0, 30, None).expect("decided"));
        assert!(memory.is_nearly_full() && !memory.was_refused() && memory.used() == 50 * ELEMENT);
        assert!(!memory.table_growing(0, 21, None).expect("decided"));
        assert!(memory.was_refused());
        assert!(memory.table_growing(30, 50, None).expect("decided"));
        assert!(!memory.memory_growing(50 * ELEMENT, 50 * ELEMENT + 1, None).expect("decided"));

        // As many again as the last growth took.
        memory.table_grow_failed(wasmtime::Error::msg("no memory")).expect("noted");
        assert!(memory.memory_growing(50 * ELEMENT, 70 * ELEMENT, None).expect("decided"));
    }

    #[test]
    fn what_a_call_asks_and_hands_over_is_counted_from_its_beginning() {
        let mut dealings = Dealings::new(2, 10);
        for _ in 0..2 {
            dealings.begin();
            (0..2).for_each(|_| dealings.count());
            assert!(dealings.check().is_ok() && dealings.hand_over(4).is_ok() && dealings.hand_over(6).is_ok());
            dealings.count();
            assert!(dealings.check().is_err() && dealings.hand_over(1).is_err());
        }
    }

    #[test]
    fn growth_that_failed_does_not_count() {
        let mut memory = Memory::new(100);

        assert!(memory.memory_growing(0, 90, None).expect("decided"));
        memory.memory_grow_failed(wasmtime::Error::msg("no memory")).expect("noted");

        assert!(memory.memory_growing(0, 100, None).expect("decided"));
    }

    #[tokio::test]
    async fn only_computing_is_charged() {
        let meter = Arc::new(Meter::default());
        let limit = Duration::from_millis(20);

        let waited = meter.run(limit, async {
            for _ in 0..3 {
                meter.tick().map(drop)?;
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
            meter.tick().map(drop)
        });
        assert!(waited.await.is_ok());

        let computed = meter.run(limit, async {
            loop {
                meter.tick().map(drop)?;
            }
        });
        let result: wasmtime::Result<()> = computed.await;
        assert!(result.is_err_and(|error| error.is::<OverBudget>()));
    }
}
