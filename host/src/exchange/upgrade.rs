//! Relaying octets that are no HTTP.
//!
//! Place: for tunnels that are spliced; what follows a 101 is `websocket`'s. Octets already read go first; an end is passed on to the other side.
//! Source: RFC 9110 §9.3.6.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::io::copy_bidirectional_with_sizes;
use tokio_util::io::InspectReader;

use crate::{
    flow::Direction,
    io::{HalfReader, HalfWriter, whole},
};

/// Octets read at a time, per direction.
const BUFFER: usize = 16 * 1024;

/// Both halves of one connection.
pub(super) type Ends = (HalfReader, HalfWriter);

/// Relays between two connections until both have ended. Octets are added to `passed` as they come, towards the origin and back.
///
/// # Errors
/// What either side says.
pub async fn relay(client: Ends, origin: Ends, passed: Arc<[AtomicU64; 2]>) -> io::Result<(u64, u64)> {
    let counted = |from: Direction| {
        let passed = passed.clone();
        move |octets: &[u8]| {
            passed[from as usize].fetch_add(octets.len() as u64, Ordering::Relaxed);
        }
    };
    let mut client = InspectReader::new(whole(client.0, client.1), counted(Direction::Request));
    let mut origin = InspectReader::new(whole(origin.0, origin.1), counted(Direction::Response));
    copy_bidirectional_with_sizes(&mut client, &mut origin, BUFFER, BUFFER).await
}
