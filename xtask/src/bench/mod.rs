//! `cargo xtask bench`: what interception costs, and how soon things pass.
//!
//! Proxies run on CPU 0, the rest on CPU 1. All run the whole time (an idle one takes no CPU) and take turns, in another order each round;
//! ratios and differences are taken within a round, between neighbours in time, so that what else the machine does falls on both sides.
//! Where that is much, `chrt -r 10 cargo xtask bench …` puts all of this in front of it.
//! What each mode does: see its module.

mod bulk;
mod cancel;
mod clock;
mod events;
mod idle;
mod latency;
mod load;
mod origin;
mod page;
mod peers;
pub(crate) mod process;
mod programs;
mod report;
mod requests;
mod scale;
mod shape;
mod site;
pub(crate) mod soak;
mod stand;
mod stats;
mod tunnel;
mod visitor;
mod wire;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use self::programs::Programs;
use crate::workspace;

/// Where the measured run.
const PROXY_CPU: usize = 0;
/// Where the rest runs.
const OTHER_CPU: usize = 1;

/// What is measured.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    /// CPU time per completion, on connections kept alive
    KeepAlive,
    /// The same of 9.7 KB of telemetry
    Telemetry,
    /// The same of a connection and a completion on it, to a host that is known
    New,
    /// The same, the client's TLS session resumed
    Resumed,
    /// The same, to a host that nobody has visited before
    FirstVisit,
    /// Time to each answer, one request at a time
    Latency,
    /// Memory of connections on which nothing happens, and of the process
    Idle,
    /// CPU time per completion with more connections, plugins and hosts
    Scale,
    /// Time of server-sent events from origin to client, in every coding
    Events,
    /// Time until the origin sees that a client has left
    Cancel,
    /// CPU time per megabyte and memory, down and up
    Bulk,
    /// CPU time of the status page, with and without somebody who watches
    Page,
}

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// What to measure
    #[arg(value_enum, default_value = "keep-alive")]
    mode: Mode,
    /// Times that every proxy gets its turn
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Length of one turn
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Clients at a time [default: 16 that keep their connections, 4 that connect each time, 1 for its latency]
    #[arg(long)]
    clients: Option<usize>,
    /// With `scale`: what there is more of [default: one after the other]
    #[arg(long, value_enum)]
    of: Option<scale::Dimension>,
    /// Other proxies to measure beside, got from their package registries
    #[arg(long, value_enum, value_delimiter = ',')]
    peers: Vec<peers::Peer>,
    /// Take the release build of flowgate as it is, and this very program for the rest
    #[arg(long)]
    no_build: bool,
    /// Measure that binary
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Write samples and medians there [default: target/bench/MODE.json]
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// The helper processes of a benchmark, started by it.
#[derive(Debug, Subcommand)]
pub(crate) enum Part {
    /// Answers as Copilot does
    #[command(name = "bench-origin", hide = true)]
    Origin(origin::Options),
    /// Asks as an editor does
    #[command(name = "bench-load", hide = true)]
    Load(load::Options),
    /// CONNECT and nothing else: the lower bound
    #[command(name = "bench-tunnel", hide = true)]
    Tunnel(tunnel::Options),
}

impl Part {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Origin(options) => origin::run(&options),
            Self::Load(options) => load::run(&options),
            Self::Tunnel(options) => tunnel::run(&options),
        }
    }
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    ensure!(options.rounds > 0 && options.seconds > 0.0 && options.clients != Some(0), "nothing to measure");
    enough_cpus()?;
    let measured = measure(options, &Programs::built(options)?)?;
    let mode = options.mode.to_possible_value().context("every mode has a name")?;
    let text = serde_json::to_string_pretty(&json!({ "mode": mode.get_name(), "rounds": options.rounds, "measured": measured }))?;
    let file = options.json.clone().unwrap_or_else(|| format!("target/bench/{}.json", mode.get_name()).into());
    let file = workspace().join(file);
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    fs::write(&file, text + "\n").with_context(|| format!("writing {}", file.display()))
}

/// One for the proxy and one for the rest.
///
/// # Errors
/// There is one.
pub(crate) fn enough_cpus() -> anyhow::Result<()> {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    ensure!(cpus > OTHER_CPU, "the benchmark needs two CPUs, one for the proxy and one for the rest: there is one");
    Ok(())
}

/// Lets that binary do for a while each thing that costs CPU time.
pub(crate) fn exercise(flowgate: &Path) -> anyhow::Result<()> {
    const MODES: [Mode; 7] = [Mode::KeepAlive, Mode::Telemetry, Mode::New, Mode::Resumed, Mode::FirstVisit, Mode::Events, Mode::Bulk];
    let programs = Programs::of(flowgate)?;
    for mode in MODES {
        let options = Options {
            mode,
            rounds: 1,
            seconds: 2.0,
            clients: None,
            of: None,
            peers: Vec::new(),
            no_build: false,
            binary: None,
            json: None,
        };
        measure(&options, &programs)?;
    }
    Ok(())
}

fn measure(options: &Options, programs: &Programs) -> anyhow::Result<Value> {
    let folder = tempfile::tempdir().context("making a folder for the benchmark")?;
    match options.mode {
        Mode::KeepAlive | Mode::Telemetry | Mode::New | Mode::Resumed | Mode::FirstVisit | Mode::Latency => {
            requests::run(options, programs, folder.path())
        }
        Mode::Scale => scale::run(options, programs, folder.path()),
        Mode::Idle => idle::run(options, programs, folder.path()),
        Mode::Events => events::run(options, programs, folder.path()),
        Mode::Cancel => cancel::run(options, programs, folder.path()),
        Mode::Bulk => bulk::run(options, programs, folder.path()),
        Mode::Page => page::run(options, programs, folder.path()),
    }
}

/// Every contender once in each round, beginning with another one.
fn in_turns(rounds: usize, contenders: usize, mut turn: impl FnMut(usize) -> anyhow::Result<()>) -> anyhow::Result<()> {
    for round in 0..rounds {
        for at in 0..contenders {
            turn((round + at) % contenders)?;
        }
        eprintln!("round {} of {rounds}", round + 1);
    }
    Ok(())
}
