//! How credentials are written: the `Basic` scheme, read tolerantly.
//!
//! Place: `gate` alone reads what this gives.
//! Source: RFC 7617; RFC 9110 §11.4 for schemes in any case of letters.

use std::fmt;

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

/// Longest field value that is looked at, in octets; a name and a password are far shorter, and every request brings one.
const MAX_VALUE: usize = 8 * 1024;
/// Longest user name, in octets: what fits a file name.
pub(super) const MAX_NAME: usize = 255;

/// Clients forget the padding, and some leave bits behind in the last letter.
const TOLERANT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent).with_decode_allow_trailing_bits(true),
);

/// A name and a password as a client gave them. Neither has been verified.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Not empty, without control characters, at most 255 octets.
    pub name: String,
    /// What stood behind the first colon; empty where there was none.
    pub password: Password,
}

/// Not shown by `Debug`, so that it cannot end in diagnostics.
#[derive(Clone)]
pub struct Password(String);

impl Password {
    /// As typed.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    pub(super) fn octets(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl Credentials {
    /// Reads the value of `Proxy-Authorization`. `None` for any other scheme and for whatever names nobody: a client that sends it is
    /// unknown, which is not an error.
    ///
    /// `user`, `user:` and passwords with colons are understood; text that is not UTF-8 is taken for Latin-1 (RFC 7617 §2.1 leaves it open).
    pub fn parse(value: &[u8]) -> Option<Self> {
        if value.len() > MAX_VALUE {
            return None;
        }
        let value = value.trim_ascii();
        let (scheme, rest) = value.split_at(value.iter().position(|octet| matches!(octet, b' ' | b'\t'))?);
        if !scheme.eq_ignore_ascii_case(b"basic") {
            return None;
        }
        let text = decode(TOLERANT.decode(rest.trim_ascii_start()).ok()?);
        let (name, password) = text.split_once(':').unwrap_or((&text, ""));
        is_name(name).then(|| Self { name: name.to_owned(), password: Password(password.to_owned()) })
    }
}

/// Whether that may be a user's name (RFC 7617 §2: no colon, no control characters).
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME && !name.contains(|letter: char| letter == ':' || letter.is_control())
}

fn decode(octets: Vec<u8>) -> String {
    // Latin-1 is the first 256 code points.
    String::from_utf8(octets).unwrap_or_else(|error| error.as_bytes().iter().copied().map(char::from).collect())
}

#[cfg(test)]
mod tests {
    use base64::prelude::BASE64_STANDARD;

    use super::*;

    fn parse(value: impl AsRef<[u8]>) -> Option<(String, String)> {
        Credentials::parse(value.as_ref()).map(|credentials| (credentials.name, credentials.password.0))
    }

    fn basic(octets: impl AsRef<[u8]>) -> String {
        format!("Basic {}", BASE64_STANDARD.encode(octets))
    }

    #[test]
    fn credentials_are_read_as_sloppily_as_they_are_written() {
        let cases = [
            (basic("ana:s3cret"), "ana", "s3cret"),
            (basic("ana:"), "ana", ""),
            (basic("ana"), "ana", ""),
            (basic("ana:a:b:"), "ana", "a:b:"),
            (basic("björn:pässword"), "björn", "pässword"),
            (basic(b"bj\xf6rn:p\xe4ss"), "björn", "päss"),
            (basic("ana lee:x"), "ana lee", "x"),
            ("basic YW5hOng=".to_owned(), "ana", "x"),
            ("BASIC    YW5hOng=  ".to_owned(), "ana", "x"),
            ("Basic\tYW5hOng".to_owned(), "ana", "x"),
            (" Basic YW5hOnh=".to_owned(), "ana", "x"),
        ];
        for (value, name, password) in cases {
            assert_eq!(parse(&value), Some((name.to_owned(), password.to_owned())), "{value}");
        }
    }

    #[test]
    fn whatever_else_is_sent_names_nobody() {
        let cases = [
            String::new(),
            "Basic".to_owned(),
            "Basic ".to_owned(),
            "satomic".to_owned(),
            "Basic !!!!".to_owned(),
            "Basic YW5h OmE=".to_owned(),
            "Basic,YW5hOng=".to_owned(),
            "Basic YW5hOng=, Basic YW5hOng=".to_owned(),
            "Bearer YW5hOng=".to_owned(),
            "NTLM TlRMTVNTUAABAAAA".to_owned(),
            basic(":x"),
            basic(""),
            basic("a\0b:x"),
            basic("a\r\nb:x"),
            basic(b"a\x85b:x"),
            basic("a".repeat(MAX_NAME + 1)),
            basic("a".repeat(MAX_VALUE)),
        ];
        for value in cases {
            assert_eq!(parse(&value), None, "{value:?}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let shown = format!("{:?}", Credentials::parse(basic("ana:s3cret").as_bytes()).unwrap());

        assert!(shown.contains("ana") && !shown.contains("s3cret"));
    }
}
