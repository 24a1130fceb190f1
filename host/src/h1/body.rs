//! Content as it comes in.
//!
//! Place: between [`super::Reader`]'s buffer and `exchange`: a pure state machine over buffered octets, so it can be fuzzed and cancelled
//! anywhere.
//! Source: RFC 9112 §6 and §7.

use bytes::{Buf, Bytes, BytesMut};

use super::{
    Framing, FramingError, HeadLimits,
    framing::trailers_are_sane,
    head::{Scan, parse_fields},
};
use crate::flow::Fields;

/// Longest chunk-size line, extensions included; they are forwarded by nobody, so there is no reason for long ones.
const MAX_CHUNK_LINE: usize = 256;

/// Bounds of a trailer section.
const TRAILERS: HeadLimits = HeadLimits { octets: 16 * 1024, fields: 64 };

/// The next thing in a message's content.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Piece {
    /// Some octets, never none.
    Data(Bytes),
    /// The end, with the trailers (chunked only; else empty).
    End(Fields),
}

/// Takes content out of a buffer, as far as it is there.
#[derive(Debug)]
pub struct Incoming {
    state: State,
}

#[derive(Debug)]
enum State {
    Length(u64),
    UntilClose,
    ChunkLine,
    ChunkData(u64),
    ChunkEnd,
    Trailers(Scan),
    Done,
}

impl Incoming {
    /// Content framed in that way.
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::Empty => State::Length(0),
            Framing::Length(octets) => State::Length(octets),
            Framing::Chunked => State::ChunkLine,
            Framing::UntilClose => State::UntilClose,
        };
        Self { state }
    }

    /// Whether no octet of it is still to be read; [`Piece::End`] may be.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done | State::Length(0))
    }

    /// The next piece in `buffer`; `None` if more octets are needed. `at_end`: there will be no more.
    ///
    /// # Errors
    /// If the octets are not chunks, or end before the content does.
    pub fn take(&mut self, buffer: &mut BytesMut, at_end: bool) -> Result<Option<Piece>, FramingError> {
        loop {
            match &mut self.state {
                State::Length(0) => return Ok(Some(self.end(Fields::default()))),
                State::Length(left) => {
                    if buffer.is_empty() {
                        return if at_end { Err(FramingError::EARLY) } else { Ok(None) };
                    }
                    return Ok(Some(Piece::Data(split(buffer, left))));
                }
                State::UntilClose => {
                    if !buffer.is_empty() {
                        return Ok(Some(Piece::Data(buffer.split().freeze())));
                    }
                    return if at_end { Ok(Some(self.end(Fields::default()))) } else { Ok(None) };
                }
                State::ChunkData(0) => self.state = State::ChunkEnd,
                State::ChunkData(left) if !buffer.is_empty() => return Ok(Some(Piece::Data(split(buffer, left)))),
                State::ChunkEnd if buffer.len() >= 2 => {
                    if !buffer.starts_with(b"\r\n") {
                        return Err(FramingError("a chunk is longer than its size"));
                    }
                    buffer.advance(2);
                    self.state = State::ChunkLine;
                }
                State::ChunkLine => match chunk_line(buffer)? {
                    Some(0) => self.state = State::Trailers(Scan::default()),
                    Some(size) => self.state = State::ChunkData(size),
                    None => return early(at_end),
                },
                State::Trailers(scan) => {
                    if buffer.starts_with(b"\r\n") {
                        buffer.advance(2);
                        return Ok(Some(self.end(Fields::default())));
                    }
                    let trouble = FramingError("the trailers are malformed");
                    // `Scan` takes empty lines in front out, which would be the section's end: ruled out above, once the octets are there.
                    if buffer.len() < 2 {
                        return early(at_end);
                    }
                    let Some(len) = scan.head_len(buffer, TRAILERS).map_err(|_| trouble)? else {
                        return early(at_end);
                    };
                    let trailers = parse_fields(buffer.split_to(len).freeze(), TRAILERS).map_err(|_| trouble)?;
                    trailers_are_sane(&trailers)?;
                    return Ok(Some(self.end(trailers)));
                }
                State::ChunkData(_) | State::ChunkEnd => return early(at_end),
                State::Done => return Err(FramingError("the content has ended")),
            }
        }
    }

    fn end(&mut self, trailers: Fields) -> Piece {
        self.state = State::Done;
        Piece::End(trailers)
    }
}

fn early(at_end: bool) -> Result<Option<Piece>, FramingError> {
    if at_end { Err(FramingError::EARLY) } else { Ok(None) }
}

fn split(buffer: &mut BytesMut, left: &mut u64) -> Bytes {
    let len = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
    *left -= len as u64;
    buffer.split_to(len).freeze()
}

