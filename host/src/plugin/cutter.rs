//! Cutting content into the chunks that a stream filter gets.
//!
//! Place: one per body and plugin, in `stream`. Holds nothing back but the beginning of an event, up to its bound.
//! Source: WHATWG HTML §9.2 (server-sent events): lines end with CRLF, LF or CR, an empty line ends an event.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use memchr::memchr2;

/// Most octets that are looked at at a time: what a socket is read by. Larger pieces (content that was held back) are cut.
const MAX_CHUNK: usize = 64 * 1024;

/// See the module.
pub(super) struct Cutter {
    pieces: VecDeque<Bytes>,
    /// By events; `None`: as they arrive.
    events: Option<Events>,
}

impl Cutter {
    /// By events of up to so many octets, or as they arrive.
    pub(super) fn new(events: Option<usize>) -> Self {
        Self { pieces: VecDeque::new(), events: events.map(Events::new) }
    }

    /// Takes in what arrived.
    pub(super) fn feed(&mut self, mut piece: Bytes) {
        while piece.len() > MAX_CHUNK {
            self.pieces.push_back(piece.split_to(MAX_CHUNK));
        }
        if !piece.is_empty() {
            self.pieces.push_back(piece);
        }
    }

    /// The next chunk, never empty.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        let Some(events) = &mut self.events else { return self.pieces.pop_front() };
        loop {
            if let Some(event) = events.next() {
                return Some(event);
            }
            events.buffer.extend_from_slice(&self.pieces.pop_front()?);
        }
    }

    /// What is left when no more comes: an event without its end.
    pub(super) fn rest(&mut self) -> Option<Bytes> {
        self.next().or_else(|| self.events.as_mut()?.rest())
    }
}

/// Cuts after each empty line. An event of more than `most` octets is given as far as it has come, and the rest of it as it comes.
struct Events {
    buffer: BytesMut,
    most: usize,
    /// Up to where line ends were looked for.
    at: usize,
    /// Where in the buffer the current line begins; earlier octets of it may have gone.
    line: usize,
    /// Some of the current line has gone.
    line_begun: bool,
    /// Some of the current event has gone.
    event_begun: bool,
    /// The last line ended with CRLF: then a CR at the end of what has come is waited with.
    crlf: bool,
    /// What went last ended with a CR: an LF next belongs to it.
    after_cr: bool,
}

impl Events {
    fn new(most: usize) -> Self {
        let buffer = BytesMut::new();
        Self { buffer, most, at: 0, line: 0, line_begun: false, event_begun: false, crlf: false, after_cr: false }
    }

    fn next(&mut self) -> Option<Bytes> {
        if self.after_cr && !self.buffer.is_empty() {
            self.after_cr = false;
            if self.buffer[0] == b'\n' {
                // No empty line of its own. It goes with what follows.
                (self.at, self.line, self.crlf) = (1, 1, true);
            }
        }
        while let Some(found) = memchr2(b'\n', b'\r', &self.buffer[self.at..]) {
            let end = self.at + found;
            let is_empty = end == self.line && !self.line_begun;
            let after = match (self.buffer[end], self.buffer.get(end + 1)) {
                (b'\n', _) => end + 1,
                (_, Some(b'\n')) => end + 2,
                (_, Some(_)) => end + 1,
                // The line after a CRLF will end with one, too, and a line with something in it ends no event.
                (_, None) if self.crlf || !is_empty => {
                    self.at = end;
                    return self.overlong();
                }
                (_, None) => {
                    self.after_cr = true;
                    end + 1
                }
            };
            self.crlf = after == end + 2;
            (self.at, self.line, self.line_begun) = (after, after, false);
            if is_empty {
                self.event_begun = false;
                (self.at, self.line) = (0, 0);
                return Some(self.buffer.split_to(after).freeze());
            }
        }
        self.at = self.buffer.len();
        self.overlong()
    }

    fn rest(&mut self) -> Option<Bytes> {
        (self.at, self.line) = (0, 0);
        (!self.buffer.is_empty()).then(|| self.buffer.split().freeze())
    }

