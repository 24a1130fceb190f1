//! Knowing that what was handed to an HTTP/2 connection has been written.
//!
//! Place: below the server side of `h2`, which throws away what still waits of a stream when that is reset, its head included, and does not
//! say when it has written. Goes when it offers a reset that waits for its turn.

use std::{
    io::{self, IoSlice},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use h2::SendStream;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
    time::timeout,
};

use crate::io::Io;

/// How long a stream that is broken off waits for a client that does not read.
const PATIENCE: Duration = Duration::from_secs(1);

/// Tells of a connection's flushes. Clones are of the same connection.
#[derive(Clone, Default)]
pub struct Flushes(Arc<Notify>);

impl Flushes {
    /// The connection that this is to tell of.
    pub(super) fn of(&self, io: Io) -> Flushed {
        Flushed { io, flushes: self.clone() }
    }

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

/// A connection whose flushes are told of.
pub(super) struct Flushed {
    io: Io,
    flushes: Flushes,
}

impl AsyncRead for Flushed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, out)
    }
}

impl AsyncWrite for Flushed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        self.flushes.0.notify_waiters();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
