//! Parsing heads, strictly.
//!
//! Place: fed by [`super::Reader`]. Line ends are CRLF and nothing else, names touch their colon, lines are not folded: where a lenient
//! reader and a strict one would see different messages, there is none (RFC 9112 §2.2, §5.1, §5.2).
//! Source: RFC 9112 §2 to §5; the tokens are recognised by `httparse`.

use std::{mem::MaybeUninit, sync::LazyLock};

use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode, Version};
use memchr::memmem::Finder;

use crate::flow::{Field, Fields, ResponseHead};

/// Most field lines of one head that are looked at; [`HeadLimits::fields`] may only be lower.
const MAX_FIELDS: usize = 512;

/// Bounds of a head.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// From the first octet to the empty line.
    pub octets: usize,
    /// Field lines.
    pub fields: usize,
}

/// Why octets are not a head.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HeadError {
    /// More octets or lines than [`HeadLimits`] allows.
    #[error("the head is larger than the limit")]
    TooLarge,
    /// Everything else: says what.
    #[error("{0}")]
    Malformed(&'static str),
}

/// A request as it stands on the wire, its target not yet understood.
#[derive(Clone, Debug)]
pub struct RequestLine {
    /// Case-sensitive.
    pub method: Method,
    /// Request-target, octet for octet.
    pub target: Bytes,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// In wire order.
    pub fields: Fields,
}

/// Where a head ends, looked for once: octets already looked at are not looked at again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scan {
    /// Octets that were looked at.
    at: usize,
}

/// The last line's end and the empty line.
const END: &[u8] = b"\r\n\r\n";

static END_FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(END));

impl Scan {
    /// Length of the head at the front of `buffer`, its empty line included; `None` if it is not all there. Empty lines in front of a head
    /// are taken out first (RFC 9112 §2.2).
    pub(super) fn head_len(&mut self, buffer: &mut BytesMut, limits: HeadLimits) -> Result<Option<usize>, HeadError> {
        while self.at == 0 && buffer.starts_with(b"\r\n") {
            let _ = buffer.split_to(2);
        }
        if self.at == 0 {
            is_no_other_protocol(buffer)?;
        }
        if buffer[..] == *b"\r" {
            // The next octet says whether this is such a line.
            return Ok(None);
        }
        // The end may have begun among what was looked at.
        let from = self.at.saturating_sub(END.len() - 1);
        let found = END_FINDER.find(&buffer[from..]).map(|at| from + at + END.len());
        let until = found.unwrap_or(buffer.len());
        if (self.at == 0 && buffer.first() == Some(&b'\n')) || holds_bare_lf(&buffer[self.at.saturating_sub(1)..until]) {
            return Err(HeadError::Malformed("a line of the head does not end in CRLF"));
        }
        self.at = until;
        match found {
            Some(len) if len <= limits.octets => Ok(Some(len)),
            None if buffer.len() < limits.octets => Ok(None),
            _ => Err(HeadError::TooLarge),
        }
    }
}

/// Peers of some other protocol wait for an answer in it, and never send the end of a head.
fn is_no_other_protocol(octets: &[u8]) -> Result<(), HeadError> {
    match octets.first() {
        // RFC 8446 §5.1.
        Some(0x16) => Err(HeadError::Malformed("HTTP in clear is expected, and this begins as TLS does")),
        // RFC 1928 §3.
        Some(4 | 5) => Err(HeadError::Malformed("HTTP is expected, and this begins as SOCKS does")),
        // Version 1, and what is left of version 2 without empty lines.
        Some(b'P' | 0) if octets.starts_with(b"PROXY TCP") || octets.starts_with(b"\0\r\nQUIT\n") => Err(HeadError::Malformed(
            "HTTP is expected, and this begins as the PROXY protocol does: proxy-protocol in flowgate.toml says from where that is taken",
        )),
        _ => Ok(()),
    }
}

/// Whether some LF but the first octet does not stand behind a CR. Looks at all octets at a time: no branch keeps it from being vectorised.
fn holds_bare_lf(octets: &[u8]) -> bool {
    let behind = octets.get(1..).unwrap_or_default();
    octets.iter().zip(behind).fold(0_u8, |bare, (before, octet)| bare | u8::from((*octet == b'\n') & (*before != b'\r'))) != 0
}

