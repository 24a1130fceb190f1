//! The response, on its way from the origin to the client.
//!
//! Place: one of the two directions of `forward`; asks the response filters.
//! Source: RFC 9110 §7.8, §15.2; RFC 9112 §6.

use std::{sync::atomic::Ordering, time::Instant};

use http::{Method, StatusCode, Version};

use super::{
    Exchange,
    ends::{self, Answer, NoAnswer, Responder, Source},
    fault::Fault,
    fields, filter,
    forward::Progress,
    http2,
    run::{answered, send},
    stream::{self, Ended},
    tee::{PumpError, Tee},
};
use crate::{
    flow::{Direction, LocalResponse, OpenFlow, Origin, Outcome, Refusal, ResponseHead, lock},
    h1::{Framing, contradicts_itself, response_framing},
    meters::Underway,
    spans::FlowSpan,
};

/// What the response is understood by.
pub(super) struct Asked<'a> {
    pub(super) method: Method,
    pub(super) version: Version,
    /// It may switch protocols.
    pub(super) upgrade: bool,
    /// A response made here ends the client's connection.
    pub(super) closes: bool,
    /// Where it is counted.
    pub(super) underway: Option<&'a Underway>,
    /// Where it is told of.
    pub(super) span: Option<&'a FlowSpan>,
}

impl Asked<'_> {
    /// Whose head the client gets is known, as far as it is now.
    fn answered(&self, status: StatusCode) {
        answered(self.underway, self.span, status);
    }
}

/// A response that has been sent whole, or as far as an upgrade.
pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) client_persists: bool,
    pub(super) origin_persists: bool,
    /// The origin's connection is its client's alone from now on.
    pub(super) login: bool,
}

impl Exchange {
    /// The response, from its head to its last octet.
    pub(super) async fn download<'a>(
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
            && let Some(local) = self.filtered(origin, open, (&mut head, &mut framing), &mut content, responder).await?
        {
            asked.answered(local.status);
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

    /// What the response filters say. Nothing has gone to the client: it may leave meanwhile, and be told of an origin that breaks off.
    async fn filtered(
        &self,
        origin: &Origin,
        open: &mut OpenFlow,
        (head, framing): (&mut ResponseHead, &mut Framing),
        content: &mut Source<'_>,
        responder: &mut Option<Responder<'_>>,
    ) -> Result<Option<LocalResponse>, Fault> {
        let client = responder.as_mut().ok_or(Fault::Client)?;
        let filtered = tokio::select! {
            // Where nobody wants the response this is ready at once, and the client is not looked at.
            biased;
            filtered = filter::response(open, head, framing, content) => filtered,
            _ = client.gone() => return Err(Fault::Client),
        };
        filtered.map_err(|fault| match fault {
            Fault::Origin(error) if ends::stood_still(&error) => {
                Fault::Refused(Refusal::ResponseTimeout { origin: origin.clone(), after: self.limits.idle })
            }
            Fault::Origin(error) => Fault::Refused(Refusal::BadResponse { origin: origin.clone(), reason: error.to_string() }),
            fault => fault,
        })
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
