//! JSON as Python's `json.dumps(indent=4, ensure_ascii=False)` prints it, written without a tree in between.
//!
//! Place: `record` says what to write into a [`Buffer`], and of much content to [`Count`] before, so that the buffer is of just that size.
//! Source: RFC 8259 §7; which characters are escaped, and how, is Python's choice.

/// Where text goes.
pub(crate) trait Sink {
    /// Octets as they are.
    fn put(&mut self, octets: &[u8]);

    /// Octets of text as they stand inside a JSON string.
    fn put_escaped(&mut self, octets: &[u8]);
}

/// Text that is written over room made before. A vector to which each piece is added asks for each whether it has to grow.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    room: Vec<u8>,
    len: usize,
}

impl Buffer {
    /// For so many octets; it grows if there are more.
    pub(crate) fn with_room(octets: usize) -> Self {
        Self { room: vec![0; octets + SLACK], len: 0 }
    }

    /// What was written.
    pub(crate) fn into_octets(mut self) -> Vec<u8> {
        self.room.truncate(self.len);
        self.room
    }

    /// So many octets at least behind what was written.
    #[inline]
    fn free(&mut self, octets: usize) -> &mut [u8] {
        if self.room.len() - self.len < octets {
            self.room.resize((self.len + octets).max(2 * self.room.len()), 0);
        }
        &mut self.room[self.len..]
    }
}

impl Sink for Buffer {
    #[inline]
    fn put(&mut self, octets: &[u8]) {
        self.free(octets.len())[..octets.len()].copy_from_slice(octets);
        self.len += octets.len();
    }

    fn put_escaped(&mut self, octets: &[u8]) {
        for block in octets.chunks(BLOCK) {
            self.len += escape(block, self.free(LONGEST * block.len() + AHEAD));
        }
    }
}

/// Octets of text that are escaped in one go, for which there is room whatever they are.
const BLOCK: usize = 1024;
/// What that takes at most.
const SLACK: usize = LONGEST * BLOCK + AHEAD;
/// Octets that are looked at at once.
const WORD: usize = 8;
/// Room for what comes of one word, and of all that is written over again.
const AHEAD: usize = 16;

/// Writes `octets` to the beginning of `out`, which is six times as long and [`AHEAD`] longer, as they stand inside a JSON string. Says how many it
/// has written.
fn escape(octets: &[u8], out: &mut [u8]) -> usize {
    let (mut from, mut to) = (0, 0);
    while let Some(word) = octets.get(from..).and_then(|rest| rest.first_chunk::<WORD>())
        && let Some(room) = out.get_mut(to..).and_then(|rest| rest.first_chunk_mut::<AHEAD>())
    {
        let (read, written) = put_word(u64::from_le_bytes(*word), WORD, room);
        (from, to) = (from + read, to + written);
    }
    let mut rest = octets.len() - from;
    let mut word = last(octets, rest);
    while rest > 0
        && let Some(room) = out.get_mut(to..).and_then(|rest| rest.first_chunk_mut::<AHEAD>())
    {
        let (read, written) = put_word(word, rest, room);
        (rest, to) = (rest - read, to + written);
        // What is left is less than a word.
        word = word.checked_shr(8 * read as u32).unwrap_or_default();
    }
    to
}

/// Writes the lowest `len` octets of a word as far as the first of them that has to be escaped, and that one. Says how many it has read and
/// written.
#[inline]
fn put_word(word: u64, len: usize, out: &mut [u8; AHEAD]) -> (usize, usize) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    // What stands behind the first special octet is written over.
    out[..WORD].copy_from_slice(&word.to_le_bytes());
    let at = match first_special(word) {
        Some(at) if at < len => at,
        _ => return (len, len),
    };
    let octet = (word >> (8 * at)) as u8;
    out[at] = b'\\';
    match SHORT[usize::from(octet)] {
        0 => {
            out[at + 1..at + LONGEST].copy_from_slice(&[b'u', b'0', b'0', HEX[usize::from(octet >> 4)], HEX[usize::from(octet & 15)]]);
            (at + 1, at + LONGEST)
        }
        short => {
            out[at + 1] = short;
            (at + 1, at + 2)
        }
    }
}

