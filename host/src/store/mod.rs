//! A key-value store: one namespace per owner, answered from memory, remembered in one file.
//!
//! Place: opened by `plugin` when the first plugin is granted it, closed after the last call. Knows nothing of plugins. Reading and changing
//! never waits for the disk: what has changed is committed in groups, [`Limits::commit`] after the first change and when the store is closed.
//! So a stop in good order loses nothing, and a killed process at most that long; the file is whole at every moment.

mod disk;
mod shelf;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use bytes::Bytes;
use tokio::{sync::Notify, time::sleep};

use crate::tasks::Tasks;
use disk::{Batch, Disk};
use shelf::Shelf;

/// Bounds of a store.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Octets of one key.
    pub key_bytes: usize,
    /// Octets of one value.
    pub value_bytes: usize,
    /// How long a change may wait for the disk: what a killed process loses at most.
    pub commit: Duration,
    /// How often what has expired is taken out although nobody changes anything. It is invisible before that.
    pub sweep: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { key_bytes: 1024, value_bytes: 1 << 20, commit: Duration::from_millis(500), sweep: Duration::from_secs(60) }
    }
}

/// Why something is not done.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Longer than [`Limits::key_bytes`].
    #[error("the key is longer than {0} octets")]
    Key(usize),
    /// Longer than [`Limits::value_bytes`].
    #[error("the value is longer than {0} octets")]
    Value(usize),
    /// The namespace would hold more than its quota.
    #[error("the quota of {0} octets is used up")]
    Full(u64),
    /// What is there was never incremented.
    #[error("the value is not a decimal number, so it cannot be incremented")]
    NoCounter,
    /// Guests hold numbers up to 2^53.
    #[error("the counter would pass 2^53")]
    Overflow,
}

/// What time it is, in milliseconds since the Unix epoch.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// See the module; a cheap handle.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    limits: Limits,
    /// `None`: in memory only.
    disk: Option<Arc<Disk>>,
    shelves: Mutex<HashMap<String, Arc<Mutex<Shelf>>>>,
    changed: Notify,
    /// The last commit failed, and that has been said.
    failing: AtomicBool,
    clock: Clock,
    tasks: Tasks,
}

/// One owner's keys; handles share them.
#[derive(Clone)]
pub struct Namespace {
    shelf: Arc<Mutex<Shelf>>,
    store: Arc<Inner>,
}

impl Store {
    /// In memory only; entries end by that clock.
    pub fn in_memory(limits: Limits, clock: Clock) -> Self {
        Self::start(limits, None, clock)
    }

    /// With what the file holds; makes it (0600), and its folder (0700), where there is none.
    ///
    /// # Errors
    /// The file is damaged, in use, or cannot be read or written; says the mend.
    pub async fn open(path: PathBuf, limits: Limits) -> anyhow::Result<Self> {
        let opening = Tasks::new().block({
            let path = path.clone();
            move || Disk::open(&path)
        });
        let opened = opening.await.unwrap_or_else(|_| Err(disk::contradictory(&path)));
        Ok(Self::start(limits, Some(Arc::new(opened?)), machine()))
    }

    fn start(limits: Limits, disk: Option<Arc<Disk>>, clock: Clock) -> Self {
        let tasks = Tasks::new();
        let inner = Inner {
            limits,
            disk,
            shelves: Mutex::default(),
            changed: Notify::new(),
            failing: AtomicBool::new(false),
            clock,
            tasks: tasks.clone(),
        };
        let inner = Arc::new(inner);
        tasks.spawn(keep(inner.clone()));
        Self(inner)
    }

    /// The keys of `owner`, at most `quota` octets of them (keys, values, and 64 for each entry). What is there beyond a quota that has
    /// become smaller stays.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn namespace(&self, owner: &str, quota: u64) -> anyhow::Result<Namespace> {
        let known = self.0.shelves().get(owner).cloned();
        let shelf = match known {
            Some(shelf) => shelf,
            None => {
                let read = self.0.read(owner).await?;
                self.0.shelves().entry(owner.to_owned()).or_insert(read).clone()
            }
        };
        lock(&shelf).set_quota(quota);
        Ok(Namespace { shelf, store: self.0.clone() })
    }

    /// Octets that `owner` has stored and that count against its quota, if its namespace has been opened.
    pub fn used(&self, owner: &str) -> Option<u64> {
        let shelf = self.0.shelves().get(owner).cloned()?;
        let used = lock(&shelf).used();
        Some(used)
    }

    /// Nobody needs what is in memory only any more: what keeps it in order ends. A store with a file goes on until it is closed.
    pub fn abandon(&self) {
        if self.0.disk.is_none() {
            self.0.tasks.stop();
        }
    }

    /// Commits what is left and lets the file go; `false` if that did not succeed within `grace`. Later changes are not kept.
    pub async fn close(&self, grace: Duration) -> bool {
        self.0.tasks.stop();
        let ended = self.0.tasks.ended(grace).await;
        ended && !self.0.failing.load(Ordering::Relaxed)
    }
}

