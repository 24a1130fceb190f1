//! Undoing content codings while content passes.
//!
//! Place: on the way of content that a plugin rewrites; see `coding` for content that was kept. What an origin has flushed comes out at once,
//! and in pieces of bounded size however much a few octets stand for: the next piece is made when the one before has been taken.
//! Source: RFC 9110 §8.4, RFC 1950, RFC 1952, RFC 7932 (br), RFC 8878 (zstd), RFC 9659 (its window).

use std::io::{self, Write};

use brotli::{BrotliDecompressStream, BrotliResult, BrotliState, enc::StandardAlloc};
use bytes::{Buf, Bytes};
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use zstd::stream::raw::{self, DParameter, Operation};

use super::{Fields, coding};

/// Octets that are made at a time, about: what a socket is read by.
const PIECE: usize = 16 * 1024;
/// Coded octets that `deflate` is given at a time. It makes no more than 1032 of each, so a piece stays below `PIECE` and 64 KiB more.
const SIP: usize = 64;
/// Windows of `zstd` are up to 8 MiB, as a power of 2 (RFC 9659 §3): what a sender names is memory that is taken.
const ZSTD_WINDOW: u32 = 23;

/// The codings of one message's content, in the order in which they are undone.
pub struct Decoder {
    stages: Vec<Stage>,
}

struct Stage {
    name: String,
    coded: Bytes,
    coder: Coder,
    /// Something came in.
    begun: bool,
}

enum Coder {
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    /// Zlib or not: the first two octets tell.
    Deflate(Vec<u8>),
    Zlib(Box<ZlibDecoder<Vec<u8>>>),
    Raw(Box<DeflateDecoder<Vec<u8>>>),
    Brotli {
        state: Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>,
        finished: bool,
    },
    Zstd {
        decoder: raw::Decoder<'static>,
        /// Between two frames.
        finished: bool,
    },
}

impl Decoder {
    /// What undoes the codings that `fields` names; `None`: there are none.
    ///
    /// # Errors
    /// Names a coding that cannot be undone.
    pub fn of(fields: &Fields) -> Result<Option<Self>, String> {
        let names = coding::names(fields)?;
        let stages: Vec<Stage> = names.into_iter().rev().map(Stage::new).collect::<Result<_, _>>()?;
        Ok((!stages.is_empty()).then_some(Self { stages }))
    }

    /// Takes in octets of the content as they came. To be called when [`Decoder::piece`] has nothing left to give.
    pub fn feed(&mut self, coded: Bytes) {
        // There is always one, see `of`.
        if let Some(first) = self.stages.first_mut() {
            first.feed(coded);
        }
    }

    /// The next octets with all codings undone, never none; `None`: more has to come in first.
    ///
    /// # Errors
    /// What came in is not what its coding says.
    pub fn piece(&mut self) -> io::Result<Option<Bytes>> {
        // From the last back: what has come further goes first, so that no stage holds more than one piece.
        let mut at = self.stages.len();
        while let Some(current) = at.checked_sub(1) {
            let made = self.stages[current].make()?;
            if made.is_empty() {
                at = current;
            } else if let Some(next) = self.stages.get_mut(current + 1) {
                next.feed(made);
                at = self.stages.len();
            } else {
                return Ok(Some(made));
            }
        }
        Ok(None)
    }

    /// Nothing more comes in; [`Decoder::piece`] has given all it had.
    ///
    /// # Errors
    /// Something is missing.
    pub fn finish(&mut self) -> io::Result<()> {
        self.stages.iter_mut().try_for_each(Stage::finish)
    }
}

