//! Between the vocabulary of flows and that of the contract.
//!
//! Place: used by `capability::context` and by `course`. What comes from a guest is checked here before anything is made of it.

use http::{StatusCode, Version};

use super::{
    bindings::flowgate::plugin::types,
    budget::{HEAD_LINES, HEAD_OCTETS},
    held::Told,
};
use crate::flow::{self, Authority, Direction, Field, Fields, Flow, Scheme, Scope, is_field_value, is_token};

/// Fields that belong to one connection or to the framing of one message (RFC 9110 §7.6.1 and §8.6, RFC 9112 §6): the host's.
const OWN_FIELDS: [&str; 11] = [
    "connection",
    "content-length",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Whether a field is the host's alone.
pub(super) fn is_own_field(name: &str) -> bool {
    OWN_FIELDS.iter().any(|own| own.eq_ignore_ascii_case(name))
}

/// A field a guest may set: else says why not.
pub(super) fn check_field(name: &str, value: &[u8]) -> Result<(), String> {
    check_name(name)?;
    match is_field_value(value) {
        true => Ok(()),
        false => Err(format!("the value of {name} has an octet in it that no field may hold")),
    }
}

/// A head of so many lines and octets, made by a guest.
pub(super) fn check_head(lines: usize, octets: usize) -> Result<(), String> {
    if lines > HEAD_LINES {
        return Err(format!("a head has at most {HEAD_LINES} lines"));
    }
    match octets > HEAD_OCTETS {
        true => Err(format!("a head has at most {HEAD_OCTETS} octets")),
        false => Ok(()),
    }
}

/// A name of a field a guest may change.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    if !is_token(name.as_bytes()) {
        return Err(format!("{name:?} is not a field name"));
    }
    match is_own_field(name) {
        true => Err(format!("{name} is the host's")),
        false => Ok(()),
    }
}

/// Octets as text: UTF-8, or else Latin-1.
pub(super) fn text(octets: &[u8]) -> String {
    match std::str::from_utf8(octets) {
        Ok(text) => text.to_owned(),
        Err(_) => octets.iter().map(|octet| char::from(*octet)).collect(),
    }
}

/// Of which message.
pub(super) fn direction(of: types::Direction) -> Direction {
    match of {
        types::Direction::Request => Direction::Request,
        types::Direction::Response => Direction::Response,
    }
}

/// The same to a guest.
pub(super) fn guest_direction(of: Direction) -> types::Direction {
    match of {
        Direction::Request => types::Direction::Request,
        Direction::Response => types::Direction::Response,
    }
}

/// A WebSocket message that has passed.
pub(super) fn message(told: Told) -> types::MessageRecord {
    types::MessageRecord {
        sent: guest_direction(told.sent),
        kind: match told.kind {
            flow::MessageKind::Text => types::MessageKind::Text,
            flow::MessageKind::Binary => types::MessageKind::Binary,
            flow::MessageKind::Closed => types::MessageKind::Closed,
        },
        at: told.at,
        sequence: told.sequence,
        length: u32::try_from(told.length).unwrap_or(u32::MAX),
        content: told.content.to_vec(),
    }
}

/// Who asked.
pub(super) fn client(scope: &Scope) -> types::ClientInfo {
    let address = scope.client.0;
    types::ClientInfo {
        // An IPv4 client on a socket for both is still an IPv4 client.
        address: address.ip().to_canonical().to_string(),
        port: address.port(),
        user: scope.principal.name().map(str::to_owned),
    }
}

/// The request's head as it stands.
pub(super) fn request_head(flow: &Flow) -> types::RequestHead {
    let head = &flow.request;
    types::RequestHead {
        method: head.method.as_str().to_owned(),
        scheme: head.scheme.as_str().to_owned(),
        authority: text(&head.authority),
        path: text(&head.path),
        version: version(head.version),
        headers: headers(&head.fields),
    }
}

/// The response's head as it stands, once there is one.
pub(super) fn response_head(flow: &Flow) -> Option<types::ResponseHead> {
    let head = flow.response.as_ref()?;
    Some(types::ResponseHead { status: head.status.as_u16(), version: version(head.version), headers: headers(&head.fields) })
}