impl Namespace {
    /// What is stored under `key`.
    pub fn get(&self, key: &str) -> Option<Bytes> {
        self.shelf().get(key, self.now())
    }

    /// Stores; the entry is gone after `ttl`, if there is one.
    ///
    /// # Errors
    /// Key or value is too long, or the quota is used up.
    pub fn set(&self, key: &str, value: Bytes, ttl: Option<Duration>) -> Result<(), StoreError> {
        self.check(key, &value)?;
        let now = self.now();
        let expires = ttl.map(|ttl| now.saturating_add(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)));
        self.change(|shelf| shelf.set(key, value, expires, now))
    }

    /// Takes it out, if it is there.
    pub fn remove(&self, key: &str) {
        self.shelf().remove(key);
        self.store.changed.notify_one();
    }

    /// Stores `value` if what is there is `expected`, and says whether it did. An entry that is there keeps its end.
    ///
    /// # Errors
    /// As for [`Namespace::set`].
    pub fn compare_and_set(&self, key: &str, expected: Option<&[u8]>, value: Bytes) -> Result<bool, StoreError> {
        self.check(key, &value)?;
        self.change(|shelf| shelf.compare_and_set(key, expected, value, self.now()))
    }

    /// Adds to a counter, which begins at 0 and is stored as a decimal number; the new value. An entry that is there keeps its end.
    ///
    /// # Errors
    /// As for [`Namespace::set`], and what is there is no counter, or the sum is too large.
    pub fn increment(&self, key: &str, by: u32) -> Result<u64, StoreError> {
        self.check(key, &[])?;
        self.change(|shelf| shelf.increment(key, by, self.now()))
    }

    /// Keys that begin with `prefix`, sorted, at most `limit`.
    pub fn keys(&self, prefix: &str, limit: usize) -> Vec<String> {
        self.shelf().keys(prefix, limit, self.now())
    }

    /// Entries, those that have expired and were not swept included.
    pub fn len(&self) -> usize {
        self.shelf().len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn change<T>(&self, change: impl FnOnce(&mut Shelf) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let changed = change(&mut self.shelf());
        self.store.changed.notify_one();
        changed
    }

    fn check(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        let Limits { key_bytes, value_bytes, .. } = self.store.limits;
        if key.len() > key_bytes {
            return Err(StoreError::Key(key_bytes));
        }
        if value.len() > value_bytes {
            return Err(StoreError::Value(value_bytes));
        }
        Ok(())
    }

    fn now(&self) -> u64 {
        (self.store.clock)()
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        lock(&self.shelf)
    }
}

/// Sweeps and commits until told to stop, then once more.
async fn keep(store: Arc<Inner>) {
    let stopping = store.tasks.stopping().clone();
    loop {
        let wait = async {
            tokio::select! {
                () = store.changed.notified() => sleep(store.limits.commit).await,
                () = sleep(store.limits.sweep) => {}
            }
        };
        let is_last = stopping.run_until_cancelled(wait).await.is_none();
        store.commit().await;
        if is_last {
            return store.let_go().await;
        }
    }
}

