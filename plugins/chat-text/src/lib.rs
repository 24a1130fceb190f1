//! Keeps what was said to language models and what they answered, as text: one line of JSON per exchange, one file per day.
//!
//! Place: an observer of flows and WebSocket messages; reading them is `flowgate_guest::chat`'s. Configuration and records are described in this
//! folder's README.

use flowgate_guest::{
    Direction, Flow, MessageObserver, MessageRecord, Observer, Outcome, Plugin, Registration, Rule,
    chat::{self, Exchange, ToolCall, Usage},
    log, records,
};
use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Octets of one text that are kept unless configured otherwise: whole files are pasted into prompts, whole repositories are not worth a line.
const LONGEST_BYTES: usize = 256 << 10;

/// What may be configured.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whose exchanges are kept; globs. Default: the hosts that are known to answer prompts.
    hosts: Vec<String>,
    /// Inline completions, too: there are many, and their prompts are files.
    completions: bool,
    /// What models let be seen of their reasoning, too.
    reasoning: bool,
    /// Most octets of a prompt, of an answer, of a tool call's arguments; longer ones are cut.
    longest: usize,
}

impl Default for Config {
    fn default() -> Self {
        let hosts = chat::HOSTS.iter().map(|host| (*host).to_owned()).collect();
        Self { hosts, completions: false, reasoning: false, longest: LONGEST_BYTES }
    }
}

/// The observer.
#[derive(Debug)]
pub struct ChatText(Config);

impl Plugin for ChatText {
    type Config = Config;

    fn configure(config: Config) -> Result<(Self, Registration), String> {
        let rule = chat::rule(Rule::any().capture(), &config.hosts, chat::PATHS)?;
        let registration = Registration::new("chat-text", env!("CARGO_PKG_VERSION"))
            .description("Keeps prompts and answers of language models as text.")
            .rule(rule);
        Ok((Self(config), registration))
    }
}

impl Observer for ChatText {
    fn on_flow_end(&mut self, flow: &Flow) {
        self.keep(flow, chat::ended(flow));
    }
}

impl MessageObserver for ChatText {
    fn on_message_passed(&mut self, flow: &Flow, message: MessageRecord) {
        self.keep(flow, chat::passed(flow, &message));
    }
}

impl ChatText {
    fn keep(&self, flow: &Flow, exchanges: Vec<Exchange>) {
        for exchange in exchanges {
            if exchange.api == chat::Api::Completions && !self.0.completions {
                continue;
            }
            let time = at(exchange.began);
            if let Err(error) = records::append_line(&format!("{}.jsonl", time.date()), &self.line(flow, &exchange, time)) {
                log::error(format_args!("an exchange is lost: {error}"));
            }
        }
    }

    fn line(&self, flow: &Flow, exchange: &Exchange, time: OffsetDateTime) -> Line {
        let text = |text: &str| cut(text, self.0.longest);
        let answer = &exchange.answer;
        let status = flow.response().map(|response| response.status);
        Line {
            time: time.format(&Rfc3339).unwrap_or_default(),
            user: flow.principal(),
            editor: exchange.editor.clone(),
            host: flow.host(),
            api: exchange.api.name(),
            model: exchange.model().map(str::to_owned),
            prompt: exchange.prompt.user.as_deref().map(text),
            text: text(&answer.text),
            reasoning: (self.0.reasoning && !answer.reasoning.is_empty()).then(|| text(&answer.reasoning)),
            tool_calls: answer.tool_calls.iter().map(|call| ToolCall { arguments: text(&call.arguments), ..call.clone() }).collect(),
            finish_reason: answer.finish_reason.clone(),
            usage: answer.usage,
            status,
            is_complete: answer.is_complete,
            error: trouble(flow, exchange, status),
            duration_ms: exchange.ended.map(|ended| ended.saturating_sub(exchange.began) / 1000),
        }
    }
}

