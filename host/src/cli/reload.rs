//! `flowgate reload`: a running proxy reads its configuration again.

use http::Method;

use super::{Failure, plugin::say, running::Running};

pub(super) fn run(running: Running) -> Result<(), Failure> {
    say(&running.ask(Method::POST, "/v1/reload")?);
    Ok(())
}