impl Inner {
    fn shelves(&self) -> MutexGuard<'_, HashMap<String, Arc<Mutex<Shelf>>>> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read(&self, owner: &str) -> anyhow::Result<Arc<Mutex<Shelf>>> {
        let Some(disk) = self.disk.clone() else { return Ok(Arc::default()) };
        let (name, path) = (owner.to_owned(), disk.path().to_owned());
        let read = self.tasks.block(move || disk.read(&name)).await;
        let entries = read.unwrap_or_else(|_| Err(disk::contradictory(&path)));
        let mut shelf = Shelf::default();
        for (key, value, expires) in entries.with_context(|| format!("reading what {owner} has stored"))? {
            shelf.load(key, value, expires);
        }
        Ok(Arc::new(Mutex::new(shelf)))
    }

    /// Takes out what has expired, then writes what has changed.
    async fn commit(&self) {
        let mut batch = Batch::new();
        for (owner, shelf) in &*self.shelves() {
            let mut shelf = lock(shelf);
            shelf.sweep((self.clock)());
            let changes = shelf.take_changes();
            if !changes.is_empty() && self.disk.is_some() {
                batch.push((owner.clone(), changes));
            }
        }
        let Some(disk) = self.disk.clone().filter(|_| !batch.is_empty()) else { return };
        let file = disk.path().to_owned();
        let batch = Arc::new(batch);
        let written = self.tasks.block({
            let batch = batch.clone();
            move || disk.write(&batch)
        });
        match written.await.map_err(anyhow::Error::from).flatten() {
            Ok(()) => self.failing.store(false, Ordering::Relaxed),
            Err(error) => {
                for (owner, changes) in &*batch {
                    if let Some(shelf) = self.shelves().get(owner) {
                        lock(shelf).put_back(changes);
                    }
                }
                if !self.failing.swap(true, Ordering::Relaxed) {
                    let file = file.display();
                    tracing::error!(%file, error = format!("{error:#}"), "what plugins store cannot be written: it is kept in memory and tried again");
                }
            }
        }
    }

    async fn let_go(&self) {
        if let Some(disk) = self.disk.clone() {
            // Closing writes the last of its own bookkeeping.
            self.tasks.block(move || disk.close()).await.ok();
        }
    }
}

fn lock(shelf: &Mutex<Shelf>) -> MutexGuard<'_, Shelf> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The machine's, by the wall: what lies in a file is read by another process, on another day.
pub fn machine() -> Clock {
    Arc::new(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)))
}

/// Whether the file, if it is there, is one that can be opened. One that is in use, or that was not closed, passes.
///
/// # Errors
/// It is damaged; says the mend.
pub async fn verify(path: &Path) -> anyhow::Result<()> {
    let file = path.to_owned();
    Tasks::new().block(move || disk::verify(&file)).await.unwrap_or_else(|_| Err(disk::contradictory(path)))
}

