//! Exchanges with language models, put together: who asked what of which model, and what was answered, whichever of the common interfaces
//! carried it, as one JSON document, as server-sent events or over a WebSocket.
//!
//! An observer with a `capture` rule over [`PATHS`] asks [`ended`] about each flow; a message observer asks [`passed`] about each message:
//!
//! ```
//! use flowgate_guest::{Flow, chat, testing::Sample};
//!
//! let flow: Flow = Sample::new("POST", "https://api.example.test/v1/chat/completions")
//!     .request_body(r#"{"model": "m", "messages": [{"role": "user", "content": "Hello?"}]}"#)
//!     .response_header("content-type", "text/event-stream")
//!     .response_body("data: {\"choices\":[{\"delta\":{\"content\":\"Good \"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"day\"}}]}\n\n")
//!     .into();
//!
//! let [exchange] = &chat::ended(&flow)[..] else { panic!("there is one") };
//! assert_eq!((exchange.prompt.user.as_deref(), exchange.answer.text.as_str()), (Some("Hello?"), "Good day"));
//! ```
//!
//! Source: the published references of OpenAI (completions, chat completions, responses and their WebSocket mode) and Anthropic (messages); GitHub
//! Copilot speaks all of them, with fields of its own. Answers are told apart by their looks, so that a gateway may mix them.

mod answer;
mod messages;
mod prompt;

pub use answer::{Answer, Assembly, ToolCall, Usage};
pub use prompt::Prompt;

use crate::{Direction, Flow, MessageRecord, Outcome, Rule};

/// Hosts that are known to offer these interfaces; patterns for rules.
pub const HOSTS: &[&str] = &[
    "*.githubcopilot.com",
    "copilot-proxy.githubusercontent.com",
    "*.ghe.com",
    "api.openai.com",
    "chatgpt.com",
    "*.openai.azure.com",
    "*.services.ai.azure.com",
    "models.github.ai",
    "api.anthropic.com",
    "api.mistral.ai",
    "codestral.mistral.ai",
    "api.deepseek.com",
    "api.x.ai",
    "api.groq.com",
    "openrouter.ai",
    "generativelanguage.googleapis.com",
];

/// Where the interfaces are; patterns for rules.
pub const PATHS: &[&str] = &[
    "*/completions",
    "*/completions/",
    "*/completions?*",
    "*/completions/?*",
    "*/responses",
    "*/responses/",
    "*/responses?*",
    "*/responses/?*",
    "*/v1/messages",
    "*/v1/messages/",
    "*/v1/messages?*",
    "*/v1/messages/?*",
    "*/agents/*",
];

/// `rule` for those of a configuration's hosts and paths: [`HOSTS`] and [`PATHS`] where it names none.
///
/// # Errors
/// Where there is no host, which would be a rule for all of them; says what to write.
pub fn rule<P: AsRef<str>>(rule: Rule, hosts: &[String], paths: &[P]) -> Result<Rule, String> {
    if hosts.is_empty() {
        return Err("hosts is empty: leave it out for those that are known, or say [\"*\"]".to_owned());
    }
    let rule = hosts.iter().fold(rule, |rule, host| rule.host(host));
    Ok(paths.iter().fold(rule, |rule, path| rule.path(path.as_ref())))
}

/// What a WebSocket begins with.
const SWITCHED: u16 = 101;

/// An interface to models.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Api {
    /// Text goes on where a prompt ends: what editors show inline.
    Completions,
    /// A conversation, sent whole each time. Copilot's agents speak it, too.
    ChatCompletions,
    /// A conversation of items, which may be known to the origin already.
    Responses,
    /// Anthropic's conversations.
    Messages,
}

impl Api {
    /// Which one a path (with or without query) leads to.
    pub fn of_path(path: &str) -> Option<Self> {
        let path = path.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
        // What lies below these (a response's id, the counting of tokens) is no exchange.
        match path {
            path if path.ends_with("/chat/completions") => Some(Self::ChatCompletions),
            path if path.ends_with("/completions") => Some(Self::Completions),
            path if path.ends_with("/responses") => Some(Self::Responses),
            path if path.ends_with("/v1/messages") => Some(Self::Messages),
            path if path.rsplit_once('/').is_some_and(|(before, name)| before.ends_with("/agents") && !name.is_empty()) => {
                Some(Self::ChatCompletions)
            }
            _ => None,
        }
    }

    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Completions => "completions",
            Self::ChatCompletions => "chat-completions",
            Self::Responses => "responses",
            Self::Messages => "messages",
        }
    }
}

/// A prompt and its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// The interface it went through.
    pub api: Api,
    /// What was asked.
    pub prompt: Prompt,
    /// What was answered.
    pub answer: Answer,
    /// When it began, in microseconds since the Unix epoch.
    pub began: u64,
    /// When it ended; `None` if it never did.
    pub ended: Option<u64>,
    /// The program it came from, such as `vscode/1.95.3`: field Editor-Version, else the first product of User-Agent.
    pub editor: Option<String>,
}

impl Exchange {
    /// The model that answered, else the one that was asked.
    pub fn model(&self) -> Option<&str> {
        self.answer.model.as_deref().or(self.prompt.model.as_deref())
    }

    /// Whether a person began it; a client that goes on by itself (after a tool has run) says so, or shows it by what it sends.
    pub fn is_turn(&self, flow: &Flow) -> bool {
        match flow.header_text(Direction::Request, "x-initiator").as_deref() {
            Some("agent") => false,
            Some("user") => true,
            _ => self.prompt.is_turn,
        }
    }
}

/// The exchanges of a flow that has ended: one, if it was a request to one of the interfaces; of a WebSocket, those that [`passed`] has not
/// told of. None where the proxy itself answered.
pub fn ended(flow: &Flow) -> Vec<Exchange> {
    let request = flow.request();
    let Some(api) = Api::of_path(&request.path) else { return Vec::new() };
    let response = flow.response();
    if response.as_ref().is_some_and(|response| response.status == SWITCHED) {
        return messages::take(flow, api, u64::MAX);
    }
    if request.method != "POST" || matches!(flow.outcome(), Outcome::AnsweredBy(by) if by == "host") {
        return Vec::new();
    }
    let timings = flow.timings();
    let answer = if response.is_some() { Answer::read(&flow.body(Direction::Response)) } else { Answer::default() };
    vec![Exchange {
        api,
        prompt: Prompt::read(&flow.body(Direction::Request)),
        answer,
        began: timings.request_start,
        ended: timings.response_end,
        editor: editor(flow),
    }]
}

/// The exchanges that a WebSocket message ended: one, if it was the last of an answer. The host lets go of their messages.
pub fn passed(flow: &Flow, message: &MessageRecord) -> Vec<Exchange> {
    if !messages::is_last(message) {
        return Vec::new();
    }
    Api::of_path(&flow.request().path).map_or_else(Vec::new, |api| messages::take(flow, api, message.sequence + 1))
}

fn editor(flow: &Flow) -> Option<String> {
    let product = |text: String| text.split_whitespace().next().map(str::to_owned);
    let said = |name| flow.header_text(Direction::Request, name).and_then(product);
    said("editor-version").or_else(|| said("user-agent"))
}

#[cfg(test)]
mod tests;
