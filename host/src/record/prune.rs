//! Letting old records go: by age, number and size.
//!
//! Place: called by `app` now and then and by `cli`; blocks. Knows records by what they are in the file system: regular files in the folders
//! below the top, whose names do not begin with a dot. How old one is says the time of its last change. It looks twice: the first time for
//! numbers alone, from which the border is found that everything older goes by; a million records take some 30 MB for that.

use std::{
    fmt, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::fs::{AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags, Stat, flock, fstat, openat, statat, unlinkat};

use super::folders::FLAGS;

/// How deep it looks: as deep as a record's name goes.
const MAX_DEPTH: usize = 16;
/// What lies in a state folder: such a one is not looked into, nor what is below it.
const OF_STATE: [&str; 4] = ["admin.sock", "flowgate-ca-key.pem", "flowgate-ca.pem", "key-value.redb"];
/// Ends of names of what is none of the proxy's records, wherever it lies: plugins, certificates and keys.
const NO_RECORDS: [&str; 2] = [".pem", ".wasm"];

/// What is kept; nothing said: everything.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Retention {
    /// Records no older than that.
    pub age: Option<Duration>,
    /// The newest, so many.
    pub count: Option<u64>,
    /// The newest, of so many octets in all.
    pub bytes: Option<u64>,
    /// None that was changed within that time: something may still be added to it. A change that is still to come, which is what a clock leaves
    /// that was ahead, is none of now.
    pub quiet: Duration,
}

impl Retention {
    /// Everything is kept.
    pub fn is_everything(&self) -> bool {
        self.age.is_none() && self.count.is_none() && self.bytes.is_none()
    }
}

/// What became of it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Pruned {
    /// Records that are gone.
    pub deleted: u64,
    /// Octets of them.
    pub deleted_bytes: u64,
    /// Records that should be gone, and are not.
    pub failed: u64,
    /// Records that are left.
    pub kept: u64,
    /// Octets of them.
    pub kept_bytes: u64,
}

impl fmt::Display for Pruned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mebibytes = |octets: u64| octets as f64 / f64::from(1 << 20);
        let (gone, left) = (mebibytes(self.deleted_bytes), mebibytes(self.kept_bytes));
        write!(f, "{} records of {gone:.1} MiB, {} of {left:.1} MiB are left", self.deleted, self.kept)
    }
}

/// Deletes what `retention` does not keep of the records below `root`, or with `dry` only says what that would be. The newest record of each
/// folder stays in any case, and so does what somebody writes to. `stop` is asked before each record, and ends it early.
///
/// # Errors
/// The folder cannot be read, or is a state folder. What goes wrong with single records is counted.
pub fn prune(root: &Path, retention: &Retention, now: SystemTime, dry: bool, stop: &dyn Fn() -> bool) -> io::Result<Pruned> {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut found = Vec::new();
    walk(root, &mut |_, _, files| {
        found.extend(files.iter().map(|file| (file.key, file.size)));
        !stop()
    })?;
    let border = border(found, retention, now);
    let mut pruned = Pruned::default();
    walk(root, &mut |folder, names, files| {
        let newest = files.iter().map(|file| file.key).max();
        for (name, file) in names.iter().zip(files) {
            if stop() {
                return false;
            }
            let goes = border.is_some_and(|border| file.key <= border)
                && Some(file.key) != newest
                && file.key.changed.abs_diff(now) >= retention.quiet;
            match goes {
                true if dry || remove(folder, name, file).unwrap_or_default() => {
                    pruned.deleted += 1;
                    pruned.deleted_bytes += file.size;
                }
                goes => {
                    pruned.failed += u64::from(goes);
                    pruned.kept += 1;
                    pruned.kept_bytes += file.size;
                }
            }
        }
        true
    })?;
    Ok(pruned)
}

/// Tells records apart, the older one first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Key {
    /// Since the epoch.
    changed: Duration,
    inode: u64,
}

#[derive(Clone, Copy, Debug)]
struct Found {
    key: Key,
    size: u64,
}

