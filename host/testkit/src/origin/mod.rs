//! Origin servers on loopback that keep every octet of what they are asked and answer by script.
//!
//! Place: behind the proxy in tests; a direct client reaches the same origin to compare. HTTP/1.1 is written against sockets, HTTP/2
//! stands on the `h2` crate: neither shares code with the proxy.

mod h1;
mod h2;
mod journal;
mod script;

use std::{
    future::Future,
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
};

use flowgate::tasks::Tasks;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    server::{ResolvesServerCert, WebPkiClientVerifier},
};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsStream};

pub use self::{
    journal::{Journal, Peer, Seen},
    script::{Act, Script},
};
use crate::{
    certificates::{Authority, Fault, ForAnyName},
    message::Trouble,
    wire::{Stream, Wire},
};

/// How an origin listens.
#[derive(Clone, Debug)]
pub struct Setup {
    ip: Ipv4Addr,
    tls: bool,
    alpn: Vec<Vec<u8>>,
    fault: Fault,
    asks_for_client: bool,
    streams: Option<u32>,
}

impl Setup {
    /// Over TLS, HTTP/2 and HTTP/1.1 by ALPN.
    pub fn tls() -> Self {
        let alpn = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self { ip: Ipv4Addr::LOCALHOST, tls: true, alpn, fault: Fault::None, asks_for_client: false, streams: None }
    }

    /// Over TLS, HTTP/1.1 only.
    pub fn http1() -> Self {
        Self::tls().alpn(&["http/1.1"])
    }

    /// Over TLS, HTTP/2 only.
    pub fn http2() -> Self {
        Self::tls().alpn(&["h2"])
    }

    /// Without TLS.
    pub fn clear() -> Self {
        Self { tls: false, alpn: Vec::new(), ..Self::tls() }
    }

    /// On another address of this machine than loopback's.
    pub fn at(mut self, ip: Ipv4Addr) -> Self {
        self.ip = ip;
        self
    }

    /// Selects by ALPN among these; empty: says nothing.
    pub fn alpn(mut self, protocols: &[&str]) -> Self {
        self.alpn = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    /// With a bad certificate.
    pub fn fault(mut self, fault: Fault) -> Self {
        self.fault = fault;
        self
    }

    /// Lets nobody in who shows no certificate of the kit's authority.
    pub fn asking_for_client(mut self) -> Self {
        self.asks_for_client = true;
        self
    }

    /// Allows so many streams at a time on a connection (HTTP/2).
    pub fn streams(mut self, most: u32) -> Self {
        self.streams = Some(most);
        self
    }

    fn config(&self) -> Option<Arc<ServerConfig>> {
        let certificates: Arc<dyn ResolvesServerCert> = Arc::new(ForAnyName::new(self.fault));
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for TLS 1.2 and 1.3");
        let builder = match self.asks_for_client {
            false => builder.with_no_client_auth(),
            true => {
                let mut roots = RootCertStore::empty();
                roots.add(Authority::shared().der().clone()).expect("the kit's root is one");
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.expect("there is a root"))
            }
        };
        let mut config = builder.with_cert_resolver(certificates);
        config.alpn_protocols.clone_from(&self.alpn);
        self.tls.then(|| Arc::new(config))
    }
}

type Answer = Arc<dyn Fn(&Seen) -> Script + Send + Sync>;
/// A protocol of its own, on a connection.
pub type Talk = Arc<dyn Fn(Wire) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// What an origin speaks.
#[derive(Clone)]
enum Service {
    /// Streams at a time on a connection of HTTP/2.
    Http(Answer, Option<u32>),
    /// Any protocol.
    Other(Talk),
}

/// An origin server; gone when dropped.
#[derive(Debug)]
pub struct Origin {
    address: SocketAddr,
    tls: bool,
    journal: Arc<Journal>,
    tasks: Tasks,
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

impl Origin {
    /// Answers each request with the script that `answer` makes of its head.
    pub async fn start(setup: Setup, answer: impl Fn(&Seen) -> Script + Send + Sync + 'static) -> Self {
        let streams = setup.streams;
        Self::serve(setup, Service::Http(Arc::new(answer), streams)).await
    }

    /// Speaks a protocol of its own.
    pub async fn speaking<F>(setup: Setup, talk: impl Fn(Wire) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::serve(setup, Service::Other(Arc::new(move |wire| Box::pin(talk(wire))))).await
    }

    /// Greets first (`220 ready`), as mail servers do, then sends back what it gets.
    pub async fn speaking_first() -> Self {
        Self::speaking(Setup::clear(), |mut wire| async move {
            let mut sent = wire.send("220 ready\r\n").await;
            while sent.is_ok() {
                let Ok(octets) = wire.some(usize::MAX).await else { break };
                sent = wire.send(octets).await;
            }
        })
        .await
    }

