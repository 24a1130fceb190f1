//! One build of a plugin in service: a component that was checked, configured and is ready for calls.
//!
//! Place: made by `load`, put into a `set` by `swap`; freed when the last flow that began with it has ended.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use super::{
    bindings::exports::flowgate::plugin::{request_filter::RequestAction, response_filter::ResponseAction},
    capability::{context::Shown, log::Lines},
    instance::Failure,
    observe::Observers,
    pool::Pool,
    rules::Rules,
    settings::OnFailure,
};
use crate::flow::{Refusal, SharedFlow, lock};

/// What is to be told of a plugin in service.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PluginInfo {
    /// Its own and its file's.
    pub name: String,
    /// As it says.
    pub version: String,
    /// One sentence for people.
    pub description: String,
    /// SHA-256 of the component, hexadecimal.
    pub hash: String,
    /// Hooks that it exports and that are called.
    pub hooks: Vec<&'static str>,
    /// Capabilities of the contract that it imports.
    pub capabilities: Vec<String>,
    /// Where it was loaded from; `None`: it is built in.
    pub file: Option<PathBuf>,
}

/// What happened to one build so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PluginCounts {
    /// Calls of hooks that were begun.
    pub calls: u64,
    /// Those that failed.
    pub failures: u64,
    /// Flows that found no place among the observed.
    pub unobserved: u64,
    /// Flows whose observation failed twice.
    pub lost: u64,
}

/// See the module.
pub(super) struct Build {
    pub(super) info: PluginInfo,
    pub(super) order: i32,
    pub(super) on_failure: OnFailure,
    pub(super) filters_requests: bool,
    pub(super) filters_responses: bool,
    pub(super) observes: bool,
    pub(super) rules: Rules,
    pub(super) pool: Pool,
    pub(super) tally: Tally,
}

/// A build and the queue of flows it observes. The queue ends when this is dropped, and the build when the queue is empty.
pub(super) struct Serving {
    pub(super) build: Arc<Build>,
    /// `None` if it does not observe.
    pub(super) observers: Option<Observers>,
}

/// Counters of one build.
pub(super) struct Tally {
    pub(super) calls: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) unobserved: AtomicU64,
    pub(super) lost: AtomicU64,
    /// Failures are reported no faster than lines of guests.
    reports: Lines,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            calls: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            unobserved: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            reports: Lines::new(),
        }
    }

    pub(super) fn counts(&self) -> PluginCounts {
        PluginCounts {
            calls: self.calls.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            unobserved: self.unobserved.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
        }
    }
}

impl Build {
    /// Whether any of its hooks is ever called.
    pub(super) fn is_called(&self) -> bool {
        self.filters_requests || self.filters_responses || self.observes
    }

    /// Asks the request filter.
    pub(super) async fn ask_request(&self, flow: &SharedFlow, body_held: bool, shown: Shown) -> Result<Option<RequestAction>, Failure> {
        self.tally.calls.fetch_add(1, Ordering::Relaxed);
        let mut instance = self.pool.for_filter().await?;
        let answer = instance.on_request(flow, body_held, shown).await?;
        instance.give_back();
        Ok(answer)
    }

    /// Asks the response filter.
    pub(super) async fn ask_response(&self, flow: &SharedFlow, body_held: bool, shown: Shown) -> Result<Option<ResponseAction>, Failure> {
        self.tally.calls.fetch_add(1, Ordering::Relaxed);
        let mut instance = self.pool.for_filter().await?;
        let answer = instance.on_response(flow, body_held, shown).await?;
        instance.give_back();
        Ok(answer)
    }

    /// Tells the observer; once more in a fresh instance if that fails before a record was kept.
    pub(super) async fn tell_end(&self, flow: &SharedFlow, shown: Shown) {
        let Err((failure, has_kept)) = self.tell_once(flow, shown, false).await else { return };
        self.report("on-flow-end", flow, &failure);
        if has_kept {
            return;
        }
        if let Err((failure, _)) = self.tell_once(flow, shown, true).await {
            self.report("on-flow-end", flow, &failure);
            self.tally.lost.fetch_add(1, Ordering::Relaxed);
            tracing::error!(plugin = self.info.name, flow = lock(flow).id.0, "the flow is not observed: the plugin failed twice");
        }
    }

    async fn tell_once(&self, flow: &SharedFlow, shown: Shown, fresh: bool) -> Result<(), (Failure, bool)> {
        self.tally.calls.fetch_add(1, Ordering::Relaxed);
        let leased = if fresh { self.pool.fresh_for_observer().await } else { self.pool.for_observer().await };
        let mut instance = leased.map_err(|failure| (failure, false))?;
        instance.on_flow_end(flow, shown).await?;
        instance.give_back();
        Ok(())
    }

    /// Says that a call failed; counted always, said within bounds.
    pub(super) fn report(&self, hook: &'static str, flow: &SharedFlow, failure: &Failure) {
        self.tally.failures.fetch_add(1, Ordering::Relaxed);
        let Some(suppressed) = self.tally.reports.admit(Instant::now()) else { return };
        let info = &self.info;
        tracing::warn!(
            plugin = info.name,
            version = info.version,
            hash = short(&info.hash),
            hook,
            flow = lock(flow).id.0,
            error = %failure,
            suppressed,
            "plugin failed"
        );
    }

    /// What its failure means for the flow.
    ///
    /// # Errors
    /// The flow is refused.
    pub(super) fn failed(&self, hook: &'static str, flow: &SharedFlow, failure: Failure) -> Result<(), Refusal> {
        self.report(hook, flow, &failure);
        match self.on_failure {
            OnFailure::Pass => Ok(()),
            OnFailure::Refuse => Err(Refusal::PluginFailed { plugin: self.info.name.clone(), hook, source: failure.into() }),
        }
    }
}

/// Enough of a hash to tell builds apart.
pub(super) fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}