impl Stage {
    fn new(name: String) -> Result<Self, String> {
        let coder = match name.as_str() {
            "gzip" | "x-gzip" => Coder::Gzip(Box::new(MultiGzDecoder::new(Vec::new()))),
            "deflate" => Coder::Deflate(Vec::new()),
            "br" => Coder::Brotli {
                state: Box::new(BrotliState::new_strict(StandardAlloc::default(), StandardAlloc::default(), StandardAlloc::default())),
                finished: false,
            },
            "zstd" => {
                let made = raw::Decoder::new().and_then(|mut decoder| {
                    decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW))?;
                    Ok(decoder)
                });
                Coder::Zstd { decoder: made.map_err(|error| format!("zstd: {error}"))?, finished: true }
            }
            _ => return Err(format!("the content coding {name:?} is unknown")),
        };
        Ok(Self { name, coded: Bytes::new(), coder, begun: false })
    }

    fn feed(&mut self, coded: Bytes) {
        self.begun |= !coded.is_empty();
        self.coded = coded;
    }

    /// Some decoded octets; none: the coded ones are used up.
    fn make(&mut self) -> io::Result<Bytes> {
        self.resolve();
        let coded = &mut self.coded;
        let made = match &mut self.coder {
            Coder::Gzip(gzip) => sip(&mut **gzip, coded, |gzip| gzip.get_mut()),
            Coder::Zlib(zlib) => sip(&mut **zlib, coded, |zlib| zlib.get_mut()),
            Coder::Raw(raw) => sip(&mut **raw, coded, |raw| raw.get_mut()),
            Coder::Deflate(_) => Ok(Vec::new()),
            Coder::Brotli { state, finished } => unbrotli(state, finished, coded),
            Coder::Zstd { decoder, finished } => unzstd(decoder, finished, coded),
        };
        made.map(Bytes::from).map_err(|error| self.wrong(&error))
    }

    /// `deflate` means zlib (RFC 9110 §8.4.1.2), but raw deflate is what some senders mean by it; zlib's header is a multiple of 31.
    fn resolve(&mut self) {
        let Coder::Deflate(first) = &mut self.coder else { return };
        while first.len() < 2 && self.coded.has_remaining() {
            first.push(self.coded.get_u8());
        }
        let [method, flags] = *first.as_slice() else { return };
        let is_zlib = method & 0x0f == 8 && (u16::from(method) << 8 | u16::from(flags)).is_multiple_of(31);
        let whole = [first.as_slice(), &self.coded].concat();
        self.coder = match is_zlib {
            true => Coder::Zlib(Box::new(ZlibDecoder::new(Vec::new()))),
            false => Coder::Raw(Box::new(DeflateDecoder::new(Vec::new()))),
        };
        self.coded = whole.into();
    }

    fn finish(&mut self) -> io::Result<()> {
        if !self.begun {
            // No content at all is none in any coding.
            return Ok(());
        }
        let early = || Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        let finished = match &mut self.coder {
            Coder::Gzip(gzip) => gzip.try_finish(),
            Coder::Zlib(zlib) => zlib.try_finish(),
            Coder::Raw(raw) => raw.try_finish(),
            Coder::Brotli { finished: true, .. } | Coder::Zstd { finished: true, .. } => Ok(()),
            Coder::Deflate(_) | Coder::Brotli { .. } | Coder::Zstd { .. } => early(),
        };
        finished.map_err(|error| self.wrong(&error))
    }

    fn wrong(&self, error: &io::Error) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, format!("the content is not {}: {error}", self.name))
    }
}

/// Lets a decoder that writes take small sips until it has made a piece, or, if there is nothing left, all there is to make.
fn sip<D: Write>(decoder: &mut D, coded: &mut Bytes, made: impl Fn(&mut D) -> &mut Vec<u8>) -> io::Result<Vec<u8>> {
    while coded.has_remaining() && made(decoder).len() < PIECE {
        let taken = decoder.write(&coded[..coded.len().min(SIP)])?;
        if taken == 0 {
            // What follows the end is nobody's.
            coded.clear();
        }
        coded.advance(taken.min(coded.len()));
    }
    if !coded.has_remaining() && made(decoder).len() < PIECE {
        decoder.flush()?;
    }
    Ok(std::mem::take(made(decoder)))
}

fn unbrotli(
    state: &mut BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    finished: &mut bool,
    coded: &mut Bytes,
) -> io::Result<Vec<u8>> {
    if *finished {
        coded.clear();
        return Ok(Vec::new());
    }
    let mut made = vec![0; PIECE];
    let (mut left, mut at, mut room, mut len, mut total) = (coded.len(), 0, made.len(), 0, 0);
    let result = BrotliDecompressStream(&mut left, &mut at, coded, &mut room, &mut len, &mut made, &mut total, state);
    coded.advance(at);
    made.truncate(len);
    match result {
        BrotliResult::ResultSuccess => *finished = true,
        BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
        BrotliResult::ResultFailure => return Err(io::ErrorKind::InvalidData.into()),
    }
    Ok(made)
}

