//! `cargo xtask bench`: what interception costs, and how soon things pass.
//!
//! Proxies run on CPU 0, the rest on CPU 1. All run the whole time (an idle one takes no CPU) and take turns, in another order each round;
//! ratios and differences are taken within a round, between neighbours in time, so that what else the machine does falls on both sides.
//! Where that is much, `chrt -r 10 cargo xtask bench …` puts all of this in front of it.
//! `keep-alive`: CPU time of the proxy per request, which is what Copilot sends: 548 octets in, 367 octets of events out, on 16 connections
//! kept alive; origin and load are processes of their own. The other modes: see the module of each.

mod bulk;
mod cancel;
mod clock;
mod events;
mod latency;
mod load;
mod origin;
pub(crate) mod process;
mod report;
mod shape;
mod site;
pub(crate) mod soak;
mod stand;
mod tunnel;
mod visitor;
mod wire;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use self::{
    process::{Helper, Proxy},
    report::{Report, Sample},
};
use crate::workspace;

/// Where the measured run.
const PROXY_CPU: usize = 0;
/// Where the rest runs.
const OTHER_CPU: usize = 1;

/// What is measured.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    /// CPU time per request, on connections kept alive
    KeepAlive,
    /// Time of server-sent events from origin to client, in every coding
    Events,
    /// Time until the origin sees that a client has left
    Cancel,
    /// CPU time per megabyte and memory, down and up
    Bulk,
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
    /// Connections kept alive
    #[arg(long, default_value_t = 16)]
    connections: usize,
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

/// One proxy and the load in front of it.
struct Contender {
    name: &'static str,
    proxy: Proxy,
    load: Helper,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    ensure!(options.rounds > 0 && options.seconds > 0.0 && options.connections > 0, "nothing to measure");
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    ensure!(cpus > OTHER_CPU, "the benchmark needs two CPUs, one for the proxy and one for the rest: there is one");
    let programs = Programs::built(options)?;
    let folder = tempfile::tempdir().context("making a folder for the benchmark")?;
    let measured = match options.mode {
        Mode::KeepAlive => keep_alive(options, &programs, folder.path()),
        Mode::Events => events::run(options, &programs, folder.path()),
        Mode::Cancel => cancel::run(options, &programs, folder.path()),
        Mode::Bulk => bulk::run(options, &programs, folder.path()),
    };
    let mode = options.mode.to_possible_value().context("every mode has a name")?;
    let text = serde_json::to_string_pretty(&json!({ "mode": mode.get_name(), "rounds": options.rounds, "measured": measured? }))?;
    let file = options.json.clone().unwrap_or_else(|| format!("target/bench/{}.json", mode.get_name()).into());
    let file = workspace().join(file);
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    fs::write(&file, text + "\n").with_context(|| format!("writing {}", file.display()))
}

