//! The text of a users file: `name:hash` lines, comments, empty lines.
//!
//! Place: `users` reads and writes the file; here is only what stands in it.
//! Source: Apache's htpasswd format.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasher, RandomState},
};

use anyhow::{Context, bail, ensure};

use super::{
    Credentials,
    basic::{MAX_NAME, is_name},
    hash::Hash,
};

/// What editors on Windows begin a file with.
const MARK: char = '\u{feff}';

/// Users by name, as the file had them at one moment.
#[derive(Debug, Default)]
pub(super) struct Table {
    users: HashMap<String, Hash>,
    /// The same hashes, to be picked for names that are nobody's.
    decoys: Vec<Hash>,
    /// Unlike that of the map, known to nobody outside; decides which decoy a name gets.
    salt: RandomState,
}

impl Table {
    /// # Errors
    /// Names the line.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let mut users: HashMap<String, (usize, Hash)> = HashMap::new();
        for (number, line) in (1..).zip(text.trim_start_matches(MARK).lines()) {
            let Some((name, hash)) = entry(line).with_context(|| format!("line {number}"))? else { continue };
            let hash = Hash::parse(hash).with_context(|| format!("line {number}"))?;
            match users.entry(name.to_owned()) {
                Entry::Occupied(first) => bail!("line {number}: {name} is already on line {}", first.get().0),
                Entry::Vacant(place) => place.insert((number, hash)),
            };
        }
        let users: HashMap<_, _> = users.into_iter().map(|(name, (_, hash))| (name, hash)).collect();
        Ok(Self { decoys: users.values().cloned().collect(), users, salt: RandomState::new() })
    }

    /// Whether these are a user's name and password. Blocks for as long as hashing takes, for a name that is nobody's too: it is given the
    /// hash of some user, always the same one, so that it cannot be told apart by how long it takes.
    pub(super) fn verify(&self, credentials: &Credentials) -> bool {
        match self.users.get(&credentials.name) {
            Some(hash) => hash.verify(&credentials.password),
            None => {
                let pick = self.salt.hash_one(&credentials.name) as usize;
                if let Some(decoy) = pick.checked_rem(self.decoys.len()).map(|index| &self.decoys[index]) {
                    std::hint::black_box(decoy.verify(&credentials.password));
                }
                false
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.users.len()
    }
}

/// The names in a file, in its order, whatever their hashes are.
///
/// # Errors
/// Names the line that is no entry.
pub(super) fn names(text: &str) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for (number, line) in (1..).zip(text.trim_start_matches(MARK).lines()) {
        names.extend(entry(line).with_context(|| format!("line {number}"))?.map(|(name, _)| name.to_owned()));
    }
    Ok(names)
}

/// The text with that user's entry replaced in its place, or appended; and whether there was one. All other lines stay as they are.
pub(super) fn with(text: &str, name: &str, hash: &str) -> (String, bool) {
    let (mut out, mut found) = (String::with_capacity(text.len() + name.len() + hash.len() + 2), false);
    for line in text.split_inclusive('\n') {
        match is_of(line, name) {
            true if found => {}
            true => {
                found = true;
                out.push_str(&format!("{name}:{hash}\n"));
            }
            false => out.push_str(line),
        }
    }
    if !found {
        if !out.is_empty() && !out.ends_with('\n') {
            out.push('\n');
        }
        out.push_str(&format!("{name}:{hash}\n"));
    }
    (out, found)
}

/// The text without that user's entries; `None` where there is none. All other lines stay as they are.
pub(super) fn without(text: &str, name: &str) -> Option<String> {
    text.split_inclusive('\n').any(|line| is_of(line, name)).then(|| text.split_inclusive('\n').filter(|line| !is_of(line, name)).collect())
}

