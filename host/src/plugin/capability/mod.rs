//! What guests may import, one file per interface.
//!
//! Place: each is implemented on [`Guest`] and linked in [`link`]. Which of them a plugin may import is decided in `grants`.

use wasmtime::component::{HasSelf, Linker};

use super::{bindings::flowgate::plugin, guest::Guest};

pub(super) mod context;
mod key_value;
pub(super) mod log;
mod metrics;
pub(super) mod outbound;
pub(super) mod output;
mod records;
mod text;

/// The interfaces of the contract that are linked, by name; `types` and `context` hold no capability.
pub(super) const OFFERED: [&str; 8] = ["types", "context", "log", "text", "key-value", "metrics", "outbound", "records"];

/// Links them all; what is called is counted.
pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    plugin::types::add_to_linker::<Guest, HasSelf<Guest>>(linker, Guest::counted)?;
    plugin::context::add_to_linker::<Guest, HasSelf<Guest>>(linker, Guest::counted)?;
    plugin::log::add_to_linker::<Guest, HasSelf<Guest>>(linker, Guest::counted)?;
    plugin::text::add_to_linker::<Guest, HasSelf<Guest>>(linker, Guest::counted)?;
    plugin::key_value::add_to_linker::<Guest, HasSelf<Guest>>(linker, Guest::counted)?;
    plugin::metrics::add_to_linker::<Guest, HasSelf<Guest>>(linker, Guest::counted)?;
    plugin::outbound::add_to_linker::<Guest, HasSelf<Guest>>(linker, Guest::counted)?;
    plugin::records::add_to_linker::<Guest, HasSelf<Guest>>(linker, Guest::counted)
}
