//! How many of something each name has at a time.
//!
//! Place: part of `net`; tunnels of each user are counted with it. Names without any take no room.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// See the module.
#[derive(Debug)]
pub(super) struct Shares {
    most: usize,
    held: Mutex<HashMap<Arc<str>, usize>>,
}

impl Shares {
    /// At most so many each.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, held: Mutex::default() })
    }

    /// One more for that name; `None`: it has as many as it may have.
    pub(super) fn take(self: &Arc<Self>, name: &str) -> Option<Share> {
        let mut held = self.held();
        let name: Arc<str> = held.get_key_value(name).map_or_else(|| name.into(), |(name, _)| name.clone());
        let count = held.entry(name.clone()).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Share { shares: self.clone(), name })
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Arc<str>, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    shares: Arc<Shares>,
    name: Arc<str>,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.shares.held();
        if let Some(count) = held.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_its_share_and_none_is_remembered() {
        let shares = Shares::new(2);
        let held = [shares.take("ana"), shares.take("ana"), shares.take("bo")];

        assert!(held.iter().all(Option::is_some) && shares.take("ana").is_none());
        drop(held);
        assert!(shares.take("ana").is_some());
        assert!(shares.held().is_empty());
    }
}
