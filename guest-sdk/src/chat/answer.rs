//! What a model answered, put together from its pieces.
//!
//! Place: fed with JSON values; where they came from (a document, events, messages) is the caller's.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::prompt::text_of;
use crate::sse;

/// What ends a stream of OpenAI's kind.
const DONE: &str = "[DONE]";

/// A whole answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The model that gave it.
    pub model: Option<String>,
    /// The final message. Of several alternatives, the first.
    pub text: String,
    /// What the model lets be seen of its reasoning.
    pub reasoning: String,
    /// Tools it wants to be run, in order.
    pub tool_calls: Vec<ToolCall>,
    /// Why it stopped, in the interface's own word (`stop`, `tool_calls`, `end_turn`, `completed` ...).
    pub finish_reason: Option<String>,
    /// What it cost.
    pub usage: Option<Usage>,
    /// What went wrong, as the origin says.
    pub error: Option<String>,
    /// It says of itself that it is over.
    pub is_complete: bool,
}

/// One wish to have a tool run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ToolCall {
    /// What its result will refer to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The tool.
    pub name: String,
    /// As the model wrote them: JSON, for most.
    pub arguments: String,
}

/// Tokens.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Usage {
    /// Of the prompt, those from a cache included.
    pub input_tokens: u64,
    /// Of these, those read from a cache.
    pub cached_tokens: u64,
    /// Of the answer, its reasoning included.
    pub output_tokens: u64,
}

impl Answer {
    /// Reads content as it was received: server-sent events, or one JSON document. What cannot be read is left out.
    pub fn read(content: &[u8]) -> Self {
        let mut assembly = Assembly::default();
        if content.trim_ascii_start().starts_with(b"{") {
            if let Ok(json) = serde_json::from_slice(content) {
                assembly.add(&json);
            }
        } else {
            for data in sse::events(content).filter_map(|event| event.data) {
                match serde_json::from_str(&data) {
                    Ok(json) => assembly.add(&json),
                    Err(_) if data.trim() == DONE => assembly.is_complete = true,
                    Err(_) => {}
                }
            }
        }
        assembly.finish()
    }
}

/// An answer that is coming.
#[derive(Debug, Default)]
pub struct Assembly {
    model: Option<String>,
    texts: BTreeMap<Place, String>,
    reasoning: BTreeMap<Place, String>,
    calls: BTreeMap<Place, ToolCall>,
    /// The first half of a place counts alternatives, not parts of one message.
    alternatives: bool,
    finish_reason: Option<String>,
    tokens: Tokens,
    error: Option<String>,
    is_complete: bool,
}

/// Alternative, item or block; then the part of it.
type Place = (u64, u64);

impl Assembly {
    /// One piece, or all of it: an event's data, a message, a document. What is unknown is passed over.
    pub fn add(&mut self, json: &Value) {
        self.told_of(json);
        match json["type"].as_str() {
            Some("error") => self.error = self.error.take().or_else(|| text(&json["message"])),
            Some(kind) if kind.starts_with("response.") => self.add_response_event(kind, json),
            Some("message_start") => {
                self.told_of(&json["message"]);
                self.add_blocks(&json["message"]["content"]);
            }
            Some("content_block_start") => self.begin_block(number(&json["index"]), &json["content_block"]),
            Some("content_block_delta") => self.add_to_block(number(&json["index"]), &json["delta"]),
            Some("message_delta") => self.finished(&json["delta"]["stop_reason"]),
            Some("message_stop") => self.is_complete = true,
            Some("message") => {
                self.add_blocks(&json["content"]);
                self.finished(&json["stop_reason"]);
                self.is_complete = true;
            }
            _ if json["object"] == "response" => self.add_response(json),
            _ => self.add_choices(json),
        }
    }

    /// The answer as far as it has come.
    pub fn finish(self) -> Answer {
        let mut answer = Answer {
            model: self.model,
            is_complete: self.is_complete || self.finish_reason.is_some(),
            finish_reason: self.finish_reason,
            usage: self.tokens.usage(),
            error: self.error,
            ..Answer::default()
        };
        let texts = self.texts.into_iter().filter(|(_, text)| !text.is_empty());
        let mut chosen = None;
        for ((alternative, _), text) in texts {
            if !self.alternatives || *chosen.get_or_insert(alternative) == alternative {
                append(&mut answer.text, &text);
            }
        }
        self.reasoning.values().filter(|text| !text.is_empty()).for_each(|text| append(&mut answer.reasoning, text));
        answer.tool_calls.extend(self.calls.into_values().filter(|call| *call != ToolCall::default()));
        answer
    }

