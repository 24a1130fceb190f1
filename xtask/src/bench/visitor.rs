//! Clients: connections to the origin, straight or through a proxy, over TLS.

use std::{net::SocketAddr, path::Path, sync::Arc};

use anyhow::{Context, ensure};
use rustls::{ClientConfig, RootCertStore, client::Resumption, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Where somebody goes, how, and whom they trust.
pub(crate) struct Visitor {
    proxy: Option<SocketAddr>,
    config: Arc<ClientConfig>,
    origin: String,
}

impl Visitor {
    /// `proxy`: none goes straight. `trusted`: PEM files. `origin`: `localhost:PORT`.
    pub(crate) fn new(proxy: Option<SocketAddr>, trusted: &[impl AsRef<Path>], origin: &str) -> anyhow::Result<Self> {
        Ok(Self { proxy, config: trusting(trusted)?, origin: origin.to_owned() })
    }

    /// Who is visited.
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// Never resumes a TLS session.
    pub(crate) fn forgetful(mut self) -> Self {
        Arc::make_mut(&mut self.config).resumption = Resumption::disabled();
        self
    }

    /// A new connection.
    pub(crate) async fn open(&self) -> anyhow::Result<TlsStream<TcpStream>> {
        self.open_to(&self.origin).await
    }

    /// A new connection to the origin by another name, with its port.
    pub(crate) async fn open_to(&self, authority: &str) -> anyhow::Result<TlsStream<TcpStream>> {
        let tcp = match self.proxy {
            Some(proxy) => tunnel(proxy, authority).await?,
            None => TcpStream::connect(&self.origin).await.context("connecting to the origin")?,
        };
        tcp.set_nodelay(true)?;
        let (host, _) = authority.rsplit_once(':').context("no port")?;
        let name = ServerName::try_from(host)?.to_owned();
        TlsConnector::from(self.config.clone()).connect(name, tcp).await.context("TLS with the origin")
    }
}

async fn tunnel(proxy: SocketAddr, authority: &str) -> anyhow::Result<TcpStream> {
    let mut tcp = TcpStream::connect(proxy).await.context("connecting to the proxy")?;
    // "octocat:" in base64.
    let head = format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\nProxy-Authorization: Basic b2N0b2NhdDo=\r\n\r\n", authority);
    tcp.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        ensure!(tcp.read_buf(&mut answer).await? > 0, "the proxy closed instead of answering CONNECT");
    }
    ensure!(answer.starts_with(b"HTTP/1.1 200"), "CONNECT: {}", String::from_utf8_lossy(&answer));
    Ok(tcp)
}

/// A client's configuration.
pub(crate) fn trusting(trusted: &[impl AsRef<Path>]) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for root in trusted {
        let root = root.as_ref();
        roots.add(CertificateDer::from_pem_file(root).with_context(|| format!("reading {}", root.display()))?)?;
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
