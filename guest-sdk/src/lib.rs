//! Write flowgate plugins in Rust.
//!
//! A plugin is a type that implements [`Plugin`] and the hooks it wants, and one line that exports them. This one refuses a host and
//! keeps a line about every flow that reached an end; it is complete, and its configuration is `{"refuse": "*.example.test"}`:
//!
//! ```
//! use flowgate_guest::{Flow, LocalResponse, Observer, Plugin, Registration, RequestAction, RequestFilter, Rule, WriteMode, log, records};
//!
//! #[derive(serde::Deserialize)]
//! struct Config { refuse: String }
//! struct Gate;
//!
//! impl Plugin for Gate {
//!     type Config = Config;
//!     fn configure(config: Config) -> Result<(Self, Registration), String> {
//!         Ok((Self, Registration::new("gate", env!("CARGO_PKG_VERSION")).rule(Rule::any().host(&config.refuse))))
//!     }
//! }
//! impl RequestFilter for Gate {
//!     fn on_request(&mut self, flow: &Flow, _: bool) -> RequestAction { RequestAction::Answer(LocalResponse::text(403, &flow.url())) }
//! }
//! impl Observer for Gate {
//!     fn on_flow_end(&mut self, flow: &Flow) {
//!         let kept = records::keep("flows.txt", format!("{}\n", flow.url()).as_bytes(), WriteMode::Append);
//!         if let Err(error) = kept { log::error(format_args!("no line: {error}")) }
//!     }
//! }
//! flowgate_guest::export!(Gate: request_filter, observer);
//! ```
//!
//! Built with `cargo build --release --target wasm32-wasip2` as a `cdylib`, the file is a component that can be copied into `plugins/`,
//! under the name the registration gives. On any other target nothing is exported, and [`testing`] stands in for the host, so that
//! `cargo test` tests a plugin as the plain Rust that it is.
//!
//! What the host promises (order of calls, deadlines, what a panic does) is in `wit/plugin.wit`.

mod actions;
#[doc(hidden)]
pub mod bindings;
pub mod chat;
#[doc(hidden)]
pub mod export;
mod flow;
pub mod key_value;
pub mod log;
pub mod metrics;
pub mod outbound;
mod plugin;
pub mod records;
mod registration;
pub mod sse;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
pub mod text;
mod views;

pub use actions::{ChunkAction, ConnectAction, Message, MessageAction, MessageKind, MessageRecord, RequestAction, ResponseAction};
pub use bindings::imports::{
    records::WriteMode,
    types::{BodyInfo, ClientInfo, Direction, Header, HttpVersion, LocalResponse, Origin, Outcome, RequestHead, ResponseHead, Timings},
};
pub use flow::Flow;
pub use plugin::{
    ConnectFilter, MessageFilter, MessageObserver, NoConfig, Observer, Plugin, RequestFilter, ResponseFilter, StateHandoff, StreamFilter,
};
pub use registration::{BodyMode, Framing, InstanceMode, Registration, Rule};
pub use views::{Content, Fields};
