//! `flowgate __compile`: the compiler, as a process of its own.
//!
//! Place: run by `plugin` of a proxy that runs; not meant for people.

use std::{
    env, io,
    path::{Path, PathBuf},
};

use clap::Args;

use super::Failure;
use crate::plugin::{self, Instructions};

#[derive(Args, Debug)]
pub(super) struct Compile {
    /// Where compiled components are kept
    #[arg(long)]
    cache: PathBuf,
    /// Most octets of all of them
    #[arg(long)]
    cache_bytes: u64,
    /// How far it stands back
    #[arg(long)]
    niceness: i32,
    /// Address space it may use, in octets
    #[arg(long)]
    memory: u64,
    /// What is executed is counted
    #[arg(long)]
    counting: bool,
}

pub(super) fn run(compile: Compile) -> Result<(), Failure> {
    let instructions = if compile.counting { Instructions::Counted } else { Instructions::Uncounted };
    Ok(plugin::compile(io::stdin(), compile.cache, compile.cache_bytes, compile.memory, compile.niceness, instructions)?)
}

/// This very program. On Linux by a name that stays right when an update has replaced the file.
pub(super) fn program() -> Option<PathBuf> {
    let own = Path::new("/proc/self/exe");
    if own.exists() { Some(own.to_owned()) } else { env::current_exe().ok() }
}
