//! JSON as Python's `json.dumps(indent=4, ensure_ascii=False)` prints it, written without a tree in between.
//!
//! Place: `record` says what to write into a vector, and of much content to [`Count`] before, so that the vector is of just that size.
//! Source: RFC 8259 §7; which characters are escaped, and how, is Python's choice.

/// Where text goes.
pub(crate) trait Sink {
    /// Octets as they are.
    fn put(&mut self, octets: &[u8]);

    /// Octets of text as they stand inside a JSON string.
    fn put_escaped(&mut self, octets: &[u8]);
}

impl Sink for Vec<u8> {
    fn put(&mut self, octets: &[u8]) {
        self.extend_from_slice(octets);
    }

    /// Eight at a time, as far as none of them is special. Runs are short in what is JSON itself: to look for their ends and copy each would take
    /// longer.
    fn put_escaped(&mut self, octets: &[u8]) {
        let mut rest = octets;
        while let Some((chunk, behind)) = rest.split_first_chunk::<8>() {
            let len = self.len();
            self.extend_from_slice(chunk);
            rest = match first_special(*chunk) {
                None => behind,
                Some(at) => {
                    self.truncate(len + at);
                    put_special(self, rest[at]);
                    &rest[at + 1..]
                }
            };
        }
        for octet in rest {
            match escaped_len(*octet) {
                1 => self.push(*octet),
                _ => put_special(self, *octet),
            }
        }
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
        self.0 += words.iter().map(|word| if first_special(*word).is_none() { 8 } else { escaped(word) }).sum::<usize>() + escaped(rest);
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
        if !self.is_empty {
            self.sink.put(b",");
        }
        self.is_empty = false;
        self.line(self.depth);
        string(self.sink, name);
        self.sink.put(b": ");
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

/// One octet that has to be escaped.
fn put_special(sink: &mut Vec<u8>, octet: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match octet {
        b'"' | b'\\' => octet,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => return sink.put(&[b'\\', b'u', b'0', b'0', HEX[usize::from(octet >> 4)], HEX[usize::from(octet & 15)]]),
    };
    sink.put(&[b'\\', short]);
}

/// Octets that one takes at most.
const LONGEST: usize = 6;

/// Octets that this one takes in a JSON string.
fn escaped_len(octet: u8) -> usize {
    const LENGTHS: [u8; 256] = {
        let mut lengths = [1; 256];
        let mut octet = 0;
        while octet < 0x20 {
            lengths[octet] = LONGEST as u8;
            octet += 1;
        }
        let short = b"\"\\\n\r\t\x08\x0c";
        let mut at = 0;
        while at < short.len() {
            lengths[short[at] as usize] = 2;
            at += 1;
        }
        lengths
    };
    usize::from(LENGTHS[usize::from(octet)])
}

/// The first of eight octets that has to be escaped: a control character, `"` or `\`.
///
/// In each of the three terms an octet's top bit says yes; it may say so wrongly only above an octet that says so rightly.
fn first_special(octets: [u8; 8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const TOPS: u64 = ONES << 7;
    let word = u64::from_le_bytes(octets);
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
        let mut out = Vec::new();
        string(&mut out, text);
        String::from_utf8(out).expect("text stays text")
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
            for place in 0..17 {
                let mut octets = vec![b'x'; 17];
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
    fn objects_are_indented_and_empty_ones_closed_at_once() {
        let mut out = Vec::new();
        Object::write(&mut out, |object| {
            object.string_or_null("a", None);
            object.object("b", |_| {});
            object.object("c", |c| c.literal("d", "1"));
        });

        assert_eq!(str::from_utf8(&out), Ok("{\n    \"a\": null,\n    \"b\": {},\n    \"c\": {\n        \"d\": 1\n    }\n}"));
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
