//! Between our heads and those of the `h2` crate.
//!
//! Place: at both HTTP/2 ends of `exchange`. `http::HeaderMap` keeps the order of names but groups repeats; that is all that is lost.
//! Source: RFC 9113 §8.

use bytes::{BufMut, Bytes, BytesMut};
use h2::RecvStream;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, uri::PathAndQuery};

use super::target::http2_authority;
use crate::{
    flow::{Authority, Field, Fields, Refusal, RequestHead, ResponseHead, Scheme},
    h1::{Framing, HeadLimits, request_framing},
};

/// Field lines of a map, all in one allocation.
pub(super) fn fields(map: &HeaderMap) -> Fields {
    let len = map.iter().map(|(name, value)| name.as_str().len() + 2 + value.len()).sum();
    let mut block = BytesMut::with_capacity(len);
    let mut fields = Fields::with_capacity(map.len());
    for (name, value) in map {
        block.put_slice(name.as_str().as_bytes());
        block.put_slice(b": ");
        block.put_slice(value.as_bytes());
        let name_len = name.as_str().len();
        fields.append(Field::parsed(block.split().freeze(), name_len, name_len + 2, value.len()));
    }
    fields
}

/// The same back; names become lower case. What HTTP/2 cannot carry is left out: heads from the wire hold no such thing.
pub(super) fn map(fields: &Fields) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(fields.len());
    for field in fields {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(field.name()), HeaderValue::from_bytes(field.value())) {
            map.append(name, value);
        }
    }
    map
}

/// A request as it came from a client.
///
/// # Errors
/// Where it cannot be understood in one way only, or has too many fields.
pub(super) fn request_head(request: &Request<RecvStream>, scheme: Scheme, limits: HeadLimits) -> Result<RequestHead, Refusal> {
    // Its octets are counted by `h2`.
    if request.headers().len() > limits.fields {
        return Err(Refusal::HeadTooLarge { limit: limits.octets });
    }
    if request.method() == Method::CONNECT {
        return Err(Refusal::BadRequest("a tunnel inside this tunnel is not possible"));
    }
    let fields = fields(request.headers());
    let authority = http2_authority(request.uri().authority().map(|authority| authority.as_str()), &fields)?;
    Authority::parse_or(&authority, Some(scheme.default_port()))?;
    if request.uri().scheme_str().is_some_and(|said| said != scheme.as_str()) {
        return Err(Refusal::BadRequest(":scheme is not that of the tunnel"));
    }
    let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
    let is_asterisk = path == "*" && request.method() == Method::OPTIONS;
    // The crate takes `?x`, and DEL, for paths; a request line of HTTP/1 has no place for them (RFC 9113 §8.3.1).
    let is_path = path.starts_with('/') && path.bytes().all(|octet| octet > b' ' && octet != 0x7f);
    if !(is_asterisk || is_path) {
        return Err(Refusal::BadRequest(":path is no path"));
    }
    // RFC 9113 §8.1.1. The crate lets equal ones pass, and an empty one.
    request_framing(Version::HTTP_11, &fields).map_err(|error| Refusal::BadRequest(error.0))?;
    Ok(RequestHead {
        method: request.method().clone(),
        scheme,
        authority,
        path: Bytes::copy_from_slice(path.as_bytes()),
        version: Version::HTTP_2,
        fields,
    })
}

/// A request to an origin.
///
/// # Errors
/// If the target is none that HTTP/2 can carry.
pub(super) fn request(head: &RequestHead) -> Result<Request<()>, Refusal> {
    let refused = |_| Refusal::BadRequest("the request-target is not one that HTTP/2 can carry");
    let uri = Uri::builder()
        .scheme(head.scheme.as_str())
        .authority(head.authority.as_ref())
        .path_and_query(head.path.as_ref())
        .build()
        .map_err(refused)?;
    let mut request = Request::builder().method(head.method.clone()).uri(uri).version(Version::HTTP_2).body(()).map_err(refused)?;
    *request.headers_mut() = map(&head.fields);
    Ok(request)
}

/// A response as it came from an origin.
pub(super) fn response_head<B>(response: &Response<B>) -> ResponseHead {
    ResponseHead { status: response.status(), reason: None, version: Version::HTTP_2, fields: fields(response.headers()) }
}

/// Of the response to a request with that method: HTTP/2 ends messages itself, what counts is whether the head is all (RFC 9113 §8.1).
pub(super) fn response_framing(method: &Method, head: &ResponseHead) -> Framing {
    match *method == Method::HEAD || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        true => Framing::Empty,
        false => Framing::Chunked,
    }
}

/// A response to a client.
pub(super) fn response(head: &ResponseHead) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = head.status;
    *response.version_mut() = Version::HTTP_2;
    *response.headers_mut() = map(&head.fields);
    response
}

/// An HTTP/2 request on its way to an origin that speaks HTTP/1.1 only (RFC 9113 §8.3.1, §8.2.3).
pub(super) fn downgraded(head: &RequestHead, framing: Framing) -> RequestHead {
    let mut fields = Fields::with_capacity(head.fields.len() + 2);
    if !head.fields.contains("host") {
        fields.push("Host", &head.authority);
    }
    for field in &head.fields {
        fields.append(field.clone());
    }
    let cookies: Vec<&[u8]> = head.fields.get_all("cookie").collect();
    if cookies.len() > 1 {
        fields.set("cookie", cookies.join(&b"; "[..]));
    }
    if framing == Framing::Chunked {
        fields.push("Transfer-Encoding", "chunked");
    }
    RequestHead { version: Version::HTTP_11, fields, ..head.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_for_http1_gets_what_http1_needs() {
        let mut fields = Fields::default();
        for (name, value) in [("a", "1"), ("cookie", "b=2"), ("cookie", "c=3")] {
            fields.push(name, value);
        }
        let head = RequestHead {
            method: Method::POST,
            scheme: Scheme::Https,
            authority: Bytes::from_static(b"a.test"),
            path: Bytes::from_static(b"/"),
            version: Version::HTTP_2,
            fields,
        };

        let head = downgraded(&head, Framing::Chunked);

        let lines: Vec<_> = head.fields.iter().map(|field| field.line()).collect();
        assert_eq!(lines, [b"Host: a.test".as_ref(), b"a: 1", b"cookie: b=2; c=3", b"Transfer-Encoding: chunked"]);
    }
}
