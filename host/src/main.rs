//! The `flowgate` command: arguments in, exit code out.

use std::process::ExitCode;

use clap::Parser;
use flowgate::{
    cli::{self, Cli},
    trace,
};

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
