//! `cargo xtask ci`: the same list as the machines that check changes run.

use std::{os::unix::process::CommandExt, process::Command};

use anyhow::Context;

use crate::workspace;

/// Becomes `.ci/run`, so that there is one list of steps and not two.
pub(crate) fn run() -> anyhow::Result<()> {
    let script = workspace().join(".ci/run");
    let failed = Command::new(&script).current_dir(workspace()).exec();
    Err(failed).with_context(|| format!("running {}", script.display()))
}
