//! The processes of a benchmark; killed when dropped.

use std::{
    cell::RefCell,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

use super::clock::on_cpu;

/// How long a proxy may take to accept: a first start compiles the logger on a CPU it shares.
const START: Duration = Duration::from_secs(120);

/// A hidden chore of this program that talks over standard input and output, one line at a time.
pub(crate) struct Helper {
    child: Child,
    name: &'static str,
    to: ChildStdin,
    from: RefCell<BufReader<ChildStdout>>,
}

impl Helper {
    pub(crate) fn start(program: &Path, chore: &'static str, arguments: &[&str], cpu: usize) -> anyhow::Result<Self> {
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
    Program(Child),
}

impl Proxy {
    /// Starts a program and waits until it accepts.
    pub(crate) fn start(mut command: Command, address: SocketAddr, cpu: usize) -> anyhow::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = on_cpu(cpu, || command.spawn()).with_context(|| format!("starting {command:?}"))?;
        let begin = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = child.try_wait().context("waiting for the proxy")? {
                bail!("{command:?} ended with {status}");
            }
            if begin.elapsed() > START {
                end(&mut child);
                bail!("{command:?} does not accept on {address}");
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(Self::Program(child))
    }

    pub(crate) fn id(&self) -> u32 {
        match self {
            Self::Helper(helper) => helper.child.id(),
            Self::Program(child) => child.id(),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Self::Program(child) = self {
            end(child);
        }
    }
}

fn end(child: &mut Child) {
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}
