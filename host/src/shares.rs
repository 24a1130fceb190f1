//! How many of something each has at a time, and all of them together.
//!
//! Place: where one could take all there is: HTTP/2 streams of each client, tunnels of each user. Who has none takes no room. Nobody waits here;
//! who counts says what becomes of one too many.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Shares of those that a `K` names; a cheap handle.
#[derive(Debug)]
pub struct Shares<K: Eq + Hash>(Arc<Inner<K>>);

#[derive(Debug)]
struct Inner<K> {
    each: usize,
    in_all: usize,
    held: Mutex<Held<K>>,
}

#[derive(Debug)]
struct Held<K> {
    in_all: usize,
    /// Only those that have some.
    of: HashMap<K, usize>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub struct Share<K: Eq + Hash> {
    shares: Shares<K>,
    of: K,
}

impl<K: Clone + Eq + Hash> Shares<K> {
    /// At most so many each, and so many in all.
    pub fn new(each: usize, in_all: usize) -> Self {
        let held = Mutex::new(Held { in_all: 0, of: HashMap::new() });
        Self(Arc::new(Inner { each, in_all, held }))
    }

    /// One more for that one; `None`: it has as many as it may have, or all have.
    pub fn take(&self, of: K) -> Option<Share<K>> {
        let mut held = self.held();
        let has = held.of.get(&of).copied().unwrap_or(0);
        if has >= self.0.each || held.in_all >= self.0.in_all {
            return None;
        }
        held.in_all += 1;
        held.of.insert(of.clone(), has + 1);
        Some(Share { shares: Self(self.0.clone()), of })
    }
}

impl<K: Eq + Hash> Shares<K> {
    fn held(&self) -> MutexGuard<'_, Held<K>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        let mut held = self.shares.held();
        held.in_all -= 1;
        if let Some(has) = held.of.get_mut(&self.of) {
            *has -= 1;
            if *has == 0 {
                held.of.remove(&self.of);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_as_many_as_one_may_have_leaves_some_to_others() {
        let shares = Shares::new(2, 3);
        let (mut first, second) = (shares.take("ana"), shares.take("ana"));
        assert!(first.is_some() && second.is_some() && shares.take("ana").is_none());

        let third = shares.take("bo");
        assert!(third.is_some() && shares.take("cy").is_none(), "that is all");

        drop(first.take());
        assert!(shares.take("cy").is_some());
        drop((second, third));
        assert!(shares.held().of.is_empty() && shares.held().in_all == 0, "nobody is remembered");
    }
}
