//! What hooks answer, and what they are told of messages.

use serde::Serialize;

use crate::bindings::imports::types::{Header, LocalResponse};
pub use crate::bindings::{
    connect_filter::ConnectAction,
    message_filter::{Message, MessageAction},
    message_observer::{MessageKind, MessageRecord},
    request_filter::RequestAction,
    response_filter::ResponseAction,
    stream_filter::ChunkAction,
};

impl LocalResponse {
    /// A short answer for people, `text/plain` in UTF-8.
    pub fn text(status: u16, body: &str) -> Self {
        let headers = vec![Header::new("content-type", "text/plain; charset=utf-8")];
        Self { status, headers, body: body.as_bytes().to_vec() }
    }

    /// An answer in JSON.
    ///
    /// # Errors
    /// The value does not go into JSON: a map with keys that are no strings, say.
    pub fn json(status: u16, value: &impl Serialize) -> Result<Self, serde_json::Error> {
        Ok(Self { status, headers: vec![Header::new("content-type", "application/json")], body: serde_json::to_vec(value)? })
    }
}

impl Header {
    /// A field of that name and value.
    pub fn new(name: &str, value: impl AsRef<[u8]>) -> Self {
        Self { name: name.to_owned(), value: value.as_ref().to_vec() }
    }
}
