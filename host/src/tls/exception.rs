//! Hosts that are spoken to otherwise than the rest: with a certificate of our own, or trusted for other reasons.
//!
//! Place: made of the configuration by `app`; `client` builds what is connected with. What is trusted more than webpki would is said at the
//! first connection to each host, whoever makes it; that such settings are in force at all, `app` says.
//! Source: RFC 8446 §4.4.2, RFC 9110 §4.3.4.

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use anyhow::Context;
use globset::{Glob, GlobMatcher};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};

use super::{client::Wordy, provider};

/// Hosts of one exception that are remembered as spoken of. Beyond, they are spoken of each time: loud, not silent.
const SPOKEN_OF: usize = 1000;

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Settings of some hosts.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct HostTls {
    /// Pattern of their names, in lower case.
    pub hosts: String,
    /// PEM files with roots that they may be signed by besides those that hold for all.
    pub ca: Vec<PathBuf>,
    /// They are believed whatever they show.
    pub accept_any: bool,
    /// PEM files with our certificate (and what lies between it and its root) and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl HostTls {
    /// What is trusted here that is not trusted elsewhere, in words; `None`: nothing.
    pub fn warning(&self) -> Option<String> {
        let hosts = &self.hosts;
        if self.accept_any {
            return Some(format!("any certificate is accepted from {hosts}: whoever is on the way can read and change all of it"));
        }
        let files = self.ca.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
        (!files.is_empty()).then(|| format!("certificates of {hosts} may be signed by the authorities in {files} as well"))
    }

    pub(super) fn is_trusted_more(&self) -> bool {
        self.accept_any || !self.ca.is_empty()
    }

    pub(super) fn matcher(&self) -> anyhow::Result<GlobMatcher> {
        Ok(Glob::new(&self.hosts).context("reading the pattern")?.compile_matcher())
    }

    pub(super) fn identity(&self) -> anyhow::Result<Option<Identity>> {
        let Some((certificate, key)) = &self.identity else { return Ok(None) };
        let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let chain = chain.with_context(|| format!("reading the client certificate {}", certificate.display()))?;
        anyhow::ensure!(!chain.is_empty(), "there is no certificate in {}", certificate.display());
        let key = PrivateKeyDer::from_pem_file(key).with_context(|| format!("reading the client's key {}", key.display()))?;
        Ok(Some((chain, key)))
    }
}

/// Trusts more than webpki would, and says so.
#[derive(Debug)]
pub(super) struct Exception {
    /// `None`: whatever is shown is accepted.
    usual: Option<Wordy>,
    hosts: String,
    spoken_of: Mutex<HashSet<String>>,
}

impl Exception {
    pub(super) fn new(usual: Option<Wordy>, hosts: &str) -> Self {
        Self { usual, hosts: hosts.to_owned(), spoken_of: Mutex::default() }
    }

    fn is_first(&self, name: &str) -> bool {
        let mut spoken_of = self.spoken_of.lock().unwrap_or_else(PoisonError::into_inner);
        !spoken_of.contains(name) && (spoken_of.len() >= SPOKEN_OF || spoken_of.insert(name.to_owned()))
    }
}

impl ServerCertVerifier for Exception {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = match &self.usual {
            Some(usual) => usual.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?,
            None => ServerCertVerified::assertion(),
        };
        let name = server_name.to_str();
        if self.is_first(&name) {
            let hosts = &self.hosts;
            match self.usual {
                Some(_) => tracing::warn!(host = %name, "connected by the exception for {hosts}, which trusts more authorities than usual"),
                None => tracing::warn!(host = %name, "connected by the exception for {hosts}: the certificate was not verified at all"),
            }
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        self.usual.as_ref().and_then(Wordy::root_hint_subjects)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_is_spoken_of_once_and_beyond_the_limit_each_time() {
        let exception = Exception::new(None, "*");

        assert!(exception.is_first("a") && !exception.is_first("a") && exception.is_first("b"));
        for at in 0..SPOKEN_OF {
            assert!(exception.is_first(&at.to_string()), "{at}");
        }
        assert!(exception.is_first("late") && exception.is_first("late") && !exception.is_first("a"));
    }

    #[test]
    fn what_is_trusted_more_is_said() {
        let host = HostTls { hosts: "a.test".to_owned(), ..HostTls::default() };
        let identity = HostTls { identity: Some(("c".into(), "k".into())), ..host.clone() };

        assert_eq!((host.warning(), identity.warning()), (None, None));
        assert!(HostTls { accept_any: true, ..host.clone() }.warning().is_some_and(|said| said.contains("any certificate")));
        assert!(HostTls { ca: vec!["x.pem".into()], ..host }.warning().is_some_and(|said| said.contains("x.pem")));
    }
}
