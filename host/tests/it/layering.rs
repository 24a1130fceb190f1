//! The arrows between the parts, held by reading the sources: `ARCHITECTURE.md` says why each points where it does.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// What each part may name of the others. Everything may name `flow`; `main` and `trace` are left out: they name and are named by few.
const ARROWS: &[(&str, &[&str])] = &[
    ("admin", &["fresh", "hooks", "io", "meters", "plugin", "recording", "redaction", "stamp", "tasks", "usage"]),
    // The guard of a running flow hands it to its course at the end.
    ("flow", &["hooks"]),
    ("fuzzing", &[]),
    ("fresh", &[]),
    ("stamp", &[]),
    ("pace", &[]),
    ("shares", &[]),
    ("tasks", &[]),
    ("hooks", &[]),
    ("meters", &[]),
    ("outbound", &["hooks"]),
    ("h1", &[]),
    ("io", &["h1"]),
    ("auth", &["fresh", "pace", "stamp", "tasks"]),
    ("tls", &["fresh"]),
    ("origin", &["h1", "io", "meters", "tasks", "tls"]),
    ("exchange", &["h1", "hooks", "io", "meters", "origin", "outbound", "pace", "shares", "spans", "tasks"]),
    ("net", &["auth", "exchange", "h1", "hooks", "io", "meters", "origin", "pace", "shares", "tasks", "tls"]),
    ("record", &["tasks"]),
    ("recording", &["hooks", "tasks"]),
    ("redaction", &[]),
    ("rehearsal", &["hooks", "recording"]),
    ("spans", &["hooks", "meters", "outbound", "redaction", "tasks"]),
    ("store", &["tasks"]),
    ("plugin", &["hooks", "meters", "outbound", "pace", "record", "recording", "redaction", "rehearsal", "stamp", "store", "tasks"]),
    ("config", &["auth"]),
    ("doctor", &["admin", "origin", "tasks", "tls"]),
    ("authoring", &[]),
    ("usage", &[]),
];

/// What every part may name: what a flow is, and in tests what makes odd input.
const EVERYBODY: &[&str] = &["flow", "fuzzing"];

/// Libraries that one part alone knows, or that one must not know.
const STRANGERS: &[(&str, &[&str])] = &[
    ("admin", &["h2", "rustls", "tokio_rustls", "wasmtime", "wasmtime_wasi"]),
    ("flow", &["hyper", "h2", "rustls", "tokio", "tokio_rustls", "wasmtime", "wasmtime_wasi"]),
    ("meters", &["hyper", "h2", "rustls", "tokio", "tokio_rustls", "wasmtime", "wasmtime_wasi"]),
    ("hooks", &["hyper", "h2", "rustls", "tokio", "tokio_rustls", "wasmtime", "wasmtime_wasi"]),
    ("outbound", &["hyper", "h2", "rustls", "tokio", "tokio_rustls", "wasmtime", "wasmtime_wasi"]),
    ("h1", &["hyper", "h2", "rustls", "tokio_rustls", "wasmtime", "wasmtime_wasi"]),
    ("auth", &["wasmtime", "wasmtime_wasi"]),
    ("tls", &["wasmtime", "wasmtime_wasi"]),
    ("origin", &["wasmtime", "wasmtime_wasi"]),
    ("exchange", &["wasmtime", "wasmtime_wasi"]),
    ("net", &["wasmtime", "wasmtime_wasi"]),
    ("redaction", &["hyper", "h2", "rustls", "tokio", "wasmtime", "wasmtime_wasi"]),
    ("recording", &["wasmtime", "wasmtime_wasi", "hyper", "h2", "rustls", "tokio::net"]),
    ("record", &["wasmtime", "wasmtime_wasi", "hyper", "h2", "rustls"]),
    ("spans", &["wasmtime", "wasmtime_wasi", "hyper", "h2", "rustls", "tokio::net"]),
    ("store", &["wasmtime", "wasmtime_wasi", "hyper", "h2", "rustls"]),
    ("usage", &["hyper", "h2", "rustls", "tokio", "tokio_rustls", "wasmtime", "wasmtime_wasi"]),
    ("doctor", &["h2", "wasmtime", "wasmtime_wasi"]),
    ("authoring", &["hyper", "h2", "rustls", "tokio", "tokio_rustls", "wasmtime", "wasmtime_wasi"]),
    ("plugin", &["hyper", "h2", "rustls", "tokio_rustls", "socket2", "tokio::net", "std::net::TcpStream", "std::net::TcpListener"]),
];

