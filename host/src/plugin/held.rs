//! WebSocket messages that passed and are held for a plugin that asks for them later.
//!
//! Place: filled by `messages` before each call about a message, read by `capability::context`. Held in the host, so that a plugin needs no
//! memory of its own for what it has seen so far, and any of its instances can go on where another one stopped.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use crate::flow::{Charge, Direction, MessageKind};

/// Most messages held of one flow, the latest beside them.
const MESSAGES: usize = 65_536;
/// Messages held of one flow, without content, whatever is held of others: an exchange of a few is known then to have taken place.
const FEW: usize = 64;
/// What a message takes besides its content, at most: itself, and room that was made for more of its kind.
const HEAD: usize = 2 * size_of::<Kept>();

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

impl Told {
    /// The plugin is to see the first `limit` octets of `shown` in place of the `heard` that were read of it. What was missing of it stays
    /// missing, and nothing else is.
    pub(super) fn show(&mut self, shown: Bytes, heard: usize, limit: usize) {
        // What could not be redacted is not shown, and missing.
        if !shown.is_empty() {
            self.length = shown.len() as u64 + self.length.saturating_sub(heard as u64);
        }
        // A part of it would hold on to the whole.
        self.content = if shown.len() > limit { Bytes::copy_from_slice(&shown[..limit]) } else { shown };
    }
}

/// See the module.
pub(super) struct Held {
    state: Mutex<State>,
    /// Octets of content.
    limit: usize,
    /// What it takes of what is kept of all flows; `None`: it is not counted.
    charge: Option<Arc<Charge>>,
}

#[derive(Default)]
struct State {
    messages: VecDeque<Kept>,
    /// Of contents, without the latest if that is not settled.
    octets: usize,
    /// The latest is whole, beside all bounds.
    is_open: bool,
}

struct Kept {
    told: Told,
    /// Octets it takes of the charge.
    taken: usize,
}

impl Held {
    /// Holds up to `limit` octets of content, and what `charge` has room for.
    pub(super) fn new(limit: usize, charge: Option<Arc<Charge>>) -> Self {
        Self { state: Mutex::default(), limit, charge }
    }

    /// One more, which is held whole until it is settled.
    pub(super) fn push(&self, told: Told) {
        let mut state = self.state();
        self.settle_latest(&mut state);
        state.messages.push_back(Kept { told, taken: 0 });
        state.is_open = true;
    }

    /// The plugin has been told of the latest, and may have made room for it. Full: it is held without its content, and in the end not at all.
    pub(super) fn settle(&self) {
        self.settle_latest(&mut self.state());
    }

    fn settle_latest(&self, state: &mut State) {
        if !mem::take(&mut state.is_open) {
            return;
        }
        let Some(Kept { mut told, .. }) = state.messages.pop_back() else { return };
        let room = told.content.len().min(self.limit - state.octets);
        let Some(taken) = self.take(state.messages.len(), room) else { return };
        let len = taken - HEAD;
        if len < told.content.len() {
            // Not a part of it, which would hold on to the whole.
            told.content = Bytes::copy_from_slice(&told.content[..len]);
        }
        state.octets += len;
        state.messages.push_back(Kept { told, taken });
    }

    /// What one more message may take, with so many octets of content at most; `None`: it has no place.
    fn take(&self, held: usize, content: usize) -> Option<usize> {
        if held >= MESSAGES {
            return None;
        }
        let Some(charge) = &self.charge else { return Some(HEAD + content) };
        let taken = charge.take(HEAD + content);
        if taken >= HEAD {
            return Some(taken);
        }
        if held >= FEW {
            charge.give_back(taken);
            return None;
        }
        charge.whole(HEAD - taken);
        Some(HEAD)
    }