    /// Takes connections and never says a word on them.
    pub async fn silent() -> Self {
        Self::speaking(Setup::clear(), |mut wire| async move { while wire.more().await.is_ok() {} }).await
    }

    /// Over TLS; says the same to every request.
    pub async fn saying(body: impl Into<bytes::Bytes>) -> Self {
        let body = body.into();
        Self::start(Setup::tls(), move |_| Script::ok(body.clone())).await
    }

    /// Over TLS; answers with the field lines it got.
    pub async fn echoing_fields() -> Self {
        Self::start(Setup::tls(), |seen| Script::ok(seen.field_lines())).await
    }

    /// Over TLS; answers with the content it got.
    pub async fn echoing_content() -> Self {
        Self::start(Setup::tls(), |_| Script::after_reading(|seen| Script::ok(seen.content.clone()))).await
    }

    async fn serve(setup: Setup, service: Service) -> Self {
        let listener = TcpListener::bind((setup.ip, 0)).await.expect("the address has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let (journal, tasks) = (Arc::new(Journal::default()), Tasks::new());
        let acceptor = setup.config().map(TlsAcceptor::from);
        tasks.spawn(accept(listener, acceptor, service, journal.clone(), tasks.clone()));
        Self { address, tls: setup.tls, journal, tasks }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `localhost:PORT`.
    pub fn authority(&self) -> String {
        format!("localhost:{}", self.address.port())
    }

    /// The root of its site.
    pub fn root(&self) -> String {
        self.url("/")
    }

    /// A URL on it; `path` begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", if self.tls { "https" } else { "http" }, self.authority())
    }

    /// What it saw.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The requests it saw so far, in the order their heads came.
    pub fn seen(&self) -> Vec<Seen> {
        self.journal.requests()
    }

    /// Waits until it has seen so many requests whole, and returns all of them.
    pub async fn after(&self, complete: usize) -> Vec<Seen> {
        let what = format!("{complete} requests at the origin");
        let enough = |requests: &[Seen]| requests.iter().filter(|seen| seen.complete).count() >= complete;
        self.journal.wait(&what, |requests, _| enough(requests).then(|| requests.to_vec())).await
    }
}

/// An address on loopback where nothing listens: connecting to it is refused. The socket keeps the port from being given to others.
pub struct Vacant(TcpSocket);

impl Vacant {
    /// Takes a port.
    pub fn new() -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        Ok(Self(socket))
    }

    /// Where nothing listens.
    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("a bound socket has an address")
    }
}

async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, service: Service, journal: Arc<Journal>, tasks: Tasks) {
    let stopping = tasks.stopping().clone();
    loop {
        let (tcp, client) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => panic!("the origin cannot accept: {error}"),
            },
            () = stopping.cancelled() => return,
        };
        let connection = journal.connected(client);
        let (acceptor, service, journal, stopping) = (acceptor.clone(), service.clone(), journal.clone(), stopping.clone());
        tasks.spawn(async move {
            let serving = connected(tcp, acceptor, service, &journal, connection);
            let ended = tokio::select! {
                ended = serving => ended,
                () = stopping.cancelled() => return,
            };
            journal.peer(connection, |peer| peer.ended = Some(ended));
        });
    }
}

async fn connected(tcp: TcpStream, acceptor: Option<TlsAcceptor>, service: Service, journal: &Arc<Journal>, connection: usize) -> Trouble {
    let stream = match acceptor {
        None => Stream::Clear(tcp),
        Some(acceptor) => match acceptor.accept(tcp).await {
            Ok(tls) => Stream::Tls(Box::new(TlsStream::from(tls))),
            Err(error) => {
                journal.peer(connection, |peer| peer.handshake_error = Some(error.to_string()));
                return Trouble::from(error);
            }
        },
    };
    let mut alpn = None;
    if let Stream::Tls(tls) = &stream
        && let TlsStream::Server(server) = &**tls
    {
        let session = server.get_ref().1;
        alpn = session.alpn_protocol().map(<[u8]>::to_vec);
        journal.peer(connection, |peer| {
            peer.server_name = session.server_name().map(str::to_owned);
            peer.alpn.clone_from(&alpn);
        });
    }
    match service {
        Service::Other(talk) => {
            talk(Wire::new(stream)).await;
            Trouble::Closed
        }
        Service::Http(answer, streams) if alpn.as_deref() == Some(b"h2") => {
            h2::serve(stream, answer, journal.clone(), connection, streams).await
        }
        Service::Http(answer, _) => h1::serve(Wire::new(stream), answer, journal, connection).await,
    }
}
