//! Exchanges over a WebSocket: a client asks by `response.create`, and hears the events that others get as server-sent ones.
//!
//! Place: put together from the messages that the host holds, so that any instance can go on where another stopped.

use serde::Deserialize;
use serde_json::Value;

use super::{Answer, Api, Assembly, Exchange, Prompt, editor};
use crate::{Direction, Flow, MessageKind, MessageRecord};

/// Octets of messages asked of the host at a time.
const AT_A_TIME: u32 = 1 << 20;

/// Whether a message is the last of an answer.
pub(super) fn is_last(message: &MessageRecord) -> bool {
    message.sent == Direction::Response
        && message.kind == MessageKind::Text
        && matches!(&*kind(&message.content), "response.completed" | "response.incomplete" | "response.failed" | "response.done" | "error")
}

/// Takes the exchanges out of the messages before that sequence.
pub(super) fn take(flow: &Flow, api: Api, before: u64) -> Vec<Exchange> {
    let (mut begun, mut next) = (Vec::<Begun>::new(), 0);
    'all: loop {
        let held = flow.held_messages(next, AT_A_TIME);
        if held.is_empty() {
            break;
        }
        for message in held {
            if message.sequence >= before {
                break 'all;
            }
            next = narrow(message.sequence + 1);
            if message.kind == MessageKind::Text {
                add(&mut begun, &message);
            }
        }
    }
    flow.release_messages(narrow(before));
    let editor = editor(flow);
    let exchange = |begun: Begun| Exchange {
        api,
        prompt: begun.prompt,
        answer: begun.answer.finish(),
        began: begun.began,
        ended: begun.ended,
        editor: editor.clone(),
    };
    let said_something = |exchange: &Exchange| exchange.prompt != Prompt::default() || exchange.answer != Answer::default();
    begun.into_iter().map(exchange).filter(said_something).collect()
}

#[derive(Default)]
struct Begun {
    prompt: Prompt,
    answer: Assembly,
    began: u64,
    ended: Option<u64>,
}

fn add(begun: &mut Vec<Begun>, message: &MessageRecord) {
    let json: Option<Value> = serde_json::from_slice(&message.content).ok();
    match message.sent {
        Direction::Request => {
            // Where the host kept only its beginning, it is a prompt all the same.
            if kind(&message.content) == "response.create" {
                let prompt = json.as_ref().map(Prompt::of).unwrap_or_default();
                begun.push(Begun { prompt, began: message.at, ..Begun::default() });
            }
        }
        Direction::Response => {
            if begun.is_empty() {
                begun.push(Begun { began: message.at, ..Begun::default() });
            }
            if let (Some(last), Some(json)) = (begun.last_mut(), json) {
                last.answer.add(&json);
                last.ended = Some(message.at);
            }
        }
    }
}

/// What a message says it is; of one that is cut, what its beginning says.
fn kind(content: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Typed {
        #[serde(rename = "type")]
        kind: String,
    }
    if let Ok(typed) = serde_json::from_slice::<Typed>(content) {
        return typed.kind;
    }
    let text = String::from_utf8_lossy(&content[..content.len().min(1024)]);
    let mut parts = text.split('"').skip_while(|part| *part != "type").skip(2);
    parts.next().unwrap_or_default().to_owned()
}

/// The host's functions take 32 bits; no connection lives long enough for more messages.
fn narrow(sequence: u64) -> u32 {
    u32::try_from(sequence).unwrap_or(u32::MAX)
}
