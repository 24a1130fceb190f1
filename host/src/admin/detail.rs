//! One flow, for people to look into: heads, contents with their codings undone, events, messages, and what a model said in them.
//!
//! Place: what `watch` answers. Fields that carry credentials are never shown, and of the rest what observers may see.
//! Source: WHATWG HTML §9.2.6 (server-sent events); the APIs of OpenAI and Anthropic for texts.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use crate::{
    flow::{Direction, Fields, MessageKind, decode, media_type},
    plugin::Explanation,
    recording::{Glance, RecordedBody, RecordedFlow, RecordedFrame},
    redaction::Redaction,
};

/// Octets of one content that are shown; more is nothing to read.
const MOST: usize = 1 << 20;
/// Events and messages that are shown of one flow.
const MANY: usize = 2000;
/// Parts of names of fields whose values open something.
const SECRETS: [&str; 8] = ["authorization", "cookie", "token", "api-key", "apikey", "secret", "password", "credential"];

/// See the module.
#[derive(Serialize)]
pub(super) struct Detail {
    #[serde(flatten)]
    glance: Glance,
    /// What plugins did about it; `None`: none wanted it.
    explanation: Option<Explanation>,
    /// `None`: contents are not shown here.
    contents: Option<Contents>,
}

#[derive(Serialize)]
struct Contents {
    url: String,
    request: Message,
    response: Option<Message>,
    /// Server-sent events of the response.
    events: Vec<Event>,
    /// Of a WebSocket.
    messages: Vec<Spoken>,
    /// What a model said, put together.
    said: String,
}

#[derive(Serialize)]
struct Message {
    version: String,
    fields: Vec<(String, String)>,
    trailers: Vec<(String, String)>,
    /// Octets that passed.
    length: u64,
    /// The content, decoded; U+FFFD stands where it is no text.
    text: String,
    /// It is longer than that.
    is_cut: bool,
    /// Why a content coding could not be undone.
    trouble: Option<String>,
}

#[derive(Serialize)]
struct Event {
    event: String,
    data: String,
}

#[derive(Serialize)]
struct Spoken {
    /// Microseconds since the flow began.
    at: u64,
    by: &'static str,
    kind: &'static str,
    length: u64,
    text: String,
}

impl Detail {
    /// `redaction`: what observers must not see, nobody sees here.
    pub(super) fn new(flow: &RecordedFlow, explanation: Option<Explanation>, shows_contents: bool, redaction: &Redaction) -> Self {
        let explanation = explanation.map(|mut explanation| {
            explanation.url = redaction.text(&explanation.url).into_owned();
            for (_, value) in &mut explanation.tags {
                *value = redaction.text(value).into_owned();
            }
            explanation
        });
        let contents = shows_contents.then(|| Contents::new(flow, redaction));
        Self { glance: glance(Glance::at(flow), redaction), explanation, contents }
    }
}

/// What there is to see of a flow at a glance, as observers may see it.
pub(super) fn glance(mut glance: Glance, redaction: &Redaction) -> Glance {
    if let Cow::Owned(path) = redaction.text(&glance.path) {
        glance.path = path;
    }
    glance
}

impl Contents {
    fn new(flow: &RecordedFlow, redaction: &Redaction) -> Self {
        let response = flow.response.as_ref().map(|response| {
            let (head, media_type) = (&response.head, response.head.media_type());
            (Message::new(format!("{:?} {}", head.version, head.status), &head.fields, &response.body, &media_type, redaction), media_type)
        });
        let head = &flow.request.head;
        let media_type = media_type(&head.fields);
        let request = Message::new(format!("{:?}", head.version), &head.fields, &flow.request.body, &media_type, redaction);
        let is_stream = response.as_ref().is_some_and(|(_, media_type)| media_type == "text/event-stream");
        let response = response.map(|(response, _)| response);
        let text = response.as_ref().map_or("", |response| response.text.as_str());
        let events = if is_stream { events(text) } else { Vec::new() };
        let messages: Vec<Spoken> = flow.frames.iter().take(MANY).map(|frame| Spoken::new(frame, redaction)).collect();
        let mut said = String::new();
        match (is_stream, messages.is_empty()) {
            (true, _) => events.iter().for_each(|event| say(&mut said, &event.data)),
            (false, true) => say(&mut said, text),
            (false, false) => messages.iter().filter(|message| message.by == "origin").for_each(|message| say(&mut said, &message.text)),
        }
        // What is blanked in no single event may be so where they are put together.
        let said = redaction.text(&said).into_owned();
        Self { url: redaction.text(&flow.url()).into_owned(), request, response, events, messages, said }
    }
}

impl Message {
    fn new(version: String, fields: &Fields, body: &RecordedBody, media_type: &str, redaction: &Redaction) -> Self {
        let decoded = decode(fields, body.octets(), body.is_cut(), MOST);
        let octets = match decoded.trouble.is_some() && redaction.reads_content() {
            true => Bytes::new(), // Nobody can say what is in it.
            false => redaction.content(decoded.octets, media_type),
        };
        Self {
            version,
            fields: shown(fields, redaction),
            trailers: shown(&body.trailers, redaction),
            length: body.length,
            text: String::from_utf8_lossy(&octets).into_owned(),
            is_cut: decoded.truncated,
            trouble: decoded.trouble,
        }
    }
}

fn shown(fields: &Fields, redaction: &Redaction) -> Vec<(String, String)> {
    let mut fields = fields.clone();
    redaction.blank_fields(&mut fields);
    let shown = |field: &crate::flow::Field| {
        let name = field.name_str().to_owned();
        let lower = name.to_ascii_lowercase();
        let is_secret = SECRETS.iter().any(|part| lower.contains(part));
        let value = if is_secret { "[not shown]".to_owned() } else { String::from_utf8_lossy(field.value()).into_owned() };
        (name, value)
    };
    fields.iter().map(shown).collect()
}

