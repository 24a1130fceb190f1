//! Exchanges: requests in, responses out.
//!
//! Place: `net` hands over a connection whose peer is known; connections to origins come from `origin`, decisions from `hooks`.
//! Knows neither plugins nor configuration.
//! Source: RFC 9110, RFC 9112, RFC 9113.

mod download;
mod ends;
mod fault;
mod fetch;
mod fields;
mod filter;
mod flood;
mod flushes;
mod forward;
#[cfg(test)]
mod fuzz;
mod http2;
mod respond;
mod run;
mod serve;
mod stream;
mod target;
mod tee;
mod upgrade;
mod websocket;

use std::{net::IpAddr, sync::Arc, time::Duration};

use crate::{flow::CaptureBudget, h1::HeadLimits, hooks::Hooks, meters::Meters, origin::Pool, shares::Shares, spans::Spans, tasks::Tasks};

pub use fetch::Fetcher;
pub use fields::persists;
pub use flood::FloodLimits;
pub use respond::{error, head as local_head, refusal as local_refusal, sentence};
pub use run::{After, Request, Via};
pub use serve::Served;
pub use target::{Target, at_proxy};
pub use upgrade::relay;

/// Bounds of an exchange.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of request and response heads.
    pub head: HeadLimits,
    /// Longest wait for a whole request head, from its first octet.
    pub head_deadline: Duration,
    /// Longest wait for the next request on a connection.
    pub keep_alive: Duration,
    /// Longest silence in the middle of content.
    pub idle: Duration,
    /// Longest wait for a response's head, from the end of the request or the last interim response.
    pub response: Duration,
    /// Most interim responses to one request.
    pub interim_responses: usize,
    /// Most HTTP/2 streams of one client connection at once.
    pub streams: u32,
    /// Octets of each, at either end, that may wait to be sent.
    pub stream_buffer: usize,
    /// Most of these that a client resets before they have been looked at.
    pub resets_unseen: usize,
    /// Most streams of one connection that are reset here because of what is wrong with them.
    pub stream_errors: usize,
    /// What else a client may send over HTTP/2.
    pub floods: FloodLimits,
    /// Octets a compressed WebSocket message may inflate to.
    pub inflated_message: u64,
    /// How long a client that is closed here may take to read why, and so may both ends of a WebSocket.
    pub farewell: Duration,
    /// Octets they may still send meanwhile.
    pub farewell_octets: u64,
}

/// What all exchanges share.
pub struct Exchange {
    /// What decides about flows.
    pub hooks: Arc<dyn Hooks>,
    /// Connections to origins.
    pub pool: Arc<Pool>,
    /// Bounds.
    pub limits: Limits,
    /// Where what passes is counted.
    pub meters: Arc<Meters>,
    /// Where flows are told of as traces, if anywhere.
    pub spans: Option<Arc<Spans>>,
    /// What plugins see of contents is counted in it.
    pub captured: CaptureBudget,
    /// Streams of HTTP/2 that clients have. What a stream holds where one of its ends stands still is bounded (its windows, what waits to be
    /// sent, its head); this bounds the sum. HTTP/1 has one exchange on each connection, and those are counted by `net`.
    pub streams: Shares<IpAddr>,
    /// Where streams of HTTP/2 connections run; its stop lets every connection end after the exchange it is in.
    pub tasks: Tasks,
}
