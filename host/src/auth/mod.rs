//! Who may use the proxy, and under which name.
//!
//! Place: `net` and `exchange` ask the gate before anything is dialled. Knows no connections and no messages, only the value of one field.
//! Source: RFC 9110 §11, RFC 7617.

mod basic;
#[cfg(test)]
mod fuzz;
mod gate;
mod hash;
mod htpasswd;
#[cfg(test)]
mod timing;
mod users;

use std::{fmt, str::FromStr};

pub use basic::{Credentials, Password};
pub use gate::{Gate, LoginLimits};
pub use hash::{Scheme, hash_password};
pub use htpasswd::check_name;
pub use users::{Change, Users, names, others_read, remove, set};

/// How much is asked of a client.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Mode {
    /// Everybody is admitted and nobody's name is kept.
    Off,
    /// A name given is believed; nobody is asked for one.
    #[default]
    Identify,
    /// A name given is believed; who gives none is asked once per request (some clients send credentials only then).
    Ask,
    /// Name and password must be those of a user.
    Require,
}

impl Mode {
    /// In the order of how much they ask.
    pub const ALL: [Self; 4] = [Self::Off, Self::Identify, Self::Ask, Self::Require];

    /// As written on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Identify => "identify",
            Self::Ask => "ask",
            Self::Require => "require",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is none of the modes' names.
#[derive(Debug, thiserror::Error)]
#[error("auth is off, identify, ask or require")]
pub struct UnknownMode;

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == text).ok_or(UnknownMode)
    }
}