/// A head as HTTP/1 writes it, without the line that ends it; nothing where there is none.
pub(super) fn head(flow: &Flow, of: Direction) -> Vec<u8> {
    let request = &flow.request;
    let (start_line, fields): ([&[u8]; 3], _) = match (of, &flow.response) {
        (Direction::Request, _) => {
            ([request.method.as_str().as_bytes(), &request.path, version_name(request.version).as_bytes()], &request.fields)
        }
        (Direction::Response, Some(response)) => {
            ([version_name(response.version).as_bytes(), response.status.as_str().as_bytes(), b""], &response.fields)
        }
        (Direction::Response, None) => return Vec::new(),
    };
    let octets = |parts: &[&[u8]]| parts.iter().map(|part| part.len() + 2).sum::<usize>();
    let lines: usize = fields.iter().map(|field| octets(&[field.name(), field.value()])).sum();
    let mut head = Vec::with_capacity(octets(&start_line) + lines);
    head.extend(start_line.join(&b' '));
    head.extend_from_slice(b"\r\n");
    for field in fields.iter() {
        for part in [field.name(), b": ", field.value(), b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    head
}

fn version_name(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        Version::HTTP_09 | Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

/// A field section.
pub(super) fn headers(fields: &Fields) -> types::Headers {
    fields.iter().map(|field| types::Header { name: field.name_str().to_owned(), value: field.value().to_vec() }).collect()
}

fn version(version: Version) -> types::HttpVersion {
    match version {
        Version::HTTP_2 => types::HttpVersion::H2,
        Version::HTTP_3 => types::HttpVersion::H3,
        Version::HTTP_09 | Version::HTTP_10 => types::HttpVersion::Http10,
        _ => types::HttpVersion::Http11,
    }
}

/// When things happened.
pub(super) fn timings(flow: &Flow) -> types::Timings {
    let timings = &flow.timings;
    let micros = |at| timings.micros(at);
    types::Timings {
        request_start: timings.request_start_us(),
        request_end: timings.request_end.map(micros),
        response_start: timings.response_start.map(micros),
        response_end: timings.response_end.map(micros),
    }
}

/// How it ended.
pub(super) fn outcome(flow: &Flow) -> types::Outcome {
    match &flow.outcome {
        flow::Outcome::InProgress => types::Outcome::InProgress,
        flow::Outcome::Completed => types::Outcome::Completed,
        flow::Outcome::ClientAborted => types::Outcome::ClientAborted,
        flow::Outcome::OriginFailed(why) => types::Outcome::OriginFailed(why.clone()),
        flow::Outcome::AnsweredBy(whom) => types::Outcome::AnsweredBy(whom.clone()),
    }
}

/// A scheme as a guest spells it.
pub(super) fn scheme(scheme: &str) -> Result<Scheme, String> {
    match scheme {
        "http" => Ok(Scheme::Http),
        "https" => Ok(Scheme::Https),
        other => Err(format!("the scheme {other:?} is neither http nor https")),
    }
}

/// RFC 9112 §3.2.1: origin-form is a path and perhaps a query, in which no space, control character or fragment has a place.
pub(super) fn is_path(path: &str) -> bool {
    path.starts_with('/') && path.bytes().all(|octet| octet.is_ascii_graphic() && octet != b'#')
}

/// Where a guest wants a request sent: else says what is wrong with it.
pub(super) fn origin(origin: &types::Origin) -> Result<flow::Origin, String> {
    let scheme = scheme(&origin.scheme)?;
    let (host, port) = (&origin.host, origin.port);
    let written = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let authority = Authority::parse(written.as_bytes()).map_err(|error| error.to_string())?;
    Ok(flow::Origin { scheme, authority })
}

/// A response made by a guest: else says why it cannot be sent. Fields that are the host's are left out, which makes no other response.
pub(super) fn local_response(response: types::LocalResponse) -> Result<flow::LocalResponse, String> {
    let status = final_status(response.status)?;
    if has_no_content(status) && !response.body.is_empty() {
        return Err(format!("a {} has no content", response.status));
    }
    let octets = response.headers.iter().map(|header| header.name.len() + header.value.len()).sum();
    check_head(response.headers.len(), octets)?;
    let mut fields = Fields::with_capacity(response.headers.len());
    for header in &response.headers {
        if !is_own_field(&header.name) {
            check_field(&header.name, &header.value)?;
            fields.append(Field::new(header.name.as_bytes(), &header.value));
        }
    }
    Ok(flow::LocalResponse { status, fields, content: response.body.into() })
}

/// Whether a response of that status never has content (RFC 9110 §6.4.1).
pub(super) fn has_no_content(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// 200 to 599: what ends an exchange (RFC 9110 §15).
pub(super) fn final_status(status: u16) -> Result<StatusCode, String> {
    match StatusCode::from_u16(status) {
        Ok(code) if (200..600).contains(&status) => Ok(code),
        _ => Err(format!("{status} is not a status from 200 to 599")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, headers: &[(&str, &str)], body: &str) -> types::LocalResponse {
        let headers = headers.iter().map(|(name, value)| types::Header { name: (*name).into(), value: (*value).into() }).collect();
        types::LocalResponse { status, headers, body: body.into() }
    }

    #[test]
    fn responses_of_guests_are_checked() {
        let bad = [
            response(100, &[], ""),
            response(600, &[], ""),
            response(204, &[], "content"),
            response(200, &[("x", "a\r\nset-cookie: b")], ""),
            response(200, &[("a b", "c")], ""),
            response(200, &[("", "c")], ""),
        ];
        for response in bad {
            assert!(local_response(response.clone()).is_err(), "{response:?}");
        }
        let lines = |number| local_response(response(200, &vec![("X-A", "b"); number], "")).map(|response| response.fields.len());
        assert_eq!((lines(HEAD_LINES), lines(HEAD_LINES + 1).is_err()), (Ok(HEAD_LINES), true));
        let octets = |number: usize| local_response(response(200, &[("X-A", &"b".repeat(number))], "")).is_ok();
        assert!(octets(HEAD_OCTETS - 3) && !octets(HEAD_OCTETS - 2));

        let good =
            local_response(response(403, &[("Content-Length", "9"), ("X-A", "b"), ("Transfer-Encoding", "chunked")], "no")).expect("good");

        assert_eq!((good.status, good.content.as_ref()), (StatusCode::FORBIDDEN, b"no".as_ref()));
        assert_eq!(good.fields, [Field::new(b"X-A", b"b")].into_iter().collect());
    }

    #[test]
    fn origins_of_guests_are_checked() {
        let make = |scheme: &str, host: &str, port| {
            origin(&types::Origin { scheme: scheme.into(), host: host.into(), port }).map(|o| o.to_string())
        };

        assert_eq!(make("https", "a.test", 8443), Ok("https://a.test:8443".into()));
        assert_eq!(make("http", "::1", 80), Ok("http://[::1]".into()));
        for (scheme, host, port) in [("ftp", "a", 80), ("http", "a", 0), ("http", "a/b", 80), ("http", "me@a", 80), ("http", "", 80)] {
            assert!(make(scheme, host, port).is_err(), "{scheme} {host} {port}");
        }
    }

    #[test]
    fn heads_are_written_as_http1_writes_them() {
        let mut flow = crate::plugin::tests::flow("/a?b");
        flow.request.fields.push("x", "1: 2");
        assert_eq!(head(&flow, Direction::Request), b"POST /a?b HTTP/1.1\r\nHost: a.test\r\nx: 1: 2\r\n");
        assert_eq!(head(&flow, Direction::Response), b"");

        let mut fields = Fields::default();
        fields.append(Field::new(b"x", b"\xfc"));
        let (reason, version) = (Some("Gone away".into()), Version::HTTP_2);
        flow.response = Some(flow::ResponseHead { status: StatusCode::GONE, reason, version, fields });
        assert_eq!(head(&flow, Direction::Response), b"HTTP/2 410 \r\nx: \xfc\r\n");
    }

    #[test]
    fn text_is_utf8_or_latin1() {
        assert_eq!((text("ü".as_bytes()), text(b"\xfc")), ("ü".into(), "ü".into()));
    }
}
