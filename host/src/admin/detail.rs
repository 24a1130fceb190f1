//! One flow, for people to look into: heads, contents with their codings undone, events, messages, and what a model said in them.
//!
//! Place: what `watch` answers. Fields that carry credentials are never shown.
//! Source: WHATWG HTML §9.2.6 (server-sent events); the APIs of OpenAI and Anthropic for texts.

use serde::Serialize;
use serde_json::Value;

use crate::{
    flow::{Direction, Fields, MessageKind, decode},
    plugin::Explanation,
    recording::{Glance, RecordedBody, RecordedFlow},
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
    pub(super) explanation: Option<Explanation>,
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
    pub(super) fn new(flow: &RecordedFlow, shows_contents: bool) -> Self {
        Self { glance: Glance::at(flow), explanation: None, contents: shows_contents.then(|| Contents::new(flow)) }
    }
}

impl Contents {
    fn new(flow: &RecordedFlow) -> Self {
        let response = flow.response.as_ref().map(|response| {
            let head = &response.head;
            (Message::new(format!("{:?} {}", head.version, head.status), &head.fields, &response.body), head.media_type())
        });
        let request = Message::new(format!("{:?}", flow.request.head.version), &flow.request.head.fields, &flow.request.body);
        let is_stream = response.as_ref().is_some_and(|(_, media_type)| media_type == "text/event-stream");
        let response = response.map(|(response, _)| response);
        let text = response.as_ref().map_or("", |response| response.text.as_str());
        let events = if is_stream { events(text) } else { Vec::new() };
        let messages: Vec<Spoken> = flow.frames.iter().take(MANY).map(Spoken::new).collect();
        let mut said = String::new();
        match (is_stream, messages.is_empty()) {
            (true, _) => events.iter().for_each(|event| say(&mut said, &event.data)),
            (false, true) => say(&mut said, text),
            (false, false) => messages.iter().filter(|message| message.by == "origin").for_each(|message| say(&mut said, &message.text)),
        }
        Self { url: flow.url(), request, response, events, messages, said }
    }
}

impl Message {
    fn new(version: String, fields: &Fields, body: &RecordedBody) -> Self {
        let decoded = decode(fields, body.octets(), body.is_cut(), MOST);
        Self {
            version,
            fields: shown(fields),
            trailers: shown(&body.trailers),
            length: body.length,
            text: String::from_utf8_lossy(&decoded.octets).into_owned(),
            is_cut: decoded.truncated,
            trouble: decoded.trouble,
        }
    }
}

fn shown(fields: &Fields) -> Vec<(String, String)> {
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
    fn new(frame: &crate::recording::RecordedFrame) -> Self {
        let kept = &frame.content[..frame.content.len().min(MOST)];
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
            text: String::from_utf8_lossy(kept).into_owned(),
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
    fn credentials_are_not_shown() {
        let fields: Fields = [("Authorization", "x"), ("X-GitHub-Token", "x"), ("Set-Cookie", "x"), ("Accept", "y")]
            .into_iter()
            .map(|(name, value)| crate::flow::Field::new(name.as_bytes(), value.as_bytes()))
            .collect();

        let values: Vec<String> = shown(&fields).into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, ["[not shown]", "[not shown]", "[not shown]", "y"]);
    }
}
