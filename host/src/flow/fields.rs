//! A field section, as it came: spelling, order and repeats kept.
//!
//! Place: in both heads and in trailers. An `http::HeaderMap` would lower-case names and group repeats, which an origin could tell.
//! Source: RFC 9110 §5.

use bytes::Bytes;

/// One field line. Cheap to clone: both halves are handles into the head they were parsed from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Field {
    /// A token (RFC 9110 §5.1) as spelled by the sender; lower case in HTTP/2.
    pub name: Bytes,
    /// Octets without surrounding white space; never CR, LF or NUL.
    pub value: Bytes,
}

/// Field lines in wire order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Fields(Vec<Field>);

impl Fields {
    /// No fields, room for `capacity`.
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    /// In wire order.
    pub fn iter(&self) -> std::slice::Iter<'_, Field> {
        self.0.iter()
    }

    /// How many lines.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// No lines at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first value of that name, in any case of letters.
    pub fn get(&self, name: &str) -> Option<&Bytes> {
        self.get_all(name).next()
    }

    /// Every value of that name, in wire order.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Bytes> {
        self.0.iter().filter(move |field| field.is(name)).map(|field| &field.value)
    }

    /// Whether there is a line of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|field| field.is(name))
    }

    /// Whether a list-valued field (RFC 9110 §5.6.1) has that member, in any case of letters.
    pub fn lists(&self, name: &str, member: &str) -> bool {
        self.get_all(name)
            .flat_map(|value| value.split(|octet| *octet == b','))
            .any(|item| item.trim_ascii().eq_ignore_ascii_case(member.as_bytes()))
    }

    /// Appends a line.
    pub fn push(&mut self, name: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.0.push(Field { name: name.into(), value: value.into() });
    }

    /// One line of that name remains, in the place (and spelling) of the first; appended where there was none.
    pub fn set(&mut self, name: &str, value: impl Into<Bytes>) {
        let value = value.into();
        let Some(first) = self.0.iter().position(|field| field.is(name)) else {
            return self.push(Bytes::copy_from_slice(name.as_bytes()), value);
        };
        self.0[first].value = value;
        let mut at = 0;
        self.0.retain(|field| {
            at += 1;
            at - 1 <= first || !field.is(name)
        });
    }

    /// Takes every line of that name out; the others keep their order.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|field| !field.is(name));
        self.0.len() < before
    }

    /// Keeps the lines the predicate holds for, in order.
    pub fn retain(&mut self, keep: impl FnMut(&Field) -> bool) {
        self.0.retain(keep);
    }
}

impl Field {
    /// Names are compared without case (RFC 9110 §5.1).
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// For guests and diagnostics; names are ASCII by construction.
    pub fn name_str(&self) -> &str {
        std::str::from_utf8(&self.name).unwrap_or_default()
    }
}

impl<'a> IntoIterator for &'a Fields {
    type Item = &'a Field;
    type IntoIter = std::slice::Iter<'a, Field>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl FromIterator<Field> for Fields {
    fn from_iter<I: IntoIterator<Item = Field>>(lines: I) -> Self {
        Self(lines.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&'static str, &'static str)]) -> Fields {
        lines.iter().map(|(name, value)| Field { name: Bytes::from(*name), value: Bytes::from(*value) }).collect()
    }

    #[test]
    fn setting_keeps_place_and_spelling() {
        let mut some = fields(&[("A", "1"), ("X-B", "2"), ("C", "3"), ("x-b", "4")]);

        some.set("x-b", "5");

        assert_eq!(some, fields(&[("A", "1"), ("X-B", "5"), ("C", "3")]));
    }

    #[test]
    fn lists_are_searched_by_member() {
        let some = fields(&[("Connection", "keep-alive, Upgrade"), ("connection", "TE")]);

        assert!(some.lists("connection", "upgrade") && some.lists("connection", "te") && !some.lists("connection", "grade"));
    }
}
