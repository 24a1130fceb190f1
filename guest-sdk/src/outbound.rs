//! Requests of the plugin's own, to origins that the operator names: `outbound = ["https://api.example.com"]` in the plugin's table of
//! `flowgate.toml`.
//!
//! The call waits for the whole response, and the flow with it where there is one; the time counts against the call's time by the clock.

use std::{error, fmt};

#[cfg(target_family = "wasm")]
use crate::bindings::imports::outbound;
use crate::{Header, HttpVersion, LocalResponse, RequestHead};

/// Why there is no response.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FetchError {
    /// The operator did not name that origin.
    Denied,
    /// It took longer than was allowed.
    Timeout,
    /// The request's body or the response's is larger than the host takes.
    TooLarge,
    /// Anything else, in words.
    Failed(String),
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied => f.write_str("the origin is not granted"),
            Self::Timeout => f.write_str("it took too long"),
            Self::TooLarge => f.write_str("request or response are too large"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

impl error::Error for FetchError {}

#[cfg(target_family = "wasm")]
impl From<outbound::Error> for FetchError {
    fn from(error: outbound::Error) -> Self {
        match error {
            outbound::Error::Denied => Self::Denied,
            outbound::Error::Timeout => Self::Timeout,
            outbound::Error::TooLarge => Self::TooLarge,
            outbound::Error::Failed(why) => Self::Failed(why),
        }
    }
}

/// A request to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Fetch {
    /// The host adds Host and whatever frames the body.
    pub head: RequestHead,
    /// May be empty.
    pub body: Vec<u8>,
    /// Milliseconds; 0: as long as the call may take.
    pub timeout_ms: u32,
}

impl Fetch {
    /// `url` is absolute.
    pub fn new(method: &str, url: &str) -> Self {
        let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let head = RequestHead {
            method: method.to_owned(),
            scheme: scheme.to_owned(),
            authority: authority.to_owned(),
            path,
            version: HttpVersion::Http11,
            headers: Vec::new(),
        };
        Self { head, body: Vec::new(), timeout_ms: 0 }
    }

    /// One more field.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.head.headers.push(Header::new(name, value));
        self
    }

    /// The body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Gives up after so many milliseconds.
    #[must_use]
    pub fn timeout_ms(mut self, millis: u32) -> Self {
        self.timeout_ms = millis;
        self
    }

    /// Sends it and waits for the whole response. Redirections are not followed, content codings not undone.
    ///
    /// # Errors
    /// There is no response, or it is larger than the host takes.
    pub fn send(&self) -> Result<LocalResponse, FetchError> {
        #[cfg(target_family = "wasm")]
        return outbound::fetch(&self.head, &self.body, self.timeout_ms).map_err(FetchError::from);
        #[cfg(not(target_family = "wasm"))]
        crate::testing::outbound::fetch(self)
    }
}
