//! Records of the logger as flows: what one holds of the exchange it was made of.
//!
//! Place: read where flows are asked for. `docs/records.md` is the format. Content is whole and its codings are undone; when its pieces came is
//! not known, so each arrives at once.

use anyhow::{Context, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{Method, StatusCode, Version};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    RecordedBody, RecordedFlow, RecordedFrame, RecordedMessage,
    read::{address, content_fields, fields_of, target},
    text,
};
use crate::flow::{Direction, Fields, MessageKind, Outcome, RequestHead, ResponseHead};

#[derive(Deserialize)]
struct Record {
    #[serde(rename = "proxy-authorization", default)]
    user: Option<String>,
    timestamp: String,
    #[serde(rename = "proxy-time-consumed", default)]
    consumed: String,
    request: Request,
    response: Response,
    #[serde(default)]
    flowgate: Notes,
}

#[derive(Deserialize)]
struct Request {
    url: String,
    method: String,
    #[serde(default)]
    headers: Map<String, Value>,
    #[serde(default)]
    content: Option<String>,
}

#[derive(Deserialize)]
struct Response {
    #[serde(default)]
    status_code: Option<u16>,
    #[serde(default)]
    headers: Map<String, Value>,
    #[serde(default)]
    content: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Notes {
    outcome: String,
    cause: String,
    request: Note,
    response: Note,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Note {
    octets_base64: Option<String>,
    octets_truncated: bool,
    wire_length: Option<u64>,
}

/// The flow a record was made of.
///
/// # Errors
/// It is no record; says what is wrong.
pub(super) fn parse(record: Value, id: u64) -> anyhow::Result<RecordedFlow> {
    let record: Record = serde_json::from_value(record).context("it is no record of the logger")?;
    let ended = text::micros(&record.timestamp).with_context(|| format!("its timestamp {:?} is no time", record.timestamp))?;
    let took = consumed(&record.consumed).with_context(|| format!("its proxy-time-consumed {:?} is no duration", record.consumed))?;
    let method =
        Method::from_bytes(record.request.method.as_bytes()).with_context(|| format!("{:?} is no method", record.request.method))?;
    let (origin, path) = target(&record.request.url)?;
    let sent = content(record.request.content.unwrap_or_default(), &record.flowgate.request)?;
    let got = content(record.response.content.unwrap_or_default(), &record.flowgate.response)?;
    let request_fields = headers(&record.request.headers)?;
    let authority = request_fields.get("host").map_or_else(|| Bytes::from(origin.authority.to_string()), Bytes::copy_from_slice);
    let status = record.response.status_code;
    let is_conversation = status == Some(StatusCode::SWITCHING_PROTOCOLS.as_u16());
    let (sent, got, frames) = match is_conversation {
        true => (Bytes::new(), Bytes::new(), messages(&sent, &got, took)),
        false => (sent, got, Vec::new()),
    };
    let mut body = RecordedBody::whole(sent, 0);
    lengthen(&mut body, &record.flowgate.request);
    let fields = content_fields(request_fields, &body);
    let head = RequestHead { method, scheme: origin.scheme, authority, path, version: Version::HTTP_11, fields };
    let request = RecordedMessage { head, at: 0, body };
    let response = status.map(|status| {
        let status = StatusCode::from_u16(status).with_context(|| format!("{status} is no status"))?;
        let mut body = RecordedBody::whole(got, took);
        lengthen(&mut body, &record.flowgate.response);
        let fields = content_fields(headers(&record.response.headers)?, &body);
        let head = ResponseHead { status, reason: None, version: Version::HTTP_11, fields };
        anyhow::Ok(RecordedMessage { head, at: took, body })
    });
    let response = response.transpose()?;
    let outcome = match record.flowgate.outcome.as_str() {
        "" => Outcome::Completed,
        "client-aborted" => Outcome::ClientAborted,
        "origin-failed" => Outcome::OriginFailed(record.flowgate.cause),
        "answered-by" => Outcome::AnsweredBy(record.flowgate.cause),
        other => anyhow::bail!("its outcome {other:?} is none of those that are known"),
    };
    let mut flow = RecordedFlow {
        id,
        began: ended.saturating_sub(took),
        client: address(None),
        connection: id,
        user: record.user.filter(|user| user != "-"),
        origin,
        request,
        response,
        frames,
        outcome,
    };
    if flow.outcome != Outcome::Completed
        && let Some(response) = &mut flow.response
    {
        response.body.ended = None;
    }
    Ok(flow)
}

/// `382.4ms`; nothing is no time.
fn consumed(text: &str) -> anyhow::Result<u64> {
    if text.is_empty() {
        return Ok(0);
    }
    let millis: f64 = text.strip_suffix("ms").context("it does not end in ms")?.parse()?;
    ensure!((0.0..1e12).contains(&millis), "it is out of bounds");
    Ok((millis * 1000.0).round() as u64)
}

fn headers(headers: &Map<String, Value>) -> anyhow::Result<Fields> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    fields_of(headers.iter().map(|(name, value)| (name.as_str(), text(value).into_bytes())))
}

fn content(text: String, note: &Note) -> anyhow::Result<Bytes> {
    match &note.octets_base64 {
        Some(octets) if !note.octets_truncated => Ok(BASE64_STANDARD.decode(octets).context("its octets_base64 is no base64")?.into()),
        _ => Ok(text.into()),
    }
}

fn lengthen(body: &mut RecordedBody, note: &Note) {
    body.length = body.length.max(note.wire_length.unwrap_or_default());
}

/// One message a line: first what the client said, then what it heard.
fn messages(sent: &[u8], got: &[u8], took: u64) -> Vec<RecordedFrame> {
    let lines = |octets: &[u8], sent, at| -> Vec<RecordedFrame> {
        let lines = octets.split(|octet| *octet == b'\n').filter(|line| !line.is_empty());
        let frame = |line: &[u8]| RecordedFrame {
            sent,
            kind: if std::str::from_utf8(line).is_ok() { MessageKind::Text } else { MessageKind::Binary },
            at,
            length: line.len() as u64,
            content: Bytes::copy_from_slice(line),
        };
        lines.map(frame).collect()
    };
    let mut frames = lines(sent, Direction::Request, 0);
    frames.extend(lines(got, Direction::Response, took));
    frames
}
