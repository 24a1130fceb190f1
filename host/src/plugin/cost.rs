//! What calls of a plugin cost: noted call by call while it is rehearsed, and summed up per hook.
//!
//! Place: in the `scene` of builds that serve nobody; `instance` notes each call, `bench` reads them.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hdrhistogram::Histogram;

use super::{
    bindings::{
        exports::flowgate::plugin::{
            connect_filter::ConnectAction,
            message_filter::{Message, MessageAction},
            request_filter::RequestAction,
            response_filter::ResponseAction,
            stream_filter::ChunkAction,
        },
        flowgate::plugin::types::LocalResponse,
    },
    hook::Hook,
};

/// Longest call that is told from longer ones, in nanoseconds: no deadline is later.
const LONGEST: u64 = 600_000_000_000;
/// Significant digits of durations: a threshold is crossed by a thousandth too much.
const DIGITS: u8 = 3;

/// One call.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cost {
    /// By the clock, host functions included, waiting for an instance not.
    pub(super) took: Duration,
    /// Executed by the guest; 0 where they are not counted.
    pub(super) instructions: u64,
    /// Octets of linear memory that the instance had afterwards. It never gives any back.
    pub(super) memory: usize,
    /// Octets handed over to be kept or sent, and answered.
    pub(super) output: usize,
    pub(super) failed: bool,
}

/// All calls of one hook.
#[derive(Clone, Debug)]
pub(super) struct Sum {
    pub(super) calls: u64,
    pub(super) failed: u64,
    pub(super) instructions: Share,
    pub(super) output: Share,
    /// Most that an instance had.
    pub(super) memory: usize,
    took: Histogram<u64>,
}

/// Of calls together, and of the one that had most.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Share {
    pub(super) total: u64,
    pub(super) most: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Costs(Mutex<BTreeMap<Hook, Sum>>);

impl Costs {
    pub(super) fn note(&self, hook: Hook, cost: Cost) {
        self.sums().entry(hook).or_insert_with(Sum::new).add(cost);
    }

    /// What was noted since this was last asked.
    pub(super) fn take(&self) -> BTreeMap<Hook, Sum> {
        std::mem::take(&mut self.sums())
    }

    /// Calls of the hook that was called least, of those about flows.
    pub(super) fn fewest(&self) -> Option<u64> {
        self.sums().iter().filter(|(hook, _)| hook.is_about_flows()).map(|(_, sum)| sum.calls).min()
    }

    fn sums(&self) -> MutexGuard<'_, BTreeMap<Hook, Sum>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sum {
    fn new() -> Self {
        // These bounds are good: 1 < LONGEST / 2, and 3 digits of at most 5.
        let took = Histogram::new_with_bounds(1, LONGEST, DIGITS).expect("good bounds");
        Self { calls: 0, failed: 0, instructions: Share::default(), output: Share::default(), memory: 0, took }
    }

    fn add(&mut self, cost: Cost) {
        self.calls += 1;
        self.failed += u64::from(cost.failed);
        self.instructions.add(cost.instructions);
        self.output.add(cost.output as u64);
        self.memory = self.memory.max(cost.memory);
        self.took.saturating_record(u64::try_from(cost.took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// So much of its calls took no longer.
    pub(super) fn quantile(&self, quantile: f64) -> Duration {
        Duration::from_nanos(self.took.value_at_quantile(quantile))
    }
}

impl Share {
    fn add(&mut self, more: u64) {
        self.total += more;
        self.most = self.most.max(more);
    }
}

/// What a call answers.
pub(super) trait Answered {
    /// Octets of content in it.
    fn octets(&self) -> usize;
}

impl Answered for () {
    fn octets(&self) -> usize {
        0
    }
}

impl Answered for bool {
    fn octets(&self) -> usize {
        0
    }
}

impl Answered for Vec<u8> {
    fn octets(&self) -> usize {
        self.len()
    }
}

impl<T, E> Answered for Result<T, E> {
    fn octets(&self) -> usize {
        0
    }
}

/// What is answered, and what is none of the guest's.
impl<T, U: Answered> Answered for (T, U) {
    fn octets(&self) -> usize {
        self.1.octets()
    }
}

impl Answered for LocalResponse {
    fn octets(&self) -> usize {
        self.body.len() + self.headers.iter().map(|header| header.name.len() + header.value.len()).sum::<usize>()
    }
}

impl Answered for ConnectAction {
    fn octets(&self) -> usize {
        match self {
            Self::Proceed | Self::Splice => 0,
            Self::Reject(response) => response.octets(),
        }
    }
}

impl Answered for RequestAction {
    fn octets(&self) -> usize {
        match self {
            Self::Proceed | Self::NeedBody | Self::Disconnect => 0,
            Self::Answer(response) => response.octets(),
        }
    }
}

impl Answered for ResponseAction {
    fn octets(&self) -> usize {
        match self {
            Self::Proceed | Self::NeedBody | Self::Disconnect => 0,
            Self::Answer(response) => response.octets(),
        }
    }
}

impl Answered for ChunkAction {
    fn octets(&self) -> usize {
        match self {
            Self::Pass => 0,
            Self::Replace(octets) | Self::Finish(octets) => octets.len(),
        }
    }
}

impl Answered for MessageAction {
    fn octets(&self) -> usize {
        match self {
            Self::Pass | Self::Discard | Self::Close(_) => 0,
            Self::Replace(Message::Text(text)) => text.len(),
            Self::Replace(Message::Binary(octets)) => octets.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_summed_per_hook_and_taken_once() {
        let costs = Costs::default();
        for (hook, micros, instructions, memory) in [(Hook::Request, 1, 10, 5), (Hook::Request, 3, 30, 9), (Hook::FlowEnd, 7, 0, 9)] {
            let cost = Cost { took: Duration::from_micros(micros), instructions, memory, output: 4, failed: hook == Hook::FlowEnd };
            costs.note(hook, cost);
        }

        assert_eq!(costs.fewest(), Some(1));
        let sums = costs.take();

        let sum = &sums[&Hook::Request];
        assert_eq!((sum.calls, sum.failed, sum.memory), (2, 0, 9));
        assert_eq!((sum.instructions, sum.output), (Share { total: 40, most: 30 }, Share { total: 8, most: 4 }));
        assert!(sum.quantile(0.5).as_micros() == 1 && sum.quantile(0.99).as_micros() == 3, "{sum:?}");
        assert_eq!(sums[&Hook::FlowEnd].failed, 1);
        assert!(costs.take().is_empty());
    }

    #[test]
    fn what_is_answered_is_weighed() {
        let response = || LocalResponse { status: 403, headers: Vec::new(), body: vec![0; 7] };

        assert_eq!([RequestAction::Answer(response()).octets(), RequestAction::Proceed.octets()], [7, 0]);
        assert_eq!([ChunkAction::Replace(vec![0; 3]).octets(), ChunkAction::Pass.octets()], [3, 0]);
        assert_eq!([((), vec![0; 2]).octets(), ConnectAction::Reject(response()).octets()], [2, 7]);
    }
}
