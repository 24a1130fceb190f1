//! Whose login a connection carries.
//!
//! Place: part of `pool`. NTLM and Negotiate log in a connection, not a request: whoever is on it afterwards is taken for that user. So it is
//! kept for one principal on one connection of a client, as it would be without the proxy, and the legs of a handshake meet on it.
//! Source: RFC 4559 §6.

use crate::flow::{Principal, Scope};

/// See the module.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Login {
    connection: u64,
    principal: Principal,
}

impl Login {
    /// Of a client.
    pub(super) fn of(client: &Scope) -> Self {
        Self { connection: client.connection, principal: client.principal.clone() }
    }

    /// Whether it is that client's.
    pub(super) fn is_of(&self, client: &Scope) -> bool {
        self.connection == client.connection && self.principal == client.principal
    }

    /// Whether it came by that connection of a client.
    pub(super) fn came_by(&self, connection: u64) -> bool {
        self.connection == connection
    }
}