    /// Those from `from` on whose contents have at most `max` octets together, and at least one if there is one.
    pub(super) fn read(&self, from: u64, max: usize) -> Vec<Told> {
        let state = self.state();
        let (mut read, mut octets) = (Vec::new(), 0);
        for message in state.messages.iter().map(|kept| &kept.told).filter(|message| message.sequence >= from) {
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
        let mut gone = 0;
        while state.messages.front().is_some_and(|kept| kept.told.sequence < before) {
            let Some(kept) = state.messages.pop_front() else { break };
            if state.is_open && state.messages.is_empty() {
                state.is_open = false;
            } else {
                state.octets -= kept.told.content.len();
                gone += kept.taken;
            }
        }
        if state.messages.len() < state.messages.capacity() / 4 {
            let most = state.messages.len() * 2;
            state.messages.shrink_to(most);
        }
        drop(state);
        if let Some(charge) = &self.charge {
            charge.give_back(gone);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::CaptureBudget;

    fn message(sequence: u64, content: &'static str) -> Told {
        let length = content.len() as u64;
        Told { sent: Direction::Request, kind: MessageKind::Text, at: 0, sequence, length, content: Bytes::from_static(content.as_bytes()) }
    }

    fn read(held: &Held, from: u64, max: usize) -> Vec<(u64, String)> {
        held.read(from, max).iter().map(|told| (told.sequence, String::from_utf8_lossy(&told.content).into_owned())).collect()
    }

    /// Pushes and settles, as around a call.
    fn tell(held: &Held, sequence: u64, content: &'static str) {
        held.push(message(sequence, content));
        held.settle();
    }

    #[test]
    fn contents_are_held_up_to_the_limit_and_messages_beyond() {
        let held = Held::new(7, None);
        for (at, content) in ["one", "two", "three", "four"].into_iter().enumerate() {
            tell(&held, at as u64, content);
        }

        let expected = [(0, "one"), (1, "two"), (2, "t"), (3, "")].map(|(at, content)| (at, content.to_owned()));
        assert_eq!(read(&held, 0, 100), expected);
        assert_eq!(read(&held, 1, 4), expected[1..].to_vec());
        assert_eq!(read(&held, 0, 1), expected[..1].to_vec());
        assert_eq!(read(&held, 0, 6), expected[..2].to_vec());

        held.release(2);
        tell(&held, 4, "five");
        assert_eq!(read(&held, 0, 100), [(2, "t".to_owned()), (3, String::new()), (4, "five".to_owned())]);
        assert!(read(&held, 9, 100).is_empty());
    }

    #[test]
    fn the_message_in_question_is_whole_and_stays_so_where_room_is_made_for_it() {
        let held = Held::new(7, None);
        tell(&held, 0, "a long answer");

        held.push(message(1, "next"));
        assert_eq!(read(&held, 1, 100), [(1, "next".to_owned())]);
        held.release(1);
        held.settle();
        tell(&held, 2, "other");

        assert_eq!(read(&held, 0, 100), [(1, "next".to_owned()), (2, "oth".to_owned())]);
        held.push(message(3, "last"));
        held.release(9);
        held.settle();
        assert!(read(&held, 0, 100).is_empty());
    }

    #[test]
    fn their_number_is_bounded() {
        let held = Held::new(7, None);
        (0..MESSAGES as u64 + 9).for_each(|at| tell(&held, at, ""));

        assert_eq!(held.read(0, 0).len(), MESSAGES);
        held.push(message(100_000, "late"));
        assert_eq!(read(&held, MESSAGES as u64, 9), [(100_000, "late".to_owned())]);
    }

    #[test]
    fn all_flows_together_hold_what_they_may_and_a_few_messages_without_content() {
        let budget = CaptureBudget::new(20 * HEAD + 1000);
        let held: Vec<_> = (0..2).map(|_| Held::new(1000, Some(Charge::new(budget.clone())))).collect();
        let content: &str = Box::leak("c".repeat(800).into());

        (0..1000).for_each(|at| held.iter().for_each(|held| tell(held, at, content)));

        for held in &held {
            let read = held.read(0, usize::MAX);
            assert_eq!((read.len(), read[63].content.len()), (FEW, 0));
        }
        assert_eq!(held[0].read(0, usize::MAX)[0].content.len(), 800);
        assert!(budget.taken() <= 1000 + (20 + 2 * FEW) * HEAD, "{}", budget.taken());
        held[0].release(u64::MAX);
        held[1].release(10);
        drop(held);
        assert_eq!(budget.taken(), 0);
    }
}