/// Takes `chunk-size [ chunk-ext ] CRLF`, if it is all there.
fn chunk_line(buffer: &mut BytesMut) -> Result<Option<u64>, FramingError> {
    let trouble = FramingError("a chunk size is malformed");
    let Some(end) = memchr::memchr(b'\n', buffer) else {
        return if buffer.len() > MAX_CHUNK_LINE { Err(trouble) } else { Ok(None) };
    };
    let line = buffer[..end].strip_suffix(b"\r").ok_or(trouble)?;
    if line.len() > MAX_CHUNK_LINE {
        return Err(trouble);
    }
    let digits = line.iter().take_while(|octet| octet.is_ascii_hexdigit()).count();
    // 15 digits are 2^60 octets; an extension begins with `;`, white space before it is bad (RFC 9112 §7.1.1) but harmless.
    if digits == 0 || digits > 15 || !extension_is_sane(&line[digits..]) {
        return Err(trouble);
    }
    let size = line[..digits].iter().fold(0, |size, digit| size * 16 + u64::from((*digit as char).to_digit(16).unwrap_or(0)));
    buffer.advance(end + 1);
    Ok(Some(size))
}

fn extension_is_sane(rest: &[u8]) -> bool {
    // SP and HTAB only: `trim_ascii_start` would take a bare CR for white space.
    let blank = rest.iter().take_while(|octet| matches!(octet, b' ' | b'\t')).count();
    let rest = &rest[blank..];
    (rest.is_empty() || rest[0] == b';') && crate::flow::is_field_value(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All data and the trailers, the octets coming `step` at a time.
    fn read(framing: Framing, octets: &[u8], step: usize) -> Result<(Vec<u8>, Fields, usize), FramingError> {
        let (mut incoming, mut buffer, mut data) = (Incoming::new(framing), BytesMut::new(), Vec::new());
        let mut rest = octets.chunks(step);
        loop {
            let next = rest.next();
            buffer.extend_from_slice(next.unwrap_or_default());
            while let Some(piece) = incoming.take(&mut buffer, next.is_none())? {
                match piece {
                    Piece::Data(some) => data.extend_from_slice(&some),
                    Piece::End(trailers) => return Ok((data, trailers, buffer.len() + rest.map(<[u8]>::len).sum::<usize>())),
                }
            }
            assert!(next.is_some(), "neither an end nor an error");
        }
    }

    #[test]
    fn content_is_the_same_however_it_is_cut() {
        let chunked = b"4\r\nWiki\r\n5;x=\"y\"\r\npedia\r\nE\r\n in\r\n\r\nchunks.\r\n0\r\nX-T: 1\r\n\r\nnext";
        for step in [1, 2, 3, 7, 100] {
            let (data, trailers, left) = read(Framing::Chunked, chunked, step).expect("well-formed");
            assert_eq!((data.as_slice(), trailers.get("x-t"), left), (b"Wikipedia in\r\n\r\nchunks.".as_ref(), Some(b"1".as_ref()), 4));
            assert_eq!(read(Framing::Length(3), b"abcdef", step).map(|(data, _, left)| (data, left)), Ok((b"abc".to_vec(), 3)));
            assert_eq!(read(Framing::UntilClose, b"abcdef", step).map(|(data, ..)| data), Ok(b"abcdef".to_vec()));
            assert_eq!(read(Framing::Chunked, b"0\r\n\r\n", step).map(|(data, trailers, _)| (data, trailers.len())), Ok((Vec::new(), 0)));
        }
    }

    #[test]
    fn bad_chunks_and_early_ends_are_errors() {
        let table: [&[u8]; 21] = [
            b"4\nWiki\r\n0\r\n\r\n",
            b"-4\r\nWiki\r\n0\r\n\r\n",
            b"+4\r\nWiki\r\n0\r\n\r\n",
            b"0x4\r\nWiki\r\n0\r\n\r\n",
            b" 4\r\nWiki\r\n0\r\n\r\n",
            b"\r\n4\r\nWiki\r\n0\r\n\r\n",
            b"4 x\r\nWiki\r\n0\r\n\r\n",
            b"fffffffffffffffff\r\nWiki\r\n0\r\n\r\n",
            b"4\r\nWikipedia\r\n0\r\n\r\n",
            b"4\r\nWiki0\r\n\r\n",
            b"4\r\nWi",
            b"4\r\nWiki\r\n0\r\n",
            b"4\r\nWiki\r\n",
            b"4;\0\r\nWiki\r\n0\r\n\r\n",
            b"4\r\nWiki\r\n0\r\nbad trailer\r\n\r\n",
            b"4\r\nWiki\r\n0\r\nX: 1\n\r\n\r\n",
            b"4\r\r\nWiki\r\n0\r\n\r\n",
            b"4\x0c\r\nWiki\r\n0\r\n\r\n",
            b"4\r\nWiki\r\n0\r\nContent-Length: 4\r\n\r\n",
            b"4\r\nWiki\r\n0\r\ntransfer-encoding: chunked\r\n\r\n",
            b"4\r\nWiki\r\n0\r\nHost: b.test\r\n\r\n",
        ];
        for octets in table {
            for step in [1, 5, 100] {
                assert!(read(Framing::Chunked, octets, step).is_err(), "{} by {step}", octets.escape_ascii());
            }
        }
        assert!(read(Framing::Length(9), b"abc", 1).is_err());
        let endless = [b"1;".as_ref(), &[b'a'; 300]].concat();
        assert!(read(Framing::Chunked, &endless, 7).is_err());
    }
}
