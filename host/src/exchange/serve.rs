//! Serving a connection whose client and origin are known: the inside of a tunnel.
//!
//! Place: `net` ends the TLS and hands over what is inside.
//! Source: RFC 9112 §9, RFC 9113 §3.4 and §5.

use std::{future::poll_fn, sync::Arc};

use bytes::Bytes;
use h2::Reason;
use http::Version;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    time::{Instant, sleep_until, timeout},
};
use tracing::Instrument;

use super::{
    Exchange,
    ends::{Responder, Source},
    flood::{Flood, Watch},
    flushes::Flushes,
    http2, respond,
    run::{After, Request, Upgraded, Via},
    target::in_tunnel,
    websocket,
};
use crate::{
    flow::{LocalResponse, Refusal},
    h1::{Framing, HeadError, ReadError, RequestLine, encode_response, request_framing},
    io::{HalfReader, HalfWriter, Io, Layered, Lent, abort},
    origin::{CONNECTION_WINDOW, STREAM_WINDOW},
};

/// As what streams beyond their number are counted: the error that a response would name (RFC 9209 §2.3.12).
const TOO_MANY: &str = "connection_limit_reached";

/// What is left when a connection has carried one exchange.
pub enum Served {
    /// It can carry the next one.
    Next(HalfReader, HalfWriter),
    /// It has ended.
    Ended,
}

impl Exchange {
    /// Serves HTTP/1 inside a tunnel until either side has enough.
    pub async fn serve_http1(&self, mut reader: HalfReader, mut writer: HalfWriter, via: Via) {
        loop {
            let (line, framing) = match self.next_request(&mut reader).await {
                Ok(Some(request)) => request,
                Ok(None) => return,
                Err(refusal) => return self.refuse(refusal, reader, writer).await,
            };
            let head = match in_tunnel(line, &via.destination.origin) {
                Ok(head) => head,
                Err(refusal) => return self.refuse(refusal, reader, writer).await,
            };
            match self.one(reader, writer, &via, head, framing).await {
                Served::Next(read, write) => (reader, writer) = (read, write),
                Served::Ended => return,
            }
        }
    }

    /// The next request head and how its content is framed; `None` when the connection ends, idles for too long, or the proxy stops.
    ///
    /// # Errors
    /// Where what comes is no request, or comes too slowly.
    pub async fn next_request(&self, reader: &mut HalfReader) -> Result<Option<(RequestLine, Framing)>, Refusal> {
        if reader.buffer().is_empty() {
            tokio::select! {
                biased;
                filled = timeout(self.limits.keep_alive, reader.fill()) => match filled {
                    Ok(Ok(1..)) => {}
                    _ => return Ok(None),
                },
                () = self.tasks.stopping().cancelled() => return Ok(None),
            }
        }
        match timeout(self.limits.head_deadline, reader.request(self.limits.head)).await {
            Ok(Ok(None)) => Ok(None),
            Ok(Ok(Some(line))) => {
                let framing = request_framing(line.version, &line.fields).map_err(|error| Refusal::BadRequest(error.0))?;
                Ok(Some((line, framing)))
            }
            Ok(Err(ReadError::Io(_))) => Ok(None),
            Ok(Err(ReadError::Head(HeadError::TooLarge))) => Err(Refusal::HeadTooLarge { limit: self.limits.head.octets }),
            Ok(Err(ReadError::Head(HeadError::Malformed(reason)))) => Err(Refusal::BadRequest(reason)),
            Err(_elapsed) => Err(Refusal::BadRequest("the head did not arrive in time")),
        }
    }

    /// One exchange on an HTTP/1 connection.
    pub async fn one(&self, reader: HalfReader, writer: HalfWriter, via: &Via, head: crate::flow::RequestHead, framing: Framing) -> Served {
        let mut lent = Lent::new(reader, writer);
        let (reader, writer) = lent.halves();
        writer.be_patient(self.limits.idle);
        let content = Source::http1(reader, framing, self.limits.idle);
        let after = self.run(via, Request::new(head, framing, content), Responder::Http1(writer)).await;
        let (reader, writer) = lent.back();
        match after {
            After::Next => Served::Next(reader, writer),
            After::Abort => {
                if writer.is_open_ended() {
                    abort(reader, writer, self.limits.farewell).await;
                }
                Served::Ended
            }
            After::Close => {
                self.linger(reader, writer).await;
                Served::Ended
            }
            After::Upgraded(upgraded) => {
                let Upgraded { connection, messages } = *upgraded;
                let origin = (connection.reader, connection.writer);
                let (stopping, relayed) = (self.tasks.stopping(), self.meters.relayed());
                websocket::converse((reader, writer), origin, messages, &self.limits, stopping, &relayed).await;
                Served::Ended
            }
        }
    }

    /// Answers a request that was not understood, and closes: what follows it cannot be trusted to be a request.
    pub async fn refuse(&self, refusal: Refusal, reader: HalfReader, writer: HalfWriter) {
        tracing::info!("{}", respond::sentence(&refusal));
        self.meters.refused(respond::error(&refusal));
        self.say_and_close(&respond::refusal(&refusal), false, reader, writer).await;
    }

