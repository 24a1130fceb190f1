//! Guard of a running flow: whatever happens, the flow ends exactly once.
//!
//! Place: held by `exchange` for as long as the exchange runs. Dropping it (end, abort, refusal, a cancelled task) hands the flow over to
//! the hooks that opened it, without waiting and without loss.

use std::sync::Arc;

use super::{Flow, Outcome, SharedFlow, lock};
use crate::hooks::{Course, Tap};

/// A flow some plugin wants, while it runs.
pub struct OpenFlow {
    flow: SharedFlow,
    course: Option<Box<dyn Course>>,
    tap: Option<Arc<dyn Tap>>,
}

impl OpenFlow {
    /// Opens `flow` for the plugins of `course`.
    pub fn new(flow: Flow, course: Box<dyn Course>) -> Self {
        let (flow, mut course) = (SharedFlow::new(flow.into()), course);
        let tap = course.begun(&flow);
        Self { flow, course: Some(course), tap }
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
        // Nobody concluded it: the task that ran the exchange was cancelled, which only its client can cause.
        self.conclude(Outcome::ClientAborted);
        if let Some(course) = self.course.take() {
            course.end(self.flow.clone());
        }
    }
}
