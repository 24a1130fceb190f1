//! From the listener to the inside of a tunnel.
//!
//! Place: accepts connections, admits their clients by `auth`, decides what becomes of a tunnel, ends its TLS by `tls`, and hands what is
//! inside to `exchange`. Knows neither plugins nor configuration.
//! Source: RFC 9110 §9.3.6, RFC 9112 §3.2.

mod clients;
mod connection;
mod distrust;
mod introduced;
mod leaf;
mod listener;
mod own;
mod sniff;
mod tunnel;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use globset::GlobSet;
use ipnet::IpNet;
use tokio::sync::Semaphore;

use self::{clients::Clients, distrust::Distrust};
use crate::{
    auth::Gate,
    exchange::Exchange,
    flow::ClientAddr,
    shares::Shares,
    tls::{Interceptor, Root},
};

pub use clients::ClientLimits;
pub use introduced::IntroductionLimits;
pub use listener::{Listener, Speaks, bind};

/// Bounds of connections from clients.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// TLS handshake with a client.
    pub handshake: Duration,
    /// Within which silent clients have to give a sign of life.
    pub keepalive: Duration,
    /// How long the first octets of a tunnel are waited for before the origin is let speak first.
    pub sniff: Duration,
    /// Connections at once, over all listeners.
    pub connections: usize,
    /// TLS handshakes at once, of all clients.
    pub handshakes: usize,
    /// Tunnels of one user at once.
    pub tunnels: usize,
    /// What one client may take up.
    pub client: ClientLimits,
    /// What balancers may say about one.
    pub introduction: IntroductionLimits,
}

/// A host as patterns are written for it: in lower case, and without the dot that ends a full name (RFC 1034 §3.1).
fn plain(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// What becomes of tunnels, by configuration. Host patterns are in lower case.
#[derive(Debug, Default)]
pub struct Routes {
    /// Never intercepted, whatever plugins want.
    pub tunnel: GlobSet,
    /// Intercepted even if no plugin asks; where it is empty, plugins decide alone.
    pub intercept: Option<GlobSet>,
}

/// What may change while the proxy runs: who may enter, and what becomes of tunnels. A connection asks anew for each request.
pub struct Policy {
    gate: Gate,
    routes: Routes,
    distrust: Distrust,
    balancers: Vec<IpNet>,
}

impl Policy {
    /// `auto_splice`: for how long a host is left alone that a client does not trust our leafs for; `None`: never. `balancers`: where
    /// connections come from that begin with a PROXY header.
    pub fn new(gate: Gate, routes: Routes, auto_splice: Option<Duration>, balancers: Vec<IpNet>) -> Self {
        Self { gate, routes, distrust: Distrust::new(auto_splice), balancers }
    }

    /// The same, knowing what that one has learned about clients.
    pub fn remembering(self, before: &Self) -> Self {
        Self { distrust: self.distrust.or(&before.distrust), ..self }
    }

    /// Whether connections from there are others'.
    fn is_balancer(&self, peer: ClientAddr) -> bool {
        let address = peer.0.ip().to_canonical();
        self.balancers.iter().any(|network| network.contains(&address))
    }
}

/// What every connection needs.
pub struct Front {
    /// In force now.
    pub policy: ArcSwap<Policy>,
    /// Certificates for intercepted tunnels.
    pub interceptor: Interceptor,
    /// What happens inside.
    pub exchange: Arc<Exchange>,
    /// The root, whose certificate whoever asks for it gets.
    pub root: Arc<Root>,
    /// The one that is to follow it: whoever fetches the certificate trusts both before the change.
    pub next_root: Option<Root>,
    /// Bounds.
    pub limits: Limits,
    /// What is taken up of them.
    pub taken: Taken,
}

/// What clients have taken up of [`Limits`].
pub struct Taken {
    connections: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    tunnels: Shares<Arc<str>>,
    clients: Arc<Clients>,
}

impl Taken {
    /// Nothing yet.
    pub fn none(limits: &Limits) -> Self {
        Self {
            connections: Arc::new(Semaphore::new(limits.connections)),
            handshakes: Arc::new(Semaphore::new(limits.handshakes)),
            tunnels: Shares::new(limits.tunnels, usize::MAX),
            clients: Clients::new(limits.client),
        }
    }
}
