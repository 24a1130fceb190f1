//! One component that filters WebSocket messages as its configuration says, well or badly.
//!
//! Place: loaded by tests of the host; `chameleon`'s companion, apart from it because a component that exports `message-filter` has every
//! message framed anew, and one that only observes must not. Never shipped.

use std::{hint::black_box, thread, time::Duration};

use flowgate_guest::{Direction, Flow, Message, MessageAction, MessageFilter, Plugin, Registration, Rule};
use serde::Deserialize;

/// Every switch; each may be left out. `{}` subscribes to every flow and lets everything pass.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Name in the registration. Default `mediator`.
    name: String,
    /// What is done about messages. Default `pass`.
    act: Act,
    /// Only about messages from the `client` or the `origin`.
    of: Option<Sender>,
    /// Only from that message on, counted in this instance from 0. Default 0.
    at: u64,
    /// For `replace`. Default `secret`.
    word: String,
    /// For `replace`. Default `******`.
    by: String,
    /// For `close`. Default 1000.
    code: u16,
    /// Most octets of a message; 0 (default) is the host's own.
    limit: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "mediator".to_owned(),
            act: Act::default(),
            of: None,
            at: 0,
            word: "secret".to_owned(),
            by: "******".to_owned(),
            code: 1000,
            limit: 0,
        }
    }
}

/// What is done about a message.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// Nothing.
    #[default]
    Pass,
    /// Puts `by` in the place of `word`, in texts.
    Replace,
    /// Sends the same octets as the other kind.
    OtherKind,
    /// Drops it.
    Discard,
    /// Drops it if `word` stands in it.
    DiscardWord,
    /// Closes the connection with `code`.
    Close,
    /// Panics.
    Trap,
    /// Computes for ever.
    Spin,
    /// Takes memory until there is none.
    Hog,
    /// Waits for ever without computing.
    Sleep,
}

/// Who sent a message.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sender {
    /// A request, in the words of the contract.
    Client,
    /// A response.
    Origin,
}

/// The plugin.
#[derive(Debug)]
pub struct Mediator {
    config: Config,
    asked: u64,
}

impl Plugin for Mediator {
    type Config = Config;

    fn configure(config: Config) -> Result<(Self, Registration), String> {
        let registration =
            Registration::new(&config.name, "1").description("Mediates as it is told.").rule(Rule::any().limit(config.limit));
        Ok((Self { config, asked: 0 }, registration))
    }
}

impl MessageFilter for Mediator {
    fn on_message(&mut self, _: &Flow, of: Direction, message: Message) -> MessageAction {
        let is_meant = match self.config.of {
            None => true,
            Some(Sender::Client) => of == Direction::Request,
            Some(Sender::Origin) => of == Direction::Response,
        };
        if !is_meant {
            return MessageAction::Pass;
        }
        self.asked += 1;
        if self.asked <= self.config.at { MessageAction::Pass } else { self.act(message) }
    }
}

impl Mediator {
    fn act(&self, message: Message) -> MessageAction {
        let Config { word, by, .. } = &self.config;
        match (self.config.act, message) {
            (Act::Replace, Message::Text(text)) if text.contains(word) => MessageAction::Replace(Message::Text(text.replace(word, by))),
            (Act::DiscardWord, Message::Text(text)) if text.contains(word) => MessageAction::Discard,
            (Act::Pass | Act::Replace | Act::DiscardWord, _) => MessageAction::Pass,
            (Act::OtherKind, Message::Text(text)) => MessageAction::Replace(Message::Binary(text.into_bytes())),
            (Act::OtherKind, Message::Binary(octets)) => {
                MessageAction::Replace(Message::Text(String::from_utf8_lossy(&octets).into_owned()))
            }
            (Act::Discard, _) => MessageAction::Discard,
            (Act::Close, _) => MessageAction::Close(self.config.code),
            (Act::Trap, _) => panic!("told to trap"),
            (Act::Spin, _) => loop {
                black_box(0);
            },
            (Act::Hog, _) => {
                let mut taken = Vec::new();
                loop {
                    taken.push(black_box(vec![1_u8; 1 << 20]));
                }
            }
            (Act::Sleep, _) => loop {
                thread::sleep(Duration::from_secs(3600));
            },
        }
    }
}

flowgate_guest::export!(Mediator: message_filter);

#[cfg(test)]
mod tests {
    use flowgate_guest::testing::{Sample, configure};

    use super::*;

    #[test]
    fn it_acts_about_what_it_is_told_to() {
        let (mut mediator, _) = configure::<Mediator>(r#"{"act": "replace", "of": "client", "at": 1}"#).expect("good");
        let flow = Flow::from(Sample::new("GET", "https://a.test/"));
        let mut say = |of, text: &str| mediator.on_message(&flow, of, Message::Text(text.to_owned()));

        assert_eq!(say(Direction::Response, "secret"), MessageAction::Pass);
        assert_eq!(say(Direction::Request, "secret"), MessageAction::Pass);
        assert_eq!(say(Direction::Request, "a secret"), MessageAction::Replace(Message::Text("a ******".to_owned())));
        assert_eq!(say(Direction::Request, "nothing"), MessageAction::Pass);
    }
}
