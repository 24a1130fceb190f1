//! What was asked of a model.

use serde_json::Value;

/// A prompt, as far as most plugins care.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Prompt {
    /// The model that was asked for.
    pub model: Option<String>,
    /// The last that a person said: the text of the last message of role `user` that has any. Of a completion, the text to go on from.
    pub user: Option<String>,
    /// The last message is such, so that a person began the exchange; false where a client reports what a tool did.
    pub is_turn: bool,
    /// The language of the file that is completed, where the client says it (Copilot's `extra.language`).
    pub language: Option<String>,
}

impl Prompt {
    /// Reads the content of a request; what is no prompt makes an empty one.
    pub fn read(content: &[u8]) -> Self {
        serde_json::from_slice(content).map(|json| Self::of(&json)).unwrap_or_default()
    }

    /// The same of JSON that was read already, or of a message that asks over a WebSocket.
    pub fn of(json: &Value) -> Self {
        // A WebSocket's message may carry it one level down.
        let json = if json["response"].is_object() { &json["response"] } else { json };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let prompt = Self { model: text(&json["model"]), language: text(&json["extra"]["language"]), ..Self::default() };
        let (user, is_turn) = match (&json["messages"], &json["input"], &json["prompt"]) {
            (Value::Array(messages), ..) | (_, Value::Array(messages), _) => {
                let said = |message: &Value| by_user(message).then(|| text_of(&message["content"])).flatten();
                (messages.iter().rev().find_map(said), messages.last().is_some_and(|last| by_user(last) && !reports(last)))
            }
            (_, Value::String(text), _) | (.., Value::String(text)) => (Some(text.clone()), true),
            (.., Value::Array(texts)) => (texts.first().and_then(text), !texts.is_empty()),
            _ => (None, false),
        };
        Self { user, is_turn, ..prompt }
    }
}

fn by_user(message: &Value) -> bool {
    message["role"] == "user"
}

/// Whether a message of role `user` carries what a tool answered.
fn reports(message: &Value) -> bool {
    message["content"].as_array().is_some_and(|parts| parts.iter().any(|part| part["type"] == "tool_result"))
}

/// A message's content as text, parts on lines of their own; `None` where it has none (images alone, results of tools).
pub(super) fn text_of(content: &Value) -> Option<String> {
    match content {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => {
            let texts: Vec<&str> = parts.iter().filter_map(|part| part["text"].as_str().or(part["refusal"].as_str())).collect();
            (!texts.is_empty()).then(|| texts.join("\n"))
        }
        _ => None,
    }
}
