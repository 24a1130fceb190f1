//! One request, one response: the way of a flow.
//!
//! Place: called by `serve` once per request, whatever protocol the client speaks; asks `hooks`, takes connections from `origin`.
//! Cancelling it anywhere is safe: an open flow concludes when it is dropped, a connection that was in use is not used again.
//! Source: RFC 9110 §3.4, §7.6; the order is that of `ARCHITECTURE.md`.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use h2::Reason;
use http::{Method, StatusCode, Version};
use tokio::time::sleep_until;

use super::{
    Exchange,
    ends::{self, Answer, NoAnswer, Responder, Sink, Source},
    fields, filter, http2, respond,
    stream::{self, Ended, Rewriting},
    tee::{PumpError, Tee},
};
use crate::{
    flow::{
        Direction, Fields, Flow, LocalResponse, OpenFlow, Origin, Outcome, Refusal, RequestHead, ResponseHead, Scope, SharedFlow, lock,
    },
    h1::{Framing, contradicts_itself, encode_request, response_framing},
    hooks::{Messages, Probe},
    meters::{Ending, Underway},
    origin::{Connection, Destination, Lease, Share},
    spans::FlowSpan,
};

/// On whose behalf, and where to.
#[derive(Clone, Debug)]
pub struct Via {
    /// The client and its principal.
    pub scope: Arc<Scope>,
    /// The origin of the tunnel, or of the one absolute-form request.
    pub destination: Destination,
}

/// A request whose content is still to come.
pub struct Request<'a> {
    /// As sent.
    pub head: RequestHead,
    /// As declared.
    pub framing: Framing,
    /// Its content.
    pub content: Source<'a>,
    /// What rewrites that on its way.
    rewriting: Option<Rewriting>,
    /// Once it runs.
    underway: Option<Underway>,
    /// Where it is told of as a trace.
    span: Option<FlowSpan>,
}

impl<'a> Request<'a> {
    /// As it was read.
    pub fn new(head: RequestHead, framing: Framing, content: Source<'a>) -> Self {
        Self { head, framing, content, rewriting: None, underway: None, span: None }
    }

    /// Whether a response made here ends the client's connection: it has content of this request to come, or is to carry no other. HTTP/1 only.
    fn ends_connection(&self) -> bool {
        let version = self.head.version;
        version != Version::HTTP_2 && !(self.content.is_done() && fields::persists(version, &self.head.fields))
    }
}

/// What becomes of the client's connection after an exchange.
pub enum After {
    /// It can carry the next one.
    Next,
    /// It is to be closed; what was sent is to reach the client first.
    Close,
    /// It is to be dropped at once: only so can the client see that something is missing.
    Abort,
    /// Both ends speak WebSocket from here on (HTTP/1.1 only).
    Upgraded(Box<Upgraded>),
}

/// A connection to an origin that has switched protocols.
pub struct Upgraded {
    /// To the origin.
    pub connection: Connection,
    /// Fields of the 101, and the plugins that want the messages.
    pub messages: Option<(Fields, Arc<dyn Messages>)>,
}

/// Why an exchange has no good end.
pub(super) enum Fault {
    /// The response head has not been sent: the client is told.
    Refused(Refusal),
    /// The client is gone.
    Client,
    /// The origin broke off in the middle of the response.
    Origin(io::Error),
    /// A plugin failed in the middle of the response, and the rest must not pass.
    Broken(Box<Refusal>),
    /// A filter closes the client's stream.
    Disconnect,
}

impl Fault {
    /// Of a request whose content does not come in as it has to, within `idle`.
    pub(super) fn of_request(error: &io::Error, idle: Duration) -> Self {
        match ends::malformed(error) {
            Some(reason) => Self::Refused(Refusal::BadRequest(reason)),
            // The system says so of a client that is gone.
            None if error.kind() == io::ErrorKind::TimedOut && error.raw_os_error().is_none() => {
                Self::Refused(Refusal::RequestTimeout { after: idle })
            }
            None => Self::Client,
        }
    }

