//! The traits a plugin implements. Each hook is a trait of its own; [`export!`](crate::export!) names those that a component has.
//!
//! All methods take `&mut self`: at most one call is in progress in one instance. What `self` holds is a cache, no more, for the host
//! keeps several instances and throws them away as it likes.

use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    ChunkAction, ClientInfo, ConnectAction, Direction, Flow, Message, MessageAction, MessageRecord, Registration, RequestAction,
    ResponseAction,
};

/// What every plugin has: a configuration, and what follows from it.
pub trait Plugin: Sized + 'static {
    /// Read from the plugin's table in the configuration (`{}` where there is none). Derive `Deserialize` with
    /// `#[serde(deny_unknown_fields)]`, and a slip of the pen is an error that names the key; [`NoConfig`] where there is nothing to set.
    type Config: DeserializeOwned;

    /// Called once in every instance, before any hook. The registration must depend on `config` alone.
    ///
    /// # Errors
    /// Refuse the load; the text is shown to the operator.
    fn configure(config: Self::Config) -> Result<(Self, Registration), String>;
}

/// Nothing to configure: any key is an error.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

/// Decides about a CONNECT before TLS is touched.
pub trait ConnectFilter: Plugin {
    /// Once per tunnel.
    fn on_connect(&mut self, client: &ClientInfo, host: &str, port: u16) -> ConnectAction;
}

/// Decides about requests while they wait.
pub trait RequestFilter: Plugin {
    /// `body_held`: the whole body is there (a `whole` rule, or after [`RequestAction::NeedBody`]).
    fn on_request(&mut self, flow: &Flow, body_held: bool) -> RequestAction;
}

/// Decides about responses while they wait.
pub trait ResponseFilter: Plugin {
    /// `body_held`: the whole body is there (a `whole` rule, or after [`ResponseAction::NeedBody`]).
    fn on_response(&mut self, flow: &Flow, body_held: bool) -> ResponseAction;
}

/// Rewrites bodies that a `chunks` rule matches, piece by piece. All calls about one body reach the same instance.
pub trait StreamFilter: Plugin {
    /// False: not interested in this body after all.
    fn on_body_start(&mut self, _body_id: u32, _flow: &Flow, _of: Direction) -> bool {
        true
    }

    /// One chunk, content coding undone, never empty.
    fn on_chunk(&mut self, body_id: u32, chunk: Vec<u8>) -> ChunkAction;

    /// After the last chunk; what is returned is appended. `broken`: the flow ended early and the answer is ignored.
    fn on_body_end(&mut self, _body_id: u32, _broken: bool) -> Vec<u8> {
        Vec::new()
    }
}

/// Decides about WebSocket messages.
pub trait MessageFilter: Plugin {
    /// One message, before it is forwarded.
    fn on_message(&mut self, flow: &Flow, of: Direction, message: Message) -> MessageAction;
}

/// Sees flows after their end, off their way.
pub trait Observer: Plugin {
    /// Once per flow that a rule matches, aborted ones included.
    fn on_flow_end(&mut self, flow: &Flow);
}

/// Sees WebSocket messages after they passed.
pub trait MessageObserver: Plugin {
    /// In order.
    fn on_message_passed(&mut self, flow: &Flow, message: MessageRecord);
}

/// Takes private state over a swap; for singletons, which are asked for it. Others never are.
pub trait StateHandoff: Plugin {
    /// On the old instance, which goes on serving the flows that began with it. At most 16 MiB.
    fn save(&mut self) -> Vec<u8>;

    /// On the new one, after `configure`.
    ///
    /// # Errors
    /// The host goes on without the state.
    fn restore(&mut self, from_version: &str, state: Vec<u8>) -> Result<(), String>;
}
