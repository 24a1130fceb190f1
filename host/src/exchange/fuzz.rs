//! Whom requests are for, under random edits: one answer, or a refusal.

use bytes::Bytes;

use super::target::{Target, at_proxy, in_tunnel};
use crate::{
    flow::{Authority, Origin, RequestHead, Scheme},
    fuzzing::fuzz,
    h1::{HeadLimits, parse_request},
};

const LIMITS: HeadLimits = HeadLimits { octets: 4096, fields: 16 };

/// Names one place only, and is read as that by others.
fn is_one_place(authority: &Authority) {
    let text = authority.to_string();
    assert_eq!(Authority::parse(text.as_bytes()).as_ref(), Ok(authority));
    assert!(!text.contains(|sign: char| sign.is_control() || "@/\\?# \t".contains(sign)), "{text:?}");
    if text.is_ascii() {
        let theirs: http::uri::Authority = text.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!((theirs.host().trim_matches(['[', ']']), theirs.port_u16()), (authority.host(), Some(authority.port())));
    }
}

fn is_one_request(head: &RequestHead, origin: &Origin) {
    is_one_place(&origin.authority);
    let path = &head.path;
    assert!(path.starts_with(b"/") || &path[..] == b"*", "{path:?}");
    assert!(!path.iter().any(|octet| *octet <= b' ' || *octet == 0x7f), "{path:?}");
    assert!(head.fields.get_all("host").nth(1).is_none(), "two Hosts");
}

#[test]
fn request_targets() {
    let seeds: &[&[u8]] = &[
        b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n",
        b"CONNECT [::1]:8443 HTTP/1.0\r\n\r\n",
        b"GET http://a.test/p?q HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"GET https://a.test:443?q HTTP/1.1\r\nHost: A.test\r\n\r\n",
        b"GET /p HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n",
    ];
    let words: &[&[u8]] = &[
        b"CONNECT ",
        b"http://",
        b"https://",
        b"HTTPS://",
        b"a.test",
        b":443",
        b":80",
        b":0",
        b":65536",
        b":+1",
        b"[::1]",
        b"[",
        b"]",
        b"@",
        b"//",
        b"/",
        b"\\",
        b"?",
        b"#",
        b"%2f",
        b"Host: a.test\r\n",
        b"Host: b.test\r\n",
        b"*",
        b"\xc3\xbc",
        b"..",
        b"127.0.0.1",
        b"0x7f.1",
        b":",
        b" HTTP/1.0\r\n",
    ];
    fuzz("request_targets", seeds, words, |input| {
        let Ok(line) = parse_request(Bytes::copy_from_slice(input), LIMITS) else { return "no head".to_owned() };
        let tunnel = Origin { scheme: Scheme::Https, authority: Authority::new("a.test", 443) };
        let inside = in_tunnel(line.clone(), &tunnel);
        if let Ok(head) = &inside {
            is_one_request(head, &tunnel);
        }
        let outside = match at_proxy(line) {
            Ok(Target::Tunnel(authority)) => {
                is_one_place(&authority);
                "tunnel"
            }
            Ok(Target::Forward(origin, head)) => {
                is_one_request(&head, &origin);
                agrees(&head, &origin);
                "forward"
            }
            Ok(Target::Own(head)) => {
                assert!(head.path.starts_with(b"/"));
                "own"
            }
            Err(_) => "refused",
        };
        format!("{outside} {}", inside.is_ok())
    });
}

/// RFC 9112 §3.2.2: the origin hears of no other host than the target's.
fn agrees(head: &RequestHead, origin: &Origin) {
    if let Some(host) = head.fields.get("host") {
        let host = Authority::parse_or(host, Some(origin.scheme.default_port())).expect("a Host is one");
        assert!(host.host().eq_ignore_ascii_case(origin.authority.host()) && host.port() == origin.authority.port(), "{host} {origin}");
    }
}
