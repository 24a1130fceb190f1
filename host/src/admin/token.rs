//! The token that opens the admin listener.
//!
//! Place: made or read by `app` at the start, asked by `guard` for each request. It is never shown, and compared in a time that does not depend
//! on how much of it was guessed.
//! Source: RFC 6750 §2.1.

use std::{
    fmt, fs,
    io::{ErrorKind, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use argon2::password_hash::rand_core::{OsRng, RngCore};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::fresh;

/// Octets of chance in a token that is made here.
const OCTETS: usize = 32;
/// Least characters of a token: fewer can be guessed.
const LEAST: usize = 16;

/// See the module.
#[derive(Clone, Eq, PartialEq)]
pub struct Token(String);

impl Token {
    /// Where it is kept if nobody says where.
    pub fn path(state: &Path) -> PathBuf {
        state.join("admin-token")
    }

    /// One that somebody chose.
    ///
    /// # Errors
    /// It is too short, or holds what a field of HTTP cannot.
    pub fn chosen(text: &str) -> anyhow::Result<Self> {
        let text = text.trim();
        ensure!(
            text.len() >= LEAST && text.bytes().all(|octet| octet.is_ascii_graphic()),
            "the admin token must have at least {LEAST} characters, of ASCII and without blanks"
        );
        Ok(Self(text.to_owned()))
    }

    /// The one in that file; where there is no file, one is made up and kept there with mode 0600.
    ///
    /// # Errors
    /// The file cannot be read or made, others may read it, or what it holds is no token.
    pub fn open_or_create(path: &Path) -> anyhow::Result<Self> {
        if let Some(token) = Self::create(path).with_context(|| format!("making the admin token {}", path.display()))? {
            return Ok(token);
        }
        Self::open(path)
    }

    /// The one in that file.
    ///
    /// # Errors
    /// The file cannot be read, others may read it, or what it holds is no token.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let read = || -> anyhow::Result<Self> {
            let mode = fs::metadata(path)?.permissions().mode() & 0o777;
            ensure!(mode & 0o077 == 0, "others may read it (mode {mode:03o}); run: chmod 600 {}", path.display());
            Self::chosen(&fs::read_to_string(path)?).context("remove the file to have a new one made")
        };
        read().with_context(|| format!("reading the admin token {}", path.display()))
    }

    fn create(path: &Path) -> anyhow::Result<Option<Self>> {
        if fs::symlink_metadata(path).is_ok() {
            return Ok(None);
        }
        let mut octets = [0; OCTETS];
        OsRng.fill_bytes(&mut octets);
        let token = BASE64_URL_SAFE_NO_PAD.encode(octets);
        // Beside it, and there under its name once it is whole: an empty one would be refused ever after.
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let unfinished = path.with_file_name(format!(".{name}.{}.new", std::process::id()));
        let made = (|| {
            let mut file = fresh::create(&unfinished, 0o600)?;
            file.write_all(format!("{token}\n").as_bytes())?;
            file.sync_all()?;
            // Unlike a rename it leaves what somebody else has made meanwhile.
            match fs::hard_link(&unfinished, path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(None),
                Err(_) => fs::rename(&unfinished, path).map(|()| Some(Self(token))),
                Ok(()) => Ok(Some(Self(token))),
            }
        })();
        // Best effort: it hides.
        let _ = fs::remove_file(&unfinished);
        Ok(made?)
    }

    /// Whether that value of `Authorization` holds it.
    pub(super) fn is_in(&self, authorization: &[u8]) -> bool {
        let Some((scheme, given)) = authorization.split_at_checked(b"Bearer ".len()) else { return false };
        // Of hashes, so that not even the length can be told from the time.
        let same: bool = Sha256::digest(given.trim_ascii()).ct_eq(&Sha256::digest(&self.0)).into();
        same && scheme.eq_ignore_ascii_case(b"Bearer ")
    }

    /// For whoever may see it: its operator.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = Token::path(folder.path());

        let made = Token::open_or_create(&path).unwrap();

        assert_eq!(Token::open_or_create(&path).unwrap(), made);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_ne!(Token::open_or_create(&folder.path().join("other")).unwrap(), made);
    }

    #[test]
    fn a_token_is_not_written_into_what_lies_there() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("token"), folder.path().join("other"));
        fs::write(&other, "somebody else's").unwrap();
        fs::set_permissions(&other, fs::Permissions::from_mode(0o666)).unwrap();
        let guessed = folder.path().join(format!(".token.{}.new", std::process::id()));
        for lay in [|from: &Path, to: &Path| std::os::unix::fs::symlink(from, to), |from: &Path, to: &Path| fs::hard_link(from, to)] {
            lay(&other, &guessed).unwrap();

            Token::open_or_create(&path).unwrap();

            assert_eq!(fs::read_to_string(&other).unwrap(), "somebody else's");
            let made = fs::symlink_metadata(&path).unwrap();
            assert!(made.is_file() && made.permissions().mode() & 0o777 == 0o600, "{made:?}");
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn only_the_whole_token_is_it() {
        let token = Token::chosen("0123456789abcdef\n").unwrap();

        assert!(token.is_in(b"Bearer 0123456789abcdef") && token.is_in(b"bearer  0123456789abcdef "));
        for other in
            ["", "Bearer", "Bearer ", "Bearer 0123456789abcde", "Bearer 0123456789abcdefg", "Basic 0123456789abcdef", "0123456789abcdef"]
        {
            assert!(!token.is_in(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn what_others_can_read_or_guess_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "0123456789abcdef").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(format!("{:#}", Token::open_or_create(&path).unwrap_err()).contains("chmod 600"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(Token::open_or_create(&path).is_ok());
        fs::write(&path, "short").unwrap();
        assert!(format!("{:#}", Token::open_or_create(&path).unwrap_err()).contains("at least 16"));
    }
}
