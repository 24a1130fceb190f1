//! Reading many records at once.
//!
//! Place: what `mod` offers. One thread per processor takes the next file when it is done with one; nothing is held but the counts.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::Context;
use rustix::fs::OFlags;
use time::{Date, format_description::BorrowedFormatItem, macros::format_description};

use super::{Query, Usage, record::Record};

/// Octets of the largest record: capture keeps at most 1 GiB, but what is looked at here is two contents of a chat.
const LARGEST: u64 = 256 << 20;
/// Folders of records that are no use of anything: what editors report by themselves.
const LEFT_OUT: &str = "telemetry";
const DAY: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");

/// How far it has got.
#[derive(Debug, Default)]
pub struct Progress {
    total: AtomicUsize,
    done: AtomicUsize,
}

impl Progress {
    /// Files that were looked at, of how many.
    pub fn now(&self) -> (usize, usize) {
        (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed))
    }
}

/// Counts the records below `logs`, which lie there in folders of their categories.
///
/// # Errors
/// The folder cannot be read.
pub fn count(logs: &Path, query: &Query, progress: &Progress) -> anyhow::Result<Usage> {
    each(logs, query, progress, |record, usage: &mut Usage| {
        usage.rows.entry(record.key(&query.by)).or_default().add(&record.counts());
        usage.counted += 1;
    })
    .map(|(parts, skipped)| {
        let mut usage = Usage { skipped, ..Usage::default() };
        parts.into_iter().for_each(|part| usage.add(part));
        usage
    })
}

/// Shows every record of the query's days to `look`, on several threads, each with a `T` of its own. The number is that of files that are none.
pub(super) fn each<T, F>(logs: &Path, query: &Query, progress: &Progress, look: F) -> anyhow::Result<(Vec<T>, u64)>
where
    T: Default + Send,
    F: Fn(&Record<'_>, &mut T) + Sync,
{
    let files = files(logs, query).with_context(|| format!("reading the records in {}", logs.display()))?;
    progress.total.store(files.len(), Ordering::Relaxed);
    let (next, parts) = (AtomicUsize::new(0), Mutex::new((Vec::new(), 0)));
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let (mut part, mut skipped, mut octets) = (T::default(), 0, Vec::new());
                while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let read = read(file, &mut octets).is_ok();
                    let record = read.then(|| serde_json::from_slice::<Record<'_>>(&octets).ok()).flatten();
                    match record.and_then(|record| Some((day(record.day())?, record))) {
                        // The name was only a hint: a record may have been renamed.
                        Some((day, record)) if is_within(day, query) => look(&record, &mut part),
                        Some(_) => {}
                        None => skipped += 1,
                    }
                    progress.done.fetch_add(1, Ordering::Relaxed);
                }
                let mut parts = parts.lock().unwrap_or_else(PoisonError::into_inner);
                parts.0.push(part);
                parts.1 += skipped;
            });
        }
    });
    Ok(parts.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Files that may be records of those days, judging by their names.
fn files(logs: &Path, query: &Query) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for folder in fs::read_dir(logs)? {
        let folder = folder?;
        if folder.file_name() == LEFT_OUT || !folder.file_type()?.is_dir() {
            continue;
        }
        for file in fs::read_dir(folder.path())? {
            let file = file?;
            let name = file.file_name();
            let Some(name) = name.to_str().filter(|name| name.ends_with(".json") && !name.starts_with('.')) else { continue };
            // A name that begins with no day may be that of any.
            if name.get(..10).and_then(day).is_none_or(|day| is_within(day, query)) {
                files.push(file.path());
            }
        }
    }
    Ok(files)
}

fn day(text: &str) -> Option<Date> {
    Date::parse(text, DAY).ok()
}

fn is_within(day: Date, query: &Query) -> bool {
    query.since.is_none_or(|since| since <= day) && query.until.is_none_or(|until| day <= until)
}

fn read(file: &Path, octets: &mut Vec<u8>) -> io::Result<()> {
    octets.clear();
    // Opening a fifo would wait for someone to write into it.
    let file = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(file)?;
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let read = file.take(LARGEST).read_to_end(octets)?;
    if read as u64 == LARGEST { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(()) }
}
