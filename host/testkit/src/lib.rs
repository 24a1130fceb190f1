//! What the tests stand on: origins and clients that show every octet, and a proxy between them.
//!
//! Place: a development dependency only. Origins and clients are independent of the proxy's own code, so that a mistake in it cannot
//! cancel itself out. What went wrong on a wire is returned as data; what means that a test cannot go on at all panics with its name.

pub mod certificates;
pub mod client;
mod compiled;
pub mod component;
pub mod gate;
pub mod guests;
pub mod message;
pub mod origin;
pub mod patience;
pub mod program;
pub mod prometheus;
pub mod proxy;
pub mod records;
pub mod websocket;
pub mod wire;

pub use certificates::{Authority, Fault};
pub use client::{Client, Failure, Response};
pub use gate::Gate;
pub use message::{Head, Trouble};
pub use origin::{Origin, Script, Seen, Setup};
pub use patience::{PATIENCE, within};
