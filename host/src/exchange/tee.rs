//! Moving content on while keeping a handle to it.
//!
//! Place: both directions of `run`. Nothing is ever held back to be logged: a piece is noted and goes on in the same step.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
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
                None => {
                    sink.flush().await.map_err(PumpError::Sink)?;
                    tokio::select! {
                        waited = source.wait() => waited.map_err(PumpError::Source)?,
                        error = sink.gone() => return Err(PumpError::Sink(error)),
                    }
                }
            }
        }
    }
}
