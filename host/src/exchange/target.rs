//! What a request asks for, and of whom.
//!
//! Place: between the head as it was read and the exchange. Two readings of one request are refused here: a target that contradicts Host,
//! several Hosts, userinfo.
//! Source: RFC 9112 §3.2, RFC 9110 §7.2.

use bytes::Bytes;
use http::{Method, Version};

use crate::{
    flow::{Authority, AuthorityError, Fields, Origin, Refusal, RequestHead, Scheme},
    h1::RequestLine,
};

/// The request-target as a forward proxy meets it (RFC 9112 §3.2).
#[derive(Debug)]
pub enum Target {
    /// authority-form: CONNECT, becomes a tunnel.
    Tunnel(Authority),
    /// absolute-form: one exchange with that origin.
    Forward(Origin, RequestHead),
    /// origin-form: for the proxy itself, as when a client fetches the root certificate.
    Own(RequestHead),
}

/// Understands a request that came to the proxy's own port.
///
/// # Errors
/// Where the request cannot be understood in one way only.
pub fn at_proxy(line: RequestLine) -> Result<Target, Refusal> {
    if line.method == Method::CONNECT {
        let authority = Authority::parse(&line.target)?;
        // Clients in the wild name the proxy itself here, or nobody; the target says it all, and Host goes no further.
        if line.fields.get_all("host").nth(1).is_some() {
            return Err(Refusal::BadRequest("there is more than one Host"));
        }
        if line.fields.contains("content-length") || line.fields.contains("transfer-encoding") {
            return Err(Refusal::BadRequest("a CONNECT request has no content"));
        }
        return Ok(Target::Tunnel(authority));
    }
    if line.target.starts_with(b"/") {
        agree(&line, None)?;
        return Ok(Target::Own(head(line, Scheme::Http, None)));
    }
    let Absolute { origin, path } = Absolute::parse(&line)?;
    let mut line = line;
    if !agree(&line, Some(&origin))? {
        // RFC 9112 §3.2.2: the target wins, and the origin hears that and nothing else, also of a client of HTTP/1.0.
        line.fields.set("Host", origin.host_field().to_string());
    }
    let scheme = origin.scheme;
    Ok(Target::Forward(origin, head(line, scheme, Some(path))))
}

/// Understands a request inside a tunnel to `origin`.
///
/// # Errors
/// Where the request cannot be understood in one way only.
pub(super) fn in_tunnel(line: RequestLine, origin: &Origin) -> Result<RequestHead, Refusal> {
    if line.method == Method::CONNECT {
        return Err(Refusal::BadRequest("a tunnel inside this tunnel is not possible"));
    }
    if line.target.starts_with(b"/") || (line.target.as_ref() == b"*" && line.method == Method::OPTIONS) {
        agree(&line, None)?;
        return Ok(head(line, origin.scheme, None));
    }
    let absolute = Absolute::parse(&line)?;
    let mut line = line;
    if !agree(&line, Some(&absolute.origin))? {
        if line.fields.contains("host") {
            return Err(Refusal::BadRequest("Host and the request-target name different authorities"));
        }
        line.fields.set("Host", absolute.origin.host_field().to_string());
    }
    if !same(&absolute.origin.authority, &origin.authority) || absolute.origin.scheme != origin.scheme {
        return Err(Refusal::BadRequest("the request-target names another origin than the tunnel"));
    }
    Ok(head(line, origin.scheme, Some(absolute.path)))
}

fn head(line: RequestLine, scheme: Scheme, path: Option<Bytes>) -> RequestHead {
    let authority = line.fields.get("host").map(Bytes::copy_from_slice).unwrap_or_default();
    RequestHead { method: line.method, scheme, authority, path: path.unwrap_or(line.target), version: line.version, fields: line.fields }
}

struct Absolute {
    origin: Origin,
    path: Bytes,
}

