//! The proxy as the client of origins: whom it trusts.
//!
//! Place: `origin` asks for a configuration per connection; they are built once. There is no switch that turns verification off, but for
//! single hosts; see `exception`.
//! Source: RFC 9110 §4.3.4, RFC 5280 §6.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, ensure};
use globset::GlobMatcher;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
};
use rustls_native_certs::load_native_certs;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::{
    Protocol,
    exception::{Exception, HostTls},
    provider,
};

/// Servers whose sessions are remembered, a few KiB each at most.
const SESSIONS: usize = 1024;
/// Most characters of a name out of a certificate that are repeated in a message.
const MAX_NAME: usize = 100;

/// Certificates that origins are verified against, and the configurations that do.
#[derive(Debug)]
pub struct Trust {
    system: usize,
    extra: usize,
    offers: Offers,
    /// Hosts with settings of their own, the longest pattern first.
    exceptions: Vec<(GlobMatcher, Offers)>,
}

/// One way to verify, for each way to use ALPN. Sessions are resumed across all three, and never between two of these.
#[derive(Debug)]
struct Offers {
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
    unsaid: Arc<ClientConfig>,
}

impl Trust {
    /// The system's roots and those in the given PEM files; for some hosts with settings of their own.
    ///
    /// # Errors
    /// Where a file cannot be read or holds no certificate, or there is no root at all.
    pub fn load(upstream_ca: &[PathBuf], hosts: &[HostTls]) -> anyhow::Result<Self> {
        let found = load_native_certs();
        let mut roots = RootCertStore::empty();
        // One odd certificate in the system's store does not make the others worse.
        let (system, _unusable) = roots.add_parsable_certificates(found.certs);
        let mut extra = 0;
        for path in upstream_ca {
            extra += add_file(&mut roots, path).with_context(|| format!("reading trusted certificates {}", path.display()))?;
        }
        let reasons: Vec<_> = found.errors.iter().map(|error| format!(": {error}")).collect();
        ensure!(
            !roots.is_empty(),
            "there is no root certificate to verify origins against{}; install the system's certificates (ca-certificates) or name a PEM file with --upstream-ca",
            reasons.concat()
        );
        let mut trust = Self::with_roots(roots.clone(), system, extra)?;
        for host in hosts {
            let exception = || trust.exception(&roots, host);
            let exception = exception().with_context(|| format!("reading what holds for {}", host.hosts))?;
            trust.exceptions.push(exception);
        }
        trust.exceptions.sort_by_key(|(hosts, _)| std::cmp::Reverse(hosts.glob().glob().len()));
        Ok(trust)
    }

    /// What to connect to an origin with: `Http1` offers `http/1.1`, `Http2` offers `h2` and `http/1.1`, `Unsaid` offers nothing. `host`: where
    /// the connection goes, which need not be the name asked for: a client could ask for one that is verified less.
    pub fn config(&self, host: &str, protocol: Protocol) -> Arc<ClientConfig> {
        let host = host.to_ascii_lowercase();
        let own = self.exceptions.iter().find(|(hosts, _)| hosts.is_match(&host));
        let offers = own.map_or(&self.offers, |(_, offers)| offers);
        match protocol {
            Protocol::Http1 => offers.http1.clone(),
            Protocol::Http2 => offers.http2.clone(),
            Protocol::Unsaid => offers.unsaid.clone(),
        }
    }

    /// How many roots came from the system.
    pub fn system_roots(&self) -> usize {
        self.system
    }

    /// How many came from the files given.
    pub fn extra_roots(&self) -> usize {
        self.extra
    }

    fn with_roots(roots: RootCertStore, system: usize, extra: usize) -> anyhow::Result<Self> {
        let offers = Offers::new(Arc::new(Wordy::trusting(roots)?), None)?;
        Ok(Self { system, extra, offers, exceptions: Vec::new() })
    }

    fn exception(&self, roots: &RootCertStore, host: &HostTls) -> anyhow::Result<(GlobMatcher, Offers)> {
        let mut roots = roots.clone();
        for path in &host.ca {
            add_file(&mut roots, path).with_context(|| format!("reading trusted certificates {}", path.display()))?;
        }
        let usual = Wordy::trusting(roots)?;
        let verifier: Arc<dyn ServerCertVerifier> = match host.is_trusted_more() {
            true => Arc::new(Exception::new((!host.accept_any).then_some(usual), &host.hosts)),
            false => Arc::new(usual),
        };
        Ok((host.matcher()?, Offers::new(verifier, host.identity()?)?))
    }
}

impl Offers {
    /// Verifies by `verifier`, and shows that certificate where one is asked for.
    fn new(
        verifier: Arc<dyn ServerCertVerifier>,
        identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    ) -> anyhow::Result<Self> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .context("choosing TLS versions")?
            .dangerous()
            // Decides as webpki does, and only says more about it; but for hosts with exceptions.
            .with_custom_certificate_verifier(verifier);
        let mut unsaid = match identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).context("the client's certificate and key cannot be used")?,
        };
        unsaid.resumption = Resumption::in_memory_sessions(SESSIONS);
        let with = |names: &[&[u8]]| {
            let mut config = unsaid.clone();
            config.alpn_protocols = names.iter().map(|name| name.to_vec()).collect();
            Arc::new(config)
        };
        Ok(Self { http1: with(&[b"http/1.1"]), http2: with(&[b"h2", b"http/1.1"]), unsaid: Arc::new(unsaid) })
    }
}

