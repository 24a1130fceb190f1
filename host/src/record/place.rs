//! Putting one record into its place: whole or not at all.
//!
//! Place: called by the writer's threads only; blocks. A record is written into a file that has no name yet and then given one, so that
//! no reader ever sees half of it and a killed process leaves nothing behind. Where the system cannot do that, the file is called
//! `.flowgate-…` in the same folder until it is whole; [`sweep`] removes what a killed process left of those. Which folder it is, and that
//! it is there, is the affair of [`super::folders`].

use std::{
    fs::File,
    io::{self, Write},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
    process,
    sync::{
        LazyLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags, flock, fstat, linkat, openat, renameat, unlinkat},
    io::Errno,
};

use super::{
    checked::numbered,
    folders::{FLAGS, open_root},
};

/// What unfinished files are called; no record's name begins with a dot.
const UNFINISHED: &str = ".flowgate-";
/// Only who runs the proxy reads records.
const FILE_MODE: Mode = Mode::from_raw_mode(0o600);
/// Most records of one name; then something is wrong with whoever names them.
const MAX_COUNT: u32 = 10_000;
/// How deep [`sweep`] looks: as deep as a record's name goes.
const MAX_SWEEP: usize = 16;

/// How a record meets what already is in its place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WriteMode {
    /// If the name is taken, a counter before the extension makes it free.
    CreateNew,
    /// Takes the place of what was there, at once.
    Replace,
    /// Is added to the end in one write.
    Append,
}

/// Whether records can be written in `folder`: one is begun and given up.
pub(super) fn probe(folder: &Path) -> io::Result<()> {
    Unfinished::begin(open_root(folder)?.as_fd()).map(drop)
}

/// Writes one record into `folder`, as `file`.
pub(super) fn put(folder: BorrowedFd<'_>, file: &str, data: &[u8], mode: WriteMode) -> io::Result<()> {
    if mode == WriteMode::Append {
        return append(folder, file, data);
    }
    let mut record = Unfinished::begin(folder)?;
    record.file.write_all(data)?;
    match mode {
        WriteMode::Replace => record.replace(file),
        _ => record.create(file),
    }
}

/// Removes unfinished files that nobody is writing any more, in `root` and below.
pub(super) fn sweep(root: &Path) -> io::Result<()> {
    sweep_folder(openat(CWD, root, FLAGS - OFlags::NOFOLLOW, Mode::empty())?, MAX_SWEEP)
}

fn sweep_folder(folder: OwnedFd, depth: usize) -> io::Result<()> {
    let entries = Dir::read_from(&folder)?;
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        match entry.file_type() {
            FileType::Directory if depth > 0 && name != "." && name != ".." => {
                // Folders come and go while this looks; one that is not to be read is passed over.
                if let Ok(inner) = openat(&folder, name, FLAGS, Mode::empty()) {
                    sweep_folder(inner, depth - 1).ok();
                }
            }
            FileType::RegularFile if name.starts_with(UNFINISHED) => remove_if_dead(folder.as_fd(), name),
            _ => {}
        }
    }
    Ok(())
}

/// Whoever writes an unfinished file holds its lock.
fn remove_if_dead(folder: BorrowedFd<'_>, name: &str) {
    let Ok(file) = openat(folder, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) else { return };
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
        unlinkat(folder, name, AtFlags::empty()).ok();
    }
}

fn append(folder: BorrowedFd<'_>, file: &str, data: &[u8]) -> io::Result<()> {
    // A fifo of that name would hold up the thread that opens it.
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let (opened, before) = loop {
        let opened = openat(folder, file, flags, FILE_MODE)?;
        // Held until it is written: what is written to is not let go. File systems without locks do not know it better.
        flock(&opened, FlockOperation::LockShared).ok();
        let before = fstat(&opened)?;
        // It was let go between the two calls.
        if before.st_nlink > 0 {
            break (opened, before);
        }
    };
    if FileType::from_raw_mode(before.st_mode) != FileType::RegularFile {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut file = File::from(opened);
    file.write_all(data).inspect_err(|_| {
        // The disk may have taken half of it. Nobody else writes to this name meanwhile: it is one lane's.
        file.set_len(u64::try_from(before.st_size).unwrap_or_default()).ok();
    })
}

/// A file on its way: without a name, or under one that says so.
struct Unfinished<'a> {
    folder: BorrowedFd<'a>,
    file: File,
    /// Its name in the folder, for as long as it has to be removed when given up.
    name: Option<String>,
}

impl<'a> Unfinished<'a> {
    fn begin(folder: BorrowedFd<'a>) -> io::Result<Self> {
        match nameless(folder)? {
            Some(file) => Ok(Self { folder, file, name: None }),
            None => Self::named(folder),
        }
    }

