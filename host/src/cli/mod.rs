//! The command line: one file per subcommand.
//!
//! Place: called by `main`; makes a `Config` and hands it to `app`. Prints for people on standard output; diagnostics are `trace`'s.

mod answers;
mod authoring;
mod bench;
mod ca;
mod check;
mod compile;
mod difference;
mod doctor;
mod examine;
mod flows;
mod plugin;
mod records;
mod rehearse;
mod reload;
mod report;
mod run;
mod running;
mod service;
mod shells;
mod usage;
mod user;
mod why;

use std::{
    ffi::OsString,
    fmt,
    io::{self, Write},
    num::NonZero,
    path::PathBuf,
    sync::OnceLock,
};

use clap::{Parser, Subcommand};

use crate::{
    config::{Config, Flags},
    plugin::PluginInfo,
};

const AFTER_HELP: &str = "\
Every flag of run is also an environment variable (FLOWGATE_ and its name) and a key of flowgate.toml; a flag goes before the variable, and \
that before the file. RUST_LOG sets how much is said on standard error (info by default).

Exit codes: 0: all went well; 1: it failed while starting or running; 2: what was asked for cannot be done as written.";

/// A forward HTTP proxy that looks into TLS and hands what it sees to WebAssembly plugins
#[derive(Debug, Parser)]
#[command(name = "flowgate", version, after_help = AFTER_HELP, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Flags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy until it is told to stop (the default)
    ///
    /// Prints four lines once clients can connect. SIGINT or SIGTERM stops it in good order; a second one at once.
    Run(Flags),
    /// Say what the configuration comes to and whether the proxy could start with it
    ///
    /// Reads all files and loads all plugins, but listens nowhere. Makes a root certificate if there is none yet.
    Check(Flags),
    /// Say what keeps a client, or this proxy, from working, and how to mend it
    ///
    /// Looks at the listener, the root in the stores of the system, of NSS and of programs, the environment, settings of editors, and sends a
    /// request through the proxy to its own name; without --through also at the proxy's own files, with the flags of run. Changes nothing,
    /// prints no password, and ends with 1 if there is a fault.
    Doctor(Box<doctor::Doctor>),
    /// The root certificate that clients must trust
    #[command(subcommand)]
    Ca(ca::Ca),
    /// The plugins of a running proxy, and making new ones
    #[command(subcommand)]
    Plugin(plugin::Plugin),
    /// Let a running proxy read its configuration again
    ///
    /// All that has changed is taken over at once, or nothing if anything is wrong with it. SIGHUP does the same, and so does changing the
    /// file.
    Reload(running::Running),
    /// Recorded flows: what `run --record` wrote, HAR files, and records of the logger
    #[command(subcommand)]
    Flows(flows::Flows),
    /// The folder of records
    #[command(subcommand)]
    Records(records::Records),
    /// Count who used what, from the records of the logger
    Usage(usage::Usage),
    /// Say what plugins did to a flow, and why
    Why(why::Why),
    /// Write a script that completes commands and flags in a shell to standard output
    Completions(shells::Completions),
    /// Write manual pages, one for each command
    Man(shells::Man),
    /// What the proxy runs to compile a component
    #[command(name = "__compile", hide = true)]
    Compile(compile::Compile),
    /// The users who may log in (see --auth require)
    #[command(subcommand)]
    User(user::User),
}

/// Why the command did not do what it should, and with which code it ends.
#[derive(Debug)]
pub enum Failure {
    /// The configuration or the arguments cannot be followed: 2, as for wrong flags.
    Usage(anyhow::Error),
    /// Anything else: 1.
    Run(anyhow::Error),
}

impl Failure {
    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Run(_) => 1,
        }
    }
}

/// The whole chain, from what was tried to why it failed.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(error) | Self::Run(error) => write!(f, "{error:#}"),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Run(error)
    }
}

