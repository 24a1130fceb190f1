//! Asking about tunnels: the hook `connect-filter`.
//!
//! Place: behind `Hooks::connect`. There is no flow yet: a tunnel has no page, and its calls are told in the diagnostics alone.

use std::sync::Arc;

use super::{
    bindings::{exports::flowgate::plugin::connect_filter::ConnectAction, flowgate::plugin::types},
    build::Build,
    convert,
    hook::Hook,
    instance::Failure,
    set::Set,
};
use crate::{
    flow::{Authority, LocalResponse, Refusal, Scope},
    hooks::Passage,
};

/// What diagnostics name in the place of a flow.
const NO_FLOW: u64 = 0;

/// Asks those who have a say, in order, until one does not proceed.
///
/// # Errors
/// [`Refusal::PluginFailed`] where one failed whose failure refuses.
pub(super) async fn ask(set: Arc<Set>, scope: &Scope, authority: &Authority) -> Result<Passage, Refusal> {
    let client = convert::client(scope);
    for build in set.connecting(authority.host()) {
        match build.ask_connect(&client, authority, |action| passage(build, action)).await {
            Ok(Passage::Proceed) => {}
            Ok(decided) => return Ok(decided),
            Err(failure) => build.failed_for(Hook::Connect, NO_FLOW, failure)?,
        }
    }
    Ok(Passage::Proceed)
}

fn passage(build: &Build, action: ConnectAction) -> Result<Passage, Failure> {
    Ok(match action {
        ConnectAction::Proceed => Passage::Proceed,
        ConnectAction::Splice => Passage::Splice,
        ConnectAction::Reject(response) => {
            let response = rejection(response).map_err(Failure::Answer)?;
            Passage::Reject { by: build.info.name.clone(), response }
        }
    })
}

/// RFC 9110 §9.3.6: to a CONNECT, any 2xx means that the tunnel stands.
fn rejection(response: types::LocalResponse) -> Result<LocalResponse, String> {
    let response = convert::local_response(response)?;
    match response.status.is_success() {
        true => Err(format!("a {} does not reject a tunnel", response.status.as_u16())),
        false => Ok(response),
    }
}
