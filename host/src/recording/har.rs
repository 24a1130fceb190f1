//! HTTP Archive (HAR 1.2), which browsers write: to flows, and flows to it.
//!
//! Place: read where flows are asked for, written by `flowgate flows export`. HAR has texts where there were octets, and content with its codings
//! undone: what does not fit is kept in members beginning with `_`, as the format provides for.
//! Source: the HAR 1.2 specification; WebSocket messages as Chromium writes them.

use std::net::IpAddr;

use anyhow::{Context, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{Method, StatusCode, Version};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    RecordedBody, RecordedFlow, RecordedFrame, RecordedMessage, RecordedPiece,
    read::{address, content_fields, fields_of, target},
    text,
};
use crate::flow::{Content, Direction, Field, Fields, MessageKind, Outcome, RequestHead, ResponseHead, is_field_value};

/// Most octets that exported content may have once its codings are undone.
const MAX_DECODED: usize = 256 << 20;
/// Longer than any that browsers have (`chrome-extension`): what is longer is most likely no scheme.
const LONGEST_SCHEME: usize = 32;

#[derive(Deserialize)]
struct Har {
    log: Log,
}

#[derive(Deserialize)]
struct Log {
    entries: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    started_date_time: String,
    #[serde(default)]
    time: f64,
    request: Request,
    response: Response,
    #[serde(default)]
    timings: Timings,
    #[serde(rename = "_webSocketMessages", default)]
    messages: Vec<Message>,
    #[serde(rename = "_flowgate", default)]
    own: Own,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    method: String,
    url: String,
    #[serde(default)]
    http_version: String,
    #[serde(default)]
    headers: Vec<Pair>,
    #[serde(default)]
    post_data: Option<Content12>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    #[serde(default)]
    status: i64,
    #[serde(default)]
    status_text: String,
    #[serde(default)]
    http_version: String,
    #[serde(default)]
    headers: Vec<Pair>,
    #[serde(default)]
    content: Content12,
}

#[derive(Deserialize, Serialize)]
struct Pair {
    name: String,
    #[serde(default)]
    value: String,
    /// In base64, where the value is no UTF-8.
    #[serde(rename = "_octets", default, skip_serializing_if = "Option::is_none")]
    octets: Option<String>,
}

#[derive(Default, Deserialize)]
struct Content12 {
    /// Octets, codings undone; also where they are not here any more.
    #[serde(default)]
    size: Option<f64>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    encoding: Option<String>,
    /// Forms are in here alone in some archives.
    #[serde(default)]
    params: Vec<Pair>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Timings {
    blocked: f64,
    dns: f64,
    connect: f64,
    send: f64,
    wait: f64,
}

#[derive(Deserialize)]
struct Message {
    #[serde(rename = "type")]
    sent: String,
    /// Seconds since the Unix epoch.
    #[serde(default)]
    time: f64,
    #[serde(default)]
    opcode: f64,
    #[serde(default)]
    data: String,
    #[serde(rename = "_flowgate", default)]
    own: OwnFrame,
}

/// What an archive of our own says besides.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Own {
    id: Option<u64>,
    connection: Option<u64>,
    user: Option<String>,
    client: Option<IpAddr>,
    port: u16,
    outcome: Option<String>,
    cause: String,
    /// In base64, where the URL says another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    /// In base64, where neither the field Host nor the URL says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    authority: Option<String>,
    /// In base64, where it is no UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    request: OwnBody,
    response: OwnBody,
}

/// What HAR has no place for about a content.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct OwnBody {
    /// Where not all were recorded: the octets that are here, and on the wire those that are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    length: Option<u64>,
    /// No coding was undone: it is what was on the wire.
    #[serde(alias = "coded", skip_serializing_if = "is_false")]
    as_sent: bool,
    /// It ended before it was whole.
    #[serde(skip_serializing_if = "is_false")]
    broken: bool,
    /// When the head had been read and when the content had ended (microseconds after the flow began), where the timings say otherwise: an
    /// origin may answer before it has been asked whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<u64>,
    /// Of each piece, when it arrived (microseconds after the flow began) and its octets. Only where no coding was undone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pieces: Vec<(u64, usize)>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    trailers: Vec<Pair>,
}

