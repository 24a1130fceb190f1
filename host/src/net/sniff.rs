//! What a client begins to speak inside a tunnel.
//!
//! Place: pure; `tunnel` reads and asks.
//! Source: RFC 8446 §5.1 (records), RFC 9112 §3 (request line), RFC 9113 §3.4 (preface).

/// What the first octets are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Sniffed {
    /// A TLS handshake record.
    Tls,
    /// An HTTP/1 request in clear.
    Http1,
    /// Neither.
    Opaque,
    /// Too few octets to tell.
    Unclear,
}

/// Longest method that is waited for.
const LONGEST_METHOD: usize = 32;

/// Looks at what has come so far.
pub(super) fn sniff(octets: &[u8]) -> Sniffed {
    match octets {
        [] => Sniffed::Unclear,
        [0x16] => Sniffed::Unclear,
        [0x16, 0x03, ..] => Sniffed::Tls,
        _ => http1(octets),
    }
}

/// A token of capital letters, a space, and the beginning of a target.
fn http1(octets: &[u8]) -> Sniffed {
    let method = octets.iter().take_while(|octet| octet.is_ascii_uppercase() || **octet == b'-' || **octet == b'_').count();
    match octets.get(method) {
        _ if method > LONGEST_METHOD => Sniffed::Opaque,
        None => Sniffed::Unclear,
        Some(b' ') if method == 0 => Sniffed::Opaque,
        Some(b' ') => match octets.get(method + 1) {
            None => Sniffed::Unclear,
            // The preface of HTTP/2 without TLS has `PRI *`.
            Some(b'*') if octets.starts_with(b"PRI ") => Sniffed::Opaque,
            Some(b'/' | b'*' | b'h' | b'H') => Sniffed::Http1,
            Some(_) => Sniffed::Opaque,
        },
        Some(_) => Sniffed::Opaque,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_octets_are_told_apart() {
        let table: [(&[u8], Sniffed); 13] = [
            (b"", Sniffed::Unclear),
            (b"\x16", Sniffed::Unclear),
            (b"\x16\x03\x01\x02", Sniffed::Tls),
            (b"\x16\x02", Sniffed::Opaque),
            (b"GET / HTTP/1.1\r\n", Sniffed::Http1),
            (b"M-SEARCH * HTTP/1.1\r\n", Sniffed::Http1),
            (b"GE", Sniffed::Unclear),
            (b"GET ", Sniffed::Unclear),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Sniffed::Opaque),
            (b"SSH-2.0-OpenSSH\r\n", Sniffed::Opaque),
            (b"HELO me\r\n", Sniffed::Opaque),
            (b"\0\0", Sniffed::Opaque),
            (b"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJ", Sniffed::Opaque),
        ];
        for (octets, sniffed) in table {
            assert_eq!(sniff(octets), sniffed, "{}", octets.escape_ascii());
        }
    }
}
