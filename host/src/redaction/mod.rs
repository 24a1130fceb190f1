//! Blanking what observers must not see, before they see it.
//!
//! Place: made by `app` of the configuration; asked by `plugin` for each flow on its way to observers, so no logger can get around it.
//! Filters, which decide about traffic, see everything. Knows no plugins.

mod broken;
mod content;
mod events;
mod once;
mod strings;

use std::borrow::Cow;

use bytes::Bytes;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use regex::bytes::Regex;
use serde_json_path::JsonPath;

use crate::flow::{Content, Decoded, Direction, Field, Fields, Flow};

/// What stands in the place of what was taken out.
pub const BLANK: &str = "[redacted]";

/// What is to be taken out.
#[derive(Debug, Default)]
pub struct Redaction {
    /// Names of fields, in lower case.
    fields: GlobSet,
    paths: Vec<Member>,
    patterns: Vec<Regex>,
}

/// A JSON path, and how its last member is found where content is no whole JSON text.
#[derive(Debug)]
struct Member {
    path: JsonPath,
    /// `None`: the path ends in no name.
    bare: Option<broken::Bare>,
}

/// Which rule cannot be followed, and why.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// A pattern of field names.
    #[error("redaction.fields: {0:?} is no pattern of a field's name, as in x-api-*")]
    Field(String),
    /// A path.
    #[error("redaction.json: {0:?} is no JSON path (RFC 9535), as in $.messages[*].token: {1}")]
    Path(String, String),
    /// A regular expression.
    #[error("redaction.patterns: {0:?} is no regular expression: {1}")]
    Pattern(String, String),
    /// It would blank nothing at all, or between all octets.
    #[error("redaction.patterns: {0:?} matches the empty text")]
    Empty(String),
}

impl Redaction {
    /// `fields`: patterns of field names, letter case aside. `json`: JSON paths (RFC 9535) into JSON contents and into the data of
    /// server-sent events. `patterns`: regular expressions, in field values, targets and contents.
    ///
    /// # Errors
    /// Names the first rule that cannot be followed.
    pub fn new(fields: &[String], json: &[String], patterns: &[String]) -> Result<Self, RuleError> {
        let mut set = GlobSetBuilder::new();
        for name in fields {
            let glob = GlobBuilder::new(&name.to_ascii_lowercase()).build().map_err(|_| RuleError::Field(name.clone()))?;
            set.add(glob);
        }
        let fields = set.build().map_err(|error| RuleError::Field(error.to_string()))?;
        let paths = json.iter().map(|path| Member::new(path)).collect::<Result<_, _>>()?;
        let patterns = patterns.iter().map(|pattern| compiled(pattern)).collect::<Result<_, _>>()?;
        Ok(Self { fields, paths, patterns })
    }

    /// Nothing is taken out.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty() && !self.reads_content()
    }

    /// The flow as observers may see it. Contents are decoded first, to at most `max` octets each; one that cannot be decoded is left out,
    /// for nobody can say what is in it.
    pub fn apply(&self, flow: &Flow, max: usize) -> Flow {
        let mut shown = flow.clone();
        for of in [Direction::Request, Direction::Response] {
            if self.reads_content() {
                let media_type = flow.media_type(of);
                let coded = Fields::default();
                let decoded = flow.content(of).decoded(flow.fields(of).unwrap_or(&coded), max);
                *shown.content_mut(of) = self.shown(flow.content(of), decoded, media_type.as_deref().unwrap_or_default());
            }
            if let Some(fields) = shown.fields_mut(of) {
                self.blank_fields(fields);
            }
            let mut trailers = flow.trailers(of).clone();
            self.blank_fields(&mut trailers);
            shown.set_trailers(of, trailers);
        }
        if let Cow::Owned(path) = self.blank_patterns(&flow.request.path) {
            shown.request.path = path.into();
        }
        for (_, value) in &mut shown.tags {
            if let Cow::Owned(blanked) = self.blank_patterns(value.as_bytes()) {
                *value = String::from_utf8_lossy(&blanked).into_owned();
            }
        }
        shown
    }

    /// One message of a WebSocket as observers may see it.
    pub fn message(&self, octets: Bytes) -> Bytes {
        self.content(octets, "")
    }

    /// A content whose codings were undone, as observers may see it.
    pub fn content(&self, octets: Bytes, media_type: &str) -> Bytes {
        let kind = Kind::of(media_type, &octets);
        self.blank_text(&octets, kind).unwrap_or(octets)
    }

    /// A target or another short text as observers may see it.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.blank_patterns(text.as_bytes()) {
            Cow::Owned(blanked) => String::from_utf8_lossy(&blanked).into_owned().into(),
            Cow::Borrowed(_) => text.into(),
        }
    }

    /// Whether contents must be looked through, and are not to be seen where that is impossible.
    pub fn reads_content(&self) -> bool {
        !self.paths.is_empty() || !self.patterns.is_empty()
    }

    fn shown(&self, content: &Content, decoded: Decoded, media_type: &str) -> Content {
        if decoded.trouble.is_some() {
            return content.showing(Decoded { octets: Bytes::new(), truncated: true, trouble: None });
        }
        match self.blank_text(&decoded.octets, Kind::of(media_type, &decoded.octets)) {
            Some(octets) => content.showing(Decoded { octets, ..decoded }),
            None => content.showing(decoded),
        }
    }

    /// Blanks fields as observers may see them.
    pub fn blank_fields(&self, fields: &mut Fields) {
        let blanked = |field: &Field| {
            if self.fields.is_match(field.name_str().to_ascii_lowercase()) {
                return Some(BLANK.as_bytes().to_vec());
            }
            match self.blank_patterns(field.value()) {
                Cow::Owned(value) => Some(value),
                Cow::Borrowed(_) => None,
            }
        };
        let all = fields.iter().map(|field| match blanked(field) {
            Some(value) => Field::new(field.name(), &value),
            None => field.clone(),
        });
        *fields = all.collect();
    }

    fn blank_patterns<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        let mut text = Cow::Borrowed(text);
        for pattern in &self.patterns {
            if let Cow::Owned(blanked) = pattern.replace_all(&text, regex::bytes::NoExpand(BLANK.as_bytes())) {
                text = Cow::Owned(blanked);
            }
        }
        text
    }
}

