//! The `flowgate` command: arguments in, exit code out.

use std::process::ExitCode;

use clap::Parser;
use flowgate::{
    cli::{self, Cli},
    trace,
};
use mimalloc::MiMalloc;

/// A flow takes some twenty allocations that live as long as it does, one that is recorded many more: this saves 5 % of their CPU time.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    // Wrong flags end here, with a hint and code 2.
    let arguments = Cli::parse();
    let diagnostics = trace::start();
    let result = cli::run(arguments);
    // What is still to be said goes before the reason for the end.
    drop(diagnostics);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            cli::complain(&failure);
            ExitCode::from(failure.code())
        }
    }
}
