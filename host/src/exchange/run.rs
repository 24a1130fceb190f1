//! One request, one response: the way of a flow.
//!
//! Place: called by `serve` once per request, whatever protocol the client speaks; asks `hooks`, takes connections from `origin`.
//! Cancelling it anywhere is safe: an open flow concludes when it is dropped, a connection that was in use is not used again.
//! Source: RFC 9110 §3.4, §7.6; the order is that of `ARCHITECTURE.md`.

use std::{io, sync::Arc};

use h2::Reason;
use http::{Method, StatusCode, Version};

use super::{
    Exchange,
    ends::{self, Responder, Source},
    fault::Fault,
    fields, filter, respond,
    stream::{self, Rewriting},
};
use crate::{
    flow::{Direction, Fields, Flow, LocalResponse, OpenFlow, Refusal, RequestHead, Scope, lock},
    h1::Framing,
    hooks::{Messages, Probe},
    meters::{Ending, Underway},
    origin::{Connection, Destination},
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
    /// It has begun to go out to an origin.
    pub(super) sent: bool,
    /// What rewrites its content on the way.
    pub(super) rewriting: Option<Rewriting>,
    /// Once it runs.
    pub(super) underway: Option<Underway>,
    /// Where it is told of as a trace.
    pub(super) span: Option<FlowSpan>,
}

impl<'a> Request<'a> {
    /// As it was read.
    pub fn new(head: RequestHead, framing: Framing, content: Source<'a>) -> Self {
        Self { head, framing, content, sent: false, rewriting: None, underway: None, span: None }
    }

    /// Whether a response made here ends the client's connection: it has content of this request to come, or is to carry no other. HTTP/1 only.
    pub(super) fn ends_connection(&self) -> bool {
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

/// Whose head the client gets is known, as far as it is now: where that is counted and told of.
pub(super) fn answered(underway: Option<&Underway>, span: Option<&FlowSpan>, status: StatusCode) {
    if let Some(underway) = underway {
        underway.answered(status.as_u16());
    }
    if let Some(span) = span {
        span.answered(status.as_u16());
    }
}

/// What a client gets that gets no response of its origin's, or not all of it.
enum Last {
    Response(LocalResponse),
    /// HTTP/2 only; over HTTP/1 the end of the connection says so.
    Reset(Reason),
    Nothing,
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
        if decided.is_ok()
            && let Some(underway) = request.underway.take()
        {
            underway.ended(Ending::Completed);
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
            open.conclude(fault.outcome(request.sent));
        }
        if let Some(span) = &request.span {
            span.failed(fault.name(), !fault.is_the_clients());
        }
        let (ending, is_http2) = (fault.ending(), request.head.version == Version::HTTP_2);
        let last = self.last(fault, &request.head);
        if let Last::Response(response) = &last {
            answered(request.underway.as_ref(), request.span.as_ref(), response.status);
        }
        let closes = request.ends_connection();
        if let Some(underway) = request.underway {
            underway.ended(ending);
        }
        match last {
            Last::Response(response) => {
                if send(&response, &request.head.method, closes, &mut responder).await.is_ok() {
                    return if closes { After::Close } else { After::Next };
                }
            }
            Last::Reset(reason) => responder.into_iter().for_each(|responder| responder.reset(reason)),
            Last::Nothing => {}
        }
        if is_http2 { After::Next } else { After::Abort }
    }

    /// What the client gets to see of a bad end.
    fn last(&self, fault: Fault, head: &RequestHead) -> Last {
        let host = String::from_utf8_lossy(&head.authority);
        match fault {
            Fault::Client | Fault::Origin(_) => Last::Nothing,
            Fault::Broken(refusal) => {
                tracing::info!(%host, "response broken off: {}", respond::sentence(&refusal));
                Last::Nothing
            }
            Fault::Disconnect => Last::Reset(Reason::CANCEL),
            Fault::Refused(Refusal::NoResponse { origin, source: Some(error) })
                if head.version == Version::HTTP_2
                    && let Some(reason) = ends::passes_on(&error) =>
            {
                tracing::info!("{origin} ended a request without a response: {error}");
                Last::Reset(reason)
            }
            Fault::Refused(refusal) => {
                tracing::info!(%host, "{}", respond::sentence(&refusal));
                self.meters.refused(respond::error(&refusal));
                Last::Response(respond::refusal(&refusal))
            }
        }
    }
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
