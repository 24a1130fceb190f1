//! A request to its origin, and the response back.
//!
//! Place: the larger part of the way of a flow, behind `run` and the request filters. Takes connections from `origin`; both directions run at
//! once in one task. Cancelling it anywhere is safe: a connection that was in use is not used again.
//! Source: RFC 9110 §3.4, §7.6, §9.2.2; RFC 9112 §9.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use http::{StatusCode, Version};
use tokio::time::sleep_until;

use super::{
    Exchange,
    download::{Answered, Asked},
    ends::{self, Answer, Responder, Sink, Source},
    fault::Fault,
    fields, http2, respond,
    run::{After, Request, Upgraded},
    stream::{self, Ended, Rewriting},
    tee::{PumpError, Tee},
};
use crate::{
    flow::{Direction, OpenFlow, Origin, Refusal, Scope, SharedFlow, lock},
    h1::{Framing, encode_request},
    origin::{Connection, Destination, Lease, Share},
    spans::FlowSpan,
};

/// How far an exchange with an origin has come.
pub(super) struct Progress<'a> {
    pub(super) origin: &'a Origin,
    /// The request has gone out whole.
    pub(super) uploaded: AtomicBool,
    pub(super) began: Instant,
    /// When the last interim response has come, in milliseconds from `began`.
    pub(super) interim: AtomicU64,
    /// The head of the final response has come.
    pub(super) answering: AtomicBool,
}

