//! Who may enter: a users file, read again when it changes.
//!
//! Place: `gate` verifies against it, `cli` edits it. A file that is broken, half written or gone never takes the place of one that was good.

use std::{
    fs::{self, File, Metadata},
    io::{ErrorKind, Read, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use arc_swap::ArcSwap;
use tracing::{info, warn};

use super::htpasswd::{self, Table};
use crate::{fresh, stamp::Stamp};

/// How often the file is looked at while logins come in: a change takes effect within a second, or two if it is made in place, and a look costs
/// one system call.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A hundred thousand users; more is not a users file.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// The users of a file, kept up to date.
#[derive(Debug)]
pub struct Users {
    path: PathBuf,
    current: ArcSwap<Snapshot>,
    /// Of the file that was last read, well or not.
    seen: Mutex<Option<Stamp>>,
    opened: Instant,
    look_every: Duration,
    /// In milliseconds since `opened`.
    next_look: AtomicU64,
}

/// The users at one moment.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) table: Table,
    /// Another number for every version of the file.
    pub(super) generation: u64,
}

impl Users {
    /// Reads the file.
    ///
    /// # Errors
    /// Where it cannot be read or is malformed; names file and line.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        Self::open_looking(path, LOOK_EVERY)
    }

    fn open_looking(path: &Path, look_every: Duration) -> anyhow::Result<Self> {
        let (table, stamp) = load(path).with_context(|| reading(path))?;
        Ok(Self {
            path: path.to_owned(),
            current: ArcSwap::from_pointee(Snapshot { table, generation: 0 }),
            seen: Mutex::new(Some(stamp)),
            opened: Instant::now(),
            look_every,
            next_look: AtomicU64::new(0),
        })
    }

    /// Where they are.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.current.load().table.len()
    }

    /// There are none: nobody gets in.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn current(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Whether it is time to call [`Users::refresh`]; says so to one caller only.
    pub(super) fn look_is_due(&self) -> bool {
        let now = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        let due = self.next_look.load(Ordering::Relaxed);
        let next = now.saturating_add(u64::try_from(self.look_every.as_millis()).unwrap_or(u64::MAX));
        due <= now && self.next_look.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Reads the file again if it has changed. Blocks. What is broken is reported once and otherwise ignored. What is written in place may be half
    /// written, which is a file of fewer users: it is read at the next look.
    pub(super) fn refresh(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Stamp::at(&self.path);
        let is_being_written = |seen: Stamp, now: Stamp| seen.is_same_file(&now) && now.age().is_some_and(|age| age < self.look_every);
        if *seen == now || seen.zip(now).is_some_and(|(seen, now)| is_being_written(seen, now)) {
            return;
        }
        match load(&self.path) {
            Ok((table, stamp)) => self.take(table, stamp, &mut seen),
            Err(error) => {
                warn!(file = %self.path.display(), "users file not taken over, the users before it remain: {error:#}");
                *seen = now;
            }
        }
    }

    /// Reads the file now, if it has changed, for somebody who says that it is whole. Blocks.
    ///
    /// # Errors
    /// As for [`Users::open`]: then the users before it remain.
    pub(super) fn reread(&self) -> anyhow::Result<()> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // What was refused once is refused again, with the reason.
        let (table, stamp) = load(&self.path).with_context(|| reading(&self.path))?;
        if *seen != Some(stamp) {
            self.take(table, stamp, &mut seen);
        }
        Ok(())
    }

    fn take(&self, table: Table, stamp: Stamp, seen: &mut Option<Stamp>) {
        info!(file = %self.path.display(), users = table.len(), "users file read again");
        let generation = self.current.load().generation + 1;
        self.current.store(Arc::new(Snapshot { table, generation }));
        *seen = Some(stamp);
    }
}

fn reading(path: &Path) -> String {
    match (path.display(), path.exists()) {
        (path, true) => format!("reading users file {path}"),
        (path, false) => format!("reading users file {path}, which `flowgate user add NAME --users {path}` makes"),
    }
}

/// What an edit did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// There was no such user before.
    Added,
    /// The user has another password now.
    Replaced,
}

