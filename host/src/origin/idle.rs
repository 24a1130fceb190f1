//! Connections to origins that wait for their next request.
//!
//! Place: part of `pool`. Bounded for each origin and in all. What carries a login is there for that client alone.
//! Policy when full: the one that has waited longest is closed.
//! Source: RFC 9112 §9.3.

use std::{
    collections::{BTreeMap, HashMap},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use super::pool::{Connection, Destination};
use crate::flow::Scope;

/// See the module.
#[derive(Default)]
pub(super) struct Idles {
    /// Of each origin those that came last come last; no list is empty.
    kept: HashMap<Destination, Vec<Idle>>,
    /// The origins by the turn of their first.
    oldest: BTreeMap<u64, Destination>,
    len: usize,
    /// How many of them carry a login.
    logins: usize,
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
        self.len += 1;
        self.logins += usize::from(idle.connection.carries_login());
        kept.push(idle);
        self.turn += 1;
        goes
    }

    /// The one that carries the client's login, else one that carries nobody's; of those the one that was used last, which is the least likely
    /// to have died.
    pub(super) fn take(&mut self, destination: &Destination, client: &Scope, longest: Duration) -> Option<Box<Connection>> {
        loop {
            let mut candidate = match self.logins {
                0 => self.pick(destination, |kept| kept.len().checked_sub(1)),
                _ => self.pick(destination, |kept| {
                    let own = kept.iter().rposition(|idle| idle.connection.carries_login_of(client));
                    own.or_else(|| kept.iter().rposition(|idle| !idle.connection.carries_login()))
                }),
            }?;
            if candidate.is_alive(longest) {
                return Some(candidate.connection);
            }
        }
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
        self.count_anew();
    }

    /// Takes out what carries logins that came by that connection of a client, which has ended.
    pub(super) fn log_out(&mut self, connection: u64) -> Vec<Connection> {
        let mut gone = Vec::new();
        if self.logins > 0 {
            self.kept.retain(|_, kept| {
                gone.extend(kept.extract_if(.., |idle| idle.connection.carries_login_by(connection)).map(|idle| *idle.connection));
                !kept.is_empty()
            });
            self.count_anew();
        }
        gone
    }

    fn count_anew(&mut self) {
        self.oldest = self.kept.iter().filter_map(|(destination, kept)| Some((kept.first()?.turn, destination.clone()))).collect();
        self.len = self.kept.values().map(Vec::len).sum();
        self.logins = self.kept.values().flatten().filter(|idle| idle.connection.carries_login()).count();
    }

    fn oldest_of(&mut self, destination: &Destination) -> Option<Box<Connection>> {
        self.pick(destination, |_| Some(0)).map(|idle| idle.connection)
    }

    /// Takes out the one of that origin's at the place that `which` says.
    fn pick(&mut self, destination: &Destination, which: impl FnOnce(&[Idle]) -> Option<usize>) -> Option<Idle> {
        let kept = self.kept.get_mut(destination)?;
        let at = which(kept)?;
        let idle = kept.remove(at);
        self.len -= 1;
        self.logins -= usize::from(idle.connection.carries_login());
        if at == 0 {
            self.oldest.remove(&idle.turn);
            if let Some(next) = kept.first() {
                self.oldest.insert(next.turn, destination.clone());
            }
        }
        if kept.is_empty() {
            self.kept.remove(destination);
        }
        Some(idle)
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
        flow::{Authority, ClientAddr, Origin, Principal, Scheme},
        io::halves,
    };

    fn to(host: &str) -> Destination {
        Destination::new(Origin { scheme: Scheme::Http, authority: Authority::new(host, 80) })
    }

    fn client(connection: u64, name: &str) -> Scope {
        Scope { connection, client: ClientAddr(([127, 0, 0, 1], 1).into()), principal: Principal::named(name) }
    }

    fn connection() -> (Connection, tokio::io::DuplexStream) {
        let (io, other) = tokio::io::duplex(64);
        let (reader, writer) = halves(Box::new(io), BytesMut::new());
        (Connection::kept(reader, writer), other)
    }

    fn keep(idles: &mut Idles, host: &str) -> (Option<Box<Connection>>, tokio::io::DuplexStream) {
        let (connection, other) = connection();
        (idles.keep(to(host), connection, 2, 3), other)
    }

    #[test]
    fn a_login_is_there_for_its_client_and_goes_with_it() {
        let (mut idles, mut others) = (Idles::default(), Vec::new());
        for carried in [Some((1, "ana")), None, Some((1, "bob")), Some((2, "ana"))] {
            let (mut connection, other) = connection();
            if let Some((by, name)) = carried {
                connection.carry_login_of(&client(by, name));
            }
            assert!(idles.keep(to("a"), connection, 9, 9).is_none());
            others.push(other);
        }
        let mut take = |by, name| {
            let taken = idles.take(&to("a"), &client(by, name), Duration::MAX);
            taken.map(|taken| (taken.carries_login(), taken.carries_login_of(&client(by, name))))
        };

        assert_eq!(take(1, "ana"), Some((true, true)), "its own, though another was used later");
        assert_eq!(take(1, "ana"), Some((false, false)), "nobody's");
        assert_eq!([take(1, "ana"), take(2, "bob"), take(3, "ana")], [None, None, None], "none of others'");
        assert_eq!((idles.len, idles.logins), (2, 2));
        assert_eq!((idles.log_out(3).len(), idles.log_out(1).len()), (0, 1));
        assert_eq!((idles.len, idles.logins, idles.oldest.len()), (1, 1, 1));
        assert!(idles.take_oldest().is_some() && idles.kept.is_empty() && idles.logins == 0);
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
        assert!(idles.take(&to("a"), &client(1, ""), Duration::MAX).is_none(), "it was the oldest of all");
        assert!(
            idles.take(&to("b"), &client(1, ""), Duration::MAX).is_some() && idles.take(&to("b"), &client(1, ""), Duration::MAX).is_some()
        );
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
