//! Leaf certificates for intercepted tunnels.
//!
//! Place: asked by `cache` once per host; signs with `root`. Knows no sockets and no HTTP.
//! Source: RFC 5280 §4.1.2 and §4.2.1, RFC 9110 §4.3.4.

use std::{net::IpAddr, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls_pki_types::{DnsName, PrivateKeyDer};
use time::OffsetDateTime;

use super::{
    Permitted, Root, provider,
    root::{BACKDATE, serial},
};

/// With [`BACKDATE`] well under the 200 days that browsers have allowed since 2026.
const LIFETIME: Duration = Duration::from_secs(190 * 24 * 60 * 60);
/// How long before its end a leaf is replaced: a connection may live on for a while, and clients' clocks may run ahead.
const RENEW_BEFORE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// `ub-common-name` (RFC 5280, appendix A.1); longer names are in the SAN only.
const MAX_COMMON_NAME: usize = 64;

/// Mints leaves. Holds the one key they share within a process, which is not the root's.
pub(super) struct Mint {
    root: Arc<Root>,
    key: KeyPair,
    signing: Arc<dyn SigningKey>,
}

/// A leaf, and when it is good for use.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub(super) key: Arc<CertifiedKey>,
    not_before: OffsetDateTime,
    renew_at: OffsetDateTime,
}

impl Mint {
    pub(super) fn new(root: Arc<Root>) -> anyhow::Result<Self> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context("making the key of the leaves")?;
        let der = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let signing = provider().key_provider.load_private_key(der).context("loading the key of the leaves")?;
        Ok(Self { root, key, signing })
    }

    pub(super) fn permitted(&self) -> &Permitted {
        self.root.permitted()
    }

    /// A certificate for that host that is good now, signed by the root; see [`normal`] for its form.
    pub(super) fn leaf(&self, host: &Host, now: OffsetDateTime) -> anyhow::Result<Leaf> {
        ensure!(now < self.root.not_after(), "the root certificate has expired");
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        // OpenSSL takes an address there for a name, which a root constrained to names does not permit.
        let has_constraints = *self.root.permitted() != Permitted::default();
        if host.text.len() <= MAX_COMMON_NAME && !(has_constraints && host.ip.is_some()) {
            params.distinguished_name.push(DnType::CommonName, host.text.as_str());
        }
        params.subject_alt_names = vec![match host.ip {
            Some(ip) => SanType::IpAddress(ip),
            None => SanType::DnsName(host.text.as_str().try_into()?),
        }];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial()?);
        params.not_before = (now - BACKDATE).max(self.root.not_before());
        params.not_after = (now + LIFETIME).min(self.root.not_after());
        let certificate = params.signed_by(&self.key, self.root.issuer())?;
        let renew_at = match params.not_after == self.root.not_after() {
            // A new one would not last longer.
            true => params.not_after,
            false => params.not_after - RENEW_BEFORE,
        };
        let key = CertifiedKey::new(vec![certificate.into()], self.signing.clone());
        Ok(Leaf { key: Arc::new(key), not_before: params.not_before, renew_at })
    }
}

impl Leaf {
    /// Asked of the wall clock, which may have jumped either way since the leaf was made.
    pub(super) fn is_fresh(&self, now: OffsetDateTime) -> bool {
        self.not_before <= now && now < self.renew_at
    }
}

/// What a leaf is for: a DNS name in lower case without the final dot, or an IP address in its usual spelling.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Host {
    pub(super) text: String,
    ip: Option<IpAddr>,
}

/// # Errors
/// Where the text is neither; a name outside ASCII has to come as A-labels (RFC 5890 §2.3.2.1).
pub(super) fn normal(host: &str) -> anyhow::Result<Host> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(Host { text: ip.to_string(), ip: Some(ip) });
    }
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    ensure!(DnsName::try_from(name.as_str()).is_ok(), "{host:?} is neither a DNS name nor an IP address");
    Ok(Host { text: name, ip: None })
}