/// What nobody else says about a WebSocket message.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct OwnFrame {
    /// Octets it had, where not all were recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    length: Option<u64>,
    /// When it had been read (microseconds after the flow began), where seconds since the Unix epoch do not say it to the microsecond.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<u64>,
    /// A text that was cut within a character.
    #[serde(skip_serializing_if = "is_false")]
    text: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_false(value: &bool) -> bool {
    !value
}

/// The flows of an archive. Entries that were never sent (status 0 without a word of what failed) have no response; those that are no HTTP exchange
/// are left out, which `say` is told.
///
/// # Errors
/// It is no archive; names the entry.
pub(super) fn parse(har: Value, mut say: impl FnMut(String)) -> anyhow::Result<Vec<RecordedFlow>> {
    let har: Har = serde_json::from_value(har).context("it is no HAR: log.entries is expected")?;
    let (mut flows, mut others) = (Vec::new(), Vec::new());
    for (entry, at) in har.log.entries.into_iter().zip(1..) {
        if let Some(scheme) = entry["request"]["url"].as_str().and_then(other_scheme) {
            others.push(scheme.to_owned());
            continue;
        }
        flows.push(flow(entry, flows.len() as u64 + 1).with_context(|| format!("entry {at} of the HAR"))?);
    }
    let left_out = others.len();
    others.sort_unstable();
    others.dedup();
    if left_out > 0 {
        say(format!("has entries that are no HTTP exchange ({}): {left_out} are left out", others.join(", ")));
    }
    Ok(flows)
}

/// The scheme of a URL that names no resource of HTTP (RFC 3986 §3.1), such as `data:`.
fn other_scheme(url: &str) -> Option<&str> {
    let (scheme, _) = url.split_once(':')?;
    let is_scheme = scheme.starts_with(|sign: char| sign.is_ascii_alphabetic())
        && scheme.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"+-.".contains(&octet));
    let is_known = ["http", "https", "ws", "wss"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    (is_scheme && !is_known && scheme.len() <= LONGEST_SCHEME).then_some(scheme)
}

/// Some programs write `null` for what they do not know.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            members.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name, without_nulls(value))).collect()
        }
        Value::Array(values) => values.into_iter().filter(|value| !value.is_null()).map(without_nulls).collect(),
        other => other,
    }
}

