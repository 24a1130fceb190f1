//! How long a message's content is, and refusing messages that say it twice.
//!
//! Place: asked once per head, before anything is forwarded. What two readers could understand differently is how requests are smuggled, so
//! it is refused, never repaired.
//! Source: RFC 9112 §6.

use http::{Method, StatusCode, Version};

use crate::flow::{Fields, ResponseHead};

/// How the end of the content is found (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Framing {
    /// There is none.
    Empty,
    /// So many octets.
    Length(u64),
    /// Chunks up to an empty one, then trailers.
    Chunked,
    /// Up to the end of the connection; responses only.
    UntilClose,
}

/// Framing that can be understood in two ways, or in none.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct FramingError(pub &'static str);

impl FramingError {
    /// The other side ended before its content did.
    pub const EARLY: Self = Self("the content ends early");
}

/// Framing of a request.
///
/// # Errors
/// Where it is ambiguous or malformed: answer 400 and close.
pub fn request_framing(version: Version, fields: &Fields) -> Result<Framing, FramingError> {
    Ok(declared(version, fields)?.unwrap_or(Framing::Empty))
}

/// Framing of the response to a request with that method.
///
/// # Errors
/// Where it is ambiguous or malformed: the response is not to be used.
pub fn response_framing(method: &Method, head: &ResponseHead) -> Result<Framing, FramingError> {
    let declared = declared(head.version, &head.fields)?;
    let status = head.status;
    // RFC 9112 §6.3 rule 1: whatever the fields say.
    if *method == Method::HEAD || status.is_informational() || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
        return Ok(Framing::Empty);
    }
    Ok(declared.unwrap_or(Framing::UntilClose))
}

/// Whether a response announces content that its status cannot have (RFC 9110 §8.6, RFC 9112 §6.1): what follows it on the connection may be
/// taken for that content, or for the next response.
pub fn contradicts_itself(head: &ResponseHead) -> bool {
    let announces = head.fields.contains("transfer-encoding") || head.fields.get_all("content-length").any(|length| length != b"0");
    announces && (head.status.is_informational() || head.status == StatusCode::NO_CONTENT)
}

/// Fields that say where a message ends, whom it is for, or what holds for one connection: too late in trailers, and a recipient that merges
/// them into the head reads another message (RFC 9110 §6.5.1).
const NEVER_TRAILERS: [&str; 9] =
    ["connection", "content-length", "host", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade"];

/// Whether trailers change nothing about the message they end.
///
/// # Errors
/// If they would: the message is not to be used.
pub fn trailers_are_sane(trailers: &Fields) -> Result<(), FramingError> {
    match trailers.iter().any(|field| NEVER_TRAILERS.iter().any(|name| field.is(name))) {
        false => Ok(()),
        true => Err(FramingError("the trailers would change the message")),
    }
}

fn declared(version: Version, fields: &Fields) -> Result<Option<Framing>, FramingError> {
    let mut lengths = fields.get_all("content-length");
    let mut codings = fields.get_all("transfer-encoding");
    match (codings.next(), lengths.next()) {
        (None, None) => Ok(None),
        (None, Some(length)) => match lengths.next() {
            None => Ok(Some(Framing::Length(parse_length(length)?))),
            Some(_) => Err(FramingError("there is more than one Content-Length")),
        },
        (Some(_), Some(_)) => Err(FramingError("there are both Content-Length and Transfer-Encoding")),
        // RFC 9112 §6.1: a recipient of HTTP/1.0 cannot know what was meant.
        (Some(_), None) if version == Version::HTTP_10 => Err(FramingError("there is a Transfer-Encoding in HTTP/1.0")),
        (Some(coding), None) => match codings.next() {
            None if coding.eq_ignore_ascii_case(b"chunked") => Ok(Some(Framing::Chunked)),
            None => Err(FramingError("the Transfer-Encoding is not chunked")),
            Some(_) => Err(FramingError("there is more than one Transfer-Encoding")),
        },
    }
}

/// `1*DIGIT` (RFC 9110 §8.6): no sign, no list, no white space.
fn parse_length(value: &[u8]) -> Result<u64, FramingError> {
    let digits = value.len() <= 19 && !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let number = digits.then(|| std::str::from_utf8(value).ok()?.parse().ok()).flatten();
    number.ok_or(FramingError("the Content-Length is not a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&str, &str)]) -> Fields {
        lines.iter().map(|(name, value)| crate::flow::Field::new(name.as_bytes(), value.as_bytes())).collect()
    }

    #[test]
    fn requests_are_framed_in_one_way_or_refused() {
        type Lines = &'static [(&'static str, &'static str)];
        let table: [(Lines, Option<Framing>); 16] = [
            (&[], Some(Framing::Empty)),
            (&[("content-length", "0")], Some(Framing::Length(0))),
            (&[("Content-Length", "548")], Some(Framing::Length(548))),
            (&[("Transfer-Encoding", "Chunked")], Some(Framing::Chunked)),
            (&[("content-length", "5"), ("content-length", "5")], None),
            (&[("content-length", "5, 5")], None),
            (&[("content-length", "+5")], None),
            (&[("content-length", "0x5")], None),
            (&[("content-length", "")], None),
            (&[("content-length", "99999999999999999999")], None),
            (&[("content-length", "5"), ("transfer-encoding", "chunked")], None),
            (&[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], None),
            (&[("transfer-encoding", "chunked, chunked")], None),
            (&[("transfer-encoding", ",chunked")], None),
            (&[("transfer-encoding", "gzip, chunked")], None),
            (&[("transfer-encoding", "identity")], None),
        ];
        for (lines, framing) in table {
            assert_eq!(request_framing(Version::HTTP_11, &fields(lines)).ok(), framing, "{lines:?}");
        }
        assert!(request_framing(Version::HTTP_10, &fields(&[("transfer-encoding", "chunked")])).is_err());
    }

    #[test]
    fn responses_without_content_have_none_whatever_they_say() {
        let head = |status: u16, lines: &[(&str, &str)]| ResponseHead {
            status: StatusCode::from_u16(status).expect("a status"),
            reason: None,
            version: Version::HTTP_11,
            fields: fields(lines),
        };

        assert_eq!(response_framing(&Method::HEAD, &head(200, &[("content-length", "9")])), Ok(Framing::Empty));
        assert_eq!(response_framing(&Method::GET, &head(304, &[("content-length", "9")])), Ok(Framing::Empty));
        assert_eq!(response_framing(&Method::GET, &head(204, &[])), Ok(Framing::Empty));
        assert_eq!(response_framing(&Method::GET, &head(200, &[])), Ok(Framing::UntilClose));
        assert!(response_framing(&Method::GET, &head(200, &[("content-length", "9"), ("content-length", "8")])).is_err());
        for (status, lines, contradicts) in [
            (204, ("content-length", "9"), true),
            (204, ("transfer-encoding", "chunked"), true),
            (103, ("content-length", "9"), true),
            (204, ("content-length", "0"), false),
            (304, ("content-length", "9"), false),
            (200, ("content-length", "9"), false),
        ] {
            assert_eq!(contradicts_itself(&head(status, &[lines])), contradicts, "{status} {lines:?}");
        }
    }
}
