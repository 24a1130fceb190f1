//! Compiled components, kept over restarts.
//!
//! Place: asked by `load`; blocks. A file in here is native code that will run in this process, so it is used only from a folder that
//! nobody else can write in, and only if it is, octet for octet, what was written: its SHA-256 stands in front of it. It is read into memory
//! first and checked there; a file that is mapped could change after the check.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    hash::{DefaultHasher, Hash as _, Hasher},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

use rustix::{fs::OFlags, process::geteuid};
use sha2::{Digest, Sha256};
use wasmtime::{Engine, component::Component};

use super::hash::Hash;

const ENDING: &str = "cwasm";

/// The folder, and how much may be in it.
#[derive(Clone)]
pub(super) struct Cache {
    folder: PathBuf,
    max_bytes: u64,
}

impl Cache {
    pub(super) fn new(folder: PathBuf, max_bytes: u64) -> Self {
        Self { folder, max_bytes }
    }

    /// The component as compiled before by an engine like this; `None` if it was not, or if that is not to be trusted.
    pub(super) fn find(&self, engine: &Engine, hash: &Hash) -> Option<Component> {
        let path = self.path(engine, hash);
        match self.read(&path) {
            Ok(code) => component(engine, &code).inspect_err(|error| spoilt(&path, &error.to_string())).ok(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                spoilt(&path, &error.to_string());
                None
            }
        }
    }

    /// The same where another process was to put it here.
    ///
    /// # Errors
    /// It is not there, or not to be trusted.
    pub(super) fn take(&self, engine: &Engine, hash: &Hash) -> anyhow::Result<Component> {
        let code = self.read(&self.path(engine, hash))?;
        Ok(component(engine, &code)?)
    }

    /// Keeps a component for the next time. That it could not be kept costs time then, nothing else.
    pub(super) fn keep(&self, engine: &Engine, hash: &Hash, component: &Component) {
        if let Err(error) = self.store(engine, hash, component) {
            tracing::warn!(folder = %self.folder.display(), %error, "keeping a compiled plugin failed");
        }
    }

    /// The same for whoever cannot do without.
    ///
    /// # Errors
    /// The folder cannot be written to, or others could write to it as well.
    pub(super) fn store(&self, engine: &Engine, hash: &Hash, component: &Component) -> io::Result<()> {
        let code = component.serialize().map_err(io::Error::other)?;
        self.write(&self.path(engine, hash), &code)?;
        self.make_room()
    }

    /// Where it is, and how much may be in it.
    pub(super) fn place(&self) -> (&Path, u64) {
        (&self.folder, self.max_bytes)
    }

    /// Named by what goes in and by what makes it: another engine's code is never looked at.
    fn path(&self, engine: &Engine, hash: &Hash) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        self.folder.join(format!("{hash}-{:016x}.{ENDING}", hasher.finish()))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut file = OpenOptions::new().read(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(path)?;
        private(&fs::symlink_metadata(&self.folder)?)?;
        private(&file.metadata()?)?;
        let mut sum = [0; 32];
        file.read_exact(&mut sum)?;
        let mut code = Vec::new();
        file.read_to_end(&mut code)?;
        if Sha256::digest(&code).as_slice() != sum {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its checksum is wrong"));
        }
        // Used last; the time is only a hint for what to throw away.
        file.set_modified(SystemTime::now()).ok();
        Ok(code)
    }

    fn write(&self, path: &Path, code: &[u8]) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        private(&fs::symlink_metadata(&self.folder)?)?;
        let unfinished = path.with_extension(format!("{}.tmp", std::process::id()));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        let written =
            file.write_all(&Sha256::digest(code)).and_then(|()| file.write_all(code)).and_then(|()| fs::rename(&unfinished, path));
        if written.is_err() {
            fs::remove_file(&unfinished).ok();
        }
        written
    }

    fn make_room(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            // A temporary file of a process that was killed is as good to throw away as anything else.
            if let Ok(file) = fs::symlink_metadata(&path) {
                files.push((file.modified()?, file.len(), path));
            }
        }
        files.sort_unstable_by(|(one, ..), (other, ..)| other.cmp(one));
        let mut sum = 0;
        for (at, (_, len, path)) in files.into_iter().enumerate() {
            sum += len;
            // The newest is about to be used.
            if at > 0 && sum > self.max_bytes {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

fn spoilt(path: &Path, why: &str) {
    tracing::warn!(file = %path.display(), why, "a compiled plugin is not used and will be compiled again");
}

/// Ours, and nobody else may write to it.
fn private(file: &fs::Metadata) -> io::Result<()> {
    if file.uid() == geteuid().as_raw() && file.mode() & 0o022 == 0 && !file.is_symlink() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::PermissionDenied, "others could have written it"))
}

#[allow(unsafe_code)]
fn component(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `code` was made by `Component::serialize` of this very program, or of one whose engine says that it is compatible: it was
    // read from a folder and a file that only our own user can write to, and its checksum fits.
    unsafe { Component::deserialize(engine, code) }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::unix::fs::PermissionsExt};

    use tempfile::TempDir;

    use super::*;

    /// The smallest component there is.
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    fn files(folder: &Path) -> Vec<PathBuf> {
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect()
    }

    fn filled() -> (TempDir, Cache, Engine, Hash) {
        let root = TempDir::new().expect("a folder");
        let cache = Cache::new(root.path().join("cache"), 1 << 20);
        let (engine, hash) = (Engine::default(), Hash::of(EMPTY));
        cache.keep(&engine, &hash, &Component::new(&engine, EMPTY).expect("a component"));
        (root, cache, engine, hash)
    }

    #[test]
    fn what_was_kept_is_found_again() {
        let (_root, cache, engine, hash) = filled();

        assert!(cache.find(&engine, &hash).is_some());
        assert!(cache.find(&engine, &Hash::of(b"other")).is_none());
        let mut other = wasmtime::Config::new();
        other.epoch_interruption(true);
        assert!(cache.find(&Engine::new(&other).expect("an engine"), &hash).is_none());
    }

    #[test]
    fn what_was_tampered_with_is_not_used() {
        let (_root, cache, engine, hash) = filled();
        let file = &files(&cache.folder)[0];
        let good = fs::read(file).expect("readable");

        let mut bad = good.clone();
        bad[good.len() / 2] ^= 1;
        for octets in [&bad[..], &good[..20], b""] {
            fs::write(file, octets).expect("written");
            assert!(cache.find(&engine, &hash).is_none());
        }

        fs::write(file, &good).expect("written");
        assert!(cache.find(&engine, &hash).is_some());
        fs::set_permissions(&cache.folder, fs::Permissions::from_mode(0o777)).expect("set");
        assert!(cache.find(&engine, &hash).is_none());
    }

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let (_root, mut cache, engine, hash) = filled();
        let size = fs::metadata(&files(&cache.folder)[0]).expect("there").len();
        File::open(&files(&cache.folder)[0]).expect("there").set_modified(SystemTime::UNIX_EPOCH).expect("set");
        cache.max_bytes = size + size / 2;

        let other = Hash::of(b"other");
        cache.keep(&engine, &other, &Component::new(&engine, EMPTY).expect("a component"));

        assert!(cache.find(&engine, &hash).is_none() && cache.find(&engine, &other).is_some());
    }
}
