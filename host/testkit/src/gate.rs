//! A gate that the test opens: how origins pause without a clock.
//!
//! Place: in an origin's [`Script`](crate::Script), opened from the test.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// Lets one waiter through for each time it is opened. Clones are the same gate.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Semaphore>);

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    /// Lets one waiter through, now or later.
    pub fn open(&self) {
        self.open_for(1);
    }

    /// Lets so many through.
    pub fn open_for(&self, waiters: usize) {
        self.0.add_permits(waiters);
    }

    /// Waits to be let through; as long as it takes. Cancelling leaves the gate as it was.
    pub async fn passed(&self) {
        if let Ok(permit) = self.0.acquire().await {
            permit.forget();
        }
    }
}
