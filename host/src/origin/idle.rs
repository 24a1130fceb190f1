//! Connections to origins that wait for their next request.
//!
//! Place: part of `pool`. Bounded for each origin and in all.
//! Policy when full: the one that has waited longest is closed.
//! Source: RFC 9112 §9.3.

use std::{
    collections::{BTreeMap, HashMap},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use super::pool::{Connection, Destination};

/// See the module.
#[derive(Default)]
pub(super) struct Idles {
    /// Of each origin those that came last come last; no list is empty.
    kept: HashMap<Destination, Vec<Idle>>,
    /// The origins by the turn of their first.
    oldest: BTreeMap<u64, Destination>,
    len: usize,
    /// Of the next one.
    turn: u64,
}

struct Idle {
    connection: Box<Connection>,
    /// Counts those that were kept.
    turn: u64,
    since: Instant,
}

impl Idles {
    /// Keeps a connection, at most `per_origin` of one origin and `in_all` of all. What has to go for it is returned: closing takes a while.
    pub(super) fn keep(
        &mut self,
        destination: Destination,
        connection: Connection,
        per_origin: usize,
        in_all: usize,
    ) -> Option<Box<Connection>> {
        let of_origin = self.kept.get(&destination).map_or(0, Vec::len);
        let goes = match (of_origin >= per_origin, self.len >= in_all) {
            (true, _) => self.oldest_of(&destination),
            (false, true) => self.take_oldest(),
            (false, false) => None,
        };
        let idle = Idle { connection: Box::new(connection), turn: self.turn, since: Instant::now() };
        let kept = self.kept.entry(destination).or_insert_with_key(|destination| {
            self.oldest.insert(idle.turn, destination.clone());
            Vec::new()
        });
        kept.push(idle);
        self.len += 1;
        self.turn += 1;
        goes
    }

    /// The one that was used last, which is the least likely to have died.
    pub(super) fn take(&mut self, destination: &Destination, longest: Duration) -> Option<Box<Connection>> {
        let kept = self.kept.get_mut(destination)?;
        let mut found = None;
        while let Some(mut candidate) = kept.pop() {
            self.len -= 1;
            if kept.is_empty() {
                self.oldest.remove(&candidate.turn);
            }
            if candidate.is_alive(longest) {
                found = Some(candidate.connection);
                break;
            }
        }
        if kept.is_empty() {
            self.kept.remove(destination);
        }
        found
    }

    /// The one that has waited longest.
    pub(super) fn take_oldest(&mut self) -> Option<Box<Connection>> {
        let destination = self.oldest.first_key_value().map(|(_, destination)| destination.clone())?;
        self.oldest_of(&destination)
    }

    /// Closes what idles for too long or has died.
    pub(super) fn sweep(&mut self, longest: Duration) {
        self.kept.retain(|_, kept| {
            kept.retain_mut(|idle| idle.is_alive(longest));
            !kept.is_empty()
        });
        self.oldest = self.kept.iter().filter_map(|(destination, kept)| Some((kept.first()?.turn, destination.clone()))).collect();
        self.len = self.kept.values().map(Vec::len).sum();
    }

    fn oldest_of(&mut self, destination: &Destination) -> Option<Box<Connection>> {
        let kept = self.kept.get_mut(destination)?;
        let oldest = kept.remove(0);
        self.oldest.remove(&oldest.turn);
        match kept.first() {
            Some(next) => {
                self.oldest.insert(next.turn, destination.clone());
            }
            None => {
                self.kept.remove(destination);
            }
        }
        self.len -= 1;
        Some(oldest.connection)
    }
}

impl Idle {
    /// Alive is: not too old, and nothing to read: neither an end nor octets nobody asked for.
    fn is_alive(&mut self, longest: Duration) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.since.elapsed() < longest && matches!(self.connection.reader.poll_fill(&mut cx), Poll::Pending)
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::{
        flow::{Authority, Origin, Scheme},
        io::halves,
    };

    fn to(host: &str) -> Destination {
        Destination::new(Origin { scheme: Scheme::Http, authority: Authority::new(host, 80) })
    }

    fn keep(idles: &mut Idles, host: &str) -> (Option<Box<Connection>>, tokio::io::DuplexStream) {
        let (io, other) = tokio::io::duplex(64);
        let (reader, writer) = halves(Box::new(io), BytesMut::new());
        (idles.keep(to(host), Connection::kept(reader, writer), 2, 3), other)
    }

    #[test]
    fn the_one_that_waited_longest_goes() {
        let mut idles = Idles::default();
        let mut others = Vec::new();
        let mut gone = Vec::new();
        for host in ["a", "b", "b", "b", "c"] {
            let (goes, other) = keep(&mut idles, host);
            gone.push(goes.is_some());
            others.push(other);
        }

        assert_eq!(gone, [false, false, false, true, true]);
        assert_eq!((idles.len, idles.kept.len(), idles.oldest.len()), (3, 2, 2));
        assert!(idles.take(&to("a"), Duration::MAX).is_none(), "it was the oldest of all");
        assert!(idles.take(&to("b"), Duration::MAX).is_some() && idles.take(&to("b"), Duration::MAX).is_some());
        assert_eq!((idles.len, idles.kept.len(), idles.oldest.len()), (1, 1, 1));
        assert!(idles.take_oldest().is_some() && idles.take_oldest().is_none(), "c was left");
        assert!(idles.kept.is_empty() && idles.oldest.is_empty());
    }

    #[test]
    fn what_has_ended_is_swept() {
        let mut idles = Idles::default();
        let (_, first) = keep(&mut idles, "a");
        let (_, _second) = keep(&mut idles, "b");
        drop(first);

        idles.sweep(Duration::MAX);

        assert_eq!((idles.len, idles.kept.len(), idles.oldest.len()), (1, 1, 1));
        idles.sweep(Duration::ZERO);
        assert_eq!((idles.len, idles.kept.len(), idles.oldest.len()), (0, 0, 0));
    }
}