/// Does what was asked for. For `run` that ends when the proxy is told to stop.
///
/// # Errors
/// Says what went wrong and how to mend it.
pub fn run(cli: Cli) -> Result<(), Failure> {
    let done = match cli.command.unwrap_or(Command::Run(cli.run)) {
        Command::Run(flags) => run::run(flags),
        Command::Check(flags) => check::run(&configured(flags)?),
        Command::Ca(command) => ca::run(command),
        Command::Compile(command) => compile::run(command),
        Command::Completions(command) => shells::completions(&command),
        Command::Man(command) => shells::man(&command),
        Command::Doctor(command) => doctor::run(*command),
        Command::Flows(command) => flows::run(command),
        Command::Plugin(command) => plugin::run(command),
        Command::Records(command) => records::run(command),
        Command::Reload(running) => reload::run(running),
        Command::Usage(command) => usage::run(command),
        Command::User(command) => user::run(command),
        Command::Why(why) => why::run(why),
    };
    match UNPRINTED.get() {
        // What was asked for has not arrived: somebody who has a file of it would think that it is whole.
        Some(error) if done.is_ok() => Err(Failure::Run(anyhow::anyhow!("writing to standard output: {error}"))),
        _ => done,
    }
}

/// Prints the reason on standard error, if that still takes it.
pub fn complain(failure: &Failure) {
    let _ = writeln!(io::stderr(), "flowgate: {failure}");
}

/// What variables say, and no flag does.
fn environment() -> Result<Flags, Failure> {
    #[derive(Parser)]
    struct Variables {
        #[command(flatten)]
        flags: Flags,
    }
    let read =
        Variables::try_parse_from(["flowgate"]).map_err(|error| Failure::Usage(anyhow::anyhow!("{}", error.to_string().trim_end())))?;
    Ok(read.flags)
}

/// The state folder of a proxy. Where one is named, no file is read: whatever else is wrong with it has nothing to do with that folder.
fn state_folder(state: Option<PathBuf>, config: Option<PathBuf>) -> Result<PathBuf, Failure> {
    match (state, config) {
        (Some(state), None) => std::path::absolute(&state)
            .map_err(|error| Failure::Usage(anyhow::Error::from(error).context(format!("finding {}", state.display())))),
        (state, config) => Ok(looked_up(Flags { state, config, ..environment()? })?.state_dir),
    }
}

/// What a proxy goes by.
fn configured(flags: Flags) -> Result<Config, Failure> {
    let config = Config::load(flags).map_err(Failure::Usage)?;
    Ok(Config { compiler: compile::program(), ..config })
}

/// The same for whoever looks for something in it.
fn looked_up(flags: Flags) -> Result<Config, Failure> {
    let config = Config::look_up(flags).map_err(Failure::Usage)?;
    Ok(Config { compiler: compile::program(), ..config })
}

/// What kept text from standard output, unless its reader had enough.
static UNPRINTED: OnceLock<io::Error> = OnceLock::new();

/// On standard output, which may be closed: the command has done its work all the same.
fn print(text: fmt::Arguments<'_>) {
    put(format!("{text}\n").as_bytes());
}

/// The same as it is.
fn put(octets: &[u8]) {
    let mut out = io::stdout().lock();
    if let Err(error) = out.write_all(octets).and_then(|()| out.flush())
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        UNPRINTED.set(error).ok();
    }
}

/// Without anything that a terminal would obey: clients and plugins say what stands in it.
fn harmless(text: &str) -> String {
    text.chars().map(|sign| if sign.is_control() && !matches!(sign, '\t' | '\n') { '\u{fffd}' } else { sign }).collect()
}

/// The same on one line.
fn harmless_line(text: &str) -> String {
    harmless(text).replace('\n', "\u{fffd}")
}

/// # Errors
/// Says what is expected.
fn flow_number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "a flow's number is expected, as in 17".to_owned())
}

/// `logger 0.1.0 (built in, 1f2e3d4c5b6a)`.
fn describe(plugin: &PluginInfo) -> String {
    let place = plugin.file.as_ref().map_or("built in".to_owned(), |file| file.display().to_string());
    let hash: String = plugin.hash.chars().take(12).collect();
    format!("{} {} ({place}, {hash})", plugin.name, plugin.version)
}

/// As many workers as there are processors for this process; [`WORKERS`] says otherwise.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    use anyhow::Context;
    let workers = workers(std::env::var_os(WORKERS))?;
    Ok(scheduler(workers).enable_all().build().context("starting the runtime")?)
}

/// Says how many threads there are for traffic.
const WORKERS: &str = "TOKIO_WORKER_THREADS";
/// More are a slip of the hand: no machine has so many processors.
const MOST_WORKERS: usize = 4096;

