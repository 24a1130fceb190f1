//! Diagnostics: what operators read, on standard error.
//!
//! Place: started by `main`. Lines are handed to a thread of their own over a bounded queue: a terminal that was closed, or a pipe that
//! nobody empties, costs lines and never traffic. How many it cost is said when it takes lines again.

mod restraint;

use std::{
    io::{self, IsTerminal, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use self::restraint::Restraint;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter, layer::SubscriberExt, util::SubscriberInitExt};

/// What is shown where `RUST_LOG` says nothing: the compilers have much to tell.
const DEFAULT_FILTER: &str = "info,wasmtime=warn,cranelift=warn,wasmtime_cranelift=warn,notify=warn";
/// Lines that wait, a few hundred octets each. Full: the line is lost and counted.
const QUEUE: usize = 4096;
/// How long the end of the process waits for lines to be written.
const PATIENCE: Duration = Duration::from_secs(1);

/// Starts diagnostics for the process. Keep what is returned to the end: dropping it writes what still waits.
pub fn start() -> Diagnostics {
    let (lines, diagnostics) = queue(io::stderr());
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let restraint = Restraint::new(lines.clone());
    let layer = tracing_subscriber::fmt::layer().compact().with_ansi(is_colourful()).with_writer(lines);
    // Already started by whoever embeds this: theirs goes on.
    let _ = tracing_subscriber::registry().with(filter).with(restraint).with(layer).try_init();
    diagnostics
}

/// Colours are for people at a terminal who have not said that they want none (<https://no-color.org>).
fn is_colourful() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Writes lines until it is dropped, and a second longer.
#[derive(Debug)]
pub struct Diagnostics {
    lines: SyncSender<Option<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Diagnostics {
    fn drop(&mut self) {
        let until = Instant::now() + PATIENCE;
        let Some(thread) = self.thread.take() else { return };
        // Looked at again and again: neither a queue that stays full nor a write that hangs may keep the process.
        let mut told = false;
        while Instant::now() < until && !thread.is_finished() {
            told = told || self.lines.try_send(None).is_ok();
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn queue(out: impl Write + Send + 'static) -> (Lines, Diagnostics) {
    let (sender, receiver) = sync_channel(QUEUE);
    let lost = Arc::new(AtomicU64::new(0));
    let lines = Lines { sender: sender.clone(), lost: lost.clone() };
    let thread = std::thread::Builder::new().name("diagnostics".to_owned()).spawn(move || write(out, &receiver, &lost));
    // Without a thread there are no diagnostics; the proxy does not need them.
    (lines, Diagnostics { lines: sender, thread: thread.ok() })
}

fn write(mut out: impl Write, lines: &Receiver<Option<Vec<u8>>>, lost: &AtomicU64) {
    while let Ok(Some(line)) = lines.recv() {
        // Nobody reads: there is no one to tell either.
        let _ = out.write_all(&line);
        match lost.swap(0, Ordering::Relaxed) {
            0 => {}
            count => {
                let _ = writeln!(out, "{count} lines of diagnostics were lost: they came faster than they could be written");
            }
        }
    }
    let _ = out.flush();
}

/// Takes lines for the thread. One write of the subscriber is one line.
#[derive(Clone, Debug)]
struct Lines {
    sender: SyncSender<Option<Vec<u8>>>,
    lost: Arc<AtomicU64>,
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.sender.try_send(Some(line.to_vec())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};

    use super::*;

    /// Waits for leave before each write, and keeps what was written.
    struct Gated {
        leave: mpsc::Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Gated {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.leave.recv().map_err(io::Error::other)?;
            self.written.lock().unwrap().extend_from_slice(octets);
            Ok(octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_stands_still_costs_lines_and_no_waiting() {
        let (leave, gate) = sync_channel(QUEUE * 2);
        let written = Arc::new(Mutex::default());
        let (mut lines, diagnostics) = queue(Gated { leave: gate, written: written.clone() });

        // Far more than the queue holds; with a writer that waits this would never end.
        for number in 0..QUEUE + 100 {
            lines.write_all(format!("line {number}\n").as_bytes()).unwrap();
        }
        for _ in 0..QUEUE * 2 {
            leave.send(()).unwrap();
        }
        drop(diagnostics);

        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert!(text.starts_with("line 0\n") && text.contains("lines of diagnostics were lost"), "{}", text.len());
    }

    #[test]
    fn a_closed_reader_is_no_trouble() {
        let (leave, gate) = sync_channel(1);
        drop(leave);
        let (mut lines, diagnostics) = queue(Gated { leave: gate, written: Arc::default() });

        for _ in 0..10 {
            assert!(lines.write_all(b"line\n").is_ok());
        }
        drop(diagnostics);
    }
}
