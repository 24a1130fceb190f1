//! `docs/security.md` is true: every limit and every refusal is in it, with its default and tests that exist.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

const PAGE: &str = include_str!("../../../docs/security.md");
const LIMITS: &str = include_str!("../../src/config/limits.rs");
const REFUSALS: &str = include_str!("../../src/flow/refusal.rs");

/// One line of one of the two tables: the cells, without what marks them as code.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let (_, section) = PAGE.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect()).collect()
}

/// Names and values of all limits, the values as they are written there.
fn limits() -> Vec<(&'static str, &'static str)> {
    let constants = LIMITS.split("\npub const ").skip(1);
    let parts = constants.map(|constant| (constant.split(':').next().unwrap(), constant.split_once(" = ").unwrap().1));
    parts.map(|(name, rest)| (name, rest.split(';').next().unwrap())).collect()
}

/// A value as the configuration would have it.
fn shown(value: &str) -> String {
    let of = |value: &str| {
        let plain = value.trim().replace("_", "");
        let number = |text: &str| text.trim_end_matches(')').parse::<u64>().unwrap();
        if let Some(seconds) = plain.strip_prefix("Duration::fromsecs(") {
            return flowgate::config::units::show_duration(std::time::Duration::from_secs(number(seconds)));
        }
        if let Some(millis) = plain.strip_prefix("Duration::frommillis(") {
            return flowgate::config::units::show_duration(std::time::Duration::from_millis(number(millis)));
        }
        let plain = plain.trim_end_matches(" as u64");
        if !plain.contains("IB") {
            return plain.to_owned();
        }
        let factor = |text: &str| match text.trim() {
            "KIB" => 1 << 10,
            "MIB" => 1 << 20,
            number => number.parse::<u64>().unwrap(),
        };
        flowgate::config::units::show_size(usize::try_from(plain.split('*').map(factor).product::<u64>()).unwrap())
    };
    value.split("..=").map(of).collect::<Vec<_>>().join(" to ")
}

/// The sources and tests of those parts of the workspace.
fn sources(parts: &[&str]) -> Vec<(PathBuf, String)> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut folders: Vec<_> = parts.iter().map(|folder| top.join(folder)).collect();
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() && !entry.ends_with("target") && !entry.is_symlink() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&entry).unwrap();
                sources.push((entry, text));
            }
        }
    }
    sources
}

/// Names of all functions in the sources and tests of the workspace.
fn functions() -> BTreeSet<String> {
    let names = |text: &str| text.split("fn ").skip(1).map(|rest| rest.split(['(', '<']).next().unwrap().to_owned()).collect::<Vec<_>>();
    sources(&["host", "plugins", "guest-sdk", "xtask"]).iter().flat_map(|(_, text)| names(text)).collect()
}

#[test]
fn every_limit_is_kept_by_something() {
    let mut sources = sources(&["host/src"]);
    sources.retain(|(path, _)| !path.ends_with("config/limits.rs"));
    let is_word = |sign: char| sign.is_ascii_alphanumeric() || sign == '_';
    let words: BTreeSet<&str> = sources.iter().flat_map(|(_, text)| text.split(|sign| !is_word(sign))).collect();

    let unused: Vec<_> = limits().into_iter().filter(|(name, _)| !words.contains(name)).collect();

    assert!(unused.is_empty(), "nothing asks for {unused:?}");
}

#[test]
fn every_limit_is_listed_with_its_default_and_its_tests() {
    let (functions, rows) = (functions(), rows("Limits"));
    let mut wrong = Vec::new();
    for (name, value) in limits() {
        let Some(row) = rows.iter().find(|row| row[0] == name) else {
            wrong.push(format!("{name} is not in the table"));
            continue;
        };
        if row[1] != shown(value) {
            wrong.push(format!("{name} is {}, not {}", shown(value), row[1]));
        }
    }
    for row in &rows {
        wrong.extend((!limits().iter().any(|(name, _)| *name == row[0])).then(|| format!("there is no limit {}", row[0])));
        let missing = row[4].split(", ").filter(|test| !functions.contains(*test));
        wrong.extend(missing.map(|test| format!("{}: there is no test {test}", row[0])));
    }
    assert!(wrong.is_empty() && !rows.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_refusal_is_listed_with_its_tests() {
    let (functions, rows) = (functions(), rows("Refusals"));
    let (_, body) = REFUSALS.split_once("pub enum Refusal {").unwrap();
    let body = body.split("\n}\n").next().unwrap();
    let variant = |line: &&str| line.starts_with("    ") && line[4..].starts_with(|first: char| first.is_ascii_uppercase());
    let variants: Vec<&str> = body.lines().filter(variant).map(|line| line.trim().split(['(', ' ', ',']).next().unwrap()).collect();
    assert!(variants.contains(&"Overloaded"), "{variants:?}");

    let mut wrong: Vec<String> =
        variants.iter().filter(|name| !rows.iter().any(|row| row[0] == **name)).map(|name| (*name).to_owned()).collect();
    for row in &rows {
        wrong.extend((!variants.contains(&row[0].as_str())).then(|| format!("there is no refusal {}", row[0])));
        let missing = row[3].split(", ").filter(|test| !functions.contains(*test));
        wrong.extend(missing.map(|test| format!("{}: there is no test {test}", row[0])));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn tests_named_in_the_text_exist() {
    let functions = functions();
    let words = PAGE.split('`').skip(1).step_by(2).filter(|word| {
        word.matches('_').count() >= 3 && word.chars().all(|sign| sign.is_ascii_lowercase() || sign == '_' || sign.is_ascii_digit())
    });

    let missing: Vec<&str> = words.filter(|word| !functions.contains(*word)).collect();

    assert!(missing.is_empty(), "{missing:?}");
}