fn add_file(roots: &mut RootCertStore, path: &PathBuf) -> anyhow::Result<usize> {
    let text = std::fs::read(path)?;
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.context("this is not PEM")?;
        roots.add(certificate).with_context(|| format!("certificate {} in it cannot be used", count + 1))?;
        count += 1;
    }
    ensure!(count > 0, "there is no certificate in it; PEM is expected, as in -----BEGIN CERTIFICATE-----");
    Ok(count)
}

/// Why webpki did not find a way to a root: it says so only in general.
#[derive(Debug, thiserror::Error)]
pub(super) enum Distrust {
    #[error("it is self-signed")]
    SelfSigned,
    #[error("its issuer, {0}, is not trusted")]
    UnknownIssuer(String),
    #[error("its issuer, {0}, is not the trusted one of that name: it has another key")]
    Namesake(String),
}

/// webpki's verdict in more words.
#[derive(Debug)]
pub(super) struct Wordy(Arc<WebPkiServerVerifier>);

impl Wordy {
    fn trusting(roots: RootCertStore) -> anyhow::Result<Self> {
        let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider());
        Ok(Self(webpki.build().context("building the verifier")?))
    }

    fn reword(certificate: &CertificateDer<'_>, error: Error) -> Error {
        use CertificateError::{BadSignature, Other, UnknownIssuer, UnsupportedSignatureAlgorithmForPublicKeyContext};
        let Error::InvalidCertificate(trouble) = &error else { return error };
        let Ok((_, seen)) = X509Certificate::from_der(certificate) else { return error };
        let issuer = || printable(&seen.issuer().to_string());
        let distrust = match trouble {
            // Whatever else: machines' stores hold authorities called `localhost`, too, with which it is then compared.
            UnknownIssuer | Other(_) | BadSignature | UnsupportedSignatureAlgorithmForPublicKeyContext { .. }
                if seen.issuer().as_raw() == seen.subject().as_raw() =>
            {
                Distrust::SelfSigned
            }
            UnknownIssuer => Distrust::UnknownIssuer(issuer()),
            BadSignature | UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => Distrust::Namesake(issuer()),
            _ => return error,
        };
        Error::InvalidCertificate(Other(OtherError(Arc::new(distrust))))
    }
}

impl ServerCertVerifier for Wordy {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.0
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            .map_err(|error| Self::reword(end_entity, error))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        self.0.root_hint_subjects()
    }
}