impl Exchange {
    /// To the origin and back, once more on a fresh connection where a kept one turned out to be dead or the origin says that it did nothing.
    pub(super) async fn forward<'a>(
        &self,
        destination: Destination,
        scope: &Arc<Scope>,
        request: &mut Request<'a>,
        responder: &mut Option<Responder<'a>>,
        mut open: Option<&mut OpenFlow>,
    ) -> Result<After, Fault> {
        let mut fresh = false;
        loop {
            match self.lease(&destination, scope, request.head.version, fresh, request.span.as_ref()).await.map_err(Fault::Refused)? {
                Lease::Http2(share) => {
                    if fields::logs_in(&request.head.fields) {
                        share.carry_login();
                    }
                    let sent = self.over_http2(&destination.origin, &share, request, responder, open.as_deref_mut()).await;
                    match sent {
                        Err(Fault::Refused(Refusal::NoResponse { source: Some(error), .. }))
                            if !fresh && request.framing == Framing::Empty && ends::was_not_processed(&error) =>
                        {
                            fresh = true;
                            request.content.repeat_empty();
                        }
                        sent => return sent,
                    }
                }
                Lease::Http1(mut connection) => {
                    if fields::logs_in(&request.head.fields) {
                        connection.carry_login_of(scope);
                    }
                    let sent = self.over_http1(&destination.origin, &mut connection, request, responder, open.as_deref_mut()).await;
                    match sent {
                        Err(Fault::Refused(Refusal::NoResponse { .. })) if connection.reused && !fresh && is_repeatable(request) => {
                            fresh = true;
                            request.content.repeat_empty();
                        }
                        Err(fault) => return Err(fault),
                        Ok(answered) if answered.status == StatusCode::SWITCHING_PROTOCOLS => {
                            return Ok(After::Upgraded(Box::new(Upgraded { connection: *connection, messages: None })));
                        }
                        Ok(answered) => {
                            if answered.login {
                                connection.carry_login_of(scope);
                            }
                            if answered.origin_persists && request.content.is_done() {
                                self.pool.give_back(destination, *connection);
                            }
                            return Ok(match answered.client_persists && request.content.is_done() {
                                true => After::Next,
                                false => After::Close,
                            });
                        }
                    }
                }
            }
        }
    }

    /// A way to the origin; that one was made for it, or was not to be had, is told.
    async fn lease(
        &self,
        destination: &Destination,
        scope: &Arc<Scope>,
        version: Version,
        fresh: bool,
        span: Option<&FlowSpan>,
    ) -> Result<Lease, Refusal> {
        let told = span.map(|span| (span, Instant::now()));
        let lease = match version {
            Version::HTTP_2 => self.pool.http2(destination, scope, fresh).await,
            _ => self.pool.http1(destination, scope, fresh).await.map(Lease::Http1),
        };
        if let Some((span, began)) = told {
            match &lease {
                Ok(lease) => {
                    lease.dialled().into_iter().for_each(|dialled| span.connected(dialled.began, dialled.connected, dialled.secured));
                }
                Err(refusal) => span.not_connected(began, respond::error(refusal)),
            }
        }
        lease
    }

    async fn over_http1<'a>(
        &self,
        origin: &Origin,
        connection: &mut Connection,
        request: &mut Request<'a>,
        responder: &mut Option<Responder<'a>>,
        open: Option<&mut OpenFlow>,
    ) -> Result<Answered, Fault> {
        let Connection { reader, writer, .. } = connection;
        let head = &request.head;
        if head.version == Version::HTTP_2 {
            let head = http2::downgraded(head, request.framing);
            encode_request(writer.buffer(), &head.method, &head.path, head.version, &head.fields);
        } else {
            encode_request(writer.buffer(), &head.method, &head.path, head.version, &head.fields);
        }
        let framing = request.framing;
        writer.be_patient(self.limits.idle);
        let sink = Sink::Http1 { writer, outgoing: framing.into() };
        self.drive(origin, request, sink, Answer::Http1(reader), responder, open).await
    }

    async fn over_http2<'a>(
        &self,
        origin: &Origin,
        share: &Share,
        request: &mut Request<'a>,
        responder: &mut Option<Responder<'a>>,
        open: Option<&mut OpenFlow>,
    ) -> Result<After, Fault> {
        let ends = matches!(request.framing, Framing::Empty);
        let outgoing = http2::request(&request.head).map_err(Fault::Refused)?;
        let failed = |error| {
            let source = Some(ends::h2_error(error));
            Fault::Refused(Refusal::NoResponse { origin: origin.clone(), source })
        };
        let mut send = share.send.clone().ready().await.map_err(failed)?;
        let (answer, stream) = send.send_request(outgoing, ends).map_err(failed)?;
        let sink = if ends { Sink::Ended } else { Sink::Http2 { stream, flushes: None, idle: self.limits.idle } };
        let answered = self.drive(origin, request, sink, Answer::Http2(answer, None), responder, open).await?;
        if answered.login {
            share.carry_login();
        }
        Ok(After::Next)
    }

    /// Both directions at once: an origin may answer before it has read all, and a client may leave at any time.
    async fn drive<'a>(
        &self,
        origin: &Origin,
        request: &mut Request<'a>,
        mut sink: Sink<'_>,
        answer: Answer<'_>,
        responder: &mut Option<Responder<'a>>,
        open: Option<&mut OpenFlow>,
    ) -> Result<Answered, Fault> {
        let flow = open.as_ref().map(|open| open.flow().clone());
        let progress = Progress {
            origin,
            uploaded: AtomicBool::new(false),
            began: Instant::now(),
            interim: AtomicU64::new(0),
            answering: AtomicBool::new(false),
        };
        let asked = Asked {
            method: request.head.method.clone(),
            version: request.head.version,
            // RFC 6455 §4.1: content that is still to come would be taken for frames.
            upgrade: request.head.version == Version::HTTP_11
                && matches!(request.framing, Framing::Empty | Framing::Length(0))
                && fields::asks_for_websocket(&request.head.fields),
            closes: request.ends_connection(),
            underway: request.underway.as_ref(),
            span: request.span.as_ref(),
        };
        let client_persists = fields::persists(request.head.version, &request.head.fields);
        let rewriting = request.rewriting.take();
        request.sent = true;
        let mut drive = Box::pin(async {
            let upload = self.upload(&progress, &mut request.content, &mut sink, rewriting, flow.as_ref());
            let download = self.download(&progress, &asked, answer, responder, open);
            tokio::select! {
                biased;
                answered = download => answered,
                fault = upload => Err(fault),
            }
        });
        let mut answered = drive.as_mut().await;
        drop(drive);
        if let Ok(answered) = &mut answered {
            answered.client_persists &= client_persists;
            // What ends the client's connection goes on to the origin, which ends its own by it (RFC 9112 §9.6).
            answered.origin_persists &= client_persists && progress.uploaded.load(Ordering::Relaxed);
        } else if !progress.uploaded.load(Ordering::Relaxed) {
            sink.cancel();
        }
        answered
    }

    /// The request's content to the origin, then an eye on the client and the clock. Resolves when the client is gone or may not go on, or when
    /// the origin does not answer.
    async fn upload(
        &self,
        progress: &Progress<'_>,
        content: &mut Source<'_>,
        sink: &mut Sink<'_>,
        rewriting: Option<Rewriting>,
        flow: Option<&SharedFlow>,
    ) -> Fault {
        let tee = Tee::new(flow, Direction::Request, self.meters.content(Direction::Request));
        let pumped = match rewriting {
            None => tee.pump(content, sink).await.map(|()| Ended::Whole),
            Some(rewriting) => rewriting.pump(&tee, content, sink).await,
        };
        match pumped {
            Ok(ended) => {
                progress.uploaded.store(true, Ordering::Relaxed);
                if let Some(flow) = flow {
                    lock(flow).timings.request_end = Some(Instant::now());
                }
                // The client has a right to send it all, and its connection to carry the next request.
                if ended == Ended::Early && stream::swallow(content).await.is_err() {
                    return Fault::Client;
                }
            }
            // Of what is being answered already, nothing else can be said.
            Err(PumpError::Source(_)) if progress.answering.load(Ordering::Relaxed) => return Fault::Client,
            Err(PumpError::Source(error)) => return Fault::of_request(&error, self.limits.idle),
            Err(PumpError::Filter(refusal)) => return Fault::Refused(*refusal),
            // An origin that neither takes anything nor answers is gone in all but name.
            Err(PumpError::Sink(error)) if error.kind() == io::ErrorKind::TimedOut && !progress.answering.load(Ordering::Relaxed) => {
                return Fault::Refused(Refusal::ResponseTimeout { origin: progress.origin.clone(), after: self.limits.idle });
            }
            // It takes no more. It may have answered already, so its response decides.
            Err(PumpError::Sink(_)) => return self.overdue(progress).await,
        }
        tokio::select! {
            _ = content.gone() => Fault::Client,
            fault = self.overdue(progress) => fault,
        }
    }

    /// Resolves when nothing has come of a response for too long, from now on.
    async fn overdue(&self, progress: &Progress<'_>) -> Fault {
        let (after, mut from) = (self.limits.response, Instant::now());
        loop {
            sleep_until((from + after).into()).await;
            if progress.answering.load(Ordering::Relaxed) {
                return std::future::pending().await;
            }
            let interim = progress.began + Duration::from_millis(progress.interim.load(Ordering::Relaxed));
            if interim <= from {
                return Fault::Refused(Refusal::ResponseTimeout { origin: progress.origin.clone(), after });
            }
            from = interim;
        }
    }
}

/// RFC 9110 §9.2.2: sent again only where twice is the same as once, and nothing of it has to be read again.
fn is_repeatable(request: &Request<'_>) -> bool {
    request.framing == Framing::Empty && request.head.method.is_idempotent()
}
