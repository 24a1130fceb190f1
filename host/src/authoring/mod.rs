//! Making plugins: a folder to begin with, the component it comes to, and what every language needs on the way.
//!
//! Place: called by `cli`; the proxy itself never comes here. Knows compilers, packagers and the contract's text; nothing of flows, sockets or of
//! how a component is run. Nothing is fetched but by the author's own package manager, and only into the plugin's own folder.

mod bindings;
mod build;
mod contract;
mod language;
mod manifest;
mod new;
mod pack;
mod requirements;
mod slim;
mod templates;
mod tools;

#[cfg(test)]
mod tests;

pub use build::{Built, Engine, Order, build};
pub use contract::{VERSION, WIT};
pub use language::{Language, Taste};
pub use new::new;
pub use pack::{Described, pack};
