//! Use per day in the form that people who come from other recorders keep theirs in.
//!
//! Place: an export; nothing here reads it.

use std::{collections::BTreeMap, path::Path};

use serde_json::{Map, Value, json};

use super::{Progress, Query, read::each, record::Kind};

#[derive(Default)]
struct Day {
    chats: u64,
    completions: u64,
    users: BTreeMap<String, User>,
}

#[derive(Default)]
struct User {
    chats: u64,
    completions: u64,
    /// By editor.
    chat: BTreeMap<String, u64>,
    /// By editor, then by language.
    completed: BTreeMap<String, BTreeMap<String, u64>>,
}

/// A document for each day, with the name of its file: `copilot-usage_2024-12-08.json`. The number is that of files that are no records.
///
/// # Errors
/// The folder cannot be read.
pub fn daily(logs: &Path, query: &Query, progress: &Progress) -> anyhow::Result<(BTreeMap<String, Value>, u64)> {
    let (parts, skipped) = each(logs, query, progress, |record, days: &mut BTreeMap<String, Day>| {
        let kind = record.kind();
        if kind == Kind::Other {
            return;
        }
        let day = days.entry(record.day().to_owned()).or_default();
        let user = day.users.entry(record.user().to_owned()).or_default();
        let editor = record.editor_version().to_owned();
        if kind == Kind::Chat {
            day.chats += 1;
            user.chats += 1;
            *user.chat.entry(editor).or_default() += 1;
        } else {
            day.completions += 1;
            user.completions += 1;
            *user.completed.entry(editor).or_default().entry(record.details().1).or_default() += 1;
        }
    })?;
    let mut days = BTreeMap::<String, Day>::new();
    for part in parts {
        for (day, more) in part {
            days.entry(day).or_default().add(more);
        }
    }
    Ok((days.into_iter().map(|(day, counts)| (format!("copilot-usage_{day}.json"), counts.document(&day))).collect(), skipped))
}

impl Day {
    fn add(&mut self, other: Self) {
        self.chats += other.chats;
        self.completions += other.completions;
        for (name, more) in other.users {
            let user = self.users.entry(name).or_default();
            user.chats += more.chats;
            user.completions += more.completions;
            more.chat.into_iter().for_each(|(editor, count)| *user.chat.entry(editor).or_default() += count);
            for (editor, languages) in more.completed {
                let editor = user.completed.entry(editor).or_default();
                languages.into_iter().for_each(|(language, count)| *editor.entry(language).or_default() += count);
            }
        }
    }

    fn document(self, day: &str) -> Value {
        let users: Map<String, Value> = self
            .users
            .into_iter()
            .map(|(name, user)| {
                let counts = json!({
                    "chat_turns": user.chats,
                    "completions_count": user.completions,
                    "chat": user.chat,
                    "completions": user.completed,
                });
                (name, counts)
            })
            .collect();
        json!({ "day": day, "total_chat_turns": self.chats, "total_completions_count": self.completions, "usage": users })
    }
}
