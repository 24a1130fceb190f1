//! The two ends of an exchange, whatever protocol each speaks.
//!
//! Place: `run` moves pieces from a [`Source`] to a [`Sink`] in each direction and knows no framing; this file knows nothing else.
//! Backpressure is the protocols' own: a sink that does not take is waited for, and nothing is read meanwhile.
//! Source: RFC 9112, RFC 9113 §5.2 and §8.1.

use std::{collections::VecDeque, future::poll_fn, io, sync::Arc, time::Duration};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, client::ResponseFuture, server::SendResponse};
use tokio::time::timeout;

use super::{flushes::Flushes, http2};
use crate::{
    flow::{Direction, Fields, Pieces, ResponseHead},
    h1::{Framing, FramingError, HeadLimits, Incoming, Outgoing, Piece, encode_response, trailers_are_sane},
    hooks::Tap,
    io::{HalfReader, HalfWriter},
};

/// Octets a client may send ahead (pipelined requests) while it waits for an answer.
const READ_AHEAD: usize = 64 * 1024;

/// Content of one message, coming in.
pub struct Source<'a> {
    held: VecDeque<Piece>,
    wire: SourceWire<'a>,
    idle: Duration,
    tap: Option<(Arc<dyn Tap>, Direction)>,
}

enum SourceWire<'a> {
    Http1 { reader: &'a mut HalfReader, incoming: Incoming },
    Http2 { stream: RecvStream, owed: usize, done: bool },
}

impl<'a> Source<'a> {
    /// HTTP/1 content framed in that way. `idle`: longest silence.
    pub fn http1(reader: &'a mut HalfReader, framing: Framing, idle: Duration) -> Self {
        Self { held: VecDeque::new(), wire: SourceWire::Http1 { reader, incoming: Incoming::new(framing) }, idle, tap: None }
    }

    /// HTTP/2 content.
    pub fn http2(stream: RecvStream, idle: Duration) -> Self {
        Self { held: VecDeque::new(), wire: SourceWire::Http2 { stream, owed: 0, done: false }, idle, tap: None }
    }

    /// Longest silence.
    pub(super) fn idle(&self) -> Duration {
        self.idle
    }

    /// Lets `tap` hear of all that comes in, as that message's.
    pub(super) fn tap(&mut self, tap: Option<Arc<dyn Tap>>, of: Direction) {
        self.tap = tap.map(|tap| (tap, of));
    }

    /// Whether the whole content has come in.
    pub fn is_done(&self) -> bool {
        match &self.wire {
            SourceWire::Http1 { incoming, .. } => incoming.is_done(),
            SourceWire::Http2 { done, .. } => *done,
        }
    }

    /// Puts pieces that were held back in front of what is still to come.
    pub fn put_back(&mut self, pieces: impl IntoIterator<Item = Piece>) {
        self.held.extend(pieces);
    }

    /// Content without octets is there once more: its request is sent again.
    pub fn repeat_empty(&mut self) {
        if self.is_done() && self.held.is_empty() {
            self.held.push_back(Piece::End(Fields::default()));
        }
    }

    /// The next piece, if it is there already.
    ///
    /// # Errors
    /// If what is there is not content.
    pub fn ready(&mut self) -> io::Result<Option<Piece>> {
        if let Some(piece) = self.held.pop_front() {
            return Ok(Some(piece));
        }
        match &mut self.wire {
            SourceWire::Http1 { reader, incoming } => {
                let at_end = reader.at_end();
                let taken = incoming.take(reader.buffer(), at_end).map_err(not_content);
                if let (Some(tap), Ok(Some(piece))) = (&self.tap, &taken) {
                    heard(tap, piece);
                }
                taken
            }
            SourceWire::Http2 { .. } => Ok(None),
        }
    }

    /// Whether more is likely to be there at once, though no piece is ready: what was read filled its buffer.
    pub fn goes_on(&self) -> bool {
        match &self.wire {
            SourceWire::Http1 { reader, .. } => reader.goes_on(),
            SourceWire::Http2 { .. } => false,
        }
    }

