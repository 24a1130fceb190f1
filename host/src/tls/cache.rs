//! Leaves that were minted: one per host, made once however many tunnels ask.
//!
//! Place: between `server` and `leaf`. Full: those least used go.

use std::sync::Arc;

use anyhow::anyhow;
use moka::{ops::compute::Op, sync::Cache};
use rustls::sign::CertifiedKey;
use time::OffsetDateTime;

use super::{
    Permitted, Root,
    leaf::{Leaf, Mint, is_normal, normal},
};

/// Leaves by host, bounded.
#[derive(Clone)]
pub struct Leaves {
    mint: Arc<Mint>,
    cache: Cache<String, Leaf>,
}

impl Leaves {
    /// Room for `capacity` leaves, about 2 KiB each.
    ///
    /// # Errors
    /// Where the key of the leaves cannot be made.
    pub fn new(root: Arc<Root>, capacity: u64) -> anyhow::Result<Self> {
        Ok(Self { mint: Arc::new(Mint::new(root)?), cache: Cache::new(capacity) })
    }

    /// What the root may sign for.
    pub fn permitted(&self) -> &Permitted {
        self.mint.permitted()
    }

    /// Whether there is a leaf for that host, so that none would have to be made.
    pub fn has(&self, host: &str) -> bool {
        let kept = |host: &str| self.cache.get(host).is_some_and(|leaf| leaf.is_fresh(OffsetDateTime::now_utc()));
        match is_normal(host) {
            true => kept(host),
            false => normal(host).is_ok_and(|host| kept(&host.text)),
        }
    }

    /// The leaf for a DNS name or an IP literal without brackets, in any case of letters. Takes tens of microseconds where it has to be
    /// made; several callers at a time wait for the same one.
    ///
    /// # Errors
    /// Where the host is neither a DNS name (A-labels) nor an IP address, or the root has expired.
    pub fn for_host(&self, host: &str) -> anyhow::Result<Arc<CertifiedKey>> {
        self.at(host, OffsetDateTime::now_utc())
    }

    fn at(&self, host: &str, now: OffsetDateTime) -> anyhow::Result<Arc<CertifiedKey>> {
        if is_normal(host)
            && let Some(leaf) = self.cache.get(host).filter(|leaf| leaf.is_fresh(now))
        {
            return Ok(leaf.key);
        }
        let host = normal(host)?;
        let made = self.cache.entry(host.text.clone()).and_try_compute_with(|entry| match entry {
            Some(entry) if entry.value().is_fresh(now) => Ok(Op::Nop),
            _ => self.mint.leaf(&host, now).map(Op::Put),
        })?;
        let leaf = made.into_entry().ok_or_else(|| anyhow!("no certificate was made for {}", host.text))?;
        Ok(leaf.into_value().key)
    }
}

impl std::fmt::Debug for Leaves {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leaves").field("kept", &self.cache.entry_count()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use x509_parser::prelude::{FromDer, X509Certificate};

    use super::*;
    use crate::tls::testing;

    fn leaves(capacity: u64) -> (tempfile::TempDir, Leaves) {
        let (folder, root) = testing::root();
        (folder, Leaves::new(Arc::new(root), capacity).unwrap())
    }

    #[test]
    fn a_host_has_one_leaf_in_every_spelling() {
        let (_folder, leaves) = leaves(10);

        let first = leaves.for_host("a.test").unwrap();

        for host in ["a.test", "A.TEST", "a.test."] {
            assert!(Arc::ptr_eq(&first, &leaves.for_host(host).unwrap()), "{host}");
        }
        assert!(!Arc::ptr_eq(&first, &leaves.for_host("b.test").unwrap()));
    }

    #[test]
    fn callers_at_the_same_time_get_the_same_leaf() {
        let (_folder, leaves) = leaves(10);

        let all: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| leaves.for_host("a.test").unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });

        assert!(all.iter().all(|leaf| Arc::ptr_eq(leaf, &all[0])));
    }

    #[test]
    fn the_number_of_leaves_is_bounded() {
        let (_folder, leaves) = leaves(8);

        for number in 0..200 {
            leaves.for_host(&format!("host-{number}.test")).unwrap();
        }
        leaves.cache.run_pending_tasks();

        assert!(leaves.cache.entry_count() <= 8);
    }

    #[test]
    fn a_clock_that_jumps_gets_leaves_that_are_good_then() {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        let (_folder, leaves) = leaves(10);
        let now = OffsetDateTime::now_utc();
        let is_good = |at: OffsetDateTime| {
            let leaf = leaves.at("a.test", at).unwrap();
            let (_, seen) = X509Certificate::from_der(&leaf.cert[0]).unwrap();
            let (from, to) = (seen.validity().not_before.timestamp(), seen.validity().not_after.timestamp());
            (from..to).contains(&at.unix_timestamp())
        };

        for (jump, at) in [("none", now), ("ahead", now + 300 * DAY), ("back", now), ("behind", now - DAY / 2), ("ahead again", now + DAY)]
        {
            assert!(is_good(at), "{jump}");
        }
        // Beyond the root's end there is none, and when the clock is right again there is.
        assert!(leaves.at("b.test", now + 36_500 * DAY).is_err());
        assert!(leaves.at("b.test", now).is_ok());
    }

    #[test]
    fn what_is_no_host_gets_no_leaf() {
        let (_folder, leaves) = leaves(8);

        assert!(leaves.for_host("not a host").is_err());
        assert!(leaves.for_host("*.test").is_err());
    }
}
