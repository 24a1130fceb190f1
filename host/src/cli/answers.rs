//! Answers to what a plugin fetches while it is tried: from a file, or a refusal that says what to write.

use std::{fs, path::Path};

use anyhow::Context;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    flow::{Fields, LocalResponse, is_field_value, is_token},
    hooks::BoxFuture,
    outbound::{FetchError, Order, Outbound},
};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Answers(Vec<Answer>);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    url: String,
    /// Any, where none is written.
    method: Option<String>,
    #[serde(default = "ok")]
    status: u16,
    #[serde(default)]
    headers: Map<String, Value>,
    /// A text, or JSON.
    #[serde(default)]
    body: Value,
}

fn ok() -> u16 {
    200
}

impl Answers {
    /// Those in a file.
    ///
    /// # Errors
    /// It is no list of answers; names it.
    pub(super) fn read(file: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("reading answers from {}", file.display()))?;
        let answers: Vec<Answer> = serde_json::from_str(&text).with_context(|| {
            format!("{} is no list of answers, as in [{{ \"url\": \"https://a.example/x\", \"body\": \"hello\" }}]", file.display())
        })?;
        for answer in &answers {
            answer.response().with_context(|| format!("in {}: the answer to {}", file.display(), answer.url))?;
        }
        Ok(Self(answers))
    }
}

impl Answer {
    fn response(&self) -> anyhow::Result<LocalResponse> {
        let status = StatusCode::from_u16(self.status).with_context(|| format!("{} is no status", self.status))?;
        let mut fields = Fields::default();
        for (name, value) in &self.headers {
            let value = value.as_str().with_context(|| format!("the value of {name} is no text"))?;
            anyhow::ensure!(is_token(name.as_bytes()) && is_field_value(value.as_bytes()), "{name:?} with {value:?} is no field");
            fields.push(name, value);
        }
        let content = match &self.body {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        Ok(LocalResponse { status, fields, content: content.into() })
    }
}

impl Outbound for Answers {
    fn fetch(&self, order: Order) -> BoxFuture<'static, Result<LocalResponse, FetchError>> {
        let url = format!("{}{}", order.origin, String::from_utf8_lossy(&order.path));
        let fits = |answer: &&Answer| answer.url == url && answer.method.as_ref().is_none_or(|method| *method == order.method.as_str());
        let answer = match self.0.iter().find(fits).map(Answer::response) {
            Some(Ok(response)) if response.content.len() > order.max_response => Err(FetchError::TooLarge),
            Some(Ok(response)) => Ok(response),
            Some(Err(error)) => Err(FetchError::Failed(error.to_string())),
            None => Err(FetchError::Failed(format!(
                "nothing is fetched in a test, and there is no answer to {} {url}: write one into a file for --answers",
                order.method
            ))),
        };
        Box::pin(async { answer })
    }
}
