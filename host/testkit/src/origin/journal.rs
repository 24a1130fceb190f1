//! What an origin saw, and waiting for it.

use std::{
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use crate::{message::Trouble, patience::within};

/// One request as it arrived.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Which of the origin's connections it came on, counted from 0.
    pub connection: usize,
    /// Over HTTP/2. Then `head` is empty.
    pub http2: bool,
    /// As on the wire, with the empty line.
    pub head: Vec<u8>,
    /// As sent.
    pub method: String,
    /// As sent; of HTTP/2 the path.
    pub target: String,
    /// `:authority` of HTTP/2; else empty.
    pub authority: String,
    /// Names as sent, values without surrounding white space, in order. Of HTTP/2 without pseudo-fields and grouped by name.
    pub fields: Vec<(String, Vec<u8>)>,
    /// Content so far, without chunk framing.
    pub content: Vec<u8>,
    /// The same as on the wire; empty for HTTP/2.
    pub wire_content: Vec<u8>,
    /// Lower-case name, value.
    pub trailers: Vec<(String, Vec<u8>)>,
    /// The whole request is here.
    pub complete: bool,
    /// The whole answer was written.
    pub answered: bool,
    /// The client left, or broke the request off, before the answer was complete.
    pub gone: Option<Trouble>,
}

impl Seen {
    /// The first value of that name, in any case of letters, as text.
    pub fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.fields.iter().find(|(is, _)| is.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// Whether there is a field of that name, in any case of letters.
    pub fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(is, _)| is.eq_ignore_ascii_case(name))
    }

    /// `name: value` lines, each with a line feed.
    pub fn field_lines(&self) -> Vec<u8> {
        self.fields.iter().flat_map(|(name, value)| [name.as_bytes(), b": ", value, b"\n"].concat()).collect()
    }
}

/// One connection as the origin knows it.
#[derive(Clone, Debug)]
pub struct Peer {
    /// From where.
    pub address: SocketAddr,
    /// SNI, where TLS came up and the client sent one.
    pub server_name: Option<String>,
    /// What ALPN agreed on.
    pub alpn: Option<Vec<u8>>,
    /// Why TLS did not come up.
    pub handshake_error: Option<String>,
    /// How it ended; `None` while it stands.
    pub ended: Option<Trouble>,
}

/// Everything an origin saw.
#[derive(Debug, Default)]
pub struct Journal {
    inner: Mutex<Inner>,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    requests: Vec<Seen>,
    peers: Vec<Peer>,
}

impl Journal {
    /// The requests so far.
    pub fn requests(&self) -> Vec<Seen> {
        self.lock().requests.clone()
    }

    /// The connections so far.
    pub fn peers(&self) -> Vec<Peer> {
        self.lock().peers.clone()
    }

    /// Waits until `find` finds what it looks for.
    ///
    /// # Panics
    /// Where that is not within [`PATIENCE`](crate::PATIENCE).
    pub async fn wait<T>(&self, what: &str, mut find: impl FnMut(&[Seen], &[Peer]) -> Option<T>) -> T {
        let mut changes = self.changes.subscribe();
        within(what, async {
            loop {
                let found = {
                    let inner = self.lock();
                    find(&inner.requests, &inner.peers)
                };
                if let Some(found) = found {
                    return found;
                }
                // The sender lives in `self`.
                let _ = changes.changed().await;
            }
        })
        .await
    }

    pub(super) fn connected(&self, address: SocketAddr) -> usize {
        let peer = Peer { address, server_name: None, alpn: None, handshake_error: None, ended: None };
        self.change(|inner| {
            inner.peers.push(peer);
            inner.peers.len() - 1
        })
    }

    pub(super) fn peer(&self, connection: usize, change: impl FnOnce(&mut Peer)) {
        self.change(|inner| change(&mut inner.peers[connection]));
    }

    pub(super) fn asked(&self, seen: Seen) -> usize {
        self.change(|inner| {
            inner.requests.push(seen);
            inner.requests.len() - 1
        })
    }

    pub(super) fn request(&self, at: usize, change: impl FnOnce(&mut Seen)) {
        self.change(|inner| change(&mut inner.requests[at]));
    }

    pub(super) fn look(&self, at: usize) -> Seen {
        self.lock().requests[at].clone()
    }

    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let changed = change(&mut self.lock());
        self.changes.send_modify(|count| *count += 1);
        changed
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