impl Found {
    #[allow(clippy::unnecessary_cast, reason = "types of these fields differ between systems")]
    fn of(stat: &Stat) -> Self {
        let (seconds, nanos) = (u64::try_from(stat.st_mtime).unwrap_or_default(), stat.st_mtime_nsec as u32);
        Self {
            key: Key { changed: Duration::new(seconds, nanos), inode: stat.st_ino as u64 },
            size: u64::try_from(stat.st_size).unwrap_or_default(),
        }
    }
}

/// The newest record that goes, and all older ones with it; `None`: all stay.
fn border(mut found: Vec<(Key, u64)>, retention: &Retention, now: Duration) -> Option<Key> {
    found.sort_unstable_by_key(|record| std::cmp::Reverse(record.0));
    let oldest = retention.age.map(|age| now.saturating_sub(age));
    let mut bytes = 0u64;
    for (at, (key, size)) in found.iter().enumerate() {
        bytes = bytes.saturating_add(*size);
        let is_old = oldest.is_some_and(|oldest| key.changed < oldest);
        let is_beyond = retention.count.is_some_and(|count| at as u64 >= count) || retention.bytes.is_some_and(|most| bytes > most);
        if is_old || is_beyond {
            return Some(*key);
        }
    }
    None
}

/// Is shown a folder with names and facts of its records; `false`: that is enough.
type Look<'a> = dyn FnMut(BorrowedFd<'_>, &[String], &[Found]) -> bool + 'a;

/// Shows each folder below the top with its records, until `look` has seen enough.
fn walk(root: &Path, look: &mut Look<'_>) -> io::Result<()> {
    let top = openat(CWD, root, FLAGS - OFlags::NOFOLLOW, Mode::empty())?;
    let all = entries(&top)?;
    if let Some((name, _)) = of_state(&all) {
        return Err(io::Error::other(format!("{name} is in it, so it is a state folder, of which nothing is deleted")));
    }
    for name in folders(all) {
        // Folders come and go while this looks; one that is not to be read is passed over.
        if let Ok(folder) = openat(&top, &*name, FLAGS, Mode::empty())
            && !step(folder, MAX_DEPTH, look)?
        {
            break;
        }
    }
    Ok(())
}

fn step(folder: OwnedFd, depth: usize, look: &mut Look<'_>) -> io::Result<bool> {
    let (mut names, mut files) = (Vec::new(), Vec::new());
    let mut inner = Vec::new();
    let all = entries(&folder)?;
    if of_state(&all).is_some() {
        return Ok(true);
    }
    for (name, kind) in all {
        match kind {
            FileType::Directory if depth > 0 => inner.push(name),
            // Some file systems do not say what an entry is.
            FileType::RegularFile | FileType::Unknown => {
                let Ok(stat) = statat(&folder, &*name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
                match FileType::from_raw_mode(stat.st_mode) {
                    FileType::RegularFile if !NO_RECORDS.iter().any(|end| name.ends_with(end)) => {
                        names.push(name);
                        files.push(Found::of(&stat));
                    }
                    FileType::Directory if depth > 0 => inner.push(name),
                    _ => {}
                }
            }
            _ => {}
        }
    }
    if !look(folder.as_fd(), &names, &files) {
        return Ok(false);
    }
    drop((names, files));
    for name in inner {
        if let Ok(inner) = openat(&folder, &*name, FLAGS, Mode::empty())
            && !step(inner, depth - 1, look)?
        {
            return Ok(false);
        }
    }
    Ok(true)
}

fn folders(all: Vec<(String, FileType)>) -> impl Iterator<Item = String> {
    all.into_iter().filter(|(_, kind)| matches!(kind, FileType::Directory | FileType::Unknown)).map(|(name, _)| name)
}

fn of_state(all: &[(String, FileType)]) -> Option<&(String, FileType)> {
    all.iter().find(|(name, _)| OF_STATE.contains(&name.as_str()))
}

/// What does not hide.
fn entries(folder: &OwnedFd) -> io::Result<Vec<(String, FileType)>> {
    let mut all = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        if let Ok(name) = entry.file_name().to_str()
            && !name.starts_with('.')
        {
            all.push((name.to_owned(), entry.file_type()));
        }
    }
    Ok(all)
}

