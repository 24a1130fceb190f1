//! Undoing content codings of captured content, within a bound.
//!
//! Place: asked through [`super::Content::decoded`], off the way of the flow: what the client gets is never touched.
//! Source: RFC 9110 §8.4.

use std::io;

use bytes::Bytes;

use super::{
    Fields,
    coding::{self, Coding},
};

/// Captured content with its content codings undone as far as that goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Decoded {
    /// What came out.
    pub octets: Bytes,
    /// Something is missing: capture was cut, the bound was reached, or the coded stream ends early.
    pub truncated: bool,
    /// Why the octets are (in part) still as on the wire: an unknown coding, or octets that are not what the coding says.
    pub trouble: Option<String>,
}

/// Undoes the codings `fields` names, last first, to at most `max` octets. What cannot be undone stays as it is, with the reason.
pub fn decode(fields: &Fields, octets: Bytes, is_cut: bool, max: usize) -> Decoded {
    let mut decoded = Decoded { octets, truncated: is_cut, trouble: None };
    let names = match coding::names(fields) {
        Ok(names) => names,
        Err(trouble) => {
            decoded.trouble = Some(trouble);
            return decoded;
        }
    };
    // A HEAD response or a 304 names the coding of content that is not there.
    if decoded.octets.is_empty() {
        return decoded;
    }
    for name in names.into_iter().rev() {
        match Coding::new(name).and_then(|coding| undo(coding, decoded.octets.clone(), max).map_err(|error| error.to_string())) {
            Ok((octets, truncated)) => {
                decoded.octets = octets.into();
                decoded.truncated |= truncated;
            }
            Err(trouble) => {
                decoded.trouble = Some(trouble);
                return decoded;
            }
        }
    }
    decoded
}

/// Undoes to the end, to `max`, or to where a cut stream breaks off; whether something is missing. An error before the first octet is an
/// error; after it, a truncation: what came out is worth keeping.
fn undo(mut coding: Coding, octets: Bytes, max: usize) -> io::Result<(Vec<u8>, bool)> {
    let mut out = Vec::new();
    coding.feed(octets);
    loop {
        match coding.make() {
            Ok(made) if made.is_empty() => break,
            Ok(made) => out.extend_from_slice(&made),
            Err(error) if out.is_empty() => return Err(error),
            Err(_) => return Ok((out, true)),
        }
        if out.len() > max {
            out.truncate(max);
            return Ok((out, true));
        }
    }
    match coding.finish() {
        Err(error) if out.is_empty() => Err(error),
        ended => Ok((out, ended.is_err())),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const TEXT: &[u8] = "Ünïcödé, twice: Ünïcödé".as_bytes();

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).expect("a Vec takes all");
        encoder.finish().expect("a Vec takes all")
    }

    fn raw_deflate(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).expect("a Vec takes all");
        encoder.finish().expect("a Vec takes all")
    }

    fn zlib(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).expect("a Vec takes all");
        encoder.finish().expect("a Vec takes all")
    }

    fn br(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        brotli::CompressorWriter::new(&mut out, 4096, 5, 20).write_all(text).expect("a Vec takes all");
        out
    }

    fn run(coding: &str, octets: Vec<u8>, max: usize) -> Decoded {
        let mut fields = Fields::default();
        fields.push("Content-Encoding", coding);
        decode(&fields, octets.into(), false, max)
    }

    #[test]
    fn every_coding_is_undone() {
        let zstd = zstd::encode_all(TEXT, 3).expect("a Vec takes all");
        let members = [gzip(&TEXT[..10]), gzip(&TEXT[10..])].concat();
        let table = [
            ("gzip", gzip(TEXT)),
            ("x-gzip", gzip(TEXT)),
            ("gzip", members),
            ("deflate", zlib(TEXT)),
            ("deflate", raw_deflate(TEXT)),
            ("br", br(TEXT)),
            ("zstd", zstd),
            ("identity", TEXT.to_vec()),
            ("gzip, br", br(&gzip(TEXT))),
            ("GZIP , identity", gzip(TEXT)),
        ];
        for (coding, octets) in table {
            let whole = Decoded { octets: Bytes::from_static(TEXT), truncated: false, trouble: None };
            assert_eq!(run(coding, octets, 1000), whole, "{coding}");
        }
    }

    #[test]
    fn what_cannot_be_undone_stays_with_the_reason() {
        for (coding, octets) in [("gzip", b"not gzip".to_vec()), ("lzma", b"whatever".to_vec()), ("zstd", b"neither".to_vec())] {
            let decoded = run(coding, octets.clone(), 1000);

            assert_eq!(decoded.octets, octets, "{coding}");
            assert!(decoded.trouble.is_some_and(|trouble| trouble.contains(coding)));
        }
    }

    #[test]
    fn a_bomb_is_cut_at_the_bound() {
        let decoded = run("gzip", gzip(&vec![0; 10 << 20]), 1 << 20);

        assert_eq!((decoded.octets.len(), decoded.truncated), (1 << 20, true));
    }

    #[test]
    fn a_stream_that_breaks_off_keeps_what_came_out() {
        let mut octets = gzip(&TEXT.repeat(5000));
        octets.truncate(octets.len() - 9);

        let decoded = run("gzip", octets, 1 << 20);

        assert!(decoded.truncated && decoded.trouble.is_none() && decoded.octets.starts_with(TEXT));
    }

    #[test]
    fn too_many_codings_are_left_alone() {
        assert!(run(&["gzip"; 9].join(","), gzip(TEXT), 1000).trouble.is_some());
    }
}
