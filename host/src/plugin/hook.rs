//! The functions a component exports, by name.
//!
//! Place: what calls are counted, timed, refused and explained by.

use crate::flow::Direction;

/// One function a component may export.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Hook {
    Configure,
    Connect,
    Request,
    Response,
    BodyStart,
    Chunk,
    BodyEnd,
    Message,
    FlowEnd,
    MessagePassed,
    Save,
    Restore,
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
            Self::Configure => "configure",
            Self::Connect => "on-connect",
            Self::Request => "on-request",
            Self::Response => "on-response",
            Self::BodyStart => "on-body-start",
            Self::Chunk => "on-chunk",
            Self::BodyEnd => "on-body-end",
            Self::Message => "on-message",
            Self::FlowEnd => "on-flow-end",
            Self::MessagePassed => "on-message-passed",
            Self::Save => "save",
            Self::Restore => "restore",
        }
    }

    /// It is called about a flow or a tunnel, not about the plugin itself.
    pub(super) fn is_about_flows(self) -> bool {
        !matches!(self, Self::Configure | Self::Save | Self::Restore)
    }

    /// It is called many times about one flow.
    pub(super) fn repeats(self) -> bool {
        matches!(self, Self::Chunk | Self::Message | Self::MessagePassed)
    }

    /// It is told of what has happened; no flow waits for it.
    pub(super) fn observes(self) -> bool {
        matches!(self, Self::FlowEnd | Self::MessagePassed)
    }
}
