//! Knowing that what was handed to an HTTP/2 connection has been written.
//!
//! Place: below the server side of `h2`, which throws away what still waits of a stream when that is reset, its head included, and does not
//! say when it has written. Goes when it offers a reset that waits for its turn.

use std::{pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use h2::SendStream;
use tokio::{sync::Notify, time::timeout};

use crate::io::Layer;

/// How long a stream that is broken off waits for a client that does not read.
const PATIENCE: Duration = Duration::from_secs(1);

/// Tells of the flushes of the connection it lies over. Clones are of the same connection.
#[derive(Clone, Default)]
pub struct Flushes(Arc<Notify>);

impl Flushes {
    /// Waits until what the stream was given before has been written, as far as its client takes it.
    pub(super) async fn written(&self, stream: &mut SendStream<Bytes>) {
        let twice = async {
            // What is written when this begins may have been gathered before.
            for _ in 0..2 {
                let mut flushed = pin!(self.0.notified());
                flushed.as_mut().enable();
                // With nothing to write there would be no flush.
                if stream.send_data(Bytes::new(), false).is_err() {
                    return;
                }
                flushed.await;
            }
        };
        let _ = timeout(PATIENCE, twice).await;
    }
}

impl<I: Unpin> Layer<I> for Flushes {
    fn flushed(&mut self) {
        self.0.notify_waiters();
    }
}
