//! Standard output and error of guests: panics, tracebacks and debugging aids come out there, and only there.
//!
//! Place: given to WASI for every instance; whole lines go where those of `log` go, as `info` and `warn`. The last of a call are remembered:
//! where it traps, they say why.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::{
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamResult},
};

use crate::plugin::{bindings::flowgate::plugin::log::Level, guest::About};

/// Most octets kept while the end of the line is waited for.
const MAX_PARTIAL: usize = 4096;
/// Most octets a guest may write at once.
const MAX_WRITE: usize = 64 * 1024;
/// Lines remembered of a call: a Python traceback of two frames has that many, and one of Go's of four.
const LAST_LINES: usize = 8;
/// Octets of each of them.
const LAST_LINE: usize = 256;
/// What Rust says of how to learn more, which a guest's user cannot do, and Go of what is the same every time.
const SAYS_NOTHING: [&str; 2] = ["note: run with `RUST_BACKTRACE", "goroutine 1 [running]:"];
/// How the last of what a Go guest writes begins. The cause and the innermost function come first there; elsewhere they come last.
const CAUSE_FIRST: [&str; 2] = ["panic: ", "fatal error: "];

/// One of the two streams; handles to it share what is not yet a whole line.
#[derive(Clone)]
pub(in crate::plugin) struct Output(Arc<Shared>);

struct Shared {
    about: Arc<About>,
    level: Level,
    flow: Arc<AtomicU64>,
    partial: Mutex<Vec<u8>>,
    last: Arc<LastWords>,
}

/// The last lines of one call, on both streams.
#[derive(Default)]
pub(in crate::plugin) struct LastWords(Mutex<Words>);

#[derive(Default)]
struct Words {
    lines: VecDeque<String>,
    /// The first of them is the cause, and those after it are less and less to the point.
    cause_is_first: bool,
}

impl LastWords {
    /// Those of a call that has ended; none are left.
    pub(in crate::plugin) fn take(&self) -> Option<String> {
        let Words { lines, .. } = std::mem::take(&mut *self.words());
        (!lines.is_empty()).then(|| Vec::from(lines).join(" | "))
    }

    /// Another call begins.
    pub(in crate::plugin) fn forget(&self) {
        *self.words() = Words::default();
    }

    fn remember(&self, line: &str) {
        let line = line.trim();
        let begins_with_one_of = |beginnings: &[&str]| beginnings.iter().any(|beginning| line.starts_with(beginning));
        if line.is_empty() || begins_with_one_of(&SAYS_NOTHING) {
            return;
        }
        let mut words = self.words();
        if !words.cause_is_first && begins_with_one_of(&CAUSE_FIRST) {
            *words = Words { lines: VecDeque::new(), cause_is_first: true };
        }
        if words.lines.len() == LAST_LINES {
            if words.cause_is_first {
                return;
            }
            words.lines.pop_front();
        }
        words.lines.push_back(line[..line.floor_char_boundary(LAST_LINE)].to_owned());
    }

    fn words(&self) -> MutexGuard<'_, Words> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Output {
    /// `flow`: the one the instance is about at the time, 0 for none. `last`: where lines are remembered.
    pub(in crate::plugin) fn new(about: Arc<About>, level: Level, flow: Arc<AtomicU64>, last: Arc<LastWords>) -> Self {
        Self(Arc::new(Shared { about, level, flow, partial: Mutex::default(), last }))
    }

    /// What is there counts as a line.
    pub(in crate::plugin) fn end_line(&self) {
        let mut partial = self.0.partial.lock().unwrap_or_else(PoisonError::into_inner);
        if !partial.is_empty() {
            self.0.say(&partial);
            partial.clear();
        }
    }

    fn take(&self, mut octets: &[u8]) {
        let mut partial = self.0.partial.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(end) = octets.iter().position(|octet| *octet == b'\n') {
            partial.extend_from_slice(&octets[..end]);
            self.0.say(&partial);
            partial.clear();
            octets = &octets[end + 1..];
        }
        partial.extend_from_slice(octets);
        if partial.len() > MAX_PARTIAL {
            self.0.say(&partial);
            partial.clear();
        }
    }
}

impl Shared {
    fn say(&self, line: &[u8]) {
        if !line.is_empty() {
            let line = String::from_utf8_lossy(line);
            self.last.remember(&line);
            self.about.say(self.level, self.flow.load(Ordering::Relaxed), &line);
        }
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_WRITE)
    }
}

impl Pollable for Output {
    // Always ready. Spelled out as the trait's macro would have it.
    fn ready<'a, 'b>(&'a mut self) -> Pin<Box<dyn Future<Output = ()> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async {})
    }
}

impl AsyncWrite for Output {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        self.take(octets);
        Poll::Ready(Ok(octets.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_are_bounded() {
        let last = LastWords::default();
        (0..100).for_each(|line| last.remember(&format!("{line} {}", "ü".repeat(10_000))));
        last.remember("note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace");

        let words = last.take().expect("some");
        assert!(words.starts_with("92 ü") && words.len() < LAST_LINES * (LAST_LINE + 3), "{} octets", words.len());
        assert_eq!(last.take(), None);
    }

    /// As Go 1.27 writes it.
    #[test]
    fn of_a_go_guest_the_cause_and_the_innermost_functions_are_kept() {
        let last = LastWords::default();
        last.remember("about to look");
        last.remember("panic: runtime error: index out of range [10] with length 0");
        last.remember("");
        last.remember("goroutine 1 [running]:");
        for function in
            ["rule.Settings.Refused(0xa)", "hooks.OnRequest(0x1)", "gen.on_request(0x4)", "request-filter#on-request()", "main()"]
        {
            last.remember(function);
            last.remember("\t/src/rule.go:28 +0xf");
        }

        let words = last.take().expect("some");
        assert!(words.starts_with("panic: runtime error: index out of range [10] with length 0 | rule.Settings.Refused(0xa) | /src/rule"));
        assert!(words.ends_with("gen.on_request(0x4) | /src/rule.go:28 +0xf | request-filter#on-request()"), "{words}");

        last.remember("another call");
        assert_eq!(last.take().as_deref(), Some("another call"));
    }
}
