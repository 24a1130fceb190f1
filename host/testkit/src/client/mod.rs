//! Clients that say exactly what they are told to and show exactly what they got.
//!
//! Place: in front of the proxy in tests, or straight at an origin to compare. What a proxy or an origin does to a client is data
//! ([`Failure`], [`Response::trouble`]): tests look at it.

mod h1;
mod h2;

use std::{collections::HashMap, io, net::SocketAddr, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, crypto::aws_lc_rs, version};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, TlsStream};

pub use self::{
    h1::{Answer, H1, Response, request},
    h2::{H2, H2Answer, H2Response, send as send_h2},
};
use crate::{
    certificates::Authority,
    message::Trouble,
    patience::PATIENCE,
    wire::{Stream, Wire},
};

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The proxy answered CONNECT, and not with success.
    #[error("the proxy refused the tunnel with {}", .0.status())]
    Refused(Box<Response>),
    /// TCP did not come up.
    #[error("connecting failed: {0}")]
    Connect(io::Error),
    /// TLS did not come up.
    #[error("TLS failed: {0}")]
    Tls(io::Error),
    /// The connection ended before a whole head had come.
    #[error("no response: {trouble}")]
    Ended {
        /// How.
        trouble: Trouble,
        /// What had come.
        held: Vec<u8>,
    },
    /// HTTP/2 says so.
    #[error("HTTP/2: {0}")]
    Http2(#[from] ::h2::Error),
}

impl Failure {
    /// The refused tunnel's status, where it is that.
    pub fn refused_with(&self) -> Option<u16> {
        match self {
            Self::Refused(response) => Some(response.status()),
            _ => None,
        }
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        Self::Ended { trouble, held: Vec::new() }
    }
}

/// How to reach an origin: straight or through a proxy, as whom, trusting what. Cheap to clone and to vary.
#[derive(Clone, Debug)]
pub struct Client {
    proxy: Option<SocketAddr>,
    authorization: Option<Vec<u8>>,
    trusted: Vec<CertificateDer<'static>>,
    names: HashMap<String, SocketAddr>,
    server_name: Option<String>,
    send_server_name: bool,
    versions: &'static [&'static SupportedProtocolVersion],
}

impl Client {
    /// Straight to the origins of this kit.
    pub fn direct() -> Self {
        Self {
            proxy: None,
            authorization: None,
            trusted: vec![Authority::shared().der().clone()],
            names: HashMap::new(),
            server_name: None,
            send_server_name: true,
            versions: rustls::DEFAULT_VERSIONS,
        }
    }

    /// Through a proxy whose root certificate is that; origins' own certificates are not trusted, so what is not intercepted fails.
    pub fn through(proxy: SocketAddr, root_pem: &str) -> Self {
        let root = CertificateDer::from_pem_slice(root_pem.as_bytes()).expect("the root certificate is PEM");
        Self { proxy: Some(proxy), trusted: vec![root], ..Self::direct() }
    }

    /// Also trusting the origins of this kit: for tunnels that shall be spliced.
    pub fn trusting_origins(mut self) -> Self {
        self.trusted.push(Authority::shared().der().clone());
        self
    }

    /// Trusting nobody, as a client into which the root was not installed.
    pub fn trusting_nobody(mut self) -> Self {
        self.trusted.clear();
        self
    }

    /// With Basic credentials for the proxy (RFC 7617).
    pub fn with_user(self, user: &str, password: &str) -> Self {
        let value = format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")));
        self.with_authorization(value)
    }

    /// With that value of `Proxy-Authorization`, verbatim.
    pub fn with_authorization(mut self, value: impl Into<Vec<u8>>) -> Self {
        self.authorization = Some(value.into());
        self
    }

    /// When going straight: connect there for that `host:port`.
    pub fn resolving(mut self, authority: &str, address: SocketAddr) -> Self {
        self.names.insert(authority.to_owned(), address);
        self
    }