    fn named(folder: BorrowedFd<'a>) -> io::Result<Self> {
        loop {
            let name = unfinished_name();
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = match openat(folder, &name, flags, FILE_MODE) {
                Ok(file) => file,
                // Left by a killed process that had our id.
                Err(Errno::EXIST) => continue,
                Err(error) => return Err(error.into()),
            };
            // Lost to a sweep between the two calls: it will have removed the name. File systems without locks are not swept either.
            if matches!(flock(&file, FlockOperation::NonBlockingLockExclusive), Err(Errno::WOULDBLOCK)) {
                continue;
            }
            return Ok(Self { folder, file: file.into(), name: Some(name) });
        }
    }

    /// Gives it the name `file`, or the first free one made of it.
    fn create(mut self, file: &str) -> io::Result<()> {
        let mut count = 0;
        loop {
            let free = if count == 0 { file.to_owned() } else { numbered(file, count) };
            match self.link(&free) {
                Err(Errno::EXIST) if count < MAX_COUNT => count += 1,
                other => return Ok(other?),
            }
        }
    }

    /// Takes the place of `file`.
    fn replace(mut self, file: &str) -> io::Result<()> {
        let name = match self.name.take() {
            Some(name) => name,
            None => {
                let name = unfinished_name();
                flock(&self.file, FlockOperation::NonBlockingLockExclusive).ok();
                self.link(&name)?;
                name
            }
        };
        renameat(self.folder, &name, self.folder, file).inspect_err(|_| self.name = Some(name.clone()))?;
        Ok(())
    }

    fn link(&mut self, to: &str) -> Result<(), Errno> {
        let Some(name) = &self.name else {
            return name_it(&self.file, self.folder, to);
        };
        match linkat(self.folder, name, self.folder, to, AtFlags::empty()) {
            // No hard links here (FAT, some network and FUSE file systems).
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK) => {
                rename_to_free(self.folder, name, to)?;
                self.name = None;
                Ok(())
            }
            other => other,
        }
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            unlinkat(self.folder, name, AtFlags::empty()).ok();
        }
    }
}

fn unfinished_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{UNFINISHED}{}-{}.tmp", process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Gives a nameless file a name: straight from its descriptor where the kernel lets whoever opened it (Linux 6.10), which saves a third of the
/// call, else by way of the descriptor's path.
#[cfg(target_os = "linux")]
fn name_it(file: &File, folder: BorrowedFd<'_>, to: &str) -> Result<(), Errno> {
    static STRAIGHT: AtomicBool = AtomicBool::new(true);
    if STRAIGHT.load(Ordering::Relaxed) {
        match linkat(file, "", folder, to, AtFlags::EMPTY_PATH) {
            // It may not; or the folder has gone, which the other way says again.
            Err(Errno::NOENT | Errno::PERM | Errno::INVAL) => {}
            other => return other,
        }
    }
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    linkat(CWD, path, folder, to, AtFlags::SYMLINK_FOLLOW).inspect(|()| STRAIGHT.store(false, Ordering::Relaxed))
}

/// No file is nameless there, see [`nameless`].
#[cfg(not(target_os = "linux"))]
fn name_it(_: &File, _: BorrowedFd<'_>, _: &str) -> Result<(), Errno> {
    Err(Errno::NOSYS)
}