    /// Sends a response made here on an HTTP/1 connection and closes it. `is_head`: its head alone (RFC 9110 §9.3.2).
    pub async fn say_and_close(&self, response: &LocalResponse, is_head: bool, reader: HalfReader, mut writer: HalfWriter) {
        writer.be_patient(self.limits.idle);
        encode_response(writer.buffer(), &respond::head(response, true));
        if !is_head {
            writer.buffer().extend_from_slice(&response.content);
        }
        if writer.flush().await.is_ok() {
            self.linger(reader, writer).await;
        }
    }

    /// Serves HTTP/2 inside a tunnel until either side has enough.
    pub async fn serve_http2(self: &Arc<Self>, io: Io, via: Via) {
        let flushes = Flushes::default();
        let (watch, alarm) = Watch::new(self.limits.floods);
        let io = Layered::new(Layered::new(io, flushes.clone()), watch);
        let mut builder = h2::server::Builder::new();
        builder
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_concurrent_streams(self.limits.streams)
            .max_send_buffer_size(self.limits.stream_buffer)
            .max_pending_accept_reset_streams(self.limits.resets_unseen)
            .max_local_error_reset_streams(Some(self.limits.stream_errors))
            .max_header_list_size(u32::try_from(self.limits.head.octets).unwrap_or(u32::MAX));
        let Ok(Ok(mut connection)) = timeout(self.limits.head_deadline, builder.handshake::<_, Bytes>(io)).await else {
            return;
        };
        let mut stopping = false;
        let mut quiet_since = Instant::now();
        loop {
            let accepted = tokio::select! {
                accepted = connection.accept() => accepted,
                () = self.tasks.stopping().cancelled(), if !stopping => {
                    connection.graceful_shutdown();
                    stopping = true;
                    continue;
                }
                flood = alarm.raised() => {
                    tracing::info!("HTTP/2 connection closed: {}", match flood {
                        Flood::Resets => "its client cancels too many requests",
                        Flood::Chatter => "its client sends too many frames that carry nothing",
                    });
                    return self.part(connection, Reason::ENHANCE_YOUR_CALM).await;
                }
                () = sleep_until(quiet_since + self.limits.keep_alive) => {
                    if !connection.has_streams() {
                        return self.part(connection, Reason::NO_ERROR).await;
                    }
                    // Some last longer than that.
                    quiet_since = Instant::now();
                    continue;
                }
            };
            let (request, mut respond) = match accepted {
                Some(Ok(accepted)) => accepted,
                // Its streams see it themselves. Many a client just goes.
                Some(Err(error)) if error.is_io() => return tracing::debug!("HTTP/2 connection closed: {error}"),
                Some(Err(error)) => return tracing::info!("HTTP/2 connection closed: {error}"),
                None => return,
            };
            quiet_since = Instant::now();
            let Some(share) = self.streams.take(via.scope.client.network()) else {
                // Its client may try again (RFC 9113 §8.7).
                self.meters.refused(TOO_MANY);
                respond.send_reset(Reason::REFUSED_STREAM);
                continue;
            };
            let (exchange, via, responder) = (self.clone(), via.clone(), Responder::Http2(respond, flushes.clone(), self.limits.idle));
            let stream = async move {
                let _share = share;
                exchange.stream(via, request, responder).await;
            };
            // Of the same client, whose lines are bounded.
            self.tasks.spawn_severable(stream.in_current_span());
        }
    }

    /// Says why, if the client takes it, and lets the connection go.
    async fn part<I>(&self, mut connection: h2::server::Connection<I, Bytes>, reason: Reason)
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        connection.abrupt_shutdown(reason);
        let _ = timeout(self.limits.farewell, poll_fn(|cx| connection.poll_closed(cx))).await;
    }

    async fn stream(&self, via: Via, request: http::Request<h2::RecvStream>, responder: Responder<'_>) {
        let head = match http2::request_head(&request, via.destination.origin.scheme, self.limits.head) {
            Ok(head) => head,
            Err(refusal) => {
                tracing::info!("{}", respond::sentence(&refusal));
                self.meters.refused(respond::error(&refusal));
                let mut responder = Some(responder);
                let _ = super::run::send(&respond::refusal(&refusal), request.method(), false, &mut responder).await;
                return;
            }
        };
        debug_assert_eq!(head.version, Version::HTTP_2);
        let stream = request.into_body();
        let framing = match stream.is_end_stream() {
            true => Framing::Empty,
            false => http2_request_framing(&head),
        };
        let content = Source::http2(stream, self.limits.idle);
        self.run(&via, Request::new(head, framing, content), responder).await;
    }

    /// Lets a client read its last response: a reset caused by unread octets would take it away again (RFC 9112 §9.6).
    async fn linger(&self, reader: HalfReader, mut writer: HalfWriter) {
        let (read, _) = reader.into_parts();
        let swallow = async {
            writer.shutdown().await?;
            tokio::io::copy(&mut read.take(self.limits.farewell_octets), &mut tokio::io::sink()).await
        };
        let _ = timeout(self.limits.farewell, swallow).await;
    }
}

/// The length a client announced serves an HTTP/1 origin as well; `h2` holds the client to it.
fn http2_request_framing(head: &crate::flow::RequestHead) -> Framing {
    match request_framing(Version::HTTP_11, &head.fields) {
        Ok(Framing::Length(octets)) => Framing::Length(octets),
        _ => Framing::Chunked,
    }
}