/// `false`: somebody writes to it, or it is another file by now. Whoever appends to a record holds its lock.
fn remove(folder: BorrowedFd<'_>, name: &str, expected: &Found) -> io::Result<bool> {
    let file = openat(folder, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() || Found::of(&fstat(&file)?).key != expected.key {
        return Ok(false);
    }
    unlinkat(folder, name, AtFlags::empty())?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        os::unix::fs::symlink,
        path::PathBuf,
    };

    use tempfile::TempDir;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// A folder of records, by path, of so many octets and minutes of age.
    fn logs(records: &[(&str, usize, u32)]) -> (TempDir, SystemTime) {
        let (folder, now) = (TempDir::new().expect("a folder"), SystemTime::now());
        for (path, size, age) in records {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().expect("it has one")).expect("made");
            fs::write(&path, vec![b'x'; *size]).expect("written");
            File::options().write(true).open(&path).and_then(|file| file.set_modified(now - *age * MINUTE)).expect("set back");
        }
        (folder, now)
    }

    fn left(folder: &Path) -> Vec<String> {
        let (mut files, mut folders) = (Vec::new(), vec![PathBuf::new()]);
        while let Some(inner) = folders.pop() {
            for entry in fs::read_dir(folder.join(&inner)).expect("read") {
                let entry = entry.expect("read");
                let path = inner.join(entry.file_name());
                if entry.file_type().expect("known").is_dir() { folders.push(path) } else { files.push(path.display().to_string()) }
            }
        }
        files.sort();
        files
    }

    fn keep(age: Option<u32>, count: Option<u64>, bytes: Option<u64>) -> Retention {
        Retention { age: age.map(|minutes| minutes * MINUTE), count, bytes, quiet: MINUTE }
    }

    fn pruned(folder: &TempDir, retention: &Retention, now: SystemTime) -> Pruned {
        prune(folder.path(), retention, now, false, &|| false).expect("read")
    }

    const MANY: [(&str, usize, u32); 6] =
        [("a/1", 10, 100), ("a/2", 10, 50), ("a/3", 10, 5), ("b/1", 10, 90), ("b/deep/2", 10, 80), ("b/3", 10, 40)];

    #[test]
    fn what_is_older_or_more_than_is_kept_goes() {
        let table: [(Retention, &[&str]); 6] = [
            (keep(Some(60), None, None), &["a/2", "a/3", "b/3", "b/deep/2"]),
            (keep(None, Some(3), None), &["a/2", "a/3", "b/3", "b/deep/2"]),
            (keep(None, None, Some(20)), &["a/3", "b/3", "b/deep/2"]),
            (keep(None, None, Some(19)), &["a/3", "b/3", "b/deep/2"]),
            (keep(Some(85), Some(5), Some(1000)), &["a/2", "a/3", "b/3", "b/deep/2"]),
            (keep(None, None, None), &["a/1", "a/2", "a/3", "b/1", "b/3", "b/deep/2"]),
        ];
        for (retention, expected) in table {
            let (folder, now) = logs(&MANY);

            let pruned = pruned(&folder, &retention, now);

            assert_eq!(left(folder.path()), expected, "{retention:?}");
            let gone = 6 - expected.len() as u64;
            assert_eq!((pruned.deleted, pruned.deleted_bytes, pruned.kept), (gone, 10 * gone, expected.len() as u64));
            assert_eq!((pruned.failed, pruned.kept_bytes), (0, 10 * expected.len() as u64));
        }
    }

    #[test]
    fn the_newest_of_each_folder_stays_whatever_is_said() {
        let (folder, now) =
            logs(&[("a/1", 10, 100), ("a/2", 10, 90), ("telemetry/1", 10, 80), ("redact/x/1", 10, 70), ("redact/x/2", 10, 60)]);

        pruned(&folder, &keep(Some(1), Some(0), Some(0)), now);

        assert_eq!(left(folder.path()), ["a/2", "redact/x/2", "telemetry/1"]);
    }

    #[test]
    fn what_is_no_record_or_written_to_stays() {
        let (folder, now) = logs(&[
            ("README", 10, 100),
            ("a/.flowgate-1-1.tmp", 10, 100),
            (".git/config", 10, 100),
            ("a/locked", 10, 100),
            ("a/gone", 10, 100),
            ("a/fresh", 10, 0),
            ("a/newest", 10, 0),
            ("elsewhere.d/precious", 10, 100),
            ("elsewhere.d/newer", 10, 90),
        ]);
        fs::rename(folder.path().join("elsewhere.d"), folder.path().join(".elsewhere")).expect("moved");
        symlink("../.elsewhere/precious", folder.path().join("a/link")).expect("linked");
        symlink(".elsewhere", folder.path().join("linked")).expect("linked");
        let locked = File::open(folder.path().join("a/locked")).expect("opened");
        locked.lock_shared().expect("locked");

        let pruned = pruned(&folder, &keep(None, Some(0), None), now);

        let left = left(folder.path());
        for stays in
            ["README", "a/.flowgate-1-1.tmp", ".git/config", "a/locked", "a/fresh", "a/newest", ".elsewhere/precious", "a/link", "linked"]
        {
            assert!(left.iter().any(|path| path == stays), "{stays} is not in {left:?}");
        }
        assert_eq!((pruned.deleted, pruned.failed), (1, 1));
        drop(locked);
        assert_eq!(prune(folder.path(), &keep(None, Some(0), None), now, false, &|| false).expect("read").deleted, 1);
    }

    #[test]
    fn state_folders_plugins_and_keys_stay() {
        for mark in OF_STATE {
            let state = format!("state/{mark}");
            let (folder, now) = logs(&[
                (&*state, 10, 100),
                ("state/b", 10, 90),
                ("state/plugins-before/1", 10, 80),
                ("state/plugins-before/2", 10, 70),
                ("plugins/a.wasm", 10, 90),
                ("plugins/b.wasm", 10, 80),
                ("plugins/tls/key.pem", 10, 80),
                ("plugins/tls/x.pem", 10, 70),
                ("a/1", 10, 60),
                ("a/2", 10, 50),
            ]);

            assert_eq!(pruned(&folder, &keep(None, Some(0), None), now).deleted, 1, "{mark}");

            let left = left(folder.path());
            assert!(left.len() == 9 && !left.contains(&"a/1".to_owned()), "{left:?}");
            let error = prune(&folder.path().join("state"), &keep(None, Some(0), None), now, false, &|| false).unwrap_err().to_string();
            assert!(error.contains(mark) && error.contains("state folder"), "{error}");
        }
    }

    #[test]
    fn what_a_clock_left_in_the_future_counts_like_everything_else() {
        let (folder, now) = logs(&MANY);
        for record in ["a/3", "b/3"] {
            let ahead = File::options().write(true).open(folder.path().join(record)).expect("opened");
            ahead.set_modified(now + 1000 * MINUTE).expect("set ahead");
        }
        fs::write(folder.path().join("a/newest"), "xx")
            .and_then(|()| File::options().write(true).open(folder.path().join("a/newest"))?.set_modified(now + 2000 * MINUTE))
            .expect("written");

        pruned(&folder, &keep(None, Some(1), None), now);

        assert_eq!(left(folder.path()), ["a/newest", "b/3", "b/deep/2"]);
    }

    #[test]
    fn a_dry_run_says_what_would_go_and_one_that_is_told_to_stop_does() {
        let (folder, now) = logs(&MANY);
        let retention = keep(None, Some(3), None);

        let dry = prune(folder.path(), &retention, now, true, &|| false).expect("read");
        let stopped = prune(folder.path(), &retention, now, false, &|| true).expect("read");

        assert_eq!((dry.deleted, dry.kept, stopped.deleted), (2, 4, 0));
        assert_eq!(left(folder.path()).len(), 6);
        assert!(prune(&folder.path().join("none"), &retention, now, false, &|| false).is_err());
    }
}