    /// Waits until there may be another piece.
    ///
    /// # Errors
    /// If the other side broke off or was silent for too long.
    pub async fn wait(&mut self) -> io::Result<()> {
        let idle = self.idle;
        let wait = async {
            match &mut self.wire {
                SourceWire::Http1 { reader, .. } => reader.fill().await.map(drop),
                SourceWire::Http2 { stream, owed, done } => {
                    // Only what has been passed on makes room for more: flow control end to end.
                    if *owed > 0 {
                        stream.flow_control().release_capacity(std::mem::take(owed)).map_err(h2_error)?;
                    }
                    let piece = match stream.data().await {
                        Some(data) => {
                            let data = data.map_err(h2_error)?;
                            *owed += data.len();
                            Piece::Data(data)
                        }
                        None => {
                            let trailers = stream.trailers().await.map_err(h2_error)?;
                            let trailers = trailers.as_ref().map(http2::fields).unwrap_or_default();
                            trailers_are_sane(&trailers).map_err(not_content)?;
                            *done = true;
                            Piece::End(trailers)
                        }
                    };
                    if piece != Piece::Data(Bytes::new()) {
                        if let Some(tap) = &self.tap {
                            heard(tap, &piece);
                        }
                        self.held.push_back(piece);
                    }
                    Ok(())
                }
            }
        };
        timeout(idle, wait).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Holds the content until it is complete. `Err(pieces)`: it is longer than `limit`, and what had come is given back.
    ///
    /// # Errors
    /// As for [`Source::wait`].
    pub async fn hold(&mut self, limit: usize) -> io::Result<Result<(Pieces, Fields), Vec<Piece>>> {
        let (mut pieces, mut len) = (Pieces::default(), 0);
        loop {
            match self.ready()? {
                Some(Piece::Data(data)) => {
                    len += data.len();
                    pieces.push(data);
                    if len > limit {
                        return Ok(Err(pieces.into_vec().into_iter().map(Piece::Data).collect()));
                    }
                }
                Some(Piece::End(trailers)) => return Ok(Ok((pieces, trailers))),
                None => self.wait().await?,
            }
        }
    }

    /// Resolves when the client of a request that has come in whole goes away. Requests it sends ahead are kept for later.
    pub async fn gone(&mut self) -> io::Error {
        match &mut self.wire {
            SourceWire::Http1 { reader, .. } => loop {
                if reader.buffer().len() >= READ_AHEAD {
                    return std::future::pending().await;
                }
                match reader.fill().await {
                    Ok(0) => return io::ErrorKind::UnexpectedEof.into(),
                    Ok(_) => {}
                    Err(error) => return error,
                }
            },
            // Its reset reaches the sink of the response.
            SourceWire::Http2 { .. } => std::future::pending().await,
        }
    }
}

fn not_content(error: FramingError) -> io::Error {
    let kind = if error == FramingError::EARLY { io::ErrorKind::UnexpectedEof } else { io::ErrorKind::InvalidData };
    io::Error::new(kind, error)
}

/// Whether content stood still for as long as it may. The system says the same, with a number, of a peer that is gone.
pub(super) fn stood_still(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::TimedOut && error.raw_os_error().is_none()
}

/// What is wrong with content that came, if that is why there is no more of it.
pub(super) fn malformed(error: &io::Error) -> Option<&'static str> {
    let framing: &FramingError = error.get_ref()?.downcast_ref()?;
    (*framing != FramingError::EARLY).then_some(framing.0)
}

fn heard((tap, of): &(Arc<dyn Tap>, Direction), piece: &Piece) {
    match piece {
        Piece::Data(octets) => tap.piece(*of, octets),
        Piece::End(trailers) => tap.end(*of, trailers),
    }
}

/// Content of one message, going out.
pub enum Sink<'a> {
    /// To an HTTP/1 connection.
    Http1 {
        /// Where to.
        writer: &'a mut HalfWriter,
        /// In which framing.
        outgoing: Outgoing,
    },
    /// To an HTTP/2 stream.
    Http2 {
        /// Where to.
        stream: SendStream<Bytes>,
        /// Of a client's: what tells when something has been written.
        flushes: Option<Flushes>,
        /// For how long it may take nothing.
        idle: Duration,
    },
    /// The head has ended the message.
    Ended,
}