fn flow(entry: Value, id: u64) -> anyhow::Result<RecordedFlow> {
    let entry: Entry = serde_json::from_value(without_nulls(entry))?;
    let began =
        text::micros(&entry.started_date_time).with_context(|| format!("startedDateTime {:?} is no time", entry.started_date_time))?;
    let (origin, said) = target(&entry.request.url)?;
    let is_path = |path: &Bytes| path.iter().all(|octet| *octet > b' ' && *octet != 0x7f);
    let path = decoded(entry.own.path.as_deref()).filter(is_path).unwrap_or(said);
    let method = Method::from_bytes(entry.request.method.as_bytes()).with_context(|| format!("{:?} is no method", entry.request.method))?;
    let fields = fields_of(entry.request.headers.iter().map(Pair::both))?;
    let content = entry.request.post_data.map(octets).transpose()?.unwrap_or_default();
    let version = version(&entry.request.http_version);
    let sent = micros(entry.timings.send);
    let authority = decoded(entry.own.authority.as_deref()).unwrap_or_else(|| said_authority(&fields, &entry.request.url));
    let body = entry.own.request.body(content, sent)?;
    let is_head = method == Method::HEAD;
    let head = RequestHead { method, scheme: origin.scheme, authority, path, version, fields: entry.own.request.fields(fields, &body) };
    let request = RecordedMessage { head, at: entry.own.request.at.unwrap_or_default(), body };
    let Timings { blocked, dns, connect, send, wait } = entry.timings;
    let head_at = [blocked, dns, connect, send, wait].into_iter().map(micros).sum::<u64>();
    let ended = micros(entry.time).max(head_at);
    let response = match u16::try_from(entry.response.status).ok().filter(|status| *status >= 100) {
        None => None,
        Some(status) => {
            let status = StatusCode::from_u16(status).with_context(|| format!("{status} is no status"))?;
            let fields = fields_of(entry.response.headers.iter().map(Pair::both))?;
            let has_none = is_head || status == StatusCode::NOT_MODIFIED || status == StatusCode::NO_CONTENT;
            let size = entry.response.content.size.filter(|size| !has_none && *size > 0.0);
            let content = octets(entry.response.content)?;
            let is_gone = content.is_empty();
            let mut body = entry.own.response.body(content, ended)?;
            if let Some(size) = size.filter(|_| is_gone) {
                // Browsers let go of contents, and still say how large they were.
                body.length = body.length.max(size as u64);
            }
            let version = self::version(&entry.response.http_version);
            let odd = decoded(entry.own.reason.as_deref()).filter(|reason| is_field_value(reason));
            let reason = odd.or_else(|| reason(entry.response.status_text, version));
            let head = ResponseHead { status, reason, version, fields: entry.own.response.fields(fields, &body) };
            Some(RecordedMessage { head, at: entry.own.response.at.unwrap_or(head_at), body })
        }
    };
    let outcome = match entry.own.outcome.as_deref() {
        Some("client-aborted") => Outcome::ClientAborted,
        Some("origin-failed") => Outcome::OriginFailed(entry.own.cause),
        Some("answered-by") => Outcome::AnsweredBy(entry.own.cause),
        _ if response.is_some() => Outcome::Completed,
        _ => Outcome::OriginFailed("there is no response in the archive".into()),
    };
    let frames = entry.messages.into_iter().filter_map(|message| frame(message, began).transpose()).collect::<anyhow::Result<_>>()?;
    let mut client = address(entry.own.client);
    client.set_port(entry.own.port);
    Ok(RecordedFlow {
        id: entry.own.id.unwrap_or(id),
        began,
        client,
        connection: entry.own.connection.unwrap_or(id),
        user: entry.own.user,
        origin,
        request,
        response,
        frames,
        outcome,
    })
}

impl OwnBody {
    /// Of content that is written as so many octets.
    fn of(body: &RecordedBody, octets: usize, as_sent: bool) -> Self {
        let pieces = body.pieces.iter().map(|piece| (piece.at, piece.octets.len()));
        Self {
            length: body.is_cut().then(|| (octets as u64).saturating_add(body.length - body.kept() as u64)),
            as_sent,
            broken: body.ended.is_none(),
            pieces: if as_sent { pieces.collect() } else { Vec::new() },
            trailers: body.trailers.iter().map(Pair::of).collect(),
            ..Self::default()
        }
    }

    /// The same, of a message of which an archive says only those two moments.
    fn between<H>(mut self, message: &RecordedMessage<H>, at: u64, ended: u64) -> Self {
        self.at = (message.at != at).then_some(message.at);
        self.ended = message.body.ended.filter(|moment| *moment != ended);
        self
    }

    /// Those that go with that content, unless somebody has edited it since.
    fn fields(&self, fields: Fields, body: &RecordedBody) -> Fields {
        if self.as_sent && self.lengths() == Some(body.kept()) { fields } else { content_fields(fields, body) }
    }

    /// Octets of all pieces; `None`: there are none such.
    fn lengths(&self) -> Option<usize> {
        self.pieces.iter().try_fold(0_usize, |sum, (_, length)| if *length > 0 { sum.checked_add(*length) } else { None })
    }

