//! What an HTTP/2 client sends besides requests and content, counted: frames that cost it nothing and make us work.
//!
//! Place: below the `h2` crate, which bounds what such frames may hold in memory (heads, continuations, small pieces of content, streams that
//! were reset before they were looked at) and takes any number of them otherwise. A client that sends too many is cut off by `serve`.
//! Reads frames' heads only, and alters nothing.
//! Source: RFC 9113 §4.1, §6, §10.5; CVE-2019-9512 to 9518, CVE-2023-44487.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, ReadBuf},
    sync::Notify,
};

use crate::{
    io::Layer,
    pace::{Pace, Rate},
};

/// Octets before the first frame (RFC 9113 §3.4).
const PREFACE: usize = 24;
/// A frame's head (RFC 9113 §4.1).
const FRAME_HEAD: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const PUSH_PROMISE: u8 = 5;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
/// Flag of DATA.
const END_STREAM: u8 = 1;
/// Room in a window that is not worth a frame: whoever grants it octet by octet wants its content in as many frames.
const TINY_WINDOW: u32 = 256;

/// How many frames of which kind a client may send.
#[derive(Clone, Copy, Debug)]
pub struct FloodLimits {
    /// Streams that it resets.
    pub resets: Rate,
    /// PING, SETTINGS, PRIORITY, CONTINUATION, what is unknown, DATA without octets, and window updates of a few octets.
    pub chatter: Rate,
}

/// What a client sent too much of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Flood {
    Resets,
    Chatter,
}

/// Counts a connection's incoming frames. When there are too many it gives nothing more to read.
pub(super) struct Watch {
    frames: Frames,
    alarm: Alarm,
    flooded: bool,
}

/// Heard by whoever serves the connection.
#[derive(Clone, Default)]
pub(super) struct Alarm(Arc<(AtomicBool, Notify)>);

impl Alarm {
    /// Resolves when the client sends too much; says of what.
    pub(super) async fn raised(&self) -> Flood {
        let (of_resets, raised) = &*self.0;
        raised.notified().await;
        if of_resets.load(Ordering::Relaxed) { Flood::Resets } else { Flood::Chatter }
    }

    fn raise(&self, flood: Flood) {
        let (of_resets, raised) = &*self.0;
        of_resets.store(flood == Flood::Resets, Ordering::Relaxed);
        // Kept for one that listens later.
        raised.notify_one();
    }
}

impl Watch {
    pub(super) fn new(limits: FloodLimits) -> (Self, Alarm) {
        let alarm = Alarm::default();
        (Self { frames: Frames::new(limits), alarm: alarm.clone(), flooded: false }, alarm)
    }
}

/// Where in the row of frames the next octet is.
struct Frames {
    resets: Pace,
    chatter: Pace,
    /// Octets to pass over: the preface, then payloads.
    skip: usize,
    head: [u8; FRAME_HEAD + 4],
    /// Octets of it that are there, and that are wanted.
    have: usize,
    want: usize,
}

impl Frames {
    fn new(limits: FloodLimits) -> Self {
        let (resets, chatter) = (Pace::new(limits.resets), Pace::new(limits.chatter));
        Self { resets, chatter, skip: PREFACE, head: [0; FRAME_HEAD + 4], have: 0, want: FRAME_HEAD }
    }

    /// Counts what is in the next octets.
    fn read(&mut self, mut octets: &[u8]) -> Result<(), Flood> {
        while !octets.is_empty() {
            if self.skip > 0 {
                let passed = self.skip.min(octets.len());
                self.skip -= passed;
                octets = &octets[passed..];
                continue;
            }
            let taken = (self.want - self.have).min(octets.len());
            self.head[self.have..self.have + taken].copy_from_slice(&octets[..taken]);
            self.have += taken;
            octets = &octets[taken..];
            if self.have == self.want {
                self.frame()?;
            }
        }
        Ok(())
    }