/// Parses a whole request head.
///
/// # Errors
/// If it is not one, or has too many lines.
pub fn parse_request(head: Bytes, limits: HeadLimits) -> Result<RequestLine, HeadError> {
    let mut slots = [MaybeUninit::uninit(); MAX_FIELDS];
    let slots = &mut slots[..limits.fields.min(MAX_FIELDS)];
    let mut request = httparse::Request::new(&mut []);
    let status = httparse::ParserConfig::default().parse_request_with_uninit_headers(&mut request, &head, slots);
    let (Ok(httparse::Status::Complete(_)), Some(method), Some(target), Some(minor)) =
        (status, request.method, request.path, request.version)
    else {
        return Err(explain(status));
    };
    Ok(RequestLine {
        method: Method::from_bytes(method.as_bytes()).map_err(|_| HeadError::Malformed("the method is not a token"))?,
        target: head.slice_ref(target.as_bytes()),
        version: version(minor),
        fields: fields(&head, request.headers)?,
    })
}

/// Parses a whole response head.
///
/// # Errors
/// If it is not one, or has too many lines.
pub fn parse_response(head: Bytes, limits: HeadLimits) -> Result<ResponseHead, HeadError> {
    let mut slots = [MaybeUninit::uninit(); MAX_FIELDS];
    let slots = &mut slots[..limits.fields.min(MAX_FIELDS)];
    let mut response = httparse::Response::new(&mut []);
    let status = httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut response, &head, slots);
    let (Ok(httparse::Status::Complete(_)), Some(code), Some(minor)) = (status, response.code, response.version) else {
        return Err(explain(status));
    };
    // `httparse` drops a reason phrase that is not ASCII; the line itself still has it.
    let line = &head[..memchr::memchr(b'\r', &head).unwrap_or(head.len())];
    let reason = line.get("HTTP/1.1 200 ".len()..);
    Ok(ResponseHead {
        status: StatusCode::from_u16(code).map_err(|_| HeadError::Malformed("the status is not one"))?,
        reason: reason.map(|reason| head.slice_ref(reason)),
        version: version(minor),
        fields: fields(&head, response.headers)?,
    })
}

/// Parses a field section that stands alone: trailers, their empty line included.
///
/// # Errors
/// If it is not one, or has too many lines.
pub fn parse_fields(section: Bytes, limits: HeadLimits) -> Result<Fields, HeadError> {
    let mut slots = [httparse::EMPTY_HEADER; 64];
    let most = limits.fields.min(slots.len());
    match httparse::parse_headers(&section, &mut slots[..most]) {
        Ok(httparse::Status::Complete((_, parsed))) => fields(&section, parsed),
        other => Err(explain(other)),
    }
}

/// `httparse` knows HTTP/1.0 and HTTP/1.1 and refuses the rest.
fn version(minor: u8) -> Version {
    if minor == 0 { Version::HTTP_10 } else { Version::HTTP_11 }
}