fn workers(said: Option<OsString>) -> Result<NonZero<usize>, Failure> {
    let Some(said) = said.filter(|said| !said.is_empty()) else {
        return Ok(std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN));
    };
    let number = said.to_str().and_then(|text| text.parse::<NonZero<usize>>().ok()).filter(|number| number.get() <= MOST_WORKERS);
    number.ok_or_else(|| {
        Failure::Usage(anyhow::anyhow!(
            "{WORKERS} is {said:?}, but must be a number of threads between 1 and {MOST_WORKERS}; without it there is one for each processor"
        ))
    })
}

/// A single worker has nobody to share tasks with. Without the queues that are made for sharing each request costs 6 % less, and of many
/// connections that are busy at once none waits longer than others: a shared queue has room for 256 tasks, and what is beyond comes last.
fn scheduler(workers: NonZero<usize>) -> tokio::runtime::Builder {
    if workers == NonZero::<usize>::MIN {
        return tokio::runtime::Builder::new_current_thread();
    }
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(workers.get());
    builder
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_parser_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn one_processor_has_no_scheduler_that_shares() {
        use tokio::runtime::{Handle, RuntimeFlavor};

        let flavor = |said: &str| {
            let runtime = scheduler(workers(Some(said.into())).expect("a number")).build().expect("threads can be started");
            runtime.block_on(async { (Handle::current().runtime_flavor(), Handle::current().metrics().num_workers()) })
        };

        assert_eq!([flavor("1"), flavor("3")], [(RuntimeFlavor::CurrentThread, 1), (RuntimeFlavor::MultiThread, 3)]);
    }

    #[test]
    fn a_number_of_threads_is_one() {
        for said in ["0", "-1", "many", "1.5", "4097", " "] {
            let failure = workers(Some(said.into())).expect_err(said);
            assert!(failure.code() == 2 && failure.to_string().contains("between 1 and 4096"), "{said}: {failure}");
        }
        assert_eq!(workers(Some(OsString::new())).ok(), workers(None).ok(), "nothing said");
    }

    #[test]
    fn running_is_the_default() {
        let cli = Cli::try_parse_from(["flowgate", "--listen", "127.0.0.1:1", "--open", "--tunnel", "a.test,b.test", "--tunnel", "c.test"])
            .unwrap();

        assert!(cli.command.is_none());
        assert_eq!((cli.run.listen.len(), cli.run.open, cli.run.tunnel.len()), (1, Some(true), 3));
    }

    #[test]
    fn bad_arguments_are_refused_with_a_hint() {
        let cases = [
            (vec!["--listen", "8080"], "127.0.0.1:8080 or [::1]:8080"),
            (vec!["--auth", "none"], "possible values: off, identify, ask, require"),
            (vec!["--grace", "10"], "as in 50ms"),
            (vec!["--capture", "lots"], "as in 512KiB"),
            (vec!["--resolve", "a"], "HOST:PORT=ADDRESS:PORT"),
            (vec!["--open=maybe"], "--open"),
            (vec!["--listn", "127.0.0.1:1"], "--listen"),
            (vec!["chekc"], "check"),
            (vec!["--open", "run"], "cannot be used with"),
            (vec!["ca", "rotate", "--finish", "--permit", "a.test"], "cannot be used with"),
            (vec!["user", "add", "ana"], "--users"),
            (vec!["user", "add", "a:b", "--users", "x"], "may not hold a colon"),
            (vec!["user", "add", "ana", "--users", "x", "--argon2", "--bcrypt"], "cannot be used with"),
        ];
        for (arguments, expected) in cases {
            let all = ["flowgate"].into_iter().chain(arguments.iter().copied());
            let error = Cli::try_parse_from(all).expect_err(expected);
            assert!(error.to_string().contains(expected), "{arguments:?}: {error}");
            assert_eq!(error.exit_code(), 2);
        }
    }

    #[test]
    fn failures_end_with_their_code_and_whole_chain() {
        let error = || anyhow::anyhow!("no such file").context("reading x");

        assert_eq!((Failure::Usage(error()).code(), Failure::from(error()).code()), (2, 1));
        assert_eq!(Failure::Usage(error()).to_string(), "reading x: no such file");
    }
}
