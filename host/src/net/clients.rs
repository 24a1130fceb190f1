//! What one client takes up, so that it leaves something to the others: connections, TLS handshakes, certificates made for it.
//!
//! Place: part of `net`; the listener asks it for each connection. A client is an address here, for nothing else is known before it has spoken;
//! of IPv6 it is the network of 64 bits that a subscriber has at the least (RFC 6177 §2). Everybody behind one NAT is one client: the defaults
//! are made for that, see `config/limits.rs`.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};

use crate::{
    flow::ClientAddr,
    pace::{Pace, Rate},
};

/// Clients that are remembered without a connection, so that coming anew does not make them new: some 200 octets each.
const REMEMBERED: usize = 10_000;

/// What one client may take up.
#[derive(Clone, Copy, Debug)]
pub struct ClientLimits {
    /// Connections at once.
    pub connections: usize,
    /// TLS handshakes at once.
    pub handshakes: usize,
    /// Certificates made for hosts that have none yet.
    pub leaves: Rate,
    /// How long such a certificate is waited for.
    pub leaf_patience: Duration,
}

/// All clients.
#[derive(Debug)]
pub(super) struct Clients {
    limits: ClientLimits,
    known: Mutex<HashMap<IpAddr, Known>>,
}

#[derive(Debug)]
struct Known {
    client: Arc<Client>,
    connections: usize,
}

impl Clients {
    pub(super) fn new(limits: ClientLimits) -> Arc<Self> {
        Arc::new(Self { limits, known: Mutex::default() })
    }

    /// A connection of that client; `None`: it has as many as it may have.
    pub(super) fn enter(self: &Arc<Self>, address: ClientAddr) -> Option<Presence> {
        let network = address.network();
        let mut known = self.known();
        if !known.contains_key(&network) && known.len() >= 2 * REMEMBERED {
            // So seldom that it costs nothing: as many must have come since the last time.
            known.retain(|_, known| known.connections > 0);
        }
        let entry = known.entry(network).or_insert_with(|| Known { client: Arc::new(Client::new(&self.limits)), connections: 0 });
        if entry.connections >= self.limits.connections {
            return None;
        }
        entry.connections += 1;
        Some(Presence { clients: self.clone(), network, client: entry.client.clone() })
    }

    fn leave(&self, network: IpAddr) {
        if let Some(known) = self.known().get_mut(&network) {
            known.connections -= 1;
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<IpAddr, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection of a client, for as long as it is held.
#[derive(Debug)]
pub(super) struct Presence {
    clients: Arc<Clients>,
    network: IpAddr,
    client: Arc<Client>,
}

impl Presence {
    pub(super) fn client(&self) -> &Arc<Client> {
        &self.client
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.clients.leave(self.network);
    }
}

/// What all connections of a client share.
#[derive(Debug)]
pub(super) struct Client {
    handshakes: Arc<Semaphore>,
    leaves: Pace,
    leaf_patience: Duration,
}

/// A place among the TLS handshakes in progress.
pub(super) struct Handshaking {
    _of_client: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Client {
    fn new(limits: &ClientLimits) -> Self {
        Self {
            handshakes: Arc::new(Semaphore::new(limits.handshakes)),
            leaves: Pace::new(limits.leaves),
            leaf_patience: limits.leaf_patience,
        }
    }

    /// Waits for a place among this client's handshakes, and then among all. `None`: the proxy ends.
    pub(super) async fn handshake(&self, all: &Arc<Semaphore>) -> Option<Handshaking> {
        // In this order: who waits for its own others keeps no place from strangers.
        let _of_client = self.handshakes.clone().acquire_owned().await.ok()?;
        let _of_all = all.clone().acquire_owned().await.ok()?;
        Some(Handshaking { _of_client, _of_all })
    }

    /// Waits until another certificate may be made for this client. `false`: that takes too long.
    pub(super) async fn may_have_leaf(&self) -> bool {
        let Some(wait) = self.leaf_turn(Instant::now()) else { return false };
        if !wait.is_zero() {
            sleep(wait).await;
        }
        true
    }

    fn leaf_turn(&self, now: Instant) -> Option<Duration> {
        self.leaves.turn(now, self.leaf_patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ClientLimits =
        ClientLimits { connections: 2, handshakes: 1, leaves: Rate { per_second: 1, at_once: 2 }, leaf_patience: Duration::ZERO };

    fn at(address: &str) -> ClientAddr {
        ClientAddr((address.parse::<IpAddr>().unwrap(), 1).into())
    }

    #[test]
    fn a_client_has_so_many_connections_and_others_have_theirs() {
        let clients = Clients::new(LIMITS);
        let (first, second) = (clients.enter(at("192.0.2.1")), clients.enter(at("::ffff:192.0.2.1")));

        assert!(first.is_some() && second.is_some() && clients.enter(at("192.0.2.1")).is_none());
        assert!(clients.enter(at("192.0.2.2")).is_some());
        drop(first);
        assert!(clients.enter(at("192.0.2.1")).is_some());
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let clients = Clients::new(LIMITS);
        let _held = [clients.enter(at("2001:db8::1")), clients.enter(at("2001:db8::2"))];

        assert!(clients.enter(at("2001:db8::3")).is_none());
        assert!(clients.enter(at("2001:db8:0:1::3")).is_some());
    }

    #[test]
    fn coming_anew_does_not_make_a_client_new() {
        let (clients, now) = (Clients::new(LIMITS), Instant::now());
        for expected in [true, true, false] {
            let presence = clients.enter(at("192.0.2.1")).unwrap();
            assert_eq!(presence.client().leaf_turn(now).is_some(), expected);
        }
    }

    #[test]
    fn those_who_left_are_forgotten_when_they_are_many() {
        let clients = Clients::new(LIMITS);
        let _stays = clients.enter(at("192.0.2.1"));
        for number in 0..3 * REMEMBERED as u32 {
            clients.enter(ClientAddr((std::net::Ipv4Addr::from_bits(0x0a00_0000 + number), 1).into()));
        }

        let known = clients.known();

        assert!(known.len() <= 2 * REMEMBERED, "{}", known.len());
        assert_eq!(known[&at("192.0.2.1").network()].connections, 1);
    }

    #[tokio::test]
    async fn a_client_waits_for_its_own_handshakes_and_keeps_nobody_from_theirs() {
        let (clients, all) = (Clients::new(LIMITS), Arc::new(Semaphore::new(2)));
        let (one, other) = (clients.enter(at("192.0.2.1")).unwrap(), clients.enter(at("192.0.2.2")).unwrap());
        let first = one.client().handshake(&all).await.unwrap();

        let mut second = std::pin::pin!(one.client().handshake(&all));
        let waits = tokio::select! { biased; _ = &mut second => false, () = std::future::ready(()) => true };
        assert!(waits);
        let _others = other.client().handshake(&all).await.unwrap();
        drop(first);

        assert!(second.await.is_some());
    }
}
