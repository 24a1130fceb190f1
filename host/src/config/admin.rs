//! The admin listener: what is written about it.
//!
//! Place: a part of [`super::Config`]; `app` opens what it asks for.

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::ensure;

use super::raw;

/// The admin listener.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AdminConfig {
    /// Where it listens; `None`: nowhere.
    pub listen: Option<SocketAddr>,
    /// Names it may be called by besides addresses and `localhost`, in lower case.
    pub names: Vec<String>,
    /// The token that opens it, where it was given in the environment.
    pub token: Option<Secret>,
    /// The file that the token is in, made where there is none; `None`: `admin-token` in the state folder.
    pub token_file: Option<PathBuf>,
    /// Whether fields and contents of flows are shown to whoever has the token.
    pub content: bool,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self { listen: None, names: Vec::new(), token: None, token_file: None, content: true }
    }
}

impl AdminConfig {
    /// Flags beat the file, key by key.
    ///
    /// # Errors
    /// Something that is to be a name is none.
    pub(super) fn resolve(flags: &raw::Flags, written: raw::Admin, here: &Path, beside: &Path) -> anyhow::Result<Self> {
        let names = if flags.admin_name.is_empty() { written.names } else { flags.admin_name.clone() };
        for name in &names {
            let is_name =
                !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_'));
            ensure!(is_name, "admin.names: {name:?} is no name of a host, without scheme and port, as in proxy.example");
        }
        Ok(Self {
            listen: flags.admin.or(written.listen),
            names: names.iter().map(|name| name.to_ascii_lowercase()).collect(),
            token: flags.admin_token.clone(),
            token_file: match &flags.admin_token_file {
                Some(file) => Some(here.join(file)),
                None => written.token_file.map(|file| beside.join(file)),
            },
            content: flags.admin_content.or(written.content).unwrap_or(true),
        })
    }
}

/// What must not be shown.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(pub String);

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
