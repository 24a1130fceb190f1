//! Blanking inside contents: members of JSON texts, in one piece or as data of server-sent events, and patterns anywhere.
//!
//! Place: part of `redaction`. Works on what was kept of a whole content, so a secret that was sent in two chunks is found.
//! Source: RFC 9535 for paths.

use std::{borrow::Cow, collections::HashSet, ptr};

use bytes::Bytes;
use serde_json::Value;
use serde_json_path::JsonPath;

use super::{BLANK, Kind, Member, Redaction, RuleError, broken::Bare, events, once::Once, strings};

/// What some programs write before a text (RFC 8259 §8.1).
const MARK: &[u8] = b"\xef\xbb\xbf";

impl Member {
    pub(super) fn new(text: &str) -> Result<Self, RuleError> {
        let path = JsonPath::parse(text).map_err(|error| RuleError::Path(text.to_owned(), error.to_string()))?;
        Ok(Self { path, bare: Bare::of(text) })
    }
}

impl Kind {
    /// Senders mislabel what they send, so what it begins like goes before what it is called.
    pub(super) fn of(media_type: &str, octets: &[u8]) -> Self {
        let text = without_mark(octets);
        let is_json = media_type == "application/json" || media_type.ends_with("+json");
        if begins_as_json(text) {
            Self::Json
        } else if media_type == "text/event-stream" || [b"data:".as_slice(), b"event:"].iter().any(|name| text.starts_with(name)) {
            Self::Events
        } else if is_json {
            Self::Json
        } else {
            Self::Other
        }
    }
}

impl Redaction {
    /// `None`: nothing in it is to be blanked.
    pub(super) fn blank_text(&self, octets: &Bytes, kind: Kind) -> Option<Bytes> {
        let text = without_mark(octets);
        let shown = match kind {
            _ if !self.reads_content() => return None,
            Kind::Json => self.blank_document(text),
            Kind::Events => events::blank(text, |data| if begins_as_json(data) { self.blank_document(data) } else { Cow::Borrowed(data) }),
            Kind::Other => Cow::Borrowed(text),
        };
        match then(shown, |text| self.blank_patterns(text)) {
            Cow::Owned(blanked) => Some(blanked.into()),
            Cow::Borrowed(_) => None,
        }
    }

    fn blank_document<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        then(self.blank_json(text), |text| self.blank_strings(text))
    }

    /// The JSON text with its strings blanked where a pattern matches what they stand for.
    fn blank_strings<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        if self.patterns.is_empty() {
            return Cow::Borrowed(text);
        }
        strings::blank(text, |meant| {
            // Arguments of a call are JSON in a string.
            let shown = if begins_as_json(meant) { self.blank_strings(meant) } else { Cow::Borrowed(meant) };
            match then(shown, |text| self.blank_patterns(text)) {
                Cow::Owned(blanked) => Some(blanked),
                Cow::Borrowed(_) => None,
            }
        })
    }

    /// The JSON text with all members blanked that a path leads to. Written anew only if there are any.
    fn blank_json<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        if self.paths.is_empty() {
            return Cow::Borrowed(text);
        }
        let Ok(Once(mut value)) = serde_json::from_slice(text) else { return self.blank_broken(text) };
        // Where they are in memory: their paths would take as much as their depth, times their number.
        let mut places = HashSet::new();
        for member in &self.paths {
            places.extend(member.path.query(&value).iter().map(|found| ptr::from_ref(*found).addr()));
        }
        if places.is_empty() {
            return Cow::Borrowed(text);
        }
        blank_at(&places, &mut value);
        Cow::Owned(value.to_string().into_bytes())
    }

    /// What is no whole JSON text, for instance because capture was cut, or has a name twice: members are found by their names.
    fn blank_broken<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        let mut text = Cow::Borrowed(text);
        for member in &self.paths {
            // A path that ends in no name could lead anywhere in here.
            let Some(bare) = &member.bare else { return Cow::Owned(BLANK.as_bytes().to_vec()) };
            if let Cow::Owned(blanked) = bare.blank(&text) {
                text = Cow::Owned(blanked);
            }
        }
        text
    }
}

