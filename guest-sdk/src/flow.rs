//! The flow a hook is about.

#[cfg(target_family = "wasm")]
use crate::bindings::imports::context::Flow as Source;
#[cfg(not(target_family = "wasm"))]
use crate::testing::Source;
use crate::{
    BodyInfo, ClientInfo, Content, Direction, Fields, Head, Header, MessageRecord, Origin, Outcome, RequestHead, ResponseHead, Timings,
    text,
};

/// A handle into the host, good until the hook returns. Every method is a call into the host that copies what it returns: ask once,
/// and only for what is looked at. In a native test it stands on plain data, see [`testing::Sample`](crate::testing::Sample).
#[derive(Debug)]
pub struct Flow(Source);

impl From<Source> for Flow {
    fn from(source: Source) -> Self {
        Self(source)
    }
}

impl Flow {
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn source(&self) -> &Source {
        &self.0
    }

    /// Unique within one run of the host.
    pub fn id(&self) -> u64 {
        self.0.id()
    }

    /// Who is on the other end.
    pub fn client(&self) -> ClientInfo {
        self.0.client()
    }

    /// Who was admitted by proxy authentication, if anybody said; never a password.
    pub fn principal(&self) -> Option<String> {
        self.client().user
    }

    /// Absolute URL as the client asked for it, default port left out.
    pub fn url(&self) -> String {
        self.0.url()
    }

    /// Host of [`url`](Self::url): where the client wanted to go, whatever the Host field says. No port, no brackets.
    pub fn host(&self) -> String {
        text::host_of(&self.url()).to_owned()
    }

    /// The request's head as it stands; for an observer, as it was sent to the origin.
    pub fn request(&self) -> RequestHead {
        self.0.request()
    }

    /// The response's head, once there is one; for an observer, as it was sent to the client.
    pub fn response(&self) -> Option<ResponseHead> {
        self.0.response()
    }

    /// The head of a message as it stands; `None` for a response that is not there. Costs a third of [`request`](Self::request).
    pub fn head(&self, of: Direction) -> Option<Head> {
        Head::new(self.0.head(of))
    }

    /// The field section of a message as it stands; empty for a response that is not there.
    pub fn fields(&self, of: Direction) -> Fields {
        self.head(of).map(Head::into_fields).unwrap_or_default()
    }

    /// First field of that name, in any case of letters: one value alone is cheaper so than by [`fields`](Self::fields).
    pub fn header(&self, of: Direction, name: &str) -> Option<Vec<u8>> {
        self.0.header(of, name)
    }

    /// The same as text; octets that are not UTF-8 are read as Latin-1.
    pub fn header_text(&self, of: Direction, name: &str) -> Option<String> {
        self.0.header_text(of, name)
    }

    /// Fields after the content.
    pub fn trailers(&self, of: Direction) -> Vec<Header> {
        self.0.trailers(of)
    }

    /// The content of a message as far as it is held: octets, text, JSON or events.
    pub fn content(&self, of: Direction) -> Content {
        Content::new(self.body(of), self.body_info(of))
    }

    /// What is held of a body now; all zero if the rule keeps nothing.
    pub fn body_info(&self, of: Direction) -> BodyInfo {
        self.0.body_info(of)
    }

    /// The body as far as it is held, content coding undone.
    pub fn body(&self, of: Direction) -> Vec<u8> {
        self.0.body(of)
    }

    /// The same as text; what is not UTF-8 is replaced.
    pub fn body_text(&self, of: Direction) -> String {
        self.0.body_text(of)
    }

    /// At most `max` octets of it from `offset`; empty at the end.
    pub fn read_body(&self, of: Direction, offset: u32, max: u32) -> Vec<u8> {
        self.0.read_body(of, offset, max)
    }

    /// In message observers, and in the observer after them: the WebSocket messages this plugin was told of from sequence `first` on, the one in
    /// question included; as many as have `max` octets of content together, and at least one if there is one.
    pub fn held_messages(&self, first: u32, max: u32) -> Vec<MessageRecord> {
        self.0.held_messages(first, max)
    }

    /// Lets those with a lower sequence go, to make room.
    pub fn release_messages(&self, before: u32) {
        self.0.release_messages(before);
    }

    /// When things happened.
    pub fn timings(&self) -> Timings {
        self.0.timings()
    }

    /// How it ended.
    pub fn outcome(&self) -> Outcome {
        self.0.outcome()
    }

    /// One field of that name, in the place of the first.
    ///
    /// # Errors
    /// As for every change: in an observer, on a message that has been sent, on a field that is the host's (framing, hop-by-hop), with
    /// octets that no field may hold, or where the message would end elsewhere for the client (HEAD, 204, 304).
    pub fn set_header(&self, of: Direction, name: &str, value: impl AsRef<[u8]>) -> Result<(), String> {
        self.0.set_header(of, name, value.as_ref())
    }

    /// One more field.
    ///
    /// # Errors
    /// As for [`set_header`](Self::set_header).
    pub fn add_header(&self, of: Direction, name: &str, value: impl AsRef<[u8]>) -> Result<(), String> {
        self.0.add_header(of, name, value.as_ref())
    }

    /// No field of that name.
    ///
    /// # Errors
    /// As for [`set_header`](Self::set_header).
    pub fn remove_header(&self, of: Direction, name: &str) -> Result<(), String> {
        self.0.remove_header(of, name)
    }

    /// Another method.
    ///
    /// # Errors
    /// As for [`set_header`](Self::set_header).
    pub fn set_method(&self, method: &str) -> Result<(), String> {
        self.0.set_method(method)
    }

    /// Another path, with query.
    ///
    /// # Errors
    /// As for [`set_header`](Self::set_header).
    pub fn set_path(&self, path: &str) -> Result<(), String> {
        self.0.set_path(path)
    }

    /// Another status.
    ///
    /// # Errors
    /// As for [`set_header`](Self::set_header).
    pub fn set_status(&self, status: u16) -> Result<(), String> {
        self.0.set_status(status)
    }

    /// Where to connect instead of the place the request names.
    ///
    /// # Errors
    /// As for [`set_header`](Self::set_header).
    pub fn send_to(&self, origin: &Origin) -> Result<(), String> {
        self.0.send_to(origin)
    }

    /// Another body, while it is held. The host repairs what the fields say about it.
    ///
    /// # Errors
    /// As for [`set_header`](Self::set_header), and while the body is not held.
    pub fn set_body(&self, of: Direction, body: impl AsRef<[u8]>) -> Result<(), String> {
        self.0.set_body(of, body.as_ref())
    }

    /// A note attached to the flow.
    pub fn tag(&self, key: &str) -> Option<String> {
        self.0.tag(key)
    }

    /// Attaches a note, which later hooks and other plugins see. Keys are written `plugin.key`.
    pub fn set_tag(&self, key: &str, value: &str) {
        self.0.set_tag(key, value);
    }
}