    /// That content, as it arrived as far as that is known.
    fn body(&self, content: Bytes, at: u64) -> anyhow::Result<RecordedBody> {
        let mut body = RecordedBody::whole(content.clone(), at);
        if self.lengths() == Some(content.len()) {
            let mut rest = content;
            body.pieces = self.pieces.iter().map(|(at, length)| RecordedPiece { at: *at, octets: rest.split_to(*length) }).collect();
        }
        body.length = body.length.max(self.length.unwrap_or_default());
        body.ended = self.ended.or(body.ended).filter(|_| !self.broken);
        body.trailers = fields_of(self.trailers.iter().map(Pair::both))?;
        Ok(body)
    }
}

impl Pair {
    fn of(field: &Field) -> Self {
        let (name, value) = (field.name_str().to_owned(), text::of_octets(field.value()));
        Self { name, value, octets: odd(field.value()) }
    }

    fn both(&self) -> (&str, Vec<u8>) {
        let octets = decoded(self.octets.as_deref());
        (self.name.as_str(), octets.map_or_else(|| self.value.clone().into_bytes(), Vec::from))
    }
}

/// In base64, what no text says.
fn odd(octets: &[u8]) -> Option<String> {
    std::str::from_utf8(octets).is_err().then(|| BASE64_STANDARD.encode(octets))
}

fn decoded(odd: Option<&str>) -> Option<Bytes> {
    Some(BASE64_STANDARD.decode(odd?).ok()?.into())
}

fn said_authority(fields: &Fields, url: &str) -> Bytes {
    let of_url = || {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        rest.split(['/', '?', '#']).next().unwrap_or_default()
    };
    fields.get("host").map_or_else(|| Bytes::copy_from_slice(of_url().as_bytes()), Bytes::copy_from_slice)
}

/// Milliseconds; what does not apply is -1 in HAR.
fn micros(millis: f64) -> u64 {
    if millis.is_finite() && millis > 0.0 { (millis.min(1e12) * 1000.0).round() as u64 } else { 0 }
}

/// Seconds since the Unix epoch, as microseconds.
fn moment(seconds: f64) -> u64 {
    if seconds.is_finite() && seconds > 0.0 { (seconds.min(1e12) * 1e6).round() as u64 } else { 0 }
}

fn version(text: &str) -> Version {
    match text.to_ascii_lowercase().as_str() {
        "http/1.0" => Version::HTTP_10,
        "h2" | "http/2" | "http/2.0" => Version::HTTP_2,
        "h3" | "http/3" | "http/3.0" => Version::HTTP_3,
        _ => Version::HTTP_11,
    }
}

/// What no status line may hold is left out: it means nothing (RFC 9112 §4). There is none from HTTP/2 on.
fn reason(text: String, version: Version) -> Option<Bytes> {
    let text: String = text.chars().filter(|sign| !sign.is_control()).collect();
    (version < Version::HTTP_2 || !text.is_empty()).then(|| text.into())
}

fn octets(content: Content12) -> anyhow::Result<Bytes> {
    let text = match content.text {
        Some(text) if !text.is_empty() => text,
        _ => {
            let form = content.params.iter().map(|Pair { name, value, .. }| format!("{name}={value}")).collect::<Vec<_>>();
            return Ok(form.join("&").into());
        }
    };
    match content.encoding.as_deref() {
        None | Some("") => Ok(text.into()),
        Some("base64") => Ok(BASE64_STANDARD.decode(text.trim()).context("its content is no base64")?.into()),
        Some(other) => anyhow::bail!("its content is written in {other:?}, and base64 is all that is known"),
    }
}

fn frame(message: Message, began: u64) -> anyhow::Result<Option<RecordedFrame>> {
    let sent = match message.sent.as_str() {
        "send" => Direction::Request,
        "receive" => Direction::Response,
        // Chromium notes errors in the same list.
        _ => return Ok(None),
    };
    let (kind, content) = match message.opcode as i64 {
        1 => (MessageKind::Text, Bytes::from(message.data)),
        opcode @ (2 | 8) => {
            let octets = BASE64_STANDARD.decode(message.data.trim()).context("a WebSocket message of it is no base64")?;
            let kind = match opcode {
                8 => MessageKind::Closed,
                _ if message.own.text => MessageKind::Text,
                _ => MessageKind::Binary,
            };
            (kind, octets.into())
        }
        _ => return Ok(None),
    };
    let at = message.own.at.unwrap_or_else(|| moment(message.time).saturating_sub(began));
    let length = message.own.length.unwrap_or_default().max(content.len() as u64);
    Ok(Some(RecordedFrame { sent, kind, at, length, content }))
}

