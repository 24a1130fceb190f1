//! Asking filters, and holding a message back for those that want it whole.
//!
//! Place: called by `run` before a head is sent on. This is the only buffering of content there is, and it is bounded by what the plugin
//! declared.

use std::time::Instant;

use bytes::Bytes;
use http::{StatusCode, Version};

use super::{
    ends::{Responder, Source},
    fault::Fault,
    run::Request,
};
use crate::{
    flow::{Direction, Fields, LocalResponse, OpenFlow, Outcome, ResponseHead, lock},
    h1::{Framing, Piece},
    hooks::Verdict,
};

/// Asks the request filters until they are done. `Some`: one of them answers.
pub(super) async fn request(
    open: &mut OpenFlow,
    request: &mut Request<'_>,
    responder: &mut Option<Responder<'_>>,
) -> Result<Option<LocalResponse>, Fault> {
    let needs = open.course().0.request_needs();
    if !needs.filter {
        return Ok(None);
    }
    let mut held = None;
    if let Some(limit) = needs.whole {
        held = hold_request(open, limit, request, responder).await?;
    }
    loop {
        let (course, flow) = open.course();
        match course.request(flow, held.is_some()).await.map_err(Fault::Refused)? {
            Verdict::Answer { by, response } => {
                open.conclude(Outcome::AnsweredBy(by));
                return Ok(Some(response));
            }
            Verdict::Disconnect => return Err(Fault::Disconnect),
            // Longer than its bound: it is passed over, and those behind it are asked all the same.
            Verdict::NeedBody { limit } if held.is_none() => {
                held = hold_request(open, limit, request, responder).await?;
                continue;
            }
            Verdict::Proceed | Verdict::NeedBody { .. } => {}
        }
        let replaced = release(open, Direction::Request, held, &mut request.content);
        request.head = lock(open.flow()).request.clone();
        if let Some(length) = replaced {
            request.framing = Framing::Length(length);
        }
        return Ok(None);
    }
}

/// Shows the response to the plugins and asks its filters until they are done. `Some`: one of them answers in the origin's place.
pub(super) async fn response(
    open: &mut OpenFlow,
    head: &mut ResponseHead,
    framing: &mut Framing,
    content: &mut Source<'_>,
) -> Result<Option<LocalResponse>, Fault> {
    let (course, flow) = open.course();
    let needs = course.response_needs(head);
    {
        let mut flow = lock(flow);
        flow.timings.response_start = Some(Instant::now());
        flow.capture(Direction::Response, needs.capture);
        flow.response = Some(head.clone());
    }
    if !needs.filter {
        return Ok(None);
    }
    let mut held = None;
    if let Some(limit) = needs.whole {
        held = hold(open, Direction::Response, limit, content).await?;
    }
    loop {
        let (course, flow) = open.course();
        match course.response(flow, held.is_some()).await.map_err(Fault::Refused)? {
            Verdict::Answer { by, response } => {
                open.conclude(Outcome::AnsweredBy(by));
                return Ok(Some(response));
            }
            Verdict::Disconnect => return Err(Fault::Disconnect),
            Verdict::NeedBody { limit } if held.is_none() => {
                held = hold(open, Direction::Response, limit, content).await?;
                continue;
            }
            Verdict::Proceed | Verdict::NeedBody { .. } => {}
        }
        let replaced = release(open, Direction::Response, held, content);
        if let Some(changed) = &lock(open.flow()).response {
            *head = changed.clone();
        }
        if let Some(length) = replaced {
            *framing = Framing::Length(length);
        }
        return Ok(None);
    }
}

/// What was held, as it came.
type Held = Vec<Piece>;

async fn hold_request(
    open: &mut OpenFlow,
    limit: usize,
    request: &mut Request<'_>,
    responder: &mut Option<Responder<'_>>,
) -> Result<Option<Held>, Fault> {
    let expects = request.head.fields.get("expect").is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"));
    if let Some(responder) = responder.as_mut().filter(|_| expects) {
        // The origin is not asked yet; without this the client would wait for it.
        let reason = Some(Bytes::from_static(b"Continue"));
        let head = ResponseHead { status: StatusCode::CONTINUE, reason, version: Version::HTTP_11, fields: Fields::default() };
        responder.interim(&head).await.map_err(|_| Fault::Client)?;
    }
    hold(open, Direction::Request, limit, &mut request.content).await
}

/// Holds the content; `None` if it is longer than `limit` and passes unheld.
async fn hold(open: &mut OpenFlow, of: Direction, limit: usize, content: &mut Source<'_>) -> Result<Option<Held>, Fault> {
    let idle = content.idle();
    let broken = |error| if of == Direction::Request { Fault::of_request(&error, idle) } else { Fault::Origin(error) };
    match content.hold(limit).await.map_err(broken)? {
        Ok((pieces, trailers)) => {
            lock(open.flow()).hold(of, pieces.octets(), trailers.clone());
            let pieces = pieces.into_vec().into_iter().map(Piece::Data);
            Ok(Some(pieces.chain([Piece::End(trailers)]).collect()))
        }
        Err(pieces) => {
            content.put_back(pieces);
            open.course().0.overflow(of).map_err(Fault::Refused)?;
            Ok(None)
        }
    }
}

/// Sends held content on its way: as it came, or what a filter has put in its place. Returns the length of the latter.
fn release(open: &OpenFlow, of: Direction, held: Option<Held>, content: &mut Source<'_>) -> Option<u64> {
    let held = held?;
    let mut flow = lock(open.flow());
    let replaced = flow.release(of);
    let limit = flow.content(of).kept();
    // Noted again while it passes.
    flow.capture(of, limit);
    match replaced {
        Some(octets) => {
            let length = octets.len() as u64;
            let data = (!octets.is_empty()).then_some(Piece::Data(octets));
            content.put_back(data.into_iter().chain([Piece::End(Fields::default())]));
            Some(length)
        }
        None => {
            content.put_back(held);
            None
        }
    }
}
