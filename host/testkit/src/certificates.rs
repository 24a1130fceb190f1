//! A throw-away certificate authority for origins, and certificates with one fault each.
//!
//! Place: one authority per test process; its PEM is what the proxy and direct clients are told to trust.
//! Source: RFC 5280; RFC 9110 §4.3.4 for what a client must check.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, OnceLock},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType, date_time_ymd,
};
use rustls::{
    crypto::aws_lc_rs,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// What is wrong with an origin's certificate.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Ended in 2020.
    Expired,
    /// Begins in 2090.
    NotYetValid,
    /// For `elsewhere.test`, whatever was asked for.
    WrongHost,
    /// Signed by its own key.
    SelfSigned,
    /// Signed by an authority nobody trusts.
    UnknownIssuer,
    /// For TLS clients, not for servers (extended key usage).
    ClientsOnly,
    /// The name stands in the subject only; there is no subjectAltName.
    SubjectOnly,
}

impl Fault {
    /// Every kind of bad certificate.
    pub const ALL: [Self; 7] =
        [Self::Expired, Self::NotYetValid, Self::WrongHost, Self::SelfSigned, Self::UnknownIssuer, Self::ClientsOnly, Self::SubjectOnly];
}

/// A certificate authority of this test process.
#[derive(Debug)]
pub struct Authority {
    pem: String,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// The one that origins use and everybody trusts.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Authority> = OnceLock::new();
        SHARED.get_or_init(|| Self::new("Test Origins' Root"))
    }

    /// The one that nobody trusts.
    fn stranger() -> &'static Self {
        static STRANGER: OnceLock<Authority> = OnceLock::new();
        STRANGER.get_or_init(|| Self::new("Somebody Else's Root"))
    }

    fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("a P-256 key can be made");
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).expect("a root signs itself");
        Self { pem: certificate.pem(), der: certificate.der().clone(), issuer: Issuer::new(params, key) }
    }

    /// For `upstream_ca` files.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The root of certificates with [`Fault::UnknownIssuer`].
    pub fn stranger_pem() -> &'static str {
        &Self::stranger().pem
    }

    /// A certificate for a client called that, and its key, in one PEM text.
    pub fn client_pem(&self, name: &str) -> String {
        let key = KeyPair::generate().expect("a P-256 key can be made");
        let mut params = params(name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer).expect("the parameters are well-formed");
        certificate.pem() + &key.serialize_pem()
    }

    /// For a client's trust.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// A certificate for those names, with that fault.
    pub fn issue(&self, names: &[&str], fault: Fault) -> Arc<CertifiedKey> {
        let key = KeyPair::generate().expect("a P-256 key can be made");
        let mut params = params(names[0]);
        params.subject_alt_names = names.iter().map(|name| san(name)).collect();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        match fault {
            Fault::Expired => params.not_after = date_time_ymd(2020, 1, 1),
            Fault::NotYetValid => params.not_before = date_time_ymd(2090, 1, 1),
            Fault::WrongHost => params.subject_alt_names = vec![san("elsewhere.test")],
            Fault::ClientsOnly => params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
            Fault::SubjectOnly => params.subject_alt_names.clear(),
            Fault::None | Fault::SelfSigned | Fault::UnknownIssuer => {}
        }
        let issued = match fault {
            Fault::SelfSigned => params.self_signed(&key),
            Fault::UnknownIssuer => params.signed_by(&key, &Self::stranger().issuer),
            _ => params.signed_by(&key, &self.issuer),
        };
        let chain = vec![issued.expect("the parameters are well-formed").der().clone()];
        let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let signing = aws_lc_rs::sign::any_supported_type(&private).expect("the key was just made");
        Arc::new(CertifiedKey::new(chain, signing))
    }
}

/// What may be asked for without a server name: the kit's origins live on loopback.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Hands out a certificate for whatever name is asked for.
#[derive(Debug)]
pub(crate) struct ForAnyName {
    fault: Fault,
    loopback: Arc<CertifiedKey>,
}

impl ForAnyName {
    pub(crate) fn new(fault: Fault) -> Self {
        Self { fault, loopback: Authority::shared().issue(&LOOPBACK, fault) }
    }
}

impl ResolvesServerCert for ForAnyName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        match hello.server_name() {
            None | Some("localhost") => Some(self.loopback.clone()),
            Some(name) => Some(Authority::shared().issue(&[name], self.fault)),
        }
    }
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2019, 1, 1);
    params.not_after = date_time_ymd(2099, 1, 1);
    params
}

fn san(name: &str) -> SanType {
    match name.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => SanType::IpAddress(IpAddr::V4(Ipv4Addr::from(address.octets()))),
        Ok(IpAddr::V6(address)) => SanType::IpAddress(IpAddr::V6(Ipv6Addr::from(address.octets()))),
        Err(_) => SanType::DnsName(name.try_into().expect("names of tests are ASCII")),
    }
}
