//! `cargo xtask fuzz` and `cargo xtask soak`: tests that run for as long as one wants them to.
//!
//! Place: beside `ci`. Both are tests of the proxy that know by their environment that they may take long; here they are only started.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, ensure};
use clap::Args;

use crate::cargo;

#[derive(Args, Debug)]
pub(crate) struct Fuzzing {
    /// Which target, such as request_heads: all whose names contain it [default: all]
    #[arg(default_value = "")]
    target: String,
    /// How long each target runs; they run side by side
    #[arg(long, default_value_t = 5)]
    minutes: u64,
}

#[derive(Args, Debug)]
pub(crate) struct Soaking {
    /// How long; of less than one minute, what is held is told and not judged
    #[arg(long, default_value_t = 20.0)]
    pub(crate) minutes: f64,
    /// Soak that binary [default: the debug build]
    #[arg(long, value_name = "FILE")]
    pub(crate) binary: Option<PathBuf>,
}

/// Random inputs; what they find is kept in `host/corpus`, where every test run tries it again.
pub(crate) fn fuzz(options: &Fuzzing) -> anyhow::Result<()> {
    let mut tests = tests(&["--lib"]);
    tests.arg(format!("fuzz::{}", options.target)).arg("--nocapture");
    run(tests.env("FLOWGATE_FUZZ_SECONDS", (options.minutes * 60).to_string()))
}

/// Mixed traffic through a real binary; the numbers are in `target/soak.json`.
pub(crate) fn soak(options: &Soaking) -> anyhow::Result<()> {
    let mut tests = tests(&["--test", "it"]);
    tests.args(["--ignored", "--nocapture", "soak::"]).env("FLOWGATE_SOAK_MINUTES", options.minutes.to_string());
    if let Some(binary) = &options.binary {
        let binary = binary.canonicalize().with_context(|| format!("looking for {}", binary.display()))?;
        tests.env("FLOWGATE_SOAK_BINARY", binary);
    }
    run(&mut tests)
}

fn tests(which: &[&str]) -> Command {
    let mut command = cargo();
    command.args(["test", "--workspace"]).args(which).arg("--");
    command
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("running {command:?}"))?;
    ensure!(status.success(), "something was found, see above");
    Ok(())
}