/// # Errors
/// Says what a user's name must not be.
pub fn check_name(name: &str) -> anyhow::Result<()> {
    ensure!(!name.is_empty(), "a user's name may not be empty");
    ensure!(name.len() <= MAX_NAME, "a user's name may have at most {MAX_NAME} octets");
    ensure!(!name.starts_with('#'), "a user's name may not begin with #, which begins a comment");
    ensure!(name.trim() == name, "a user's name may not begin or end with a space");
    ensure!(!name.starts_with(MARK), "a user's name may not begin with a byte order mark, which begins a file");
    ensure!(is_name(name), "a user's name may not hold a colon or a control character");
    Ok(())
}

fn is_of(line: &str, name: &str) -> bool {
    matches!(entry(line.trim_start_matches(MARK)), Ok(Some((found, _))) if found == name)
}

/// `name:hash`, or nothing on the line.
fn entry(line: &str) -> anyhow::Result<Option<(&str, &str)>> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (name, hash) = line.split_once(':').context("this is no `name:hash`: the colon is missing")?;
    check_name(name)?;
    Ok(Some((name, hash)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Password;

    const HASH: &str = "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

    fn verify(table: &Table, name: &str, password: &str) -> bool {
        table.verify(&Credentials { name: name.to_owned(), password: Password::new(password.to_owned()) })
    }

    #[test]
    fn users_are_found_among_comments() {
        let table = Table::parse(&format!("\u{feff}# staff\r\n\r\n  ana lee:{HASH}  \r\nbjörn:{HASH}")).unwrap();

        assert_eq!(table.len(), 2);
        assert!(verify(&table, "ana lee", "U*U") && verify(&table, "björn", "U*U"));
        assert!(!verify(&table, "ana lee", "x") && !verify(&table, "ana", "U*U") && !verify(&table, "", "U*U"));
    }

    #[test]
    fn a_byte_order_mark_hides_nobody() {
        let text = "\u{feff}ana:x\nbo:y\n";

        assert_eq!(with(text, "ana", "z"), ("ana:z\nbo:y\n".to_owned(), true));
        assert_eq!(without(text, "ana").as_deref(), Some("bo:y\n"));
        assert!(check_name("\u{feff}ana").is_err());
    }

    #[test]
    fn an_empty_file_has_no_users() {
        let table = Table::parse("").unwrap();

        assert_eq!(table.len(), 0);
        assert!(!verify(&table, "ana", "U*U"));
    }

    #[test]
    fn bad_lines_are_named() {
        let cases = [
            ("ana".to_owned(), "line 1: this is no `name:hash`"),
            (format!("# ok\n:{HASH}"), "line 2: a user's name may not be empty"),
            ("a:{SHA}x".to_owned(), "line 1: MD5 and SHA-1"),
            (format!("a:{HASH}\n\na:{HASH}"), "line 3: a is already on line 1"),
            (format!("a\u{7}:{HASH}"), "line 1: a user's name may not hold"),
            (format!("{}:{HASH}", "a".repeat(256)), "line 1: a user's name may have at most 255"),
            (format!("a :{HASH}"), "line 1: a user's name may not begin or end"),
            (format!("a:{HASH}:comment"), "line 1: this bcrypt hash is malformed"),
        ];
        for (text, expected) in cases {
            let error = format!("{:#}", Table::parse(&text).expect_err(&text));
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn edits_leave_other_lines_alone() {
        let text = "# staff\nana:old\n\nbo:other";

        assert_eq!(with(text, "ana", "new"), ("# staff\nana:new\n\nbo:other".to_owned(), true));
        assert_eq!(with(text, "cy", "new"), ("# staff\nana:old\n\nbo:other\ncy:new\n".to_owned(), false));
        assert_eq!(with("", "cy", "new"), ("cy:new\n".to_owned(), false));
        assert_eq!(without(text, "bo").as_deref(), Some("# staff\nana:old\n\n"));
        assert_eq!(without(text, "staff"), None);
        assert_eq!(names(text).unwrap(), ["ana", "bo"]);
    }
}