/// Where the store of a state folder is.
pub fn file(state: &Path) -> PathBuf {
    state.join("key-value.redb")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(60);
    const QUOTA: u64 = 1 << 20;

    fn bytes(text: &str) -> Bytes {
        Bytes::copy_from_slice(text.as_bytes())
    }

    /// Nothing is committed before the store is closed.
    fn lazy() -> Limits {
        Limits { commit: Duration::from_secs(3600), ..Limits::default() }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_stored_is_there_again_and_namespaces_are_apart() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/key-value.redb");
        let store = Store::open(path.clone(), lazy()).await.unwrap();
        let [one, two] = [store.namespace("one", QUOTA).await.unwrap(), store.namespace("two", QUOTA).await.unwrap()];
        one.set("a", bytes("1"), None).unwrap();
        one.set("gone", bytes("1"), None).unwrap();
        one.set("over", bytes("1"), Some(Duration::ZERO)).unwrap();
        two.set("a", bytes("2"), Some(GRACE)).unwrap();
        one.remove("gone");
        for _ in 0..5 {
            one.increment("count", 3).unwrap();
        }
        assert!(store.close(GRACE).await);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);

        let store = Store::open(path, lazy()).await.unwrap();
        let [one, two] = [store.namespace("one", QUOTA).await.unwrap(), store.namespace("two", QUOTA).await.unwrap()];

        assert_eq!(one.keys("", 10), ["a", "count"]);
        assert_eq!((one.get("a"), two.get("a"), one.get("count")), (Some(bytes("1")), Some(bytes("2")), Some(bytes("15"))));
        assert_eq!(two.keys("", 10), ["a"]);
        assert!(store.close(GRACE).await);
    }

    #[tokio::test]
    async fn entries_end_by_the_clock_they_are_given() {
        let now = Arc::new(std::sync::atomic::AtomicU64::new(5_000));
        let clock = now.clone();
        let store = Store::in_memory(lazy(), Arc::new(move || clock.load(Ordering::Relaxed)));
        let namespace = store.namespace("x", QUOTA).await.unwrap();
        namespace.set("a", bytes("1"), Some(Duration::from_secs(60))).unwrap();

        let seen = [64_999, 65_000].map(|millis| {
            now.store(millis, Ordering::Relaxed);
            (namespace.get("a"), namespace.keys("", 9).len())
        });

        assert_eq!(seen, [(Some(bytes("1")), 1), (None, 0)]);
    }

    #[tokio::test]
    async fn a_clock_that_jumps_ends_no_entry_early_and_loses_none_without_end() {
        const MINUTE: Option<Duration> = Some(Duration::from_secs(60));
        let now = Arc::new(std::sync::atomic::AtomicU64::new(1_000_000));
        let clock = now.clone();
        let store = Store::in_memory(lazy(), Arc::new(move || clock.load(Ordering::Relaxed)));
        let namespace = store.namespace("x", QUOTA).await.unwrap();
        let there = |at: u64| {
            now.store(at, Ordering::Relaxed);
            namespace.keys("", 9)
        };
        namespace.set("lasting", bytes("1"), None).unwrap();
        namespace.set("before", bytes("1"), MINUTE).unwrap();

        assert_eq!(there(0), ["before", "lasting"], "it went back to where it begins");
        namespace.set("behind", bytes("1"), MINUTE).unwrap();
        assert_eq!(there(59_999), ["before", "behind", "lasting"]);
        assert_eq!(there(1_000_000), ["before", "lasting"], "it was set right");
        assert_eq!(there(u64::MAX), ["lasting"], "it went out of all bounds");
        namespace.set("ahead", bytes("1"), MINUTE).unwrap();
        assert_eq!(there(1_000_000).last().map(String::as_str), Some("lasting"));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn increments_of_many_lose_nothing() {
        let store = Store::in_memory(Limits::default(), machine());
        let namespace = store.namespace("x", QUOTA).await.unwrap();

        let adding: Vec<_> = (0..8)
            .map(|_| {
                let namespace = namespace.clone();
                Tasks::new().block(move || (0..10_000).map(|_| namespace.increment("n", 1).unwrap()).max())
            })
            .collect();
        for added in adding {
            added.await.unwrap();
        }

        assert_eq!(namespace.get("n"), Some(bytes("80000")));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_copy_taken_while_it_runs_holds_what_was_committed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, copy) = (folder.path().join("a.redb"), folder.path().join("b.redb"));
        let limits = Limits { commit: Duration::ZERO, ..Limits::default() };
        let store = Store::open(path.clone(), limits).await.unwrap();
        let namespace = store.namespace("x", QUOTA).await.unwrap();
        namespace.set("a", bytes("1"), None).unwrap();
        while !store.0.disk.as_ref().unwrap().read("x").unwrap().iter().any(|(key, ..)| key == "a") {
            tokio::task::yield_now().await;
        }

        // What another process finds when this one is killed now: neither closed nor synced further.
        std::fs::copy(&path, &copy).unwrap();
        let after = Store::open(copy, limits).await.unwrap();

        assert_eq!(after.namespace("x", QUOTA).await.unwrap().get("a"), Some(bytes("1")));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_that_cannot_be_used_is_refused_with_the_mend() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key-value.redb");
        let refusal = async |path: &Path| Store::open(path.to_owned(), lazy()).await.err().expect("refused").to_string();

        std::fs::write(&path, "this is no store of any kind").unwrap();
        let noise = refusal(&path).await;
        std::fs::remove_file(&path).unwrap();
        let store = Store::open(path.clone(), lazy()).await.unwrap();
        let namespace = store.namespace("x", QUOTA).await.unwrap();
        (0..200).for_each(|number| namespace.set(&format!("key {number}"), bytes(&"value".repeat(100)), None).unwrap());
        let taken = refusal(&path).await;
        assert!(store.close(GRACE).await);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let cut = refusal(&path).await;
        let altered: Vec<u8> = whole.iter().enumerate().map(|(at, octet)| if at > 8192 { octet ^ 0x55 } else { *octet }).collect();
        std::fs::write(&path, altered).unwrap();
        let altered = refusal(&path).await;

        assert!(taken.contains("key-value.redb is in use") && taken.contains("--state"), "{taken}");
        for damaged in [noise, cut, altered] {
            assert!(damaged.contains("key-value.redb is damaged") && damaged.contains("move it away"), "{damaged}");
        }
        assert!(verify(&path).await.is_err());
        std::fs::write(&path, whole).unwrap();
        assert!(verify(&path).await.is_ok() && verify(&folder.path().join("none")).await.is_ok());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn keys_and_values_have_their_bounds() {
        let store = Store::in_memory(Limits { key_bytes: 3, value_bytes: 4, ..Limits::default() }, machine());
        let namespace = store.namespace("x", QUOTA).await.unwrap();

        namespace.set("abc", bytes("1234"), None).unwrap();
        assert_eq!(namespace.set("abcd", bytes(""), None), Err(StoreError::Key(3)));
        assert_eq!(namespace.increment("abcd", 1), Err(StoreError::Key(3)));
        assert_eq!(namespace.set("abc", bytes("12345"), None), Err(StoreError::Value(4)));
        assert_eq!(namespace.compare_and_set("abc", Some(b"1234"), bytes("12345")), Err(StoreError::Value(4)));
    }
}