fn unzstd(decoder: &mut raw::Decoder<'static>, finished: &mut bool, coded: &mut Bytes) -> io::Result<Vec<u8>> {
    let mut made = vec![0; PIECE];
    let mut len = 0;
    while len < made.len() {
        if *finished {
            if !coded.has_remaining() {
                break;
            }
            // Several frames in a row are one content (RFC 8878 §3).
            decoder.reinit()?;
            *finished = false;
        }
        let status = decoder.run_on_buffers(coded, &mut made[len..])?;
        coded.advance(status.bytes_read);
        len += status.bytes_written;
        *finished = status.remaining == 0;
        if status.bytes_read == 0 && status.bytes_written == 0 {
            break;
        }
    }
    made.truncate(len);
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Something a reader of events would wait for, flushed by whoever codes it.
    const EVENTS: [&[u8]; 3] = [b"data: one\n\n", "data: zwölf\n\n".as_bytes(), b"data: and the last one, a little longer\n\n"];

    /// Coded events, each flushed; the last piece ends the coded content.
    fn coded(coding: &str, events: &[&[u8]]) -> Vec<Vec<u8>> {
        fn pieces<W: Write>(
            mut coder: W,
            events: &[&[u8]],
            take: impl Fn(&mut W) -> Vec<u8>,
            end: impl FnOnce(W) -> Vec<u8>,
        ) -> Vec<Vec<u8>> {
            let mut pieces = Vec::new();
            for event in events {
                coder.write_all(event).expect("a Vec takes all");
                coder.flush().expect("a Vec takes all");
                pieces.push(take(&mut coder));
            }
            pieces.push(end(coder));
            pieces
        }
        let level = flate2::Compression::default();
        match coding {
            "gzip" => pieces(
                flate2::write::GzEncoder::new(Vec::new(), level),
                events,
                |coder| std::mem::take(coder.get_mut()),
                |coder| coder.finish().expect("a Vec takes all"),
            ),
            "deflate" => pieces(
                flate2::write::ZlibEncoder::new(Vec::new(), level),
                events,
                |coder| std::mem::take(coder.get_mut()),
                |coder| coder.finish().expect("a Vec takes all"),
            ),
            "raw" => pieces(
                flate2::write::DeflateEncoder::new(Vec::new(), level),
                events,
                |coder| std::mem::take(coder.get_mut()),
                |coder| coder.finish().expect("a Vec takes all"),
            ),
            "br" => pieces(
                brotli::CompressorWriter::new(Vec::new(), 4096, 5, 20),
                events,
                |coder| std::mem::take(coder.get_mut()),
                |coder| coder.into_inner(),
            ),
            "zstd" => pieces(
                zstd::stream::write::Encoder::new(Vec::new(), 3).expect("a Vec takes all"),
                events,
                |coder| std::mem::take(coder.get_mut()),
                |coder| coder.finish().expect("a Vec takes all"),
            ),
            other => panic!("no coding {other}"),
        }
    }

    fn decoder(coding: &str) -> Decoder {
        let mut fields = Fields::default();
        fields.push("Content-Encoding", if coding == "raw" { "deflate" } else { coding });
        Decoder::of(&fields).expect("known").expect("coded")
    }

    fn all(decoder: &mut Decoder, piece: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        decoder.feed(Bytes::copy_from_slice(piece));
        while let Some(made) = decoder.piece()? {
            assert!(!made.is_empty() && made.len() <= PIECE + 1100 * SIP, "{}", made.len());
            out.extend_from_slice(&made);
        }
        Ok(out)
    }

    #[test]
    fn what_is_flushed_comes_out_at_once() {
        for coding in ["gzip", "deflate", "raw", "br", "zstd"] {
            let mut decoder = decoder(coding);
            let pieces = coded(coding, &EVENTS);

            for (piece, event) in pieces.iter().zip(EVENTS) {
                assert_eq!(all(&mut decoder, piece).expect("well coded"), event, "{coding}");
            }
            assert_eq!(all(&mut decoder, pieces.last().expect("an end")).expect("well coded"), b"", "{coding}");
            decoder.finish().expect("whole");
        }
    }

    #[test]
    fn codings_on_codings_are_undone_however_they_are_cut() {
        let inner = coded("gzip", &EVENTS).concat();
        let outer = coded("br", &[&inner]).concat();
        for step in [1, 3, outer.len()] {
            let mut decoder = decoder("gzip, identity, br");

            let out: Vec<u8> = outer.chunks(step).flat_map(|piece| all(&mut decoder, piece).expect("well coded")).collect();

            assert_eq!(out, EVENTS.concat(), "by {step}");
            decoder.finish().expect("whole");
        }
    }

    #[test]
    fn frames_and_members_in_a_row_are_one_content() {
        for coding in ["gzip", "zstd"] {
            let twice = [coded(coding, &EVENTS[..1]).concat(), coded(coding, &EVENTS[1..]).concat()].concat();
            for step in [1, 7, twice.len()] {
                let mut decoder = decoder(coding);

                let out: Vec<u8> = twice.chunks(step).flat_map(|piece| all(&mut decoder, piece).expect("well coded")).collect();

                assert_eq!(out, EVENTS.concat(), "{coding} by {step}");
                decoder.finish().expect("whole");
            }
        }
    }

    #[test]
    fn a_bomb_comes_out_in_pieces() {
        let zeros = vec![0; 20 << 20];
        for coding in ["gzip", "deflate", "raw", "br", "zstd"] {
            let bomb = coded(coding, &[&zeros]).concat();

            assert_eq!(all(&mut decoder(coding), &bomb).expect("well coded").len(), zeros.len(), "{coding}");
        }
    }

    #[test]
    fn what_is_missing_or_no_code_is_an_error() {
        for coding in ["gzip", "deflate", "br", "zstd"] {
            let mut cut = decoder(coding);
            all(&mut cut, &coded(coding, &EVENTS)[0]).expect("good as far as it goes");
            assert!(cut.finish().is_err(), "{coding}");

            let mut wrong = decoder(coding);
            let nonsense = [b"\xff\xff\xffnonsense".as_ref(); 40].concat();
            assert!(all(&mut wrong, &nonsense).is_err() || wrong.finish().is_err(), "{coding}");

            decoder(coding).finish().expect("no content is none");
        }
    }

    #[test]
    fn unknown_codings_are_named() {
        let mut fields = Fields::default();
        assert!(Decoder::of(&fields).is_ok_and(|none| none.is_none()));
        fields.push("Content-Encoding", "gzip, lzma");

        assert!(Decoder::of(&fields).is_err_and(|why| why.contains("lzma")));
        fields.set("content-encoding", ["gzip"; 9].join(","));
        assert!(Decoder::of(&fields).is_err_and(|why| why.contains("more than 8")));
    }
}
