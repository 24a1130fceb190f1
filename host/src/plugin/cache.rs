//! Compiled components, kept over restarts.
//!
//! Place: asked by `load`; blocks. A file in here is native code that will run in this process, so it is used only from a folder that
//! nobody else can write in, and only if it is, octet for octet, what was written: a checksum stands in front of it. Whoever can write in here
//! could write a checksum as well, whatever it is made of: against them stand owner and mode of folder and file, and the checksum against damage
//! alone. It is XXH3 with 128 bits, a tenth of what SHA-256 costs, for the second load of a component shall take milliseconds, and they have tens
//! of megabytes. The file is copied into memory while it is checked; one that is mapped could change after that. Where the system can seal such
//! memory it is mapped from there.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    hash::{DefaultHasher, Hash as _, Hasher},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::SystemTime,
};

use anyhow::Context;
use rustix::{fs::OFlags, process::geteuid};
use tempfile::TempDir;
use twox_hash::XxHash3_128;
use wasmtime::{Engine, component::Component};

use super::hash::Hash;

const ENDING: &str = "cwasm";
/// Octets of the checksum in front.
const SUM: usize = 16;
/// How files in here are laid out: others are not looked at.
const LAYOUT: u8 = 2;
/// Each so many octets have a checksum of their own, so that several threads can check one file. The checksum of those is in front.
const PIECE: usize = 4 << 20;
/// Most threads that check one file.
const CHECKERS: usize = 4;
/// Octets copied at a time: few enough to stay in the processor's cache.
const COPIED: usize = 256 * 1024;

/// Machine code that was checked and cannot change any more.
enum Code {
    Octets(Vec<u8>),
    #[cfg(target_os = "linux")]
    Sealed(File),
}

/// A folder of compiled components.
#[derive(Clone, Debug)]
pub enum CacheFolder {
    /// Kept over restarts. Made (0700) if it is missing.
    Kept(PathBuf),
    /// Gone with the last that has it: for trying out what another user runs, whose folder is neither to be trusted nor written to.
    Passing(Arc<TempDir>),
}

impl CacheFolder {
    /// That folder, unless it or what it lies in is another user's.
    ///
    /// # Errors
    /// It is, and there can be no other.
    pub fn own_or_passing(folder: PathBuf) -> anyhow::Result<Self> {
        let there = folder.ancestors().take(2).find_map(|place| fs::metadata(place).ok());
        match there {
            Some(there) if there.uid() != geteuid().as_raw() => Self::passing(),
            _ => Ok(Self::Kept(folder)),
        }
    }

    /// # Errors
    /// There cannot be one.
    pub(super) fn passing() -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix("flowgate-").context("making a folder for compiled plugins")?;
        Ok(Self::Passing(Arc::new(folder)))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Passing(folder) => folder.path(),
        }
    }
}

impl PartialEq for CacheFolder {
    fn eq(&self, other: &Self) -> bool {
        self.path() == other.path()
    }
}

/// The folder, and how much may be in it.
#[derive(Clone)]
pub(super) struct Cache {
    folder: CacheFolder,
    max_bytes: u64,
}

impl Cache {
    pub(super) fn new(folder: CacheFolder, max_bytes: u64) -> Self {
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
            tracing::warn!(folder = %self.folder.path().display(), %error, "keeping a compiled plugin failed");
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
        (self.folder.path(), self.max_bytes)
    }