    /// The same for those who count.
    fn ending(&self) -> Ending {
        match self {
            Self::Client => Ending::ClientAborted,
            Self::Origin(_) => Ending::OriginFailed,
            Self::Refused(
                Refusal::PluginFailed { .. }
                | Refusal::Denied(_)
                | Refusal::ContentTooLarge { .. }
                | Refusal::BadRequest(_)
                | Refusal::RequestTimeout { .. },
            ) => Ending::Refused,
            Self::Refused(_) => Ending::OriginFailed,
            Self::Broken(_) | Self::Disconnect => Ending::Refused,
        }
    }

    /// The same in a word, for its trace.
    fn name(&self) -> &'static str {
        match self {
            Self::Client => "client_aborted",
            Self::Origin(_) => "http_response_incomplete",
            Self::Refused(refusal) => respond::error(refusal),
            Self::Broken(refusal) => respond::error(refusal),
            Self::Disconnect => "disconnected_by_plugin",
        }
    }

    /// The same for the flow's record.
    fn outcome(&self) -> Outcome {
        match self {
            Self::Client => Outcome::ClientAborted,
            Self::Origin(error) => Outcome::OriginFailed(error.to_string()),
            Self::Broken(refusal) => Outcome::OriginFailed(respond::sentence(refusal)),
            // The request had gone out.
            Self::Refused(refusal @ (Refusal::NoResponse { .. } | Refusal::BadResponse { .. } | Refusal::ResponseTimeout { .. })) => {
                Outcome::OriginFailed(respond::sentence(refusal))
            }
            Self::Refused(_) | Self::Disconnect => Outcome::AnsweredBy("host".to_owned()),
        }
    }
}

/// What the response is understood by.
struct Asked<'a> {
    method: Method,
    version: Version,
    /// It may switch protocols.
    upgrade: bool,
    /// A response made here ends the client's connection.
    closes: bool,
    /// Where it is counted.
    underway: Option<&'a Underway>,
    /// Where it is told of.
    span: Option<&'a FlowSpan>,
}

impl Asked<'_> {
    /// Whose head the client gets is known, as far as it is now.
    fn answered(&self, status: StatusCode) {
        answered(self.underway, self.span, status);
    }
}

/// The same, of where it is counted and told of.
fn answered(underway: Option<&Underway>, span: Option<&FlowSpan>, status: StatusCode) {
    if let Some(underway) = underway {
        underway.answered(status.as_u16());
    }
    if let Some(span) = span {
        span.answered(status.as_u16());
    }
}

/// How far an exchange with an origin has come.
struct Progress<'a> {
    origin: &'a Origin,
    /// The request has gone out whole.
    uploaded: AtomicBool,
    began: Instant,
    /// When the last interim response has come, in milliseconds from `began`.
    interim: AtomicU64,
    /// The head of the final response has come.
    answering: AtomicBool,
}

/// A response that has been sent whole, or as far as an upgrade.
struct Answered {
    status: StatusCode,
    client_persists: bool,
    origin_persists: bool,
    /// The origin's connection is its client's alone from now on.
    login: bool,
}

impl Exchange {
    /// Runs one exchange.
    pub async fn run(&self, via: &Via, mut request: Request<'_>, responder: Responder<'_>) -> After {
        // First of all: plugins and records see what origins see.
        match request.head.version {
            Version::HTTP_2 => fields::to_http2(&mut request.head.fields, true),
            _ => fields::request_to_http1(&mut request.head.fields),
        }
        request.span = self.spans.as_ref().and_then(|spans| spans.flow(&via.scope, &via.destination.origin, &request.head));
        let mut open = self.open(via, &request.head, request.span.as_ref()).await;
        request.content.tap(open.as_ref().and_then(OpenFlow::tap), Direction::Request);
        request.underway = Some(self.meters.flow());
        let mut responder = Some(responder);
        let decided = self.decide(via, &mut request, &mut responder, open.as_mut()).await;
        if let Some(open) = &open {
            self.meters.captured(&lock(open.flow()));
        }
        if let Some(underway) = request.underway.take() {
            underway.ended(decided.as_ref().err().map_or(Ending::Completed, Fault::ending));
        }
        match decided {
            Ok(After::Upgraded(mut upgraded)) => {
                upgraded.messages = open.as_mut().and_then(messages);
                After::Upgraded(upgraded)
            }
            Ok(after) => after,
            Err(fault) => self.conclude(fault, request, responder, open).await,
        }
    }

