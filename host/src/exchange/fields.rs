//! What a field section loses on its way from one hop to the next, and nothing else.
//!
//! Place: applied to every head right before it is sent on. No `Via`, no `Forwarded`, no `Date` is added: the two ends must not be able to
//! tell that there is a proxy. `Connection: keep-alive` and `close` stay where they stand: what they say holds for the next hop as well.
//! Source: RFC 9110 §7.6.1, §11.7; RFC 9113 §8.2.2.

use crate::flow::{Field, Fields};

/// Fields that speak about one hop only and that no Connection field needs to name (RFC 9110 §7.6.1).
const HOP_BY_HOP: [&str; 3] = ["keep-alive", "proxy-connection", "http2-settings"];

/// For this hop only (RFC 9110 §11.7): an origin must never see a client's credentials for the proxy.
const PROXY_ONLY: [&str; 2] = ["proxy-authorization", "proxy-authenticate"];

/// What a Connection field may say to the next hop as well, since it will hold there too.
const LASTING: [&str; 4] = ["keep-alive", "close", "upgrade", "te"];

/// Schemes that log in a connection, not a request (RFC 4559 §6, RFC 4178).
const OF_CONNECTIONS: [&[u8]; 2] = [b"ntlm", b"negotiate"];

/// A request from an HTTP/1 client. The one upgrade it may ask for is a WebSocket.
pub(super) fn request_to_http1(fields: &mut Fields) {
    let upgrade = asks_for_websocket(fields);
    fields.retain(|field| !PROXY_ONLY.iter().any(|name| field.is(name)));
    hop(fields, upgrade);
    fields.retain(may_pass_codings);
}

/// A response to a client over HTTP/1. `Proxy-Authenticate` of an origin is the origin's affair and passes.
pub(super) fn response_to_http1(fields: &mut Fields, upgrade: bool) {
    hop(fields, upgrade);
}

/// Any message to HTTP/2, where a connection has no say in a message at all (RFC 9113 §8.2.2).
pub(super) fn to_http2(fields: &mut Fields, is_request: bool) {
    let named = named(fields);
    fields.retain(|field| {
        let connection_specific = ["connection", "transfer-encoding", "upgrade"].iter().chain(&HOP_BY_HOP).any(|name| field.is(name));
        let proxy_only = is_request && PROXY_ONLY.iter().any(|name| field.is(name));
        !(connection_specific || proxy_only || named.iter().any(|name| field.is(name))) && may_pass_codings(field)
    });
}

/// What TE lists is for this hop; trailers are the one thing that is passed on (RFC 9110 §10.1.4), and each line speaks for itself.
fn may_pass_codings(field: &Field) -> bool {
    !field.is("te") || field.value().eq_ignore_ascii_case(b"trailers")
}

/// Whether a request asks to become a WebSocket (RFC 6455 §4.1): the one upgrade that is passed on.
pub(super) fn asks_for_websocket(fields: &Fields) -> bool {
    fields.lists("connection", "upgrade") && fields.lists("upgrade", "websocket")
}

/// Whether a message logs in the connection that it is on, or is part of that: no other client is to have the connection from then on.
pub(super) fn logs_in(fields: &Fields) -> bool {
    fields.iter().any(|field| match field.name().len() {
        // Most fields are told by their length.
        13 if field.is("authorization") => names_scheme_of_connections(field.value()),
        16 if field.is("www-authenticate") => names_scheme_of_connections(field.value()),
        15 => field.is("persistent-auth"),
        _ => false,
    })
}

/// In credentials, or any of several challenges (RFC 9110 §11.6.1). What looks like one in a quoted string does no harm.
fn names_scheme_of_connections(value: &[u8]) -> bool {
    value.split(|octet| *octet == b',').any(|part| {
        let scheme = part.trim_ascii().split(|octet| matches!(octet, b' ' | b'\t')).next().unwrap_or_default();
        OF_CONNECTIONS.iter().any(|known| scheme.eq_ignore_ascii_case(known))
    })
}

/// Whether the connection outlives the message (RFC 9112 §9.3).
pub fn persists(version: http::Version, fields: &Fields) -> bool {
    match version {
        http::Version::HTTP_10 => fields.lists("connection", "keep-alive"),
        _ => !fields.lists("connection", "close"),
    }
}

fn hop(fields: &mut Fields, upgrade: bool) {
    let named = named(fields);
    // The common case: no Connection field, or one that only says `keep-alive`.
    if !named.is_empty() {
        fields.retain(|field| field.is("connection") || !named.iter().any(|name| field.is(name)));
        let lasting: Vec<&str> = LASTING.into_iter().filter(|option| fields.lists("connection", option)).collect();
        match lasting.is_empty() {
            true => drop(fields.remove("connection")),
            false => fields.set("connection", lasting.join(", ")),
        }
    }
    if !upgrade {
        // An upgrade that is not passed on must not be asked for either.
        if fields.remove("upgrade") && fields.lists("connection", "upgrade") {
            fields.remove("connection");
        }
    }
    fields.retain(|field| !HOP_BY_HOP.iter().any(|name| field.is(name)));
}

