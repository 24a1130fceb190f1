//! The proxy as the server of an intercepted tunnel.
//!
//! Place: `net` has looked at the ClientHello and asks for the configuration to answer it with. Which protocol ALPN shall agree on is decided
//! before, so that client and origin can speak the same one.
//! Source: RFC 8446, RFC 7301, RFC 6066 §3 (SNI).

use std::sync::Arc;

use anyhow::Context;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::Ticketer,
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::DnsName;

use super::{Leaves, Protocol, provider};

/// Configurations of the proxy as a server: TLS 1.2 and 1.3, a leaf per server name, tickets shared by all of them.
#[derive(Debug)]
pub struct Interceptor {
    leaves: Arc<Leaves>,
    http1: Arc<ServerConfig>,
    http2: Arc<ServerConfig>,
    unsaid: Arc<ServerConfig>,
}

impl Interceptor {
    /// With leaves out of that cache.
    ///
    /// # Errors
    /// Where the system gives no randomness for the tickets' key.
    pub fn new(leaves: Arc<Leaves>) -> anyhow::Result<Self> {
        let mut unsaid = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .context("choosing TLS versions")?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(ByName(leaves.clone())));
        // See `provider`: few clients mean anything by the order that they offer suites in.
        unsaid.ignore_client_order = true;
        // One key for all configurations: whoever resumes need not meet the same one. rustls holds a ticket to its server name.
        unsaid.ticketer = Ticketer::new().context("making the key of the tickets")?;
        // Tickets carry everything; a cache of sessions would only grow beside them.
        unsaid.session_storage = Arc::new(NoServerSessionStorage {});
        let with = |name: &[u8]| {
            let mut config = unsaid.clone();
            config.alpn_protocols = vec![name.to_vec()];
            Arc::new(config)
        };
        Ok(Self { leaves, http1: with(b"http/1.1"), http2: with(b"h2"), unsaid: Arc::new(unsaid) })
    }

    /// Whether clients would take a leaf for that host from this root.
    pub fn may_intercept(&self, host: &str) -> bool {
        self.leaves.permitted().has(host)
    }

    /// Whether there is a leaf already that [`Interceptor::config`] would take; one may still be made for somebody else meanwhile.
    pub fn has_leaf(&self, sni: Option<&str>, host: &str) -> bool {
        self.leaves.has(named(sni).unwrap_or(host))
    }

    /// What to answer a ClientHello with. `sni` is the name in it, where there is one; `host` is the tunnel's host, which the leaf is made
    /// for where the client names none (or an IP address, which RFC 6066 §3 forbids and which counts as none).
    ///
    /// # Errors
    /// Where no leaf can be made; see [`Leaves::for_host`].
    pub fn config(&self, sni: Option<&str>, host: &str, protocol: Protocol) -> anyhow::Result<Arc<ServerConfig>> {
        let shared = match protocol {
            Protocol::Http1 => &self.http1,
            Protocol::Http2 => &self.http2,
            Protocol::Unsaid => &self.unsaid,
        };
        match named(sni) {
            Some(name) => {
                // Made now, where the failure can still be told apart from one of TLS; the resolver finds it in the cache.
                self.leaves.for_host(name).with_context(|| format!("making a certificate for {name}"))?;
                Ok(shared.clone())
            }
            None => {
                let leaf = self.leaves.for_host(host).with_context(|| format!("making a certificate for {host}"))?;
                let mut config = ServerConfig::clone(shared);
                config.cert_resolver = Arc::new(Fixed(leaf));
                Ok(Arc::new(config))
            }
        }
    }
}

/// What counts as a name.
fn named(sni: Option<&str>) -> Option<&str> {
    sni.filter(|name| DnsName::try_from(*name).is_ok())
}

/// The leaf of the name in the ClientHello.
#[derive(Debug)]
struct ByName(Arc<Leaves>);

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.for_host(hello.server_name()?).ok()
    }
}

/// The leaf of the tunnel's host.
#[derive(Debug)]
struct Fixed(Arc<CertifiedKey>);

impl ResolvesServerCert for Fixed {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use rustls::{ClientConfig, HandshakeKind, ProtocolVersion, SupportedProtocolVersion};

