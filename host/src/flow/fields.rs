//! A field section, as it came: spelling, order, repeats and the very octets of each line kept.
//!
//! Place: in both heads and in trailers. An `http::HeaderMap` would lower-case names and group repeats, which an origin could tell.
//! Source: RFC 9110 §5, RFC 9112 §5.

use bytes::{BufMut, Bytes, BytesMut};
use time::{format_description::BorrowedFormatItem, macros::format_description};

/// How moments are written in fields (RFC 9110 §5.6.7).
pub const HTTP_DATE: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

/// One field line. Cheap to clone: a handle into the head it was parsed from.
#[derive(Clone, Debug)]
pub struct Field {
    /// `Name: value` as sent, without the line's end.
    line: Bytes,
    name_len: u32,
    value_at: u32,
    value_len: u32,
}

impl Field {
    /// A line of our own making. `name` must be a token and `value` free of CR, LF and NUL; see [`is_token`] and [`is_field_value`].
    pub fn new(name: &[u8], value: &[u8]) -> Self {
        let mut line = BytesMut::with_capacity(name.len() + 2 + value.len());
        line.put_slice(name);
        line.put_slice(b": ");
        line.put_slice(value);
        Self::parsed(line.freeze(), name.len(), name.len() + 2, value.len())
    }

    /// A line as it was read: `line[..name_len]` is the name, `line[value_at..][..value_len]` the value without white space around it.
    pub fn parsed(line: Bytes, name_len: usize, value_at: usize, value_len: usize) -> Self {
        debug_assert!(name_len <= line.len() && value_at + value_len <= line.len());
        // Heads are far smaller than 4 GiB (`config::limits`).
        Self { line, name_len: name_len as u32, value_at: value_at as u32, value_len: value_len as u32 }
    }

    /// A token (RFC 9110 §5.1) as spelled by the sender; lower case in HTTP/2.
    pub fn name(&self) -> &[u8] {
        &self.line[..self.name_len as usize]
    }

    /// Octets without surrounding white space; never CR, LF or NUL.
    pub fn value(&self) -> &[u8] {
        &self.line[self.value_at as usize..][..self.value_len as usize]
    }

    /// The line as sent, without its end.
    pub fn line(&self) -> &[u8] {
        &self.line
    }

    /// Names are compared without case (RFC 9110 §5.1).
    #[inline]
    pub fn is(&self, name: &str) -> bool {
        self.name().eq_ignore_ascii_case(name.as_bytes())
    }

    /// For guests and diagnostics; names are ASCII by construction.
    pub fn name_str(&self) -> &str {
        std::str::from_utf8(self.name()).unwrap_or_default()
    }

    /// The same value under the same spelling of the name.
    fn revalued(&self, value: &[u8]) -> Self {
        Self::new(self.name(), value)
    }
}

/// Equal by name (as spelled) and value; white space around the value does not count.
impl PartialEq for Field {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name() && self.value() == other.value()
    }
}

impl Eq for Field {}

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
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|field| field.is(name)).map(Field::value)
    }

    /// Every value of that name, in wire order.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter(move |field| field.is(name)).map(Field::value)
    }

    /// Whether there is a line of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|field| field.is(name))
    }

    /// The members of a list-valued field (RFC 9110 §5.6.1), over all its lines, empty ones left out.
    pub fn members<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.get_all(name).flat_map(|value| value.split(|octet| *octet == b',')).map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
    }

    /// Whether a list-valued field has that member, in any case of letters.
    pub fn lists(&self, name: &str, member: &str) -> bool {
        self.members(name).any(|item| item.eq_ignore_ascii_case(member.as_bytes()))
    }

    /// The same in one buffer of their own: lines are handles to what they were read into, which may hold much more.
    pub fn detached(&self) -> Self {
        let mut all = BytesMut::with_capacity(self.0.iter().map(|field| field.line.len()).sum());
        self.0.iter().for_each(|field| all.put_slice(&field.line));
        let mut all = all.freeze();
        self.0.iter().map(|field| Field { line: all.split_to(field.line.len()), ..field.clone() }).collect()
    }

    /// Appends a line as it was read.
    pub fn append(&mut self, field: Field) {
        self.0.push(field);
    }

    /// Appends a line of our own making; see [`Field::new`] for what it must not hold.
    pub fn push(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.0.push(Field::new(name.as_ref(), value.as_ref()));
    }

    /// One line of that name remains, in the place (and spelling) of the first; appended where there was none.
    pub fn set(&mut self, name: &str, value: impl AsRef<[u8]>) {
        let Some(first) = self.0.iter().position(|field| field.is(name)) else {
            return self.push(name, value);
        };
        self.0[first] = self.0[first].revalued(value.as_ref());
        let mut at = 0;
        self.0.retain(|field| {
            at += 1;
            at - 1 <= first || !field.is(name)
        });
    }

    /// Takes every line of that name out; the others keep their order. Whether there was one.
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

/// `token` (RFC 9110 §5.6.2): what methods and field names are made of.
pub fn is_token(octets: &[u8]) -> bool {
    !octets.is_empty() && octets.iter().all(|octet| octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(octet))
}

/// `field-value` (RFC 9110 §5.5): no control characters but HTAB; anything above ASCII is let through as it is.
pub fn is_field_value(octets: &[u8]) -> bool {
    // Values are nearly always good: to look at many octets at a time is quicker than to stop at the first bad one.
    octets.iter().fold(0_u8, |bad, octet| bad | u8::from((*octet != b'\t') & ((*octet < 0x20) | (*octet == 0x7f)))) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&str, &str)]) -> Fields {
        lines.iter().map(|(name, value)| Field::new(name.as_bytes(), value.as_bytes())).collect()
    }

    #[test]
    fn setting_keeps_place_and_spelling() {
        let mut some = fields(&[("A", "1"), ("X-B", "2"), ("C", "3"), ("x-b", "4")]);

        some.set("x-b", "5");

        assert_eq!(some, fields(&[("A", "1"), ("X-B", "5"), ("C", "3")]));
    }

    #[test]
    fn detached_they_are_the_same() {
        let some = fields(&[("A", "1"), ("X-B", ""), ("a", "3")]);

        let detached = some.detached();

        assert_eq!(detached, some);
        assert!(detached.iter().zip(&some).all(|(one, other)| one.line() == other.line() && one.line().as_ptr() != other.line().as_ptr()));
    }

    #[test]
    fn lists_are_searched_by_member() {
        let some = fields(&[("Connection", "keep-alive, Upgrade"), ("connection", "TE")]);

        assert!(some.lists("connection", "upgrade") && some.lists("connection", "te") && !some.lists("connection", "grade"));
    }

    #[test]
    fn what_would_split_a_message_is_no_field() {
        assert!(is_token(b"x-a_b") && !is_token(b"") && !is_token(b"a b") && !is_token(b"a:") && !is_token("é".as_bytes()));
        assert!(is_field_value("a\tb é".as_bytes()) && !is_field_value(b"a\r\nb") && !is_field_value(b"\0") && !is_field_value(b"\x7f"));
    }
}
