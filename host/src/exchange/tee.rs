//! Moving content on while keeping a handle to it.
//!
//! Place: both directions of `run`. Nothing is ever held back to be logged: a piece is noted and goes on in the same step.

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::atomic::{AtomicU64, Ordering},
    task::Poll,
};

use bytes::Bytes;

use super::ends::{Sink, Source};
use crate::{
    flow::{Direction, Fields, Refusal, SharedFlow, lock},
    h1::Piece,
};

/// Counts what passes in one direction, and notes it if anyone wants it.
#[derive(Clone, Copy)]
pub(super) struct Tee<'a> {
    flow: Option<&'a SharedFlow>,
    of: Direction,
    passed: &'a AtomicU64,
}

/// Which side broke.
#[derive(Debug)]
pub(super) enum PumpError {
    /// Nothing more, or nothing good, comes in.
    Source(io::Error),
    /// Nothing more goes out.
    Sink(io::Error),
    /// A plugin failed, and what it has not seen must not pass.
    Filter(Box<Refusal>),
}

impl<'a> Tee<'a> {
    /// Notes into `flow`, where there is one; octets are added to `passed`.
    pub(super) fn new(flow: Option<&'a SharedFlow>, of: Direction, passed: &'a AtomicU64) -> Self {
        Self { flow, of, passed }
    }

    /// Takes note of a piece that goes on.
    pub(super) fn note(&self, piece: &Bytes) {
        self.passed.fetch_add(piece.len() as u64, Ordering::Relaxed);
        if let Some(flow) = self.flow {
            lock(flow).content_mut(self.of).pass(piece);
        }
    }

    /// Takes note of the trailers.
    pub(super) fn note_trailers(&self, trailers: &Fields) {
        if let Some(flow) = self.flow.filter(|_| !trailers.is_empty()) {
            lock(flow).set_trailers(self.of, trailers.clone());
        }
    }

    /// Moves everything from `source` to `sink`, each piece when it arrives, pieces that arrived together in one write.
    ///
    /// # Errors
    /// Says which side broke.
    pub(super) async fn pump(&self, source: &mut Source<'_>, sink: &mut Sink<'_>) -> Result<(), PumpError> {
        loop {
            match source.ready().map_err(PumpError::Source)? {
                Some(Piece::Data(data)) => {
                    self.note(&data);
                    sink.put(data).await.map_err(PumpError::Sink)?;
                }
                Some(Piece::End(trailers)) => {
                    sink.finish(&trailers).map_err(PumpError::Sink)?;
                    self.note_trailers(&trailers);
                    return sink.flush().await.map_err(PumpError::Sink);
                }
                None => more(source, sink).await?,
            }
        }
    }
}

/// Waits until there may be another piece of `source`; `sink` has what went before.
///
/// # Errors
/// Says which side broke.
pub(super) async fn more(source: &mut Source<'_>, sink: &mut Sink<'_>) -> Result<(), PumpError> {
    let goes_on = source.goes_on();
    let mut waiting = pin!(source.wait());
    if goes_on && let Poll::Ready(waited) = at_once(waiting.as_mut()).await {
        return waited.map_err(PumpError::Source);
    }
    sink.flush().await.map_err(PumpError::Sink)?;
    tokio::select! {
        waited = &mut waiting => waited.map_err(PumpError::Source),
        error = sink.gone() => Err(PumpError::Sink(error)),
    }
}

/// What comes of `future` without waiting for anything; it can be waited for afterwards.
pub(super) async fn at_once<T>(mut future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, atomic::AtomicUsize},
        task::Context,
        time::Duration,
    };

    use bytes::BytesMut;
    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    use super::*;
    use crate::{h1::Framing, io::halves};

    /// All of it can be read at once, and all writes are taken and counted.
    struct Ends(&'static [u8], Arc<AtomicUsize>);

    impl AsyncRead for Ends {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            let (now, later) = self.0.split_at(self.0.len().min(out.remaining()));
            out.put_slice(now);
            self.0 = later;
            if now.is_empty() { Poll::Pending } else { Poll::Ready(Ok(())) }
        }
    }

    impl AsyncWrite for Ends {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
            self.1.fetch_add(1, Ordering::Relaxed);
            Poll::Ready(Ok(octets.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn what_is_there_at_once_leaves_in_one_write() {
        for len in [500, 3000, 5000] {
            let writes = Arc::default();
            let (mut reader, mut writer) = halves(Box::new(Ends(&[b'x'; 5000][..len], Arc::clone(&writes))), BytesMut::new());
            let framing = Framing::Length(len as u64);
            let mut source = Source::http1(&mut reader, framing, Duration::MAX);
            let mut sink = Sink::Http1 { writer: &mut writer, outgoing: framing.into() };

            Tee::new(None, Direction::Response, &AtomicU64::new(0)).pump(&mut source, &mut sink).await.expect("nothing breaks");

            assert_eq!(writes.load(Ordering::Relaxed), 1, "{len}");
        }
    }
}
