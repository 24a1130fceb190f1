//! One owner's HTTP/2 connections to one origin, each of which carries many exchanges.
//!
//! Place: part of `pool`; whose they are is `owners`' to say. One is enough until it carries as many streams as the origin allows: events take
//! theirs for long, so that other requests of the same client would wait for minutes. Then there is another.
//! Policy when full: who comes then waits for a stream of the connection that carries the fewest.
//! Source: RFC 9113 §5.1.2, §9.1.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use h2::client::SendRequest;

use super::dial::Dialled;

/// See the module.
#[derive(Default)]
pub(super) struct Connections(Vec<One>);

struct One {
    send: SendRequest<Bytes>,
    /// Held by this, and by each share.
    streams: Arc<Streams>,
}

/// Of one connection.
#[derive(Default)]
struct Streams {
    /// Somebody has logged in on one of them (RFC 4559 §6).
    login: AtomicBool,
}

/// Room for one stream on a connection; held as long as that is in use.
pub struct Share {
    /// Takes the request.
    pub send: SendRequest<Bytes>,
    /// When the connection came up, if that was for this one.
    pub(super) dialled: Option<Dialled>,
    stream: Arc<Streams>,
}

impl Share {
    /// Its owner logs in on the connection, or is asked to: nobody is to have it afterwards.
    pub fn carry_login(&self) {
        self.stream.login.store(true, Ordering::Relaxed);
    }
}

impl Connections {
    /// Room on a connection that has some; with `most` of them, on any. `None`: another one is needed.
    pub(super) fn share(&mut self, most: usize) -> Option<Share> {
        self.0.retain_mut(One::is_alive);
        let least = self.0.iter().min_by_key(|one| one.carried())?;
        let has_room = least.carried() < least.send.current_max_send_streams();
        (has_room || self.0.len() >= most).then(|| least.share())
    }

    /// Lets go what an owner that has gone has logged in on; the rest is for another one.
    pub(super) fn log_out(&mut self) {
        self.0.retain(|one| !one.streams.login.load(Ordering::Relaxed));
    }

    /// One more, and room on it.
    pub(super) fn add(&mut self, send: SendRequest<Bytes>, dialled: Dialled) -> Share {
        let one = One { send, streams: Arc::default() };
        let share = Share { dialled: Some(dialled), ..one.share() };
        self.0.push(one);
        share
    }
}

impl One {
    fn share(&self) -> Share {
        Share { send: self.send.clone(), dialled: None, stream: self.streams.clone() }
    }

    fn carried(&self) -> usize {
        Arc::strong_count(&self.streams) - 1
    }

    /// Alive is: it stands, and the origin does not want it to end. A handle that has sent nothing waits for nothing.
    fn is_alive(&mut self) -> bool {
        matches!(self.send.poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(())))
    }
}
