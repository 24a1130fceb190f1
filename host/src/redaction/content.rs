//! Blanking inside contents: members of JSON texts, in one piece or as data of server-sent events, and patterns anywhere.
//!
//! Place: part of `redaction`. Works on what was kept of a whole content, so a secret that was sent in two chunks is found.
//! Source: RFC 9535 for paths; the HTML standard, "Server-sent events", for lines.

use std::borrow::Cow;

use bytes::Bytes;
use regex::bytes::Regex;
use serde_json::Value;
use serde_json_path::JsonPath;

use super::{BLANK, Kind, Member, Redaction, RuleError};

impl Member {
    pub(super) fn new(text: &str) -> Result<Self, RuleError> {
        let path = JsonPath::parse(text).map_err(|error| RuleError::Path(text.to_owned(), error.to_string()))?;
        Ok(Self { path, bare: last_name(text).and_then(|name| bare(&name)) })
    }
}

/// The name that a path ends in: `token` of `$.a.token`, `$..token`, `$['token']`.
fn last_name(path: &str) -> Option<String> {
    let path = path.trim();
    if let Some(inner) = path.strip_suffix(']') {
        let inner = inner.rsplit_once('[')?.1.trim();
        let quote = inner.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
        return Some(inner.trim_matches(quote).to_owned());
    }
    let name = path.rsplit('.').next()?;
    (!name.is_empty() && name != "*" && name != "$").then(|| name.to_owned())
}