/// The flows as an archive.
///
/// # Errors
/// The content of a flow, its codings undone, is larger than an archive should hold.
pub fn export(flows: &[RecordedFlow]) -> anyhow::Result<Value> {
    let entries = flows.iter().map(|flow| entry(flow).with_context(|| format!("flow {}", flow.id))).collect::<anyhow::Result<Vec<_>>>()?;
    let creator = json!({ "name": "flowgate", "version": env!("CARGO_PKG_VERSION") });
    Ok(json!({ "log": { "version": "1.2", "creator": creator, "entries": entries } }))
}

fn entry(flow: &RecordedFlow) -> anyhow::Result<Value> {
    let millis = |micros: u64| micros as f64 / 1000.0;
    // As it is read.
    let again = |moment| micros(millis(moment));
    let RecordedMessage { head, body, .. } = &flow.request;
    let sent = body.ended.unwrap_or_default();
    let head_at = flow.response.as_ref().map_or(sent, |response| response.at).max(sent);
    let ended = flow.response.as_ref().and_then(|response| response.body.ended).unwrap_or(head_at).max(head_at);
    let (outcome, cause) = match &flow.outcome {
        Outcome::InProgress | Outcome::Completed => ("completed", ""),
        Outcome::ClientAborted => ("client-aborted", ""),
        Outcome::OriginFailed(why) => ("origin-failed", why.as_str()),
        Outcome::AnsweredBy(whom) => ("answered-by", whom.as_str()),
    };
    let (post_data, own_request) = content(body, &head.fields)?;
    let got = flow.response.as_ref().map(|response| content(&response.body, &response.head.fields)).transpose()?;
    let (got, own_response) = got.unwrap_or_default();
    // `*` (RFC 9112 §3.2.4) is not in a URL.
    let url = Some(flow.url()).filter(|url| target(url).is_ok_and(|(origin, _)| origin == flow.origin));
    let url = url.unwrap_or_else(|| format!("{}/", flow.origin));
    let is_said = target(&url).is_ok_and(|(_, path)| path == head.path);
    let said_authority = said_authority(&head.fields, &url);
    let own = Own {
        id: Some(flow.id),
        connection: Some(flow.connection),
        user: flow.user.clone(),
        client: Some(flow.client.ip()),
        port: flow.client.port(),
        outcome: Some(outcome.to_owned()),
        cause: cause.to_owned(),
        path: (!is_said).then(|| BASE64_STANDARD.encode(&head.path)),
        authority: (said_authority != head.authority).then(|| BASE64_STANDARD.encode(&head.authority)),
        reason: flow.response.as_ref().and_then(|response| odd(response.head.reason.as_deref()?)),
        request: own_request.between(&flow.request, 0, again(sent)),
        response: match &flow.response {
            Some(response) => {
                let head_at = again(sent) + again(head_at - sent);
                own_response.between(response, head_at, again(ended).max(head_at))
            }
            None => own_response,
        },
    };
    let mut request = json!({
        "method": head.method.as_str(),
        "url": url,
        "httpVersion": named(head.version),
        "cookies": [],
        "headers": pairs(&head.fields),
        "queryString": query(&head.path),
        "headersSize": -1,
        "bodySize": body.length,
    });
    if !body.pieces.is_empty() {
        request["postData"] = post_data;
    }
    let response = match &flow.response {
        Some(RecordedMessage { head, body, .. }) => json!({
            "status": head.status.as_u16(),
            "statusText": head.reason.as_deref().map(text::of_octets).unwrap_or_default(),
            "httpVersion": named(head.version),
            "cookies": [],
            "headers": pairs(&head.fields),
            "content": got,
            "redirectURL": head.fields.get("location").map(text::of_octets).unwrap_or_default(),
            "headersSize": -1,
            "bodySize": body.length,
        }),
        None => json!({
            "status": 0, "statusText": "", "httpVersion": "", "cookies": [], "headers": [],
            "content": { "size": 0, "mimeType": "" }, "redirectURL": "", "headersSize": -1, "bodySize": -1,
        }),
    };
    let mut entry = json!({
        "startedDateTime": text::of_micros(flow.began),
        "time": millis(ended),
        "request": request,
        "response": response,
        "cache": {},
        "timings": { "send": millis(sent), "wait": millis(head_at - sent), "receive": millis(ended - head_at) },
        "connection": flow.connection.to_string(),
        "_flowgate": own,
    });
    if !flow.frames.is_empty() {
        entry["_resourceType"] = "websocket".into();
        entry["_webSocketMessages"] = flow.frames.iter().map(|frame| message(frame, flow.began)).collect();
    }
    Ok(entry)
}

