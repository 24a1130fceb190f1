//! The processes of a benchmark; killed when dropped.

use std::{
    cell::RefCell,
    ffi::OsStr,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

use super::clock::on_cpu;

/// How long a proxy may take until it listens.
const START: Duration = Duration::from_secs(30);
/// How long it may take to end.
const STOP: Duration = Duration::from_secs(5);
/// How long until that is looked for again.
const AGAIN: Duration = Duration::from_millis(20);

/// A hidden chore of this program that talks over standard input and output, one line at a time.
pub(crate) struct Helper {
    child: Child,
    name: &'static str,
    to: ChildStdin,
    from: RefCell<BufReader<ChildStdout>>,
}

impl Helper {
    pub(crate) fn start(program: &Path, chore: &'static str, arguments: &[impl AsRef<OsStr>], cpu: usize) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        command.arg(chore).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = on_cpu(cpu, || command.spawn()).with_context(|| format!("starting {chore}"))?;
        let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else { bail!("{chore} has no pipes") };
        Ok(Self { child, name: chore, to, from: RefCell::new(BufReader::new(from)) })
    }

    /// Writes one line.
    pub(crate) fn say(&mut self, line: &str) -> anyhow::Result<()> {
        writeln!(self.to, "{line}").with_context(|| format!("talking to {}", self.name))
    }

    /// Reads one line.
    pub(crate) fn line(&self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.from.borrow_mut().read_line(&mut line).with_context(|| format!("listening to {}", self.name))?;
        ensure!(!line.is_empty(), "{} ended early", self.name);
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// What is measured.
pub(crate) enum Proxy {
    Helper(Helper),
    /// With its standard output, which must not be closed under it.
    Program {
        child: Child,
        output: BufReader<ChildStdout>,
    },
}

impl Proxy {
    /// Starts what says, like `flowgate run`, where it listens once clients can connect, on that CPU; and where that is.
    pub(crate) fn start(command: Command, cpu: usize) -> anyhow::Result<(Self, SocketAddr)> {
        Self::listening(command, |command| on_cpu(cpu, || command.spawn()))
    }

    /// The same on any CPU.
    pub(crate) fn start_anywhere(command: Command) -> anyhow::Result<(Self, SocketAddr)> {
        Self::listening(command, |command| Ok(command.spawn()?))
    }

    /// The same of one that does not say where it listens.
    pub(crate) fn start_at(mut command: Command, cpu: usize, address: SocketAddr) -> anyhow::Result<Self> {
        let (mut child, output) = spawned(&mut command, |command| on_cpu(cpu, || command.spawn()))?;
        let until = Instant::now() + START;
        while TcpStream::connect(address).is_err() {
            let is_gone = child.try_wait()?.is_some();
            if is_gone || Instant::now() > until {
                end(&mut child);
                bail!("{command:?} {} {address}", if is_gone { "ended before it listened at" } else { "does not listen at" });
            }
            thread::sleep(AGAIN);
        }
        Ok(Self::Program { child, output })
    }

    fn listening(mut command: Command, spawn: impl FnOnce(&mut Command) -> anyhow::Result<Child>) -> anyhow::Result<(Self, SocketAddr)> {
        let (child, mut output) = spawned(&mut command, spawn)?;
        let address = address_in(&mut output);
        let proxy = Self::Program { child, output };
        Ok((proxy, address.with_context(|| format!("listening to {command:?}"))?))
    }

    /// The address that stands behind those words in one of the next lines that it prints.
    pub(crate) fn address_behind(&mut self, words: &str) -> anyhow::Result<SocketAddr> {
        let Self::Program { output, .. } = self else { bail!("a helper says nothing of the kind") };
        let mut line = String::new();
        while !line.starts_with(words) {
            line.clear();
            ensure!(output.read_line(&mut line)? > 0, "the proxy does not say {words}");
        }
        let address = line.trim_start_matches(words).trim_end().trim_end_matches('/');
        address.parse().with_context(|| format!("reading {line:?}"))
    }

    pub(crate) fn id(&self) -> u32 {
        match self {
            Self::Helper(helper) => helper.child.id(),
            Self::Program { child, .. } => child.id(),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Self::Program { child, .. } = self {
            stop(child);
        }
    }
}

/// A program, and what it prints.
fn spawned(
    command: &mut Command,
    spawn: impl FnOnce(&mut Command) -> anyhow::Result<Child>,
) -> anyhow::Result<(Child, BufReader<ChildStdout>)> {
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = spawn(command).with_context(|| format!("starting {command:?}"))?;
    let Some(output) = child.stdout.take() else { bail!("{command:?} has no pipe") };
    Ok((child, BufReader::new(output)))
}

/// The address that the first line to end with one ends with.
fn address_in(output: &mut impl BufRead) -> anyhow::Result<SocketAddr> {
    let mut printed = String::new();
    loop {
        let before = printed.len();
        ensure!(output.read_line(&mut printed)? > 0, "it ended without saying where it listens: {printed:?}");
        let last = printed[before..].trim_end().rsplit(' ').next();
        if let Some(address) = last.and_then(|word| word.parse().ok()) {
            return Ok(address);
        }
    }
}

/// Asks it to end, and ends it where it does not.
fn stop(child: &mut Child) {
    let until = Instant::now() + STOP;
    let asked = rustix::process::kill_process(rustix::process::Pid::from_child(child), rustix::process::Signal::TERM);
    while asked.is_ok() && matches!(child.try_wait(), Ok(None)) && Instant::now() < until {
        thread::sleep(AGAIN);
    }
    end(child);
}

fn end(child: &mut Child) {
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}
