//! `flowgate usage`: who used what, from the records.

use std::{
    fmt::Write as _,
    fs,
    io::{self, IsTerminal, Write as _},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::Duration,
};

use anyhow::Context;
use clap::{
    ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use serde_json::{Map, Value};
use time::{Date, format_description::BorrowedFormatItem, macros::format_description};

use super::{Failure, environment, looked_up, print};
use crate::{
    config::Flags,
    usage::{self, Counts, Dimension, Progress, Query, Usage as Counted},
};

/// After so long it is said how far it has got: sooner, it would only flicker.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often, from then on.
const TICK: Duration = Duration::from_millis(200);

/// Records are read as they lie in the folder; a running proxy is not asked.
#[derive(Debug, clap::Args)]
pub(super) struct Usage {
    /// Folder with records [default: as for run]
    #[arg(long, env = "FLOWGATE_LOGS", value_name = "FOLDER")]
    logs: Option<PathBuf>,
    /// Configuration file to find that folder in; default: flowgate.toml in the working directory, if there is one
    #[arg(long, short, env = "FLOWGATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// First day that counts, in UTC
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    since: Option<Date>,
    /// Last day that counts, in UTC
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    until: Option<Date>,
    /// What rows are for; several make a row for each combination
    #[arg(long, value_name = "WHAT", value_delimiter = ',', default_value = "user", value_parser = dimension())]
    by: Vec<Dimension>,
    /// How it is printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Write a file copilot-usage_YYYY-MM-DD.json for each day into this folder instead
    #[arg(long, value_name = "FOLDER", conflicts_with = "format")]
    daily: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// With a line of names (RFC 4180)
    Csv,
    /// A list of objects
    Json,
}

fn day(text: &str) -> Result<Date, &'static str> {
    const DAY: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");
    Date::parse(text, DAY).map_err(|_| "a day is expected, as in 2025-01-31")
}

fn dimension() -> impl TypedValueParser<Value = Dimension> {
    PossibleValuesParser::new(Dimension::ALL.map(Dimension::as_str)).try_map(|name| name.parse::<Dimension>())
}

pub(super) fn run(command: Usage) -> Result<(), Failure> {
    let logs = match (command.logs, command.config) {
        // Whatever is wrong with a file that nobody named has nothing to do with that folder.
        (Some(logs), None) => logs,
        (logs, config) => looked_up(Flags { logs, config, ..environment()? })?.logs_dir,
    };
    let query = Query { since: command.since, until: command.until, by: command.by };
    if let Some(folder) = command.daily {
        let (days, skipped) = with_progress(|progress| usage::daily(&logs, &query, progress))?;
        write_days(&folder, &days)?;
        tell_skipped(skipped);
        return Ok(());
    }
    let counted = with_progress(|progress| usage::count(&logs, &query, progress))?;
    print(format_args!("{}", shown(&query.by, &counted, command.format).trim_end()));
    tell_skipped(counted.skipped);
    Ok(())
}

fn tell_skipped(files: u64) {
    if files > 0 {
        let _ = writeln!(io::stderr(), "flowgate: {files} files are no records and do not count");
    }
}

/// Says on a terminal how far it has got.
fn with_progress<T>(work: impl FnOnce(&Progress) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let progress = Progress::default();
    if !io::stderr().is_terminal() {
        return work(&progress);
    }
    let (done, ended) = sync_channel::<()>(1);
    thread::scope(|scope| {
        let shared = &progress;
        scope.spawn(move || tell(shared, &ended));
        let outcome = work(&progress);
        drop(done);
        outcome
    })
}

fn tell(progress: &Progress, ended: &Receiver<()>) {
    let mut wait = PATIENCE;
    let mut out = io::stderr();
    while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(wait) {
        let (done, total) = progress.now();
        let _ = write!(out, "\r{done} of {total} records").and_then(|()| out.flush());
        wait = TICK;
    }
    if wait == TICK {
        // The line is cleared for what follows.
        let _ = write!(out, "\r\x1b[K").and_then(|()| out.flush());
    }
}

