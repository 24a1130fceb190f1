//! Plugins: WebAssembly components that are told of flows and decide about them.
//!
//! Place: behind `hooks`; the only part that knows wasmtime. Knows no sockets, no TLS and no HTTP library's bodies. What a plugin may do is
//! in `wit/`; what becomes of one that does otherwise is in here: it harms its own flow and nothing else.

mod answer;
mod before;
mod bench;
mod bindings;
mod breaker;
mod budget;
mod build;
mod cache;
mod capability;
mod compile;
mod connect;
mod convert;
mod cost;
mod course;
mod cutter;
mod doubt;
mod engine;
mod examine;
mod frames;
#[cfg(test)]
mod fuzz;
mod glob;
mod grants;
mod guest;
mod handoff;
mod hash;
mod held;
mod hook;
mod instance;
mod journal;
mod load;
mod matcher;
mod means;
mod messages;
mod metrics;
mod observe;
mod orders;
mod platform;
mod pool;
mod replay;
mod ring;
mod rules;
mod scene;
mod set;
mod settings;
mod shape;
mod stage;
mod status;
mod stream;
mod swap;
mod tally;
mod watch;

#[cfg(test)]
mod tests;

pub use bench::{CostCard, HookCost, bench};
pub use build::PluginInfo;
pub use cache::CacheFolder;
pub use compile::compile;
pub use examine::{Examined, Standing, examine};
pub use journal::{Explanation, Step};
pub use metrics::MetricLimits;
pub use platform::Platform;
pub use settings::{Compiler, Grant, Instructions, Limits, OnFailure, OutboundLimits, PluginSettings, ReplayLimits, Settings};
pub use stage::{Played, Stage};
pub use status::{PluginState, PluginStatus, Reloaded, Reloading};
pub use swap::PluginEvent;
pub use tally::{LastFailure, PluginCounts};

/// The plugin that is built in.
const LOGGER: &str = "logger";
/// Its component, as it is carried by the binary.
pub const LOGGER_WASM: &[u8] = include_bytes!(env!("FLOWGATE_LOGGER_WASM"));