fn keep_alive(options: &Options, programs: &Programs, folder: &Path) -> anyhow::Result<Value> {
    let authority = shape::Certificates::make(folder)?;
    let origin = programs.helper("bench-origin", &[path(&authority.chain)?, path(&authority.key)?], OTHER_CPU)?;
    let address: SocketAddr = origin.line()?.parse().context("reading the origin's address")?;

    let (tunnel, at) = programs.tunnel(None)?;
    let mut contenders = vec![Contender { name: "tunnel", proxy: tunnel, load: programs.load(at, &authority.root, address, options)? }];
    for (name, settings, own) in
        [("flowgate, no plugin", "[plugins.logger]\nenabled = false\n", "plain"), ("flowgate, logger", "", "logger")]
    {
        let (proxy, at, root) = programs.flowgate(settings, &folder.join(own), &authority)?;
        contenders.push(Contender { name, proxy, load: programs.load(at, &root, address, options)? });
    }

    let mut report = Report::new(contenders.iter().map(|contender| contender.name), options.connections);
    in_turns(options.rounds, contenders.len(), |contender| {
        report.add(contender, contenders[contender].turn(options.seconds)?);
        Ok(())
    })?;
    println!("{report}");
    Ok(report.json())
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

impl Contender {
    /// Load for so many seconds; CPU time of the proxy until it rests again, what it does after the answers included.
    fn turn(&mut self, seconds: f64) -> anyhow::Result<Sample> {
        let before = clock::at_rest(self.proxy.id())?;
        self.load.say(&format!("{seconds}"))?;
        let done: load::Done = serde_json::from_str(&self.load.line()?).context("reading what the load did")?;
        let after = clock::at_rest(self.proxy.id())?;
        ensure!(done.requests > 0, "{}: not one request was answered", self.name);
        Ok(Sample::new((after - before).as_secs_f64() * 1e6 / done.requests as f64, &done))
    }
}

/// What is measured, and this very program for the helpers; both optimised, so that the lower bound is not slowed down by a debug build,
/// unless nothing is to be built.
struct Programs {
    flowgate: PathBuf,
    xtask: PathBuf,
}

impl Programs {
    fn built(options: &Options) -> anyhow::Result<Self> {
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from);
        let release = |package: &str| -> anyhow::Result<PathBuf> {
            if !options.no_build {
                build(package)?;
            }
            let program = target.join("release").join(package);
            ensure!(program.is_file(), "there is no {}: run without --no-build", program.display());
            Ok(program)
        };
        let flowgate = options.binary.clone().map_or_else(|| release("flowgate"), Ok)?;
        let xtask = match options.no_build {
            true => std::env::current_exe().context("finding this program")?,
            false => release("xtask")?,
        };
        Ok(Self { flowgate, xtask })
    }

    fn helper(&self, chore: &'static str, arguments: &[&str], cpu: usize) -> anyhow::Result<Helper> {
        Helper::start(&self.xtask, chore, arguments, cpu)
    }

    /// The lower bound, and where it listens. `ends`: that of whoever ends TLS.
    fn tunnel(&self, ends: Option<&shape::Certificates>) -> anyhow::Result<(Proxy, SocketAddr)> {
        let files = ends.map(|ends| [&ends.chain, &ends.key, &ends.root]);
        let files = files.into_iter().flatten().map(|file| path(file)).collect::<anyhow::Result<Vec<_>>>()?;
        let helper = self.helper("bench-tunnel", &files, PROXY_CPU)?;
        let address = helper.line()?.parse().context("reading the tunnel's address")?;
        Ok((Proxy::Helper(helper), address))
    }

    /// The product with these settings, everything it has in that folder; where it listens, and its root certificate.
    fn flowgate(&self, settings: &str, own: &Path, certificates: &shape::Certificates) -> anyhow::Result<(Proxy, SocketAddr, PathBuf)> {
        let (state, logs, plugins) = (own.join("state"), own.join("logs"), own.join("plugins"));
        for made in [&state, &logs, &plugins] {
            fs::create_dir_all(made).with_context(|| format!("making {}", made.display()))?;
        }
        let config = own.join("flowgate.toml");
        fs::write(&config, settings).with_context(|| format!("writing {}", config.display()))?;

        let mut command = Command::new(&self.flowgate);
        command.current_dir(own).env("RUST_LOG", "warn").args(["run", "--intercept", "*", "--listen", "127.0.0.1:0"]);
        command.arg("--config").arg(&config).arg("--state").arg(&state).arg("--logs").arg(&logs);
        command.arg("--plugins").arg(&plugins).arg("--upstream-ca").arg(&certificates.root);
        let (proxy, address) = Proxy::start(command, PROXY_CPU)?;
        Ok((proxy, address, root_of(&state)?))
    }

    /// Load that is connected and warm.
    fn load(&self, proxy: SocketAddr, root: &Path, origin: SocketAddr, options: &Options) -> anyhow::Result<Helper> {
        let origin = format!("localhost:{}", origin.port());
        let arguments = [&proxy.to_string(), path(root)?, &origin, &options.connections.to_string()];
        let load = self.helper("bench-load", &arguments, OTHER_CPU)?;
        ensure!(load.line()? == load::READY, "the load did not come up");
        Ok(load)
    }
}

fn build(package: &str) -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo).args(["build", "--release", "--package", package]).current_dir(workspace()).status();
    ensure!(status.context("running cargo")?.success(), "{package} does not build");
    Ok(())
}

/// The root certificate in a state folder: the PEM file with a certificate and without a key.
fn root_of(state: &Path) -> anyhow::Result<PathBuf> {
    let mut folders = vec![state.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap_or_default();
            if text.contains("BEGIN CERTIFICATE") && !text.contains("PRIVATE KEY") {
                return Ok(path);
            }
        }
    }
    anyhow::bail!("no root certificate in {}", state.display())
}

fn path(path: &Path) -> anyhow::Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}