/// What stands behind the backslash for an octet that has a short escape; 0 for all others.
const SHORT: [u8; 256] = {
    let mut short = [0; 256];
    let pairs = [(b'"', b'"'), (b'\\', b'\\'), (b'\n', b'n'), (b'\r', b'r'), (b'\t', b't'), (0x08, b'b'), (0x0c, b'f')];
    let mut at = 0;
    while at < pairs.len() {
        short[pairs[at].0 as usize] = pairs[at].1;
        at += 1;
    }
    short
};

/// The last `rest` octets, fewer than a word, in a word's lowest.
fn last(octets: &[u8], rest: usize) -> u64 {
    match octets.last_chunk::<WORD>() {
        Some(word) if rest > 0 => u64::from_le_bytes(*word) >> (8 * (WORD - rest)),
        _ => octets.iter().rev().take(rest).fold(0, |word, octet| word << 8 | u64::from(*octet)),
    }
}

/// Counts the octets only.
#[derive(Debug, Default)]
pub(crate) struct Count(pub usize);

impl Sink for Count {
    fn put(&mut self, octets: &[u8]) {
        self.0 += octets.len();
    }

    fn put_escaped(&mut self, octets: &[u8]) {
        let (words, rest) = octets.as_chunks::<8>();
        let escaped = |octets: &[u8]| octets.iter().map(|octet| escaped_len(*octet)).sum::<usize>();
        self.0 +=
            words.iter().map(|word| if first_special(u64::from_le_bytes(*word)).is_none() { 8 } else { escaped(word) }).sum::<usize>()
                + escaped(rest);
    }
}

/// An object whose members are written as they are named.
pub(crate) struct Object<'s, S> {
    sink: &'s mut S,
    depth: usize,
    is_empty: bool,
}

