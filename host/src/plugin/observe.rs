//! Flows that have ended, on their way to an observer.
//!
//! Place: a queue per build, emptied off the path. A place in it is taken when a flow begins, so that its end (which may be a `Drop`) hands
//! over without waiting and without loss. All places taken: a new flow waits for one within a bound, then runs unobserved, and is counted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{
        Semaphore,
        mpsc::{self, OwnedPermit, Receiver, Sender},
    },
    time::timeout,
};

use super::{build::Build, capability::context::Shown, journal::Page, settings::Limits};
use crate::{flow::SharedFlow, tasks::Tasks};

/// A flow that has ended, for one observer.
pub(super) struct Ended {
    pub(super) flow: SharedFlow,
    pub(super) shown: Shown,
    pub(super) page: Arc<Page>,
}

/// A place among the observed.
pub(super) type Place = OwnedPermit<Ended>;

/// The way to one build's observer.
pub(super) struct Observers {
    build: Arc<Build>,
    queue: Sender<Ended>,
    patience: Duration,
    /// All places were taken when last tried: said already.
    crowded: AtomicBool,
}

impl Observers {
    /// Starts telling `build` of flows. Ends when this and all places are gone and the queue is empty.
    pub(super) fn start(build: Arc<Build>, limits: &Limits, tasks: &Tasks) -> Self {
        let (queue, ended) = mpsc::channel(limits.places.max(1));
        tasks.spawn(tell(build.clone(), ended, tasks.clone()));
        Self { build, queue, patience: limits.patience, crowded: AtomicBool::new(false) }
    }

    /// A place, if one is free.
    pub(super) fn try_reserve(&self) -> Option<Place> {
        self.queue.clone().try_reserve_owned().ok()
    }

    /// A place, waited for within the bound.
    pub(super) async fn reserve(&self) -> Option<Place> {
        if let Ok(Ok(place)) = timeout(self.patience, self.queue.clone().reserve_owned()).await {
            self.crowded.store(false, Ordering::Relaxed);
            return Some(place);
        }
        self.build.tally.unobserved.fetch_add(1, Ordering::Relaxed);
        if !self.crowded.swap(true, Ordering::Relaxed) {
            tracing::error!(plugin = self.build.info.name, "the plugin does not keep up: flows run unobserved");
        }
        None
    }
}

/// Several calls at a time, as many as there are instances: one that hangs until its deadline does not hold up the others.
async fn tell(build: Arc<Build>, mut ended: Receiver<Ended>, tasks: Tasks) {
    let width = Arc::new(Semaphore::new(build.pool.width()));
    while let Some(Ended { flow, shown, page }) = ended.recv().await {
        let turn = width.clone().acquire_owned().await;
        let build = build.clone();
        tasks.spawn(async move {
            build.tell_end(&flow, shown, &page).await;
            drop(turn);
        });
    }
}
