//! Relaying octets that are no HTTP.
//!
//! Place: for tunnels that are spliced; what follows a 101 is `websocket`'s. Octets already read go first; an end is passed on to the other side.
//! Source: RFC 9110 §9.3.6.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes};

use crate::{
    flow::Direction,
    io::{Duplex, HalfReader, HalfWriter, whole},
};

/// Octets read at a time, per direction.
const BUFFER: usize = 16 * 1024;

/// Both halves of one connection.
pub(super) type Ends = (HalfReader, HalfWriter);

/// Relays between two connections until both have ended. Octets are added to `passed` as they come, towards the origin and back.
///
/// # Errors
/// What either side says.
pub async fn relay(client: Ends, origin: Ends, passed: Arc<[AtomicU64; 2]>) -> io::Result<(u64, u64)> {
    let mut client = Counted { io: whole(client.0, client.1), passed: passed.clone(), from: Direction::Request };
    let mut origin = Counted { io: whole(origin.0, origin.1), passed, from: Direction::Response };
    copy_bidirectional_with_sizes(&mut client, &mut origin, BUFFER, BUFFER).await
}

/// A connection whose octets are counted as they are read.
struct Counted<T> {
    io: T,
    passed: Arc<[AtomicU64; 2]>,
    from: Direction,
}

impl<T: Duplex> AsyncRead for Counted<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = out.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, out))?;
        self.passed[self.from as usize].fetch_add((out.filled().len() - before) as u64, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<T: Duplex> AsyncWrite for Counted<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
