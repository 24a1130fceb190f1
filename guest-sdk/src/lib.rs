//! Write flowgate plugins in Rust.
//!
//! A plugin is a type that implements [`Plugin`] and the hooks it wants, and one line that exports them. This one is complete: it keeps a line about every
//! prompt to the configured hosts, who sent it and to which model. Its configuration is `{"hosts": ["*.example.test"]}`:
//!
//! ```
//! use flowgate_guest::{Direction, Flow, Observer, Plugin, Registration, Rule, log, records};
//!
//! #[derive(serde::Deserialize)]
//! struct Config { hosts: Vec<String> }
//! #[derive(serde::Deserialize)]
//! struct Prompt { model: String }
//! struct Models;
//!
//! impl Plugin for Models {
//!     type Config = Config;
//!     fn configure(config: Config) -> Result<(Self, Registration), String> {
//!         let rule = config.hosts.iter().fold(Rule::any().method("POST").capture(), |rule, host| rule.host(host));
//!         Ok((Self, Registration::new("models", env!("CARGO_PKG_VERSION")).rule(rule)))
//!     }
//! }
//! impl Observer for Models {
//!     fn on_flow_end(&mut self, flow: &Flow) {
//!         let Ok(prompt) = flow.content(Direction::Request).json::<Prompt>() else { return };
//!         if let Err(error) = records::append_line("models.jsonl", &(flow.principal(), prompt.model)) {
//!             log::error(format_args!("no line: {error}"));
//!         }
//!     }
//! }
//! flowgate_guest::export!(Models: observer);
//! ```
//!
//! Built with `cargo build --release --target wasm32-wasip2` as a `cdylib`, the file is a component that can be copied into `plugins/`,
//! under the name the registration gives. `flowgate plugin new NAME --lang rust` makes a folder to begin with, `flowgate plugin build` builds it.
//!
//! # Which flows: rules
//!
//! [`Plugin::configure`] returns a [`Registration`], whose [`Rule`]s the host compiles into one native matcher. A flow that no rule matches never
//! enters the plugin and costs it nothing; a host that no rule of any plugin matches is not even intercepted. A rule also says how bodies are met:
//!
//! | the plugin wants to | mode | hook |
//! | --- | --- | --- |
//! | look at heads alone | `Skip`, the default | any |
//! | look at bodies afterwards, delaying nobody | [`BodyMode::Capture`] | [`Observer`] |
//! | have a body whole before it decides | [`BodyMode::Whole`] | [`RequestFilter`], [`ResponseFilter`] |
//! | rewrite a body while it passes | [`BodyMode::Chunks`] | [`StreamFilter`] |
//!
//! ```
//! use flowgate_guest::{BodyMode, Framing, Rule};
//!
//! let answers = Rule::any().host("*.example.test").path("/v1/*").content_type("text/event-stream");
//! let rule = answers.response_body(BodyMode::Chunks).framing(Framing::SseEvents);
//! # assert_eq!(rule.hosts, ["*.example.test"]);
//! ```
//!
//! # What is in a flow: views
//!
//! A [`Flow`] is a handle into the host; what a plugin does not ask for is never copied. [`Flow::principal`] says who it is, [`Flow::fields`] and
//! [`Flow::content`] are the two halves of a message: `flow.fields(Direction::Request).get("accept")`, `flow.content(Direction::Response).json::<T>()`,
//! `.text()`, `.events()`. [`chat`] knows what prompts and answers of language models look like, whichever interface and framing carried them.
//!
//! # Deciding: filters
//!
//! [`RequestFilter`] and [`ResponseFilter`] run while the flow waits. They change heads and held bodies by the flow's `set_` methods, and answer
//! themselves with a [`LocalResponse`]:
//!
//! ```
//! use flowgate_guest::{Direction, Flow, LocalResponse, NoConfig, Plugin, Registration, RequestAction, RequestFilter, Rule, testing::Sample};
//!
//! struct Uploads;
//! # impl Plugin for Uploads {
//! #     type Config = NoConfig;
//! #     fn configure(_: NoConfig) -> Result<(Self, Registration), String> { Ok((Self, Registration::new("uploads", "1").rule(Rule::any()))) }
//! # }
//! impl RequestFilter for Uploads {
//!     fn on_request(&mut self, flow: &Flow, _body_held: bool) -> RequestAction {
//!         if flow.request().path.starts_with("/upload") {
//!             return RequestAction::Answer(LocalResponse::text(403, "no uploads\n"));
//!         }
//!         let _ = flow.set_header(Direction::Request, "x-seen", "1");
//!         RequestAction::Proceed
//!     }
//! }
//!
//! let flow = Flow::from(Sample::new("POST", "https://a.test/v1"));
//! assert_eq!(Uploads.on_request(&flow, false), RequestAction::Proceed);
//! assert!(flow.fields(Direction::Request).has("x-seen"));
//! ```
//!
//! [`StreamFilter`] is told of pieces: as they arrive, or one whole server-sent event at a time, which [`sse::Event`] reads and writes.
//! [`MessageFilter`] decides about WebSocket messages, [`ConnectFilter`] about tunnels.
//!
//! # Being told: observers
//!
//! [`Observer`] hears of each flow after its end, aborted ones included, and [`MessageObserver`] of WebSocket messages that have passed. Nothing they do
//! delays a client. [`records`] are what they keep; [`log`] is for the operator.
//!
//! # What lasts
//!
//! The host keeps several instances of a plugin and throws them away as it likes: `self` is a cache. Notes about one flow belong in its tags
//! ([`Flow::set_tag`]), what all instances share in [`key_value`], which outlives swaps and restarts and has to be granted. A plugin that registers as
//! [`singleton`](Registration::singleton) has one instance, whose state [`StateHandoff`] takes over a swap. [`metrics`] and [`outbound`] have to be granted, too.
//!
//! # Tests
//!
//! On any target but WebAssembly nothing is exported, and [`testing`] stands in for the host, so that `cargo test` tests a plugin as the plain Rust
//! that it is: a [`Sample`](testing::Sample) becomes a [`Flow`], and [`take_records`](testing::take_records) has what was kept.
//! `flowgate plugin test` then plays recorded flows to the component.
//!
//! # When it goes wrong
//!
//! A panic, an endless loop or too much memory cost the call and its instance: the flow meets the operator's `on-failure`, and the panic's message is part
//! of what the operator reads. What the host promises in full (order of calls, deadlines, failures) is in `wit/plugin.wit`.

mod actions;
#[doc(hidden)]
pub mod bindings;
pub mod chat;
mod content;
#[doc(hidden)]
pub mod export;
mod flow;
mod head;
pub mod key_value;
pub mod log;
pub mod metrics;
pub mod outbound;
mod plugin;
pub mod records;
mod registration;
mod settings;
pub mod sse;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
pub mod text;

pub use actions::{ChunkAction, ConnectAction, Message, MessageAction, MessageKind, MessageRecord, RequestAction, ResponseAction};
pub use bindings::imports::{
    records::WriteMode,
    types::{BodyInfo, ClientInfo, Direction, Header, HttpVersion, LocalResponse, Origin, Outcome, RequestHead, ResponseHead, Timings},
};
pub use content::Content;
pub use flow::Flow;
pub use head::{Field, Fields, Head};
pub use plugin::{
    ConnectFilter, MessageFilter, MessageObserver, NoConfig, Observer, Plugin, RequestFilter, ResponseFilter, StateHandoff, StreamFilter,
};
pub use registration::{BodyMode, Framing, InstanceMode, Registration, Rule};
