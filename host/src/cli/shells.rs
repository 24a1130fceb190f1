//! `flowgate completions` and `flowgate man`: what shells and readers of manuals want to know of the command line.

use std::{fs, path::PathBuf};

use anyhow::Context;
use clap::{Command, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Failure, print, put};

#[derive(Debug, clap::Args)]
pub(super) struct Completions {
    /// For which shell
    shell: Shell,
}

#[derive(Debug, clap::Args)]
pub(super) struct Man {
    /// Folder for the pages, one for each command: flowgate.1, flowgate-run.1 and so on; made if it is missing
    #[arg(long, value_name = "FOLDER")]
    dir: PathBuf,
}

pub(super) fn completions(command: &Completions) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(command.shell, &mut visible(Cli::command()), "flowgate", &mut script);
    put(&script);
    Ok(())
}

/// Without what is for the proxy itself to run.
fn visible(all: Command) -> Command {
    let shown: Vec<Command> = all.get_subcommands().filter(|command| !command.is_hide_set()).cloned().collect();
    Command::new("flowgate").args(all.get_arguments().cloned()).subcommands(shown)
}

pub(super) fn man(command: &Man) -> Result<(), Failure> {
    let folder = &command.dir;
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    clap_mangen::generate_to(Cli::command(), folder).with_context(|| format!("writing into {}", folder.display()))?;
    print(format_args!("written to {}: read them with man -l, or put them into a folder man1 of MANPATH", folder.display()));
    Ok(())
}
