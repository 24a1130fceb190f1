//! The project's own chores, run as `cargo xtask CHORE`.
//!
//! Place: beside the product; nothing of it ships. Chores are Rust so that they need no other tool.

mod bench;
mod ci;
mod languages;

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
    #[command(flatten)]
    Part(bench::Part),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().chore {
        Chore::Ci => ci::run(),
        Chore::Languages => languages::run(),
        Chore::Bench(options) => bench::run(&options),
        Chore::Part(part) => part.run(),
    }
}

/// Top folder of the workspace.
fn workspace() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().map_or_else(|| own.to_owned(), Path::to_owned)
}