/// One exchange, as it is kept.
#[derive(Debug, Serialize)]
struct Line {
    time: String,
    user: Option<String>,
    editor: Option<String>,
    host: String,
    api: &'static str,
    model: Option<String>,
    prompt: Option<String>,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCall>,
    finish_reason: Option<String>,
    usage: Option<Usage>,
    status: Option<u16>,
    #[serde(rename = "complete")]
    is_complete: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    duration_ms: Option<u64>,
}

/// Why an answer is none, or only half of one.
fn trouble(flow: &Flow, exchange: &Exchange, status: Option<u16>) -> Option<String> {
    let said = exchange.answer.error.clone();
    said.or_else(|| match flow.outcome() {
        Outcome::OriginFailed(why) => Some(why),
        Outcome::AnsweredBy(plugin) => Some(format!("answered by the plugin {plugin}")),
        Outcome::ClientAborted if !exchange.answer.is_complete => Some("the client went away".to_owned()),
        _ if flow.body_info(Direction::Response).truncated => Some("the answer is longer than what was kept of it".to_owned()),
        _ => status.filter(|status| *status >= 400).map(|status| format!("status {status}")),
    })
}

fn at(micros: u64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn cut(text: &str, longest: usize) -> String {
    if text.len() <= longest {
        return text.to_owned();
    }
    format!("{}… ({} octets)", &text[..text.floor_char_boundary(longest)], text.len())
}

flowgate_guest::export!(ChatText: observer, message_observer);

#[cfg(test)]
mod tests {
    use flowgate_guest::{
        MessageKind,
        testing::{Sample, configure, pass_message, take_records},
    };
    use serde_json::{Value, json};

    use super::*;

    fn chat_text(config: &str) -> ChatText {
        configure::<ChatText>(config).expect("the configuration is good").0
    }

    fn kept() -> Vec<(String, Value)> {
        let lines = take_records().into_iter().map(|kept| (kept.path, serde_json::from_slice(&kept.data).expect("a line of JSON")));
        lines.collect()
    }

    fn asked(question: &str) -> Sample {
        Sample::new("POST", "https://api.githubcopilot.com/chat/completions")
            .user("ana")
            .request_header("Editor-Version", "vscode/1.95.3")
            .request_body(json!({"model": "gpt-4o", "messages": [{"role": "user", "content": question}]}).to_string())
            .times(1_764_056_096_789_000, Some(1_764_056_097_990_000))
    }

    #[test]
    fn an_exchange_is_a_line_of_its_day() {
        let events = "data: {\"model\":\"gpt-4o-2024\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Good \"}}]}\n\n\
                      data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"day\"},\"finish_reason\":\"stop\"}]}\n\n\
                      data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n";

        chat_text("{}").on_flow_end(&asked("Hello?").response_body(events).response(200).into());

        let expected = json!({
            "time": "2025-11-25T07:34:56.789Z", "user": "ana", "editor": "vscode/1.95.3", "host": "api.githubcopilot.com",
            "api": "chat-completions", "model": "gpt-4o-2024", "prompt": "Hello?", "text": "Good day", "finish_reason": "stop",
            "usage": {"input_tokens": 9, "cached_tokens": 0, "output_tokens": 2}, "status": 200, "complete": true, "duration_ms": 1201,
        });
        assert_eq!(kept(), [("2025-11-25.jsonl".to_owned(), expected)]);
    }

    #[test]
    fn what_went_wrong_is_said() {
        let mut plugin = chat_text("{}");
        let half = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Goo\"}}]}\n\n";
        let table = [
            (asked("a").response_body(half).response(200).outcome(Outcome::ClientAborted), "the client went away"),
            (asked("a").outcome(Outcome::OriginFailed("it hung up".into())), "it hung up"),
            (asked("a").response_body(r#"{"error":{"message":"too many"}}"#).response(429), "too many"),
            (asked("a").response_body("<html>").response(502), "status 502"),
            (asked("a").response(403).outcome(Outcome::AnsweredBy("gate".into())), "answered by the plugin gate"),
            (asked("a").response_body(half).response(200).truncated(Direction::Response, 1 << 20), "longer than what was kept"),
        ];
        for (sample, why) in table {
            plugin.on_flow_end(&sample.into());

            let [(_, line)] = &kept()[..] else { panic!("{why}: there is one line") };
            assert!(line["error"].as_str().is_some_and(|error| error.contains(why)) && line["complete"] == false, "{why}: {line}");
        }
    }

    #[test]
    fn only_what_is_wanted_is_kept() {
        let completion = || -> Flow {
            let sample = Sample::new("POST", "https://copilot-proxy.githubusercontent.com/v1/engines/x/completions").response(200);
            sample.request_body(r#"{"prompt":"fn main"}"#).response_body(r#"{"choices":[{"text":"() {}","finish_reason":"stop"}]}"#).into()
        };
        let thinking = json!({"type": "message", "stop_reason": "end_turn", "content": [
            {"type": "thinking", "thinking": "hmm"}, {"type": "text", "text": "0123456789"}]});
        let message = || -> Flow {
            let sample = Sample::new("POST", "https://api.anthropic.com/v1/messages").request_body("{}").response(200);
            sample.response_body(thinking.to_string()).into()
        };
        let (mut plain, mut all) = (chat_text("{}"), chat_text(r#"{"completions": true, "reasoning": true, "longest": 4}"#));

        plain.on_flow_end(&completion());
        plain.on_flow_end(&message());
        all.on_flow_end(&completion());
        all.on_flow_end(&message());

        let texts: Vec<_> = kept().into_iter().map(|(_, line)| (line["text"].clone(), line["reasoning"].clone())).collect();
        let expected =
            [(json!("0123456789"), Value::Null), (json!("() {… (5 octets)"), Value::Null), (json!("0123… (10 octets)"), json!("hmm"))];
        assert_eq!(texts, expected);
    }

    #[test]
    fn each_answer_over_a_websocket_is_a_line_when_it_is_over() {
        let mut plugin = chat_text("{}");
        let flow: Flow = Sample::new("GET", "https://api.githubcopilot.com/responses").user("ana").response(101).into();
        let mut sequence = 0;
        let mut pass = |plugin: &mut ChatText, sent, json: Value| {
            let content = json.to_string().into_bytes();
            let message =
                MessageRecord { sent, kind: MessageKind::Text, at: 1_764_056_096_000_000, sequence, length: content.len() as u32, content };
            sequence += 1;
            pass_message(plugin, &flow, message);
        };
        for question in ["one", "two"] {
            pass(&mut plugin, Direction::Request, json!({"type": "response.create", "model": "gpt-5", "input": question}));
            pass(&mut plugin, Direction::Response, json!({"type": "response.output_text.delta", "output_index": 0, "delta": "to "}));
            assert!(kept().is_empty());
            pass(&mut plugin, Direction::Response, json!({"type": "response.output_text.delta", "output_index": 0, "delta": question}));
            let done = json!({"status": "completed", "usage": {"input_tokens": 3, "output_tokens": 2}});
            pass(&mut plugin, Direction::Response, json!({"type": "response.completed", "response": done}));

            let [(_, line)] = &kept()[..] else { panic!("there is one line") };
            assert_eq!(
                (&line["prompt"], &line["text"], &line["model"]),
                (&json!(question), &json!(format!("to {question}")), &json!("gpt-5"))
            );
        }
        pass(&mut plugin, Direction::Request, json!({"type": "response.create", "input": "three"}));

        plugin.on_flow_end(&flow);

        let [(_, line)] = &kept()[..] else { panic!("what is left is a line") };
        assert_eq!((&line["prompt"], &line["complete"]), (&json!("three"), &json!(false)));
    }

    #[test]
    fn bad_configuration_names_what_is_wrong() {
        for (config, names) in [(r#"{"host": []}"#, "`host`"), (r#"{"hosts": []}"#, "hosts is empty"), (r#"{"longest": -1}"#, "-1")] {
            let error = configure::<ChatText>(config).expect_err("the configuration is bad");
            assert!(error.contains(names), "{error}");
        }
    }
}
