//! The hooks of the contract, by name.
//!
//! Place: what calls are counted, timed, refused and explained by.

use crate::flow::Direction;

/// One function a component may export.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Hook {
    Connect,
    Request,
    Response,
    BodyStart,
    Chunk,
    BodyEnd,
    Message,
    FlowEnd,
    MessagePassed,
}

impl Hook {
    /// The one that filters that message.
    pub(super) fn about(message: Direction) -> Self {
        match message {
            Direction::Request => Self::Request,
            Direction::Response => Self::Response,
        }
    }

    /// As the contract spells it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Connect => "on-connect",
            Self::Request => "on-request",
            Self::Response => "on-response",
            Self::BodyStart => "on-body-start",
            Self::Chunk => "on-chunk",
            Self::BodyEnd => "on-body-end",
            Self::Message => "on-message",
            Self::FlowEnd => "on-flow-end",
            Self::MessagePassed => "on-message-passed",
        }
    }

    /// It is told of what has happened; no flow waits for it.
    pub(super) fn observes(self) -> bool {
        matches!(self, Self::FlowEnd | Self::MessagePassed)
    }
}
