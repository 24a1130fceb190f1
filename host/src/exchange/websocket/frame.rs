//! The head of a frame, and the mask over its content.
//!
//! Place: read by `decode`, written by `encode`.
//! Source: RFC 6455 §5.2 and §5.3.

use bytes::{BufMut, BytesMut};

/// Most octets a control frame carries (RFC 6455 §5.5).
pub(super) const CONTROL_MAX: u64 = 125;

/// What a frame is (RFC 6455 §11.8).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

/// A frame before its content.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Head {
    /// It ends its message.
    pub(super) is_last: bool,
    /// RSV1: what `permessage-deflate` makes of it (RFC 7692 §6).
    pub(super) is_compressed: bool,
    pub(super) opcode: Opcode,
    /// Clients mask, servers do not.
    pub(super) mask: Option<[u8; 4]>,
    /// Octets of content.
    pub(super) len: u64,
}

/// It is no frame of RFC 6455.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub(super) struct NoFrame(pub(super) &'static str);

impl Opcode {
    fn of(code: u8) -> Result<Self, NoFrame> {
        Ok(match code {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return Err(NoFrame("a reserved opcode")),
        })
    }

    fn code(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    /// May stand between the frames of a message.
    pub(super) fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

impl Head {
    /// The head at the beginning of `octets` and how many of them it takes; `None`: it goes on.
    pub(super) fn parse(octets: &[u8]) -> Result<Option<(Self, usize)>, NoFrame> {
        let &[first, second, ref rest @ ..] = octets else { return Ok(None) };
        if first & 0x30 != 0 {
            return Err(NoFrame("a reserved bit that no extension here has a meaning for"));
        }
        let opcode = Opcode::of(first & 0x0f)?;
        let (is_last, is_compressed) = (first & 0x80 != 0, first & 0x40 != 0);
        let (len, wide) = match (second & 0x7f, rest) {
            (126, &[a, b, ..]) => (u64::from(u16::from_be_bytes([a, b])), 2),
            (127, &[a, b, c, d, e, f, g, h, ..]) => (u64::from_be_bytes([a, b, c, d, e, f, g, h]), 8),
            (126 | 127, _) => return Ok(None),
            (len, _) => (u64::from(len), 0),
        };
        if len > u64::MAX / 2 {
            return Err(NoFrame("a length of more than 63 bits"));
        }
        if opcode.is_control() && (!is_last || is_compressed || len > CONTROL_MAX) {
            return Err(NoFrame("a control frame in pieces, compressed or too long"));
        }
        let (mask, masked) = match (second & 0x80 != 0, &rest[wide..]) {
            (false, _) => (None, 0),
            (true, &[a, b, c, d, ..]) => (Some([a, b, c, d]), 4),
            (true, _) => return Ok(None),
        };
        Ok(Some((Self { is_last, is_compressed, opcode, mask, len }, 2 + wide + masked)))
    }

    /// The same as octets, in the shortest form.
    pub(super) fn put(&self, out: &mut BytesMut) {
        out.put_u8(u8::from(self.is_last) << 7 | u8::from(self.is_compressed) << 6 | self.opcode.code());
        let masked = u8::from(self.mask.is_some()) << 7;
        match self.len {
            0..126 => out.put_u8(masked | self.len as u8),
            126..0x1_0000 => {
                out.put_u8(masked | 126);
                out.put_u16(self.len as u16);
            }
            _ => {
                out.put_u8(masked | 127);
                out.put_u64(self.len);
            }
        }
        if let Some(mask) = self.mask {
            out.put_slice(&mask);
        }
    }
}

/// Puts the mask on content, or takes it off; `at`: octets of the frame's content before these (RFC 6455 §5.3).
pub(super) fn mask(octets: &mut [u8], mut mask: [u8; 4], at: u64) {
    mask.rotate_left((at % 4) as usize);
    let mut chunks = octets.chunks_exact_mut(4);
    for chunk in &mut chunks {
        for (octet, key) in chunk.iter_mut().zip(mask) {
            *octet ^= key;
        }
    }
    for (octet, key) in chunks.into_remainder().iter_mut().zip(mask) {
        *octet ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: Head = Head { is_last: true, is_compressed: false, opcode: Opcode::Text, mask: None, len: 5 };

    #[test]
    fn heads_are_read_and_written_alike() {
        let table: [(Head, &[u8]); 8] = [
            (TEXT, &[0x81, 5]),
            (Head { is_last: false, ..TEXT }, &[0x01, 5]),
            (Head { is_compressed: true, ..TEXT }, &[0xc1, 5]),
            (Head { mask: Some([1, 2, 3, 4]), opcode: Opcode::Continuation, ..TEXT }, &[0x80, 0x85, 1, 2, 3, 4]),
            (Head { len: 126, opcode: Opcode::Binary, ..TEXT }, &[0x82, 126, 0, 126]),
            (Head { len: 0xffff, ..TEXT }, &[0x81, 126, 0xff, 0xff]),
            (Head { len: 0x1_0000, ..TEXT }, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
            (Head { len: 125, opcode: Opcode::Ping, ..TEXT }, &[0x89, 125]),
        ];
        for (head, octets) in table {
            let mut out = BytesMut::new();
            head.put(&mut out);
            assert_eq!(&out[..], octets, "{head:?}");
            assert_eq!(Head::parse(octets), Ok(Some((head, octets.len()))));
            for cut in 0..octets.len() {
                assert_eq!(Head::parse(&octets[..cut]), Ok(None), "{head:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let table: [&[u8]; 7] =
            [&[0x83, 0], &[0x8b, 0], &[0xa1, 0], &[0x91, 0], &[0x09, 0], &[0x89, 126, 0, 126], &[0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 0]];
        for octets in table {
            assert!(Head::parse(octets).is_err(), "{octets:02x?}");
        }
    }

    #[test]
    fn a_mask_goes_on_and_off_in_any_pieces() {
        let plain: Vec<u8> = (0..23).collect();
        for cut in 0..plain.len() {
            let mut octets = plain.clone();
            mask(&mut octets, [9, 8, 7, 6], 0);
            assert_eq!(octets[4], 4 ^ 9);
            let (one, other) = octets.split_at_mut(cut);
            mask(one, [9, 8, 7, 6], 0);
            mask(other, [9, 8, 7, 6], cut as u64);
            assert_eq!(octets, plain);
        }
    }
}
