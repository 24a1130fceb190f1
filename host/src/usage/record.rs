//! What one record says about use.
//!
//! Place: asked by `read` for each file. Looks into contents only as far as it takes.
//! Source: `docs/records.md`; the APIs of OpenAI (chat completions, responses) and Anthropic (messages) for models and tokens.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;

use super::{Counts, Dimension};

/// Longest value of a dimension, in characters: what clients write as a model or a language may be anything.
const LONGEST: usize = 100;
/// What a WebSocket begins with.
const SWITCHED: u16 = 101;

/// A record, as far as it is looked at.
#[derive(Deserialize)]
pub(super) struct Record<'a> {
    #[serde(borrow, rename = "proxy-authorization")]
    user: Option<Cow<'a, str>>,
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    #[serde(borrow)]
    request: Request<'a>,
    #[serde(borrow)]
    response: Response<'a>,
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    url: Cow<'a, str>,
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(default)]
    headers: Headers,
    #[serde(borrow)]
    content: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Response<'a> {
    status_code: Option<u16>,
    #[serde(borrow)]
    content: Cow<'a, str>,
}

/// The one field that is looked at, in any case of letters.
#[derive(Default)]
struct Headers {
    editor: Option<String>,
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> serde::de::Visitor<'de> for Fields {
            type Value = Headers;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("fields")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Headers, A::Error> {
                let mut headers = Headers::default();
                while let Some(name) = map.next_key::<Name>()? {
                    match name {
                        Name::Editor => headers.editor = Some(map.next_value()?),
                        Name::Other => drop(map.next_value::<serde::de::IgnoredAny>()?),
                    }
                }
                Ok(headers)
            }
        }

        enum Name {
            Editor,
            Other,
        }

        impl<'de> Deserialize<'de> for Name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Letters;

                impl serde::de::Visitor<'_> for Letters {
                    type Value = Name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("the name of a field")
                    }

                    fn visit_str<E>(self, name: &str) -> Result<Name, E> {
                        Ok(if name.eq_ignore_ascii_case("editor-version") { Name::Editor } else { Name::Other })
                    }
                }

                deserializer.deserialize_str(Letters)
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

/// Where in a request's content model and language are, whatever forms these have.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Asked {
    model: Value,
    extra: Value,
    /// Of a WebSocket message.
    response: Value,
}

impl Asked {
    fn read(content: &str) -> Option<Self> {
        let quick = serde_json::from_str(content).ok();
        // A name that is there twice says what it says last.
        quick.or_else(|| serde_json::from_value(serde_json::from_str(content).ok()?).ok())
    }
}

/// What kind of use it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// A message and its answer.
    Chat,
    /// Text completed in an editor.
    Completion,
    /// Neither.
    Other,
}

