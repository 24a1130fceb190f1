//! Typed views of a flow's content, fetched from the host in two calls.
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

use crate::{BodyInfo, sse};

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