impl Sink<'_> {
    /// Sends a piece; it may wait for [`Sink::flush`].
    ///
    /// # Errors
    /// If the other side does not take it any more, [`io::ErrorKind::TimedOut`] where it has taken nothing for too long.
    pub async fn put(&mut self, mut piece: Bytes) -> io::Result<()> {
        match self {
            Self::Http1 { writer, outgoing } => writer.put(outgoing, &piece).await,
            Self::Http2 { stream, idle, .. } => {
                stream.reserve_capacity(piece.len());
                while !piece.is_empty() {
                    let capacity = match stream.capacity() {
                        0 => match timeout(*idle, poll_fn(|cx| stream.poll_capacity(cx))).await.map_err(|_| io::ErrorKind::TimedOut)? {
                            Some(capacity) => capacity.map_err(h2_error)?,
                            None => return Err(io::ErrorKind::BrokenPipe.into()),
                        },
                        capacity => capacity,
                    };
                    let part = piece.split_to(capacity.min(piece.len()));
                    if !part.is_empty() {
                        stream.send_data(part, false).map_err(h2_error)?;
                    }
                }
                Ok(())
            }
            Self::Ended => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Ends the message.
    ///
    /// # Errors
    /// If the other side does not take it any more, or content is missing.
    pub fn finish(&mut self, trailers: &Fields) -> io::Result<()> {
        match self {
            Self::Http1 { writer, outgoing } => writer.finish(outgoing, trailers),
            Self::Http2 { stream, .. } if trailers.is_empty() => stream.send_data(Bytes::new(), true).map_err(h2_error),
            Self::Http2 { stream, .. } => stream.send_trailers(http2::map(trailers)).map_err(h2_error),
            Self::Ended => Ok(()),
        }
    }

    /// Lets nothing wait.
    ///
    /// # Errors
    /// As for [`Sink::put`].
    pub async fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Http1 { writer, .. } => writer.flush().await,
            Self::Http2 { .. } | Self::Ended => Ok(()),
        }
    }

    /// Resolves when the receiver of an HTTP/2 stream has reset it.
    pub async fn gone(&mut self) -> io::Error {
        match self {
            Self::Http2 { stream, .. } => reset(poll_fn(|cx| stream.poll_reset(cx)).await),
            // A client over HTTP/1 is watched where its requests come from.
            Self::Http1 { .. } | Self::Ended => std::future::pending().await,
        }
    }

    /// Breaks a response off so that its receiver, once it has what came before, can see that something is missing; for the reason its sender
    /// gave, if it gave one. HTTP/1 has only the end of the connection for that.
    pub async fn break_off(&mut self, reason: Option<Reason>) {
        if let Self::Http2 { stream, flushes, .. } = self {
            if let Some(flushes) = flushes {
                flushes.written(stream).await;
            }
            // Not CANCEL, if it is for us to say: some clients take that for an end like any other.
            stream.send_reset(reason.unwrap_or(Reason::INTERNAL_ERROR));
        }
    }

    /// Gives a request up, nobody waits for its answer any more.
    pub fn cancel(&mut self) {
        if let Self::Http2 { stream, .. } = self {
            stream.send_reset(Reason::CANCEL);
        }
    }
}

/// Where the response goes.
pub enum Responder<'a> {
    /// An HTTP/1 client.
    Http1(&'a mut HalfWriter),
    /// An HTTP/2 client, and for how long it may take nothing.
    Http2(SendResponse<Bytes>, Flushes, Duration),
}

impl<'a> Responder<'a> {
    /// An interim response (RFC 9110 §15.2).
    ///
    /// # Errors
    /// If the client is gone.
    pub async fn interim(&mut self, head: &ResponseHead) -> io::Result<()> {
        match self {
            Self::Http1(writer) => {
                encode_response(writer.buffer(), head);
                writer.flush().await
            }
            Self::Http2(respond, ..) => respond.send_informational(http2::response(head)).map_err(h2_error),
        }
    }

    /// The final response's head; its content goes into what is returned.
    ///
    /// # Errors
    /// If the client is gone.
    pub fn head(self, head: &ResponseHead, framing: Framing) -> io::Result<Sink<'a>> {
        match self {
            Self::Http1(writer) => {
                encode_response(writer.buffer(), head);
                if framing == Framing::UntilClose {
                    writer.leave_open();
                }
                Ok(Sink::Http1 { writer, outgoing: framing.into() })
            }
            Self::Http2(mut respond, flushes, idle) => {
                let ends = matches!(framing, Framing::Empty | Framing::Length(0));
                let stream = respond.send_response(http2::response(head), ends).map_err(h2_error)?;
                Ok(if ends { Sink::Ended } else { Sink::Http2 { stream, flushes: Some(flushes), idle } })
            }
        }
    }

    /// Resolves when an HTTP/2 client has reset its stream.
    pub async fn gone(&mut self) -> io::Error {
        match self {
            Self::Http1(_) => std::future::pending().await,
            Self::Http2(respond, ..) => reset(poll_fn(|cx| respond.poll_reset(cx)).await),
        }
    }

    /// Closes the stream of an HTTP/2 client without an answer.
    pub fn reset(self, reason: Reason) {
        if let Self::Http2(mut respond, ..) = self {
            respond.send_reset(reason);
        }
    }
}