/// A file without a name, which vanishes with the process that holds it; `None` where the file system has none, or where it could not be
/// given a name later.
#[cfg(target_os = "linux")]
fn nameless(folder: BorrowedFd<'_>) -> io::Result<Option<File>> {
    /// A nameless file gets its name by way of its descriptor's path.
    static HAVE_PATHS: LazyLock<bool> = LazyLock::new(|| Path::new("/proc/self/fd").exists());
    if !*HAVE_PATHS {
        return Ok(None);
    }
    match openat(folder, ".", OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC, FILE_MODE) {
        Ok(file) => Ok(Some(file.into())),
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOSYS) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn nameless(_: BorrowedFd<'_>) -> io::Result<Option<File>> {
    Ok(None)
}

#[cfg(target_os = "linux")]
fn rename_to_free(folder: BorrowedFd<'_>, from: &str, to: &str) -> Result<(), Errno> {
    rustix::fs::renameat_with(folder, from, folder, to, rustix::fs::RenameFlags::NOREPLACE)
}

#[cfg(not(target_os = "linux"))]
fn rename_to_free(folder: BorrowedFd<'_>, from: &str, to: &str) -> Result<(), Errno> {
    match rustix::fs::statat(folder, to, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Err(Errno::EXIST),
        Err(Errno::NOENT) => renameat(folder, from, folder, to),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use tempfile::TempDir;

    use super::*;
    use crate::record::{checked::RecordName, folders::Folders};

    fn put(root: &Path, path: &str, data: &[u8], mode: WriteMode) -> io::Result<()> {
        let name = RecordName::parse(path).expect("a plain path");
        super::put(Folders::default().of(&root.into(), &name)?, name.file(), data, mode)
    }

    fn files(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
            .collect();
        names.sort();
        names
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it is there").permissions().mode() & 0o777
    }

    #[test]
    fn records_are_private_and_their_folders_made() {
        let root = TempDir::new().expect("a folder");
        let inner = root.path().join("logs");

        put(&inner, "a/b/c.json", b"{}", WriteMode::CreateNew).expect("written");

        assert_eq!(fs::read(inner.join("a/b/c.json")).expect("it is there"), b"{}");
        assert_eq!([mode(&inner), mode(&inner.join("a/b")), mode(&inner.join("a/b/c.json"))], [0o700, 0o700, 0o600]);
    }

    #[test]
    fn a_taken_name_is_counted_on() {
        let root = TempDir::new().expect("a folder");

        for text in ["one", "two", "three"] {
            put(root.path(), "r.json", text.as_bytes(), WriteMode::CreateNew).expect("written");
        }

        assert_eq!(files(root.path()), ["r-1.json", "r-2.json", "r.json"]);
        assert_eq!(fs::read(root.path().join("r-2.json")).expect("it is there"), b"three");
    }

    #[test]
    fn replacing_and_appending_do_what_they_say() {
        let root = TempDir::new().expect("a folder");

        for mode in [WriteMode::Replace, WriteMode::Replace, WriteMode::Append] {
            put(root.path(), "r.json", b"12", mode).expect("written");
        }

        assert_eq!(
            (files(root.path()), fs::read(root.path().join("r.json")).expect("it is there")),
            (vec!["r.json".into()], b"1212".into())
        );
    }

    #[test]
    fn a_symbolic_link_does_not_lead_out() {
        let root = TempDir::new().expect("a folder");
        let outside = TempDir::new().expect("a folder");
        fs::write(outside.path().join("f"), "outside").expect("written");
        std::os::unix::fs::symlink(outside.path(), root.path().join("d")).expect("linked");
        std::os::unix::fs::symlink(outside.path().join("f"), root.path().join("f")).expect("linked");

        assert!(put(root.path(), "d/r.json", b"x", WriteMode::CreateNew).is_err());
        assert!(put(root.path(), "f", b"x", WriteMode::Append).is_err());
        put(root.path(), "f", b"x", WriteMode::Replace).expect("the link itself is replaced");

        assert_eq!(files(outside.path()), ["f"]);
        assert_eq!(fs::read(outside.path().join("f")).expect("it is there"), b"outside");
    }

    #[test]
    fn a_file_under_way_cannot_be_seen() {
        let root = TempDir::new().expect("a folder");
        let folder = open_root(root.path()).expect("a folder");

        let mut record = Unfinished::begin(folder.as_fd()).expect("begun");
        record.file.write_all(b"half of").expect("written");

        let expected: Vec<String> = if record.name.is_some() { record.name.iter().cloned().collect() } else { Vec::new() };
        assert_eq!(files(root.path()), expected);
    }

    #[test]
    fn without_nameless_files_it_works_as_well() {
        let root = TempDir::new().expect("a folder");
        let folder = open_root(root.path()).expect("a folder");
        let finished = |text: &[u8]| {
            let mut record = Unfinished::named(folder.as_fd()).expect("begun");
            record.file.write_all(text).expect("written");
            record
        };

        finished(b"1").create("r").expect("created");
        finished(b"2").create("r").expect("created");
        finished(b"3").replace("r").expect("replaced");
        drop(finished(b"4"));

        assert_eq!(files(root.path()), ["r", "r-1"]);
        assert_eq!(fs::read(root.path().join("r")).expect("it is there"), b"3");
    }

    #[test]
    fn only_what_nobody_writes_is_swept() {
        let root = TempDir::new().expect("a folder");
        fs::create_dir_all(root.path().join("a/b")).expect("made");
        fs::write(root.path().join("a/b/.flowgate-1-1.tmp"), "left behind").expect("written");
        fs::write(root.path().join("a/b/record"), "kept").expect("written");
        let folder = open_root(root.path()).expect("a folder");
        let alive = Unfinished::named(folder.as_fd()).expect("begun");

        sweep(root.path()).expect("swept");

        assert_eq!(files(&root.path().join("a/b")), ["record"]);
        assert!(files(root.path()).contains(alive.name.as_ref().expect("it has a name")));
    }
}