    /// What is called alike everywhere.
    fn told_of(&mut self, json: &Value) {
        if let Some(model) = json["model"].as_str().filter(|model| !model.is_empty()) {
            self.model = Some(model.to_owned());
        }
        self.tokens.add(&json["usage"]);
        let error = &json["error"];
        self.error = self.error.take().or_else(|| text(&error["message"])).or_else(|| text(error));
    }

    fn finished(&mut self, reason: &Value) {
        self.finish_reason = text(reason).or(self.finish_reason.take());
    }

    /// Completions and chat completions, streamed or not.
    fn add_choices(&mut self, json: &Value) {
        let Some(choices) = json["choices"].as_array() else { return };
        self.alternatives = true;
        for (at, choice) in choices.iter().enumerate() {
            self.finished(&choice["finish_reason"]);
            let is_delta = choice["delta"].is_object();
            // Some origins give the text and the calls of one whole message as choices of the same index.
            let index = if is_delta || choice["text"].is_string() { number(&choice["index"]) } else { at as u64 };
            let message = if is_delta { &choice["delta"] } else { &choice["message"] };
            for said in [text(&choice["text"]), text_of(&message["content"]), text(&message["refusal"])].into_iter().flatten() {
                self.text((index, 0)).push_str(&said);
            }
            for name in ["reasoning_content", "reasoning_text", "reasoning"] {
                if let Some(said) = message[name].as_str() {
                    self.thought((index, 0)).push_str(said);
                    break;
                }
            }
            for (at, call) in message["tool_calls"].as_array().into_iter().flatten().enumerate() {
                let nth = call["index"].as_u64().unwrap_or(at as u64);
                let entry = self.call((index, nth));
                entry.id = entry.id.take().or_else(|| text(&call["id"]));
                let function = if call["custom"].is_object() { &call["custom"] } else { &call["function"] };
                entry.add(function);
            }
            if message["function_call"].is_object() {
                self.call((index, 0)).add(&message["function_call"]);
            }
        }
    }

    /// A whole response of the responses interface.
    fn add_response(&mut self, response: &Value) {
        self.told_of(response);
        for (at, item) in response["output"].as_array().into_iter().flatten().enumerate() {
            self.put_item(at as u64, item);
        }
        self.finished(&response["incomplete_details"]["reason"]);
        if matches!(response["status"].as_str(), Some("completed" | "incomplete" | "failed" | "cancelled")) {
            self.finish_reason = self.finish_reason.take().or_else(|| text(&response["status"]));
            self.is_complete = true;
        }
    }

    fn add_response_event(&mut self, kind: &str, json: &Value) {
        let item = number(&json["output_index"]);
        let place = (item, number(&json["content_index"]));
        let delta = json["delta"].as_str();
        match (kind, delta) {
            ("response.output_text.delta" | "response.refusal.delta", Some(delta)) => self.text(place).push_str(delta),
            ("response.reasoning_summary_text.delta" | "response.reasoning_text.delta", Some(delta)) => {
                self.thought((item, number(&json["summary_index"]).saturating_add(place.1))).push_str(delta);
            }
            ("response.function_call_arguments.delta" | "response.custom_tool_call_input.delta", Some(delta)) => {
                self.call((item, 0)).arguments.push_str(delta);
            }
            ("response.output_item.added" | "response.output_item.done", _) => self.put_item(item, &json["item"]),
            // With the last event comes everything once more, or nothing.
            ("response.completed" | "response.incomplete" | "response.failed" | "response.done", _) => self.add_response(&json["response"]),
            _ => self.told_of(&json["response"]),
        }
    }