#[test]
fn parts_name_only_what_lies_before_them() {
    let mut wrong = Vec::new();
    for (part, allowed) in ARROWS {
        for (file, paths) in paths_named(part) {
            for path in paths {
                let Some(other) = path.strip_prefix("crate::").and_then(|rest| rest.split("::").next()) else { continue };
                if other != *part && !EVERYBODY.contains(&other) && !allowed.contains(&other) {
                    wrong.push(format!("{} names {path}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn parts_do_not_know_each_others_libraries() {
    let mut wrong = Vec::new();
    for (part, strangers) in STRANGERS {
        for (file, paths) in paths_named(part) {
            for path in &paths {
                let is = |stranger: &&str| path == *stranger || path.starts_with(&format!("{stranger}::"));
                if strangers.iter().any(is) {
                    wrong.push(format!("{} names {path}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_part_has_its_arrows() {
    let known: BTreeSet<&str> = ARROWS.iter().map(|(part, _)| *part).chain(["app", "cli", "lib", "main", "trace"]).collect();
    let entries = fs::read_dir(sources()).unwrap().map(|entry| entry.unwrap().path());

    let unknown: Vec<PathBuf> = entries.filter(|path| !known.contains(path.file_stem().unwrap().to_str().unwrap())).collect();

    assert!(unknown.is_empty(), "a new part has to say what it may name: {unknown:?}");
}

#[test]
fn only_tasks_spawns() {
    let mut wrong = Vec::new();
    for file in files(&sources()) {
        let text = code(&fs::read_to_string(&file).unwrap());
        let spawns = ["tokio::spawn(", "task::spawn(", "spawn_blocking(", "spawn_local("].iter().any(|call| text.contains(call));
        if spawns && !file.ends_with("src/tasks.rs") {
            wrong.push(file);
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// Who reads the wall clock, and why one that jumps does no harm there. All that waits, counts or forgets goes by instants.
const WALL_CLOCK: [(&str, &str); 15] = [
    ("app/retention.rs", "not believed at once: a_clock_that_jumps_ahead_deletes_nothing_at_once"),
    ("cli/records.rs", "an operator asks, and sees what would go"),
    ("doctor/operator.rs", "says how long the root is good for"),
    ("doctor/request.rs", "says that the clock is wrong"),
    ("flow/state.rs", "once for each flow, the rest of it by instants: a_clock_that_jumps_bends_no_duration"),
    ("meters/mod.rs", "when the proxy started, for scrapers"),
    ("net/own/mod.rs", "a Date field"),
    ("plugin/cache.rs", "a hint for what to throw away"),
    ("plugin/tally.rs", "when a plugin failed last, for people"),
    ("plugin/watch.rs", "a file that was written just now is read again"),
    ("spans/mod.rs", "once for each flow, the rest of it by instants: a_clock_that_goes_wrong_bends_nothing"),
    ("stamp.rs", "the same: what_is_half_written_is_read_when_it_is_whole"),
    ("store/mod.rs", "entries have an end in it: a_clock_that_jumps_ends_no_entry_early_and_loses_none_without_end"),
    ("tls/cache.rs", "leaves are made anew: a_clock_that_jumps_gets_leaves_that_are_good_then"),
    ("tls/root.rs", "when the root begins and ends"),
];

#[test]
fn few_read_the_clock_that_may_jump() {
    let reads = |file: &PathBuf| {
        let text = fs::read_to_string(file).unwrap();
        let text = code(text.split("#[cfg(test)]\nmod tests {").next().unwrap());
        ["SystemTime::now", "UNIX_EPOCH.elapsed", "now_utc", "now_local", "UtcDateTime::now"].iter().any(|call| text.contains(call))
    };
    // Whole files of tests are named by their folder's or module's file.
    let is_test =
        |file: &PathBuf| file.components().any(|part| ["tests", "fuzzing.rs", "fuzz.rs"].iter().any(|name| part.as_os_str() == *name));

    let found: BTreeSet<String> = files(&sources())
        .iter()
        .filter(|file| !is_test(file) && reads(file))
        .map(|file| file.strip_prefix(sources()).unwrap().display().to_string())
        .collect();

    assert_eq!(found, WALL_CLOCK.iter().map(|(file, _)| (*file).to_owned()).collect());
}

#[test]
fn uses_are_read_as_the_compiler_reads_them() {
    let text = "use a::{self, b::{C, d}, e as f};\n// use x::y;\nlet g = crate::h::i(\"crate::j\"); /* k::l */ use crate::{m, n::O};";

    let read = paths(&code(text));

    for path in ["a", "a::b::C", "a::b::d", "a::e", "crate::h::i", "crate::m", "crate::n::O"] {
        assert!(read.contains(path), "{path} is not in {read:?}");
    }
    for path in ["x::y", "crate::j", "k::l"] {
        assert!(!read.contains(path), "{path} is in {read:?}");
    }
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every path that each file of a part names.
fn paths_named(part: &str) -> BTreeMap<PathBuf, BTreeSet<String>> {
    let (file, folder) = (sources().join(format!("{part}.rs")), sources().join(part));
    let files = if file.is_file() { vec![file] } else { files(&folder) };
    assert!(!files.is_empty(), "there is no part {part}");
    files.into_iter().map(|file| (file.clone(), paths(&code(&fs::read_to_string(&file).unwrap())))).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.extension().is_some_and(|extension| extension == "rs") => files.push(path),
                false => {}
            }
        }
    }
    files
}

/// The text without comments and string literals. Enough for this project's sources: raw strings with quotes in them are cut at the quote.
fn code(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(['"', '/', '\'']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let skipped = match rest {
            _ if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            _ if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            _ if rest.starts_with("'\"'") => 3,
            _ if rest.starts_with("'\\\"'") => 4,
            _ if rest.starts_with('"') => string(rest),
            _ => {
                out.push_str(&rest[..1]);
                1
            }
        };
        rest = &rest[skipped..];
    }
    out + rest
}

/// Length of the literal that begins here.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, sign) in text.char_indices().skip(1) {
        match sign {
            '"' if !escaped => return at + 1,
            _ => escaped = sign == '\\' && !escaped,
        }
    }
    text.len()
}

/// Paths in `use` trees, flattened, and paths that are written out.
fn paths(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for statement in code.split(['\n', ';']).scan(0, |offset, line| {
        let begin = *offset;
        *offset += line.len() + 1;
        Some((begin, line))
    }) {
        let (begin, line) = statement;
        let Some(at) = line.find("use ").filter(|at| line[..*at].trim().is_empty() || line[..*at].trim().starts_with("pub")) else {
            continue;
        };
        let tree = &code[begin + at + 4..];
        flatten("", tree.split(';').next().unwrap_or_default(), &mut found);
    }
    let is_path = |sign: char| sign.is_ascii_alphanumeric() || sign == '_' || sign == ':';
    found.extend(code.split(|sign: char| !is_path(sign)).filter(|word| word.contains("::")).map(|word| word.trim_matches(':').to_owned()));
    found
}

fn flatten(before: &str, tree: &str, found: &mut BTreeSet<String>) {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let name = tree.split(" as ").next().unwrap_or_default().trim();
        let path = format!("{before}{name}");
        found.insert(path.trim_end_matches("::self").to_owned());
        return;
    };
    let inner = &tree[open + 1..tree.rfind('}').unwrap_or(tree.len())];
    let before = format!("{before}{}", tree[..open].trim());
    let (mut depth, mut begin) = (0, 0);
    for (at, sign) in inner.char_indices().chain([(inner.len(), ',')]) {
        match sign {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !inner[begin..at].trim().is_empty() {
                    flatten(&before, &inner[begin..at], found);
                }
                begin = at + 1;
            }
            _ => {}
        }
    }
}