impl Record<'_> {
    /// `2024-12-08`; what is none begins no record.
    pub(super) fn day(&self) -> &str {
        self.timestamp.get(..10).unwrap_or("-")
    }

    pub(super) fn user(&self) -> &str {
        self.user.as_deref().unwrap_or("-")
    }

    /// As the client says, with its version.
    pub(super) fn editor_version(&self) -> &str {
        self.request.headers.editor.as_deref().unwrap_or("-")
    }

    /// Of the same interfaces as `chat::Api::of_path` of the guest SDK.
    pub(super) fn kind(&self) -> Kind {
        let url = self.request.url.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
        match url {
            _ if !self.is_asked() => Kind::Other,
            url if url.ends_with("/chat/completions") || url.ends_with("/responses") || url.ends_with("/v1/messages") => Kind::Chat,
            url if url.ends_with("/completions") => Kind::Completion,
            url if url.rsplit_once('/').is_some_and(|(before, _)| before.ends_with("/agents")) => Kind::Chat,
            _ => Kind::Other,
        }
    }

    /// Something was posted, or messages passed: a WebSocket's handshake has a record of its own, and a browser asks beforehand whether it may ask.
    fn is_asked(&self) -> bool {
        match self.response.status_code {
            Some(SWITCHED) => !(self.request.content.is_empty() && self.response.content.is_empty()),
            _ => self.request.method == "POST",
        }
    }

    /// Model and language.
    pub(super) fn details(&self) -> (String, String) {
        let asked = self.request.content.lines().next().and_then(Asked::read);
        // A content of several lines is several messages, or one text that is written over several.
        let asked = asked.or_else(|| Asked::read(&self.request.content)).unwrap_or_default();
        let named = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(short);
        let model = named(&asked.model).or_else(|| named(&asked.response["model"])).or_else(|| self.engine()).or_else(|| self.answering());
        let language = named(&asked.extra["language"]);
        (model.unwrap_or_else(unknown), language.unwrap_or_else(unknown))
    }

    /// `/v1/engines/NAME/completions`.
    fn engine(&self) -> Option<String> {
        let (_, rest) = self.request.url.split_once("/engines/")?;
        rest.split('/').next().filter(|name| !name.is_empty()).map(short)
    }

    fn answering(&self) -> Option<String> {
        let events = self.answers("\"model\"");
        events.filter_map(|event| event.get("model").or_else(|| event.pointer("/message/model"))?.as_str().map(short)).next()
    }

    /// Tokens read and written. An answer in pieces says more with each of them.
    fn tokens(&self) -> (u64, u64) {
        let mut tokens = Tokens::default();
        for event in self.answers("\"usage\"") {
            let places = [event.get("usage"), event.pointer("/response/usage"), event.pointer("/message/usage")];
            let Some(usage) = places.into_iter().flatten().find(|usage| usage.is_object()) else { continue };
            tokens.add(usage);
        }
        (tokens.read(), tokens.written)
    }

    /// What in the answer is JSON and holds that text: all of it, or data of events and messages, a line each.
    fn answers(&self, holding: &'static str) -> impl Iterator<Item = Value> + '_ {
        let content = &*self.response.content;
        let is_one = content.trim_start().starts_with('{') && serde_json::from_str::<serde::de::IgnoredAny>(content).is_ok();
        let whole = is_one.then_some(content).filter(|content| content.contains(holding));
        let lines = content.lines().filter(move |line| !is_one && line.contains(holding));
        let data = |text: &str| serde_json::from_str(text.strip_prefix("data:").unwrap_or(text).trim()).ok();
        whole.into_iter().chain(lines).filter_map(data)
    }

    /// What it adds.
    pub(super) fn counts(&self) -> Counts {
        let (input_tokens, output_tokens) = self.tokens();
        let kind = self.kind();
        let is_good = self.response.status_code.is_some_and(|status| status < 400);
        Counts {
            requests: 1,
            chat: u64::from(kind == Kind::Chat),
            completions: u64::from(kind == Kind::Completion),
            failed: u64::from(!is_good),
            input_tokens,
            output_tokens,
        }
    }

    /// Its row.
    pub(super) fn key(&self, by: &[Dimension]) -> Vec<String> {
        let asks = by.iter().any(|dimension| matches!(dimension, Dimension::Model | Dimension::Language));
        let (model, language) = if asks { self.details() } else { Default::default() };
        let value = |dimension: &Dimension| match dimension {
            Dimension::User => short(self.user()),
            Dimension::Day => self.day().to_owned(),
            Dimension::Model => model.clone(),
            Dimension::Editor => short(self.editor_version().split('/').next().unwrap_or_default()),
            Dimension::Language => language.clone(),
        };
        by.iter().map(value).collect()
    }
}

/// Tokens as the interfaces say them, counted as the guest SDK counts them (`chat::Usage`): read are all of a prompt, those from a cache included.
#[derive(Default)]
struct Tokens {
    input: u64,
    /// `input` has what came from a cache as well: OpenAI's way. In Anthropic's it has neither what was found there nor what was put there.
    is_whole: bool,
    cached: [u64; 2],
    written: u64,
}

impl Tokens {
    fn add(&mut self, usage: &Value) {
        // Gateways say some of it in both spellings, and leave one of them 0.
        let most = |names: [&str; 2]| names.iter().filter_map(|name| usage.get(*name)?.as_u64()).max().unwrap_or(0);
        self.input = self.input.max(most(["prompt_tokens", "input_tokens"]));
        self.written = self.written.max(most(["completion_tokens", "output_tokens"]));
        for (cached, name) in self.cached.iter_mut().zip(["cache_read_input_tokens", "cache_creation_input_tokens"]) {
            *cached = usage[name].as_u64().unwrap_or(0).max(*cached);
        }
        self.is_whole |= usage["prompt_tokens"].is_u64() || usage["input_tokens_details"].is_object();
    }

