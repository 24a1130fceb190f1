//! The folders that records go to, opened once for a row of records.
//!
//! Place: each of the writer's threads has its own. Folders are opened part by part and never through a symbolic link, so that nothing
//! below a plugin's folder leads out of it. One that is open is kept so for [`LEASE`] at most: who renames or removes it meanwhile gets a
//! new one in its place as good as at once.

use std::{
    fs::DirBuilder,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::DirBuilderExt,
    },
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::{
    fs::{CWD, Mode, OFlags, mkdirat, openat},
    io::Errno,
};

use super::checked::RecordName;

/// How long an open folder is taken for the one of its name: hundreds of records of a busy proxy, and nobody's waiting.
pub(super) const LEASE: Duration = Duration::from_millis(100);
/// Folders open at a time: plugins use two or three each.
const MAX_OPEN: usize = 8;
/// Only who runs the proxy reads records.
const MODE: Mode = Mode::from_raw_mode(0o700);
/// How a folder is opened: as a folder, and not by way of a symbolic link.
pub(super) const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Folders that are open.
#[derive(Debug, Default)]
pub(super) struct Folders(Vec<Open>);

#[derive(Debug)]
struct Open {
    root: Arc<Path>,
    parts: String,
    folder: OwnedFd,
    until: Instant,
}

impl Folders {
    /// The folder that a record below `root` goes to, made if it is missing.
    pub(super) fn of(&mut self, root: &Arc<Path>, name: &RecordName) -> io::Result<BorrowedFd<'_>> {
        let now = Instant::now();
        self.0.retain(|open| now < open.until);
        let at = match self.0.iter().position(|open| open.root == *root && open.parts == name.folder()) {
            Some(at) => at,
            None => {
                if self.0.len() == MAX_OPEN {
                    self.0.remove(0);
                }
                let (folder, parts) = (open(root, name)?, name.folder().to_owned());
                self.0.push(Open { root: root.clone(), parts, folder, until: now + LEASE });
                self.0.len() - 1
            }
        };
        Ok(self.0[at].folder.as_fd())
    }

    /// Closes them all: one may not be what it was.
    pub(super) fn close(&mut self) {
        self.0.clear();
    }

    /// None is open.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Makes `folder` (0700) and what is missing above it.
pub(super) fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(MODE.as_raw_mode()).create(folder)
}

/// The root may be reached through symbolic links: the operator chose it. Made if it is missing.
pub(super) fn open_root(root: &Path) -> io::Result<OwnedFd> {
    let open = || openat(CWD, root, FLAGS - OFlags::NOFOLLOW, Mode::empty());
    match open() {
        Err(Errno::NOENT) => {
            make(root)?;
            Ok(open()?)
        }
        other => Ok(other?),
    }
}

fn open(root: &Path, name: &RecordName) -> io::Result<OwnedFd> {
    let mut folder = open_root(root)?;
    for part in name.folder().split('/').filter(|part| !part.is_empty()) {
        folder = step(folder.as_fd(), part)?;
    }
    Ok(folder)
}

/// One folder further down, made if it is missing.
fn step(folder: BorrowedFd<'_>, part: &str) -> io::Result<OwnedFd> {
    match openat(folder, part, FLAGS, Mode::empty()) {
        Err(Errno::NOENT) => {}
        other => return Ok(other?),
    }
    match mkdirat(folder, part, MODE) {
        // Someone else was quicker.
        Ok(()) | Err(Errno::EXIST) => Ok(openat(folder, part, FLAGS, Mode::empty())?),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use tempfile::TempDir;

    use super::*;

    fn name(path: &str) -> RecordName {
        RecordName::parse(path).expect("a plain path")
    }

    #[test]
    fn a_folder_is_opened_once_and_no_more_than_a_few_are_open() {
        let root: TempDir = TempDir::new().expect("a folder");
        let path: Arc<Path> = root.path().into();
        let mut folders = Folders::default();
        let mut open = |name_of: &str| folders.of(&path, &name(name_of)).expect("opened").as_raw_fd();

        let first = open("a/1");
        assert_eq!(open("a/2"), first);
        assert_ne!(open("b/1"), first);
        for number in 0..100 {
            open(&format!("more/{number}/r"));
        }

        assert_eq!(folders.0.len(), MAX_OPEN);
        folders.close();
        assert!(folders.is_empty() && root.path().join("more/99").is_dir());
    }
}
