//! The one place that spawns: every task is tracked, and ends when told to.
//!
//! Place: made in `app`, handed down. Stop order is the caller's; see `app`.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// A group of tasks with a common end.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    cut: CancellationToken,
}

impl Tasks {
    /// An empty group.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task of this group.
    #[allow(clippy::disallowed_methods, reason = "the one place that may")]
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        tokio::spawn(self.tracker.track_future(task))
    }

    /// The same for a task that [`Tasks::cut`] drops where it stands.
    pub fn spawn_severable<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let cut = self.cut.clone();
        // Each future that takes another in holds room for it twice; of this there would be four times the largest that there is.
        let task = Box::pin(task);
        self.spawn(async move {
            cut.run_until_cancelled_owned(task).await;
        });
    }

    /// Runs what blocks (hashing, compiling, file reads) off the runtime, as a task of this group.
    #[allow(clippy::disallowed_methods, reason = "the one place that may")]
    pub fn block<F, T>(&self, work: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let token = self.tracker.token();
        tokio::task::spawn_blocking(move || {
            let _token = token;
            work()
        })
    }

    /// Cancelled when the group shall end.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stop
    }

    /// Tells every task to end, soon and in good order.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Drops every severable task, now.
    pub fn cut(&self) {
        self.cut.cancel();
    }

    /// Cancelled when severable tasks are dropped.
    pub fn cutting(&self) -> &CancellationToken {
        &self.cut
    }

    /// How many still run.
    pub fn len(&self) -> usize {
        self.tracker.len()
    }

    /// None runs.
    pub fn is_empty(&self) -> bool {
        self.tracker.is_empty()
    }

    /// Waits until all have ended; `false` if some had not after `grace`.
    pub async fn ended(&self, grace: Duration) -> bool {
        self.tracker.close();
        tokio::time::timeout(grace, self.tracker.wait()).await.is_ok()
    }
}