/// Fields that Connection names beyond the lasting options. Framing and Host cannot be named away (they would change the message).
fn named(fields: &Fields) -> Vec<String> {
    fields
        .members("connection")
        .filter(|member| !LASTING.iter().any(|option| member.eq_ignore_ascii_case(option.as_bytes())))
        .map(|member| String::from_utf8_lossy(member).to_ascii_lowercase())
        .filter(|member| !matches!(member.as_str(), "content-length" | "transfer-encoding" | "host" | "connection"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&str, &str)]) -> Fields {
        lines.iter().map(|(name, value)| Field::new(name.as_bytes(), value.as_bytes())).collect()
    }

    #[test]
    fn requests_lose_what_is_for_this_hop_and_keep_the_rest_in_order() {
        let mut some = fields(&[
            ("Host", "a"),
            ("Proxy-Authorization", "Basic xxx"),
            ("X-A", "1"),
            ("Connection", "keep-alive, X-Private"),
            ("X-B", "2"),
            ("X-Private", "3"),
            ("Proxy-Connection", "keep-alive"),
            ("x-a", "4"),
            ("Keep-Alive", "300"),
            ("TE", "gzip"),
        ]);

        request_to_http1(&mut some);

        assert_eq!(some, fields(&[("Host", "a"), ("X-A", "1"), ("Connection", "keep-alive"), ("X-B", "2"), ("x-a", "4")]));
    }

    #[test]
    fn an_ordinary_connection_field_is_left_alone() {
        for value in ["keep-alive", "close", "Keep-Alive", "TE, close"] {
            let mut some = fields(&[("connection", value), ("te", "trailers")]);
            let before = some.clone();
            request_to_http1(&mut some);
            assert_eq!(some, before);
        }
    }

    #[test]
    fn only_websockets_are_asked_for() {
        let lines = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", "x")];
        let mut websocket = fields(&lines);
        request_to_http1(&mut websocket);
        assert_eq!(websocket, fields(&lines));

        let lines = [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMA"), ("A", "b")];
        let mut h2c = fields(&lines);
        request_to_http1(&mut h2c);
        assert_eq!(h2c, fields(&[("A", "b")]));
    }

    #[test]
    fn each_line_that_lists_codings_speaks_for_itself() {
        let lines = [("TE", "trailers"), ("A", "b"), ("TE", "gzip"), ("te", "Trailers"), ("TE", "deflate, trailers")];
        let left = fields(&[("TE", "trailers"), ("A", "b"), ("te", "Trailers")]);
        let (mut to_http1, mut over_http2) = (fields(&lines), fields(&lines));

        request_to_http1(&mut to_http1);
        super::to_http2(&mut over_http2, true);

        assert_eq!((to_http1, over_http2), (left.clone(), left));
    }

    #[test]
    fn logins_of_connections_are_told_from_those_of_requests() {
        let table = [
            ("Authorization", "NTLM TlRM", true),
            ("authorization", "negotiate", true),
            ("Authorization", "Bearer negotiate", false),
            ("Authorization", "Basic bnRsbTo=", false),
            ("WWW-Authenticate", "Basic realm=\"a, b\", nTlM", true),
            ("www-authenticate", "Negotiate\tYII=", true),
            ("WWW-Authenticate", "Negotiated realm=\"a\"", false),
            ("Persistent-Auth", "true", true),
            ("Proxy-Authorization", "NTLM TlRM", false),
        ];
        for (name, value, expected) in table {
            assert_eq!(
                logs_in(&fields(&[("Host", "a"), ("WWW-Authenticate", "Basic realm=\"x\""), (name, value)])),
                expected,
                "{name}: {value}"
            );
        }
    }

    #[test]
    fn framing_cannot_be_named_away() {
        let mut some = fields(&[("Connection", "content-length, close"), ("Content-Length", "3")]);

        request_to_http1(&mut some);

        assert_eq!(some, fields(&[("Connection", "content-length, close"), ("Content-Length", "3")]));
    }

    #[test]
    fn http2_has_no_connection_fields() {
        let mut some = fields(&[
            ("Connection", "x-p"),
            ("X-P", "1"),
            ("Transfer-Encoding", "chunked"),
            ("Upgrade", "h2"),
            ("A", "b"),
            ("TE", "trailers"),
        ]);

        to_http2(&mut some, false);

        assert_eq!(some, fields(&[("A", "b"), ("TE", "trailers")]));
    }
}
