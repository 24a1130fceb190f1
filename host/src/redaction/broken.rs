//! Members of a text that is no whole JSON: capture was cut, it is several documents, or none.
//!
//! Place: part of `redaction`. Members are found by their names alone, wherever they stand.
//! Source: RFC 8259 §7 for how names may be written.

use std::{borrow::Cow, fmt::Write};

use regex::bytes::Regex;

use super::BLANK;

/// Finds members of one name.
#[derive(Debug)]
pub(super) struct Bare(Regex);

impl Bare {
    /// `None`: the path does not end in exactly one name, and what it leads to could be anywhere.
    pub(super) fn of(path: &str) -> Option<Self> {
        let name = last_name(path.trim())?;
        Regex::new(&format!(r#"(?-u)"{}"[ \t\r\n]*:[ \t\r\n]*"#, spellings(name))).ok().map(Self)
    }

    /// The text with the values of those members blanked, each up to where it ends or the text does.
    pub(super) fn blank<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        let (mut out, mut at) = (Vec::new(), 0);
        while let Some(found) = self.0.find_at(text, at) {
            out.extend_from_slice(&text[at..found.end()]);
            out.extend_from_slice(format!("\"{BLANK}\"").as_bytes());
            at = found.end() + length(&text[found.end()..]);
        }
        if at == 0 {
            return Cow::Borrowed(text);
        }
        out.extend_from_slice(&text[at..]);
        Cow::Owned(out)
    }
}

/// The name that a path ends in: `token` of `$.a.token`, `$..token`, `$['token']`.
fn last_name(path: &str) -> Option<&str> {
    let Some(before) = path.strip_suffix(']') else {
        let name = path.rsplit('.').next()?.trim();
        return (!matches!(name, "" | "*" | "$")).then_some(name);
    };
    let (_, inner) = before.rsplit_once('[')?;
    let name = ['\'', '"'].into_iter().find_map(|quote| inner.trim().strip_prefix(quote)?.strip_suffix(quote))?;
    // Several names, or one that is written with escapes.
    (!name.contains(['\'', '"', '\\'])).then_some(name)
}

/// Each character of a name as itself or escaped, as a regular expression.
fn spellings(name: &str) -> String {
    let mut all = String::new();
    for character in name.chars() {
        let mut escaped = String::new();
        for unit in character.encode_utf16(&mut [0; 2]) {
            let _ = write!(escaped, r"\\u(?i:{unit:04x})");
        }
        let slash = if character == '/' { r"|\\/" } else { "" };
        let _ = write!(all, "(?:{}|{escaped}{slash})", regex::escape(character.encode_utf8(&mut [0; 4])));
    }
    all
}

/// Octets of the value that a text begins with: all, if the value does not end.
fn length(text: &[u8]) -> usize {
    match text.first() {
        Some(b'"') => string(text),
        Some(b'{' | b'[') => nested(text),
        _ => text.iter().position(|octet| b",}] \t\r\n".contains(octet)).unwrap_or(text.len()),
    }
}

/// Octets of the string that a text begins with, quotes included: all, if it does not end.
pub(super) fn string(text: &[u8]) -> usize {
    let mut at = 1;
    while let Some(octet) = text.get(at) {
        match octet {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

/// Of an object or an array: brackets are counted where they are in no string.
fn nested(text: &[u8]) -> usize {
    let (mut at, mut depth) = (0_usize, 0_usize);
    while let Some(octet) = text.get(at) {
        match octet {
            b'"' => {
                at += string(&text[at..]);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 1 => return at + 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_ends_in_exactly_one_name_or_in_none() {
        let table = [
            ("$.a.token", Some("token")),
            ("$..token", Some("token")),
            ("$['token']", Some("token")),
            ("$[ \"token\" ]", Some("token")),
            ("$['a','b']", None),
            ("$['a', \"b\"]", None),
            ("$['it\\'s']", None),
            ("$[?@['a']]", None),
            ("$.list[0]", None),
            ("$.list[*]", None),
            ("$..*", None),
            ("$", None),
        ];
        for (path, name) in table {
            assert_eq!(last_name(path), name, "{path}");
        }
    }

    #[test]
    fn a_value_goes_as_far_as_it_goes() {
        let bare = Bare::of("$..token").expect("it has a name");
        let table = [
            (r#"{"token":{"x":{"y":1},"z":"SECRET"}}"#, r#"{"token":"[redacted]"}"#),
            (r#"{"token":["a]","SECRET"],"b":"c"#, r#"{"token":"[redacted]","b":"c"#),
            (r#"{"token":{"x":"}\"}","z":["SECRET"#, r#"{"token":"[redacted]""#),
            (r#"{"token":{"x":"a\"#, r#"{"token":"[redacted]""#),
            (r#"{"token":[[{}],SECRET"#, r#"{"token":"[redacted]""#),
            (r#"{"token":-1.5e3,"token" : true}"#, r#"{"token":"[redacted]","token" : "[redacted]"}"#),
            (r#"{"to\u006Ben":"SECRET"#, r#"{"to\u006Ben":"[redacted]""#),
            (r#"{"token":"#, r#"{"token":"[redacted]""#),
            (r#"{"tokens":["stay"]}"#, r#"{"tokens":["stay"]}"#),
        ];
        for (text, expected) in table {
            assert_eq!(String::from_utf8_lossy(&bare.blank(text.as_bytes())), expected, "{text}");
        }
    }

    #[test]
    fn names_are_found_in_each_spelling() {
        let table = [("$.é", r#""\u00e9":"x""#, r#""\u00e9":"[redacted]""#), ("$['a/b']", r#""a\/b":"x""#, r#""a\/b":"[redacted]""#)];
        for (path, text, expected) in table {
            let bare = Bare::of(path).expect("it has a name");
            assert_eq!(String::from_utf8_lossy(&bare.blank(text.as_bytes())), expected, "{path}");
        }
        assert_eq!(Bare::of("$.a+").expect("it has a name").blank(br#""aa":1"#).as_ref(), br#""aa":1"#);
    }
}
