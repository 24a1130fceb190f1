//! TLS at both ends: certificates for the clients, verification of the origins.
//!
//! Place: `net` asks for a server's configuration per intercepted tunnel, `origin` for a client's per connection. Owns no sockets, reads
//! only the files of the root and of the trusted roots.
//! Source: RFC 8446, RFC 5280, RFC 7301.

mod cache;
mod client;
mod exception;
mod explain;
pub mod keystore;
mod leaf;
mod permitted;
mod root;
pub mod rotation;
mod server;
#[cfg(test)]
mod testing;

use std::sync::{Arc, LazyLock};

use anyhow::anyhow;
use rustls::{
    CipherSuite,
    crypto::{CryptoProvider, aws_lc_rs},
};

pub use cache::Leaves;
pub use client::Trust;
pub use exception::HostTls;
pub use explain::{CertificateTrouble, explain};
pub use permitted::Permitted;
pub use root::Root;
pub use server::Interceptor;

/// What is agreed on by ALPN (RFC 7301), decided before the handshake.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Protocol {
    /// `http/1.1`.
    Http1,
    /// `h2`.
    Http2,
    /// No ALPN at all.
    Unsaid,
}

/// Handed to every configuration, so that nothing depends on a default of the process.
///
/// Suites with AES-128-GCM and SHA-256 come first, as browsers have it: they are no less safe (RFC 8446 §9.1 asks for them), and cost less per
/// handshake and per octet. Clients get them, too, in whatever order they offer suites.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        let mut provider = aws_lc_rs::default_provider();
        provider.cipher_suites.sort_by_key(|suite| (suite.tls13().is_none(), !is_aes_128(suite.suite())));
        Arc::new(provider)
    });
    PROVIDER.clone()
}

fn is_aes_128(suite: CipherSuite) -> bool {
    use CipherSuite::{
        TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 as ECDSA, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 as RSA, TLS13_AES_128_GCM_SHA256 as TLS13,
    };
    matches!(suite, TLS13 | ECDSA | RSA)
}

/// A serial number or an identifier nobody can foresee.
fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut octets = [0; N];
    provider().secure_random.fill(&mut octets).map_err(|_| anyhow!("the system gives no random numbers"))?;
    Ok(octets)
}