const NAMES: [&str; 6] = ["requests", "chat", "completions", "failed", "input_tokens", "output_tokens"];

fn numbers(counts: &Counts) -> [u64; 6] {
    [counts.requests, counts.chat, counts.completions, counts.failed, counts.input_tokens, counts.output_tokens]
}

fn shown(by: &[Dimension], counted: &Counted, format: Format) -> String {
    let heads: Vec<String> = by.iter().map(ToString::to_string).chain(NAMES.map(str::to_owned)).collect();
    let cells = |(key, counts): (&Vec<String>, &Counts)| -> Vec<String> {
        key.iter().cloned().chain(numbers(counts).map(|number| number.to_string())).collect()
    };
    let rows = counted.rows.iter().map(cells);
    match format {
        Format::Table => {
            let all: Vec<Vec<String>> = [heads.iter().map(|head| head.to_uppercase()).collect()].into_iter().chain(rows).collect();
            aligned(&all, by.len())
        }
        Format::Csv => {
            [heads].into_iter().chain(rows).map(|row| row.iter().map(|cell| quoted(cell)).collect::<Vec<_>>().join(",") + "\r\n").collect()
        }
        Format::Json => {
            let object = |(key, counts): (&Vec<String>, &Counts)| {
                let words = by.iter().zip(key).map(|(dimension, value)| (dimension.to_string(), Value::from(value.clone())));
                let counts = NAMES.iter().zip(numbers(counts)).map(|(name, number)| ((*name).to_owned(), Value::from(number)));
                Value::Object(words.chain(counts).collect::<Map<_, _>>())
            };
            let list = Value::Array(counted.rows.iter().map(object).collect());
            serde_json::to_string_pretty(&list).unwrap_or_default()
        }
    }
}

/// Words to the left, numbers to the right.
fn aligned(rows: &[Vec<String>], words: usize) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let gap = if at == 0 { "" } else { "  " };
            let _ = if at < words { write!(text, "{gap}{cell:width$}") } else { write!(text, "{gap}{cell:>width$}") };
        }
        text.push('\n');
    }
    text
}

/// RFC 4180; what a spreadsheet would take for a formula gets an apostrophe, for users and models are named by clients.
fn quoted(cell: &str) -> String {
    let is_formula = cell.starts_with(['=', '+', '-', '@']) && cell != "-";
    let cell = if is_formula { format!("'{cell}") } else { cell.to_owned() };
    if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}

fn write_days(folder: &Path, days: &std::collections::BTreeMap<String, Value>) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    for (name, document) in days {
        let path = folder.join(name);
        let text = serde_json::to_string_pretty(document).context("writing JSON")?;
        fs::write(&path, text + "\n").with_context(|| format!("writing {}", path.display()))?;
    }
    print(format_args!("{} days in {}", days.len(), folder.display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn counted() -> Counted {
        let counts = Counts { requests: 1200, chat: 2, ..Counts::default() };
        Counted {
            rows: BTreeMap::from([(vec!["ana \"a\"".to_owned()], counts), (vec!["=b".to_owned()], Counts::default())]),
            counted: 2,
            skipped: 0,
        }
    }

    #[test]
    fn each_format_says_the_same() {
        let show = |format| shown(&[Dimension::User], &counted(), format);

        let table = show(Format::Table);
        let csv = show(Format::Csv);
        let json: Value = serde_json::from_str(&show(Format::Json)).unwrap();

        assert!(table.starts_with("USER     REQUESTS  CHAT") && table.contains("ana \"a\"      1200     2"), "{table}");
        assert_eq!(csv.lines().nth(1), Some("'=b,0,0,0,0,0,0"));
        assert_eq!(csv.lines().nth(2), Some("\"ana \"\"a\"\"\",1200,2,0,0,0,0"));
        assert_eq!((&json[1]["user"], &json[1]["requests"]), (&Value::from("ana \"a\""), &Value::from(1200)));
    }
}
