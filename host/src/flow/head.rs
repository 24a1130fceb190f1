//! Heads: what is said before content.
//!
//! Place: parsed by `h1` or taken from HTTP/2, forwarded by `exchange`, shown to plugins.
//! Source: RFC 9110 §6.2, RFC 9112 §3 and §4, RFC 9113 §8.3.

use bytes::Bytes;
use http::{Method, StatusCode, Version};

use super::{Fields, Scheme};

/// Which of the two messages of an exchange.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// From the client.
    Request,
    /// From the origin, or from whoever answered in its place.
    Response,
}

/// Control data and fields of a request.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// Case-sensitive (RFC 9110 §9.1).
    pub method: Method,
    /// Of the target URI.
    pub scheme: Scheme,
    /// Host field or `:authority`, as sent; empty for an HTTP/1.0 request without Host.
    pub authority: Bytes,
    /// Path with query, octet for octet as on the wire; `*` for asterisk-form.
    pub path: Bytes,
    /// As the client spoke.
    pub version: Version,
    /// As sent, hop-by-hop fields included until `exchange` takes them out.
    pub fields: Fields,
}

/// Control data and fields of a response.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// Three digits.
    pub status: StatusCode,
    /// Reason phrase as sent, often empty (HTTP/1 only); `None`: not even the space in front of it, which some servers leave out.
    pub reason: Option<Bytes>,
    /// As the origin spoke.
    pub version: Version,
    /// As sent.
    pub fields: Fields,
}

impl ResponseHead {
    /// Media type without parameters, lower case; empty where there is none (RFC 9110 §8.3.1).
    pub fn media_type(&self) -> String {
        media_type(&self.fields)
    }
}

/// Media type without parameters, lower case; empty where there is none (RFC 9110 §8.3.1).
pub(crate) fn media_type(fields: &Fields) -> String {
    let value = fields.get("content-type").map(String::from_utf8_lossy).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