impl Absolute {
    /// `scheme "://" authority path-abempty [ "?" query ]`; the path is kept octet for octet.
    fn parse(line: &RequestLine) -> Result<Self, Refusal> {
        let target = &line.target;
        let refused = Refusal::BadRequest("the request-target is not one for a forward proxy");
        let (scheme, rest_at) = match target {
            target if starts_with_ignoring_case(target, b"http://") => (Scheme::Http, 7),
            target if starts_with_ignoring_case(target, b"https://") => (Scheme::Https, 8),
            _ => return Err(refused),
        };
        let rest = target.slice(rest_at..);
        let path_at = rest.iter().position(|octet| matches!(octet, b'/' | b'?' | b'#')).unwrap_or(rest.len());
        if rest.contains(&b'#') {
            return Err(Refusal::BadRequest("the request-target has a fragment"));
        }
        let authority = Authority::parse_or(&rest[..path_at], Some(scheme.default_port()))?;
        let path = match rest.get(path_at) {
            Some(b'/') => rest.slice(path_at..),
            // RFC 9112 §3.2.4: OPTIONS of neither path nor query is about the server as a whole.
            None if line.method == Method::OPTIONS => Bytes::from_static(b"*"),
            // RFC 9112 §3.2.1: an empty path is sent as `/`.
            Some(_) => [b"/", &rest[path_at..]].concat().into(),
            None => Bytes::from_static(b"/"),
        };
        Ok(Self { origin: Origin { scheme, authority }, path })
    }
}

fn starts_with_ignoring_case(octets: &[u8], prefix: &[u8]) -> bool {
    octets.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// Whether Host says the same as the target's origin, where that has one. RFC 9112 §3.2: exactly one Host in HTTP/1.1, a well-formed one.
fn agree(line: &RequestLine, origin: Option<&Origin>) -> Result<bool, Refusal> {
    let mut hosts = line.fields.get_all("host");
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Refusal::BadRequest("there is more than one Host"));
    }
    match (host, origin) {
        (None, _) if line.version == Version::HTTP_10 => Ok(origin.is_none()),
        (None, _) => Err(Refusal::BadRequest("there is no Host")),
        // RFC 9110 §7.2: empty where the target has no authority.
        (Some(b""), None) => Ok(true),
        (Some(host), None) => Ok(Authority::parse_or(host, Some(443)).map(|_| true)?),
        (Some(host), Some(origin)) => {
            let host = Authority::parse_or(host, Some(origin.scheme.default_port()))?;
            Ok(same(&host, &origin.authority))
        }
    }
}

fn same(one: &Authority, other: &Authority) -> bool {
    one.port() == other.port() && one.host().eq_ignore_ascii_case(other.host())
}

