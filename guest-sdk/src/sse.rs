//! Server-sent events (WHATWG HTML §9.2), as chunks of a rule with [`Framing::SseEvents`](crate::Framing::SseEvents) are: read, change, write.
//!
//! ```
//! use flowgate_guest::sse::Event;
//!
//! let mut event = Event::parse(b"event: delta\r\ndata: colour\r\n\r\n");
//! event.data = event.data.map(|data| data.replace("colour", "color"));
//! assert_eq!(event.to_bytes(), b"event: delta\ndata: color\n\n");
//! ```

/// One event. Fields it does not have are `None`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Event {
    /// Its type; `message` is meant where there is none.
    pub event: Option<String>,
    /// All its data, lines joined by `\n`.
    pub data: Option<String>,
    /// The last one, as received.
    pub id: Option<String>,
    /// Milliseconds until a client reconnects.
    pub retry: Option<u64>,
    /// Comments, without their colon: what keeps connections alive is nothing else.
    pub comments: Vec<String>,
}

impl Event {
    /// An event of that data.
    pub fn of(data: &str) -> Self {
        Self { data: Some(data.to_owned()), ..Self::default() }
    }

    /// Reads one event, with or without the empty line that ends it. What is not UTF-8 is replaced, fields that are unknown are ignored, as
    /// every reader of events does.
    pub fn parse(chunk: &[u8]) -> Self {
        let text = String::from_utf8_lossy(chunk);
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text).replace("\r\n", "\n");
        let mut event = Self::default();
        for line in text.split(['\n', '\r']).filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "" => event.comments.push(value.to_owned()),
                "event" => event.event = Some(value.to_owned()),
                "id" if !value.contains('\0') => event.id = Some(value.to_owned()),
                "retry" if value.bytes().all(|octet| octet.is_ascii_digit()) => event.retry = value.parse().ok().or(event.retry),
                "data" => match &mut event.data {
                    Some(data) => {
                        data.push('\n');
                        data.push_str(value);
                    }
                    None => event.data = Some(value.to_owned()),
                },
                _ => {}
            }
        }
        event
    }

    /// Writes it, with the empty line that ends it. Line ends inside a value are taken for what they would be: the end of a line.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = String::new();
        let mut put = |name: &str, value: &str| {
            for line in value.replace("\r\n", "\n").split(['\n', '\r']) {
                text.push_str(&format!("{name}: {line}\n"));
            }
        };
        self.comments.iter().for_each(|comment| put("", comment));
        self.event.iter().for_each(|event| put("event", event));
        self.id.iter().for_each(|id| put("id", id));
        self.retry.iter().for_each(|retry| put("retry", &retry.to_string()));
        self.data.iter().for_each(|data| put("data", data));
        text.push('\n');
        text.into_bytes()
    }
}

/// The events of a whole body, as an observer has it. What is left at the end without an empty line is one, too: a body that was cut short, or
/// an origin that forgot it.
///
/// ```
/// let body = b": hello\n\ndata: one\n\ndata: two";
///
/// assert!(flowgate_guest::sse::events(body).filter_map(|event| event.data).eq(["one", "two"]));
/// ```
pub fn events(body: &[u8]) -> impl Iterator<Item = Event> {
    let mut rest = body;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let (event, after) = cut(rest);
            rest = after;
            if !event.is_empty() {
                return Some(Event::parse(event));
            }
        }
        None
    })
}

/// What is before the first empty line, and what is behind it.
fn cut(octets: &[u8]) -> (&[u8], &[u8]) {
    let mut at = 0;
    while let Some(length) = octets[at..].iter().position(|octet| matches!(octet, b'\n' | b'\r')) {
        let end = at + length;
        let next = end + if octets[end..].starts_with(b"\r\n") { 2 } else { 1 };
        if length == 0 {
            return (&octets[..at], &octets[next..]);
        }
        at = next;
    }
    (octets, &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_cut_where_lines_are_empty() {
        for end in ["\n", "\r\n", "\r"] {
            let lines = ["", "data: one", "", "", "event: x", "data: two", "data: 2", "", "data: three"];
            let body: String = lines.iter().map(|line| format!("{line}{end}")).collect();

            let found: Vec<_> = events(body.as_bytes()).map(|event| event.data.unwrap()).collect();

            assert_eq!(found, ["one", "two\n2", "three"], "{end:?}");
        }
        assert_eq!(events(b"").count() + events(b"\n\n\r\n").count(), 0);
    }

    #[test]
    fn an_event_is_read_as_readers_of_events_do() {
        let whole = Event {
            event: Some("delta".into()),
            data: Some("one\n two\n".into()),
            id: Some("7".into()),
            retry: Some(100),
            comments: vec!["note".into()],
        };
        for end in ["\n", "\r\n", "\r"] {
            let lines = [": note", "event:delta", "data: one", "data:  two", "data", "id: 7", "retry: 100", "retry: soon", "other: x", ""];
            let chunk: String = lines.iter().map(|line| format!("{line}{end}")).collect();
            assert_eq!(Event::parse(chunk.as_bytes()), whole, "{end:?}");
        }
        assert_eq!(Event::parse(&whole.to_bytes()), whole);
        assert_eq!(Event::parse("\u{feff}data: x".as_bytes()), Event::of("x"));
        assert_eq!(Event::parse(b"data: \xff").data.as_deref(), Some("\u{fffd}"));
    }

    #[test]
    fn no_value_can_end_the_event() {
        let event = Event::of("a\n\nevent: forged\r\rdata: b");

        assert_eq!(event.to_bytes(), b"data: a\ndata: \ndata: event: forged\ndata: \ndata: data: b\n\n");
    }
}
