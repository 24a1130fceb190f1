//! What holds for single origins.
//!
//! Place: one table of the file for each pattern of hosts; `app` hands it to TLS in that one's own settings.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use super::{patterns, raw::Origin};

/// What holds for some origins.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct OriginConfig {
    /// Nothing that they show is verified.
    pub accept_any_certificate: bool,
    /// PEM files with roots that only they may be signed by.
    pub ca: Vec<PathBuf>,
    /// PEM files with the certificate that is shown to them, and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

impl OriginConfig {
    /// Paths are relative to `beside`.
    pub(super) fn resolve(hosts: &str, written: Origin, beside: &Path) -> anyhow::Result<(String, Self)> {
        let hosts = patterns("origins", vec![hosts.to_owned()])?.pop().context("origins: a pattern of hosts is expected")?;
        ensure!(
            written.client_key.is_none() || written.client_certificate.is_some(),
            "origins.{hosts}: client-key without client-certificate, whose key it is"
        );
        let client = written.client_certificate.map(|certificate| {
            // Many tools write both into one file.
            let key = written.client_key.unwrap_or_else(|| certificate.clone());
            (beside.join(certificate), beside.join(key))
        });
        let ca: Vec<PathBuf> = written.ca.iter().map(|file| beside.join(file)).collect();
        ensure!(!written.accept_any_certificate || ca.is_empty(), "origins.{hosts}: ca means nothing where any certificate is accepted");
        let config = Self { accept_any_certificate: written.accept_any_certificate, ca, client };
        ensure!(config != Self::default(), "origins.{hosts} says nothing: give it ca, client-certificate or accept-any-certificate");
        Ok((hosts, config))
    }

    /// All files it names.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.ca.iter().chain(self.client.iter().flat_map(|(certificate, key)| [certificate, key]))
    }
}