    use super::*;
    use crate::tls::{
        Root,
        testing::{self, Handshake},
    };

    struct Site {
        _folder: tempfile::TempDir,
        interceptor: Interceptor,
        client: ClientConfig,
    }

    impl Site {
        fn new() -> Self {
            Self::for_versions(rustls::ALL_VERSIONS)
        }

        fn for_versions(versions: &[&'static SupportedProtocolVersion]) -> Self {
            Self::for_client(|root| testing::trusting(root, versions))
        }

        fn for_client(client: impl FnOnce(&Root) -> ClientConfig) -> Self {
            let (folder, root) = testing::root();
            let client = client(&root);
            let leaves = Leaves::new(Arc::new(root), 100).unwrap();
            Self { _folder: folder, interceptor: Interceptor::new(Arc::new(leaves)).unwrap(), client }
        }

        fn handshake(&self, sni: Option<&str>, name: &str, protocol: Protocol) -> Handshake {
            let server = self.interceptor.config(sni, name, protocol).unwrap();
            testing::handshake(Arc::new(self.client.clone()), name, server).unwrap()
        }
    }

    #[test]
    fn clients_get_what_costs_least_in_whatever_order_they_offer_it() {
        let mut offered = (*provider()).clone();
        offered.cipher_suites.reverse();
        let site = Site::for_client(|root| testing::trusting_by(root, Arc::new(offered), rustls::ALL_VERSIONS));

        let seen = site.handshake(Some("a.test"), "a.test", Protocol::Unsaid);

        let suite = seen.server.negotiated_cipher_suite().map(|suite| suite.suite());
        assert_eq!(suite, Some(rustls::CipherSuite::TLS13_AES_128_GCM_SHA256));
    }

    #[test]
    fn clients_that_trust_the_root_are_served() {
        let site = Site::new();

        for (sni, name) in [(Some("a.test"), "a.test"), (None, "127.0.0.1"), (None, "::1")] {
            let seen = site.handshake(sni, name, Protocol::Unsaid);
            assert_eq!(seen.server.protocol_version(), Some(ProtocolVersion::TLSv1_3), "{name}");
        }
    }

    #[test]
    fn an_address_in_place_of_a_name_counts_as_none() {
        let site = Site::new();

        site.handshake(Some("127.0.0.1"), "127.0.0.1", Protocol::Unsaid);
    }

    #[test]
    fn tls_1_2_is_spoken_too() {
        let site = Site::for_versions(&[&rustls::version::TLS12]);

        let seen = site.handshake(Some("a.test"), "a.test", Protocol::Unsaid);

        assert_eq!(seen.server.protocol_version(), Some(ProtocolVersion::TLSv1_2));
    }

    #[test]
    fn alpn_agrees_on_what_was_decided() {
        let mut site = Site::new();
        site.client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];

        for (protocol, expected) in
            [(Protocol::Http1, Some(&b"http/1.1"[..])), (Protocol::Http2, Some(&b"h2"[..])), (Protocol::Unsaid, None)]
        {
            assert_eq!(site.handshake(Some("a.test"), "a.test", protocol).client.alpn_protocol(), expected);
        }
    }

    #[test]
    fn sessions_are_resumed_whatever_the_protocol() {
        let mut site = Site::new();
        site.client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];

        let first = site.handshake(Some("a.test"), "a.test", Protocol::Http2).server.handshake_kind();
        let second = site.handshake(Some("a.test"), "a.test", Protocol::Http1).server.handshake_kind();
        let third = site.handshake(Some("b.test"), "b.test", Protocol::Http1).server.handshake_kind();

        assert_ne!(first, Some(HandshakeKind::Resumed));
        assert_eq!(second, Some(HandshakeKind::Resumed));
        assert_ne!(third, Some(HandshakeKind::Resumed), "a ticket holds for its server name only");
    }

    #[test]
    fn what_is_no_host_is_refused_before_the_handshake() {
        let site = Site::new();

        assert!(site.interceptor.config(None, "a b", Protocol::Http1).is_err());
    }
}