/// Gives a user an entry, in place of the old one. A file that is not there is made, with mode 0600; every other line stays as it is, and so do owner and mode. The new
/// file takes the old one's place at once and whole.
///
/// # Errors
/// Where the file cannot be read or written, or holds a line that is no entry (which is then better looked at first).
pub fn set(path: &Path, name: &str, hash: &str) -> anyhow::Result<Change> {
    htpasswd::check_name(name)?;
    edit(path, |text| {
        let (text, replaced) = htpasswd::with(text, name, hash);
        Ok((text, if replaced { Change::Replaced } else { Change::Added }))
    })
}

/// Takes a user out.
///
/// # Errors
/// Where there is no such user, and as for [`set`].
pub fn remove(path: &Path, name: &str) -> anyhow::Result<()> {
    edit(path, |text| match htpasswd::without(text, name) {
        Some(text) => Ok((text, ())),
        None => bail!("there is no user {name:?} in it"),
    })
}

/// The mode of a users file that every user of the machine can read, and so try passwords against; `None`: it is none.
pub fn others_read(path: &Path) -> Option<u32> {
    fs::metadata(path).ok().map(|file| file.mode() & 0o777).filter(|mode| mode & 0o004 != 0)
}

/// The names of all users, in the order of the file.
///
/// # Errors
/// Where it cannot be read or holds a line that is no entry.
pub fn names(path: &Path) -> anyhow::Result<Vec<String>> {
    read(path).and_then(|(text, _)| htpasswd::names(&text)).with_context(|| format!("reading users file {}", path.display()))
}

fn edit<T>(path: &Path, change: impl FnOnce(&str) -> anyhow::Result<(String, T)>) -> anyhow::Result<T> {
    // Behind a symbolic link: the file itself is replaced, not the link.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let lock = File::open(folder).with_context(|| format!("opening {}", folder.display()))?;
    // Two edits at a time would lose one of them; the lock goes with the handle.
    lock.lock().with_context(|| format!("locking {}", folder.display()))?;
    let (text, old) = match read(path) {
        Ok((text, metadata)) => (text, Some(metadata)),
        Err(error) if is_missing(&error) => (String::new(), None),
        Err(error) => return Err(error).with_context(|| format!("reading users file {}", path.display())),
    };
    let (text, result) =
        htpasswd::names(&text).and_then(|_| change(&text)).with_context(|| format!("changing users file {}", path.display()))?;
    replace(path, folder, &text, old.as_ref()).with_context(|| format!("writing users file {}", path.display()))?;
    Ok(result)
}

fn replace(path: &Path, folder: &Path, text: &str, old: Option<&Metadata>) -> anyhow::Result<()> {
    let name = path.file_name().context("this is no file's name")?.to_string_lossy();
    let temporary = folder.join(format!(".{name}.{}.new", std::process::id()));
    let result = (|| {
        let mut file = fresh::create(&temporary, 0o600)?;
        file.write_all(text.as_bytes())?;
        if let Some(old) = old {
            let new = file.metadata()?;
            if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
                // Edited by an administrator, read by the proxy's own user.
                std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid())).context("keeping its owner")?;
            }
            // Whoever could read it still can: a proxy that runs as somebody else must not lose its users.
            file.set_permissions(fs::Permissions::from_mode(old.mode() & 0o777))?;
        }
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        anyhow::Ok(())
    })();
    if result.is_err() {
        // Best effort: the error before it is the one to report.
        let _ = fs::remove_file(&temporary);
    }
    result
}

fn load(path: &Path) -> anyhow::Result<(Table, Stamp)> {
    let (text, metadata) = read(path)?;
    let stamp = Stamp::of(&metadata);
    ensure!(Stamp::of(&fs::metadata(path)?) == stamp, "it is being written");
    Ok((Table::parse(&text)?, stamp))
}

