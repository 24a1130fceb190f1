//! The proxy between real sockets, real TLS and real components: one binary, one module for each group of promises.

#![allow(clippy::unwrap_used, reason = "clippy takes only functions marked as tests for such; what helps them here is no less")]

mod access;
mod admin;
mod authoring;
mod certificates;
mod chunks;
mod clients;
mod codings;
mod connect;
mod copilot;
mod corpus;
mod costs;
mod crowding;
mod deadlines;
mod exceptions;
mod floods;
mod framing;
mod golden;
mod heads;
mod http2;
mod idling;
mod inputs;
mod interim;
mod layering;
mod leaving;
mod lifecycle;
mod messages;
mod mistakes;
mod onboarding;
mod operating;
mod outbound;
mod plugins;
mod prompts;
mod reach;
mod recording;
mod records;
mod redaction;
mod refusals;
#[cfg(target_os = "linux")]
mod repeating;
mod secrets;
mod security;
mod sharing;
mod shipped;
mod smuggling;
mod soak;
mod splice;
mod storing;
mod streaming;
mod swap;
mod translation;
mod trying;
mod upgrade;
mod upstream;
mod watching;
