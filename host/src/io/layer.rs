//! Something between a connection and whoever uses it: what is written passes untouched, so that only what is special has to be said.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::OwnedSemaphorePermit,
};

/// What is done between a connection and whoever uses it; by itself nothing.
pub trait Layer<I: Unpin> {
    /// Reads from `below`, as [`AsyncRead::poll_read`] does.
    ///
    /// # Errors
    /// As that.
    fn poll_read(&mut self, below: &mut I, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>>
    where
        I: AsyncRead,
    {
        Pin::new(below).poll_read(cx, out)
    }

    /// All that was written has been sent on.
    fn flushed(&mut self) {}
}

/// A place that the connection takes among others for as long as it stands.
impl<I: Unpin> Layer<I> for OwnedSemaphorePermit {}

/// A connection with something in front.
pub struct Layered<I, L> {
    below: I,
    layer: L,
}

impl<I, L> Layered<I, L> {
    /// With `layer` in front of `below`.
    pub fn new(below: I, layer: L) -> Self {
        Self { below, layer }
    }

    /// The connection without it.
    pub fn into_inner(self) -> I {
        self.below
    }
}

impl<I: AsyncRead + Unpin, L: Layer<I> + Unpin> AsyncRead for Layered<I, L> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { below, layer } = &mut *self;
        layer.poll_read(below, cx, out)
    }
}

impl<I: AsyncWrite + Unpin, L: Layer<I> + Unpin> AsyncWrite for Layered<I, L> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.below).poll_write(cx, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.below).poll_flush(cx);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.layer.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.below).poll_shutdown(cx)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match slices {
            // As TLS asks with one record: the system has less to do for a `send` than for a `writev`.
            [one] => Pin::new(&mut self.below).poll_write(cx, one),
            _ => Pin::new(&mut self.below).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.below.is_write_vectored()
    }
}
