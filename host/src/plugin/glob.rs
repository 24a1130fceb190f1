//! Patterns over a whole string: `*` stands for any run of characters, everything else for itself.
//!
//! Place: what rules are made of. Compiled once, matched without allocating.

/// Whether the case of letters counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Case {
    Counts,
    Ignored,
}

/// One pattern.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Glob {
    text: Box<[u8]>,
    case: Case,
}

impl Glob {
    pub(super) fn new(pattern: &str, case: Case) -> Self {
        Self { text: pattern.as_bytes().into(), case }
    }

    /// What goes before the first star, and what follows the last; without a star it is all the latter.
    pub(super) fn literal_ends(&self) -> (&[u8], &[u8]) {
        let is_star = |octet: &u8| *octet == b'*';
        match (self.text.iter().position(is_star), self.text.iter().rposition(is_star)) {
            (Some(first), Some(last)) => (&self.text[..first], &self.text[last + 1..]),
            _ => (&[], &self.text),
        }
    }

    /// Whether all of `subject` is covered.
    pub(super) fn matches(&self, subject: &[u8]) -> bool {
        let pattern = &*self.text;
        let (mut at, mut seen) = (0, 0);
        // Where to take up again when what follows the last star does not fit: one octet further on.
        let mut retry = None;
        while seen < subject.len() {
            match pattern.get(at) {
                Some(b'*') => {
                    at += 1;
                    retry = Some((at, seen));
                }
                Some(octet) if self.same(*octet, subject[seen]) => {
                    at += 1;
                    seen += 1;
                }
                _ => {
                    let Some((after_star, from)) = retry else { return false };
                    at = after_star;
                    seen = from + 1;
                    retry = Some((after_star, seen));
                }
            }
        }
        pattern[at..].iter().all(|octet| *octet == b'*')
    }

    fn same(&self, one: u8, other: u8) -> bool {
        match self.case {
            Case::Counts => one == other,
            Case::Ignored => one.eq_ignore_ascii_case(&other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_run() {
        let table: [(&str, &str, bool); 18] = [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "anything/at?all", true),
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "a", true),
            ("*.test", "a.b.test", true),
            ("*.test", "test", false),
            ("/v1/*/messages", "/v1/a/b/messages", true),
            ("/v1/*/messages", "/v1/messages", false),
            ("*ab*ab", "abab", true),
            ("*ab*ab", "ab", false),
            ("a**b", "ab", true),
            ("?", "x", false),
            ("[ab]{c}", "[ab]{c}", true),
            ("*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
            ("ü*", "üb", true),
        ];
        for (pattern, subject, expected) in table {
            assert_eq!(Glob::new(pattern, Case::Counts).matches(subject.as_bytes()), expected, "{pattern:?} on {subject:?}");
        }
    }

    #[test]
    fn case_counts_where_it_should() {
        assert!(Glob::new("*.Example.test", Case::Ignored).matches(b"API.example.TEST"));
        assert!(!Glob::new("/Path", Case::Counts).matches(b"/path"));
    }
}
