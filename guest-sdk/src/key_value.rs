//! Entries that outlive calls, instances, swaps and restarts, shared by all instances of this plugin.
//!
//! The operator has to grant it: `grants = ["key-value"]` in the plugin's table of `flowgate.toml`. Calls never wait for a disk.

use std::{error, fmt};

#[cfg(target_family = "wasm")]
use crate::bindings::imports::key_value;

/// Why an entry was not stored or read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StoreError {
    /// Key or value is too long, or the plugin's quota is used up.
    Quota,
    /// Anything else, in words.
    Other(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quota => f.write_str("key or value is too long, or the quota is used up"),
            Self::Other(why) => f.write_str(why),
        }
    }
}

impl error::Error for StoreError {}

#[cfg(target_family = "wasm")]
impl From<key_value::Error> for StoreError {
    fn from(error: key_value::Error) -> Self {
        match error {
            key_value::Error::Quota => Self::Quota,
            key_value::Error::Other(why) => Self::Other(why),
        }
    }
}

macro_rules! host {
    ($name:ident($($argument:expr),*)) => {{
        #[cfg(target_family = "wasm")]
        {
            key_value::$name($($argument),*).map_err(StoreError::from)
        }
        #[cfg(not(target_family = "wasm"))]
        {
            crate::testing::store::$name($($argument),*)
        }
    }};
}

/// What is stored under `key`.
///
/// # Errors
/// As the host says.
pub fn get(key: &str) -> Result<Option<Vec<u8>>, StoreError> {
    host!(get(key))
}

/// Stores until the entry is removed, or for `ttl_s` seconds.
///
/// # Errors
/// Nothing was stored.
pub fn set(key: &str, value: &[u8], ttl_s: Option<u32>) -> Result<(), StoreError> {
    host!(set(key, value, ttl_s))
}

/// Takes the entry out, if it is there.
///
/// # Errors
/// As the host says.
pub fn remove(key: &str) -> Result<(), StoreError> {
    host!(remove(key))
}

/// Stores `value` if what is there is `expected` (`None`: nothing); says whether it did.
///
/// # Errors
/// Nothing was stored.
pub fn compare_and_set(key: &str, expected: Option<&[u8]>, value: &[u8]) -> Result<bool, StoreError> {
    host!(compare_and_set(key, expected, value))
}

/// Adds to a counter that begins at 0; the new value. [`get`] has it as a decimal number.
///
/// # Errors
/// What is there is no counter, or nothing can be stored.
pub fn increment(key: &str, by: u32) -> Result<u64, StoreError> {
    host!(increment(key, by))
}

/// Keys that begin with `prefix`, sorted, at most `limit`.
///
/// # Errors
/// As the host says.
pub fn keys(prefix: &str, limit: u32) -> Result<Vec<String>, StoreError> {
    host!(keys(prefix, limit))
}
