//! Captured content as the record holds it: text, and notes on what the text does not say.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use flowgate_guest::BodyInfo;

use crate::json;

/// Most octets one message's content takes in the record, escapes included. Capture is bounded by the host; this bounds what escaping
/// makes of it (a NUL becomes six octets), so that a record fits into an instance's memory.
const MAX_TEXT: usize = 16 << 20;

/// Most octets that are kept beside the text where it does not hold them exactly.
const MAX_OCTETS: usize = 1 << 20;

/// One message's content.
#[derive(Debug)]
pub(crate) struct Content<'a> {
    /// The content in UTF-8; what is not is replaced.
    pub text: Cow<'a, str>,
    /// What there is to say beyond it.
    pub notes: Notes,
}

/// Nothing at all, for content that is there whole and as text.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct Notes {
    /// Something is missing; octets that passed on the wire.
    pub truncated: Option<u64>,
    /// The content coding could not be undone.
    pub still_coded: bool,
    /// The octets that are not text, in base64.
    pub octets: Option<String>,
    /// There were more of them.
    pub octets_truncated: bool,
}

impl<'a> Content<'a> {
    /// From what the host captured.
    pub(crate) fn new(octets: &'a [u8], info: &BodyInfo) -> Self {
        let mut notes = Notes { truncated: info.truncated.then_some(info.wire_length), still_coded: !info.decoded, ..Notes::default() };
        let text = match str::from_utf8(octets) {
            Ok(text) => Cow::Borrowed(text),
            // Cut in the middle of a character: what stands before it is good.
            Err(error) if info.truncated && error.error_len().is_none() => {
                Cow::Borrowed(str::from_utf8(&octets[..error.valid_up_to()]).unwrap_or_default())
            }
            Err(_) => {
                notes.octets = Some(STANDARD.encode(&octets[..octets.len().min(MAX_OCTETS)]));
                notes.octets_truncated = octets.len() > MAX_OCTETS;
                // A replacement character is three octets long.
                String::from_utf8_lossy(&octets[..octets.len().min(MAX_TEXT / 3)])
            }
        };
        let fits = json::fitting(&text, MAX_TEXT).len();
        if fits < text.len() || (notes.octets.is_some() && octets.len() > MAX_TEXT / 3) {
            notes.truncated = Some(info.wire_length);
        }
        let text = match text {
            Cow::Borrowed(text) => Cow::Borrowed(&text[..fits]),
            Cow::Owned(mut text) => {
                text.truncate(fits);
                Cow::Owned(text)
            }
        };
        Self { text, notes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: BodyInfo = BodyInfo { length: 0, wire_length: 7, truncated: false, decoded: true };
    const CUT: BodyInfo = BodyInfo { truncated: true, ..WHOLE };

    #[test]
    fn text_needs_no_notes() {
        let content = Content::new("grüße".as_bytes(), &WHOLE);

        assert_eq!((content.text.as_ref(), content.notes), ("grüße", Notes::default()));
    }

    #[test]
    fn octets_that_are_not_text_are_kept_beside_it() {
        let content = Content::new(b"gr\xfc\xdfe", &WHOLE);

        assert_eq!(content.text, "gr\u{fffd}\u{fffd}e");
        assert_eq!(content.notes, Notes { octets: Some("Z3L832U=".to_owned()), ..Notes::default() });
    }

    #[test]
    fn a_character_cut_in_two_is_no_foreign_text() {
        let octets = &"é".as_bytes()[..1];

        let cut = Content::new(octets, &CUT);
        assert_eq!((cut.text.as_ref(), cut.notes), ("", Notes { truncated: Some(7), ..Notes::default() }));
        assert!(Content::new(octets, &WHOLE).notes.octets.is_some());
    }

    #[test]
    fn what_escaping_swells_is_cut_and_says_so() {
        let zeros = vec![0; MAX_TEXT / 4];

        let content = Content::new(&zeros, &WHOLE);

        assert_eq!((content.text.len(), content.notes.truncated), (MAX_TEXT / 6, Some(7)));
    }

    #[test]
    fn kept_octets_are_bounded() {
        let notes = Content::new(&vec![0xff; MAX_OCTETS + 1], &WHOLE).notes;

        assert!(notes.octets_truncated && notes.octets.is_some_and(|octets| octets.len() < MAX_OCTETS * 3 / 2));
    }

    #[test]
    fn a_coding_that_stayed_on_is_noted() {
        assert!(Content::new(b"", &BodyInfo { decoded: false, ..WHOLE }).notes.still_coded);
    }
}
