//! Where the frames of one direction end.
//!
//! Place: beside octets that are forwarded as they are, whether anybody reads their messages or not: only between two frames is there room
//! for one of ours. Looks at the heads of frames and skips the rest.
//! Source: RFC 6455 §5.2 and §5.5.1.

use super::frame::{Head, Opcode};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Borders {
    /// As much of a frame's head as has passed.
    head: Vec<u8>,
    /// Octets of a frame's content that have not.
    left: u64,
    /// No frame of ours may follow: there was a close frame, or something that is no frame.
    is_over: bool,
}

impl Borders {
    /// Octets that pass.
    pub(super) fn passed(&mut self, mut octets: &[u8]) {
        while !self.is_over {
            let skipped = usize::try_from(self.left).unwrap_or(usize::MAX).min(octets.len());
            self.left -= skipped as u64;
            let Some((&octet, rest)) = octets[skipped..].split_first() else { return };
            octets = rest;
            // The bits that extensions may have a meaning for say nothing about the length.
            self.head.push(if self.head.is_empty() { octet & !0x30 } else { octet });
            match Head::parse(&self.head) {
                Ok(None) => {}
                Ok(Some((head, _))) => {
                    self.head.clear();
                    self.left = head.len;
                    self.is_over = head.opcode == Opcode::Close;
                }
                Err(_) => self.is_over = true,
            }
        }
    }

    /// Whether what has passed ends with a frame that another one may follow.
    pub(super) fn is_between_frames(&self) -> bool {
        !self.is_over && self.left == 0 && self.head.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether there is room after so many octets of these, passed in pieces of that size.
    fn room(octets: &[u8], piece: usize) -> bool {
        let mut borders = Borders::default();
        octets.chunks(piece).for_each(|piece| borders.passed(piece));
        borders.is_between_frames()
    }

    #[test]
    fn there_is_room_between_frames_and_nowhere_else() {
        // A masked text, an empty pong with reserved bits of some extension, a fragment of 126 octets.
        let frames = [&[0x81, 0x83, 1, 2, 3, 4, 5, 6, 7][..], &[0xba, 0], &[0x02, 126, 0, 126], &[0x88; 126]].concat();
        let borders = [0, 9, 11, 11 + 4 + 126];
        for end in 0..=frames.len() {
            for piece in [1, 4, frames.len()] {
                assert_eq!(room(&frames[..end], piece), borders.contains(&end), "after {end} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn nothing_follows_a_close_frame_or_what_is_no_frame() {
        for octets in [&[0x88, 0, 0x81, 0][..], &[0x83, 0, 0x81, 0]] {
            assert!(!room(octets, 1) && !room(octets, 4), "{octets:02x?}");
        }
    }
}