impl Spoken {
    fn new(frame: &RecordedFrame, redaction: &Redaction) -> Self {
        let kept = redaction.message(frame.content.slice(..frame.content.len().min(MOST)));
        Self {
            at: frame.at,
            by: match frame.sent {
                Direction::Request => "client",
                Direction::Response => "origin",
            },
            kind: match frame.kind {
                MessageKind::Text => "text",
                MessageKind::Binary => "binary",
                MessageKind::Closed => "closed",
            },
            length: frame.length,
            text: String::from_utf8_lossy(&kept).into_owned(),
        }
    }
}

fn events(text: &str) -> Vec<Event> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let blocks = text.split("\n\n").filter(|block| !block.trim().is_empty());
    let event = |block: &str| {
        let field = |name: &str| {
            let values = block.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            values.map(|value| value.strip_prefix(' ').unwrap_or(value)).collect::<Vec<_>>()
        };
        Event { event: field("event").pop().unwrap_or("message").to_owned(), data: field("data").join("\n") }
    };
    blocks.map(event).take(MANY).collect()
}

/// Adds what a model says in a piece of JSON, in any of the forms that are usual.
fn say(said: &mut String, data: &str) {
    let Ok(value) = serde_json::from_str::<Value>(data) else { return };
    let mut add = |text: Option<&Value>| said.push_str(text.and_then(Value::as_str).unwrap_or_default());
    for choice in value.get("choices").and_then(Value::as_array).into_iter().flatten() {
        add(choice.pointer("/delta/content"));
        add(choice.pointer("/message/content"));
        add(choice.get("text"));
    }
    match value.get("type").and_then(Value::as_str) {
        Some("response.output_text.delta") => add(value.get("delta")),
        Some("content_block_delta") => add(value.pointer("/delta/text")),
        Some("message") => value.get("content").and_then(Value::as_array).into_iter().flatten().for_each(|part| add(part.get("text"))),
        _ => {}
    }
    let parts = value.get("output").and_then(Value::as_array).into_iter().flatten();
    parts.filter_map(|item| item.get("content")?.as_array()).flatten().for_each(|part| add(part.get("text")));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::testing::conversation;

    #[test]
    fn what_models_say_is_put_together_from_every_form() {
        let table: [(&[&str], &str); 6] = [
            (&[r#"{"choices":[{"delta":{"content":"a"}}]}"#, r#"{"choices":[{"delta":{"content":"b"}}]}"#, "[DONE]"], "ab"),
            (&[r#"{"choices":[{"text":"a"}]}"#], "a"),
            (&[r#"{"choices":[{"message":{"content":"a"}}]}"#], "a"),
            (&[r#"{"type":"response.output_text.delta","delta":"a"}"#, r#"{"type":"response.completed"}"#], "a"),
            (&[r#"{"type":"content_block_delta","delta":{"text":"a"}}"#], "a"),
            (&[r#"{"output":[{"content":[{"text":"a"},{"text":"b"}]}]}"#, r#"{"type":"message","content":[{"text":"c"}]}"#], "abc"),
        ];
        for (pieces, expected) in table {
            let mut said = String::new();
            pieces.iter().for_each(|piece| say(&mut said, piece));
            assert_eq!(said, expected, "{pieces:?}");
        }
    }

    #[test]
    fn events_are_told_apart() {
        let found = events("event: a\r\ndata: 1\r\ndata: 2\r\n\r\n: comment\n\ndata:3\n\n");

        let found: Vec<_> = found.iter().map(|event| (event.event.as_str(), event.data.as_str())).collect();
        assert_eq!(found, [("a", "1\n2"), ("message", ""), ("message", "3")]);
    }

    #[test]
    fn what_observers_must_not_see_nobody_sees_here() {
        let redaction = Redaction::new(&["x-note".into()], &["$.token".into()], &["k-[0-9]+".into()]).expect("good rules");
        let mut flow = conversation(1);
        flow.request.head.path = Bytes::from_static(b"/k-1?key=k-2");
        flow.request.head.fields = [("X-Note", "k"), ("Content-Type", "application/json"), ("Via", "k-3")]
            .into_iter()
            .map(|(name, value)| crate::flow::Field::new(name.as_bytes(), value.as_bytes()))
            .collect();
        flow.request.body = RecordedBody::whole(Bytes::from_static(br#"{"token":"t0","n":"k-4"}"#), 0);
        flow.frames[0].content = Bytes::from_static(br#"{"token":"t0","n":"k-5"}"#);

        let shown = serde_json::to_value(Detail::new(&flow, None, true, &redaction)).expect("JSON");

        let text = shown.to_string();
        assert!((1..=5).all(|number| !text.contains(&format!("k-{number}"))) && !text.contains("t0"), "{text}");
        assert_eq!(shown.pointer("/contents/request/text"), Some(&r#"{"token":"[redacted]","n":"[redacted]"}"#.into()));
        assert_eq!(shown.pointer("/contents/request/fields/0/1"), Some(&"[redacted]".into()));
    }

    #[test]
    fn credentials_are_not_shown() {
        let fields: Fields = [("Authorization", "x"), ("X-GitHub-Token", "x"), ("Set-Cookie", "x"), ("Accept", "y")]
            .into_iter()
            .map(|(name, value)| crate::flow::Field::new(name.as_bytes(), value.as_bytes()))
            .collect();

        let values: Vec<String> = shown(&fields, &Redaction::default()).into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, ["[not shown]", "[not shown]", "[not shown]", "y"]);
    }
}
