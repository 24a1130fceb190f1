//! The writer: a bounded queue and the threads that empty it.
//!
//! Place: one per process, started before the plugins and closed after them. Whoever keeps a record waits for a place in the queue, never
//! for the disk. Records are not synced to the medium: they survive the process, not the loss of power.

use std::{
    collections::HashSet,
    fmt,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use anyhow::Context;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::timeout,
};

use super::{
    checked::RecordName,
    folders::{self, Folders},
    place::{self, WriteMode},
};

/// How often a write is tried again that failed for want of something that may come back, such as a descriptor.
const RETRIES: u32 = 5;
/// The first pause between two tries; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// How long a thread that has written lets records come together before it looks again. Woken up for each, it would take the processor from who
/// serves clients, and give it back, once for each.
const GATHERING: Duration = Duration::from_millis(2);

/// Bounds of the queue.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most records waiting. Full: whoever comes waits `patience`.
    pub entries: usize,
    /// Most octets of all records waiting, and of any single one. Full: as above.
    pub bytes: usize,
    /// How long a place in the queue is waited for.
    pub patience: Duration,
    /// Threads that write. Two overlap one's waiting for the disk with the other's work.
    pub threads: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 1024, bytes: 64 << 20, patience: Duration::from_millis(100), threads: 2 }
    }
}

/// Writes records; a cheap handle.
#[derive(Clone)]
pub struct Writer {
    shared: Arc<Shared>,
}

/// A folder records are kept in; a cheap handle.
#[derive(Clone)]
pub struct Folder {
    shared: Arc<Shared>,
    root: Arc<Path>,
}

/// Why a record was not queued.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KeepError {
    /// The queue stayed full for longer than is waited.
    #[error("the queue of records stayed full")]
    Overloaded,
    /// Larger than the whole queue.
    #[error("a record of {size} octets is larger than the {max} that may wait")]
    TooLarge {
        /// Of the record.
        size: usize,
        /// Of the queue.
        max: usize,
    },
    /// The proxy is stopping.
    #[error("the writer of records is closed")]
    Closed,
}

/// What is being written now, and what was.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Standing {
    /// Records that wait.
    pub entries: usize,
    /// Octets of them.
    pub bytes: usize,
    /// Records that the file system has taken.
    pub written: u64,
    /// What was lost.
    pub losses: Losses,
}

/// Records that did not reach the disk.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Losses {
    /// Not taken into the queue.
    pub overloaded: u64,
    /// Taken, but the file system did not take them.
    pub failed: u64,
}

impl Losses {
    /// Nothing was lost.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} records found the queue full, {} could not be written", self.overloaded, self.failed)
    }
}

impl Writer {
    /// Starts the threads.
    ///
    /// # Errors
    /// Where the system grants no thread.
    pub fn start(limits: Limits) -> anyhow::Result<Self> {
        let (writer, lanes) = Self::unserved(limits);
        for (number, queue) in lanes.into_iter().enumerate() {
            let losses = writer.shared.losses.clone();
            thread::Builder::new()
                .name(format!("records-{number}"))
                .spawn(move || Lane { queue, folders: Folders::default(), losses, burst: 0 }.serve())
                .context("starting a thread that writes records")?;
        }
        Ok(writer)
    }

    fn unserved(limits: Limits) -> (Self, Vec<Receiver<Job>>) {
        // One place more than records may wait, for the word that it is over.
        let (lanes, queues) = (0..limits.threads.max(1)).map(|_| sync_channel(limits.entries + 1)).unzip();
        let shared = Shared {
            limits,
            places: Arc::new(Semaphore::new(limits.entries)),
            room: Arc::new(Semaphore::new(limits.bytes)),
            lanes,
            losses: Arc::default(),
            crowded: AtomicBool::new(false),
            swept: Mutex::default(),
        };
        (Self { shared: Arc::new(shared) }, queues)
    }

    /// A folder to keep records in: made (0700) with what is missing above it; an existing one is taken as it is. What a killed process
    /// left unfinished in it is removed meanwhile.
    ///
    /// # Errors
    /// Where it cannot be made or written in; names it.
    pub fn folder(&self, root: PathBuf) -> anyhow::Result<Folder> {
        folders::make(&root).with_context(|| format!("making the records folder {}", root.display()))?;
        place::probe(&root).with_context(|| format!("writing in the records folder {}", root.display()))?;
        let root: Arc<Path> = root.into();
        self.shared.sweep(&root);
        Ok(Folder { shared: self.shared.clone(), root })
    }

