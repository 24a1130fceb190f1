//! Undoing content codings while content passes.
//!
//! Place: on the way of content that a plugin rewrites; see `decoded` for content that was kept. What an origin has flushed comes out at once,
//! and in pieces of bounded size however much a few octets stand for: the next piece is made when the one before has been taken.
//! Source: RFC 9110 §8.4.

use std::io;

use bytes::Bytes;

use super::{
    Fields,
    coding::{self, Coding},
};

/// The codings of one message's content, in the order in which they are undone.
pub struct Decoder {
    stages: Vec<Coding>,
}

impl Decoder {
    /// What undoes the codings that `fields` names; `None`: there are none.
    ///
    /// # Errors
    /// Names a coding that cannot be undone.
    pub fn of(fields: &Fields) -> Result<Option<Self>, String> {
        let names = coding::names(fields)?;
        let stages: Vec<Coding> = names.into_iter().rev().map(Coding::new).collect::<Result<_, _>>()?;
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
        self.stages.iter_mut().try_for_each(Coding::finish)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

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
            assert!(!made.is_empty() && made.len() <= coding::PIECE_MAX, "{}", made.len());
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
