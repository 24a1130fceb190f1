//! How long a test waits for what must happen.
//!
//! Place: around every wait of the kit. No test sleeps: it waits for an event, and this is when it gives up.

use std::time::Duration;

/// When an event counts as not coming. Long, because machines that run tests are busy: what computes for two seconds takes a minute where thirty
/// others do. Nothing waits this long where all is well.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Waits for `event`.
///
/// # Panics
/// Where it has not come after [`PATIENCE`]; the message names `what`.
pub async fn within<F: Future>(what: &str, event: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, event).await {
        Ok(output) => output,
        Err(_elapsed) => panic!("{what}: not within {PATIENCE:?}"),
    }
}
