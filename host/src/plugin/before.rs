//! Good builds, kept so that one can go back to the one before.
//!
//! Place: asked by `swap`; blocks. Per plugin a folder with the components that were in service last, called by their hash, and a file that
//! says in which order they were and from which one was gone back. What is read is what was written: its hash is checked.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{hash::Hash, watch};

const HISTORY: &str = "history.json";

/// The builds of one plugin.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct History {
    /// The one in service first, then those before it.
    pub(super) good: Vec<Hash>,
    /// Of the file that was gone back from: it is not taken again.
    pub(super) passed_over: Option<Hash>,
}

/// As it is written.
#[derive(Deserialize, Serialize)]
struct Written {
    good: Vec<String>,
    passed_over: Option<String>,
}

impl History {
    /// That build is in service now; `most` are kept with it.
    pub(super) fn took(&mut self, hash: Hash, most: usize) {
        self.good.retain(|good| *good != hash);
        self.good.insert(0, hash);
        self.good.truncate(most.max(1));
        self.passed_over = None;
    }

    /// The one to go back to.
    pub(super) fn previous(&self) -> Option<Hash> {
        self.good.get(1).copied()
    }

    /// It was gone back, from what the file holds.
    pub(super) fn went_back(&mut self, from: Hash) {
        if self.good.len() > 1 {
            self.good.remove(0);
        }
        self.passed_over = Some(from);
    }
}

/// The folder.
#[derive(Clone)]
pub(super) struct Before {
    folder: PathBuf,
}

impl Before {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Of all plugins. One that cannot be read is reported, and as if it were not there.
    pub(super) fn histories(&self) -> BTreeMap<String, History> {
        let Ok(folders) = fs::read_dir(&self.folder) else { return BTreeMap::new() };
        let names = folders.flatten().filter_map(|folder| folder.file_name().into_string().ok());
        let read = names.filter_map(|name| {
            let file = self.folder.join(&name).join(HISTORY);
            match history(&file) {
                Ok(history) => Some((name, history)),
                Err(error) => {
                    let file = file.display();
                    tracing::warn!(plugin = name, %file, "what is known of earlier builds cannot be read: {error:#}");
                    None
                }
            }
        });
        read.collect()
    }

    /// Where that build lies.
    pub(super) fn path(&self, name: &str, hash: Hash) -> PathBuf {
        self.folder.join(name).join(format!("{hash}.wasm"))
    }

    /// A build that was kept.
    ///
    /// # Errors
    /// It is not there, or something else is.
    pub(super) fn octets(&self, name: &str, hash: Hash, max: usize) -> anyhow::Result<Bytes> {
        let path = self.path(name, hash);
        let octets = watch::read(&path, max).with_context(|| format!("reading {}", path.display()))?.octets;
        ensure!(Hash::of(&octets) == hash, "{} is not what it was: it cannot be gone back to", path.display());
        Ok(octets)
    }

    /// Writes down what is known, with the build that is new, and lets go of those that no longer count.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub(super) fn keep(&self, name: &str, history: &History, new: Option<(Hash, &Bytes)>) -> io::Result<()> {
        let folder = self.folder.join(name);
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        if let Some((hash, octets)) = new {
            let path = self.path(name, hash);
            if !path.exists() {
                write(&path, octets)?;
            }
        }
        let text = |hash: &Hash| hash.to_string();
        let written = Written { good: history.good.iter().map(text).collect(), passed_over: history.passed_over.as_ref().map(text) };
        write(&folder.join(HISTORY), &serde_json::to_vec(&written)?)?;
        for entry in fs::read_dir(&folder)?.flatten() {
            let path = entry.path();
            let is_good = |hash: &Hash| path.file_stem().is_some_and(|stem| stem == hash.to_string().as_str());
            if path.file_name().is_some_and(|name| name != HISTORY) && !history.good.iter().any(is_good) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

fn history(file: &Path) -> anyhow::Result<History> {
    let Written { good, passed_over } = serde_json::from_slice(&fs::read(file)?)?;
    let parse = |text: &String| Hash::parse(text).with_context(|| format!("{text} is no hash"));
    Ok(History { good: good.iter().map(parse).collect::<anyhow::Result<_>>()?, passed_over: passed_over.as_ref().map(parse).transpose()? })
}

/// Whole or not at all.
fn write(path: &Path, octets: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension("tmp");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(octets)?;
    // Renamed before its octets are on the disk, it could be empty after a crash.
    file.sync_data()?;
    fs::rename(unfinished, path)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn histories_survive_and_hold_so_many() {
        let root = TempDir::new().expect("a folder");
        let before = Before::new(root.path().join("before"));
        let mut history = History::default();
        let builds = [b"one", b"two", b"six", b"ten"].map(|octets| Bytes::from_static(octets));

        for octets in &builds {
            let hash = Hash::of(octets);
            history.took(hash, 3);
            before.keep("x", &history, Some((hash, octets))).expect("kept");
        }

        assert_eq!(before.histories()["x"], history);
        assert_eq!(before.octets("x", history.previous().expect("one"), 10).expect("there"), builds[2]);
        assert!(before.octets("x", Hash::of(&builds[0]), 10).is_err());
    }

    #[test]
    fn what_was_changed_is_not_gone_back_to() {
        let root = TempDir::new().expect("a folder");
        let before = Before::new(root.path().to_owned());
        let (mut history, octets) = (History::default(), Bytes::from_static(b"one"));
        let hash = Hash::of(&octets);
        history.took(hash, 3);
        before.keep("x", &history, Some((hash, &octets))).expect("kept");

        fs::write(before.path("x", hash), "two").expect("written");
        fs::write(root.path().join("x").join(HISTORY), "{}").expect("written");

        let error = before.octets("x", hash, 10).expect_err("changed");
        assert!(format!("{error:#}").contains("not what it was"), "{error:#}");
        assert!(before.histories().is_empty());
    }
}