    /// The flow for the plugins that want it; for nobody, nothing is built.
    async fn open(&self, via: &Via, head: &RequestHead, span: Option<&FlowSpan>) -> Option<OpenFlow> {
        let authority = &via.destination.origin.authority;
        let probe = Probe { host: authority.host(), method: &head.method, path: &head.path };
        let mut course = self.hooks.open(&probe)?;
        if let Some(reserving) = course.reserve() {
            reserving.await;
        }
        let mut flow = Flow::new(via.scope.clone(), via.destination.origin.clone(), head.clone()).counted_in(&self.captured);
        if let Some(span) = span {
            span.is_flow(flow.id);
            flow.trace = Some(span.trace());
        }
        flow.capture(Direction::Request, course.request_needs().capture);
        Some(OpenFlow::new(flow, course).cut_by(self.tasks.cutting()))
    }

    /// Request filters, then the origin.
    async fn decide<'a>(
        &self,
        via: &Via,
        request: &mut Request<'a>,
        responder: &mut Option<Responder<'a>>,
        mut open: Option<&mut OpenFlow>,
    ) -> Result<After, Fault> {
        let mut destination = via.destination.clone();
        if let Some(open) = open.as_deref_mut() {
            if let Some(local) = filter::request(open, request, responder).await? {
                let closes = request.ends_connection();
                answered(request.underway.as_ref(), request.span.as_ref(), local.status);
                send(&local, &request.head.method, closes, responder).await?;
                return Ok(if closes { After::Close } else { After::Next });
            }
            request.rewriting = stream::request(open, request).await?;
            if let Some(origin) = &lock(open.flow()).redirected {
                destination = Destination::new(origin.clone());
            }
        }
        self.forward(destination, &via.scope, request, responder, open).await
    }

    /// What the flow's record says about a bad end, and what the client gets to see of it.
    async fn conclude(&self, fault: Fault, request: Request<'_>, mut responder: Option<Responder<'_>>, open: Option<OpenFlow>) -> After {
        if let Some(open) = open {
            open.conclude(fault.outcome());
        }
        if let Some(span) = &request.span {
            span.failed(fault.name(), !matches!(fault, Fault::Client));
        }
        let is_http2 = request.head.version == Version::HTTP_2;
        match fault {
            Fault::Client | Fault::Origin(_) => {}
            Fault::Broken(refusal) => {
                tracing::info!(host = %String::from_utf8_lossy(&request.head.authority), "response broken off: {}", respond::sentence(&refusal));
            }
            Fault::Disconnect => responder.into_iter().for_each(|responder| responder.reset(Reason::CANCEL)),
            Fault::Refused(Refusal::NoResponse { origin, source: Some(error) })
                if is_http2 && let Some(reason) = ends::passes_on(&error) =>
            {
                tracing::info!("{origin} ended a request without a response: {error}");
                responder.into_iter().for_each(|responder| responder.reset(reason));
            }
            Fault::Refused(refusal) => {
                tracing::info!(host = %String::from_utf8_lossy(&request.head.authority), "{}", respond::sentence(&refusal));
                self.meters.refused(respond::error(&refusal));
                let closes = request.ends_connection();
                let response = respond::refusal(&refusal);
                if let Some(span) = &request.span {
                    span.answered(response.status.as_u16());
                }
                if send(&response, &request.head.method, closes, &mut responder).await.is_ok() {
                    return if closes { After::Close } else { After::Next };
                }
            }
        }
        if is_http2 { After::Next } else { After::Abort }
    }

    /// To the origin and back, once more on a fresh connection where a kept one turned out to be dead or the origin says that it did nothing.
    async fn forward<'a>(
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
            let source = Some(super::ends::h2_error(error));
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

    /// The response, from its head to its last octet.
    async fn download<'a>(
        &self,
        progress: &Progress<'_>,
        asked: &Asked<'_>,
        mut answer: Answer<'_>,
        responder: &mut Option<Responder<'a>>,
        mut open: Option<&mut OpenFlow>,
    ) -> Result<Answered, Fault> {
        let &Asked { ref method, version: client_version, upgrade, closes, .. } = asked;
        let origin = progress.origin;
        let head = self.final_head(progress, client_version, &mut answer, responder).await?;
        progress.answering.store(true, Ordering::Relaxed);
        asked.answered(head.status);
        let bad = |reason: &str| Fault::Refused(Refusal::BadResponse { origin: origin.clone(), reason: reason.to_owned() });
        match (head.status == StatusCode::SWITCHING_PROTOCOLS, upgrade) {
            (true, true) => return switch(head, responder, open).await,
            // RFC 9110 §15.2.2: only what was asked for; a client that did not ask would take what follows for responses.
            (true, false) => return Err(bad("it switches protocols unasked")),
            (false, _) => {}
        }
        let framing = match head.version {
            // RFC 9113 §8.1.1: one length or none, here too.
            Version::HTTP_2 => {
                response_framing(method, &head).map(|_| http2::response_framing(method, &head)).map_err(|error| bad(error.0))?
            }
            _ => response_framing(method, &head).map_err(|error| bad(error.0))?,
        };
        // No connection outlives what one reader may find content behind.
        let is_clear = !contradicts_itself(&head);
        let login = fields::logs_in(&head.fields);
        let origin_persists = is_clear && framing != Framing::UntilClose && fields::persists(head.version, &head.fields);
        let mut content = answer.content(framing, self.limits.idle);
        content.tap(open.as_ref().and_then(|open| open.tap()), Direction::Response);
        let mut head = head;
        let mut framing = framing;
        match client_version {
            Version::HTTP_2 => fields::to_http2(&mut head.fields, false),
            _ => fields::response_to_http1(&mut head.fields, false),
        }
        if let Some(open) = open.as_deref_mut()
            && let Some(local) = filter::response(open, &mut head, &mut framing, &mut content).await?
        {
            if let Some(span) = asked.span {
                span.answered(local.status.as_u16());
            }
            send(&local, method, closes, responder).await?;
            return Ok(Answered { status: local.status, client_persists: !closes, origin_persists: false, login });
        }
        let mut rewriting = None;
        if let Some(open) = open.as_deref_mut() {
            rewriting = stream::response(open, &mut head, &mut framing, client_version).await?;
        }
        let status = head.status;
        let (head, framing, client_persists) = for_client(head, framing, client_version);
        let client_persists = client_persists && is_clear;
        let flow = open.as_ref().map(|open| open.flow());
        let responder = responder.take().ok_or(Fault::Client)?;
        let mut sink = responder.head(&head, framing).map_err(|_| Fault::Client)?;
        let tee = Tee::new(flow, Direction::Response, self.meters.content(Direction::Response));
        let pumped = match rewriting {
            None => tee.pump(&mut content, &mut sink).await.map(|()| Ended::Whole),
            Some(rewriting) => rewriting.pump(&tee, &mut content, &mut sink).await,
        };
        match pumped {
            Ok(ended) => {
                // What was not read of the response is still to come on that connection.
                let origin_persists = origin_persists && ended == Ended::Whole;
                if let Some(open) = open {
                    lock(open.flow()).timings.response_end = Some(Instant::now());
                    open.conclude(Outcome::Completed);
                }
                Ok(Answered { status, client_persists, origin_persists, login })
            }
            Err(PumpError::Sink(_)) => Err(Fault::Client),
            Err(PumpError::Source(error)) => {
                // What came before the break still belongs to the client.
                let _ = sink.flush().await;
                sink.break_off(ends::said_reason(&error)).await;
                Err(Fault::Origin(error))
            }
            Err(PumpError::Filter(refusal)) => {
                let _ = sink.flush().await;
                sink.break_off(None).await;
                Err(Fault::Broken(refusal))
            }
        }
    }

    /// Interim responses go on as they come (RFC 9110 §15.2); the first other head is the final one. 101 is final here.
    async fn final_head(
        &self,
        progress: &Progress<'_>,
        client_version: Version,
        answer: &mut Answer<'_>,
        responder: &mut Option<Responder<'_>>,
    ) -> Result<ResponseHead, Fault> {
        let (origin, responder) = (progress.origin, responder.as_mut().ok_or(Fault::Client)?);
        for _ in 0..self.limits.interim_responses {
            let head = tokio::select! {
                head = answer.head(self.limits.head) => head,
                _ = responder.gone() => return Err(Fault::Client),
            };
            let mut head = head.map_err(|none| {
                Fault::Refused(match none {
                    NoAnswer::Closed(source) => Refusal::NoResponse { origin: origin.clone(), source },
                    NoAnswer::Malformed(reason) => Refusal::BadResponse { origin: origin.clone(), reason },
                })
            })?;
            if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
                return Ok(head);
            }
            progress.interim.store(u64::try_from(progress.began.elapsed().as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
            if contradicts_itself(&head) {
                let reason = "an interim response announces content".to_owned();
                return Err(Fault::Refused(Refusal::BadResponse { origin: origin.clone(), reason }));
            }
            match client_version {
                Version::HTTP_2 => fields::to_http2(&mut head.fields, false),
                _ => fields::response_to_http1(&mut head.fields, false),
            }
            // RFC 9110 §15.2: never to a client of HTTP/1.0.
            if client_version != Version::HTTP_10 {
                responder.interim(&head).await.map_err(|_| Fault::Client)?;
            }
        }
        let reason = "too many interim responses".to_owned();
        Err(Fault::Refused(Refusal::BadResponse { origin: origin.clone(), reason }))
    }
}

