//! What else a content can be read as: text in another encoding than UTF-8, and text within text, whose escapes hide where words begin.
//!
//! Source: RFC 8259 §7 for escapes; a JSON text begins with ASCII, so that its first octets tell its encoding (RFC 4627 §3).

/// As UTF-16 or UTF-32, if it begins like either.
pub(crate) fn decoded(content: &[u8]) -> Option<String> {
    let of_two = |read: fn([u8; 2]) -> u16| {
        let units = content.chunks_exact(2).map(|two| read([two[0], two[1]]));
        char::decode_utf16(units).map(|character| character.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
    };
    let of_four = |read: fn([u8; 4]) -> u32| {
        let units = content.chunks_exact(4).map(|four| read([four[0], four[1], four[2], four[3]]));
        units.map(|unit| char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
    };
    match content {
        [0xff, 0xfe, 0, 0, ..] | [1..=255, 0, 0, 0, ..] => Some(of_four(u32::from_le_bytes)),
        [0, 0, 0xfe, 0xff, ..] | [0, 0, 0, 1..=255, ..] => Some(of_four(u32::from_be_bytes)),
        [0xff, 0xfe, ..] | [1..=255, 0, ..] => Some(of_two(u16::from_le_bytes)),
        [0xfe, 0xff, ..] | [0, 1..=255, ..] => Some(of_two(u16::from_be_bytes)),
        _ => None,
    }
}

/// With escapes undone as in JSON, however many times they were made: a run of backslashes counts as one. `None`: there are none.
pub(crate) fn unescaped(text: &str) -> Option<String> {
    let mut rest = text;
    let mut out = String::new();
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = rest[at..].trim_start_matches('\\');
        let (character, length) = match rest.as_bytes() {
            [b'n', ..] => ('\n', 1),
            [b'r', ..] => ('\r', 1),
            [b't', ..] => ('\t', 1),
            [b'b' | b'f', ..] => (' ', 1),
            [same @ (b'"' | b'/'), ..] => (char::from(*same), 1),
            [b'u', ..] => match rest.get(1..5).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit())) {
                // Half of a pair is no character, and part of no credential either.
                Some(digits) => (u32::from_str_radix(digits, 16).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER), 5),
                None => ('\\', 0),
            },
            _ => ('\\', 0),
        };
        out.push(character);
        rest = &rest[length..];
    }
    (rest.len() < text.len()).then(|| out + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_told_by_the_first_octets() {
        let text = "{\"a\": \"é\u{1f600}\"}";
        for mark in ["", "\u{feff}"] {
            let text = format!("{mark}{text}");
            let readings = [
                text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>(),
                text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
                text.chars().flat_map(|character| u32::from(character).to_le_bytes()).collect(),
                text.chars().flat_map(|character| u32::from(character).to_be_bytes()).collect(),
            ];
            for content in readings {
                assert_eq!(decoded(&content).as_deref(), Some(text.as_str()), "{content:?}");
            }
            assert_eq!(decoded(text.as_bytes()), None);
        }
        assert_eq!(decoded(b"a\0\0\xd8b\0").as_deref(), Some("a\u{fffd}b"), "half of a pair");
        assert!([b"".as_slice(), b"a", b"\0\0\0\0x"].iter().all(|content| decoded(content).is_none()));
    }

    #[test]
    fn escapes_are_undone_however_often_they_were_made() {
        let table = [
            (r"a\nb", "a\nb"),
            (r"a\\\\nb\rc\td", "a\nb\rc\td"),
            (r#"{\"a\":\"b\/c\"}"#, r#"{"a":"b/c"}"#),
            (r"\u0067hp_\ud83d and", "ghp_\u{fffd} and"),
            (r"\d \u00zz \u+123 \", r"\d \u00zz \u+123 \"),
            (r"\fé", " é"),
        ];
        for (text, expected) in table {
            assert_eq!(unescaped(text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(unescaped("plain"), None);
    }
}