    fn read(&self) -> u64 {
        let cached = if self.is_whole { [0; 2] } else { self.cached };
        cached.into_iter().fold(self.input, u64::saturating_add)
    }
}

fn unknown() -> String {
    "-".to_owned()
}

fn short(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(change: impl FnOnce(&mut Value)) -> String {
        let mut record = json!({
            "timestamp": "2025-01-01T10:00:00",
            "request": { "url": "https://a.test/chat/completions", "method": "POST", "content": "{}" },
            "response": { "status_code": 200, "content": "{}" },
        });
        change(&mut record);
        record.to_string()
    }

    fn read(record: &str) -> Record<'_> {
        serde_json::from_str(record).expect("a record")
    }

    #[test]
    fn a_chat_is_what_was_posted_or_passed_as_messages() {
        let table = [
            ("POST", "https://a.test/chat/completions", 200, "{}", Kind::Chat),
            ("POST", "https://a.test/v1/messages/?beta=true", 200, "{}", Kind::Chat),
            ("POST", "https://a.test/agents/github?x=1", 200, "{}", Kind::Chat),
            ("POST", "https://a.test/agents/", 200, "{}", Kind::Other),
            ("POST", "https://a.test/agents/github/tools", 200, "{}", Kind::Other),
            ("POST", "https://a.test/v1/completions", 200, "{}", Kind::Completion),
            ("OPTIONS", "https://a.test/chat/completions", 204, "", Kind::Other),
            ("OPTIONS", "https://a.test/v1/completions", 204, "", Kind::Other),
            ("GET", "https://a.test/agents/github", 200, "", Kind::Other),
            ("GET", "wss://a.test/responses", 101, "", Kind::Other),
            ("GET", "wss://a.test/responses", 101, "{}", Kind::Chat),
        ];
        for (method, url, status, content, expected) in table {
            let record = record(|record| {
                record["request"] = json!({ "url": url, "method": method, "content": content });
                record["response"] = json!({ "status_code": status, "content": "" });
            });
            assert_eq!(read(&record).kind(), expected, "{method} {url} {status} {content}");
        }
    }

    #[test]
    fn model_and_language_are_found_beside_what_has_another_form() {
        let table = [
            (r#"{"model":"m","extra":null}"#, ("m", "-")),
            (r#"{"model":"m","extra":"x","response":"y"}"#, ("m", "-")),
            (r#"{"model":"m","response":null,"extra":{"language":"go"}}"#, ("m", "go")),
            (r#"{"model":"l","model":"m","extra":{"language":"go"}}"#, ("m", "go")),
            (r#"{"extra":[],"response":{"model":"m"}}"#, ("m", "-")),
        ];
        for (content, (model, language)) in table {
            let record = record(|record| record["request"]["content"] = content.into());
            assert_eq!(read(&record).details(), (model.to_owned(), language.to_owned()), "{content}");
        }
    }

    #[test]
    fn tokens_from_caches_count_once() {
        let anthropic =
            json!({ "input_tokens": 4, "cache_creation_input_tokens": 1000, "cache_read_input_tokens": 50000, "output_tokens": 7 });
        let chat = json!({ "prompt_tokens": 100, "prompt_tokens_details": { "cached_tokens": 90 }, "completion_tokens": 7 });
        let responses = json!({ "input_tokens": 100, "input_tokens_details": { "cached_tokens": 90 }, "output_tokens": 7 });
        let both =
            json!({ "prompt_tokens": 100, "input_tokens": 0, "cache_read_input_tokens": 90, "completion_tokens": 7, "output_tokens": 0 });
        for (usage, tokens) in [(&anthropic, (51004, 7)), (&chat, (100, 7)), (&responses, (100, 7)), (&both, (100, 7))] {
            let record = record(|record| record["response"]["content"] = json!({ "usage": usage }).to_string().into());
            assert_eq!(read(&record).tokens(), tokens, "{usage}");
        }
        let streamed = format!(
            "data: {}\n\ndata: {}\n\n",
            json!({ "message": { "usage": anthropic } }),
            json!({ "usage": { "input_tokens": 4, "output_tokens": 9 } })
        );
        let record = record(|record| record["response"]["content"] = streamed.into());
        assert_eq!(read(&record).tokens(), (51004, 9));
    }
}