/// Hands the client's connection over (RFC 9110 §7.8). The exchange ends here; what follows is no HTTP.
async fn switch(head: ResponseHead, responder: &mut Option<Responder<'_>>, open: Option<&mut OpenFlow>) -> Result<Answered, Fault> {
    let status = head.status;
    let mut head = head;
    fields::response_to_http1(&mut head.fields, true);
    let responder = responder.as_mut().ok_or(Fault::Client)?;
    responder.interim(&head).await.map_err(|_| Fault::Client)?;
    if let Some(open) = open {
        {
            let mut flow = lock(open.flow());
            let now = Some(Instant::now());
            (flow.timings.response_start, flow.timings.response_end) = (now, now);
            flow.response = Some(head.clone());
        }
        open.course().0.response_needs(&head);
        open.conclude(Outcome::Completed);
    }
    Ok(Answered { status, client_persists: true, origin_persists: false, login: false })
}

/// Who wants the messages of a flow that has switched, and what they are read by.
fn messages(open: &mut OpenFlow) -> Option<(Fields, Arc<dyn Messages>)> {
    let (course, flow) = open.course();
    let messages = course.messages(flow)?;
    let fields = lock(flow).response.as_ref().map(|response| response.fields.clone()).unwrap_or_default();
    Some((fields, messages))
}