fn message(frame: &RecordedFrame, began: u64) -> Value {
    let text = std::str::from_utf8(&frame.content);
    let time = began.saturating_add(frame.at) as f64 / 1e6;
    let own = OwnFrame {
        length: frame.is_cut().then_some(frame.length),
        at: (moment(time).saturating_sub(began) != frame.at).then_some(frame.at),
        text: frame.kind == MessageKind::Text && text.is_err(),
    };
    let (opcode, data) = match (frame.kind, text) {
        (MessageKind::Text, Ok(text)) => (1, text.to_owned()),
        (MessageKind::Text | MessageKind::Binary, _) => (2, BASE64_STANDARD.encode(&frame.content)),
        (MessageKind::Closed, _) => (8, BASE64_STANDARD.encode(&frame.content)),
    };
    let sent = if frame.sent == Direction::Request { "send" } else { "receive" };
    let mut message = json!({ "type": sent, "time": time, "opcode": opcode, "data": data });
    if own.length.is_some() || own.at.is_some() || own.text {
        message["_flowgate"] = json!(own);
    }
    message
}

fn pairs(fields: &Fields) -> Value {
    fields.iter().map(|field| json!(Pair::of(field))).collect()
}

fn query(path: &[u8]) -> Value {
    let path = String::from_utf8_lossy(path);
    let query = path.split_once('?').map_or("", |(_, query)| query);
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(name, value)| json!({ "name": name, "value": value })).collect()
}

/// A content, and what HAR has no place for about it.
fn content(body: &RecordedBody, fields: &Fields) -> anyhow::Result<(Value, OwnBody)> {
    let mut kept = Content::keeping(body.kept());
    body.pieces.iter().for_each(|piece| kept.pass(&piece.octets));
    let decoded = kept.decoded(fields, MAX_DECODED);
    ensure!(decoded.octets.len() < MAX_DECODED, "its content has more than {MAX_DECODED} octets");
    // What cannot be undone wholly, or to nothing, stays as it was: what stands behind the place where it breaks would be lost.
    let is_broken = decoded.trouble.is_some() || (decoded.truncated && !body.is_cut() && body.ended.is_some());
    let sent = body.octets();
    let as_sent = is_broken || decoded.octets.is_empty() || decoded.octets == sent;
    let octets = if as_sent { sent } else { decoded.octets };
    let media_type = fields.get("content-type").map(text::of_octets).unwrap_or_default();
    let mut content = json!({ "size": octets.len(), "mimeType": media_type });
    match std::str::from_utf8(&octets) {
        Ok(text) => content["text"] = text.into(),
        Err(_) => {
            content["text"] = BASE64_STANDARD.encode(&octets).into();
            content["encoding"] = "base64".into();
        }
    }
    Ok((content, OwnBody::of(body, octets.len(), as_sent)))
}

fn named(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/1.1",
    }
}
