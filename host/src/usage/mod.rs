//! Who used what: counted from the records that the logger keeps.
//!
//! Place: read by `cli` and for the status page. Knows the format of records (`docs/records.md`) and nothing of how they came to be. What is no
//! record is left out and counted.

mod daily;
mod read;
mod record;

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::Serialize;
use time::Date;

pub use self::{
    daily::daily,
    read::{Progress, count},
};

/// What is asked.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Query {
    /// First day that counts; `None`: from the beginning.
    pub since: Option<Date>,
    /// Last day that counts; `None`: to the end.
    pub until: Option<Date>,
    /// What rows are for, in that order.
    pub by: Vec<Dimension>,
}

/// What use can be told apart by.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Dimension {
    /// Whom the proxy admitted.
    User,
    /// UTC, of the end of the answer.
    Day,
    /// As the request names it, else as the answer does.
    Model,
    /// Name without version.
    Editor,
    /// Of the file that is completed.
    Language,
}

impl Dimension {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::User, Self::Day, Self::Model, Self::Editor, Self::Language];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Day => "day",
            Self::Model => "model",
            Self::Editor => "editor",
            Self::Language => "language",
        }
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Dimension {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|dimension| dimension.as_str() == text);
        found.ok_or("user, day, model, editor or language is expected")
    }
}

/// What was used.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Counts {
    /// Records.
    pub requests: u64,
    /// Those of chats: messages and their answers.
    pub chat: u64,
    /// Those of completions in an editor.
    pub completions: u64,
    /// Those without a response of a good status.
    pub failed: u64,
    /// Tokens that models read, where answers say so.
    pub input_tokens: u64,
    /// Tokens that models wrote, where answers say so.
    pub output_tokens: u64,
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.chat += other.chat;
        self.completions += other.completions;
        self.failed += other.failed;
        self.input_tokens += other.input_tokens;
        self.output_tokens += other.output_tokens;
    }
}

/// What came of counting.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Usage {
    /// By values of the dimensions that were asked for, in their order; `-`: nobody knows.
    pub rows: BTreeMap<Vec<String>, Counts>,
    /// Records that count.
    pub counted: u64,
    /// Files that are no records.
    pub skipped: u64,
}

impl Usage {
    /// Of rows of several dimensions, those of the one at that place of the query.
    pub fn along(&self, place: usize) -> BTreeMap<&str, Counts> {
        let mut rows = BTreeMap::<&str, Counts>::new();
        for (key, counts) in &self.rows {
            rows.entry(key.get(place).map_or("-", String::as_str)).or_default().add(counts);
        }
        rows
    }

    fn add(&mut self, other: Self) {
        for (key, counts) in other.rows {
            self.rows.entry(key).or_default().add(&counts);
        }
        self.counted += other.counted;
        self.skipped += other.skipped;
    }
}

#[cfg(test)]
mod tests;
