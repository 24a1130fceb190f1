//! Replaces a word in WebSocket messages.

use flowgate_guest::{Direction, Flow, Message, MessageAction, MessageFilter, Plugin, Registration, Rule};

/// The plugin's table in the proxy's configuration.
#[derive(serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    from: String,
    to: String,
}

impl Default for Config {
    fn default() -> Self {
        Self { from: "secret".into(), to: "public".into() }
    }
}

/// The plugin.
pub struct Words(Config);

impl Plugin for Words {
    type Config = Config;

    fn configure(config: Config) -> Result<(Self, Registration), String> {
        if config.from.is_empty() {
            return Err("from: there must be a word to replace".into());
        }
        let registration =
            Registration::new("{{name}}", env!("CARGO_PKG_VERSION")).description("Replaces a word in messages.").rule(Rule::any());
        Ok((Self(config), registration))
    }
}

impl MessageFilter for Words {
    fn on_message(&mut self, _flow: &Flow, _of: Direction, message: Message) -> MessageAction {
        match message {
            Message::Text(text) if text.contains(&self.0.from) => {
                MessageAction::Replace(Message::Text(text.replace(&self.0.from, &self.0.to)))
            }
            _ => MessageAction::Pass,
        }
    }
}

flowgate_guest::export!(Words: message_filter);

#[cfg(test)]
mod tests {
    use flowgate_guest::testing::{Sample, configure};

    use super::*;

    #[test]
    fn the_word_is_replaced() {
        let (mut plugin, _) = configure::<Words>("{}").unwrap();
        let flow: Flow = Sample::new("GET", "https://api.example.com/ws").into();
        let mut asked = |text: &str| plugin.on_message(&flow, Direction::Request, Message::Text(text.into()));

        assert_eq!(asked("a secret"), MessageAction::Replace(Message::Text("a public".into())));
        assert_eq!(asked("nothing"), MessageAction::Pass);
    }
}
