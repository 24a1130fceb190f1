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
