//! The local interface: what operators ask a running proxy and tell it to do.
//!
//! Place: a socket in the state folder that only the proxy's own user may open, to which `cli` speaks through [`ask`]; and, where it is asked
//! for, a listener on TCP with a token, for browsers and scrapers. Knows neither
//! configuration nor sockets of clients: what it offers is an [`Operator`], made in `app`.

mod ask;
mod detail;
mod guard;
mod listener;
mod routes;
mod socket;
mod token;
mod watch;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::{
    hooks::BoxFuture,
    plugin::{Explanation, PluginStatus},
    recording::Gallery,
    redaction::Redaction,
    usage::{Query, Usage},
};

pub use ask::{AskError, ask};
pub use listener::{Bounds, Listener};
pub use routes::Listed;
pub use socket::{Socket, path};
pub use token::Token;

/// What can be asked of a running proxy. Errors are sentences for people.
pub trait Operator: Send + Sync + 'static {
    /// How the plugins stand, those that are not in service too.
    fn plugins(&self) -> Vec<PluginStatus>;

    /// What plugins did to that flow; `None`: nothing is known of it.
    fn explain(&self, flow: u64) -> Option<Explanation>;

    /// The latest flows that some plugin wanted, the last one first, at most `most`.
    fn latest_flows(&self, most: usize) -> Vec<Explanation>;

    /// Whether it takes clients: it is not about to stop.
    fn is_ready(&self) -> bool;

    /// Cancelled when the proxy begins to stop.
    fn stopping(&self) -> CancellationToken;

    /// Where flows are shown as they happen.
    fn gallery(&self) -> &Arc<Gallery>;

    /// Whether fields and contents of flows are.
    fn shows_content(&self) -> bool;

    /// What of them is blanked before anybody sees it.
    fn redaction(&self) -> Arc<Redaction>;

    /// Counts records: one such question at a time.
    fn usage(&self, query: Query) -> BoxFuture<'_, anyhow::Result<Usage>>;

    /// What is counted and measured, in the text format of Prometheus (0.0.4).
    fn metrics(&self) -> String;

    /// Looks at the plugins folder now.
    fn reload_plugins(&self) -> BoxFuture<'_, anyhow::Result<Vec<String>>>;

    /// Back to the build before the one in service.
    fn roll_back<'a>(&'a self, plugin: &'a str) -> BoxFuture<'a, anyhow::Result<String>>;

    /// Reads the configuration again and takes over what has changed, all of it or nothing.
    fn reload(&self) -> BoxFuture<'_, anyhow::Result<Vec<String>>>;
}

/// What was done, in sentences for people.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Done {
    /// One each.
    pub done: Vec<String>,
}

/// Why something was not done.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct NotDone {
    /// A sentence for people.
    pub error: String,
}
