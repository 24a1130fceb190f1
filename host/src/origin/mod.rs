//! Connections to origin servers.
//!
//! Place: asked by `exchange` for a connection per request; dials, verifies certificates by `tls`, keeps connections for the next request.
//! Source: RFC 9110 §7.3, RFC 9112 §9, RFC 9113 §9.1.

mod attempts;
mod dial;
mod idle;
mod login;
mod owners;
mod pool;
mod reach;
mod shared;
mod upstream;

pub use dial::{DialLimits, Dialled, Dialler};
pub use pool::{CONNECTION_WINDOW, Connection, Destination, Lease, Pool, PoolLimits, STREAM_WINDOW};
pub use reach::Reach;
pub use shared::Share;
pub use upstream::{Direct, Upstream, UpstreamError};
