//! The plugins folder: when to look at it, and what is in it.
//!
//! Place: asked by `swap`, which decides what the files mean. The system tells of changes where it can; where it cannot (network file
//! systems, a lost event), the folder is looked at every so often anyway.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, SystemTime},
};

use anyhow::Context;
use bytes::Bytes;
use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};
use rustix::fs::OFlags;
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

use super::{
    hash::{Hash, Hashing},
    settings::Limits,
};
use crate::stamp::Stamp;

/// Most octets of a plugin's name.
const MAX_NAME: usize = 64;
/// Files change their time stamps only this finely: what changed so short a time before it was read may have changed again since.
const GRANULARITY: Duration = Duration::from_millis(100);

/// Octets of a file that are read and then hashed while the next are read.
const PIECE: usize = 1 << 20;
/// How many of them may wait for that.
const AHEAD: usize = 8;

/// Says when to look at the folder.
pub(super) struct Watch {
    folder: PathBuf,
    limits: Limits,
    changed: Arc<Notify>,
    /// The folder that is watched, by device and number: another one may have taken its place.
    watching: Option<(RecommendedWatcher, (u64, u64))>,
    troubled: bool,
}

impl Watch {
    /// `changed` can be notified by others as well.
    pub(super) fn new(folder: PathBuf, limits: Limits, changed: Arc<Notify>) -> Self {
        Self { folder, limits, changed, watching: None, troubled: false }
    }

    /// Tells `due` whenever it is time to look, until it is dropped.
    pub(super) async fn run(mut self, due: Arc<Notify>) {
        loop {
            self.renew();
            self.due().await;
            due.notify_one();
        }
    }

    /// Watches the folder that is there now, if it is not the one watched already.
    fn renew(&mut self) {
        let Ok(identity) = fs::metadata(&self.folder).map(|folder| (folder.dev(), folder.ino())) else {
            self.watching = None;
            return;
        };
        if self.watching.as_ref().is_some_and(|(_, watched)| *watched == identity) {
            return;
        }
        match self.begin() {
            Ok(watcher) => self.watching = Some((watcher, identity)),
            Err(error) if !self.troubled => {
                self.troubled = true;
                tracing::warn!(folder = %self.folder.display(), %error, "the plugins folder cannot be watched: it is looked at every {:?}", self.limits.rescan);
            }
            Err(_) => {}
        }
    }

    fn begin(&self) -> notify::Result<RecommendedWatcher> {
        let changed = self.changed.clone();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // An error may mean that events were lost.
            if event.map_or(true, |event| is_change(event.kind)) {
                changed.notify_one();
            }
        })?;
        watcher.watch(&self.folder, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    }

    /// Returns when it is time to look: something changed and there was silence since, or it is long ago.
    async fn due(&self) {
        if timeout(self.limits.rescan, self.changed.notified()).await.is_err() {
            return;
        }
        let latest = Instant::now() + self.limits.unrest;
        while Instant::now() < latest && timeout(self.limits.settle, self.changed.notified()).await.is_ok() {}
    }
}

/// Our own reading is no change.
fn is_change(kind: EventKind) -> bool {
    !matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

/// A file that may be a plugin.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) path: PathBuf,
    pub(super) stamp: Stamp,
}

/// What is in the folder.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// By plugin name.
    pub(super) candidates: BTreeMap<String, Candidate>,
    /// What is called like a plugin and holds none, and why: by plugin name.
    pub(super) unfit: BTreeMap<String, (PathBuf, &'static str)>,
    /// What can be no plugin's file, and why.
    pub(super) ignored: BTreeMap<PathBuf, &'static str>,
}

/// Lists what is called `<name>.wasm`, `most` at most. Symbolic links are followed. Blocks.
pub(super) fn list(folder: &Path, most: usize) -> io::Result<Listing> {
    let mut listing = Listing::default();
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "wasm"));
    // So that those beyond the limit are always the same.
    paths.sort();
    for path in paths {
        let ignored = match (name(&path), fs::metadata(&path)) {
            // Hidden files and those of editors come and go.
            (Err(None), _) => continue,
            (Err(Some(why)), _) => why,
            (Ok(name), Err(_)) => {
                listing.unfit.insert(name, (path, "it is a symbolic link to nothing: copy the component itself, or mend the link"));
                continue;
            }
            (Ok(name), Ok(file)) if !file.is_file() => {
                listing.unfit.insert(name, (path, "it is not a regular file: a plugin is one component, NAME.wasm"));
                continue;
            }
            _ if listing.candidates.len() == most => "there are too many files",
            (Ok(name), Ok(file)) => {
                listing.candidates.insert(name, Candidate { stamp: Stamp::of(&file), path });
                continue;
            }
        };
        listing.ignored.insert(path, ignored);
    }
    Ok(listing)
}

/// The name of the plugin a file is called after; or why it is none, if that is worth a word.
fn name(path: &Path) -> Result<String, Option<&'static str>> {
    const RULE: &str = "a plugin's name is made of lower-case letters, digits and `-`, begins with a letter, and is not `host`";
    let stem = path.file_stem().and_then(|stem| stem.to_str()).ok_or(Some(RULE))?;
    if stem.starts_with('.') {
        return Err(None);
    }
    let fits = stem.len() <= MAX_NAME
        && stem.starts_with(|first: char| first.is_ascii_lowercase())
        && stem.bytes().all(|octet| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-')
        // Who answered in the proxy's own name.
        && stem != "host";
    if fits { Ok(stem.to_owned()) } else { Err(Some(RULE)) }
}

/// A file as it was read.
pub(super) struct Contents {
    pub(super) octets: Bytes,
    pub(super) hash: Hash,
    /// `None`: it may have been changed while it was read, or may be again without that showing; to be read once more.
    pub(super) stamp: Option<Stamp>,
}

