//! From the octets of one direction to its messages.
//!
//! Place: fed by both relays, whether they forward the octets themselves or make frames of their own. A state machine without input or
//! output: the same octets in any pieces make the same messages.
//! Source: RFC 6455 §5.4 and §5.5, RFC 7692 §6 and §7.2.2.

use bytes::{Buf, Bytes, BytesMut};

use super::{
    deflate::{Inflater, NotDeflated},
    extensions::Side,
    frame::{Head, NoFrame, Opcode, mask},
};

/// What came next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Event {
    /// Octets of the message in progress, its coding undone.
    Data(Bytes),
    /// The message is whole.
    End,
    /// A control frame, which may stand in the middle of a message.
    Control(Opcode, Bytes),
}

/// The octets are no WebSocket any more, or none that can be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Unreadable {
    /// Not by RFC 6455.
    #[error(transparent)]
    Frame(#[from] NoFrame),
    /// Not by RFC 7692.
    #[error(transparent)]
    Deflate(#[from] NotDeflated),
    /// It would never end.
    #[error("a message that inflates to more than {0} octets")]
    Bomb(u64),
}

/// Reads one direction.
pub(super) struct Decoder {
    inflater: Option<Inflater>,
    /// Most octets that a message may inflate to.
    limit: u64,
    frame: Option<Frame>,
    message: Option<Message>,
    control: BytesMut,
    is_text: bool,
    was_compressed: bool,
}

struct Frame {
    head: Head,
    /// Octets of its content that have come.
    read: u64,
}

#[derive(Clone, Copy)]
struct Message {
    is_compressed: bool,
    inflated: u64,
    /// All frames have come; the inflater may have something left.
    is_ending: bool,
}

impl Decoder {
    /// `deflate`: how the sender compresses, if it may; `limit`: octets that a message may inflate to.
    pub(super) fn new(deflate: Option<Side>, limit: u64) -> Self {
        Self {
            inflater: deflate.map(Inflater::new),
            limit,
            frame: None,
            message: None,
            control: BytesMut::new(),
            is_text: false,
            was_compressed: false,
        }
    }

    /// Whether the message in progress, or the last one, is text.
    pub(super) fn is_text(&self) -> bool {
        self.is_text
    }

    /// Whether its sender compressed it.
    pub(super) fn was_compressed(&self) -> bool {
        self.was_compressed
    }

    /// Takes the next event out of `input`; `None`: more octets are needed.
    pub(super) fn next(&mut self, input: &mut BytesMut) -> Result<Option<Event>, Unreadable> {
        loop {
            if let Some(event) = self.inflated()? {
                return Ok(Some(event));
            }
            let Some(frame) = &mut self.frame else {
                match self.begin(input)? {
                    true => continue,
                    false => return Ok(None),
                }
            };
            let left = frame.head.len - frame.read;
            if left == 0 {
                let head = frame.head;
                self.frame = None;
                match self.end(head) {
                    Some(event) => return Ok(Some(event)),
                    None => continue,
                }
            }
            if input.is_empty() {
                return Ok(None);
            }
            let mut octets = input.split_to(usize::try_from(left).unwrap_or(usize::MAX).min(input.len()));
            if let Some(key) = frame.head.mask {
                mask(&mut octets, key, frame.read);
            }
            frame.read += octets.len() as u64;
            if frame.head.opcode.is_control() {
                self.control.unsplit(octets);
            } else if let (Some(inflater), Some(Message { is_compressed: true, .. })) = (&mut self.inflater, self.message) {
                inflater.push(octets.freeze());
            } else {
                return Ok(Some(Event::Data(octets.freeze())));
            }
        }
    }

    /// What the inflater has left, and the end of a message when it has nothing.
    fn inflated(&mut self) -> Result<Option<Event>, Unreadable> {
        let (Some(inflater), Some(message)) = (&mut self.inflater, &mut self.message) else { return Ok(None) };
        if let Some(octets) = inflater.pull()? {
            message.inflated += octets.len() as u64;
            return if message.inflated > self.limit { Err(Unreadable::Bomb(self.limit)) } else { Ok(Some(Event::Data(octets))) };
        }
        if !message.is_ending {
            return Ok(None);
        }
        inflater.end_message();
        self.message = None;
        Ok(Some(Event::End))
    }

    /// The next frame's head, if it is there.
    fn begin(&mut self, input: &mut BytesMut) -> Result<bool, Unreadable> {
        let Some((head, len)) = Head::parse(input)? else { return Ok(false) };
        match (head.opcode, &self.message) {
            (Opcode::Continuation, None) => return Err(NoFrame("a continuation of nothing").into()),
            (Opcode::Text | Opcode::Binary, Some(_)) => return Err(NoFrame("a message in the middle of another").into()),
            (Opcode::Continuation, Some(_)) if head.is_compressed => return Err(NoFrame("a compressed continuation").into()),
            (Opcode::Text | Opcode::Binary, None) => {
                if head.is_compressed && self.inflater.is_none() {
                    return Err(NoFrame("a compressed message where none was agreed on").into());
                }
                self.is_text = head.opcode == Opcode::Text;
                self.was_compressed = head.is_compressed;
                self.message = Some(Message { is_compressed: head.is_compressed, inflated: 0, is_ending: false });
            }
            _ => {}
        }
        input.advance(len);
        self.frame = Some(Frame { head, read: 0 });
        Ok(true)
    }

    /// What the end of a frame means.
    fn end(&mut self, head: Head) -> Option<Event> {
        if head.opcode.is_control() {
            return Some(Event::Control(head.opcode, self.control.split().freeze()));
        }
        if !head.is_last {
            return None;
        }
        match (&mut self.message, &mut self.inflater) {
            (Some(message), Some(inflater)) if message.is_compressed => {
                message.is_ending = true;
                inflater.push_tail();
                None
            }
            _ => {
                self.message = None;
                Some(Event::End)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::websocket::deflate::Deflater;

    const LIMIT: u64 = 1 << 20;
    const KEEPS: Side = Side { forgets: false, window_bits: 15 };

    fn frame(is_last: bool, is_compressed: bool, opcode: Opcode, key: Option<[u8; 4]>, content: &[u8]) -> Vec<u8> {
        let mut out = BytesMut::new();
        Head { is_last, is_compressed, opcode, mask: key, len: content.len() as u64 }.put(&mut out);
        let mut content = content.to_vec();
        if let Some(key) = key {
            mask(&mut content, key, 0);
        }
        out.extend_from_slice(&content);
        out.to_vec()
    }

    /// Messages and control frames, data in one piece.
    fn events(deflate: Option<Side>, pieces: &[&[u8]]) -> Result<Vec<(Opcode, Vec<u8>)>, Unreadable> {
        let (mut decoder, mut input) = (Decoder::new(deflate, LIMIT), BytesMut::new());
        let (mut events, mut data) = (Vec::new(), Vec::new());
        for piece in pieces {
            input.extend_from_slice(piece);
            while let Some(event) = decoder.next(&mut input)? {
                match event {
                    Event::Data(octets) => data.extend_from_slice(&octets),
                    Event::End => {
                        let opcode = if decoder.is_text() { Opcode::Text } else { Opcode::Binary };
                        events.push((opcode, std::mem::take(&mut data)));
                    }
                    Event::Control(opcode, octets) => events.push((opcode, octets.to_vec())),
                }
            }
        }
        Ok(events)
    }

    /// A conversation with everything in it.
    fn everything() -> Vec<u8> {
        let mut deflater = Deflater::new(KEEPS);
        let one = deflater.message(b"compressed, compressed, compressed").expect("compressed");
        let two = deflater.message(b"and compressed once more").expect("compressed");
        let (key, other) = (Some([1, 2, 3, 4]), Some([250, 0, 17, 99]));
        [
            frame(true, false, Opcode::Text, key, b"plain"),
            frame(false, false, Opcode::Text, key, b"in "),
            frame(true, false, Opcode::Ping, other, b"between"),
            frame(false, false, Opcode::Continuation, other, b""),
            frame(true, false, Opcode::Continuation, None, b"pieces"),
            frame(false, true, Opcode::Binary, key, &one[..5]),
            frame(true, false, Opcode::Pong, None, b""),
            frame(true, false, Opcode::Continuation, other, &one[5..]),
            frame(true, false, Opcode::Text, key, b""),
            frame(true, true, Opcode::Text, None, &two),
            frame(true, false, Opcode::Binary, None, &[7; 300]),
            frame(true, false, Opcode::Close, key, b"\x03\xe8bye"),
        ]
        .concat()
    }

    #[test]
    fn any_cut_of_the_octets_makes_the_same_messages() {
        let octets = everything();
        let expected = vec![
            (Opcode::Text, b"plain".to_vec()),
            (Opcode::Ping, b"between".to_vec()),
            (Opcode::Text, b"in pieces".to_vec()),
            (Opcode::Pong, b"".to_vec()),
            (Opcode::Binary, b"compressed, compressed, compressed".to_vec()),
            (Opcode::Text, b"".to_vec()),
            (Opcode::Text, b"and compressed once more".to_vec()),
            (Opcode::Binary, vec![7; 300]),
            (Opcode::Close, b"\x03\xe8bye".to_vec()),
        ];
        assert_eq!(events(Some(KEEPS), &[&octets]), Ok(expected.clone()));
        for size in 1..24 {
            let pieces: Vec<&[u8]> = octets.chunks(size).collect();
            assert_eq!(events(Some(KEEPS), &pieces), Ok(expected.clone()), "pieces of {size}");
        }
        for cut in 0..octets.len() {
            let (one, other) = octets.split_at(cut);
            assert_eq!(events(Some(KEEPS), &[one, other]), Ok(expected.clone()), "cut at {cut}");
        }
    }

    #[test]
    fn what_breaks_the_rules_is_unreadable() {
        let plain = |opcode| frame(true, false, opcode, None, b"x");
        let begun = frame(false, false, Opcode::Text, None, b"x");
        let table = [
            plain(Opcode::Continuation),
            [begun.clone(), plain(Opcode::Text)].concat(),
            [begun.clone(), plain(Opcode::Binary)].concat(),
            frame(true, true, Opcode::Text, None, &[0xff; 9]),
            [begun, frame(true, true, Opcode::Continuation, None, b"x")].concat(),
        ];
        for octets in table {
            assert!(events(Some(KEEPS), &[&octets]).is_err(), "{octets:02x?}");
        }
        assert!(events(None, &[&frame(true, true, Opcode::Text, None, b"x")]).is_err());
    }

    #[test]
    fn random_octets_are_survived() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let good = everything();
        for _ in 0..3000 {
            let mut octets = good.clone();
            for _ in 0..random() % 8 {
                let at = (random() % octets.len() as u64) as usize;
                octets[at] = random() as u8;
            }
            // Either way is fine; it returns.
            let pieces: Vec<&[u8]> = octets.chunks((random() % 40 + 1) as usize).collect();
            let _ = events(Some(KEEPS), &pieces);
        }
    }

    #[test]
    fn a_message_that_swells_without_end_is_given_up() {
        let zeros = vec![0; LIMIT as usize + 1];
        let bomb = Deflater::new(KEEPS).message(&zeros).expect("compressed");
        assert!(bomb.len() < 1 << 16);

        let octets = frame(true, true, Opcode::Binary, None, &bomb);

        assert_eq!(events(Some(KEEPS), &[&octets]), Err(Unreadable::Bomb(LIMIT)));
    }
}