/// Blanks what stands at those addresses. What lies inside one is gone with it.
fn blank_at(places: &HashSet<usize>, value: &mut Value) {
    if places.contains(&ptr::from_ref(value).addr()) {
        *value = Value::from(BLANK);
        return;
    }
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| blank_at(places, value)),
        Value::Object(members) => members.values_mut().for_each(|value| blank_at(places, value)),
        _ => {}
    }
}

/// One after the other: owned where either blanked something.
fn then<'a>(text: Cow<'a, [u8]>, blank: impl Fn(&[u8]) -> Cow<'_, [u8]>) -> Cow<'a, [u8]> {
    match text {
        Cow::Borrowed(text) => blank(text),
        Cow::Owned(text) => match blank(&text) {
            Cow::Owned(blanked) => Cow::Owned(blanked),
            Cow::Borrowed(_) => Cow::Owned(text),
        },
    }
}

fn without_mark(octets: &[u8]) -> &[u8] {
    octets.strip_prefix(MARK).unwrap_or(octets)
}

fn begins_as_json(text: &[u8]) -> bool {
    matches!(text.iter().find(|octet| !octet.is_ascii_whitespace()), Some(b'{' | b'['))
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
            ("$['list','tokens']", r#"{"a":{"token":"x","n":1.5},"list":"[redacted]","tokens":"[redacted]"}"#),
            ("$..list..*", r#"{"a":{"token":"x","n":1.5},"list":["[redacted]","[redacted]"],"tokens":"stay"}"#),
            ("$", r#""[redacted]""#),
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
        for path in ["$.list[0]", "$['list','b']"] {
            assert_eq!(blanked(&[path], &[], "application/json", r#"{"list":["secret"#), BLANK, "{path}");
        }
    }

    #[test]
    fn of_two_members_with_one_name_both_are_looked_at() {
        let table = [
            (r#"{"a":{"token":"SECRET"},"a":1}"#, r#"{"a":{"token":"[redacted]"},"a":1}"#),
            (r#"[{"token":"SECRET", "token":["SECRET"], "n":-1.5e3}]"#, r#"[{"token":"[redacted]", "token":"[redacted]", "n":-1.5e3}]"#),
            (r#"{"a":{"a":1},"n":[null,true,-1,"a"]}"#, r#"{"a":{"a":1},"n":[null,true,-1,"a"]}"#),
        ];
        for (text, expected) in table {
            assert_eq!(blanked(&["$..token"], &[], "application/json", text), expected, "{text}");
        }
    }

    #[test]
    fn several_documents_in_one_text_are_looked_into() {
        let text = "{\"token\":{\"x\":{\"y\":1},\"z\":\"SECRET\"}}\n{\"token\":[\"a]\",\"SECRET\"],\"b\":1}\n";
        let expected = "{\"token\":\"[redacted]\"}\n{\"token\":\"[redacted]\",\"b\":1}\n";

        assert_eq!(blanked(&["$.token"], &[], "application/x-ndjson", text), expected);
    }

    #[test]
    fn what_a_text_begins_like_goes_before_its_label() {
        let (json, shown) = (r#"{"token":"SECRET"}"#, r#"{"token":"[redacted]"}"#);
        let (events, events_shown) = (format!("data: {json}\n\n"), format!("data: {shown}\n\n"));
        let table = [
            ("text/event-stream", json.to_owned(), shown),
            ("text/plain", format!("\u{feff}{json}"), shown),
            ("application/json", format!("\u{feff} {json}"), shown),
            ("text/event-stream", format!("\u{feff}{events}"), &events_shown),
            ("text/plain", events.clone(), &events_shown),
            ("application/json", events.clone(), &events_shown),
        ];
        for (media_type, text, expected) in table {
            assert_eq!(blanked(&["$.token"], &[], media_type, &text), expected, "{media_type}: {text}");
        }
        assert_eq!(blanked(&["$.b"], &["x+"], "text/plain", "\u{feff}a"), "\u{feff}a");
    }

    #[test]
    fn data_of_events_is_looked_into() {
        let text = "event: a\r\ndata: {\"token\":\"x\"}\r\n\r\ndata:{\"b\":1}\n\ndata: [DONE]\n\ndata: {\"token\":\"cut";
        let expected =
            "event: a\r\ndata: {\"token\":\"[redacted]\"}\r\n\r\ndata:{\"b\":1}\n\ndata: [DONE]\n\ndata: {\"token\":\"[redacted]\"";

        assert_eq!(blanked(&["$.token"], &[], "text/event-stream", text), expected);
    }

    #[test]
    fn data_on_several_lines_is_one_text() {
        let table = [
            ("data: {\ndata: \"token\": \"SECRET\"\ndata: }\n\n", "data: {\"token\":\"[redacted]\"}\n\n"),
            ("id: 1\r\ndata:{\r\nevent: a\r\ndata:\"token\": 1}\r\n\r\n", "id: 1\r\ndata:{\"token\":\"[redacted]\"}\r\nevent: a\r\n\r\n"),
            ("data\ndata:{\"token\":1}\n\ndata: b", "data:{\"token\":\"[redacted]\"}\n\ndata: b"),
            ("data: {\"a\":1}\ndata: {\"token\":\ndata: \"SECRET", "data: {\"a\":1}\ndata: {\"token\":\ndata: \"[redacted]\"\n"),
            ("data: {\ndata: \"b\": 1}\n\n", "data: {\ndata: \"b\": 1}\n\n"),
            ("data:   {\"token\":1}", "data: {\"token\":\"[redacted]\"}"),
        ];
        for (text, expected) in table {
            assert_eq!(blanked(&["$.token"], &[], "text/event-stream", text), expected, "{text}");
        }
    }

    #[test]
    fn patterns_are_blanked_in_any_content() {
        let text = "key gho_0000fake and gho_1111fake";

        assert_eq!(blanked(&[], &["gho_[0-9a-z]+"], "text/plain", text), "key [redacted] and [redacted]");
        assert_eq!(blanked(&["$.a"], &["x+"], "application/json", r#"{"a":"q","b":"xxx"}"#), r#"{"a":"[redacted]","b":"[redacted]"}"#);
    }

    #[test]
    fn patterns_see_strings_as_they_are_meant() {
        let key = r"\bAKIA[A-Z2-7]{16}\b";
        let table = [
            (key, r#"{"a": "x\nAKIAQQQQQQQQQQQQQQQQ"}"#, r#"{"a": "x\n[redacted]"}"#),
            (key, r#"{"a": "x\nAKIAQQQQQQQQQQQQQQQQ\tand"#, r#"{"a": "x\n[redacted]\tand""#),
            (key, r#"{"arguments":"{\"a\":\"x\\nAKIAQQQQQQQQQQQQQQQQ\"}"}"#, r#"{"arguments":"{\"a\":\"x\\n[redacted]\"}"}"#),
            ("(?m)^password=.*$", r#"{"a":"b\npassword=c\nd","e":"password=f"}"#, r#"{"a":"b\n[redacted]\nd","e":"[redacted]"}"#),
            ("Müller", r#"{"a":"M\u00fcller","M\u00FCller":1}"#, r#"{"a":"[redacted]","[redacted]":1}"#),
            ("k=[a-z/+]+", r#"[{"a":"k=a\/b\u002B"}, 1.50]"#, r#"[{"a":"[redacted]"}, 1.50]"#),
            ("x+", r#"{"a":"b\n\u00fc"}"#, r#"{"a":"b\n\u00fc"}"#),
        ];
        for (pattern, text, expected) in table {
            assert_eq!(blanked(&[], &[pattern], "application/json", text), expected, "{pattern}");
            let events = |text: &str| format!("id: 1\ndata: {text}\n\n");
            assert_eq!(blanked(&[], &[pattern], "text/event-stream", &events(text)), events(expected), "{pattern}");
        }
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
