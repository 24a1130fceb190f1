//! Paths that plugins ask for, under random edits: they stay below the folder, whatever they are.

use std::path::{Component, Path};

use super::checked::{RecordName, numbered};
use crate::fuzzing::fuzz;

#[test]
fn record_paths() {
    let seeds: &[&[u8]] = &[
        b"completions/2024-12-08T16-36-43_-_127.0.0.1_ana_vscode-1.95.3.json",
        b"a/b/c",
        b"../x",
        b"/etc/passwd",
        b"C:\\x",
        b"\xc3\xbc.json",
    ];
    let words: &[&[u8]] = &[
        b"/",
        b"..",
        b"../",
        b"./",
        b"\\",
        b"\0",
        b"\n",
        b"C:",
        b"//",
        b".",
        b"\xe2\x80\xae",
        b"con",
        b"~",
        b"%2e%2e",
        b"a/a/a/a/a/a/a/a/a/",
    ];
    fuzz("record_paths", seeds, words, |input| {
        let Ok(text) = std::str::from_utf8(input) else { return "no text".to_owned() };
        let name = match RecordName::parse(text) {
            Ok(name) => name,
            Err(why) => return format!("{why:?}"),
        };
        let parts: Vec<_> = Path::new(name.as_str()).components().collect();
        assert!(parts.iter().all(|part| matches!(part, Component::Normal(_))), "{parts:?}");
        let joined = if name.folder().is_empty() { name.file().to_owned() } else { format!("{}/{}", name.folder(), name.file()) };
        assert_eq!(joined, text);
        assert!(!name.file().is_empty() && !text.contains(char::is_control));
        for count in [1, 1000, u32::MAX] {
            let other = numbered(name.file(), count);
            // In a folder: `C:x` at the very beginning would be another system's drive.
            assert!(other != name.file() && RecordName::parse(&format!("in/{other}")).is_ok_and(|path| path.file() == other), "{other:?}");
        }
        format!("{}", parts.len())
    });
}
