//! One user's password, hashed: bcrypt or argon2id.
//!
//! Place: an entry of `htpasswd` ends in one. Verifying takes tens to hundreds of milliseconds of computing: off the runtime only.
//! Source: RFC 9106 (argon2), the PHC string format, bcrypt's `$2a$`, `$2b$` and `$2y$`.

use anyhow::{Context, anyhow, bail, ensure};
use argon2::{
    Algorithm, Argon2, Params, PasswordVerifier,
    password_hash::{PasswordHash, PasswordHasher, SaltString, rand_core::OsRng},
};

use super::Password;

/// 2^12 rounds: a quarter of a second on one core, the library's and most tools' default.
const BCRYPT_COST: u32 = 12;
/// Highest cost that is read: four seconds on one core. More would be a way to keep the proxy busy.
const MAX_BCRYPT_COST: u32 = 16;
/// Most memory that an argon2 entry may ask for, in KiB: 256 MiB.
const MAX_ARGON2_MEMORY: u32 = 256 * 1024;
/// Most passes over that memory, for the same reason.
const MAX_ARGON2_PASSES: u32 = 16;
/// bcrypt ignores what comes after.
const BCRYPT_MAX_PASSWORD: usize = 72;

/// How a password is hashed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Scheme {
    /// argon2id with 19 MiB and two passes, as OWASP recommends.
    #[default]
    Argon2,
    /// bcrypt with cost 12, which every tool that reads htpasswd files understands.
    Bcrypt,
}

/// The text of an entry for that password, with a salt of its own. Takes as long as verifying does.
///
/// # Errors
/// Where bcrypt would cut the password off, or the system gives no randomness.
pub fn hash_password(password: &Password, scheme: Scheme) -> anyhow::Result<String> {
    match scheme {
        Scheme::Argon2 => {
            let salt = SaltString::generate(&mut OsRng);
            let hash =
                Argon2::default().hash_password(password.octets(), &salt).map_err(|error| anyhow!("hashing with argon2: {error}"))?;
            Ok(hash.to_string())
        }
        Scheme::Bcrypt => {
            ensure!(
                password.octets().len() < BCRYPT_MAX_PASSWORD,
                "bcrypt reads only the first {BCRYPT_MAX_PASSWORD} octets of a password: take a shorter one, or argon2"
            );
            bcrypt::hash(password.octets(), BCRYPT_COST).context("hashing with bcrypt")
        }
    }
}

/// A well-formed entry's hash.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Hash {
    Bcrypt(String),
    Argon2(String),
}

impl Hash {
    /// # Errors
    /// Says in one sentence why this is not a hash that can be verified safely and in reasonable time.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        if text.starts_with("$2a$") || text.starts_with("$2b$") || text.starts_with("$2y$") {
            let parts: bcrypt::HashParts = text.parse().map_err(|_| anyhow!("this bcrypt hash is malformed or cut short"))?;
            let cost = parts.get_cost();
            ensure!((4..=MAX_BCRYPT_COST).contains(&cost), "bcrypt cost {cost} is not between 4 and {MAX_BCRYPT_COST}");
            return Ok(Self::Bcrypt(text.to_owned()));
        }
        if text.starts_with("$argon2id$") {
            let parsed = PasswordHash::new(text).map_err(|_| anyhow!("this argon2 hash is malformed or cut short"))?;
            let params = Params::try_from(&parsed).map_err(|_| anyhow!("this argon2 hash has parameters that are not allowed"))?;
            ensure!(parsed.salt.is_some() && parsed.hash.is_some(), "this argon2 hash is cut short");
            ensure!(params.m_cost() <= MAX_ARGON2_MEMORY, "argon2 may take at most m={MAX_ARGON2_MEMORY} (KiB)");
            ensure!(params.t_cost() <= MAX_ARGON2_PASSES, "argon2 may take at most t={MAX_ARGON2_PASSES}");
            return Ok(Self::Argon2(text.to_owned()));
        }
        match text {
            "" => bail!("the password hash is missing behind the colon"),
            _ if text.starts_with("$apr1$") || text.starts_with("{SHA}") || text.starts_with("$1$") => {
                bail!("MD5 and SHA-1 hashes are not safe; make the entry anew with `flowgate user add`")
            }
            _ => bail!("this is neither bcrypt ($2b$ …) nor argon2 ($argon2id$ …); make the entry anew with `flowgate user add`"),
        }
    }

    /// Hashes again and compares in constant time. Blocks.
    pub(super) fn verify(&self, password: &Password) -> bool {
        match self {
            Self::Bcrypt(text) => bcrypt::verify(password.octets(), text).unwrap_or(false),
            Self::Argon2(text) => PasswordHash::new(text).is_ok_and(|hash| {
                let params = Params::try_from(&hash).unwrap_or_default();
                let version = hash.version.and_then(|version| version.try_into().ok()).unwrap_or_default();
                Argon2::new(Algorithm::Argon2id, version, params).verify_password(password.octets(), &hash).is_ok()
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::new(text.to_owned())
    }

    #[test]
    fn what_was_hashed_verifies_and_nothing_else_does() {
        for scheme in [Scheme::Argon2, Scheme::Bcrypt] {
            let hash = Hash::parse(&hash_password(&password("s3:crét"), scheme).unwrap()).unwrap();

            assert!(hash.verify(&password("s3:crét")), "{scheme:?}");
            for wrong in ["", "s3:crét ", "s3:cret"] {
                assert!(!hash.verify(&password(wrong)), "{scheme:?}: {wrong}");
            }
        }
    }

    #[test]
    fn entries_of_other_tools_verify() {
        // Out of the test vectors of crypt_blowfish and of argon2's reference implementation.
        let cases = [
            ("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"),
            ("$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"),
            ("$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", "password"),
        ];
        for (text, good) in cases {
            assert!(Hash::parse(text).unwrap().verify(&password(good)), "{text}");
        }
    }

    #[test]
    fn bcrypt_does_not_cut_passwords_off_in_silence() {
        assert!(hash_password(&password(&"a".repeat(72)), Scheme::Bcrypt).is_err());
        assert!(hash_password(&password(&"a".repeat(72)), Scheme::Argon2).is_ok());
    }

    #[test]
    fn what_cannot_be_verified_safely_is_refused() {
        let cases = [
            ("", "missing"),
            ("plain", "neither bcrypt"),
            ("$apr1$abc$def", "MD5 and SHA-1"),
            ("{SHA}abc", "MD5 and SHA-1"),
            ("$2y$05$short", "malformed or cut short"),
            ("$2y$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "cost 31"),
            ("$2y$00$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "cost 0"),
            ("$argon2i$v=19$m=16,t=2,p=1$c29tZXNhbHQ$abc", "neither bcrypt"),
            ("$argon2id$v=19$m=16,t=2,p=1$c29tZXNhbHQ", "cut short"),
            ("$argon2id$v=19$m=99999999,t=2,p=1$c29tZXNhbHQ$Zm9vYmFyYmF6cXV4Zm9vYmFy", "at most m="),
            ("$argon2id$v=19$m=64,t=9999,p=1$c29tZXNhbHQ$Zm9vYmFyYmF6cXV4Zm9vYmFy", "at most t="),
            ("$argon2id$!!", "malformed"),
        ];
        for (text, expected) in cases {
            let error = Hash::parse(text).expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
