//! Whose HTTP/2 connections to which origin, and what origins speak.
//!
//! Place: part of `pool`. A client's tunnel has a connection of its own to each origin, as it would have without the proxy: what a client does to
//! it (a flood of resets, which origins answer by closing it) harms nobody else. One whose client has gone is there for the next, unless that client
//! has logged in on it.
//! Policy when full: the origin that was asked for longest ago is forgotten, if nobody is at it now.
//! Source: RFC 9113 §9.1.1.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use super::{pool::Destination, shared::Connections};
use crate::flow::Scope;

/// What one owner has; the lock makes dialling single-flight.
pub(super) type Slot = tokio::sync::Mutex<Connections>;

/// See the module.
#[derive(Default)]
pub(super) struct Owners(HashMap<Destination, Asked>);

/// An origin that was asked for.
pub(super) struct Asked {
    speaks_http2: Option<bool>,
    slots: Vec<Owned>,
    last: Instant,
}

pub(super) struct Owned {
    /// Gone when its tunnel and all that came through it are.
    owner: Weak<Scope>,
    slot: Arc<Slot>,
    last: Instant,
}

impl Owned {
    /// Nobody has it, nor waits for it.
    fn is_free(&self) -> bool {
        self.owner.strong_count() == 0 && Arc::strong_count(&self.slot) == 1
    }
}

impl Owners {
    /// Whether the origin speaks HTTP/2, if that was found out.
    pub(super) fn speaks_http2(&self, destination: &Destination) -> Option<bool> {
        self.0.get(destination)?.speaks_http2
    }

    /// It was found out.
    pub(super) fn found(&mut self, destination: &Destination, speaks_http2: bool) {
        if let Some(asked) = self.0.get_mut(destination) {
            asked.speaks_http2 = Some(speaks_http2);
        }
    }

    /// That owner's connection to that origin: its own, one that is free, or one to be. For at most `most` origins; what was forgotten for it is
    /// returned, for closing takes a while.
    pub(super) fn slot(&mut self, destination: &Destination, owner: &Arc<Scope>, most: usize) -> (Arc<Slot>, Option<Asked>) {
        let mut forgotten = None;
        if !self.0.contains_key(destination) && self.0.len() >= most {
            let unused = self.0.iter().filter(|(_, asked)| asked.slots.iter().all(Owned::is_free));
            let oldest = unused.min_by_key(|(_, asked)| asked.last).map(|(destination, _)| destination.clone());
            forgotten = oldest.and_then(|oldest| self.0.remove(&oldest));
        }
        let (now, owner) = (Instant::now(), Arc::downgrade(owner));
        let fresh = || Asked { speaks_http2: None, slots: Vec::new(), last: now };
        let asked = self.0.entry(destination.clone()).or_insert_with(fresh);
        asked.last = now;
        let own = asked.slots.iter().position(|owned| owned.owner.ptr_eq(&owner));
        let at = own.or_else(|| asked.slots.iter().position(Owned::is_free)).unwrap_or(asked.slots.len());
        if at == asked.slots.len() {
            asked.slots.push(Owned { owner: owner.clone(), slot: Arc::default(), last: now });
        }
        let owned = &mut asked.slots[at];
        if own.is_none()
            && let Some(connections) = Arc::get_mut(&mut owned.slot)
        {
            connections.get_mut().log_out();
        }
        (owned.owner, owned.last) = (owner, now);
        (owned.slot.clone(), forgotten)
    }

    /// Lets connections go that nobody has and that were not asked for in so long.
    pub(super) fn sweep(&mut self, longest: Duration) {
        for asked in self.0.values_mut() {
            asked.slots.retain(|owned| !owned.is_free() || owned.last.elapsed() < longest);
        }
    }

    /// The connection that nobody has had for longest.
    pub(super) fn take_oldest(&mut self) -> Option<Owned> {
        let free = |asked: &Asked| asked.slots.iter().filter(|owned| owned.is_free()).map(|owned| owned.last).min();
        let asked = self.0.values_mut().filter(|asked| free(asked).is_some()).min_by_key(|asked| free(asked))?;
        let oldest = free(asked);
        let at = asked.slots.iter().position(|owned| owned.is_free() && Some(owned.last) == oldest)?;
        Some(asked.slots.remove(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        flow::{Authority, ClientAddr, Origin, Principal, Scheme},
        origin::Dialled,
    };

    const MOST: usize = 3;

    fn to(host: &str) -> Destination {
        Destination::new(Origin { scheme: Scheme::Https, authority: Authority::new(host, 443) })
    }

    fn client() -> Arc<Scope> {
        Arc::new(Scope { connection: 1, client: ClientAddr(([127, 0, 0, 1], 1).into()), principal: Principal::UNKNOWN })
    }

    #[test]
    fn clients_do_not_share_and_what_one_leaves_the_next_takes() {
        let (mut owners, ana, bo) = (Owners::default(), client(), client());
        let mut slot = |owner: &Arc<Scope>| owners.slot(&to("a"), owner, MOST).0;
        let (first, again, other) = (slot(&ana), slot(&ana), slot(&bo));

        assert!(Arc::ptr_eq(&first, &again) && !Arc::ptr_eq(&first, &other));
        let left = Arc::downgrade(&first);
        drop((ana, first, again));
        let next = slot(&client());
        assert!(left.upgrade().is_some_and(|left| Arc::ptr_eq(&left, &next)));
    }

    #[tokio::test]
    async fn what_somebody_has_logged_in_on_is_for_nobody_else() {
        for login in [false, true] {
            let (mut owners, ana) = (Owners::default(), client());
            let (io, _origin) = tokio::io::duplex(1 << 10);
            let (send, _connection) = h2::client::handshake(io).await.expect("nothing is waited for");
            let slot = owners.slot(&to("a"), &ana, MOST).0;
            let share = slot.lock().await.add(send, Dialled::now());
            if login {
                share.carry_login();
            }
            drop((share, slot));
            let own = owners.slot(&to("a"), &ana, MOST).0;
            assert!(own.lock().await.share(1).is_some(), "its owner has it");
            drop((own, ana));

            let next = owners.slot(&to("a"), &client(), MOST).0;

            assert_eq!(next.lock().await.share(1).is_some(), !login);
        }
    }

    #[test]
    fn the_origin_asked_for_longest_ago_is_forgotten() {
        let (mut owners, ana) = (Owners::default(), client());
        let held = owners.slot(&to("held"), &ana, MOST).0;
        for host in ["a", "b", "a", "c"] {
            owners.slot(&to(host), &client(), MOST);
            owners.found(&to(host), true);
        }

        let known = ["held", "a", "b", "c"].map(|host| (owners.speaks_http2(&to(host)), owners.0.contains_key(&to(host))));

        assert_eq!(known, [(None, true), (Some(true), true), (None, false), (Some(true), true)]);
        drop(held);
    }

    #[test]
    fn what_nobody_has_goes_when_it_is_old_or_room_is_wanted() {
        let (mut owners, ana) = (Owners::default(), client());
        owners.slot(&to("a"), &ana, MOST);
        owners.slot(&to("b"), &client(), MOST);
        owners.slot(&to("c"), &client(), MOST);

        assert!(owners.take_oldest().is_some());
        assert_eq!(owners.0[&to("b")].slots.len(), 0);
        owners.sweep(Duration::ZERO);
        assert_eq!((owners.0[&to("c")].slots.len(), owners.0[&to("a")].slots.len()), (0, 1));
        assert!(owners.take_oldest().is_none());
    }
}
