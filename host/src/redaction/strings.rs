//! Strings of a JSON text as they are meant: what is to be found in them may begin behind a `\n`, or have a `\u00fc` in it.
//!
//! Place: part of `redaction`. Strings are found by their quotes alone: a text may break off, be several documents, or no JSON at all.
//! Source: RFC 8259 §7.

use std::{borrow::Cow, fmt};

use serde::de::{Deserialize, Deserializer, Error, Visitor};

use super::broken::string;

/// Octets of the longest escape.
const ESCAPE: usize = br"\u0000".len();

/// The text with its strings as `blanked` has them, which gets what a string stands for; `None`: it stays as it is written.
pub(super) fn blank<'a>(text: &'a [u8], blanked: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Cow<'a, [u8]> {
    let (mut out, mut copied, mut at) = (Vec::new(), 0, 0);
    while let Some(quote) = text[at..].iter().position(|octet| *octet == b'"') {
        let begin = at + quote;
        at = begin + string(&text[begin..]);
        if let Some(shown) = meant(&text[begin..at]).and_then(|meant| blanked(&meant)) {
            out.extend_from_slice(&text[copied..begin]);
            out.extend_from_slice(serde_json::Value::from(String::from_utf8_lossy(&shown)).to_string().as_bytes());
            copied = at;
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.extend_from_slice(&text[copied..]);
    Cow::Owned(out)
}

/// What a string stands for; of one that breaks off, what there is of it. `None`: it is none.
fn meant(string: &[u8]) -> Option<Cow<'_, [u8]>> {
    let inner = &string[1..];
    let Some(last) = inner.iter().rposition(|octet| *octet == b'\\') else {
        return Some(Cow::Borrowed(inner.strip_suffix(b"\"").unwrap_or(inner)));
    };
    let read = |text: &[u8]| serde_json::from_slice(text).ok().map(|Octets(octets)| Cow::Owned(octets));
    let closed = |text: &[u8]| read(&[text, b"\""].concat());
    // The text may end in the middle of an escape.
    let is_cut = inner.len() - last < ESCAPE && !inner.ends_with(b"\"");
    read(string).or_else(|| closed(string)).or_else(|| if is_cut { closed(&string[..=last]) } else { None })
}

/// A string that need not be UTF-8: halves of surrogate pairs stand in some.
struct Octets(Vec<u8>);

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(Reading)
    }
}

struct Reading;

impl Visitor<'_> for Reading {
    type Value = Octets;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E: Error>(self, octets: &[u8]) -> Result<Octets, E> {
        Ok(Octets(octets.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_stands_for_what_its_escapes_say() {
        let table: [(&str, &[u8]); 10] = [
            (r#""plain""#, b"plain"),
            (r#""plain"#, b"plain"),
            (r#"""#, b""),
            (r#""a\nM\u00fc\/\"""#, "a\nMü/\"".as_bytes()),
            (r#""\ud83d\ude00""#, "😀".as_bytes()),
            (r#""\ud83d a""#, b"\xed\xa0\xbd a"),
            ("\"a\\t\nb\"", b"a\t\nb"),
            (r#""a\nb"#, b"a\nb"),
            (r#""a\nb\"#, b"a\nb"),
            (r#""a\nb\u00"#, b"a\nb"),
        ];
        for (text, expected) in table {
            assert_eq!(meant(text.as_bytes()).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(meant(br#""a\x""#), None);
    }

    #[test]
    fn strings_are_written_anew_where_something_was_blanked() {
        let blanked = |meant: &[u8]| (meant == b"a\n").then(|| b"b\n".to_vec());
        let table = [
            (r#"{"a\n" : "a\n", "c":["a"]} "d\n"#, r#"{"b\n" : "b\n", "c":["a"]} "d\n"#),
            (r#"{"c":"a\n"#, r#"{"c":"b\n""#),
            (r#"no "quotes"#, r#"no "quotes"#),
        ];
        for (text, expected) in table {
            assert_eq!(String::from_utf8_lossy(&blank(text.as_bytes(), blanked)), expected, "{text}");
        }
    }
}
