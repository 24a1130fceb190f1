//! Keeps the answers that one model gave in chats, with a field blanked.

use flowgate_guest::{Direction, Flow, Observer, Plugin, Registration, Rule, WriteMode, log, records};
use serde_json::{Value, json};

/// What stands in the place of what is blanked.
const BLANKED: &str = "[blanked]";

/// The plugin's table in the proxy's configuration.
#[derive(Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Answers of this model are kept; empty: of any.
    model: String,
    /// A field of the line whose value is blanked.
    blank: String,
}

/// The plugin.
pub struct KeepChat(Config);

impl Plugin for KeepChat {
    type Config = Config;

    fn configure(config: Config) -> Result<(Self, Registration), String> {
        let registration = Registration::new("{{name}}", env!("CARGO_PKG_VERSION"))
            .description("Keeps chat answers of one model, a field blanked.")
            .rule(Rule::any().method("POST").path("*/chat/completions*").capture());
        Ok((Self(config), registration))
    }
}

impl Observer for KeepChat {
    fn on_flow_end(&mut self, flow: &Flow) {
        let user = flow.client().user;
        let question = flow.body_text(Direction::Request);
        let Some(line) = self.line(user.as_deref(), &flow.url(), &question, &flow.body_text(Direction::Response)) else { return };
        if let Err(why) = records::keep("answers.jsonl", line.as_bytes(), WriteMode::Append) {
            log::warn(format_args!("an answer was not kept: {why}"));
        }
    }
}

impl KeepChat {
    /// The line about an exchange, if it is to be kept.
    fn line(&self, user: Option<&str>, url: &str, question: &str, answer: &str) -> Option<String> {
        let request: Value = serde_json::from_str(question).ok()?;
        let model = request["model"].as_str()?;
        if !self.0.model.is_empty() && self.0.model != model {
            return None;
        }
        let mut line = json!({"user": user, "url": url, "model": model, "question": question, "answer": answer});
        if let Some(field) = line.get_mut(&self.0.blank) {
            *field = json!(BLANKED);
        }
        Some(format!("{line}\n"))
    }
}

flowgate_guest::export!(KeepChat: observer);

#[cfg(test)]
mod tests {
    use flowgate_guest::testing::{Sample, configure, take_records};

    use super::*;

    #[test]
    fn one_models_answers_are_kept_with_a_field_blanked() {
        let (mut plugin, _) = configure::<KeepChat>(r#"{"model": "gpt-4o", "blank": "user"}"#).unwrap();
        for (model, kept) in [("gpt-4o", 1), ("gpt-4o-mini", 0)] {
            let flow: Flow = Sample::new("POST", "https://api.example.com/v1/chat/completions")
                .user("ana")
                .request_body(format!(r#"{{"model":"{model}"}}"#))
                .response_body("hello")
                .into();

            plugin.on_flow_end(&flow);

            let records = take_records();
            assert_eq!(records.len(), kept, "{model}");
            assert!(records.iter().all(|record| record.data.starts_with(br#"{"user":"[blanked]","url":"https://api"#)));
        }
    }
}
