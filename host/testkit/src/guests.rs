//! Components that tests load.
//!
//! Place: built by this package's build script, for tests only.

/// Does whatever its configuration says, good or bad; its switches are documented in its source, `guests/chameleon`.
pub const CHAMELEON: &[u8] = include_bytes!(env!("FLOWGATE_CHAMELEON_WASM"));

/// Filters WebSocket messages as its configuration says, well or badly; its switches are documented in its source, `guests/mediator`.
pub const MEDIATOR: &[u8] = include_bytes!(env!("FLOWGATE_MEDIATOR_WASM"));

/// The example filter: removes request fields and refuses hosts, as configured.
pub const REDACT: &[u8] = include_bytes!(env!("FLOWGATE_REDACT_WASM"));

/// Keeps prompts and answers of models as text.
pub const CHAT_TEXT: &[u8] = include_bytes!(env!("FLOWGATE_CHAT_TEXT_WASM"));

/// Refuses prompts that hold credentials.
pub const SECRETS_GUARD: &[u8] = include_bytes!(env!("FLOWGATE_SECRETS_GUARD_WASM"));

/// Counts turns, completions and tokens per user and day.
pub const USAGE: &[u8] = include_bytes!(env!("FLOWGATE_USAGE_WASM"));