fn read(path: &Path) -> anyhow::Result<(String, Metadata)> {
    // Before it is opened: a pipe would block.
    ensure!(fs::metadata(path)?.is_file(), "this is no file");
    let file = File::open(path).map_err(|error| match fs::metadata(path) {
        Ok(file) if error.kind() == ErrorKind::PermissionDenied => anyhow::Error::from(error).context(format!(
            "it belongs to user {}, group {}, with mode {:03o}: let the proxy's group read it (chgrp, chmod 640)",
            file.uid(),
            file.gid(),
            file.mode() & 0o777
        )),
        _ => error.into(),
    })?;
    let metadata = file.metadata()?;
    ensure!(metadata.len() <= MAX_FILE_BYTES, "it is larger than {MAX_FILE_BYTES} octets");
    let mut octets = Vec::new();
    file.take(MAX_FILE_BYTES).read_to_end(&mut octets)?;
    match String::from_utf8(octets) {
        Ok(text) => Ok((text, metadata)),
        Err(error) => {
            let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|octet| **octet == b'\n').count();
            bail!("line {line}: this is not UTF-8")
        }
    }
}

fn is_missing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Credentials, Password};

    const HASH: &str = "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

    struct Fixture {
        _folder: tempfile::TempDir,
        path: PathBuf,
    }

    impl Fixture {
        fn new(text: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("users");
            fs::write(&path, text).unwrap();
            Self { _folder: folder, path }
        }

        fn users(&self) -> Users {
            Users::open_looking(&self.path, Duration::ZERO).unwrap()
        }
    }

    fn knows(users: &Users, name: &str) -> bool {
        users.refresh();
        users.current().table.verify(&Credentials { name: name.to_owned(), password: Password::new("U*U".to_owned()) })
    }

    #[test]
    fn changes_are_taken_over() {
        let fixture = Fixture::new(&format!("ana:{HASH}\n"));
        let users = fixture.users();
        assert!(knows(&users, "ana"));

        set(&fixture.path, "bo", HASH).unwrap();
        assert!(knows(&users, "bo"));
        remove(&fixture.path, "ana").unwrap();

        assert!(!knows(&users, "ana") && knows(&users, "bo"));
        assert_eq!(users.current().generation, 2);
    }

    #[test]
    fn what_is_broken_never_replaces_what_was_good() {
        let fixture = Fixture::new(&format!("ana:{HASH}\n"));
        let users = fixture.users();

        fs::write(&fixture.path, "ana:$2y$05$CCCC").unwrap();
        assert!(knows(&users, "ana"));
        fs::remove_file(&fixture.path).unwrap();
        assert!(knows(&users, "ana"));
        fs::create_dir(&fixture.path).unwrap();
        assert!(knows(&users, "ana"));
        assert_eq!(users.current().generation, 0);

        fs::remove_dir(&fixture.path).unwrap();
        fs::write(&fixture.path, format!("bo:{HASH}\n")).unwrap();
        assert!(knows(&users, "bo") && !knows(&users, "ana"));
    }

    #[test]
    fn what_is_half_written_is_read_when_it_is_whole() {
        const LONG: Duration = Duration::from_secs(3600);
        let fixture = Fixture::new("");
        let whole = format!("# all staff\nana:{HASH}\nbo:{HASH}\n");
        set(&fixture.path, "ana", HASH).unwrap();
        let users = Users::open_looking(&fixture.path, LONG).unwrap();
        let aged = |by: Duration, later: bool| {
            let now = std::time::SystemTime::now();
            File::options().append(true).open(&fixture.path).unwrap().set_modified(if later { now + by } else { now - by }).unwrap();
        };

        // In place, and stopped at every octet: none of these lets anybody in or keeps anybody out.
        let mut file = File::options().write(true).truncate(true).open(&fixture.path).unwrap();
        for octet in whole.as_bytes() {
            file.write_all(&[*octet]).unwrap();
            users.refresh();
            assert_eq!((users.current().generation, users.len()), (0, 1));
        }
        aged(2 * LONG, false);
        assert!(knows(&users, "ana") && knows(&users, "bo"));

        // A clock that was set back keeps nothing waiting.
        fs::write(&fixture.path, format!("cy:{HASH}\n")).unwrap();
        aged(LONG, true);
        assert!(knows(&users, "cy") && !knows(&users, "ana"));
        // Nor does what comes whole.
        set(&fixture.path, "ana", HASH).unwrap();
        assert!(knows(&users, "ana"));
    }

    #[test]
    fn one_caller_looks_at_a_time() {
        let fixture = Fixture::new("");
        let users = Users::open(&fixture.path).unwrap();

        assert!(users.look_is_due());
        assert!(!users.look_is_due(), "within a second");
    }

    #[test]
    fn edits_keep_lines_and_mode() {
        let fixture = Fixture::new(&format!("# staff\nana:{HASH}\n"));
        fs::set_permissions(&fixture.path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(others_read(&fixture.path), Some(0o644));

        assert_eq!(set(&fixture.path, "ana", "$2b$new").unwrap(), Change::Replaced);
        assert_eq!(set(&fixture.path, "bo", HASH).unwrap(), Change::Added);

        assert_eq!(fs::read_to_string(&fixture.path).unwrap(), format!("# staff\nana:$2b$new\nbo:{HASH}\n"));
        assert_eq!(fs::metadata(&fixture.path).unwrap().mode() & 0o777, 0o644, "the proxy may be somebody else");
        fs::set_permissions(&fixture.path, fs::Permissions::from_mode(0o640)).unwrap();
        set(&fixture.path, "bo", HASH).unwrap();
        assert_eq!((fs::metadata(&fixture.path).unwrap().mode() & 0o777, others_read(&fixture.path)), (0o640, None));
        assert_eq!(names(&fixture.path).unwrap(), ["ana", "bo"]);
        assert_eq!(fs::read_dir(fixture.path.parent().unwrap()).unwrap().count(), 1, "no temporary file remains");
    }

    #[test]
    fn a_new_file_is_the_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users");

        assert_eq!(set(&path, "ana", HASH).unwrap(), Change::Added);

        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn links_stay_links() {
        let fixture = Fixture::new("");
        let link = fixture.path.with_file_name("link");
        std::os::unix::fs::symlink(&fixture.path, &link).unwrap();

        set(&link, "ana", HASH).unwrap();

        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(names(&fixture.path).unwrap(), ["ana"]);
    }

    #[test]
    fn a_link_in_the_place_of_the_new_file_is_not_followed() {
        let fixture = Fixture::new("");
        let elsewhere = fixture.path.with_file_name("elsewhere");
        fs::write(&elsewhere, "another's").unwrap();
        fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o400)).unwrap();
        std::os::unix::fs::symlink(&elsewhere, fixture.path.with_file_name(format!(".users.{}.new", std::process::id()))).unwrap();

        set(&fixture.path, "ana", HASH).unwrap();

        assert_eq!(
            (fs::read_to_string(&elsewhere).unwrap(), fs::metadata(&elsewhere).unwrap().mode() & 0o777),
            ("another's".to_owned(), 0o400)
        );
        assert_eq!(names(&fixture.path).unwrap(), ["ana"]);
        assert!(!fs::symlink_metadata(&fixture.path).unwrap().is_symlink());
    }

    #[test]
    fn concurrent_edits_lose_nobody() {
        let fixture = Fixture::new("");

        std::thread::scope(|scope| {
            for number in 0..8 {
                let path = &fixture.path;
                scope.spawn(move || set(path, &format!("user{number}"), HASH).unwrap());
            }
        });

        assert_eq!(names(&fixture.path).unwrap().len(), 8);
    }

    #[test]
    fn errors_name_the_file() {
        let fixture = Fixture::new("no colon\n");
        let gone = fixture.path.with_file_name("gone");
        fs::write(fixture.path.with_file_name("latin1"), b"ok:$2\nbj\xf6rn:x").unwrap();
        let cases = [
            (Users::open(&fixture.path).map(drop), "line 1: this is no `name:hash`"),
            (Users::open(&gone).map(drop), "No such file"),
            (Users::open(fixture.path.parent().unwrap()).map(drop), "this is no file"),
            (Users::open(&fixture.path.with_file_name("latin1")).map(drop), "line 2: this is not UTF-8"),
            (set(&fixture.path, "ana", HASH).map(drop), "line 1: this is no `name:hash`"),
            (set(&gone, "a:b", HASH).map(drop), "a user's name may not hold a colon"),
            (remove(&gone, "ana"), "there is no user \"ana\" in it"),
            (names(&gone).map(drop), "No such file"),
            (set(&gone.join("deeper"), "ana", HASH).map(drop), "opening"),
        ];
        for (result, expected) in cases {
            let error = format!("{:#}", result.expect_err(expected));
            assert!(error.contains(expected), "{error}");
        }
    }
}
