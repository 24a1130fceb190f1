//! One namespace in memory: its entries, its quota, when entries end, and what of it has not been written yet.
//!
//! Place: behind a lock in `mod`, which is held for single operations. Times are milliseconds since the Unix epoch and come from the caller.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use bytes::Bytes;

use super::StoreError;

/// What an entry counts against the quota besides its key and value: an endless row of empty entries must end somewhere.
pub(super) const OVERHEAD: u64 = 64;
/// Largest value of a counter: guests hold it in a floating-point number.
const MAX_COUNTER: u64 = 1 << 53;

/// See the module.
#[derive(Default)]
pub(super) struct Shelf {
    quota: u64,
    used: u64,
    entries: BTreeMap<Arc<str>, Entry>,
    /// Those that end, the next one first.
    ending: BTreeSet<(u64, Arc<str>)>,
    /// Keys whose entry (or its absence) has not been written.
    unwritten: BTreeSet<Arc<str>>,
    /// What those cost whose entry is gone: as long as nothing can be written, there would be ever more of them.
    gone: u64,
}

struct Entry {
    value: Bytes,
    expires: Option<u64>,
    /// The disk may know this key.
    is_stored: bool,
}

/// A key and what it holds now; `None`: nothing any more.
pub(super) struct Change {
    pub(super) key: Arc<str>,
    pub(super) now: Option<(Bytes, Option<u64>)>,
}

impl Shelf {
    pub(super) fn set_quota(&mut self, quota: u64) {
        self.quota = quota;
    }

    /// What the disk holds.
    pub(super) fn load(&mut self, key: String, value: Bytes, expires: Option<u64>) {
        let key: Arc<str> = key.into();
        self.used += cost(&key, &value);
        self.ending.extend(expires.map(|at| (at, key.clone())));
        self.entries.insert(key, Entry { value, expires, is_stored: true });
    }

    pub(super) fn get(&self, key: &str, now: u64) -> Option<Bytes> {
        self.live(key, now).map(|entry| entry.value.clone())
    }

    pub(super) fn set(&mut self, key: &str, value: Bytes, expires: Option<u64>, now: u64) -> Result<(), StoreError> {
        self.sweep(now);
        let before = self.entries.get(key).map_or(0, |entry| cost(key, &entry.value));
        let used = self.used - before + cost(key, &value);
        // What makes it smaller is never refused, whatever became of the quota.
        if used > self.quota && used > self.used {
            return Err(StoreError::Full(self.quota));
        }
        let is_gone = before == 0 && self.unwritten.contains(key);
        let gone = self.gone - if is_gone { trace(key) } else { 0 };
        // Between two commits no more can go than there was.
        if before == 0 && used + gone > self.quota.saturating_mul(2) {
            return Err(StoreError::Full(self.quota));
        }
        self.gone = gone;
        let (key, is_stored) = match self.entries.remove_entry(key) {
            Some((key, entry)) => {
                self.forget_end(&key, entry.expires);
                (key, entry.is_stored)
            }
            // The disk may still hold one that was removed.
            None => (key.into(), is_gone),
        };
        self.used = used;
        self.ending.extend(expires.map(|at| (at, key.clone())));
        self.unwritten.insert(key.clone());
        self.entries.insert(key, Entry { value, expires, is_stored });
        Ok(())
    }

    pub(super) fn remove(&mut self, key: &str) {
        let Some((key, entry)) = self.entries.remove_entry(key) else { return };
        self.used -= cost(&key, &entry.value);
        self.forget_end(&key, entry.expires);
        match entry.is_stored {
            true => {
                self.gone += trace(&key);
                self.unwritten.insert(key);
            }
            false => drop(self.unwritten.remove(&key)),
        }
    }

    pub(super) fn compare_and_set(&mut self, key: &str, expected: Option<&[u8]>, value: Bytes, now: u64) -> Result<bool, StoreError> {
        let present = self.live(key, now);
        if present.map(|entry| &*entry.value) != expected {
            return Ok(false);
        }
        let expires = present.and_then(|entry| entry.expires);
        self.set(key, value, expires, now).map(|()| true)
    }

    pub(super) fn increment(&mut self, key: &str, by: u32, now: u64) -> Result<u64, StoreError> {
        let present = self.live(key, now);
        let (before, expires) = match present {
            Some(entry) => (counter(&entry.value).ok_or(StoreError::NoCounter)?, entry.expires),
            None => (0, None),
        };
        let sum = before.saturating_add(by.into());
        if sum > MAX_COUNTER {
            return Err(StoreError::Overflow);
        }
        self.set(key, sum.to_string().into(), expires, now).map(|()| sum)
    }

