//! Records: whole files below the folder that is granted to this plugin.

//!
//! A call returns once the host has queued the record. [`keep`] says when the queue stayed full; [`insist`] asks again a few times, which is what
//! an observer wants; [`append_line`] and [`keep_json`] write JSON that way.

use std::{error, fmt};

use serde::Serialize;

use crate::bindings::imports::records;
pub use records::WriteMode;

/// How often [`insist`] offers a record to a full queue. The host makes each offer wait, so a record that is given up has waited for a while.
const OFFERS: usize = 5;

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

/// The same, offered again while the queue is full. For observers, whom nobody waits for.
///
/// # Errors
/// Nothing was kept.
pub fn insist(path: &str, data: &[u8], mode: WriteMode) -> Result<(), KeepError> {
    let mut kept = keep(path, data, mode);
    for _ in 1..OFFERS {
        if kept != Err(KeepError::Overloaded) {
            break;
        }
        kept = keep(path, data, mode);
    }
    kept
}

/// Appends a line of JSON to a file.
///
/// # Errors
/// Nothing was kept.
pub fn append_line(path: &str, value: &impl Serialize) -> Result<(), KeepError> {
    let mut line = serde_json::to_vec(value).map_err(no_json)?;
    line.push(b'\n');
    insist(path, &line, WriteMode::Append)
}

/// Keeps a file of indented JSON.
///
/// # Errors
/// Nothing was kept.
pub fn keep_json(path: &str, value: &impl Serialize, mode: WriteMode) -> Result<(), KeepError> {
    insist(path, &serde_json::to_vec_pretty(value).map_err(no_json)?, mode)
}

fn no_json(error: serde_json::Error) -> KeepError {
    KeepError::Other(format!("the value does not go into JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::testing::{refuse_records, take_records};

    #[test]
    fn a_full_queue_is_asked_again_and_not_for_ever() {
        refuse_records(vec![KeepError::Overloaded; OFFERS - 1]);
        assert_eq!(append_line("lines", &[1, 2]), Ok(()));
        refuse_records(vec![KeepError::Overloaded; OFFERS]);
        assert_eq!(keep_json("file", &1, WriteMode::Replace), Err(KeepError::Overloaded));
        refuse_records([KeepError::Denied("no".into())]);
        assert_eq!(insist("file", b"", WriteMode::Replace), Err(KeepError::Denied("no".into())));

        assert!(take_records().into_iter().map(|kept| (kept.path, kept.data)).eq([("lines".to_owned(), b"[1,2]\n".to_vec())]));
    }

    #[test]
    fn what_does_not_go_into_json_is_said() {
        let odd = BTreeMap::from([((1, 2), 3)]);

        let error = append_line("lines", &odd).unwrap_err().to_string();

        assert!(error.contains("does not go into JSON"), "{error}");
        assert!(take_records().is_empty());
    }
}
