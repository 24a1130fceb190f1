//! The name of a record's file: `<timestamp>_<machine>_<address>_<user>_<editor>.json`.
//!
//! Place: what goes in comes from clients and must not steer where a file lands, or whether it can be written at all. The host checks
//! again; here the record is saved, not refused.

/// Longest name in octets, extension included. File systems take 255; a counter and a temporary suffix must still fit.
pub(crate) const MAX: usize = 200;

/// How many characters of the machine's id are kept.
const MACHINE_CHARACTERS: usize = 10;

const EXTENSION: &str = ".json";

/// What the name is made of; `None` is written as `-`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts<'a> {
    /// As in the record, at most 26 octets.
    pub timestamp: &'a str,
    /// The whole id.
    pub machine: Option<&'a str>,
    /// An IP address, at most 45 octets.
    pub address: &'a str,
    /// A user name.
    pub user: Option<&'a str>,
    /// Such as `vscode/1.95.3`.
    pub editor: Option<&'a str>,
}

/// One path part on any file system, never hidden: it begins with the timestamp.
pub(crate) fn file_name(parts: Parts<'_>) -> String {
    if let Some(name) = plain(&parts) {
        return name;
    }
    let machine: String = parts.machine.unwrap_or("-").chars().take(MACHINE_CHARACTERS).collect();
    let machine = harmless(&machine);
    let address = harmless(parts.address);
    let user = harmless(parts.user.unwrap_or("-"));
    let editor = harmless(parts.editor.unwrap_or("-"));

    let mut name = harmless(parts.timestamp);
    for part in [&machine, &address] {
        name.push('_');
        name.push_str(part);
    }
    // The rest is shared: the user gets two thirds at least, and whatever the editor leaves.
    let room = MAX.saturating_sub(name.len() + "__".len() + EXTENSION.len());
    let user = cut(&user, room - editor.len().min(room / 3));
    let editor = cut(&editor, room - user.len());
    for part in [user, editor] {
        name.push('_');
        name.push_str(part);
    }
    let mut name = without_double_dots(name);
    name.push_str(EXTENSION);
    name
}

/// The same of parts that are all ASCII and fit as they are, which nearly all do; `None`: others.
fn plain(parts: &Parts<'_>) -> Option<String> {
    let machine = parts.machine.unwrap_or("-").as_bytes();
    let machine = &machine[..machine.len().min(MACHINE_CHARACTERS)];
    let rest = [parts.address, parts.user.unwrap_or("-"), parts.editor.unwrap_or("-")].map(str::as_bytes);
    let mut name = Vec::with_capacity(MAX);
    let mut last = 0;
    for part in [parts.timestamp.as_bytes(), machine].into_iter().chain(rest) {
        if name.len() + part.len() + 1 + EXTENSION.len() > MAX {
            return None;
        }
        name.extend(part.iter().map(|octet| PLAIN[usize::from(*octet)]));
        last = *name.last()?;
        name.push(b'_');
    }
    name.pop();
    let is_odd = last == b'.' || name.contains(&0) || name.windows(2).any(|two| two == b"..");
    if is_odd {
        return None;
    }
    name.extend_from_slice(EXTENSION.as_bytes());
    String::from_utf8(name).ok()
}

/// What stands for each octet of ASCII, see [`harmless`]; 0 for all others.
const PLAIN: [u8; 256] = {
    let mut plain = [0; 256];
    let mut octet = 0;
    while octet < 0x80 {
        plain[octet] = if octet < 0x20 || octet == 0x7f { b'-' } else { octet as u8 };
        octet += 1;
    }
    let mut at = 0;
    while at < HARMFUL.len() {
        plain[HARMFUL[at] as usize] = b'-';
        at += 1;
    }
    plain
};

/// What separates paths or is reserved somewhere.
const HARMFUL: &[u8] = b"/\\:*?\"<>|";

/// `-` for whatever separates paths, is reserved somewhere, or cannot be seen.
fn harmless(part: &str) -> String {
    let is_harmful = |character: char| character.is_control() || u8::try_from(character).is_ok_and(|octet| HARMFUL.contains(&octet));
    part.chars().map(|character| if is_harmful(character) { '-' } else { character }).collect()
}

