//! Telling one state of a file from another without reading it.
//!
//! Place: kept by whoever follows a file that may change: users, plugins, the configuration.

use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Whether what was found has come to rest. A file that is written in place can be read half written, and half of it may make sense.
#[derive(Debug)]
pub struct Rest<S> {
    taken: S,
    found: S,
}

impl<S: Clone + PartialEq> Rest<S> {
    /// `taken`: what it was when it was last read, well or not.
    pub fn new(taken: S) -> Self {
        Self { found: taken.clone(), taken }
    }

    /// It was read meanwhile, for another reason, as this.
    pub fn took(&mut self, taken: S) {
        self.taken = taken;
    }

    /// Whether `now`, which it is at this look, is to be read: it is not what it was, and has been the same for two looks in a row.
    pub fn is_news(&mut self, now: S) -> bool {
        let rests = self.found == now;
        let is_news = rests && self.taken != now;
        self.found = now.clone();
        if is_news {
            self.taken = now;
        }
        is_news
    }
}

/// A file as it was when it was looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stamp {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// The file that these are the metadata of.
    pub fn of(file: &Metadata) -> Self {
        Self {
            file: (file.dev(), file.ino()),
            size: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }

    /// Whether it is the same file, whatever was written into it: not another one that took its place.
    pub fn is_same_file(&self, other: &Self) -> bool {
        self.file == other.file
    }

    /// How long ago it was written into, by the wall clock; `None`: that is still to come, so the clock has jumped.
    pub fn age(&self) -> Option<Duration> {
        let (seconds, nanoseconds) = self.modified;
        let modified = UNIX_EPOCH + Duration::new(u64::try_from(seconds).unwrap_or(0), u32::try_from(nanoseconds).unwrap_or(0));
        SystemTime::now().duration_since(modified).ok()
    }

    /// The file at `path`; `None`: there is none, or it cannot be looked at.
    pub fn at(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|file| Self::of(&file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_still_changes_is_no_news_and_what_has_come_to_rest_is_once() {
        let mut file = Rest::new("whole");

        let looks =
            ["whole", "half", "half and", "half and rest", "half and rest", "half and rest", "whole", "half and rest", "half and rest"];

        assert_eq!(looks.map(|look| file.is_news(look)), [false, false, false, false, true, false, false, false, false]);
        assert_eq!(["whole", "whole"].map(|look| file.is_news(look)), [false, true]);
        assert!(!file.is_news("another"));
        file.took("another");
        assert!(!file.is_news("another"), "somebody has read it");
    }
}
