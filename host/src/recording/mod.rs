//! Recorded flows: what passed, piece by piece, as it can be looked at and played again.
//!
//! Place: `watch` fills them while flows run, `keep` has `file` write them; `har` and `records` make them of what others wrote. `rehearsal` plays them to
//! plugins. Knows no sockets and no plugins.

pub mod file;
#[cfg(test)]
mod fuzz;
mod gallery;
mod har;
mod keep;
mod layout;
mod read;
mod records;
mod room;
mod text;
mod watch;

use std::net::SocketAddr;

use bytes::Bytes;

pub use gallery::{Gallery, GalleryLimits, Glance, News, Shown, Watcher};
pub use har::export as export_har;
pub use keep::{Kept, Limits, Recorded, Recorder};
pub use read::{Source, each, read};
pub use room::Room;
pub use watch::{Keeper, watch};

use crate::flow::{Direction, Fields, MessageKind, Origin, Outcome, RequestHead, ResponseHead};

/// One flow as it passed: what the client sent and what the origin answered, before any plugin changed it.
///
/// Times are microseconds since [`RecordedFlow::began`].
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedFlow {
    /// Unique in its file.
    pub id: u64,
    /// When the request's head had been read, in microseconds since the Unix epoch.
    pub began: u64,
    /// The client's address.
    pub client: SocketAddr,
    /// Flows of one tunnel have one number.
    pub connection: u64,
    /// Who was admitted; never a password.
    pub user: Option<String>,
    /// Where the client wanted to go.
    pub origin: Origin,
    /// As the client sent it, but for hop-by-hop fields.
    pub request: RecordedMessage<RequestHead>,
    /// As the origin sent it; `None` where none came.
    pub response: Option<RecordedMessage<ResponseHead>>,
    /// WebSocket messages, in the order in which they passed.
    pub frames: Vec<RecordedFrame>,
    /// How it ended.
    pub outcome: Outcome,
}

/// A request or a response.
#[derive(Clone, Debug)]
pub struct RecordedMessage<H> {
    /// Field lines in their order and spelling.
    pub head: H,
    /// When the head had been read.
    pub at: u64,
    /// Its content.
    pub body: RecordedBody,
}

/// The content of one message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecordedBody {
    /// As they arrived, content codings still on; never empty ones.
    pub pieces: Vec<RecordedPiece>,
    /// Octets that passed; more than are kept where recording was cut short.
    pub length: u64,
    /// When its last octet had been read; `None`: it broke off.
    pub ended: Option<u64>,
    /// Empty where there were none.
    pub trailers: Fields,
}

/// What arrived at once.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RecordedPiece {
    /// When.
    pub at: u64,
    /// What.
    pub octets: Bytes,
}

/// A WebSocket message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RecordedFrame {
    /// From the client, or from the origin.
    pub sent: Direction,
    /// What it is.
    pub kind: MessageKind,
    /// When it had been read.
    pub at: u64,
    /// Octets it had, compression undone; more than are kept where recording was cut short.
    pub length: u64,
    /// Its content.
    pub content: Bytes,
}

impl RecordedFlow {
    /// Absolute URL as the client asked for it.
    pub fn url(&self) -> String {
        format!("{}{}", self.origin, String::from_utf8_lossy(&self.request.head.path))
    }

    /// The same in buffers of its own: what it was made of are handles to buffers that hold more than it.
    pub fn detached(mut self) -> Self {
        let head = &mut self.request.head;
        (head.authority, head.path) = (Bytes::copy_from_slice(&head.authority), Bytes::copy_from_slice(&head.path));
        head.fields = head.fields.detached();
        self.request.body.detach();
        if let Some(response) = &mut self.response {
            response.head.reason = response.head.reason.as_deref().map(Bytes::copy_from_slice);
            response.head.fields = response.head.fields.detached();
            response.body.detach();
        }
        for frame in &mut self.frames {
            frame.content = Bytes::copy_from_slice(&frame.content);
        }
        self
    }

    /// Octets that its contents and messages occupy, which is nearly all it does: each piece and each message counts, were it empty.
    pub fn occupied(&self) -> usize {
        let response = self.response.as_ref().map_or(0, |response| response.body.occupied());
        self.request.body.occupied() + response + self.frames.iter().map(RecordedFrame::occupied).sum::<usize>()
    }
}

impl RecordedPiece {
    fn occupied(&self) -> usize {
        self.octets.len() + size_of::<Self>()
    }
}

impl RecordedFrame {
    fn occupied(&self) -> usize {
        self.content.len() + size_of::<Self>()
    }

    /// Recording was cut short.
    pub fn is_cut(&self) -> bool {
        self.length > self.content.len() as u64
    }
}

impl RecordedBody {
    /// Content that arrived whole at one moment.
    pub fn whole(octets: Bytes, at: u64) -> Self {
        let length = octets.len() as u64;
        let pieces = if octets.is_empty() { Vec::new() } else { vec![RecordedPiece { at, octets }] };
        Self { pieces, length, ended: Some(at), trailers: Fields::default() }
    }

    /// Octets that are kept.
    pub fn kept(&self) -> usize {
        self.pieces.iter().map(|piece| piece.octets.len()).sum()
    }

    fn occupied(&self) -> usize {
        self.pieces.iter().map(RecordedPiece::occupied).sum()
    }

    /// All that is kept, as one piece.
    pub fn octets(&self) -> Bytes {
        match self.pieces.as_slice() {
            [] => Bytes::new(),
            [one] => one.octets.clone(),
            many => many.iter().flat_map(|piece| piece.octets.iter().copied()).collect(),
        }
    }

    fn detach(&mut self) {
        let all: Vec<u8> = self.pieces.iter().flat_map(|piece| piece.octets.iter().copied()).collect();
        let (all, mut at) = (Bytes::from(all), 0);
        for piece in &mut self.pieces {
            let length = piece.octets.len();
            piece.octets = all.slice(at..at + length);
            at += length;
        }
        self.trailers = self.trailers.detached();
    }

    /// Recording was cut short.
    pub fn is_cut(&self) -> bool {
        self.length > self.kept() as u64
    }
}

impl PartialEq for RecordedMessage<RequestHead> {
    fn eq(&self, other: &Self) -> bool {
        let (one, two) = (&self.head, &other.head);
        let heads = one.method == two.method
            && one.scheme == two.scheme
            && one.authority == two.authority
            && one.path == two.path
            && one.version == two.version
            && one.fields == two.fields;
        heads && self.at == other.at && self.body == other.body
    }
}

impl PartialEq for RecordedMessage<ResponseHead> {
    fn eq(&self, other: &Self) -> bool {
        let (one, two) = (&self.head, &other.head);
        let heads = one.status == two.status && one.reason == two.reason && one.version == two.version && one.fields == two.fields;
        heads && self.at == other.at && self.body == other.body
    }
}

#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
mod tests {
    use super::testing::{conversation, flow};

    #[test]
    fn detached_flows_are_the_same() {
        for recorded in [flow(1), conversation(2)] {
            assert_eq!(recorded.clone().detached(), recorded);
        }
    }
}