    /// The head of a frame is there, or that and how much a window grows.
    fn frame(&mut self) -> Result<(), Flood> {
        let [a, b, c, kind, flags, ..] = self.head;
        let len = u32::from_be_bytes([0, a, b, c]) as usize;
        if kind == WINDOW_UPDATE && len == 4 && self.have == FRAME_HEAD {
            self.want = FRAME_HEAD + 4;
            return Ok(());
        }
        let counted = match kind {
            HEADERS | PUSH_PROMISE | GOAWAY => None,
            DATA => (len == 0 && flags & END_STREAM == 0).then_some(Flood::Chatter),
            RST_STREAM => Some(Flood::Resets),
            WINDOW_UPDATE => {
                let [.., a, b, c, d] = self.head;
                (u32::from_be_bytes([a, b, c, d]) < TINY_WINDOW).then_some(Flood::Chatter)
            }
            _ => Some(Flood::Chatter),
        };
        self.skip = len - (self.have - FRAME_HEAD);
        (self.have, self.want) = (0, FRAME_HEAD);
        let pace = match counted {
            None => return Ok(()),
            Some(Flood::Resets) => &self.resets,
            Some(Flood::Chatter) => &self.chatter,
        };
        match (pace.turn(Instant::now(), Duration::ZERO), counted) {
            (None, Some(flood)) => Err(flood),
            _ => Ok(()),
        }
    }
}

impl<I: Unpin> Layer<I> for Watch {
    fn poll_read(&mut self, below: &mut I, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>>
    where
        I: AsyncRead,
    {
        if self.flooded {
            // The alarm wakes whoever reads, and that one ends.
            return Poll::Pending;
        }
        let before = out.filled().len();
        let read = Pin::new(below).poll_read(cx, out);
        if let Err(flood) = self.frames.read(&out.filled()[before..]) {
            out.set_filled(before);
            self.flooded = true;
            self.alarm.raise(flood);
            return Poll::Pending;
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: FloodLimits = FloodLimits { resets: Rate { per_second: 1, at_once: 10 }, chatter: Rate { per_second: 1, at_once: 20 } };

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&len[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    /// How many of those frames pass before there are too many, read in pieces of that size; `None`: all of 1,000 do.
    fn passes(frame: &[u8], piece: usize) -> Option<(usize, Flood)> {
        let mut frames = Frames::new(LIMITS);
        frames.read(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        for passed in 0..1000 {
            for piece in frame.chunks(piece) {
                if let Err(flood) = frames.read(piece) {
                    return Some((passed, flood));
                }
            }
        }
        None
    }

    #[test]
    fn frames_that_only_make_work_are_counted_however_they_are_cut() {
        let counted = [
            (frame(RST_STREAM, 0, &8_u32.to_be_bytes()), Some((10, Flood::Resets))),
            (frame(6, 0, &[0; 8]), Some((20, Flood::Chatter))),
            (frame(4, 0, &[]), Some((20, Flood::Chatter))),
            (frame(2, 0, &[0; 5]), Some((20, Flood::Chatter))),
            (frame(9, 0, &[0; 100]), Some((20, Flood::Chatter))),
            (frame(0xbe, 0, &[0; 3]), Some((20, Flood::Chatter))),
            (frame(DATA, 0, &[]), Some((20, Flood::Chatter))),
            (frame(WINDOW_UPDATE, 0, &1_u32.to_be_bytes()), Some((20, Flood::Chatter))),
            (frame(WINDOW_UPDATE, 0, &65_535_u32.to_be_bytes()), None),
            (frame(DATA, END_STREAM, &[]), None),
            (frame(DATA, 0, &[6; 100]), None),
            (frame(HEADERS, 4, &[0x82]), None),
        ];
        for (octets, expected) in counted {
            for piece in [1, 4, 7, 10_000] {
                assert_eq!(passes(&octets, piece), expected, "kind {} in pieces of {piece}", octets[3]);
            }
        }
    }
}
