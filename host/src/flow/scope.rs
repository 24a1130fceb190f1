//! Who is on the other end: a connection and the principal admitted on it.
//!
//! Place: made by `net` once a client is admitted, shared by every flow of that tunnel (or by the one absolute-form request).

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

/// Address of the client as the listener saw it. Says nothing about who is behind it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ClientAddr(pub SocketAddr);

impl ClientAddr {
    /// What counts as one client where it is limited: its address; of IPv6 the network of 64 bits that it chose the address in (RFC 4291 §2.5.1).
    pub fn network(&self) -> IpAddr {
        match self.0.ip().to_canonical() {
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
            v4 => v4,
        }
    }
}

/// Who was admitted (RFC 9110 §11): a user name, never a password. Belongs to a tunnel or to one absolute-form request, never to an
/// address: two people behind one address stay two.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Principal(Option<Arc<str>>);

impl Principal {
    /// Nobody said who they are.
    pub const UNKNOWN: Self = Self(None);

    /// A user name; an empty one is nobody.
    pub fn named(name: &str) -> Self {
        Self((!name.is_empty()).then(|| name.into()))
    }

    /// The user name.
    pub fn name(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

/// What all flows of one tunnel have in common.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Unique within one run of the proxy.
    pub connection: u64,
    /// The peer.
    pub client: ClientAddr,
    /// Who was admitted.
    pub principal: Principal,
}
