//! Names of records, checked once: a [`RecordName`] that exists is safe to join to a folder.
//!
//! Place: made from what a guest hands in. Parts of it may come from header fields and user names, so nothing is repaired here: what is
//! not a plain relative path is refused.

use std::fmt;

/// Most octets of one part: what file systems take.
const MAX_PART: usize = 255;
/// Most parts: deeper is no layout but an attack on whoever lists the folder.
const MAX_PARTS: usize = 16;

/// Relative path of a record, parts separated by `/`: no part is empty or begins with a dot, none holds a control character or a backslash,
/// each has at most 255 octets, and there are at most 16.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct RecordName(String);

/// Why a path is no record's name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BadName {
    /// Nothing at all, or nothing between two separators.
    #[error("a part of the path is empty")]
    Empty,
    /// `/etc/passwd`, `C:\autoexec.bat`.
    #[error("the path is absolute")]
    Absolute,
    /// `.`, `..`, and what hides: the host's own unfinished files begin so.
    #[error("a part of the path begins with a dot")]
    Dot,
    /// NUL, line ends, escape sequences.
    #[error("the path has a control character in it")]
    Control,
    /// Another system's separator.
    #[error("the path has a backslash in it")]
    Backslash,
    /// More than a file system takes.
    #[error("a part of the path is longer than {MAX_PART} octets")]
    LongPart,
    /// Folders in folders in folders.
    #[error("the path has more than {MAX_PARTS} parts")]
    Deep,
}

impl RecordName {
    /// Checks `path`.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(path: &str) -> Result<Self, BadName> {
        if path.starts_with('/') || is_drive(path) {
            return Err(BadName::Absolute);
        }
        for (at, part) in path.split('/').enumerate() {
            check(part)?;
            if at == MAX_PARTS {
                return Err(BadName::Deep);
            }
        }
        Ok(Self(path.to_owned()))
    }

    /// The folders it lies in, outermost first, separated by `/`; empty if it lies in none.
    pub(super) fn folder(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// Its last part.
    pub(super) fn file(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, file)| file)
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RecordName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check(part: &str) -> Result<(), BadName> {
    match part {
        "" => Err(BadName::Empty),
        _ if part.starts_with('.') => Err(BadName::Dot),
        _ if part.len() > MAX_PART => Err(BadName::LongPart),
        _ if part.contains(char::is_control) => Err(BadName::Control),
        _ if part.contains('\\') => Err(BadName::Backslash),
        _ => Ok(()),
    }
}

/// `C:` at the very beginning.
fn is_drive(path: &str) -> bool {
    matches!(path.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic())
}

/// `file` with `count` before its extension, shortened where it would become too long for a file system.
pub(super) fn numbered(file: &str, count: u32) -> String {
    let (stem, extension) = file.rfind('.').map_or((file, ""), |dot| file.split_at(dot));
    let suffix = format!("-{count}");
    // An extension so long that nothing is left for the stem is none worth keeping.
    let (stem, extension) = if extension.len() + suffix.len() >= MAX_PART { (file, "") } else { (stem, extension) };
    let stem = shortened(stem, MAX_PART - suffix.len() - extension.len());
    format!("{stem}{suffix}{extension}")
}

/// At most `max` octets of `text`, whole characters only.
fn shortened(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_relative_paths_are_names() {
        let long = "x".repeat(256);
        let deep = ["d"; 17].join("/");
        let table = [
            ("", BadName::Empty),
            ("a//b", BadName::Empty),
            ("a/", BadName::Empty),
            ("/etc/passwd", BadName::Absolute),
            ("c:/windows", BadName::Absolute),
            (".", BadName::Dot),
            ("a/../../b", BadName::Dot),
            ("..", BadName::Dot),
            ("a/.flowgate-1.tmp", BadName::Dot),
            ("a\0b", BadName::Control),
            ("a\nb", BadName::Control),
            ("a\u{1b}[31m", BadName::Control),
            ("a\\b", BadName::Backslash),
            (long.as_str(), BadName::LongPart),
            (deep.as_str(), BadName::Deep),
        ];
        for (path, why) in table {
            assert_eq!(RecordName::parse(path), Err(why), "{path:?}");
        }
        let widest = "ü".repeat(127);
        for path in ["a", "a/b.json", "a..", "12:30:01.json", widest.as_str(), &deep[2..]] {
            assert!(RecordName::parse(path).is_ok(), "{path:?}");
        }
    }

    #[test]
    fn names_fall_apart_into_folder_and_file() {
        for (path, folder, file) in [("a/b/c.json", "a/b", "c.json"), ("c.json", "", "c.json")] {
            let name = RecordName::parse(path).expect("a plain path");
            assert_eq!((name.folder(), name.file()), (folder, file));
        }
    }

    #[test]
    fn the_counter_stands_before_the_extension() {
        let long = format!("{}ü.json", "x".repeat(248));
        let tail = format!("a.{}", "y".repeat(253));
        let table = [
            ("a.json", "a-2.json".to_owned()),
            ("a.b.json", "a.b-2.json".to_owned()),
            ("a", "a-2".to_owned()),
            (long.as_str(), format!("{}-2.json", "x".repeat(248))),
            (tail.as_str(), format!("{}-2", &tail[..253])),
        ];
        for (file, expected) in table {
            assert_eq!(numbered(file, 2), expected);
            assert!(numbered(file, 2).len() <= MAX_PART);
        }
    }
}