    /// Says (and expects) that server name in TLS, whatever the tunnel is for.
    pub fn with_server_name(mut self, name: &str) -> Self {
        self.server_name = Some(name.to_owned());
        self
    }

    /// Sends no SNI.
    pub fn without_server_name(mut self) -> Self {
        self.send_server_name = false;
        self
    }

    /// Offers TLS 1.2 only.
    pub fn tls12(mut self) -> Self {
        static TLS12: [&SupportedProtocolVersion; 1] = [&version::TLS12];
        self.versions = &TLS12;
        self
    }

    /// The value of `Proxy-Authorization`, if any.
    pub fn authorization(&self) -> Option<&[u8]> {
        self.authorization.as_deref()
    }

    /// A connection to the proxy itself, nothing said on it yet.
    ///
    /// # Errors
    /// TCP did not come up.
    ///
    /// # Panics
    /// Where the client goes straight.
    pub async fn to_proxy(&self) -> Result<H1, Failure> {
        let proxy = self.proxy.expect("this client has a proxy");
        Ok(H1::new(connect(proxy).await?))
    }

    /// A tunnel to `host:port` (or, going straight, a connection), nothing said on it yet.
    ///
    /// # Errors
    /// TCP did not come up, or the proxy refused.
    pub async fn tunnel(&self, authority: &str) -> Result<Wire, Failure> {
        let Some(proxy) = self.proxy else {
            return connect(self.address(authority).await?).await;
        };
        let mut connection = H1::new(connect(proxy).await?);
        connection.send(self.connect_request(authority)).await?;
        let answer = connection.begin("CONNECT").await?;
        if answer.head.status() / 100 != 2 {
            return Err(Failure::Refused(Box::new(answer.finish().await)));
        }
        Ok(connection.into_wire())
    }

    /// The octets that ask for a tunnel, as VS Code's agent writes them.
    pub fn connect_request(&self, authority: &str) -> Vec<u8> {
        let mut octets = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n").into_bytes();
        octets.extend_from_slice(&self.credentials());
        octets.extend_from_slice(b"Proxy-Connection: Keep-Alive\r\n\r\n");
        octets
    }

    /// The `Proxy-Authorization` line, or nothing.
    fn credentials(&self) -> Vec<u8> {
        self.authorization.iter().flat_map(|value| [b"Proxy-Authorization: ", &value[..], b"\r\n"].concat()).collect()
    }

    /// TLS over a tunnel, offering those protocols.
    ///
    /// # Errors
    /// What keeps it from coming up.
    pub async fn secure(&self, authority: &str, alpn: &[&str]) -> Result<Wire, Failure> {
        let wire = self.tunnel(authority).await?;
        self.secure_over(wire, authority, alpn).await
    }

    /// TLS over that connection.
    ///
    /// # Errors
    /// What keeps it from coming up.
    pub async fn secure_over(&self, wire: Wire, authority: &str, alpn: &[&str]) -> Result<Wire, Failure> {
        let host = self.server_name.as_deref().unwrap_or_else(|| split_authority(authority).0);
        let name = ServerName::try_from(host.to_owned()).map_err(|error| Failure::Tls(io::Error::other(error)))?;
        let Stream::Clear(tcp) = wire.into_stream() else {
            return Err(Failure::Tls(io::Error::other("TLS within TLS is not spoken here")));
        };
        let handshake = TlsConnector::from(self.tls_config(alpn)).connect(name, tcp);
        let tls = timeout(PATIENCE, handshake).await.map_err(|_elapsed| Failure::from(Trouble::Silent))?.map_err(Failure::Tls)?;
        Ok(Wire::new(Stream::Tls(Box::new(TlsStream::from(tls)))))
    }

    /// HTTP/1.1 over TLS to `host:port`.
    ///
    /// # Errors
    /// What keeps it from coming up.
    pub async fn h1(&self, authority: &str) -> Result<H1, Failure> {
        Ok(H1::new(self.secure(authority, &["http/1.1"]).await?))
    }