/// Reads a file of at most `max` octets. Blocks.
pub(super) fn read(path: &Path, max: usize) -> anyhow::Result<Contents> {
    // Opening a fifo would wait for someone to write into it.
    let mut file =
        OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path).map_err(|error| {
            match error.kind() {
                io::ErrorKind::PermissionDenied => anyhow::anyhow!("the proxy's user may not read it: `chmod a+r` the file"),
                _ => anyhow::Error::new(error).context("it cannot be read"),
            }
        })?;
    let before = file.metadata()?;
    anyhow::ensure!(before.is_file(), "it is not a regular file");
    anyhow::ensure!(
        before.len() <= max as u64,
        "it has {} octets, and a component may have {max}: strip it (`wasm-tools strip`), or split it",
        before.len()
    );
    let (octets, hash) = octets(&mut file, before.len() as usize, max).context("it cannot be read")?;
    let after = Stamp::of(&file.metadata()?);
    let is_fresh = before.modified().is_ok_and(|then| SystemTime::now().duration_since(then).is_ok_and(|age| age < GRANULARITY));
    let is_settled = Stamp::of(&before) == after && !is_fresh;
    Ok(Contents { hash, octets: octets.into(), stamp: is_settled.then_some(after) })
}

/// All of the file, `max` octets at most. Large ones are hashed while they are read: both take milliseconds.
fn octets(file: &mut File, expected: usize, max: usize) -> io::Result<(Vec<u8>, Hash)> {
    let mut octets = vec![0; expected];
    let (hashed, hash) = thread::scope(|scope| {
        let (read, to_hash) = mpsc::sync_channel::<&[u8]>(AHEAD);
        let hashing = scope.spawn(move || {
            let mut hash = Hashing::default();
            to_hash.iter().for_each(|piece| hash.add(piece));
            hash
        });
        let mut hashed = 0;
        for piece in octets.chunks_mut(PIECE) {
            // It has become shorter: found out below.
            if file.read_exact(piece).is_err() {
                break;
            }
            hashed += piece.len();
            read.send(piece).ok();
        }
        drop(read);
        (hashed, hashing.join())
    });
    let mut rest = Vec::new();
    file.take((max - hashed) as u64).read_to_end(&mut rest)?;
    if hashed == expected
        && rest.is_empty()
        && let Ok(hash) = hash
    {
        return Ok((octets, hash.done()));
    }
    // It was changed meanwhile. Whatever it is, it will be read again.
    octets.truncate(hashed);
    octets.append(&mut rest);
    let hash = Hash::of(&octets);
    Ok((octets, hash))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn only_files_called_like_plugins_are_listed() {
        let folder = TempDir::new().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        for file in ["good.wasm", "x-1.wasm", "Upper.wasm", "host.wasm", ".hidden.wasm", "readme.md", "target"] {
            fs::write(at(file), "x").expect("written");
        }
        fs::create_dir(at("folder.wasm")).expect("made");
        symlink(at("target"), at("linked.wasm")).expect("linked");
        symlink(at("nowhere"), at("dangling.wasm")).expect("linked");
        rustix::fs::mknodat(rustix::fs::CWD, at("fifo.wasm"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).expect("made");

        let listing = list(folder.path(), 10).expect("listed");

        assert_eq!(listing.candidates.keys().collect::<Vec<_>>(), ["good", "linked", "x-1"]);
        assert_eq!(listing.unfit.keys().collect::<Vec<_>>(), ["dangling", "fifo", "folder"]);
        let ignored: Vec<PathBuf> = ["Upper.wasm", "host.wasm"].map(at).into();
        assert_eq!(listing.ignored.into_keys().collect::<Vec<_>>(), ignored);
        assert_eq!(list(folder.path(), 2).expect("listed").candidates.len(), 2);
    }

    #[test]
    fn files_are_read_within_bounds() {
        let folder = TempDir::new().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "12345").expect("written");
        rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).expect("made");

        assert_eq!(read(&at("file"), 5).expect("read").octets, "12345");
        for (name, max) in [("file", 4), ("fifo", 5), ("none", 5)] {
            assert!(read(&at(name), max).is_err(), "{name}");
        }
    }

    #[test]
    fn a_file_just_written_is_read_again() {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("file");
        fs::write(&path, "12345").expect("written");

        assert!(read(&path, 5).expect("read").stamp.is_none());
        fs::File::open(&path).expect("there").set_modified(SystemTime::now() - Duration::from_secs(60)).expect("set");
        assert!(read(&path, 5).expect("read").stamp.is_some());
    }

    #[tokio::test]
    async fn a_folder_is_looked_at_when_it_has_come_to_rest_or_does_not() {
        const LONG: Duration = Duration::from_secs(3600);
        const SHORT: Duration = Duration::from_millis(1);
        let due = async |settle, unrest, rescan, changes: bool| {
            let (limits, changed) = (Limits { settle, unrest, rescan, ..Limits::default() }, Arc::new(Notify::new()));
            let watch = Watch::new("nowhere".into(), limits, changed.clone());
            let restless = async {
                if !changes {
                    std::future::pending::<()>().await;
                }
                loop {
                    changed.notify_one();
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                () = watch.due() => {}
                () = restless => {}
            }
        };

        // Without a word; in spite of all changes. Neither would end otherwise.
        due(LONG, LONG, SHORT, false).await;
        due(LONG, SHORT, LONG, true).await;
        // One change, and silence.
        let changed = Arc::new(Notify::new());
        changed.notify_one();
        Watch::new("nowhere".into(), Limits { settle: SHORT, unrest: LONG, rescan: LONG, ..Limits::default() }, changed).due().await;
    }
}