impl<S: Sink> Object<'_, S> {
    /// The outermost one.
    pub(crate) fn write(sink: &mut S, members: impl FnOnce(&mut Object<'_, S>)) {
        Self::nested(sink, 1, members);
    }

    fn nested(sink: &mut S, depth: usize, members: impl FnOnce(&mut Object<'_, S>)) {
        sink.put(b"{");
        let mut object = Object { sink, depth, is_empty: true };
        members(&mut object);
        if !object.is_empty {
            object.line(depth - 1);
        }
        object.sink.put(b"}");
    }

    /// A member that is a string.
    pub(crate) fn string(&mut self, name: &str, value: &str) {
        self.name(name);
        string(self.sink, value);
    }

    /// A member that is a string or null.
    pub(crate) fn string_or_null(&mut self, name: &str, value: Option<&str>) {
        match value {
            Some(value) => self.string(name, value),
            None => self.literal(name, "null"),
        }
    }

    /// A member that is a number, `true`, `false` or `null`, as written.
    pub(crate) fn literal(&mut self, name: &str, value: &str) {
        self.name(name);
        self.sink.put(value.as_bytes());
    }

    /// A member that is an object.
    pub(crate) fn object(&mut self, name: &str, members: impl FnOnce(&mut Object<'_, S>)) {
        self.name(name);
        Self::nested(self.sink, self.depth + 1, members);
    }

    fn name(&mut self, name: &str) {
        match (self.is_empty, self.depth) {
            (false, 1) => self.sink.put(b",\n    \""),
            (false, 2) => self.sink.put(b",\n        \""),
            (false, 3) => self.sink.put(b",\n            \""),
            (is_empty, depth) => {
                if !is_empty {
                    self.sink.put(b",");
                }
                self.line(depth);
                self.sink.put(b"\"");
            }
        }
        self.is_empty = false;
        self.sink.put_escaped(name.as_bytes());
        self.sink.put(b"\": ");
    }

    fn line(&mut self, depth: usize) {
        self.sink.put(b"\n");
        for _ in 0..depth {
            self.sink.put(b"    ");
        }
    }
}

fn string(sink: &mut impl Sink, text: &str) {
    sink.put(b"\"");
    sink.put_escaped(text.as_bytes());
    sink.put(b"\"");
}

/// The longest beginning of `text` that takes at most `max` octets as (the inside of) a JSON string.
pub(crate) fn fitting(text: &str, max: usize) -> &str {
    if text.len() <= max / LONGEST {
        return text;
    }
    let mut left = max;
    for (at, octet) in text.bytes().enumerate() {
        match left.checked_sub(escaped_len(octet)) {
            Some(less) => left = less,
            None => return &text[..text.floor_char_boundary(at)],
        }
    }
    text
}

/// Octets that one takes at most.
const LONGEST: usize = 6;

/// Octets that this one takes in a JSON string.
fn escaped_len(octet: u8) -> usize {
    const LENGTHS: [u8; 256] = {
        let mut lengths = [1; 256];
        let mut octet = 0;
        while octet < 256 {
            if SHORT[octet] != 0 {
                lengths[octet] = 2;
            } else if octet < 0x20 {
                lengths[octet] = LONGEST as u8;
            }
            octet += 1;
        }
        lengths
    };
    usize::from(LENGTHS[usize::from(octet)])
}

/// The first of a word's octets, from the lowest, that has to be escaped: a control character, `"` or `\`.
///
/// In each of the three terms an octet's top bit says yes; it may say so wrongly only above an octet that says so rightly.
fn first_special(word: u64) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const TOPS: u64 = ONES << 7;
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let found =
        (word.wrapping_sub(ONES * 0x20) & !word) | (quote.wrapping_sub(ONES) & !quote) | (backslash.wrapping_sub(ONES) & !backslash);
    let found = found & TOPS;
    (found != 0).then(|| found.trailing_zeros() as usize / 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        let mut out = Buffer::default();
        string(&mut out, text);
        String::from_utf8(out.into_octets()).expect("text stays text")
    }

    #[test]
    fn strings_are_escaped_as_python_escapes_them() {
        let table = [
            ("", r#""""#),
            ("plain", r#""plain""#),
            ("\" \\ / \n \r \t \u{8} \u{c}", r#""\" \\ / \n \r \t \b \f""#),
            ("\0 \u{b} \u{1f}", r#""\u0000 \u000b \u001f""#),
            ("\u{7f} é \u{2028} 🚀 <&>", "\"\u{7f} é \u{2028} 🚀 <&>\""),
        ];
        for (text, json) in table {
            assert_eq!(written(text), json);
        }
    }

    #[test]
    fn every_octet_in_every_place_of_a_word_is_seen() {
        for octet in 0..=0x7f_u8 {
            for (place, len) in (0..17).flat_map(|place| (place + 1..=17).map(move |len| (place, len))) {
                let mut octets = vec![b'x'; len];
                octets[place] = octet;
                let text = String::from_utf8(octets).expect("ASCII");

                assert_eq!(serde_json::from_str::<String>(&written(&text)).expect("JSON"), text, "{octet:#x} at {place}");
                let mut count = Count::default();
                string(&mut count, &text);
                assert_eq!(count.0, written(&text).len(), "{octet:#x} at {place}");
            }
        }
    }

    #[test]
    fn blocks_and_what_is_left_of_them_are_escaped_alike() {
        for len in [0, 1, 7, 8, 9, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5] {
            for (place, pattern) in ["\u{1}", "\"x", "ab\\cdefgh", "é🚀\n", "0123456789"].iter().enumerate() {
                let text: String = pattern.chars().cycle().take(len).collect();

                assert_eq!(serde_json::from_str::<String>(&written(&text)).expect("JSON"), text, "{len} of {place}");
            }
        }
    }

    #[test]
    fn objects_are_indented_and_empty_ones_closed_at_once() {
        let mut out = Buffer::default();
        Object::write(&mut out, |object| {
            object.string_or_null("a", None);
            object.object("b", |_| {});
            object.object("c", |c| c.literal("d", "1"));
        });

        assert_eq!(
            String::from_utf8(out.into_octets()).as_deref(),
            Ok("{\n    \"a\": null,\n    \"b\": {},\n    \"c\": {\n        \"d\": 1\n    }\n}")
        );
    }

    #[test]
    fn text_is_cut_by_what_it_takes_when_written() {
        let table =
            [("abc", 3, "abc"), ("abc", 2, "ab"), ("a\0b", 6, "a"), ("a\0b", 7, "a\0"), ("é", 1, ""), ("xé", 2, "x"), ("\n\n", 3, "\n")];
        for (text, max, fits) in table {
            assert_eq!(fitting(text, max), fits, "{text:?} in {max}");
        }
    }
}
