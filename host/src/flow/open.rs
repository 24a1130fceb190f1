//! Guard of a running flow: whatever happens, the flow ends exactly once.
//!
//! Place: held by `exchange` for as long as the exchange runs. Dropping it (end, abort, refusal, a cancelled task) hands the flow over to
//! the hooks that opened it, without waiting and without loss.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{Flow, Outcome, SharedFlow, lock};
use crate::hooks::{Course, Tap};

/// Why a flow has no whole response that was in progress when a stop would wait no longer.
const STOPPED: &str = "the proxy was stopped before the response had passed";

/// A flow some plugin wants, while it runs.
pub struct OpenFlow {
    flow: SharedFlow,
    course: Option<Box<dyn Course>>,
    tap: Option<Arc<dyn Tap>>,
    cutting: Option<CancellationToken>,
}

impl OpenFlow {
    /// Opens `flow` for the plugins of `course`.
    pub fn new(flow: Flow, course: Box<dyn Course>) -> Self {
        let (flow, mut course) = (SharedFlow::new(flow.into()), course);
        let tap = course.begun(&flow);
        Self { flow, course: Some(course), tap, cutting: None }
    }

    /// Once that is cancelled, it is the proxy that cuts the flow off, and not its client.
    #[must_use]
    pub fn cut_by(mut self, cutting: &CancellationToken) -> Self {
        self.cutting = Some(cutting.clone());
        self
    }

    /// Who hears of its contents as they come off the wire.
    pub fn tap(&self) -> Option<Arc<dyn Tap>> {
        self.tap.clone()
    }

    /// What is known of it.
    pub fn flow(&self) -> &SharedFlow {
        &self.flow
    }

    /// The plugins it is open for, and the flow they are about.
    pub fn course(&mut self) -> (&mut dyn Course, &SharedFlow) {
        // `course` is taken in `drop` only.
        let course = self.course.as_deref_mut().expect("an open flow has its course");
        (course, &self.flow)
    }

    /// Says how it ended, the first time; whoever knows first knows best.
    pub fn conclude(&self, outcome: Outcome) {
        let mut flow = lock(&self.flow);
        if flow.outcome == Outcome::InProgress {
            flow.outcome = outcome;
        }
    }
}

impl Drop for OpenFlow {
    fn drop(&mut self) {
        // Nobody concluded it: the task that ran the exchange was cancelled, by its client unless the proxy is being stopped.
        let is_cut = self.cutting.as_ref().is_some_and(CancellationToken::is_cancelled);
        self.conclude(if is_cut { Outcome::OriginFailed(STOPPED.to_owned()) } else { Outcome::ClientAborted });
        if let Some(course) = self.course.take() {
            course.end(self.flow.clone());
        }
    }
}
