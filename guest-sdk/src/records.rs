//! Records: whole files below the folder that is granted to this plugin.

use std::{error, fmt};

use crate::bindings::imports::records;
pub use records::WriteMode;

/// Why a record was not kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeepError {
    /// Nothing is granted, or the path leaves the folder or is one that no file system takes; says which.
    Denied(String),
    /// The queue stayed full for as long as the host lets a plugin wait. It may be free again when asked again.
    Overloaded,
    /// Anything else, in words.
    Other(String),
}

impl fmt::Display for KeepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(why) => write!(f, "denied: {why}"),
            Self::Overloaded => f.write_str("the queue of records stayed full"),
            Self::Other(why) => f.write_str(why),
        }
    }
}

impl error::Error for KeepError {}

impl From<records::Error> for KeepError {
    fn from(error: records::Error) -> Self {
        match error {
            records::Error::Denied(why) => Self::Denied(why),
            records::Error::Overloaded => Self::Overloaded,
            records::Error::Other(why) => Self::Other(why),
        }
    }
}

/// Hands a record to the host, which writes it off the flow's way. `path` is relative, its parts separated by `/`.
///
/// # Errors
/// Nothing was kept.
pub fn keep(path: &str, data: &[u8], mode: WriteMode) -> Result<(), KeepError> {
    #[cfg(target_family = "wasm")]
    return records::keep(path, data, mode).map_err(KeepError::from);
    #[cfg(not(target_family = "wasm"))]
    crate::testing::keep(path, data, mode)
}
