//! What names a build: the SHA-256 of its component.

use std::fmt;

use sha2::{Digest, Sha256};

/// Shown in hexadecimal.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub(super) struct Hash([u8; 32]);

impl Hash {
    pub(super) fn of(octets: &[u8]) -> Self {
        Self(Sha256::digest(octets).into())
    }

    /// What [`fmt::Display`] printed; `None`: something else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut hash = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        for (at, octet) in hash.iter_mut().enumerate() {
            *octet = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
        }
        Some(Self(hash))
    }
}

/// A hash of what comes piece by piece.
#[derive(Default)]
pub(super) struct Hashing(Sha256);

impl Hashing {
    pub(super) fn add(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    pub(super) fn done(self) -> Hash {
        Hash(self.0.finalize().into())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
