//! Server-sent events: their data are texts of their own, on one line or on several.
//!
//! Place: part of `redaction`. Leaves everything as it came but the data that is blanked.
//! Source: the HTML standard, "Server-sent events", for lines.

use std::borrow::Cow;

/// One line, and what ends it: nothing where the text breaks off.
#[derive(Clone, Copy)]
struct Line<'a> {
    text: &'a [u8],
    end: &'a [u8],
}

impl<'a> Line<'a> {
    /// What it adds to its event's data.
    fn data(self) -> Option<&'a [u8]> {
        let data = match self.text.strip_prefix(b"data")? {
            [] => &[],
            rest => rest.strip_prefix(b":")?,
        };
        Some(data.strip_prefix(b" ").unwrap_or(data))
    }

    /// What stands before its data.
    fn name(self, data: &[u8]) -> &'a [u8] {
        if self.text == b"data" { b"data:" } else { &self.text[..self.text.len() - data.len()] }
    }
}

/// The events with their data as `blanked` has it, which returns what it is given where nothing is to be blanked.
pub(super) fn blank<'a>(text: &'a [u8], blanked: impl Fn(&[u8]) -> Cow<'_, [u8]>) -> Cow<'a, [u8]> {
    let (mut out, mut changed) = (Vec::with_capacity(text.len()), false);
    let mut rest = text;
    while !rest.is_empty() {
        let event = event(&mut rest);
        let data: Vec<&[u8]> = event.iter().filter_map(|line| line.data()).collect();
        let data = match data[..] {
            [only] => Cow::Borrowed(only),
            _ => Cow::Owned(data.join(&b'\n')),
        };
        let shown = blanked(&data);
        let is_new = matches!(shown, Cow::Owned(_));
        changed |= is_new;
        write(&mut out, &event, is_new.then_some(&shown));
    }
    if changed { Cow::Owned(out) } else { Cow::Borrowed(text) }
}

/// Writes the lines of an event, `data` in the place of the first that has some.
fn write(out: &mut Vec<u8>, event: &[Line<'_>], data: Option<&[u8]>) {
    let mut data = data;
    let is_new = data.is_some();
    for line in event {
        match line.data().filter(|_| is_new) {
            None => out.extend([line.text, line.end].concat()),
            Some(old) => {
                let Some(data) = data.take() else { continue };
                let between = if line.end.is_empty() { b"\n" } else { line.end };
                let lines: Vec<_> = data.split(|octet| *octet == b'\n').map(|one| [line.name(old), one].concat()).collect();
                out.extend(lines.join(between));
                out.extend_from_slice(line.end);
            }
        }
    }
}

/// Takes the lines of one event off a text, the empty one that ends it included.
fn event<'a>(rest: &mut &'a [u8]) -> Vec<Line<'a>> {
    let mut event = Vec::new();
    while !rest.is_empty() {
        let line = line(rest);
        event.push(line);
        if line.text.is_empty() {
            break;
        }
    }
    event
}

fn line<'a>(rest: &mut &'a [u8]) -> Line<'a> {
    let end = rest.iter().position(|octet| matches!(octet, b'\n' | b'\r')).unwrap_or(rest.len());
    let (text, after) = rest.split_at(end);
    let (end, after) = after.split_at(if after.starts_with(b"\r\n") { 2 } else { after.len().min(1) });
    *rest = after;
    Line { text, end }
}
