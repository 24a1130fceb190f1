//! The project's own chores, run as `cargo xtask CHORE`.
//!
//! Place: beside the product; nothing of it ships. Chores are Rust so that they need no other tool.

mod bench;
mod ci;
mod languages;
mod long;
mod release;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};
use clap::{Parser, Subcommand};

/// The project's own chores.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Everything that must pass before a change is taken, in the order of `.ci/run`
    Ci,
    /// Builds, tests and soaks plugins in every language, with toolchains from their package registries
    Languages,
    /// CPU time, memory and latency of interception, beside a plain tunnel or no proxy at all
    Bench(bench::Options),
    /// Random inputs to everything that reads what others wrote, for minutes
    Fuzz(long::Fuzzing),
    /// Mixed traffic through a real binary while plugins are swapped, for minutes: nothing may fail or grow
    Soak(long::Soaking),
    /// The release build, optimised by what it does under load
    ///
    /// Builds it with counters, loads that with the benchmarks and the soak, and builds it once more by what was counted. Takes the time of two release
    /// builds, one of the tests, and some minutes.
    Release,
    #[command(flatten)]
    Part(bench::Part),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().chore {
        Chore::Ci => ci::run(),
        Chore::Languages => languages::run(),
        Chore::Bench(options) => bench::run(&options),
        Chore::Fuzz(options) => long::fuzz(&options),
        Chore::Soak(options) => long::soak(&options),
        Chore::Release => release::run(),
        Chore::Part(part) => part.run(),
    }
}

/// Cargo, in the workspace.
fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace());
    command
}

/// Runs a program to its end, which is to be a good one.
fn to_its_end(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("running {command:?}"))?;
    ensure!(status.success(), "{command:?} failed: {status}");
    Ok(())
}

/// Where cargo builds.
fn target_folder() -> PathBuf {
    target_of(std::env::var_os("CARGO_TARGET_DIR"))
}

/// Cargo runs in the workspace, from where it takes a relative folder; what it has built runs elsewhere.
fn target_of(named: Option<OsString>) -> PathBuf {
    workspace().join(named.unwrap_or_else(|| "target".into()))
}

/// Top folder of the workspace.
fn workspace() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().map_or_else(|| own.to_owned(), Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_built_is_found_from_any_folder() {
        for (named, expected) in [(None, "target"), (Some("out"), "out"), (Some("/elsewhere"), "/elsewhere")] {
            let folder = target_of(named.map(OsString::from));

            assert!(folder.is_absolute() && folder.ends_with(expected.trim_start_matches('/')), "{}", folder.display());
        }
    }
}
