//! WebSocket messages, whatever frames carry them.
//!
//! Place: between `exchange`, which reads and writes them, and the plugins that want them.
//! Source: RFC 6455 §5.6.

use std::time::Instant;

use bytes::Bytes;

use super::Direction;

/// A whole message, codings undone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message {
    /// Its sender says that it is text, which its octets need not bear out.
    pub is_text: bool,
    /// All of it.
    pub content: Bytes,
}

/// A message that was sent on.
#[derive(Clone, Debug)]
pub struct PassedMessage {
    /// From the client, or from the origin.
    pub sent: Direction,
    /// What it was.
    pub kind: MessageKind,
    /// When its last octet had been sent on.
    pub at: Instant,
    /// Octets it had, codings undone.
    pub length: u64,
    /// The first of them; all, unless there were more than anyone wants.
    pub content: Bytes,
}

/// What passed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MessageKind {
    /// A text message.
    Text,
    /// A binary message.
    Binary,
    /// A close frame; the content is its status code (two octets) and reason, or nothing.
    Closed,
}
