//! Octets that came off the wire, read as text; patterns as rules have them.

use std::borrow::Cow;

use crate::Header;

/// UTF-8, else Latin-1: what field values are in practice (RFC 9110 §5.5). Nothing is lost either way.
pub fn utf8_or_latin1(octets: &[u8]) -> Cow<'_, str> {
    match str::from_utf8(octets) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(octets.iter().copied().map(char::from).collect()),
    }
}

/// The first value of that name, in any case of letters.
pub fn first<'a>(headers: &'a [Header], name: &str) -> Option<&'a [u8]> {
    headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value.as_slice())
}

/// The host of an absolute URL, without port and brackets; empty where there is none.
pub fn host_of(url: &str) -> &str {
    let authority = url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = &authority[..authority.find(['/', '?', '#']).unwrap_or(authority.len())];
    match authority.strip_prefix('[') {
        Some(literal) => literal.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    }
}

/// Path with query of an absolute URL; empty where there is none.
pub fn path_of(url: &str) -> &str {
    let after = url.split_once("://").map_or("", |(_, rest)| rest);
    after.find(['/', '?', '#']).map_or("", |at| &after[at..])
}

/// Any text as one part of a record's path: what no file name should have is written `%2F`, as in URLs, so that two texts never meet. Longer than
/// 200 octets it is cut; empty, it is `-`.
///
/// ```
/// use flowgate_guest::text::file_name;
///
/// assert_eq!([file_name("ana"), file_name("../ana maría@b"), file_name("-"), file_name("")], ["ana", "%2E.%2Fana%20mar%C3%ADa@b", "%2D", "-"]);
/// ```
pub fn file_name(text: &str) -> String {
    if text.is_empty() {
        return "-".to_owned();
    }
    let mut name = String::new();
    for (at, octet) in text.bytes().enumerate() {
        let is_first = at == 0;
        match octet {
            // A part may not begin with a dot, and `-` alone is nobody.
            b'.' | b'-' if is_first => name.push_str(&format!("%{octet:02X}")),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'@' | b'+' => name.push(char::from(octet)),
            _ => name.push_str(&format!("%{octet:02X}")),
        }
        if name.len() >= LONGEST_NAME {
            name.truncate(LONGEST_NAME);
            break;
        }
    }
    name
}

/// Octets of a file's name: file systems take 255, and the host or the plugin may add to it.
const LONGEST_NAME: usize = 200;

/// Whether a glob matches the entire text, `*` standing for any run of characters: the rules' own reading, for what is decided in the
/// plugin.
pub fn glob(pattern: &str, text: &str) -> bool {
    glob_octets(pattern.as_bytes(), text.as_bytes(), |one, other| one == other)
}

/// The same in any case of (ASCII) letters, as hosts are compared.
pub fn glob_ignoring_case(pattern: &str, text: &str) -> bool {
    glob_octets(pattern.as_bytes(), text.as_bytes(), |one, other| one.eq_ignore_ascii_case(&other))
}

/// Greedy with one point to fall back to: after a later `*`, no earlier one needs to be tried again. Quadratic at worst.
fn glob_octets(pattern: &[u8], text: &[u8], equal: impl Fn(u8, u8) -> bool) -> bool {
    let (mut at, mut of) = (0, 0);
    let mut star = None;
    while of < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at + 1, of));
                at += 1;
            }
            Some(one) if equal(*one, text[of]) => (at, of) = (at + 1, of + 1),
            _ => match star {
                Some((after, taken)) => {
                    star = Some((after, taken + 1));
                    (at, of) = (after, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|rest| *rest == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_the_entire_text() {
        let table = [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a.test", "a.test", true),
            ("a.test", "ba.test", false),
            ("a.test", "a.test.b", false),
            ("*.a.test", "x.y.a.test", true),
            ("*.a.test", "a.test", false),
            ("*ab*ab*", "xabyabz", true),
            ("*ab*ab*", "xaby", false),
            ("a*b*c", "abbbcbc", true),
            ("a*b*c", "abbbcb", false),
            ("**", "anything", true),
            ("*/v1/messages?*", "/v1/messages?beta=true", true),
            ("A", "a", false),
        ];
        for (pattern, text, matches) in table {
            assert_eq!(glob(pattern, text), matches, "{pattern} on {text}");
        }
        assert!(glob_ignoring_case("*.Example.test", "A.eXAMPLE.TEST"));
    }

    #[test]
    fn a_url_is_taken_apart() {
        let table = [
            ("https://a.test/x?y", "a.test", "/x?y"),
            ("http://a.test:8080/", "a.test", "/"),
            ("https://[::1]:8443/x", "::1", "/x"),
            ("https://a.test", "a.test", ""),
            ("https://a.test?b=c://d/", "a.test", "?b=c://d/"),
            ("nonsense", "", ""),
        ];
        for (url, host, path) in table {
            assert_eq!((host_of(url), path_of(url)), (host, path), "{url}");
        }
    }

    #[test]
    fn octets_that_are_not_utf8_are_read_as_latin1() {
        assert_eq!(utf8_or_latin1("grüße".as_bytes()), "grüße");
        assert_eq!(utf8_or_latin1(b"gr\xfc\xdfe"), "grüße");
    }
}
