//! Why an exchange has no good end.
//!
//! Place: from every part of an exchange to `run`, which tells the client, the flow's record, the meters and the trace in words of each.

use std::{io, time::Duration};

use super::{ends, respond};
use crate::{
    flow::{Outcome, Refusal},
    meters::Ending,
};

/// What is recorded of a flow that a filter ended after its origin had been asked.
const DISCONNECTED: &str = "a plugin closed the client's stream";

/// Why an exchange has no good end.
pub(super) enum Fault {
    /// The response head has not been sent: the client is told.
    Refused(Refusal),
    /// The client is gone.
    Client,
    /// The origin broke off in the middle of the response.
    Origin(io::Error),
    /// A plugin failed in the middle of the response, and the rest must not pass.
    Broken(Box<Refusal>),
    /// A filter closes the client's stream.
    Disconnect,
}

impl Fault {
    /// Of a request whose content does not come in as it has to, within `idle`.
    pub(super) fn of_request(error: &io::Error, idle: Duration) -> Self {
        match ends::malformed(error) {
            Some(reason) => Self::Refused(Refusal::BadRequest(reason)),
            None if ends::stood_still(error) => Self::Refused(Refusal::RequestTimeout { after: idle }),
            None => Self::Client,
        }
    }

    /// The same for those who count.
    pub(super) fn ending(&self) -> Ending {
        match self {
            Self::Client => Ending::ClientAborted,
            Self::Origin(_) => Ending::OriginFailed,
            Self::Refused(
                Refusal::PluginFailed { .. }
                | Refusal::Denied(_)
                | Refusal::ContentTooLarge { .. }
                | Refusal::BadRequest(_)
                | Refusal::RequestTimeout { .. },
            ) => Ending::Refused,
            Self::Refused(_) => Ending::OriginFailed,
            Self::Broken(_) | Self::Disconnect => Ending::Refused,
        }
    }

    /// The same in a word, for its trace.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Client => "client_aborted",
            Self::Origin(_) => "http_response_incomplete",
            Self::Refused(refusal) => respond::error(refusal),
            Self::Broken(refusal) => respond::error(refusal),
            Self::Disconnect => "disconnected_by_plugin",
        }
    }

    /// Whether it is the client's doing.
    pub(super) fn is_the_clients(&self) -> bool {
        match self {
            Self::Client => true,
            Self::Refused(refusal) => respond::status(refusal).0.is_client_error(),
            Self::Origin(_) | Self::Broken(_) | Self::Disconnect => false,
        }
    }

    /// The same for the flow's record. `sent`: the request had begun to go out to an origin.
    pub(super) fn outcome(&self, sent: bool) -> Outcome {
        match self {
            Self::Client => Outcome::ClientAborted,
            Self::Origin(error) => Outcome::OriginFailed(error.to_string()),
            Self::Broken(refusal) => Outcome::OriginFailed(respond::sentence(refusal)),
            // Of an origin, whether it has seen all of the request or not.
            Self::Refused(refusal @ (Refusal::NoResponse { .. } | Refusal::BadResponse { .. } | Refusal::ResponseTimeout { .. })) => {
                Outcome::OriginFailed(respond::sentence(refusal))
            }
            // Whatever its client was told: the origin has had what came before.
            Self::Refused(Refusal::BadRequest(_) | Refusal::RequestTimeout { .. }) if sent => Outcome::ClientAborted,
            Self::Refused(refusal @ Refusal::PluginFailed { .. }) if sent => Outcome::OriginFailed(respond::sentence(refusal)),
            Self::Disconnect if sent => Outcome::OriginFailed(DISCONNECTED.to_owned()),
            Self::Refused(_) | Self::Disconnect => Outcome::AnsweredBy("host".to_owned()),
        }
    }
}
