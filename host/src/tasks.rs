//! The one place that spawns: every task is tracked, and ends when told to.
//!
//! Place: made in `app`, handed down. Stop order is the caller's; see `app`.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::Semaphore,
    task::{JoinError, JoinHandle},
};
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

    /// The same when it has one of `turns`, which goes with the work: that ends even where nobody waits for it any more.
    ///
    /// # Errors
    /// It panicked.
    pub async fn block_in_turn<F, T>(&self, turns: &Arc<Semaphore>, work: F) -> Result<T, JoinError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // Never closed.
        let turn = turns.clone().acquire_owned().await;
        let turned = move || {
            let _turn = turn;
            work()
        };
        self.block(turned).await
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

#[cfg(test)]
mod tests {
    use std::{
        future::ready,
        pin::pin,
        sync::{
            atomic::{AtomicBool, Ordering::SeqCst},
            mpsc,
        },
    };

    use super::*;

    #[tokio::test]
    async fn what_has_turns_is_done_one_at_a_time_though_who_asked_is_gone() {
        let (turns, tasks, ended) = (Arc::new(Semaphore::new(1)), Tasks::new(), Arc::new(AtomicBool::new(false)));
        let (end, ends) = mpsc::sync_channel::<()>(1);
        let first = ended.clone();
        let asked = tasks.block_in_turn(&turns, move || {
            ends.recv().unwrap();
            first.store(true, SeqCst);
        });
        tokio::select! { biased; _ = asked => panic!("it waits"), () = ready(()) => {} }

        let second = ended.clone();
        let mut next = pin!(tasks.block_in_turn(&turns, move || second.load(SeqCst)));
        tokio::select! { biased; _ = &mut next => panic!("it has no turn yet"), () = ready(()) => {} }
        assert_eq!(tasks.len(), 1, "the second has not begun");
        end.send(()).unwrap();

        assert!(next.await.unwrap());
    }
}