/// Sends a response made here to a request with that method.
pub(super) async fn send(local: &LocalResponse, method: &Method, closes: bool, responder: &mut Option<Responder<'_>>) -> Result<(), Fault> {
    let responder = responder.take().ok_or(Fault::Client)?;
    let head = respond::head(local, closes);
    // RFC 9112 §6.3: whoever asked with HEAD would take content for the next response.
    let has_content = *method != Method::HEAD && !local.content.is_empty();
    let framing = if has_content { Framing::Length(local.content.len() as u64) } else { Framing::Empty };
    let sent = async {
        let mut sink = responder.head(&head, framing)?;
        if has_content {
            sink.put(local.content.clone()).await?;
        }
        sink.finish(&crate::flow::Fields::default())?;
        sink.flush().await
    };
    sent.await.map_err(|_: io::Error| Fault::Client)
}

/// A response head as this client is to see it, how its content is framed for it, and whether its connection outlives it.
fn for_client(mut head: ResponseHead, framing: Framing, client: Version) -> (ResponseHead, Framing, bool) {
    if client == Version::HTTP_2 {
        return (head, framing, true);
    }
    let mut framing = framing;
    if framing == Framing::Chunked && client == Version::HTTP_10 {
        // RFC 9112 §6.1: such a client knows no chunks; the end of the connection is the end of the content.
        head.fields.remove("transfer-encoding");
        framing = Framing::UntilClose;
    }
    let persists = framing != Framing::UntilClose && fields::persists(head.version, &head.fields);
    (head, framing, persists)
}

/// RFC 9110 §9.2.2: sent again only where twice is the same as once, and nothing of it has to be read again.
fn is_repeatable(request: &Request<'_>) -> bool {
    request.framing == Framing::Empty && request.head.method.is_idempotent()
}
