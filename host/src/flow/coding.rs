//! The content codings there are, and how each is undone.
//!
//! Place: the one place that knows them; `decoder` undoes what passes by it, `decoded` what was kept. What its sender has flushed comes out at
//! once, in pieces of bounded size.
//! Source: RFC 9110 §8.4, RFC 1950, RFC 1952, RFC 7932 (br), RFC 8878 (zstd), RFC 9659 (its window).

use std::io::{self, Write};

use brotli::{BrotliDecompressStream, BrotliResult, BrotliState, enc::StandardAlloc};
use bytes::{Buf, Bytes};
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use zstd::stream::raw::{self, DParameter, Operation};

use super::Fields;

/// How many codings may be stacked; more is taken for an attack.
const MAX_CODINGS: usize = 8;
/// Octets that are made at a time, about: what a socket is read by.
const PIECE: usize = 16 * 1024;
/// Coded octets that `deflate` is given at a time. It makes no more than 1032 of each, so a piece stays below [`PIECE_MAX`].
const SIP: usize = 64;
/// No piece is larger.
#[cfg(test)]
pub(super) const PIECE_MAX: usize = PIECE + 1100 * SIP;
/// Windows of `zstd` are up to 8 MiB, as a power of 2 (RFC 9659 §3): what a sender names is memory that is taken.
const ZSTD_WINDOW: u32 = 23;

/// The codings that `fields` names, in lower case and in the order they were applied.
///
/// # Errors
/// There are too many.
pub(super) fn names(fields: &Fields) -> Result<Vec<String>, String> {
    let lower = fields.members("content-encoding").map(|name| String::from_utf8_lossy(name).to_ascii_lowercase());
    let names: Vec<String> = lower.filter(|name| name != "identity").collect();
    match names.len() > MAX_CODINGS {
        true => Err(format!("{} content codings are more than {MAX_CODINGS}", names.len())),
        false => Ok(names),
    }
}

/// One content coding, being undone.
pub(super) struct Coding {
    name: String,
    coded: Bytes,
    coder: Coder,
    /// Something came in.
    begun: bool,
    /// What is wrong, to be said when all that came out before has been taken.
    broken: Option<io::Error>,
}

/// What one step makes, and what ended it.
type Made = (Vec<u8>, io::Result<()>);

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

impl Coding {
    /// What undoes the coding of that name, in lower case.
    ///
    /// # Errors
    /// Says that it is unknown.
    pub(super) fn new(name: String) -> Result<Self, String> {
        let coder = match name.as_str() {
            // Several members in a row are one content (RFC 1952 §2.2).
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
        Ok(Self { name, coded: Bytes::new(), coder, begun: false, broken: None })
    }

    /// Takes in coded octets. To be called when [`Coding::make`] has nothing left to give.
    pub(super) fn feed(&mut self, coded: Bytes) {
        self.begun |= !coded.is_empty();
        self.coded = coded;
    }

    /// Some decoded octets; none: the coded ones are used up.
    ///
    /// # Errors
    /// What came in is not what the coding says, and all that came out before has been taken.
    pub(super) fn make(&mut self) -> io::Result<Bytes> {
        if let Some(error) = self.broken.take() {
            return Err(self.wrong(&error));
        }
        self.resolve();
        let coded = &mut self.coded;
        let (made, ended) = match &mut self.coder {
            Coder::Gzip(gzip) => sip(&mut **gzip, coded, |gzip| gzip.get_mut()),
            Coder::Zlib(zlib) => sip(&mut **zlib, coded, |zlib| zlib.get_mut()),
            Coder::Raw(raw) => sip(&mut **raw, coded, |raw| raw.get_mut()),
            Coder::Deflate(_) => (Vec::new(), Ok(())),
            Coder::Brotli { state, finished } => unbrotli(state, finished, coded),
            Coder::Zstd { decoder, finished } => unzstd(decoder, finished, coded),
        };
        match ended {
            Err(error) if made.is_empty() => return Err(self.wrong(&error)),
            ended => self.broken = ended.err(),
        }
        Ok(made.into())
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

    /// Nothing more comes in; [`Coding::make`] has given all it had.
    ///
    /// # Errors
    /// Something is missing.
    pub(super) fn finish(&mut self) -> io::Result<()> {
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
fn sip<D: Write>(decoder: &mut D, coded: &mut Bytes, made: impl Fn(&mut D) -> &mut Vec<u8>) -> Made {
    let ended = loop {
        if made(decoder).len() >= PIECE {
            break Ok(());
        }
        if !coded.has_remaining() {
            break decoder.flush();
        }
        match decoder.write(&coded[..coded.len().min(SIP)]) {
            // What follows the end is nobody's.
            Ok(0) => coded.clear(),
            Ok(taken) => coded.advance(taken),
            Err(error) => break Err(error),
        }
    };
    (std::mem::take(made(decoder)), ended)
}

fn unbrotli(state: &mut BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>, finished: &mut bool, coded: &mut Bytes) -> Made {
    if *finished {
        coded.clear();
        return (Vec::new(), Ok(()));
    }
    let mut made = vec![0; PIECE];
    let (mut left, mut at, mut room, mut len, mut total) = (coded.len(), 0, made.len(), 0, 0);
    let result = BrotliDecompressStream(&mut left, &mut at, coded, &mut room, &mut len, &mut made, &mut total, state);
    coded.advance(at);
    made.truncate(len);
    let ended = match result {
        BrotliResult::ResultFailure => Err(io::ErrorKind::InvalidData.into()),
        BrotliResult::ResultSuccess | BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => Ok(()),
    };
    *finished = matches!(result, BrotliResult::ResultSuccess);
    (made, ended)
}

fn unzstd(decoder: &mut raw::Decoder<'static>, finished: &mut bool, coded: &mut Bytes) -> Made {
    let mut made = vec![0; PIECE];
    let mut len = 0;
    let ended = loop {
        if len == made.len() || *finished && !coded.has_remaining() {
            break Ok(());
        }
        if *finished {
            // Several frames in a row are one content (RFC 8878 §3).
            if let Err(error) = decoder.reinit() {
                break Err(error);
            }
            *finished = false;
        }
        let status = match decoder.run_on_buffers(coded, &mut made[len..]) {
            Ok(status) => status,
            Err(error) => break Err(error),
        };
        coded.advance(status.bytes_read);
        len += status.bytes_written;
        *finished = status.remaining == 0;
        if status.bytes_read == 0 && status.bytes_written == 0 {
            break Ok(());
        }
    };
    made.truncate(len);
    (made, ended)
}
