//! What an origin does about one request, step by step.
//!
//! Place: made by a test, performed by `h1` or `h2`. Pauses are gates that the test opens, never a clock.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicUsize},
};

use bytes::Bytes;
use h2::Reason;

use super::{Seen, Talk};
use crate::{gate::Gate, message::Framing, wire::Wire};

/// One step.
pub enum Act {
    /// Read the request to its end.
    Read,
    /// An interim response (1xx).
    Interim(u16, Vec<(String, Vec<u8>)>),
    /// The final response's head; framing fields are added where it has none.
    Head {
        /// Three digits.
        status: u16,
        /// HTTP/1.1 only; may be empty.
        reason: String,
        /// In order, names as spelled (lower case in HTTP/2).
        fields: Vec<(String, Vec<u8>)>,
    },
    /// Content.
    Data(Bytes),
    /// Octets as they stand; HTTP/1.1 only.
    Raw(Bytes),
    /// The trailer section; chunked or HTTP/2.
    Trailers(Vec<(String, Vec<u8>)>),
    /// Wait for the test.
    Hold(Gate),
    /// Go on with what this makes of the request.
    Then(Box<dyn FnOnce(&Seen) -> Script + Send>),
    /// Count one more: how far the script has come.
    Count(Arc<AtomicUsize>),
    /// Send back whatever comes, until the client ends; HTTP/1.1 only.
    Echo,
    /// Speak another protocol on the connection until it ends; HTTP/1.1 only.
    Speak(Talk),
    /// Close in good order.
    Close,
    /// TCP without `close_notify`; HTTP/1.1 only.
    Cut,
    /// RST, or RST_STREAM.
    Reset,
    /// RST_STREAM for that reason; HTTP/2 only.
    ResetFor(Reason),
}

impl fmt::Debug for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "Read",
            Self::Interim(..) => "Interim",
            Self::Head { .. } => "Head",
            Self::Data(_) => "Data",
            Self::Raw(_) => "Raw",
            Self::Trailers(_) => "Trailers",
            Self::Hold(_) => "Hold",
            Self::Then(_) => "Then",
            Self::Count(_) => "Count",
            Self::Echo => "Echo",
            Self::Speak(_) => "Speak",
            Self::Close => "Close",
            Self::Cut => "Cut",
            Self::Reset => "Reset",
            Self::ResetFor(_) => "ResetFor",
        })
    }
}

/// The steps about one request. Unless told otherwise the request is read to its end first, and content is framed by its length.
#[derive(Debug)]
pub struct Script {
    pub(super) acts: Vec<Act>,
    pub(super) framing: Framing,
}

impl Script {
    /// An answer of that status.
    pub fn new(status: u16) -> Self {
        let reason = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or_default().to_owned();
        Self { acts: vec![Act::Read, Act::Head { status, reason, fields: Vec::new() }], framing: Framing::Length(0) }
    }

    /// 200 with that content.
    pub fn ok(content: impl Into<Bytes>) -> Self {
        Self::new(200).data(content)
    }

    /// Octets as they stand. HTTP/1.1 only.
    pub fn raw(octets: impl Into<Bytes>) -> Self {
        Self { acts: vec![Act::Read, Act::Raw(octets.into())], framing: Framing::None }
    }

    /// No answer: nothing was done. HTTP/2 only.
    pub fn refusing() -> Self {
        Self { acts: vec![Act::ResetFor(Reason::REFUSED_STREAM)], framing: Framing::None }
    }

    /// What `make` makes of the whole request.
    pub fn after_reading(make: impl FnOnce(&Seen) -> Self + Send + 'static) -> Self {
        Self { acts: vec![Act::Read, Act::Then(Box::new(make))], framing: Framing::None }
    }

    /// 200 with server-sent events, chunked, the gate before each but not before the head: the first is sent when the test opens it.
    pub fn events<E: Into<Bytes>>(events: impl IntoIterator<Item = E>, gate: &Gate) -> Self {
        let begin = Self::new(200).field("content-type", "text/event-stream").chunked();
        events.into_iter().fold(begin, |script, event| script.hold(gate).data(event))
    }

    /// 101 with an `Upgrade` field; everything after it is sent back as it comes.
    pub fn upgrade(protocol: &str) -> Self {
        Self::raw(format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n")).then(Act::Echo)
    }

    /// The head of a 101, then another protocol.
    pub fn switching<F>(head: impl Into<Bytes>, talk: impl Fn(Wire) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::raw(head).then(Act::Speak(Arc::new(move |wire| Box::pin(talk(wire)))))
    }

    /// One more field of the head.
    ///
    /// # Panics
    /// Where the script has no head.
    pub fn field(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let head = self.acts.iter_mut().find_map(|act| match act {
            Act::Head { fields, .. } => Some(fields),
            _ => None,
        });
        head.expect("this script has a head").push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Content, or one more piece of it.
    pub fn data(self, content: impl Into<Bytes>) -> Self {
        self.then(Act::Data(content.into()))
    }

    /// Wait until the gate is opened for this.
    pub fn hold(self, gate: &Gate) -> Self {
        self.then(Act::Hold(gate.clone()))
    }

    /// Frame the content by chunks, one for each piece.
    pub fn chunked(mut self) -> Self {
        self.framing = Framing::Chunked;
        self
    }

    /// End the content with the connection.
    pub fn until_close(mut self) -> Self {
        self.framing = Framing::UntilClose;
        self
    }

    /// End with trailers.
    pub fn trailers(self, fields: &[(&str, &str)]) -> Self {
        self.then(Act::Trailers(owned(fields)))
    }

    /// Do not read the request's content before answering; it is read afterwards.
    pub fn early(mut self) -> Self {
        self.acts.retain(|act| !matches!(act, Act::Read));
        self
    }

    /// 100 (Continue) before the request's content is read.
    pub fn continuing(self) -> Self {
        self.interim(100, &[])
    }

    /// An interim response before everything else.
    pub fn interim(self, status: u16, fields: &[(&str, &str)]) -> Self {
        self.interim_with(status, owned(fields))
    }

    /// The same with values that are no text.
    pub fn interim_with(mut self, status: u16, fields: Vec<(String, Vec<u8>)>) -> Self {
        self.acts.insert(0, Act::Interim(status, fields));
        self
    }

    /// A step before everything else.
    pub fn before(mut self, act: Act) -> Self {
        self.acts.insert(0, act);
        self
    }

    /// Close in good order.
    pub fn close(self) -> Self {
        self.then(Act::Close)
    }

    /// Reset the connection, or the stream.
    pub fn reset(self) -> Self {
        self.then(Act::Reset)
    }

    /// One more step.
    pub fn then(mut self, act: Act) -> Self {
        self.acts.push(act);
        self
    }

    /// All content there is in it.
    pub(super) fn length(&self) -> usize {
        self.acts.iter().map(|act| if let Act::Data(octets) = act { octets.len() } else { 0 }).sum()
    }
}

fn owned(fields: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect()
}