/// A member of that name in a text that is no whole JSON: its value up to where it ends or the text breaks off.
fn bare(name: &str) -> Option<Regex> {
    let name = regex::escape(name);
    Regex::new(&format!(r#"(?s-u)("{name}"\s*:\s*)("(?:[^"\\]|\\.)*(?:"|\\?\z)|\[[^\]]*\]?|\{{[^}}]*\}}?|[^,}}\]\s]+)"#)).ok()
}

impl Redaction {
    /// `None`: nothing in it is to be blanked.
    pub(super) fn blank_text(&self, octets: &Bytes, kind: Kind) -> Option<Bytes> {
        let text: Cow<'_, [u8]> = match kind {
            _ if self.paths.is_empty() => Cow::Borrowed(octets),
            Kind::Json => self.blank_json(octets),
            Kind::Events => self.blank_events(octets),
            Kind::Other => Cow::Borrowed(octets),
        };
        match self.blank_patterns(&text) {
            Cow::Owned(blanked) => Some(blanked.into()),
            Cow::Borrowed(_) => match text {
                Cow::Owned(blanked) => Some(blanked.into()),
                Cow::Borrowed(_) => None,
            },
        }
    }

    /// The JSON text with all members blanked that a path leads to. Written anew only if there are any.
    fn blank_json<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        let Ok(mut value) = serde_json::from_slice::<Value>(text) else { return self.blank_broken(text) };
        let mut places = Vec::new();
        for member in &self.paths {
            places.extend(member.path.query_located(&value).iter().map(|found| found.location().to_json_pointer()));
        }
        if places.is_empty() {
            return Cow::Borrowed(text);
        }
        for place in places {
            // One that lay inside another is gone with it.
            if let Some(found) = value.pointer_mut(&place) {
                *found = Value::from(BLANK);
            }
        }
        Cow::Owned(value.to_string().into_bytes())
    }

    /// What is no whole JSON text, for instance because capture was cut: members are found by their names.
    fn blank_broken<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        let mut text = Cow::Borrowed(text);
        for member in &self.paths {
            // A path that ends in no name could lead anywhere in here.
            let Some(bare) = &member.bare else { return Cow::Owned(BLANK.as_bytes().to_vec()) };
            let blanked = bare.replace_all(&text, format!("${{1}}\"{BLANK}\"").as_bytes());
            if let Cow::Owned(blanked) = blanked {
                text = Cow::Owned(blanked);
            }
        }
        text
    }

    /// Each line of data that is JSON, by itself.
    fn blank_events<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        let (mut out, mut changed) = (Vec::with_capacity(text.len()), false);
        for line in text.split_inclusive(|octet| matches!(octet, b'\n' | b'\r')) {
            let Some(data) = line.strip_prefix(b"data:") else {
                out.extend_from_slice(line);
                continue;
            };
            let end = data.len() - usize::from(matches!(data.last(), Some(b'\n' | b'\r')));
            let begin = usize::from(data.first() == Some(&b' ')).min(end);
            let json = &data[begin..end];
            let blanked = match json.first() {
                Some(b'{' | b'[') => self.blank_json(json),
                _ => Cow::Borrowed(json),
            };
            changed |= matches!(blanked, Cow::Owned(_));
            out.extend_from_slice(b"data:");
            out.extend_from_slice(&data[..begin]);
            out.extend_from_slice(&blanked);
            out.extend_from_slice(&data[end..]);
        }
        if changed { Cow::Owned(out) } else { Cow::Borrowed(text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    fn blanked(json: &[&str], patterns: &[&str], media_type: &str, text: &str) -> String {
        let redaction = Redaction::new(&[], &texts(json), &texts(patterns)).expect("good rules");
        let octets = Bytes::copy_from_slice(text.as_bytes());
        let shown = redaction.blank_text(&octets, Kind::of(media_type, &octets)).unwrap_or(octets);
        String::from_utf8(shown.to_vec()).expect("text")
    }

    #[test]
    fn members_are_blanked_wherever_the_path_leads() {
        let text = r#"{"a": {"token": "x", "n": 1.50}, "list": [{"token": 5}, {"token": {"deep": [1]}}], "tokens": "stay"}"#;
        let table = [
            ("$.a.token", r#"{"a":{"token":"[redacted]","n":1.5},"list":[{"token":5},{"token":{"deep":[1]}}],"tokens":"stay"}"#),
            ("$..token", r#"{"a":{"token":"[redacted]","n":1.5},"list":[{"token":"[redacted]"},{"token":"[redacted]"}],"tokens":"stay"}"#),
            ("$.list[*]['token']", r#"{"a":{"token":"x","n":1.5},"list":[{"token":"[redacted]"},{"token":"[redacted]"}],"tokens":"stay"}"#),
            ("$.nowhere", text),
        ];
        for (path, expected) in table {
            assert_eq!(blanked(&[path], &[], "application/json", text), expected, "{path}");
        }
    }

    #[test]
    fn text_that_breaks_off_hides_nothing() {
        let table = [
            (r#"{"token":"abc","b":"c"#, r#"{"token":"[redacted]","b":"c"#),
            (r#"{"b":1,"token" : "ab\"c"#, r#"{"b":1,"token" : "[redacted]""#),
            (r#"{"b":1,"token":"ab\"#, r#"{"b":1,"token":"[redacted]""#),
            (r#"{"token":12345"#, r#"{"token":"[redacted]""#),
            (r#"{"token":["a","b"#, r#"{"token":"[redacted]""#),
            (r#"{"other":"abc"#, r#"{"other":"abc"#),
        ];
        for (text, expected) in table {
            assert_eq!(blanked(&["$..token"], &[], "application/json", text), expected, "{text}");
        }
        assert_eq!(blanked(&["$.list[0]"], &[], "application/json", r#"{"list":["secret"#), BLANK);
    }

    #[test]
    fn data_of_events_is_looked_into() {
        let text = "event: a\r\ndata: {\"token\":\"x\"}\r\n\r\ndata:{\"b\":1}\n\ndata: [DONE]\n\ndata: {\"token\":\"cut";
        let expected =
            "event: a\r\ndata: {\"token\":\"[redacted]\"}\r\n\r\ndata:{\"b\":1}\n\ndata: [DONE]\n\ndata: {\"token\":\"[redacted]\"";

        assert_eq!(blanked(&["$.token"], &[], "text/event-stream", text), expected);
    }

    #[test]
    fn patterns_are_blanked_in_any_content() {
        let text = "key gho_0000fake and gho_1111fake";

        assert_eq!(blanked(&[], &["gho_[0-9a-z]+"], "text/plain", text), "key [redacted] and [redacted]");
        assert_eq!(blanked(&["$.a"], &["x+"], "application/json", r#"{"a":"q","b":"xxx"}"#), r#"{"a":"[redacted]","b":"[redacted]"}"#);
    }

    #[test]
    fn rules_that_cannot_be_followed_are_named() {
        let table = [
            (["[x"].as_slice(), [].as_slice(), [].as_slice(), "redaction.fields"),
            (&[], &["token"], &[], "redaction.json: \"token\" is no JSON path"),
            (&[], &[], &["(x"], "redaction.patterns: \"(x\" is no regular expression"),
            (&[], &[], &["x*"], "matches the empty text"),
        ];
        for (fields, json, patterns, expected) in table {
            let error = Redaction::new(&texts(fields), &texts(json), &texts(patterns)).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
