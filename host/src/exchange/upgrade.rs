//! Relaying octets that are no HTTP.
//!
//! Place: for tunnels that are spliced; what follows a 101 is `websocket`'s. Octets already read go first; an end is passed on to the other side.
//! Source: RFC 9110 §9.3.6.

use std::io;

use tokio::io::copy_bidirectional_with_sizes;

use crate::io::{HalfReader, HalfWriter, whole};

/// Octets read at a time, per direction.
const BUFFER: usize = 16 * 1024;

/// Both halves of one connection.
pub(super) type Ends = (HalfReader, HalfWriter);

/// Relays between two connections until both have ended.
///
/// # Errors
/// What either side says.
pub async fn relay(client: Ends, origin: Ends) -> io::Result<(u64, u64)> {
    let (mut client, mut origin) = (whole(client.0, client.1), whole(origin.0, origin.1));
    copy_bidirectional_with_sizes(&mut client, &mut origin, BUFFER, BUFFER).await
}