    fn overlong(&mut self) -> Option<Bytes> {
        if self.buffer.is_empty() || (!self.event_begun && self.buffer.len() <= self.most) {
            return None;
        }
        self.event_begun = true;
        if self.at < self.buffer.len() {
            // A CR that may be half a line end: it is waited with even now.
            let gone = self.buffer.split_to(self.at).freeze();
            self.line_begun |= self.line < self.at;
            (self.at, self.line) = (0, 0);
            return (!gone.is_empty()).then_some(gone);
        }
        self.line_begun |= self.line < self.buffer.len();
        (self.at, self.line) = (0, 0);
        Some(self.buffer.split().freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The chunks of `content` when it comes `step` octets at a time.
    fn cut(cutter: &mut Cutter, content: &[u8], step: usize) -> Vec<String> {
        let mut chunks = Vec::new();
        let text = |chunk: Bytes| String::from_utf8(chunk.to_vec()).expect("text");
        for piece in content.chunks(step) {
            cutter.feed(Bytes::copy_from_slice(piece));
            while let Some(chunk) = cutter.next() {
                chunks.push(text(chunk));
            }
        }
        while let Some(chunk) = cutter.rest() {
            chunks.push(text(chunk));
        }
        chunks
    }

    #[test]
    fn events_are_whole_however_they_arrive() {
        let table: [&[&str]; 6] = [
            &["data: a\n\n", ": note\n\n", "event: b\ndata: 1\ndata: 2\n\n"],
            &["data: a\r\n\r\n", "event: b\r\ndata: 1\r\n\r\n", "data\r\n\r\n"],
            &["data: a\r\r", "event: b\rdata: 1\r\r"],
            &["data: a\n\n", "\n", "\n", "data: b\n\n"],
            &["data: a\n\n", "data: without an end\n"],
            &["\u{feff}data: ü\n\n", "data: without even that"],
        ];
        for events in table {
            for step in 1..30 {
                let mut cutter = Cutter::new(Some(1000));
                assert_eq!(cut(&mut cutter, events.concat().as_bytes(), step), events, "by {step}");
            }
        }
    }

    #[test]
    fn an_event_is_given_with_its_last_octet() {
        for (event, next) in [("data: a\n\n", "d"), ("data: a\r\n\r\n", "d"), ("data: a\r\r", "d")] {
            let mut cutter = Cutter::new(Some(1000));
            cutter.feed(Bytes::from(event));
            assert_eq!(cutter.next().as_deref(), Some(event.as_bytes()));
            cutter.feed(Bytes::from(next));
            assert_eq!(cutter.next(), None);
        }
    }

    #[test]
    fn nothing_is_lost_where_line_ends_are_mixed() {
        let content = "data: a\n\r\ndata: b\r\n\ndata: c\r\n\r\r\ndata: d\n\r\n\rdata: e\r\r\n\n";
        for step in 1..20 {
            let mut cutter = Cutter::new(Some(1000));
            assert_eq!(cut(&mut cutter, content.as_bytes(), step).concat(), content, "by {step}");
        }
    }

    #[test]
    fn an_event_beyond_the_bound_passes_as_it_comes_and_the_next_is_whole_again() {
        for end in ["\n", "\r\n", "\r"] {
            let long = format!("data: {}{end}data: x{end}{end}", "y".repeat(40));
            let next = format!("data: z{end}{end}");
            for step in 1..60 {
                let mut cutter = Cutter::new(Some(20));

                let chunks = cut(&mut cutter, [long.as_str(), &next].concat().as_bytes(), step);

                assert_eq!(chunks.concat(), [long.as_str(), &next].concat(), "by {step}");
                assert_eq!(chunks.last(), Some(&next), "by {step}: {chunks:?}");
                assert!(step > 20 || chunks.len() > 2, "by {step}: {chunks:?}");
                assert!(chunks.iter().all(|chunk| step > 20 || chunk.len() <= 20 + step), "by {step}: {chunks:?}");
            }
        }
    }

    #[test]
    fn other_content_is_cut_by_its_size_alone() {
        let mut cutter = Cutter::new(None);
        cutter.feed(Bytes::from(vec![b'x'; MAX_CHUNK + 1]));
        cutter.feed(Bytes::new());

        assert_eq!(
            [cutter.next(), cutter.next(), cutter.next()].map(|chunk| chunk.map(|chunk| chunk.len())),
            [Some(MAX_CHUNK), Some(1), None]
        );
    }
}