/// A name somebody else chose, fit for a line of diagnostics.
pub(super) fn printable(name: &str) -> String {
    name.chars().take(MAX_NAME).map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::{
        BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ED25519,
        date_time_ymd,
    };
    use rustls::{HandshakeKind, ServerConfig, sign::CertifiedKey};

    use super::*;
    use crate::tls::{
        explain::{CertificateTrouble, explain_error},
        testing,
    };

    /// An authority of the test's own.
    struct Authority {
        issuer: Issuer<'static, KeyPair>,
        pem: String,
        der: CertificateDer<'static>,
    }

    impl Authority {
        fn new() -> Self {
            Self::named("test authority")
        }

        fn named(name: &str) -> Self {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
            let key = KeyPair::generate().unwrap();
            let certificate = params.self_signed(&key).unwrap();
            Self { pem: certificate.pem(), der: certificate.into(), issuer: Issuer::new(params, key) }
        }

        fn trust(&self) -> Trust {
            let mut roots = RootCertStore::empty();
            roots.add(self.der.clone()).unwrap();
            Trust::with_roots(roots, 0, 1).unwrap()
        }

        /// A server's configuration with a certificate changed that way.
        fn server(&self, change: impl FnOnce(&mut CertificateParams)) -> Arc<ServerConfig> {
            let key = KeyPair::generate().unwrap();
            let mut params = params();
            change(&mut params);
            serving(params.signed_by(&key, &self.issuer).unwrap().into(), &key)
        }
    }

    fn params() -> CertificateParams {
        let mut params = CertificateParams::new(["a.test".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "a.test");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params
    }

    fn serving(certificate: CertificateDer<'static>, key: &KeyPair) -> Arc<ServerConfig> {
        let der = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let signing = provider().key_provider.load_private_key(der).unwrap();
        let resolver = Arc::new(rustls::sign::SingleCertAndKey::from(CertifiedKey::new(vec![certificate], signing)));
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
        let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
        config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(config)
    }

    #[test]
    fn a_good_certificate_is_accepted_and_the_session_resumed() {
        let authority = Authority::new();
        let trust = authority.trust();
        let server = authority.server(|_| ());

        let offers = [(Protocol::Http2, Some(&b"h2"[..])), (Protocol::Http1, Some(b"http/1.1")), (Protocol::Unsaid, None)];
        let kinds = offers.map(|(protocol, expected)| {
            let seen = testing::handshake(trust.config("a.test", protocol), "a.test", server.clone()).unwrap();
            assert_eq!(seen.client.alpn_protocol(), expected);
            seen.client.handshake_kind()
        });

        assert_ne!(kinds[0], Some(HandshakeKind::Resumed));
        assert_eq!(kinds[1..], [Some(HandshakeKind::Resumed); 2]);
    }

    #[test]
    fn origins_that_let_us_choose_get_what_costs_least() {
        let authority = Authority::new();

        let seen = testing::handshake(authority.trust().config("a.test", Protocol::Http1), "a.test", authority.server(|_| ())).unwrap();

        let suite = seen.client.negotiated_cipher_suite().map(|suite| suite.suite());
        assert_eq!(suite, Some(rustls::CipherSuite::TLS13_AES_128_GCM_SHA256));
    }

    #[test]
    fn bad_certificates_are_refused_and_explained() {
        type Change = fn(&mut CertificateParams);
        let cases: [(Change, &str); 6] = [
            (|params| params.not_after = date_time_ymd(2020, 2, 3), "it expired on 2020-02-03"),
            (|params| params.not_before = date_time_ymd(2999, 2, 3), "it is not valid before 2999-02-03"),
            (|params| params.subject_alt_names.clear(), "it is not for a.test"),
            (
                |params| params.subject_alt_names = CertificateParams::new(["b.test".to_owned()]).unwrap().subject_alt_names,
                "it is not for a.test but for b.test",
            ),
            (|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth], "it is not for servers"),
            (|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained), "it is an authority's, not a server's"),
        ];
        let authority = Authority::new();
        for (change, expected) in cases {
            refused(&authority.trust(), authority.server(change), expected);
        }
    }

    #[test]
    fn signatures_that_can_be_forged_count_for_nothing() {
        use rustls::SignatureScheme::{ECDSA_SHA1_Legacy, RSA_PKCS1_SHA1};

        let schemes = super::super::provider().signature_verification_algorithms.supported_schemes();

        assert!(!schemes.is_empty() && !schemes.contains(&RSA_PKCS1_SHA1) && !schemes.contains(&ECDSA_SHA1_Legacy), "{schemes:?}");
    }

    #[test]
    fn unknown_issuers_are_refused_and_named() {
        let (trusted, other) = (Authority::new(), Authority::named("other\nauthority"));

        refused(&trusted.trust(), other.server(|_| ()), "its issuer, CN=other?authority, is not trusted");
    }

    #[test]
    fn self_signed_certificates_are_refused_as_such() {
        // One of the same name is trusted, with another kind of key.
        let mut namesake = params();
        namesake.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let mut roots = RootCertStore::empty();
        roots.add(namesake.self_signed(&KeyPair::generate_for(&PKCS_ED25519).unwrap()).unwrap().into()).unwrap();
        let trust = Trust::with_roots(roots, 0, 1).unwrap();
        for is_ca in [IsCa::NoCa, IsCa::Ca(BasicConstraints::Unconstrained)] {
            let key = KeyPair::generate().unwrap();
            let mut params = params();
            params.is_ca = is_ca;
            refused(&trust, serving(params.self_signed(&key).unwrap().into(), &key), "it is self-signed");
        }
    }

    #[test]
    fn an_authority_is_known_by_its_key_not_its_name() {
        let (trusted, impostor) = (Authority::new(), Authority::new());

        refused(&trusted.trust(), impostor.server(|_| ()), "its issuer, CN=test authority, is not the trusted one of that name");
    }

    fn refused(trust: &Trust, server: Arc<ServerConfig>, expected: &str) {
        let error = testing::handshake(trust.config("a.test", Protocol::Http2), "a.test", server).expect_err(expected);
        match explain_error(&error) {
            CertificateTrouble::Untrusted(reason) => assert!(reason.contains(expected), "{expected} is not in {reason}"),
            other => panic!("{other:?} instead of {expected}"),
        }
    }

    #[test]
    fn files_are_added_or_named_in_the_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            path
        };
        let authorities = format!("{}\n{}", Authority::new().pem, Authority::new().pem);

        assert_eq!(Trust::load(&[file("good.pem", &authorities)], &[]).unwrap().extra_roots(), 2);
        let broken = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        let cases = [
            (file("empty.pem", ""), "there is no certificate in it"),
            (file("broken.pem", broken), "certificate 1 in it cannot be used"),
            (file("half.pem", &authorities[..200]), "this is not PEM"),
            (folder.path().join("missing.pem"), "reading trusted certificates"),
            (folder.path().to_owned(), "reading trusted certificates"),
        ];
        for (path, expected) in cases {
            let error = format!("{:#}", Trust::load(std::slice::from_ref(&path), &[]).unwrap_err());
            assert!(error.contains(expected) && error.contains(path.to_str().unwrap()), "{error}");
        }
    }
}