    /// An item as it stands now, in the place of what was known of it.
    fn put_item(&mut self, at: u64, item: &Value) {
        let kind = item["type"].as_str().unwrap_or_default();
        let (parts, is_reasoning) = match kind {
            "message" => (&item["content"], false),
            "reasoning" if item["summary"].as_array().is_some_and(|summary| !summary.is_empty()) => (&item["summary"], true),
            "reasoning" => (&item["content"], true),
            kind if kind.ends_with("_call") => {
                let arguments = text(&item["arguments"]).or_else(|| text(&item["input"])).or_else(|| {
                    // Tools of the origin itself say what they do in words of their own.
                    item["action"].is_object().then(|| item["action"].to_string())
                });
                let name = text(&item["name"]).unwrap_or_else(|| kind.to_owned());
                let id = text(&item["call_id"]).or_else(|| text(&item["id"]));
                let known = self.call((at, 0));
                *known = ToolCall { id, name, arguments: arguments.unwrap_or_else(|| std::mem::take(&mut known.arguments)) };
                return;
            }
            _ => return,
        };
        for (nth, part) in parts.as_array().into_iter().flatten().enumerate() {
            let Some(said) = text(&part["text"]).or_else(|| text(&part["refusal"])) else { continue };
            let place = (at, nth as u64);
            if is_reasoning { *self.thought(place) = said } else { *self.text(place) = said }
        }
    }

    /// Content of the messages interface, whole.
    fn add_blocks(&mut self, content: &Value) {
        for (at, block) in content.as_array().into_iter().flatten().enumerate() {
            self.begin_block(at as u64, block);
        }
    }

    fn begin_block(&mut self, index: u64, block: &Value) {
        match block["type"].as_str() {
            Some("text") => self.text((index, 0)).push_str(block["text"].as_str().unwrap_or_default()),
            Some("thinking") => self.thought((index, 0)).push_str(block["thinking"].as_str().unwrap_or_default()),
            Some(kind) if kind.ends_with("tool_use") => {
                // Streamed, this is an empty object, and what it will be comes in pieces.
                let input = block["input"].as_object().filter(|input| !input.is_empty());
                let arguments = input.map_or_else(String::new, |_| block["input"].to_string());
                *self.call((index, 0)) = ToolCall { id: text(&block["id"]), name: text(&block["name"]).unwrap_or_default(), arguments };
            }
            _ => {}
        }
    }

    fn add_to_block(&mut self, index: u64, delta: &Value) {
        let place = (index, 0);
        if let Some(said) = delta["text"].as_str() {
            self.text(place).push_str(said);
        } else if let Some(said) = delta["thinking"].as_str() {
            self.thought(place).push_str(said);
        } else if let Some(said) = delta["partial_json"].as_str() {
            self.call(place).arguments.push_str(said);
        }
    }

    fn text(&mut self, place: Place) -> &mut String {
        self.texts.entry(place).or_default()
    }

    fn thought(&mut self, place: Place) -> &mut String {
        self.reasoning.entry(place).or_default()
    }

    fn call(&mut self, place: Place) -> &mut ToolCall {
        self.calls.entry(place).or_default()
    }
}

impl ToolCall {
    /// A piece of a call in chat completions.
    fn add(&mut self, function: &Value) {
        self.name.push_str(function["name"].as_str().unwrap_or_default());
        self.arguments.push_str(function["arguments"].as_str().or(function["input"].as_str()).unwrap_or_default());
    }
}

/// Tokens as the interfaces say them; each piece says the sum so far.
#[derive(Debug, Default)]
struct Tokens {
    seen: bool,
    input: u64,
    /// Included in `input`.
    cached: u64,
    /// Not included in it: Anthropic's way.
    read: u64,
    written: u64,
    output: u64,
}

impl Tokens {
    fn add(&mut self, usage: &Value) {
        let mut set = |place: &mut u64, value: &Value| {
            if let Some(count) = value.as_u64() {
                (*place, self.seen) = (count, true);
            }
        };
        for (input, details, output) in
            [("prompt_tokens", "prompt_tokens_details", "completion_tokens"), ("input_tokens", "input_tokens_details", "output_tokens")]
        {
            set(&mut self.input, &usage[input]);
            set(&mut self.cached, &usage[details]["cached_tokens"]);
            set(&mut self.output, &usage[output]);
        }
        set(&mut self.read, &usage["cache_read_input_tokens"]);
        set(&mut self.written, &usage["cache_creation_input_tokens"]);
    }

    fn usage(&self) -> Option<Usage> {
        self.seen.then(|| Usage {
            input_tokens: self.input.saturating_add(self.read).saturating_add(self.written),
            cached_tokens: self.cached.saturating_add(self.read),
            output_tokens: self.output,
        })
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

fn append(to: &mut String, text: &str) {
    if !to.is_empty() {
        to.push('\n');
    }
    to.push_str(text);
}
