//! How many HTTP/2 streams clients have at a time, all of them together and each.
//!
//! Place: asked by `serve` for each stream. What a stream holds where one of its ends stands still is bounded (its windows, what waits to be
//! sent, its head); this bounds the sum. HTTP/1 has one exchange on each connection, and those are counted by `net`.
//! Policy when full: the stream is refused, which tells its client that it may try again (RFC 9113 §8.7).

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::flow::ClientAddr;

/// See the module; a cheap handle.
#[derive(Clone, Debug)]
pub struct Places(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    in_all: usize,
    each: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    in_all: usize,
    /// Only those that have some.
    of: HashMap<IpAddr, usize>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    client: IpAddr,
}

impl Places {
    /// At most so many in all, and so many for each client.
    pub fn new(in_all: usize, each: usize) -> Self {
        Self(Arc::new(Inner { in_all, each, held: Mutex::default() }))
    }

    /// One for that client; `None`: it has as many as it may have, or all have.
    pub(super) fn take(&self, client: ClientAddr) -> Option<Place> {
        let client = client.network();
        let mut held = self.held();
        let of_client = held.of.get(&client).copied().unwrap_or(0);
        if held.in_all >= self.0.in_all || of_client >= self.0.each {
            return None;
        }
        held.in_all += 1;
        held.of.insert(client, of_client + 1);
        Some(Place { places: self.clone(), client })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.places.held();
        held.in_all -= 1;
        if let Some(count) = held.of.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                held.of.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_with_as_many_streams_as_it_may_have_leaves_some_to_others() {
        let at = |host: u8| ClientAddr(([192, 0, 2, host], 1).into());
        let places = Places::new(3, 2);
        let (mut first, second) = (places.take(at(1)), places.take(at(1)));
        assert!(first.is_some() && second.is_some() && places.take(at(1)).is_none());

        let third = places.take(at(2));
        assert!(third.is_some() && places.take(at(3)).is_none(), "that is all");

        drop(first.take());
        assert!(places.take(at(3)).is_some());
        drop((second, third));
        assert!(places.held().of.is_empty() && places.held().in_all == 0, "nobody is remembered");
    }
}
