//! The file of a store.
//!
//! Place: asked by `mod`, on threads that may block. Everything is in one table; each write is one transaction that is on the medium when it
//! returns.

use std::{
    fs::{DirBuilder, OpenOptions, Permissions},
    io::ErrorKind,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context, anyhow, ensure};
use bytes::Bytes;
use redb::{
    Builder, Database, DatabaseError, Durability, ReadableDatabase, StorageError, TableDefinition, TableError, backends::FileBackend,
};

use super::shelf::Change;

/// Owner and key; when it ends (milliseconds since the Unix epoch, 0: never) and value.
const ENTRIES: TableDefinition<'_, (&str, &str), (u64, &[u8])> = TableDefinition::new("entries");
/// Octets of pages that the library keeps: everything is in memory already.
const CACHE_BYTES: usize = 4 << 20;

/// What has changed, by owner.
pub(super) type Batch = Vec<(String, Vec<Change>)>;

/// An entry as it was read: key, value, end.
pub(super) type Stored = (String, Bytes, Option<u64>);

/// See the module.
pub(super) struct Disk {
    path: PathBuf,
    /// `None` after a write failed: the library wants the file to be opened again then.
    database: Mutex<Option<Database>>,
}

impl Disk {
    /// Verifies the whole file, if it is there. May panic over one that was altered.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        if let Some(folder) = path.parent() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.with_context(|| format!("making the folder {}", folder.display()))?;
        }
        Ok(Self { path: path.to_owned(), database: Mutex::new(Some(open(path)?)) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Everything of one owner.
    pub(super) fn read(&self, owner: &str) -> anyhow::Result<Vec<Stored>> {
        let database = self.database();
        let database = database.as_ref().context("the file has been closed")?;
        read(database, owner).map_err(|error| damaged(&self.path, &error.to_string()))
    }

    /// Writes all of it or nothing.
    pub(super) fn write(&self, batch: &Batch) -> anyhow::Result<()> {
        let mut database = self.database();
        let open = match database.take() {
            Some(open) => open,
            None => open(&self.path)?,
        };
        write(&open, batch)?;
        *database = Some(open);
        Ok(())
    }

    /// Lets the file go.
    pub(super) fn close(&self) {
        self.database().take();
    }

    fn database(&self) -> MutexGuard<'_, Option<Database>> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`super::verify`]. May panic.
pub(super) fn verify(path: &Path) -> anyhow::Result<()> {
    match Builder::new().set_cache_size(CACHE_BYTES).open_read_only(path) {
        Ok(_) | Err(DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch | DatabaseError::RepairAborted) => Ok(()),
        Err(DatabaseError::Storage(StorageError::Io(error))) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(explained(path, error)),
    }
}

/// The sentence for a file that is not what it should be.
pub(super) fn damaged(path: &Path, why: &str) -> anyhow::Error {
    anyhow!("the key-value store {} is damaged ({why}): put a copy of it back, or move it away to begin with an empty one", path.display())
}

/// The same where the library panicked over it.
pub(super) fn contradictory(path: &Path) -> anyhow::Error {
    damaged(path, "its contents contradict each other")
}

fn open(path: &Path) -> anyhow::Result<Database> {
    let opening = || format!("opening the key-value store {}", path.display());
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path).with_context(opening)?;
    ensure!(file.metadata().with_context(opening)?.is_file(), "the key-value store {} is not a file: move it away", path.display());
    // Whoever put it there: it holds what plugins know.
    file.set_permissions(Permissions::from_mode(0o600)).with_context(opening)?;
    let opened = FileBackend::new(file)
        .and_then(|backend| Builder::new().set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true).create_with_backend(backend));
    opened.map_err(|error| explained(path, error))
}

fn explained(path: &Path, error: DatabaseError) -> anyhow::Error {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            anyhow!(
                "the key-value store {} is in use by another process: stop that one, or choose another folder with --state",
                path.display()
            )
        }
        DatabaseError::Storage(StorageError::Io(error))
            if error.kind() != ErrorKind::InvalidData && error.kind() != ErrorKind::UnexpectedEof =>
        {
            anyhow::Error::new(error).context(format!("opening the key-value store {}", path.display()))
        }
        other => damaged(path, &other.to_string()),
    }
}

fn read(database: &Database, owner: &str) -> Result<Vec<Stored>, redb::Error> {
    let reading = database.begin_read()?;
    let table = match reading.open_table(ENTRIES) {
        Ok(table) => table,
        // Nothing was ever written.
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut stored = Vec::new();
    for entry in table.range((owner, "")..)? {
        let (key, value) = entry?;
        let ((found, key), (end, value)) = (key.value(), value.value());
        if found != owner {
            break;
        }
        stored.push((key.to_owned(), Bytes::copy_from_slice(value), (end != 0).then_some(end)));
    }
    Ok(stored)
}

fn write(database: &Database, batch: &Batch) -> Result<(), redb::Error> {
    let mut writing = database.begin_write()?;
    writing.set_durability(Durability::Immediate)?;
    {
        let mut table = writing.open_table(ENTRIES)?;
        for (owner, changes) in batch {
            for Change { key, now } in changes {
                let key = (owner.as_str(), &**key);
                match now {
                    Some((value, expires)) => table.insert(key, (expires.unwrap_or(0), &**value))?,
                    None => table.remove(key)?,
                };
            }
        }
    }
    Ok(writing.commit()?)
}