/// The authority of an HTTP/2 request: `:authority`, else Host (RFC 9113 §8.3.1).
///
/// # Errors
/// Where both are there and differ.
pub(super) fn http2_authority(pseudo: Option<&str>, fields: &Fields) -> Result<Bytes, Refusal> {
    let mut hosts = fields.get_all("host");
    match (pseudo, hosts.next(), hosts.next()) {
        (_, Some(_), Some(_)) => Err(Refusal::BadRequest("there is more than one Host")),
        (Some(pseudo), Some(host), None) if !host.eq_ignore_ascii_case(pseudo.as_bytes()) => {
            Err(Refusal::BadRequest("Host and :authority name different authorities"))
        }
        (Some(pseudo), ..) if pseudo.contains('@') => Err(AuthorityError::Userinfo.into()),
        (Some(pseudo), ..) => Ok(Bytes::copy_from_slice(pseudo.as_bytes())),
        (None, Some(host), None) => Ok(Bytes::copy_from_slice(host)),
        (None, None, _) => Err(Refusal::BadRequest("there is no authority")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Field;

    fn line(method: &str, target: &str, lines: &[(&str, &str)]) -> RequestLine {
        RequestLine {
            method: Method::from_bytes(method.as_bytes()).expect("a token"),
            target: Bytes::copy_from_slice(target.as_bytes()),
            version: Version::HTTP_11,
            fields: lines.iter().map(|(name, value)| Field::new(name.as_bytes(), value.as_bytes())).collect(),
        }
    }

    #[test]
    fn absolute_targets_keep_their_octets() {
        let table = [
            ("GET", "http://a.test", "http://a.test", "/"),
            ("GET", "http://a.test/", "http://a.test", "/"),
            ("GET", "http://a.test:80//x%2F?[]?", "http://a.test", "//x%2F?[]?"),
            ("GET", "http://a.test?q", "http://a.test", "/?q"),
            ("GET", "HTTPS://a.test:8443/b", "https://a.test:8443", "/b"),
            ("GET", "http://[::1]:8080/b?", "http://[::1]:8080", "/b?"),
            ("OPTIONS", "http://a.test:8080", "http://a.test:8080", "*"),
            ("OPTIONS", "http://a.test/", "http://a.test", "/"),
            ("OPTIONS", "http://a.test?q", "http://a.test", "/?q"),
        ];
        for (method, target, origin, path) in table {
            let authority = Absolute::parse(&line(method, target, &[])).expect("a target").origin.authority.to_string();
            let Ok(Target::Forward(seen, head)) = at_proxy(line(method, target, &[("Host", &authority)])) else {
                panic!("{target} is absolute-form");
            };
            assert_eq!((seen.to_string().as_str(), head.path.as_ref()), (origin, path.as_bytes()), "{method} {target}");
        }
    }

    #[test]
    fn two_readings_are_refused() {
        let table = [
            line("GET", "http://a.test/", &[("Host", "me@a.test")]),
            line("GET", "http://a.test/", &[("Host", "a.test"), ("Host", "a.test")]),
            line("GET", "http://a.test/", &[]),
            line("GET", "http://me:pw@a.test/", &[("Host", "a.test")]),
            line("GET", "http://a.test/#x", &[("Host", "a.test")]),
            line("GET", "ftp://a.test/", &[("Host", "a.test")]),
            line("GET", "*", &[("Host", "a.test")]),
            line("CONNECT", "a.test", &[]),
            line("CONNECT", "a.test:443", &[("Host", "a.test:443"), ("Host", "a.test:443")]),
            line("CONNECT", "a.test:443", &[("Content-Length", "0")]),
            line("CONNECT", "http://a.test:443/", &[]),
            line("CONNECT", "a.test:443/x", &[]),
        ];
        for request in table {
            let shown = format!("{request:?}");
            assert!(at_proxy(request).is_err(), "{shown}");
        }
    }

    #[test]
    fn the_target_wins_over_host() {
        for (target, host) in [("http://a.test/x", "a.test"), ("http://a.test:81/x", "a.test:81"), ("http://[::1]/x", "[::1]")] {
            let Ok(Target::Forward(_, head)) = at_proxy(line("GET", target, &[("A", "1"), ("host", "b.test"), ("B", "2")])) else {
                panic!("{target} is absolute-form");
            };
            let lines: Vec<_> = head.fields.iter().map(|field| (field.name_str(), field.value())).collect();
            assert_eq!(lines, [("A", b"1".as_ref()), ("host", host.as_bytes()), ("B", b"2")]);
        }
        assert!(matches!(at_proxy(line("CONNECT", "a.test:443", &[("Host", "127.0.0.1:8080")])), Ok(Target::Tunnel(_))));
    }

    #[test]
    fn a_tunnel_has_one_origin() {
        let origin = Origin { scheme: Scheme::Https, authority: Authority::new("a.test", 443) };
        let host = [("Host", "a.test")];

        assert!(in_tunnel(line("GET", "/x", &host), &origin).is_ok());
        assert!(in_tunnel(line("GET", "https://A.test/x", &host), &origin).is_ok_and(|head| head.path == "/x"));
        assert!(in_tunnel(line("GET", "http://a.test/x", &host), &origin).is_err());
        assert!(in_tunnel(line("GET", "https://b.test/x", &[("Host", "b.test")]), &origin).is_err());
        assert!(in_tunnel(line("CONNECT", "a.test:443", &host), &origin).is_err());
    }
}
