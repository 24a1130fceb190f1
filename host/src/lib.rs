//! flowgate: a WebAssembly-scriptable, TLS-intercepting forward HTTP proxy.
//!
//! The binary is a thin shell around this library; [`app`] is where everything is put together. How the parts
//! depend on each other is in `ARCHITECTURE.md` and held by a test.

pub mod admin;
pub mod app;
pub mod auth;
pub mod authoring;
pub mod cli;
pub mod config;
pub mod doctor;
pub mod exchange;
pub mod flow;
pub mod fresh;
#[cfg(test)]
mod fuzzing;
pub mod h1;
pub mod hooks;
pub mod io;
pub mod meters;
pub mod net;
pub mod origin;
pub mod outbound;
pub mod pace;
pub mod plugin;
pub mod record;
pub mod recording;
pub mod redaction;
pub mod rehearsal;
pub mod shares;
pub mod spans;
pub mod stamp;
pub mod store;
pub mod tasks;
pub mod tls;
pub mod trace;
pub mod usage;