fn fields(head: &Bytes, parsed: &[httparse::Header<'_>]) -> Result<Fields, HeadError> {
    let base = head.as_ptr() as usize;
    let mut fields = Fields::with_capacity(parsed.len());
    for header in parsed {
        let start = header.name.as_ptr() as usize - base;
        let value_at = header.value.as_ptr() as usize - base;
        // An empty value of `httparse` may point nowhere in particular.
        let (value_at, value_len) = match header.value.len() {
            0 => (start + header.name.len() + 1, 0),
            len => (value_at, len),
        };
        if !crate::flow::is_field_value(header.value) {
            return Err(HeadError::Malformed("a field value holds a control character"));
        }
        let from = value_at + value_len;
        // Mostly right behind the value.
        let end = match head.get(from) {
            Some(b'\r') => from,
            _ => from + memchr::memchr(b'\r', &head[from..]).ok_or(HeadError::Malformed("a field line has no end"))?,
        };
        if head[from..end].iter().any(|octet| !matches!(octet, b' ' | b'\t')) {
            return Err(HeadError::Malformed("a field line holds a bare CR"));
        }
        fields.append(Field::parsed(head.slice(start..end), header.name.len(), value_at - start, value_len));
    }
    Ok(fields)
}

fn explain<T>(status: Result<httparse::Status<T>, httparse::Error>) -> HeadError {
    use httparse::Error;
    match status {
        Err(Error::TooManyHeaders) => HeadError::TooLarge,
        Err(Error::HeaderName) => HeadError::Malformed("a field name is not a token"),
        Err(Error::HeaderValue) => HeadError::Malformed("a field value holds a control character"),
        Err(Error::NewLine) => HeadError::Malformed("a line of the head does not end in CRLF"),
        Err(Error::Status) => HeadError::Malformed("the status line is malformed"),
        Err(Error::Token) => HeadError::Malformed("the first line is malformed"),
        Err(Error::Version) => HeadError::Malformed("the version is not HTTP/1.0 or HTTP/1.1"),
        Ok(_) => HeadError::Malformed("the head is malformed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { octets: 1000, fields: 8 };

    fn request(text: &[u8]) -> Result<RequestLine, HeadError> {
        let mut buffer = BytesMut::from(text);
        let len = Scan::default().head_len(&mut buffer, LIMITS)?.expect("a whole head");
        parse_request(buffer.split_to(len).freeze(), LIMITS)
    }

    #[test]
    fn a_head_keeps_every_octet() {
        let head = request(b"\r\nPOST /a//b%2F?[x]? HTTP/1.1\r\nHost:a.test\r\nX-A:  1 \t\r\nx-a: \xe9\r\nEmpty:\r\nEmpty2:  \r\n\r\n")
            .expect("a head");

        assert_eq!((head.method, head.target.as_ref(), head.version), (Method::POST, b"/a//b%2F?[x]?".as_ref(), Version::HTTP_11));
        let lines: Vec<_> = head.fields.iter().map(|field| (field.line(), field.name(), field.value())).collect();
        assert_eq!(
            lines,
            [
                (b"Host:a.test".as_ref(), b"Host".as_ref(), b"a.test".as_ref()),
                (b"X-A:  1 \t", b"X-A", b"1"),
                (b"x-a: \xe9", b"x-a", b"\xe9"),
                (b"Empty:", b"Empty", b""),
                (b"Empty2:  ", b"Empty2", b""),
            ]
        );
    }

    #[test]
    fn ambiguous_heads_are_refused() {
        let table: [&[u8]; 13] = [
            b"GET / HTTP/1.1\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n\tb\r\n\r\n",
            b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            b"GET / HTTP/1.1\r\n: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost\r\n\r\n",
            b"GET  / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/2.0\r\n\r\n",
            b"GET / a HTTP/1.1\r\n\r\n",
            b"G(T / HTTP/1.1\r\n\r\n",
        ];
        for text in table {
            assert!(matches!(request(text), Err(HeadError::Malformed(_))), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn limits_hold() {
        let long = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "a".repeat(1000));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(9));

        assert_eq!(request(long.as_bytes()).err(), Some(HeadError::TooLarge));
        assert_eq!(request(many.as_bytes()).err(), Some(HeadError::TooLarge));
    }

    #[test]
    fn a_head_in_pieces_is_looked_at_once() {
        let text = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
        let (mut scan, mut buffer) = (Scan::default(), BytesMut::new());
        let mut found = None;
        for octet in text {
            buffer.extend_from_slice(&[*octet]);
            found = found.or(scan.head_len(&mut buffer, LIMITS).expect("well-formed"));
        }

        assert_eq!(found, Some(text.len() - 4));
    }

    #[test]
    fn wherever_a_head_is_cut_its_end_is_the_same() {
        let table: [(&[u8], Result<usize, ()>); 6] = [
            (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n\r\n\r\n", Ok(27)),
            (b"\r\n\r\nGET / HTTP/1.1\r\n\r\nmore\n", Ok(18)),
            (b"GET / HTTP/1.1\nHost: a\r\n\r\n", Err(())),
            (b"GET / HTTP/1.1\r\n\n", Err(())),
            (b"\nGET / HTTP/1.1\r\n\r\n", Err(())),
            (b"GET / HTTP/1.1\r\nHost: a\r\n\r\r\n\n", Err(())),
        ];
        for (text, expected) in table {
            for cut in 0..=text.len() {
                let (mut scan, mut buffer) = (Scan::default(), BytesMut::from(&text[..cut]));
                let found = scan.head_len(&mut buffer, LIMITS).and_then(|found| {
                    buffer.extend_from_slice(&text[cut..]);
                    found.map_or_else(|| scan.head_len(&mut buffer, LIMITS), |len| Ok(Some(len)))
                });
                assert_eq!(found.map_err(drop), expected.map(Some), "{} at {cut}", text.escape_ascii());
            }
        }
    }

    #[test]
    fn reason_phrases_pass_as_they_are() {
        for (line, reason) in [
            ("HTTP/1.1 200 OK", Some("OK")),
            ("HTTP/1.1 200 Fine \u{e9} too", Some("Fine \u{e9} too")),
            ("HTTP/1.0 404 ", Some("")),
            ("HTTP/1.1 404", None),
        ] {
            let head = parse_response(format!("{line}\r\nA: b\r\n\r\n").into(), LIMITS).expect("a head");
            assert_eq!(head.reason, reason.map(Bytes::from), "{line}");
        }
    }
}