/// Whether the text already is in the form of [`normal`], as nearly every host is.
pub(super) fn is_normal(host: &str) -> bool {
    !host.ends_with('.') && !host.contains(':') && host.bytes().all(|octet| octet.is_ascii() && !octet.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustls_pki_types::{ServerName, UnixTime};
    use x509_parser::{
        certificate::X509Certificate,
        extensions::{GeneralName, ParsedExtension},
        prelude::FromDer,
    };

    use super::*;
    use crate::tls::testing;

    fn long_name() -> String {
        format!("{}.{}.test", "a".repeat(60), "b".repeat(60))
    }

    fn hosts() -> Vec<String> {
        let short = ["a.test", "under_score.a.test", "xn--bcher-kva.test", "localhost", "127.0.0.1", "::1", "2001:db8::5"];
        short.map(str::to_owned).into_iter().chain([long_name()]).collect()
    }

    fn leaf(root: Root, host: &str) -> Leaf {
        Mint::new(Arc::new(root)).unwrap().leaf(&normal(host).unwrap(), OffsetDateTime::now_utc()).unwrap()
    }

    #[test]
    fn leaves_are_strictly_x509() {
        let (folder, root) = testing::root();
        let root = Arc::new(root);
        let mint = Mint::new(root.clone()).unwrap();
        for host in hosts() {
            let leaf = mint.leaf(&normal(&host).unwrap(), OffsetDateTime::now_utc()).unwrap();
            fs::write(folder.path().join("leaf.der"), &leaf.key.cert[0]).unwrap();
            testing::openssl(folder.path(), &["x509", "-inform", "DER", "-in", "leaf.der", "-out", "leaf.pem"]);
            let name = if host.parse::<IpAddr>().is_ok() { "-verify_ip" } else { "-verify_hostname" };
            let mut arguments = vec!["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", "flowgate-ca.pem", name, &host];
            if !host.contains('.') && name == "-verify_hostname" {
                // openssl refuses to compare single labels; the chain itself is checked all the same.
                arguments.truncate(6);
            }
            arguments.push("leaf.pem");

            let said = testing::openssl(folder.path(), &arguments);

            assert!(said.contains("leaf.pem: OK"), "{host}: {said}");
        }
    }

    #[test]
    fn leaves_are_accepted_by_webpki() {
        let (_folder, root) = testing::root();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(root.certificate_der().clone()).unwrap();
        let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build().unwrap();
        let mint = Mint::new(Arc::new(root)).unwrap();
        for host in hosts() {
            let leaf = mint.leaf(&normal(&host).unwrap(), OffsetDateTime::now_utc()).unwrap();
            let name = ServerName::try_from(host.as_str()).unwrap();

            let verified = rustls::client::danger::ServerCertVerifier::verify_server_cert(
                &*verifier,
                &leaf.key.cert[0],
                &[],
                &name,
                &[],
                UnixTime::now(),
            );

            assert!(verified.is_ok(), "{host}: {verified:?}");
        }
    }

    #[test]
    fn leaves_hold_what_clients_look_for() {
        let (_folder, root) = testing::root();
        let (root_der, end) = (root.certificate_der().clone(), root.not_after());
        let leaf = leaf(root, "a.test");
        let (_, issuer) = X509Certificate::from_der(&root_der).unwrap();
        let (_, seen) = X509Certificate::from_der(&leaf.key.cert[0]).unwrap();
        let now = OffsetDateTime::now_utc();

        let validity = seen.validity();
        assert!(validity.not_before.to_datetime() < now - Duration::from_secs(23 * 60 * 60));
        assert!(validity.not_after.to_datetime() - validity.not_before.to_datetime() < time::Duration::days(200));
        assert!(validity.not_after.to_datetime() <= end);
        assert!(seen.raw_serial().len() <= 20 && seen.raw_serial()[0] & 0x80 == 0);
        assert_ne!(seen.public_key().raw, issuer.public_key().raw, "the key of the leaves is not the root's");
        assert_eq!(seen.issuer().as_raw(), issuer.subject().as_raw());
        assert_eq!(seen.subject_alternative_name().unwrap().unwrap().value.general_names, [GeneralName::DNSName("a.test")]);
        let usage = seen.key_usage().unwrap().unwrap();
        assert!(usage.critical && usage.value.digital_signature() && usage.value.flags.count_ones() == 1);
        let purposes = seen.extended_key_usage().unwrap().unwrap().value;
        assert!(purposes.server_auth && !purposes.client_auth && !purposes.any && !purposes.code_signing && purposes.other.is_empty());
        assert!(!seen.is_ca());
        let key_identifier = |certificate: &X509Certificate<'_>| {
            certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(identifier) => Some(identifier.0.to_vec()),
                _ => None,
            })
        };
        let authority = seen.iter_extensions().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(authority) => authority.key_identifier.as_ref().map(|identifier| identifier.0.to_vec()),
            _ => None,
        });
        assert!(authority.is_some() && authority == key_identifier(&issuer));
        assert!(key_identifier(&seen).is_some() && key_identifier(&seen) != authority);
    }

    #[test]
    fn serials_differ() {
        let (_folder, root) = testing::root();
        let mint = Mint::new(Arc::new(root)).unwrap();
        let serial = || {
            let leaf = mint.leaf(&normal("a.test").unwrap(), OffsetDateTime::now_utc()).unwrap();
            X509Certificate::from_der(&leaf.key.cert[0]).unwrap().1.raw_serial().to_vec()
        };

        assert_ne!(serial(), serial());
    }

    #[test]
    fn long_names_are_in_the_san_only() {
        let (_folder, root) = testing::root();
        let leaf = leaf(root, &long_name());
        let (_, seen) = X509Certificate::from_der(&leaf.key.cert[0]).unwrap();

        assert_eq!(seen.subject().iter().count(), 0);
        assert!(seen.subject_alternative_name().unwrap().unwrap().critical, "RFC 5280 §4.1.2.6");
    }

    #[test]
    fn leaves_are_renewed_before_they_end_and_after_the_clock_went_back() {
        let (_folder, root) = testing::root();
        let leaf = leaf(root, "a.test");
        let now = OffsetDateTime::now_utc();

        assert!(leaf.is_fresh(now));
        assert!(!leaf.is_fresh(now + Duration::from_secs(185 * 24 * 60 * 60)));
        assert!(!leaf.is_fresh(now - Duration::from_secs(3 * 24 * 60 * 60)));
    }

    #[test]
    fn hosts_have_one_form() {
        for (host, expected) in
            [("A.Test.", "a.test"), ("a_b.test", "a_b.test"), ("2001:DB8:0::5", "2001:db8::5"), ("10.0.0.1", "10.0.0.1")]
        {
            assert_eq!(normal(host).unwrap().text, expected);
        }
        for host in ["", ".", "a b", "a..b", "*.a.test", "bücher.test", "a/b", "[::1]", "a:1", &"a".repeat(64), &"a.".repeat(130)] {
            assert!(normal(host).is_err(), "{host:?}");
        }
    }
}