    /// Takes no more records and returns when all that were taken are written, with what was lost since the start. There is no deadline:
    /// the caller knows how long it can wait.
    pub async fn close(&self) -> Losses {
        self.shared.places.close();
        let mut ends = Vec::new();
        for lane in &self.shared.lanes {
            let (told, end) = oneshot::channel();
            // Refused: closed before. The place was kept for this one.
            if lane.try_send(Job::End(told)).is_ok() {
                ends.push(end);
            }
        }
        for end in ends {
            end.await.ok();
        }
        self.shared.losses.now()
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        let Shared { limits, places, room, losses, .. } = &*self.shared;
        Standing {
            entries: limits.entries.saturating_sub(places.available_permits()),
            bytes: limits.bytes.saturating_sub(room.available_permits()),
            written: losses.written.load(Ordering::Relaxed),
            losses: losses.now(),
        }
    }

    /// What was lost since the start.
    pub fn losses(&self) -> Losses {
        self.shared.losses.now()
    }
}

impl Folder {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Queues a record; waits for a place in the queue no longer than the writer's patience. Records of one name are written in the order
    /// they were queued.
    ///
    /// # Errors
    /// The record was not taken.
    pub async fn keep(&self, name: RecordName, data: Vec<u8>, mode: WriteMode) -> Result<(), KeepError> {
        let place = self.shared.place(data.len()).await?;
        let job = Job::Put(Record { root: self.root.clone(), name, data, mode, _place: place });
        // Cannot be full: there are as many places in each lane as in the whole queue.
        self.shared.lane(&job).try_send(job).map_err(|_| KeepError::Closed)
    }
}

struct Shared {
    limits: Limits,
    places: Arc<Semaphore>,
    room: Arc<Semaphore>,
    lanes: Vec<SyncSender<Job>>,
    losses: Arc<Lost>,
    /// The queue was full when last tried: said already.
    crowded: AtomicBool,
    swept: Mutex<HashSet<Arc<Path>>>,
}

impl Shared {
    async fn place(&self, size: usize) -> Result<Place, KeepError> {
        let max = self.limits.bytes;
        let octets = u32::try_from(size).ok().filter(|_| size <= max).ok_or(KeepError::TooLarge { size, max })?;
        let waited = timeout(self.limits.patience, async {
            let place = self.places.clone().acquire_owned().await.map_err(|_| KeepError::Closed)?;
            let room = self.room.clone().acquire_many_owned(octets).await.map_err(|_| KeepError::Closed)?;
            Ok(Place { _place: place, _room: room })
        });
        match waited.await {
            Ok(place) => {
                self.crowded.store(false, Ordering::Relaxed);
                place
            }
            Err(_elapsed) => {
                self.losses.overloaded.fetch_add(1, Ordering::Relaxed);
                if !self.crowded.swap(true, Ordering::Relaxed) {
                    tracing::error!("the queue of records is full: the disk does not keep up and records are being lost");
                }
                Err(KeepError::Overloaded)
            }
        }
    }

    /// Always the same one for the same file, so that order is kept.
    fn lane(&self, job: &Job) -> &SyncSender<Job> {
        let at = match job {
            Job::Put(record) => BuildHasherDefault::<DefaultHasher>::default().hash_one((&record.root, &record.name)),
            Job::End(_) => 0,
        };
        &self.lanes[(at % self.lanes.len() as u64) as usize]
    }

    /// Once per folder and run. In a thread of its own, which ends by itself: a folder may hold a million records.
    fn sweep(&self, root: &Arc<Path>) {
        if !self.swept.lock().unwrap_or_else(PoisonError::into_inner).insert(root.clone()) {
            return;
        }
        let root = root.clone();
        let work = move || {
            if let Err(error) = place::sweep(&root) {
                tracing::warn!(folder = %root.display(), %error, "looking for unfinished records");
            }
        };
        if let Err(error) = thread::Builder::new().name("records-sweep".into()).spawn(work) {
            tracing::warn!(%error, "starting a thread that removes unfinished records");
        }
    }
}

