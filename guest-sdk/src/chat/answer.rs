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
/// What some put before UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// A whole answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The model that gave it.
    pub model: Option<String>,
    /// The final message. Of several alternatives the first that says or calls anything, here and below.
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
        let content = content.strip_prefix(MARK).unwrap_or(content);
        if content.trim_ascii_start().starts_with(b"{") || content.trim_ascii_start().starts_with(b"[") {
            match serde_json::from_slice(content) {
                // Google's way, of errors above all.
                Ok(Value::Array(pieces)) => pieces.iter().for_each(|json| assembly.add(json)),
                Ok(json) => assembly.add(&json),
                Err(_) => {}
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
    /// By place, those of one place in order: some origins give calls that go together the same index, or none.
    calls: BTreeMap<(Place, usize), ToolCall>,
    /// The first half of a place counts alternatives, not parts of one message.
    alternatives: bool,
    /// The first half of a place counts blocks of one message: those of text that follow each other are one text (citations divide it).
    blocks: bool,
    /// Of each alternative.
    finish_reasons: BTreeMap<u64, String>,
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
            Some("message_delta") => self.finished(0, &json["delta"]["stop_reason"]),
            Some("message_stop") => self.is_complete = true,
            Some("message") => {
                self.add_blocks(&json["content"]);
                self.finished(0, &json["stop_reason"]);
                self.is_complete = true;
            }
            _ if json["object"] == "response" => self.add_response(json),
            _ => self.add_choices(json),
        }
    }

    /// The answer as far as it has come.
    pub fn finish(mut self) -> Answer {
        self.texts.retain(|_, text| !text.is_empty());
        self.reasoning.retain(|_, text| !text.is_empty());
        self.calls.retain(|_, call| *call != ToolCall::default());
        let chosen = self.chosen();
        let finish_reason = match chosen {
            Some(chosen) => self.finish_reasons.remove(&chosen),
            None => self.finish_reasons.pop_first().map(|(_, reason)| reason),
        };
        let mut answer = Answer {
            model: self.model,
            is_complete: self.is_complete || finish_reason.is_some(),
            finish_reason,
            usage: self.tokens.usage(),
            error: self.error,
            ..Answer::default()
        };
        let counts = |place: &Place| chosen.is_none_or(|chosen| place.0 == chosen);
        let mut before = None;
        for (place, text) in self.texts.iter().filter(|(place, _)| counts(place)) {
            match before.replace(place.0) {
                Some(block) if self.blocks && place.0.checked_sub(1) == Some(block) => answer.text.push_str(text),
                _ => append(&mut answer.text, text),
            }
        }
        self.reasoning.iter().filter(|(place, _)| counts(place)).for_each(|(_, text)| append(&mut answer.reasoning, text));
        answer.tool_calls.extend(self.calls.into_iter().filter(|((place, _), _)| counts(place)).map(|(_, call)| call));
        answer
    }

    /// The alternative that counts, where there are such and something came of one.
    fn chosen(&self) -> Option<u64> {
        let said = self.texts.keys().chain(self.calls.keys().map(|(place, _)| place)).map(|place| place.0).min();
        said.or_else(|| self.reasoning.keys().next().map(|place| place.0)).filter(|_| self.alternatives)
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

    fn finished(&mut self, alternative: u64, reason: &Value) {
        if let Some(reason) = text(reason) {
            self.finish_reasons.insert(alternative, reason);
        }
    }

    /// Completions and chat completions, streamed or not.
    fn add_choices(&mut self, json: &Value) {
        let Some(choices) = json["choices"].as_array() else { return };
        self.alternatives = true;
        for (at, choice) in choices.iter().enumerate() {
            let is_delta = choice["delta"].is_object();
            let is_piece = is_delta || choice["text"].is_string();
            let index = number(&choice["index"]);
            // Some origins give the text and the calls of one whole message as choices of the same index, or of none.
            let part = if is_piece { 0 } else { at as u64 };
            self.finished(index, &choice["finish_reason"]);
            let message = if is_delta { &choice["delta"] } else { &choice["message"] };
            for said in [text(&choice["text"]), text_of(&message["content"]), text(&message["refusal"])].into_iter().flatten() {
                self.text((index, part)).push_str(&said);
            }
            for name in ["reasoning_content", "reasoning_text", "reasoning"] {
                if let Some(said) = message[name].as_str() {
                    self.thought((index, part)).push_str(said);
                    break;
                }
            }
            for (at, call) in message["tool_calls"].as_array().into_iter().flatten().enumerate() {
                let nth = call["index"].as_u64().unwrap_or(at as u64);
                let function = if call["custom"].is_object() { &call["custom"] } else { &call["function"] };
                self.named_call((index, nth), text(&call["id"]), text(&function["name"])).add(function);
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
        self.finished(0, &response["incomplete_details"]["reason"]);
        if matches!(response["status"].as_str(), Some("completed" | "incomplete" | "failed" | "cancelled")) {
            if let Some(status) = text(&response["status"]) {
                self.finish_reasons.entry(0).or_insert(status);
            }
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
                // Tools of the origin itself say what they do in words of their own.
                let arguments = ["arguments", "input", "action"].into_iter().find_map(|name| written(&item[name]));
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
        self.blocks = true;
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
        self.named_call(place, None, None)
    }

    /// The call of that id at a place, else the last one there. A name with an id that none there has begins another; an id alone does not, for some
    /// origins make a new one for each piece.
    fn named_call(&mut self, place: Place, id: Option<String>, name: Option<String>) -> &mut ToolCall {
        let there = || self.calls.range((place, 0)..=(place, usize::MAX));
        let of_id = there().rfind(|(_, call)| id.is_some() && call.id == id);
        let nth = match of_id.or_else(|| there().next_back()) {
            None => 0,
            Some(((_, nth), call)) if call.id == id || call.id.is_none() || id.is_none() || name.is_none() => *nth,
            Some(((_, nth), _)) => nth + 1,
        };
        let call = self.calls.entry((place, nth)).or_default();
        call.id = call.id.take().or(id);
        call
    }
}

impl ToolCall {
    /// A piece of a call in chat completions.
    fn add(&mut self, function: &Value) {
        // Some origins repeat it with each piece.
        if let Some(name) = function["name"].as_str().filter(|name| *name != self.name) {
            self.name.push_str(name);
        }
        if let Some(arguments) = written(&function["arguments"]).or_else(|| written(&function["input"])) {
            self.arguments.push_str(&arguments);
        }
    }
}

/// Tokens as the interfaces say them; each piece says the sum so far.
#[derive(Debug, Default)]
struct Tokens {
    seen: bool,
    input: u64,
    /// `input` has everything, what came from a cache as well: OpenAI's way. In Anthropic's it has neither `read` nor `written`.
    is_whole: bool,
    cached: u64,
    read: u64,
    written: u64,
    output: u64,
}

impl Tokens {
    fn add(&mut self, usage: &Value) {
        // Gateways say some of it in both spellings, and leave one of them 0.
        let mut set = |place: &mut u64, values: [&Value; 2]| {
            if let Some(count) = values.into_iter().filter_map(Value::as_u64).max() {
                (*place, self.seen) = (count, true);
            }
        };
        let (prompt, input) = (&usage["prompt_tokens_details"], &usage["input_tokens_details"]);
        set(&mut self.input, [&usage["prompt_tokens"], &usage["input_tokens"]]);
        set(&mut self.cached, [&prompt["cached_tokens"], &input["cached_tokens"]]);
        set(&mut self.output, [&usage["completion_tokens"], &usage["output_tokens"]]);
        set(&mut self.read, [&usage["cache_read_input_tokens"], &Value::Null]);
        set(&mut self.written, [&usage["cache_creation_input_tokens"], &Value::Null]);
        self.is_whole |= usage["prompt_tokens"].is_u64() || input.is_object();
    }

    fn usage(&self) -> Option<Usage> {
        let beside = if self.is_whole { 0 } else { self.read.saturating_add(self.written) };
        self.seen.then(|| Usage {
            input_tokens: self.input.saturating_add(beside),
            cached_tokens: self.cached.max(self.read),
            output_tokens: self.output,
        })
    }
}

/// What a call's arguments are as text: most interfaces have them so, some as an object.
fn written(value: &Value) -> Option<String> {
    text(value).or_else(|| value.is_object().then(|| value.to_string()))
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