    /// HTTP/1.1 in clear to `host:port`: inside a tunnel, or straight.
    ///
    /// # Errors
    /// What keeps it from coming up.
    pub async fn clear(&self, authority: &str) -> Result<H1, Failure> {
        Ok(H1::new(self.tunnel(authority).await?))
    }

    /// HTTP/2 over TLS to `host:port`; nothing else is offered.
    ///
    /// # Errors
    /// What keeps it from coming up.
    pub async fn h2(&self, authority: &str) -> Result<H2, Failure> {
        H2::over(self.secure(authority, &["h2"]).await?).await
    }

    /// One GET on a connection of its own.
    ///
    /// # Errors
    /// There is no response.
    pub async fn get(&self, url: &str) -> Result<Response, Failure> {
        self.send(url, "GET", &[], b"").await
    }

    /// One POST on a connection of its own.
    ///
    /// # Errors
    /// There is no response.
    pub async fn post(&self, url: &str, fields: &[(&str, &str)], content: &[u8]) -> Result<Response, Failure> {
        self.send(url, "POST", fields, content).await
    }

    /// One request on a connection of its own: `https` in a tunnel, `http` in absolute-form (straight: origin-form).
    ///
    /// # Errors
    /// There is no response.
    ///
    /// # Panics
    /// Where `url` is not an absolute http or https URL.
    pub async fn send(&self, url: &str, method: &str, fields: &[(&str, &str)], content: &[u8]) -> Result<Response, Failure> {
        let (scheme, rest) = url.split_once("://").expect("an absolute URL");
        let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let authority = with_port(host, if scheme == "https" { 443 } else { 80 });
        let mut request = request(method, path, host, fields, content);
        let mut connection = match (scheme, self.proxy) {
            ("https", _) => self.h1(&authority).await?,
            ("http", None) => self.clear(&authority).await?,
            ("http", Some(_)) => {
                let line = format!("{method} {url} HTTP/1.1\r\n");
                let end = request.windows(2).position(|window| window == b"\r\n").unwrap_or_default() + 2;
                request.splice(..end, [line.as_bytes(), &self.credentials()].concat());
                self.to_proxy().await?
            }
            _ => panic!("neither http nor https: {url}"),
        };
        connection.exchange(request).await
    }

    async fn address(&self, authority: &str) -> Result<SocketAddr, Failure> {
        if let Some(address) = self.names.get(authority) {
            return Ok(*address);
        }
        let mut found = tokio::net::lookup_host(authority).await.map_err(Failure::Connect)?.collect::<Vec<_>>();
        // The kit's origins listen on IPv4.
        found.sort_by_key(SocketAddr::is_ipv6);
        found.first().copied().ok_or_else(|| Failure::Connect(io::ErrorKind::NotFound.into()))
    }

    fn tls_config(&self, alpn: &[&str]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.trusted.iter().cloned());
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(self.versions)
            .expect("the provider has suites for TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config.enable_sni = self.send_server_name;
        Arc::new(config)
    }
}

async fn connect(address: SocketAddr) -> Result<Wire, Failure> {
    let tcp = timeout(PATIENCE, TcpStream::connect(address)).await.map_err(|_elapsed| Failure::from(Trouble::Silent))?;
    Ok(Wire::new(Stream::Clear(tcp.map_err(Failure::Connect)?)))
}

/// `[::1]:8443` into `::1` and `8443`.
fn split_authority(authority: &str) -> (&str, &str) {
    let (host, port) = authority.rsplit_once(':').unwrap_or((authority, ""));
    (host.trim_start_matches('[').trim_end_matches(']'), port)
}

fn with_port(host: &str, default: u16) -> String {
    let bare = host.rsplit_once(':').is_none_or(|(_, port)| port.contains(']'));
    if bare { format!("{host}:{default}") } else { host.to_owned() }
}