/// A place in the queue and room for the octets, given back when the record is written.
struct Place {
    _place: OwnedSemaphorePermit,
    _room: OwnedSemaphorePermit,
}

enum Job {
    Put(Record),
    /// All before this is written; says so.
    End(oneshot::Sender<()>),
}

struct Record {
    root: Arc<Path>,
    name: RecordName,
    data: Vec<u8>,
    mode: WriteMode,
    _place: Place,
}

#[derive(Default)]
struct Lost {
    /// What was not, beside it.
    written: AtomicU64,
    overloaded: AtomicU64,
    failed: AtomicU64,
}

impl Lost {
    fn now(&self) -> Losses {
        Losses { overloaded: self.overloaded.load(Ordering::Relaxed), failed: self.failed.load(Ordering::Relaxed) }
    }
}

/// One thread's share of the work.
struct Lane {
    queue: Receiver<Job>,
    folders: Folders,
    losses: Arc<Lost>,
    /// Records lost since the last one that was written.
    burst: u64,
}

impl Lane {
    fn serve(mut self) {
        while let Some(job) = self.next() {
            match job {
                Job::Put(record) => self.write(record),
                Job::End(told) => {
                    told.send(()).ok();
                    return;
                }
            }
        }
    }

    /// `None` when there will be no more. A thread with nothing to do holds no folder open, so that file systems can be unmounted.
    fn next(&mut self) -> Option<Job> {
        if let Ok(job) = self.queue.try_recv() {
            return Some(job);
        }
        if !self.folders.is_empty() {
            thread::sleep(GATHERING);
            match self.queue.recv_timeout(folders::LEASE) {
                Err(RecvTimeoutError::Timeout) => self.folders.close(),
                other => return other.ok(),
            }
        }
        self.queue.recv().ok()
    }

    fn write(&mut self, record: Record) {
        let attempted = self.attempts(&record);
        if attempted.is_ok() {
            self.losses.written.fetch_add(1, Ordering::Relaxed);
        }
        match attempted {
            Ok(()) if self.burst == 0 => {}
            Ok(()) => {
                tracing::error!(lost = self.burst, "records are written again");
                self.burst = 0;
            }
            Err(error) => {
                self.losses.failed.fetch_add(1, Ordering::Relaxed);
                self.burst += 1;
                if self.burst == 1 {
                    let (folder, record) = (record.root.display(), &record.name);
                    tracing::error!(%folder, %record, %error, "records are being lost: writing failed");
                }
            }
        }
    }

    fn attempts(&mut self, record: &Record) -> io::Result<()> {
        let mut pause = FIRST_PAUSE;
        let mut tries = 0;
        loop {
            let may_be_stale = !self.folders.is_empty();
            let folder = self.folders.of(&record.root, &record.name);
            let Err(error) = folder.and_then(|folder| place::put(folder, record.name.file(), &record.data, record.mode)) else {
                return Ok(());
            };
            self.folders.close();
            // Systems say different things about folders that are gone.
            if may_be_stale {
                continue;
            }
            tries += 1;
            match Mend::of(&error) {
                // In a burst the others behind this one must not wait for what did not come back for the first.
                Mend::Later if tries <= RETRIES && self.burst == 0 => {
                    thread::sleep(pause);
                    pause *= 2;
                }
                Mend::Now if tries <= RETRIES => {}
                _ => return Err(error),
            }
        }
    }
}

/// What helps against an error.
enum Mend {
    /// The folder went away under our feet: made again by the next try.
    Now,
    /// Short of something that comes back.
    Later,
    Nothing,
}