    /// Named by what goes in and by what makes it: another engine's code is never looked at.
    fn path(&self, engine: &Engine, hash: &Hash) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        LAYOUT.hash(&mut hasher);
        engine.precompile_compatibility_hash().hash(&mut hasher);
        self.folder.path().join(format!("{hash}-{:016x}.{ENDING}", hasher.finish()))
    }

    fn read(&self, path: &Path) -> io::Result<Code> {
        let file = OpenOptions::new().read(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(path)?;
        private(&fs::symlink_metadata(self.folder.path())?)?;
        private(&file.metadata()?)?;
        let mut sum = [0; SUM];
        file.read_exact_at(&mut sum, 0)?;
        #[cfg(target_os = "linux")]
        let code = match sealed(&file, sum) {
            // Not every kernel, and not every cage around a process, has such memory.
            Err(error) if error.kind() != io::ErrorKind::InvalidData => in_memory(&file, sum)?,
            sealed => sealed?,
        };
        #[cfg(not(target_os = "linux"))]
        let code = in_memory(&file, sum)?;
        // Used last; the time is only a hint for what to throw away.
        file.set_modified(SystemTime::now()).ok();
        Ok(code)
    }

    fn write(&self, path: &Path, code: &[u8]) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(self.folder.path())?;
        private(&fs::symlink_metadata(self.folder.path())?)?;
        let unfinished = path.with_extension(format!("{}.tmp", std::process::id()));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        let written = file.write_all(&checksum(code)).and_then(|()| file.write_all(code)).and_then(|()| fs::rename(&unfinished, path));
        if written.is_err() {
            fs::remove_file(&unfinished).ok();
        }
        written
    }

    fn make_room(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(self.folder.path())? {
            let path = entry?.path();
            // A temporary file of a process that was killed is as good to throw away as anything else.
            if let Ok(file) = fs::symlink_metadata(&path) {
                files.push((file.modified().unwrap_or(SystemTime::UNIX_EPOCH), file.len(), path));
            }
        }
        files.sort_unstable_by(|(one, ..), (other, ..)| other.cmp(one));
        let mut sum = 0;
        for (at, (_, len, path)) in files.into_iter().enumerate() {
            sum += len;
            // The newest is about to be used.
            if at > 0 && sum > self.max_bytes {
                // Another compiler may have been quicker; whatever else keeps it here is no reason to refuse a good build.
                fs::remove_file(path).ok();
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

fn checksum(code: &[u8]) -> [u8; SUM] {
    let mut all = XxHash3_128::new();
    code.chunks(PIECE).for_each(|piece| all.write(&XxHash3_128::oneshot(piece).to_le_bytes()));
    all.finish_128().to_le_bytes()
}

fn in_memory(mut file: &File, sum: [u8; SUM]) -> io::Result<Code> {
    let mut code = Vec::new();
    file.seek(SeekFrom::Start(SUM as u64))?;
    file.read_to_end(&mut code)?;
    if checksum(&code) == sum { Ok(Code::Octets(code)) } else { Err(wrong()) }
}

/// Copies the file into memory that nobody can write to afterwards, and checks what is copied.
#[cfg(target_os = "linux")]
fn sealed(file: &File, sum: [u8; SUM]) -> io::Result<Code> {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
    let len = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX).saturating_sub(SUM);
    let memory = File::from(memfd_create("flowgate-code", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
    memory.set_len(len as u64)?;
    let pieces: Vec<OnceLock<io::Result<[u8; SUM]>>> = (0..len.div_ceil(PIECE)).map(|_| OnceLock::new()).collect();
    let next = AtomicUsize::new(0);
    let check = || {
        let mut buffer = vec![0; COPIED];
        while let at = next.fetch_add(1, Ordering::Relaxed)
            && let Some(piece) = pieces.get(at)
        {
            // Each is taken once.
            piece.set(copied(file, &memory, at * PIECE, len.min((at + 1) * PIECE), &mut buffer)).ok();
        }
    };
    thread::scope(|scope| {
        let helpers = thread::available_parallelism().map_or(1, usize::from).min(CHECKERS).min(pieces.len()).saturating_sub(1);
        for _ in 0..helpers {
            scope.spawn(check);
        }
        check();
    });
    let mut all = XxHash3_128::new();
    for piece in pieces {
        all.write(&piece.into_inner().ok_or_else(wrong)??);
    }
    if all.finish_128().to_le_bytes() != sum {
        return Err(wrong());
    }
    fcntl_add_seals(&memory, SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(Code::Sealed(memory))
}

/// Of the octets from `from` up to `to`, their checksum.
#[cfg(target_os = "linux")]
fn copied(file: &File, memory: &File, from: usize, to: usize, buffer: &mut [u8]) -> io::Result<[u8; SUM]> {
    let (mut sum, mut at) = (XxHash3_128::new(), from);
    while at < to {
        let octets = &mut buffer[..COPIED.min(to - at)];
        file.read_exact_at(octets, (SUM + at) as u64)?;
        sum.write(octets);
        memory.write_all_at(octets, at as u64)?;
        at += octets.len();
    }
    Ok(sum.finish_128().to_le_bytes())
}

fn wrong() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "its checksum is wrong")
}

#[allow(unsafe_code)]
fn component(engine: &Engine, code: &Code) -> wasmtime::Result<Component> {
    match code {
        // SAFETY: `code` was made by `Component::serialize` of this very program, or of one whose engine says that it is compatible: it
        // was read from a folder and a file that only our own user can write to, and its checksum fits.
        Code::Octets(octets) => unsafe { Component::deserialize(engine, octets) },
        #[cfg(target_os = "linux")]
        Code::Sealed(memory) => {
            use std::os::fd::AsRawFd;
            let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
            // SAFETY: as above; and what is mapped is sealed, so nobody can write to it or cut it short.
            unsafe { Component::deserialize_file(engine, path) }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::unix::fs::PermissionsExt, time::Duration};

    use super::*;

    /// The smallest component there is.
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    fn files(folder: &Path) -> Vec<PathBuf> {
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect()
    }

    fn filled() -> (TempDir, Cache, Engine, Hash) {
        let root = TempDir::new().expect("a folder");
        let cache = Cache::new(CacheFolder::Kept(root.path().join("cache")), 1 << 20);
        let (engine, hash) = (Engine::default(), Hash::of(EMPTY));
        cache.keep(&engine, &hash, &Component::new(&engine, EMPTY).expect("a component"));
        (root, cache, engine, hash)
    }

    #[test]
    fn what_another_user_keeps_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let own = folder.path().join("cache");
        assert_eq!(CacheFolder::own_or_passing(own.clone()).expect("our own"), CacheFolder::Kept(own));

        // Nobody else may give files away, and nobody else has the root folder.
        let foreign = if geteuid().is_root() { folder.path() } else { Path::new("/") };
        if geteuid().is_root() {
            std::os::unix::fs::chown(foreign, Some(65_534), None).expect("given away");
        }
        let passing = CacheFolder::own_or_passing(foreign.join("cache")).expect("a folder");

        let place = passing.path().to_owned();
        assert!(place.is_dir() && !place.starts_with(folder.path()), "{}", place.display());
        drop(passing);
        assert!(!place.exists() && !foreign.join("cache").exists());
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

    #[cfg(target_os = "linux")]
    #[test]
    fn either_way_of_reading_checks_all_pieces() {
        let (mut code, root) = (vec![7; 2 * PIECE + 5], TempDir::new().expect("a folder"));
        let path = root.path().join("code");
        let sum = checksum(&code);

        for wrong_at in [None, Some(0), Some(PIECE), Some(2 * PIECE + 4)] {
            if let Some(at) = wrong_at {
                code[at] ^= 1;
            }
            fs::write(&path, [&sum[..], &code].concat()).expect("written");
            let file = File::open(&path).expect("there");
            assert_eq!([in_memory(&file, sum).is_ok(), sealed(&file, sum).is_ok()], [wrong_at.is_none(); 2], "{wrong_at:?}");
            if let Some(at) = wrong_at {
                code[at] ^= 1;
            }
        }
    }

    #[test]
    fn what_was_tampered_with_is_not_used() {
        let (_root, cache, engine, hash) = filled();
        let file = &files(cache.folder.path())[0];
        let good = fs::read(file).expect("readable");

        let mut bad = good.clone();
        bad[good.len() / 2] ^= 1;
        for octets in [&bad[..], &good[..20], b""] {
            fs::write(file, octets).expect("written");
            assert!(cache.find(&engine, &hash).is_none());
        }

        fs::write(file, &good).expect("written");
        assert!(cache.find(&engine, &hash).is_some());
        fs::set_permissions(cache.folder.path(), fs::Permissions::from_mode(0o777)).expect("set");
        assert!(cache.find(&engine, &hash).is_none());
    }

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let (_root, mut cache, engine, hash) = filled();
        let size = fs::metadata(&files(cache.folder.path())[0]).expect("there").len();
        File::open(&files(cache.folder.path())[0]).expect("there").set_modified(SystemTime::UNIX_EPOCH).expect("set");
        cache.max_bytes = size + size / 2;

        let other = Hash::of(b"other");
        cache.keep(&engine, &other, &Component::new(&engine, EMPTY).expect("a component"));

        assert!(cache.find(&engine, &hash).is_none() && cache.find(&engine, &other).is_some());
    }

    #[test]
    fn what_cannot_be_thrown_away_keeps_nothing_else() {
        let (_root, mut cache, engine, hash) = filled();
        let (old, stray) = (files(cache.folder.path())[0].clone(), cache.folder.path().join("stray"));
        cache.keep(&engine, &Hash::of(b"other"), &Component::new(&engine, EMPTY).expect("a component"));
        fs::create_dir(&stray).expect("made");
        for (path, age) in [(&old, 1), (&stray, 2)] {
            File::open(path).expect("there").set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(9 - age)).expect("set");
        }
        cache.max_bytes = 0;

        cache.make_room().expect("as far as it goes");

        assert!(stray.exists() && cache.find(&engine, &hash).is_none() && cache.find(&engine, &Hash::of(b"other")).is_some());
    }
}
