//! Records of the logger as flows: what one holds of the exchange it was made of.
//!
//! Place: read where flows are asked for. `docs/records.md` is the format. Codings of content are undone but where a note says otherwise, and what
//! a note calls truncated is a part; when its pieces came is not known, so each arrives at once.

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
    truncated: bool,
    wire_length: u64,
    still_coded: bool,
    octets_base64: Option<String>,
    octets_truncated: bool,
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
    let (request_note, response_note) = (&record.flowgate.request, &record.flowgate.response);
    let (request_body, response_body, frames) = if is_conversation {
        let mut frames = messages(&sent, Direction::Request, 0, request_note);
        frames.extend(messages(&got, Direction::Response, took, response_note));
        (RecordedBody::whole(Bytes::new(), 0), RecordedBody::whole(Bytes::new(), took), frames)
    } else {
        (body(sent, 0, request_note), body(got, took, response_note), Vec::new())
    };
    let fields = request_note.fields(request_fields, &request_body);
    let head = RequestHead { method, scheme: origin.scheme, authority, path, version: Version::HTTP_11, fields };
    let request = RecordedMessage { head, at: 0, body: request_body };
    let response = status.map(|status| {
        let status = StatusCode::from_u16(status).with_context(|| format!("{status} is no status"))?;
        let fields = response_note.fields(headers(&record.response.headers)?, &response_body);
        let head = ResponseHead { status, reason: None, version: Version::HTTP_11, fields };
        anyhow::Ok(RecordedMessage { head, at: took, body: response_body })
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
        Some(octets) => Ok(BASE64_STANDARD.decode(octets).context("its octets_base64 is no base64")?.into()),
        None => Ok(text.into()),
    }
}

impl Note {
    /// Octets that are not here, of content that is; those on the wire were fewer where they were coded.
    fn missing(&self, kept: u64) -> u64 {
        if self.truncated || self.octets_truncated { self.wire_length.saturating_sub(kept).max(1) } else { 0 }
    }

    /// Those that go with that content.
    fn fields(&self, fields: Fields, body: &RecordedBody) -> Fields {
        if self.still_coded { fields } else { content_fields(fields, body) }
    }
}

fn body(octets: Bytes, at: u64, note: &Note) -> RecordedBody {
    let mut body = RecordedBody::whole(octets, at);
    body.length += note.missing(body.length);
    body
}

/// What one end said, one message a line. What is missing of it is missing of its last message.
fn messages(octets: &[u8], sent: Direction, at: u64, note: &Note) -> Vec<RecordedFrame> {
    let frame = |line: &[u8]| RecordedFrame {
        sent,
        kind: if std::str::from_utf8(line).is_ok() { MessageKind::Text } else { MessageKind::Binary },
        at,
        length: line.len() as u64,
        content: Bytes::copy_from_slice(line),
    };
    let mut frames: Vec<_> = octets.split(|octet| *octet == b'\n').filter(|line| !line.is_empty()).map(frame).collect();
    let missing = note.missing(frames.iter().map(|frame| frame.length).sum());
    if missing > 0 && frames.is_empty() {
        frames.push(frame(b""));
    }
    if let Some(last) = frames.last_mut() {
        last.length += missing;
    }
    frames
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A record of an answer of 11 octets that was coded, with these notes about it.
    fn record(status: u16, note: &Value) -> RecordedFlow {
        let record = json!({
            "timestamp": "2024-12-08T16:36:43.331449", "proxy-time-consumed": "12.5ms",
            "request": { "url": "https://a.test/x", "method": "GET", "headers": { "Host": "a.test" }, "content": "" },
            "response": {
                "status_code": status, "content": "hello\nworld",
                "headers": { "Content-Encoding": "strange", "Content-Length": "5", "Transfer-Encoding": "chunked" },
            },
            "flowgate": { "response": note },
        });
        parse(record, 1).expect("a record")
    }

    fn response(flow: &RecordedFlow) -> &RecordedMessage<ResponseHead> {
        flow.response.as_ref().expect("one")
    }

    #[test]
    fn what_a_record_calls_truncated_is_a_part() {
        let cases = [
            (json!({ "truncated": true, "wire_length": 5 }), (11, 12)),
            (json!({ "truncated": true, "wire_length": 500 }), (11, 500)),
            (json!({ "octets_base64": "/w==", "octets_truncated": true }), (1, 2)),
            (json!({ "octets_base64": "/w==" }), (1, 1)),
            (json!({}), (11, 11)),
        ];
        for (note, expected) in cases {
            let flow = record(200, &note);

            let body = &response(&flow).body;
            assert_eq!((body.kept(), body.length), expected, "{note}");
        }
    }

    #[test]
    fn what_is_missing_of_a_conversation_is_missing_of_its_last_message() {
        let flow = record(101, &json!({ "truncated": true, "wire_length": 40 }));

        assert!(!flow.request.body.is_cut() && !response(&flow).body.is_cut());
        assert_eq!(
            flow.frames.iter().map(|frame| (&*frame.content, frame.length)).collect::<Vec<_>>(),
            [(&b"hello"[..], 5), (b"world", 35)]
        );
    }

    #[test]
    fn what_is_still_coded_keeps_the_field_that_says_so() {
        for (note, coding, length) in [(json!({ "still_coded": true }), Some("strange"), "5"), (json!({}), None, "11")] {
            let flow = record(200, &note);

            let fields = &response(&flow).head.fields;
            assert_eq!(fields.get("content-encoding"), coding.map(str::as_bytes));
            assert_eq!(fields.get("content-length"), Some(length.as_bytes()));
            assert!(fields.contains("transfer-encoding"));
        }
    }
}
