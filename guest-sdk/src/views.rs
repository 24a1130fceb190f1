//! Typed views of a flow's fields and content, each fetched from the host in one call.
//!
//! ```
//! use flowgate_guest::{Direction, Flow, testing::Sample};
//!
//! #[derive(serde::Deserialize)]
//! struct Prompt { model: String }
//!
//! let flow: Flow = Sample::new("POST", "https://a.test/v1").user("ana").request_header("Editor-Version", "vscode/1.95.3")
//!     .request_body(r#"{"model": "gpt-4o", "stream": true}"#).into();
//!
//! assert_eq!(flow.principal().as_deref(), Some("ana"));
//! assert_eq!(flow.fields(Direction::Request).get("editor-version").as_deref(), Some("vscode/1.95.3"));
//! assert_eq!(flow.content(Direction::Request).json::<Prompt>().unwrap().model, "gpt-4o");
//! ```

use std::borrow::Cow;

use serde::de::DeserializeOwned;

use crate::{BodyInfo, Header, sse, text};

/// The field section of a message: in wire order, repeats kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fields(Vec<Header>);

impl Fields {
    pub(crate) fn new(headers: Vec<Header>) -> Self {
        Self(headers)
    }

    /// The first of that name, in any case of letters, as text (UTF-8, else Latin-1).
    pub fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        text::first(&self.0, name).map(text::utf8_or_latin1)
    }

    /// All of that name, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Cow<'a, str>> {
        self.0.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| text::utf8_or_latin1(&header.value))
    }

    /// Whether there is one of that name.
    pub fn has(&self, name: &str) -> bool {
        text::first(&self.0, name).is_some()
    }

    /// Everything, as received.
    pub fn iter(&self) -> impl Iterator<Item = &Header> {
        self.0.iter()
    }
}

/// The content of a message as far as the host holds it, content coding undone.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    octets: Vec<u8>,
    info: BodyInfo,
}

impl Content {
    pub(crate) fn new(octets: Vec<u8>, info: BodyInfo) -> Self {
        Self { octets, info }
    }

    /// The octets.
    pub fn bytes(&self) -> &[u8] {
        &self.octets
    }

    /// As text; what is not UTF-8 is replaced.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.octets)
    }

    /// As JSON of that type; `serde_json::Value` takes any.
    ///
    /// # Errors
    /// Says where it is not, and whether octets are missing.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, String> {
        let cut = if self.is_whole() { "" } else { ", and it is not whole" };
        serde_json::from_slice(&self.octets).map_err(|error| format!("the content is not the JSON that was looked for{cut}: {error}"))
    }

    /// As server-sent events.
    pub fn events(&self) -> impl Iterator<Item = sse::Event> {
        sse::events(&self.octets)
    }

    /// Nothing is missing, and no content coding is left.
    pub fn is_whole(&self) -> bool {
        self.info.decoded && !self.info.truncated
    }

    /// What the host says about it.
    pub fn info(&self) -> &BodyInfo {
        &self.info
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use crate::{Direction, Flow, testing::Sample};

    #[test]
    fn fields_are_found_in_any_case_and_all_of_a_name() {
        let flow: Flow = Sample::new("GET", "https://a.test/")
            .request_header("Accept", "a")
            .request_header("x", b"gr\xfc\xdfe")
            .request_header("accept", "b")
            .into();

        let fields = flow.fields(Direction::Request);

        assert_eq!((fields.get("ACCEPT").as_deref(), fields.get("x").as_deref(), fields.get("y")), (Some("a"), Some("grüße"), None));
        assert!(fields.all("accept").eq(["a", "b"]) && fields.has("X") && !fields.has("y"));
        assert_eq!(fields.iter().count(), 3);
        assert_eq!(flow.fields(Direction::Response).iter().count(), 0);
    }

    #[test]
    fn content_that_is_no_json_says_where_and_whether_it_was_cut() {
        let flow: Flow = Sample::new("POST", "https://a.test/")
            .request_body(r#"{"a": [1, 2"#)
            .truncated(Direction::Request, 100)
            .response_body("data: 1\n\ndata: 2\n\n")
            .into();

        let error = flow.content(Direction::Request).json::<Value>().unwrap_err();

        assert!(error.contains("not whole") && error.contains("line 1 column 11"), "{error}");
        let answer = flow.content(Direction::Response);
        assert!(answer.is_whole() && answer.json::<u8>().is_err());
        assert!(answer.events().map(|event| event.data.unwrap()).eq(["1", "2"]));
    }
}
