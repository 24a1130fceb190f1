//! A message's head, fetched from the host in one call and taken apart where it lies.
//!
//! ```
//! use flowgate_guest::{Direction, Flow, testing::Sample};
//!
//! let flow: Flow = Sample::new("POST", "https://a.test/v1?x").request_header("Accept", "text/event-stream").response(200).into();
//!
//! let request = flow.head(Direction::Request).unwrap();
//! assert_eq!((request.method(), request.path()), ("POST".into(), "/v1?x".into()));
//! assert!(request.fields().iter().map(|field| field.name).eq(["Accept"]));
//! assert_eq!(flow.head(Direction::Response).unwrap().status(), Some(200));
//! ```

use std::borrow::Cow;

use memchr::memchr;

use crate::text;

/// The head of a request or a response as it stands.
#[derive(Clone, Debug)]
pub struct Head {
    /// Of the start line, without its end.
    start_len: usize,
    fields: Fields,
}

/// The field section of a message: in wire order, repeats kept.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    /// As the host wrote them, each line with CR LF at its end; the start line before them.
    lines: Lines,
    at: usize,
}

/// Looked at once: most heads are text as a whole, and then so is each of their parts.
#[derive(Clone, Debug)]
enum Lines {
    Text(String),
    Octets(Vec<u8>),
}

/// One field line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Field<'a> {
    /// As received; lower case of HTTP/2.
    pub name: &'a str,
    /// Without white space around it.
    pub value: &'a [u8],
    /// The same where it is known to be UTF-8.
    text: Option<&'a str>,
}

impl Head {
    /// As the host wrote it; `None` if there is no such head.
    pub(crate) fn new(octets: Vec<u8>) -> Option<Self> {
        let start_len = memchr(b'\r', &octets)?;
        let lines = String::from_utf8(octets).map_or_else(|error| Lines::Octets(error.into_bytes()), Lines::Text);
        Some(Self { start_len, fields: Fields { lines, at: start_len + CRLF.len() } })
    }

    /// Of a request.
    pub fn method(&self) -> Cow<'_, str> {
        text::utf8_or_latin1(self.start_line().split(|octet| *octet == b' ').next().unwrap_or_default())
    }

    /// Path with query of a request, as on the wire.
    pub fn path(&self) -> Cow<'_, str> {
        let (line, method) = (self.start_line(), self.method());
        let target = line.get(method.len() + 1..).unwrap_or_default();
        text::utf8_or_latin1(target.rsplitn(2, |octet| *octet == b' ').nth(1).unwrap_or_default())
    }

    /// Of a response; `None` of a request.
    pub fn status(&self) -> Option<u16> {
        let status = self.start_line().strip_prefix(b"HTTP/")?.split(|octet| *octet == b' ').nth(1)?;
        str::from_utf8(status).ok()?.parse().ok()
    }

    /// Its fields.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// Its fields alone.
    pub fn into_fields(self) -> Fields {
        self.fields
    }

    fn start_line(&self) -> &[u8] {
        &self.fields.lines.octets()[..self.start_len]
    }
}

impl Fields {
    /// The first of that name, in any case of letters, as text (UTF-8, else Latin-1).
    pub fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        self.iter().find(|field| field.is(name)).map(|field| field.text())
    }

    /// All of that name, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Cow<'a, str>> {
        self.iter().filter(move |field| field.is(name)).map(|field| field.text())
    }

    /// Whether there is one of that name.
    pub fn has(&self, name: &str) -> bool {
        self.iter().any(|field| field.is(name))
    }

    /// Everything, as received.
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        let (octets, text) = (self.lines.octets(), self.lines.text());
        let mut at = self.at;
        std::iter::from_fn(move || {
            // Neither stands in a name or a value: the host sees to that.
            let colon = at + memchr(b':', octets.get(at..)?)?;
            let end = colon + memchr(b'\r', &octets[colon..])?;
            let (name, value) = (at..colon, colon + SEPARATOR.len()..end);
            at = end + CRLF.len();
            let name = text.map_or_else(|| str::from_utf8(&octets[name.clone()]).ok(), |text| text.get(name.clone()))?;
            Some(Field { name, text: text.and_then(|text| text.get(value.clone())), value: octets.get(value)? })
        })
    }
}

impl Lines {
    fn octets(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Octets(octets) => octets,
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Octets(_) => None,
        }
    }
}

impl Default for Lines {
    fn default() -> Self {
        Self::Octets(Vec::new())
    }
}

impl<'a> Field<'a> {
    /// Names are compared without case (RFC 9110 §5.1).
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// The value as text: UTF-8, else Latin-1.
    pub fn text(self) -> Cow<'a, str> {
        self.text.map_or_else(|| text::utf8_or_latin1(self.value), Cow::Borrowed)
    }
}

const CRLF: &str = "\r\n";
const SEPARATOR: &str = ": ";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Direction, Flow, testing::Sample};

    #[test]
    fn fields_are_found_in_any_case_and_all_of_a_name() {
        let flow: Flow = Sample::new("GET", "https://a.test/")
            .request_header("Accept", "a")
            .request_header("x", b"gr\xfc\xdfe: y")
            .request_header("Empty", "")
            .request_header("accept", "b")
            .into();

        let fields = flow.fields(Direction::Request);

        assert_eq!((fields.get("ACCEPT").as_deref(), fields.get("x").as_deref(), fields.get("y")), (Some("a"), Some("grüße: y"), None));
        assert!(fields.all("accept").eq(["a", "b"]) && fields.has("X") && !fields.has("y"));
        assert!(fields.iter().map(|field| field.name).eq(["Accept", "x", "Empty", "accept"]));
        assert_eq!(fields.get("empty").as_deref(), Some(""));
        assert_eq!(flow.fields(Direction::Response).iter().count(), 0);
    }

    #[test]
    fn start_lines_are_taken_apart() {
        let request = Head::new(b"GET /a b?c HTTP/2\r\n".to_vec()).expect("a head");
        let response = Head::new(b"HTTP/1.0 404 \r\nA: 1\r\n".to_vec()).expect("a head");

        assert_eq!((request.method(), request.path(), request.status()), ("GET".into(), "/a b?c".into(), None));
        assert_eq!((response.status(), response.fields().iter().count()), (Some(404), 1));
        assert!(Head::new(Vec::new()).is_none());
    }
}