/// Where the response comes from.
pub(super) enum Answer<'a> {
    /// An HTTP/1 origin.
    Http1(&'a mut HalfReader),
    /// An HTTP/2 origin.
    Http2(ResponseFuture, Option<RecvStream>),
}

/// What came instead of a response head.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// The connection ended or broke before the first octet.
    Closed(Option<io::Error>),
    /// Something came, but no response.
    Malformed(String),
}

impl<'a> Answer<'a> {
    /// The next head, interim ones included.
    ///
    /// # Errors
    /// Where there is none.
    pub(super) async fn head(&mut self, limits: HeadLimits) -> Result<ResponseHead, NoAnswer> {
        match self {
            Self::Http1(reader) => match reader.response(limits).await {
                Ok(Some(head)) => Ok(head),
                Ok(None) => Err(NoAnswer::Closed(None)),
                Err(crate::h1::ReadError::Io(error)) => Err(NoAnswer::Closed(Some(error))),
                Err(crate::h1::ReadError::Head(error)) => Err(NoAnswer::Malformed(error.to_string())),
            },
            Self::Http2(future, content) => match poll_fn(|cx| future.poll_informational(cx)).await {
                Some(Ok(interim)) => Ok(http2::response_head(&interim)),
                Some(Err(error)) => Err(NoAnswer::Closed(Some(h2_error(error)))),
                None => {
                    let response = future.await.map_err(|error| NoAnswer::Closed(Some(h2_error(error))))?;
                    let head = http2::response_head(&response);
                    *content = Some(response.into_body());
                    Ok(head)
                }
            },
        }
    }

    /// The final response's content.
    pub(super) fn content(self, framing: Framing, idle: Duration) -> Source<'a> {
        match self {
            Self::Http1(reader) => Source::http1(reader, framing, idle),
            // `head` has returned the final head, and with it came the stream.
            Self::Http2(_, stream) => Source::http2(stream.expect("the final head was read"), idle),
        }
    }
}

fn reset(reason: Result<Reason, h2::Error>) -> io::Error {
    match reason {
        Ok(reason) => io::Error::new(io::ErrorKind::ConnectionReset, h2::Error::from(reason)),
        Err(error) => h2_error(error),
    }
}

/// Why the other side reset an HTTP/2 stream, if it did.
pub(super) fn said_reason(error: &io::Error) -> Option<Reason> {
    let error: &h2::Error = error.get_ref()?.downcast_ref()?;
    error.reason().filter(|_| error.is_reset() && error.is_remote())
}

/// Whether an HTTP/2 origin says that it has done nothing about a request (RFC 9113 §8.7): it may be sent again, whatever it is.
pub(super) fn was_not_processed(error: &io::Error) -> bool {
    let error: Option<&h2::Error> = error.get_ref().and_then(|error| error.downcast_ref());
    // Streams that a GOAWAY does not count as processed end with it; others go on.
    error.is_some_and(|error| {
        error.is_remote() && (error.is_go_away() || error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM))
    })
}

/// What a client over HTTP/2 is told, in the place of an answer, of an origin that ended its stream: the same, as it would hear without a proxy.
pub(super) fn passes_on(error: &io::Error) -> Option<Reason> {
    let said = said_reason(error).filter(|reason| *reason != Reason::NO_ERROR);
    said.or_else(|| was_not_processed(error).then_some(Reason::REFUSED_STREAM))
}

/// The system's error, where there is one below.
pub(super) fn h2_error(error: h2::Error) -> io::Error {
    let kind = match error.is_reset() || error.is_go_away() {
        true => io::ErrorKind::ConnectionReset,
        false => io::ErrorKind::InvalidData,
    };
    if error.is_io() { error.into_io().unwrap_or_else(|| kind.into()) } else { io::Error::new(kind, error) }
}
