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

/// Where in a request's content model and language are; what is missing or of another form is `None`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Asked {
    model: Value,
    extra: Extra,
    /// Of a WebSocket message.
    response: Named,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Extra {
    language: Value,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    model: Value,
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

    pub(super) fn kind(&self) -> Kind {
        let url = self.request.url.split(['?', '#']).next().unwrap_or_default();
        match url {
            url if url.ends_with("/chat/completions") || url.ends_with("/responses") || url.ends_with("/v1/messages") => Kind::Chat,
            url if url.ends_with("/completions") => Kind::Completion,
            _ => Kind::Other,
        }
    }

    /// Model and language.
    pub(super) fn details(&self) -> (String, String) {
        let asked = self.request.content.lines().next().and_then(|first| serde_json::from_str::<Asked>(first).ok());
        // A content of several lines is several messages, or one text that is written over several.
        let asked = asked.or_else(|| serde_json::from_str(&self.request.content).ok()).unwrap_or_default();
        let named = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(short);
        let model = named(&asked.model).or_else(|| named(&asked.response.model)).or_else(|| self.engine()).or_else(|| self.answering());
        let language = named(&asked.extra.language);
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
        let mut most = (0, 0);
        for event in self.answers("\"usage\"") {
            let places = [event.get("usage"), event.pointer("/response/usage"), event.pointer("/message/usage")];
            let Some(usage) = places.into_iter().flatten().find(|usage| usage.is_object()) else { continue };
            let number = |names: [&str; 2]| names.iter().find_map(|name| usage.get(*name)?.as_u64()).unwrap_or(0);
            most.0 = most.0.max(number(["prompt_tokens", "input_tokens"]));
            most.1 = most.1.max(number(["completion_tokens", "output_tokens"]));
        }
        most
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

fn unknown() -> String {
    "-".to_owned()
}

fn short(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(LONGEST).collect()
}
