//! `cargo xtask bench`: what interception costs, as CPU time of the proxy per request.
//!
//! Proxies run on CPU 0, origin and load on CPU 1, each a process of its own. All run the whole time (an idle one takes no CPU) and take
//! turns, in another order each round; ratios are taken within a round, between neighbours in time, so that what else the machine does
//! falls on both sides. A request is what Copilot sends: 548 octets in, 367 octets of events out, on 16 connections kept alive.

mod clock;
mod load;
mod origin;
mod process;
mod report;
mod shape;
pub(crate) mod soak;
mod tunnel;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};
use clap::{Args, Subcommand};

use self::{
    process::{Helper, Proxy},
    report::{Report, Sample},
};
use crate::workspace;

/// Where the measured run.
const PROXY_CPU: usize = 0;
/// Where the rest runs.
const OTHER_CPU: usize = 1;

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Times that every proxy gets its turn
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Length of one turn
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Connections kept alive
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Take the release builds of flowgate and of this program as they are
    #[arg(long)]
    no_build: bool,
    /// Measure that binary
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Write samples and medians there
    #[arg(long, value_name = "FILE", default_value = "target/bench/keep-alive.json")]
    json: PathBuf,
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
    let authority = shape::Certificates::make(folder.path())?;
    let origin = programs.helper("bench-origin", &[path(&authority.chain)?, path(&authority.key)?], OTHER_CPU)?;
    let address: SocketAddr = origin.line()?.parse().context("reading the origin's address")?;

    let mut contenders = vec![programs.tunnel(&authority, address, options)?];
    for (name, logger) in [("flowgate, no plugin", false), ("flowgate, logger", true)] {
        contenders.push(programs.intercepting(name, logger, folder.path(), &authority, address, options)?);
    }

    let mut report = Report::new(contenders.iter().map(|contender| contender.name), options.connections);
    for round in 0..options.rounds {
        for turn in 0..contenders.len() {
            let contender = (round + turn) % contenders.len();
            report.add(contender, contenders[contender].turn(options.seconds)?);
        }
        eprintln!("round {} of {}", round + 1, options.rounds);
    }
    println!("{report}");
    report.write(&workspace().join(&options.json))
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

/// Optimised builds: what is measured, and this very program for the helpers, so that the lower bound is not slowed down by a debug build.
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
        Ok(Self { flowgate, xtask: release("xtask")? })
    }

    fn helper(&self, chore: &'static str, arguments: &[&str], cpu: usize) -> anyhow::Result<Helper> {
        Helper::start(&self.xtask, chore, arguments, cpu)
    }

    fn tunnel(&self, certificates: &shape::Certificates, origin: SocketAddr, options: &Options) -> anyhow::Result<Contender> {
        let helper = self.helper("bench-tunnel", &[], PROXY_CPU)?;
        let address: SocketAddr = helper.line()?.parse().context("reading the tunnel's address")?;
        let load = self.load(address, &certificates.root, origin, options)?;
        Ok(Contender { name: "tunnel", proxy: Proxy::Helper(helper), load })
    }

    fn intercepting(
        &self,
        name: &'static str,
        logger: bool,
        folder: &Path,
        certificates: &shape::Certificates,
        origin: SocketAddr,
        options: &Options,
    ) -> anyhow::Result<Contender> {
        let own = folder.join(if logger { "logger" } else { "plain" });
        let (state, logs, plugins) = (own.join("state"), own.join("logs"), own.join("plugins"));
        for made in [&state, &logs, &plugins] {
            fs::create_dir_all(made).with_context(|| format!("making {}", made.display()))?;
        }
        let config = own.join("flowgate.toml");
        fs::write(&config, format!("[plugins.logger]\nenabled = {logger}\n")).with_context(|| format!("writing {}", config.display()))?;

        let mut command = Command::new(&self.flowgate);
        command.current_dir(&own).env("RUST_LOG", "warn").args(["run", "--intercept", "*", "--listen", "127.0.0.1:0"]);
        command.arg("--config").arg(&config).arg("--state").arg(&state).arg("--logs").arg(&logs);
        command.arg("--plugins").arg(&plugins).arg("--upstream-ca").arg(&certificates.root);
        let (proxy, address) = Proxy::start(command, PROXY_CPU)?;
        let load = self.load(address, &root_of(&state)?, origin, options)?;
        Ok(Contender { name, proxy, load })
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
