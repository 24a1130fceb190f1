//! WebSocket messages that passed and are held for a plugin that asks for them later.
//!
//! Place: filled by `messages` before each call about a message, read by `capability::context`. Held in the host, so that a plugin needs no
//! memory of its own for what it has seen so far, and any of its instances can go on where another one stopped.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use crate::flow::{Direction, MessageKind};

/// Most messages held of one flow: some 80 octets each beside their content.
const MESSAGES: usize = 65_536;

/// A message as a plugin is told of it.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) sent: Direction,
    pub(super) kind: MessageKind,
    /// Microseconds since the Unix epoch.
    pub(super) at: u64,
    pub(super) sequence: u64,
    pub(super) length: u64,
    /// The first of them, as many as the plugin's rule says.
    pub(super) content: Bytes,
}

/// See the module.
pub(super) struct Held {
    state: Mutex<State>,
    /// Octets of content.
    limit: usize,
}

#[derive(Default)]
struct State {
    messages: VecDeque<Told>,
    octets: usize,
}

impl Held {
    /// Holds up to `limit` octets of content.
    pub(super) fn new(limit: usize) -> Self {
        Self { state: Mutex::default(), limit }
    }

    /// One more. Full: it is held without its content, and in the end not at all.
    pub(super) fn push(&self, mut message: Told) {
        let mut state = self.state();
        if state.messages.len() >= MESSAGES {
            return;
        }
        message.content.truncate(self.limit - state.octets);
        state.octets += message.content.len();
        state.messages.push_back(message);
    }

    /// Those from `from` on whose contents have at most `max` octets together, and at least one if there is one.
    pub(super) fn read(&self, from: u64, max: usize) -> Vec<Told> {
        let state = self.state();
        let (mut read, mut octets) = (Vec::new(), 0);
        for message in state.messages.iter().filter(|message| message.sequence >= from) {
            octets += message.content.len();
            if octets > max && !read.is_empty() {
                break;
            }
            read.push(message.clone());
        }
        read
    }

    /// Lets those before `before` go.
    pub(super) fn release(&self, before: u64) {
        let mut state = self.state();
        while state.messages.front().is_some_and(|message| message.sequence < before) {
            let gone = state.messages.pop_front().map_or(0, |message| message.content.len());
            state.octets -= gone;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(sequence: u64, content: &'static str) -> Told {
        let length = content.len() as u64;
        Told { sent: Direction::Request, kind: MessageKind::Text, at: 0, sequence, length, content: Bytes::from_static(content.as_bytes()) }
    }

    fn read(held: &Held, from: u64, max: usize) -> Vec<(u64, String)> {
        held.read(from, max).iter().map(|told| (told.sequence, String::from_utf8_lossy(&told.content).into_owned())).collect()
    }

    #[test]
    fn contents_are_held_up_to_the_limit_and_messages_beyond() {
        let held = Held::new(7);
        for (at, content) in ["one", "two", "three", "four"].into_iter().enumerate() {
            held.push(message(at as u64, content));
        }

        let expected = [(0, "one"), (1, "two"), (2, "t"), (3, "")].map(|(at, content)| (at, content.to_owned()));
        assert_eq!(read(&held, 0, 100), expected);
        assert_eq!(read(&held, 1, 4), expected[1..].to_vec());
        assert_eq!(read(&held, 0, 1), expected[..1].to_vec());
        assert_eq!(read(&held, 0, 6), expected[..2].to_vec());

        held.release(2);
        held.push(message(4, "five"));
        assert_eq!(read(&held, 0, 100), [(2, "t".to_owned()), (3, String::new()), (4, "five".to_owned())]);
        assert!(read(&held, 9, 100).is_empty());
    }

    #[test]
    fn their_number_is_bounded() {
        let held = Held::new(7);
        (0..MESSAGES as u64 + 9).for_each(|at| held.push(message(at, "")));

        assert_eq!(held.read(0, 0).len(), MESSAGES);
    }
}
