//! What the two ends agreed on beside RFC 6455.
//!
//! Place: read once from the 101's fields; says how `decode` and `encode` are set up.
//! Source: RFC 6455 §9.1, RFC 7692 §7.

use crate::flow::{Direction, Fields};

/// The extensions of one connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Extensions {
    /// `permessage-deflate`, if anything.
    Known(Option<Deflate>),
    /// Some that give frames a meaning which is not known here.
    Unknown,
}

/// `permessage-deflate` as it was agreed on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Deflate {
    client: Side,
    server: Side,
}

/// How one side compresses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Side {
    /// Every message stands for itself (RFC 7692 §7.1.1).
    pub(super) forgets: bool,
    /// Bits of its window (RFC 7692 §7.1.2).
    pub(super) window_bits: u8,
}

/// Unless agreed otherwise.
const USUAL: Side = Side { forgets: false, window_bits: 15 };

impl Extensions {
    /// From the fields of the 101.
    pub(super) fn of(response: &Fields) -> Self {
        let mut agreed = None;
        for value in response.get_all("sec-websocket-extensions") {
            let Ok(value) = str::from_utf8(value) else { return Self::Unknown };
            for extension in value.split(',').map(str::trim).filter(|extension| !extension.is_empty()) {
                match Deflate::parse(extension) {
                    Some(deflate) if agreed.is_none() => agreed = Some(deflate),
                    _ => return Self::Unknown,
                }
            }
        }
        Self::Known(agreed)
    }
}

impl Deflate {
    /// How who sends in that direction compresses.
    pub(super) fn of(self, direction: Direction) -> Side {
        match direction {
            Direction::Request => self.client,
            Direction::Response => self.server,
        }
    }

    fn parse(extension: &str) -> Option<Self> {
        let mut parts = extension.split(';').map(str::trim);
        if !parts.next()?.eq_ignore_ascii_case("permessage-deflate") {
            return None;
        }
        let mut deflate = Self { client: USUAL, server: USUAL };
        for part in parts {
            let (name, value) = part.split_once('=').map_or((part, None), |(name, value)| (name.trim_end(), Some(value.trim())));
            match (name, value) {
                ("client_no_context_takeover", None) => deflate.client.forgets = true,
                ("server_no_context_takeover", None) => deflate.server.forgets = true,
                ("client_max_window_bits", Some(bits)) => deflate.client.window_bits = window_bits(bits)?,
                ("server_max_window_bits", Some(bits)) => deflate.server.window_bits = window_bits(bits)?,
                _ => return None,
            }
        }
        Some(deflate)
    }
}

fn window_bits(value: &str) -> Option<u8> {
    value.trim_matches('"').parse().ok().filter(|bits| (8..=15).contains(bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_agreed_on() {
        let known = |client, server| Extensions::Known(Some(Deflate { client, server }));
        let table: [(&[&str], Extensions); 11] = [
            (&[], Extensions::Known(None)),
            (&[""], Extensions::Known(None)),
            (&["permessage-deflate"], known(USUAL, USUAL)),
            (&["Permessage-Deflate;client_no_context_takeover"], known(Side { forgets: true, ..USUAL }, USUAL)),
            (
                &["permessage-deflate; server_no_context_takeover; server_max_window_bits=9; client_max_window_bits = \"10\""],
                known(Side { window_bits: 10, ..USUAL }, Side { forgets: true, window_bits: 9 }),
            ),
            (&["permessage-deflate; client_max_window_bits"], Extensions::Unknown),
            (&["permessage-deflate; server_max_window_bits=7"], Extensions::Unknown),
            (&["permessage-deflate; x=1"], Extensions::Unknown),
            (&["permessage-deflate, permessage-deflate"], Extensions::Unknown),
            (&["permessage-deflate", "x-mux"], Extensions::Unknown),
            (&["x-webkit-deflate-frame"], Extensions::Unknown),
        ];
        for (lines, expected) in table {
            let mut fields = Fields::default();
            lines.iter().for_each(|line| fields.push("Sec-WebSocket-Extensions", line));
            assert_eq!(Extensions::of(&fields), expected, "{lines:?}");
        }
    }
}
