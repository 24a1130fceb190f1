//! New files under names that can be guessed.
//!
//! Place: for what is written beside its place and then takes it: keys, tokens, users.

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// A new file, for writing. What lies there was left by who was killed, or put there by whoever may write in the folder: a link, or a file of
/// somebody else's. It is removed; nothing is followed or written over.
///
/// # Errors
/// The system's; somebody has made one meanwhile.
pub fn create(path: &Path, mode: u32) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    File::options().write(true).create_new(true).mode(mode).open(path)
}
