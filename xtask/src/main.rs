//! The project's own chores, run as `cargo xtask CHORE`.
//!
//! Place: beside the product; nothing of it ships. Chores are Rust so that they need no other tool.

mod bench;
mod ci;
mod languages;
mod long;

use std::path::{Path, PathBuf};

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
        Chore::Part(part) => part.run(),
    }
}

/// Top folder of the workspace.
fn workspace() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().map_or_else(|| own.to_owned(), Path::to_owned)
}