    pub(super) fn keys(&self, prefix: &str, limit: usize, now: u64) -> Vec<String> {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let matching = self.entries.range::<str, _>(from).take_while(|(key, _)| key.starts_with(prefix));
        matching.filter(|(_, entry)| entry.is_live(now)).take(limit).map(|(key, _)| key.to_string()).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn used(&self) -> u64 {
        self.used
    }

    /// Takes out what has ended.
    pub(super) fn sweep(&mut self, now: u64) {
        while let Some((_, key)) = self.ending.first().filter(|(at, _)| *at <= now) {
            let key = key.clone();
            self.remove(&key);
        }
    }

    /// What has to be written, once; from here on the disk may know those keys.
    pub(super) fn take_changes(&mut self) -> Vec<Change> {
        let keys = std::mem::take(&mut self.unwritten);
        self.gone = 0;
        let change = |key: Arc<str>| {
            let entry = self.entries.get_mut(&key);
            let now = entry.map(|entry| {
                entry.is_stored = true;
                (entry.value.clone(), entry.expires)
            });
            Change { key, now }
        };
        keys.into_iter().map(change).collect()
    }

    /// Those could not be written.
    pub(super) fn put_back(&mut self, changes: &[Change]) {
        for Change { key, .. } in changes {
            match self.entries.get_mut(key) {
                // The disk holds what was there before, or will.
                Some(entry) => entry.is_stored = true,
                None if !self.unwritten.contains(key) => self.gone += trace(key),
                None => {}
            }
            self.unwritten.insert(key.clone());
        }
    }

    fn live(&self, key: &str, now: u64) -> Option<&Entry> {
        self.entries.get(key).filter(|entry| entry.is_live(now))
    }

    fn forget_end(&mut self, key: &Arc<str>, expires: Option<u64>) {
        if let Some(at) = expires {
            self.ending.remove(&(at, key.clone()));
        }
    }
}

impl Entry {
    fn is_live(&self, now: u64) -> bool {
        self.expires.is_none_or(|at| at > now)
    }
}

fn cost(key: &str, value: &Bytes) -> u64 {
    (key.len() + value.len()) as u64 + OVERHEAD
}

/// The same for a key whose entry is gone.
fn trace(key: &str) -> u64 {
    key.len() as u64 + OVERHEAD
}

/// Digits only: what `parse` takes besides is no counter.
fn counter(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    text.bytes().all(|octet| octet.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shelf() -> Shelf {
        Shelf { quota: 10_000, ..Shelf::default() }
    }

    fn bytes(text: &str) -> Bytes {
        Bytes::copy_from_slice(text.as_bytes())
    }

    fn written(shelf: &mut Shelf) -> Vec<(String, bool)> {
        shelf.take_changes().into_iter().map(|change| (change.key.to_string(), change.now.is_some())).collect()
    }

    #[test]
    fn what_has_ended_is_invisible_at_once_and_then_swept() {
        let mut shelf = shelf();
        shelf.set("short", bytes("1"), Some(1000), 0).unwrap();
        shelf.set("long", bytes("1"), Some(2000), 0).unwrap();
        shelf.set("ever", bytes("1"), None, 0).unwrap();
        written(&mut shelf);

        assert_eq!((shelf.get("short", 999), shelf.get("short", 1000)), (Some(bytes("1")), None));
        assert_eq!(shelf.keys("", 9, 1000), ["ever", "long"]);
        assert_eq!(shelf.increment("short", 1, 1000), Ok(1), "it begins anew");
        assert_eq!(shelf.get("short", u64::MAX), Some(bytes("1")), "and without an end");
        assert!(shelf.compare_and_set("long", None, bytes("2"), 2000).unwrap(), "nothing is there");
        let used = shelf.used();
        shelf.set("more", bytes("1"), Some(3000), 2000).unwrap();
        shelf.sweep(3000);

        assert_eq!((shelf.len(), shelf.used()), (3, used));
    }

    #[test]
    fn a_new_value_has_its_own_end() {
        let mut shelf = shelf();
        shelf.set("a", bytes("1"), Some(1000), 0).unwrap();
        shelf.set("a", bytes("2"), None, 0).unwrap();
        shelf.set("b", bytes("1"), Some(1000), 0).unwrap();
        assert!(shelf.compare_and_set("b", Some(b"1"), bytes("2"), 1).unwrap());
        shelf.sweep(1000);

        assert_eq!(shelf.keys("", 9, 1000), ["a"]);
    }

    #[test]
    fn only_what_is_expected_is_replaced() {
        let mut shelf = shelf();

        assert_eq!(shelf.compare_and_set("a", Some(b""), bytes("1"), 0), Ok(false));
        assert_eq!(shelf.compare_and_set("a", None, bytes("1"), 0), Ok(true));
        assert_eq!(shelf.compare_and_set("a", None, bytes("2"), 0), Ok(false));
        assert_eq!(shelf.compare_and_set("a", Some(b"1"), bytes("2"), 0), Ok(true));
        assert_eq!(shelf.get("a", 0), Some(bytes("2")));
    }

    #[test]
    fn counters_count_and_nothing_else_does() {
        let mut shelf = shelf();
        assert_eq!([shelf.increment("a", 0, 0), shelf.increment("a", u32::MAX, 0)], [Ok(0), Ok(u32::MAX.into())]);

        for text in ["", "x", "+1", "-1", "1 ", "99999999999999999999"] {
            shelf.set("a", bytes(text), None, 0).unwrap();
            let expected = if text.is_empty() { "" } else { text };
            assert_eq!(shelf.increment("a", 1, 0), Err(StoreError::NoCounter), "{text:?}");
            assert_eq!(shelf.get("a", 0), Some(bytes(expected)));
        }
        shelf.set("a", MAX_COUNTER.to_string().into(), None, 0).unwrap();
        assert_eq!([shelf.increment("a", 0, 0), shelf.increment("a", 1, 0)], [Ok(MAX_COUNTER), Err(StoreError::Overflow)]);
    }

    #[test]
    fn the_quota_counts_keys_values_and_entries() {
        let mut shelf = Shelf { quota: 3 * (OVERHEAD + 2), ..Shelf::default() };
        for key in ["a", "b", "c"] {
            shelf.set(key, bytes("1"), None, 0).unwrap();
        }

        assert_eq!(shelf.set("d", bytes(""), None, 0), Err(StoreError::Full(shelf.quota)));
        assert_eq!(shelf.set("c", bytes("12"), None, 0), Err(StoreError::Full(shelf.quota)));
        assert_eq!(shelf.increment("a", 9, 0), Err(StoreError::Full(shelf.quota)));
        shelf.set("c", bytes(""), Some(5), 0).unwrap();
        shelf.set("d", bytes(""), None, 5).unwrap();
        shelf.set_quota(0);
        assert_eq!(shelf.set("d", bytes("1"), None, 5), Err(StoreError::Full(0)));
        shelf.set("a", bytes(""), None, 5).unwrap();
        for key in ["a", "b", "d"] {
            shelf.remove(key);
        }
        assert_eq!((shelf.used(), shelf.len()), (0, 0));
    }

    #[test]
    fn keys_are_sorted_and_limited() {
        let mut shelf = shelf();
        for key in ["b", "a/2", "a/1", "a", "a0"] {
            shelf.set(key, bytes(""), None, 0).unwrap();
        }

        assert_eq!(shelf.keys("a/", 9, 0), ["a/1", "a/2"]);
        assert_eq!(shelf.keys("", 3, 0), ["a", "a/1", "a/2"]);
        assert!(shelf.keys("", 0, 0).is_empty() && shelf.keys("c", 9, 0).is_empty());
    }

    #[test]
    fn what_came_and_went_between_two_commits_is_not_written() {
        let mut shelf = shelf();
        shelf.set("a", bytes("1"), None, 0).unwrap();
        shelf.set("b", bytes("1"), None, 0).unwrap();
        shelf.remove("b");
        assert_eq!(written(&mut shelf), [("a".to_owned(), true)]);

        shelf.remove("a");
        shelf.set("a", bytes("2"), None, 0).unwrap();
        shelf.remove("a");
        assert_eq!(written(&mut shelf), [("a".to_owned(), false)]);
        assert!(written(&mut shelf).is_empty());
    }

    #[test]
    fn what_could_not_be_written_is_written_later() {
        let mut shelf = shelf();
        shelf.set("a", bytes("1"), None, 0).unwrap();
        let changes = shelf.take_changes();
        shelf.remove("a");
        shelf.put_back(&changes);

        assert_eq!(written(&mut shelf), [("a".to_owned(), false)]);
    }

    #[test]
    fn what_the_disk_still_holds_goes_from_it_whatever_could_not_be_written() {
        let mut shelf = shelf();
        shelf.set("a", bytes("1"), None, 0).unwrap();
        written(&mut shelf);
        shelf.remove("a");
        let changes = shelf.take_changes();
        shelf.set("a", bytes("2"), None, 0).unwrap();
        shelf.put_back(&changes);
        shelf.remove("a");

        assert_eq!(written(&mut shelf), [("a".to_owned(), false)]);
    }

    #[test]
    fn keys_that_cannot_be_written_are_bounded() {
        let mut shelf = shelf();
        let churn = |shelf: &mut Shelf, number: u64| {
            let key = format!("{number:04}");
            shelf.set(&key, bytes("1"), None, 0)?;
            let changes = shelf.take_changes();
            shelf.put_back(&changes);
            shelf.remove(&key);
            Ok(())
        };
        let most = 2 * shelf.quota / (OVERHEAD + 4);

        let kept = (0..1000).take_while(|number| churn(&mut shelf, *number).is_ok()).count() as u64;
        assert!((most - 1..=most).contains(&kept), "{kept}");
        assert_eq!(churn(&mut shelf, 1000), Err(StoreError::Full(shelf.quota)));
        assert_eq!((written(&mut shelf).len() as u64, shelf.used()), (kept, 0));

        // The disk takes something again.
        assert_eq!(churn(&mut shelf, 1000), Ok(()));
    }
}
