//! WebSocket messages as exchanges: what a client says, and what it gets to hear until it speaks again.
//!
//! Place: put together from the messages that the host holds, so that any instance can go on where another stopped.

use std::mem;

use flowgate_guest::{BodyInfo, Direction, Flow, MessageKind, MessageRecord};

/// Octets of messages asked of the host at a time.
const AT_A_TIME: u32 = 1 << 20;

/// Messages of one exchange.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    request: Side,
    response: Side,
    /// When the first message passed, in microseconds since the Unix epoch.
    pub(crate) began: u64,
    /// When the last one did.
    pub(crate) ended: u64,
}

/// What one end said, a message on a line.
#[derive(Debug, Default)]
struct Side {
    lines: Vec<u8>,
    messages: u32,
    /// Octets of all its messages.
    length: u64,
    is_cut: bool,
}

/// Whether an exchange is over because of that message: its client speaks after having heard something.
pub(crate) fn begins(flow: &Flow, message: &MessageRecord) -> bool {
    if message.sent != Direction::Request || message.kind == MessageKind::Closed || message.sequence == 0 {
        return false;
    }
    let before = message.sequence - 1;
    let last = flow.held_messages(narrow(before), 0);
    // One that the host does not hold may have been anything.
    last.first().is_none_or(|last| last.sequence != before || last.sent == Direction::Response)
}

/// The exchange made of the messages before that sequence, if there are any; the host holds them no longer.
pub(crate) fn take(flow: &Flow, before: u64) -> Option<Exchange> {
    let (mut exchange, mut next) = (Exchange::default(), None);
    'all: loop {
        let held = flow.held_messages(next.map_or(0, narrow), AT_A_TIME);
        if held.is_empty() {
            break;
        }
        for message in held {
            if message.sequence >= before {
                exchange.response.is_cut |= before != u64::MAX && next.is_some_and(|next| next != before);
                break 'all;
            }
            // Messages that were missed are most likely of a long answer.
            exchange.response.is_cut |= next.is_some_and(|next| next != message.sequence);
            next = Some(message.sequence + 1);
            exchange.add(&message);
        }
    }
    flow.release_messages(narrow(before));
    (exchange.request.messages + exchange.response.messages > 0).then_some(exchange)
}

impl Exchange {
    fn add(&mut self, message: &MessageRecord) {
        if message.kind == MessageKind::Closed {
            return;
        }
        let side = match message.sent {
            Direction::Request => &mut self.request,
            Direction::Response => &mut self.response,
        };
        if side.messages > 0 {
            side.lines.push(b'\n');
        }
        side.lines.extend_from_slice(&message.content);
        side.messages += 1;
        side.length += u64::from(message.length);
        side.is_cut |= message.content.len() < message.length as usize;
        if self.began == 0 {
            self.began = message.at;
        }
        self.ended = message.at;
    }

    /// What one end said, and what there is to say about that.
    pub(crate) fn take_content(&mut self, of: Direction) -> (Vec<u8>, BodyInfo) {
        let side = match of {
            Direction::Request => &mut self.request,
            Direction::Response => &mut self.response,
        };
        let lines = mem::take(&mut side.lines);
        let info = BodyInfo { length: lines.len() as u64, wire_length: side.length, truncated: side.is_cut, decoded: true };
        (lines, info)
    }
}

/// The host's functions take 32 bits; no connection lives long enough for more messages.
fn narrow(sequence: u64) -> u32 {
    u32::try_from(sequence).unwrap_or(u32::MAX)
}