/// What content is taken for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Json,
    Events,
    Other,
}

fn compiled(pattern: &str) -> Result<Regex, RuleError> {
    let regex = Regex::new(pattern).map_err(|error| {
        let said = error.to_string();
        RuleError::Pattern(pattern.to_owned(), said.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned())
    })?;
    if regex.is_match(b"") {
        return Err(RuleError::Empty(pattern.to_owned()));
    }
    Ok(regex)
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, sync::Arc};

    use http::{Method, StatusCode, Version};

    use super::*;
    use crate::flow::{Authority, ClientAddr, Origin, Principal, RequestHead, ResponseHead, Scheme, Scope};

    fn flow(fields: &[(&str, &str)], content: &[u8]) -> Flow {
        let scope = Scope { connection: 1, client: ClientAddr((Ipv4Addr::LOCALHOST, 1).into()), principal: Principal::UNKNOWN };
        let origin = Origin { scheme: Scheme::Https, authority: Authority::new("a.test", 443) };
        let all: Fields = fields.iter().map(|(name, value)| Field::new(name.as_bytes(), value.as_bytes())).collect();
        let request = RequestHead {
            method: Method::POST,
            scheme: Scheme::Https,
            authority: Bytes::from_static(b"a.test"),
            path: Bytes::from_static(b"/path?key=k-1234&x=1"),
            version: Version::HTTP_11,
            fields: all.clone(),
        };
        let mut flow = Flow::new(Arc::new(scope), origin, request);
        flow.response = Some(ResponseHead { status: StatusCode::OK, reason: None, version: Version::HTTP_11, fields: all.clone() });
        flow.response_content = Content::whole(Bytes::copy_from_slice(content));
        flow.response_trailers = all;
        flow.tags.push(("a.note".into(), "saw k-1234".into()));
        flow
    }

    fn redaction() -> Redaction {
        Redaction::new(&["Authorization".into(), "x-*".into()], &["$.token".into()], &["k-[0-9]+".into()]).expect("good rules")
    }

    #[test]
    fn fields_targets_trailers_and_notes_are_blanked() {
        let flow = flow(&[("AUTHORIZATION", "Bearer a"), ("X-Secret", "b"), ("accept", "*/*"), ("via", "k-77 here")], b"");

        let shown = redaction().apply(&flow, 1000);

        let expected: Fields = [("AUTHORIZATION", BLANK), ("X-Secret", BLANK), ("accept", "*/*"), ("via", "[redacted] here")]
            .iter()
            .map(|(name, value)| Field::new(name.as_bytes(), value.as_bytes()))
            .collect();
        let response = shown.response.as_ref().map(|response| &response.fields);
        assert_eq!([&shown.request.fields, response.expect("there"), &shown.response_trailers], [&expected; 3]);
        assert_eq!(shown.url(), "https://a.test/path?key=[redacted]&x=1");
        assert_eq!(shown.tags, [("a.note".to_owned(), "saw [redacted]".to_owned())]);
    }

    #[test]
    fn coded_content_is_decoded_blanked_and_shown_as_decoded() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut encoder, br#"{"token":"t","n":1}"#).expect("a Vec takes all");
        let coded = encoder.finish().expect("a Vec takes all");
        let flow = flow(&[("content-encoding", "gzip"), ("content-type", "application/json")], &coded);

        let shown = redaction().apply(&flow, 1000);

        let fields = shown.fields(Direction::Response).expect("there");
        let decoded = shown.response_content.decoded(fields, 1000);
        assert_eq!(decoded.octets, r#"{"token":"[redacted]","n":1}"#);
        assert_eq!((decoded.truncated, shown.response_content.seen()), (false, coded.len() as u64));
        assert_eq!(shown.response_content.decoded(fields, 5).octets.len(), 5);
    }

    #[test]
    fn what_cannot_be_decoded_is_left_out() {
        let flow = flow(&[("content-encoding", "secret")], b"k-1234");

        let shown = redaction().apply(&flow, 1000);

        let decoded = shown.response_content.decoded(&Fields::default(), 1000);
        assert_eq!((decoded.octets.as_ref(), decoded.truncated), (b"".as_ref(), true));
    }

    #[test]
    fn without_rules_about_contents_they_stay_as_they_are() {
        let redaction = Redaction::new(&["authorization".into()], &[], &[]).expect("good rules");
        let flow = flow(&[("content-encoding", "secret")], b"k-1234");

        assert_eq!(redaction.apply(&flow, 1000).response_content.octets(), b"k-1234".as_ref());
        assert!(Redaction::default().is_empty() && !redaction.is_empty());
    }
}