impl Mend {
    fn of(error: &io::Error) -> Self {
        use rustix::io::Errno;

        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOENT | Errno::INTR | Errno::STALE) => Self::Now,
            Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN | Errno::BUSY) => Self::Later,
            _ => Self::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    fn name(path: &str) -> RecordName {
        RecordName::parse(path).expect("a plain path")
    }

    fn limits(entries: usize, bytes: usize) -> Limits {
        Limits { entries, bytes, patience: Duration::from_millis(5), ..Limits::default() }
    }

    #[tokio::test]
    async fn closing_writes_all_that_was_taken() {
        let root = TempDir::new().expect("a folder");
        let writer = Writer::start(Limits::default()).expect("started");
        let folder = writer.folder(root.path().join("logs")).expect("made");

        for number in 0..500 {
            folder.keep(name(&format!("d/{number}")), vec![b'x'; 100], WriteMode::CreateNew).await.expect("taken");
        }
        let losses = writer.close().await;

        assert!(losses.is_none(), "{losses}");
        assert_eq!(fs::read_dir(root.path().join("logs/d")).expect("a folder").count(), 500);
        assert_eq!(folder.keep(name("late"), Vec::new(), WriteMode::CreateNew).await, Err(KeepError::Closed));
    }

    #[tokio::test]
    async fn writes_to_one_name_keep_their_order() {
        let root = TempDir::new().expect("a folder");
        let writer = Writer::start(Limits { threads: 4, ..Limits::default() }).expect("started");
        let folder = writer.folder(root.path().to_owned()).expect("made");

        for number in 0..200 {
            folder.keep(name("lines"), format!("{number}\n").into_bytes(), WriteMode::Append).await.expect("taken");
        }
        writer.close().await;

        let expected: String = (0..200).map(|number| format!("{number}\n")).collect();
        assert_eq!(fs::read_to_string(root.path().join("lines")).expect("it is there"), expected);
    }

    #[tokio::test]
    async fn a_folder_removed_meanwhile_is_made_again() {
        let root = TempDir::new().expect("a folder");
        let writer = Writer::start(Limits { threads: 1, ..Limits::default() }).expect("started");
        let folder = writer.folder(root.path().join("logs")).expect("made");
        folder.keep(name("a/1"), b"1".into(), WriteMode::CreateNew).await.expect("taken");
        settled(&writer).await;

        fs::remove_dir_all(root.path().join("logs")).expect("removed");
        folder.keep(name("a/2"), b"2".into(), WriteMode::CreateNew).await.expect("taken");

        assert!(writer.close().await.is_none());
        assert_eq!(fs::read(root.path().join("logs/a/2")).expect("it is there"), b"2");
    }

    /// All places are free again: everything queued has been written.
    async fn settled(writer: &Writer) {
        let all = u32::try_from(writer.shared.limits.entries).expect("a small number");
        drop(writer.shared.places.acquire_many(all).await.expect("not closed"));
    }

    #[tokio::test]
    async fn a_full_queue_is_waited_for_and_then_said() {
        let root = TempDir::new().expect("a folder");
        let (writer, _queues) = Writer::unserved(limits(2, 100));
        let folder = writer.folder(root.path().to_owned()).expect("made");
        let keep = |octets| folder.keep(name("r"), vec![0; octets], WriteMode::CreateNew);

        assert_eq!(keep(101).await, Err(KeepError::TooLarge { size: 101, max: 100 }));
        assert_eq!(keep(60).await, Ok(()));
        assert_eq!(keep(60).await, Err(KeepError::Overloaded));
        assert_eq!(keep(40).await, Ok(()));
        assert_eq!(keep(0).await, Err(KeepError::Overloaded));
        assert_eq!(writer.losses(), Losses { overloaded: 2, failed: 0 });
    }

    #[tokio::test]
    async fn what_the_disk_does_not_take_is_counted() {
        let root = TempDir::new().expect("a folder");
        let writer = Writer::start(Limits::default()).expect("started");
        let folder = writer.folder(root.path().to_owned()).expect("made");
        fs::write(root.path().join("file"), "").expect("written");

        folder.keep(name("file/below"), b"x".into(), WriteMode::CreateNew).await.expect("taken");
        folder.keep(name("fine"), b"x".into(), WriteMode::CreateNew).await.expect("taken");

        assert_eq!(writer.close().await, Losses { overloaded: 0, failed: 1 });
        assert!(root.path().join("fine").exists());
    }

    #[test]
    fn a_folder_that_cannot_be_is_named() {
        let root = TempDir::new().expect("a folder");
        fs::write(root.path().join("file"), "").expect("written");
        let (writer, _queues) = Writer::unserved(Limits::default());

        let error = writer.folder(root.path().join("file/logs")).map(drop).expect_err("a file is no folder");

        assert!(format!("{error:#}").contains("file/logs"), "{error:#}");
    }
}
