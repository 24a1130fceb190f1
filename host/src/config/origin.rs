//! What holds for single origins.
//!
//! Place: one table of the file for each pattern of hosts; `app` hands it to TLS in that one's own settings.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use globset::Glob;

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
        ensure!(
            !written.accept_any_certificate || !is_anybody(&hosts)?,
            "origins.{hosts}: accept-any-certificate for that pattern would let anybody on the way be any site: name the hosts or their domain"
        );
        let config = Self { accept_any_certificate: written.accept_any_certificate, ca, client };
        ensure!(config != Self::default(), "origins.{hosts} says nothing: give it ca, client-certificate or accept-any-certificate");
        Ok((hosts, config))
    }

    /// All files it names.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.ca.iter().chain(self.client.iter().flat_map(|(certificate, key)| [certificate, key]))
    }
}

/// Whether that pattern means sites of strangers: it matches names that nobody can have had in mind.
fn is_anybody(hosts: &str) -> anyhow::Result<bool> {
    let matcher = Glob::new(hosts).with_context(|| format!("origins: reading pattern {hosts:?}"))?.compile_matcher();
    let strangers = ["com", "org", "net", "io", "dev", "ai", "de", "co.uk"].map(|domain| format!("nobody-has-this-in-mind.{domain}"));
    Ok(strangers.iter().any(|host| matcher.is_match(host)) || matcher.is_match("203.0.113.77"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepting_any(hosts: &str) -> anyhow::Result<(String, OriginConfig)> {
        OriginConfig::resolve(hosts, Origin { accept_any_certificate: true, ..Origin::default() }, Path::new("/"))
    }

    #[test]
    fn verification_cannot_be_turned_off_for_strangers() {
        for hosts in ["*", "**", "*.*", "?*", "*.com", "n*", "{a.test,*}", "*.[a-z]*", "203.0.113.*"] {
            let error = accepting_any(hosts).unwrap_err().to_string();
            assert!(error.contains("would let anybody on the way be any site"), "{hosts}: {error}");
        }
        for hosts in ["localhost", "*.internal", "*.lab.example.com", "10.1.2.3", "host.test"] {
            assert!(accepting_any(hosts).is_ok(), "{hosts}");
        }
    }
}
