//! A folder of records, as somebody who reads it meanwhile sees it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tokio::time::{Duration, MissedTickBehavior, interval};

use crate::patience::within;

/// How often the folder is looked at while a test waits.
const LOOK: Duration = Duration::from_millis(10);

/// One record.
#[derive(Clone, Debug)]
pub struct Record {
    /// The folder it lies in, relative to the top: the category.
    pub category: String,
    /// The file's name.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// As it stands in the file.
    pub text: String,
    /// The same, parsed.
    pub json: Value,
}

impl Record {
    /// A value by its JSON pointer (RFC 6901), such as `/request/content`, if it is a string.
    pub fn text_at(&self, pointer: &str) -> Option<&str> {
        self.json.pointer(pointer).and_then(Value::as_str)
    }

    /// What a field of the request was recorded as.
    pub fn request_field(&self, name: &str) -> Option<&str> {
        self.field("/request/headers", name)
    }

    /// What a field of the response was recorded as.
    pub fn response_field(&self, name: &str) -> Option<&str> {
        self.field("/response/headers", name)
    }

    fn field(&self, of: &str, name: &str) -> Option<&str> {
        let fields = self.json.pointer(of)?.as_object()?;
        fields.iter().find(|(is, _)| is.eq_ignore_ascii_case(name))?.1.as_str()
    }
}

/// The folder that records go to.
#[derive(Clone, Debug)]
pub struct Records {
    folder: PathBuf,
}

impl Records {
    /// What lies in that folder and below it.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Every record there is now, sorted by path.
    ///
    /// # Panics
    /// Where a `.json` file is not whole: readers must never see such a one.
    pub fn all(&self) -> Vec<Record> {
        self.paths()
            .into_iter()
            .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
            .map(|path| self.read(path))
            .collect()
    }

    /// Every file there is now, records or not, sorted.
    pub fn paths(&self) -> Vec<PathBuf> {
        let (mut files, mut folders) = (Vec::new(), vec![self.folder.clone()]);
        while let Some(folder) = folders.pop() {
            // A folder may not be there yet.
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                    _ => files.push(entry.path()),
                }
            }
        }
        files.sort();
        files
    }

    /// Waits until there are at least so many, and returns them all.
    ///
    /// # Panics
    /// Where that is not within [`PATIENCE`](crate::PATIENCE).
    pub async fn after(&self, count: usize) -> Vec<Record> {
        let json = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
        let mut looking = interval(LOOK);
        looking.set_missed_tick_behavior(MissedTickBehavior::Delay);
        within(&format!("{count} records in {}", self.folder.display()), async {
            while self.paths().iter().filter(|path| json(path)).count() < count {
                looking.tick().await;
            }
        })
        .await;
        self.all()
    }

    /// The only record there is.
    ///
    /// # Panics
    /// Where there is none within [`PATIENCE`](crate::PATIENCE), or more than one.
    pub async fn only(&self) -> Record {
        let mut all = self.after(1).await;
        assert_eq!(all.len(), 1, "records: {all:?}");
        all.remove(0)
    }

    fn read(&self, path: PathBuf) -> Record {
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("reading {}: {error}", path.display()));
        let json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{} is not whole: {error}: {text:?}", path.display()));
        let category = path.parent().and_then(|folder| folder.strip_prefix(&self.folder).ok()).unwrap_or(Path::new(""));
        let name = path.file_name().unwrap_or_default();
        Record { category: category.to_string_lossy().into_owned(), name: name.to_string_lossy().into_owned(), text, json, path }
    }
}