/// `..` inside a name climbs nowhere, but what searches for it may think so. The last dot counts too: the extension's follows.
fn without_double_dots(stem: String) -> String {
    if !stem.contains("..") && !stem.ends_with('.') {
        return stem;
    }
    let mut last = ' ';
    let mut characters = stem.chars().peekable();
    let mut safe = String::with_capacity(stem.len());
    while let Some(character) = characters.next() {
        let is_double = character == '.' && (last == '.' || matches!(characters.peek(), None | Some('.')));
        safe.push(if is_double { '-' } else { character });
        last = character;
    }
    safe
}

fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTS: Parts<'_> = Parts {
        timestamp: "2024-12-08T13:18:23.331449",
        machine: Some("4ce93ec3b250003c9580"),
        address: "127.0.0.1",
        user: Some("satomic"),
        editor: Some("vscode/1.95.3"),
    };

    #[test]
    fn the_five_parts_in_order() {
        let unknown = Parts { machine: None, user: None, editor: None, ..PARTS };
        let table = [
            (PARTS, "2024-12-08T13-18-23.331449_4ce93ec3b2_127.0.0.1_satomic_vscode-1.95.3.json"),
            (unknown, "2024-12-08T13-18-23.331449_-_127.0.0.1_-_-.json"),
            (Parts { address: "2001:db8::7", ..unknown }, "2024-12-08T13-18-23.331449_-_2001-db8--7_-_-.json"),
            (Parts { timestamp: "2024-12-08T13:18:23", ..unknown }, "2024-12-08T13-18-23_-_127.0.0.1_-_-.json"),
            (Parts { machine: Some("äöüäöüäöüäöü"), ..unknown }, "2024-12-08T13-18-23.331449_äöüäöüäöüä_127.0.0.1_-_-.json"),
        ];
        for (parts, name) in table {
            assert_eq!(file_name(parts), name);
        }
    }

    #[test]
    fn plain_parts_become_the_name_that_all_would() {
        let ascii: String = (0..0x80_u8).map(char::from).collect();
        for text in [&ascii[..60], &ascii[60..], "a", "-", "", ".", "..", "x."] {
            for long in [0, 60, 120, 130, 140] {
                let user = "u".repeat(long);
                let parts = Parts { machine: Some(text), user: Some(&user), editor: Some(text), ..PARTS };

                // A character beyond ASCII takes the other way.
                let other = file_name(Parts { address: "é", ..parts });
                let expected = other.replacen('é', "e1", 1);
                assert_eq!(file_name(Parts { address: "e1", ..parts }), expected, "{text:?} {long}");
            }
        }
    }

    #[test]
    fn nothing_a_client_says_steers_the_path() {
        let evil = ["../../etc/x", "..\\..\\x", "a\0b", "a\nb", "con:", "a/b", "...", ".hidden", "\u{85}", "*?\"<>|"];
        for text in evil {
            let name = file_name(Parts { machine: Some(text), user: Some(text), editor: Some(text), ..PARTS });

            assert!(!name.contains(['/', '\\', '\0', ':', '*', '?', '"', '<', '>', '|']), "{name:?}");
            assert!(!name.contains("..") && !name.chars().any(char::is_control), "{name:?}");
            assert!(name.starts_with("2024-") && name.ends_with(".json"), "{name:?}");
        }
    }

    #[test]
    fn a_long_name_is_cut_between_characters_and_keeps_every_part() {
        for long in ["x".repeat(500), "é".repeat(500), "🚀".repeat(500)] {
            let parts = Parts {
                machine: Some(&long),
                address: "2001:db8:1111:2222:3333:4444:5555:6666",
                user: Some(&long),
                editor: Some(&long),
                ..PARTS
            };

            let name = file_name(parts);

            assert!(name.len() <= MAX && name.len() > MAX - 4, "{} octets", name.len());
            let parts: Vec<usize> = name.split('_').map(str::len).collect();
            assert!(parts.len() == 5 && parts[3] > 50 && parts[4] > 20 && name.ends_with(".json"), "{name}");
        }
        let user = "u".repeat(110);
        assert!(file_name(Parts { user: Some(&user), ..PARTS }).contains(&user), "a long user fits where the editor is short");
    }
}
