//! From an authority to a connection: names, addresses, TCP, TLS.
//!
//! Place: below `pool`, and directly below tunnels that are spliced. A request is never sent to an origin whose certificate does not verify.
//! Source: RFC 9110 §4.3.4, RFC 6125.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use rustls_pki_types::ServerName;
use tokio::{
    net::{TcpStream, lookup_host},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{
    Destination, attempts,
    reach::Reach,
    upstream::{Kind, Upstream},
};
use crate::{
    flow::{Authority, Origin, Refusal, Scheme},
    io::{Io, Layered, prepare},
    meters::{Meters, Side},
    tls::{self, Protocol, Trust},
};

/// A connection that counts among those to all origins for as long as it stands: whatever runs over it holds it to its end.
type Placed = Layered<TcpStream, OwnedSemaphorePermit>;

/// Bounds of dialling.
#[derive(Clone, Copy, Debug)]
pub struct DialLimits {
    /// Name look-up.
    pub resolve: Duration,
    /// All attempts to connect, together.
    pub connect: Duration,
    /// TLS handshake.
    pub handshake: Duration,
    /// What an upstream proxy takes to connect.
    pub upstream: Duration,
    /// Within which silent origins have to give a sign of life.
    pub keepalive: Duration,
    /// Connections at once, to all origins.
    pub at_once: usize,
}

/// When a connection came up.
#[derive(Clone, Copy, Debug)]
pub struct Dialled {
    /// It was asked for.
    pub began: Instant,
    /// TCP stood, through whatever proxy is on the way.
    pub connected: Instant,
    /// TLS did, if the origin speaks that.
    pub secured: Option<Instant>,
}

#[cfg(test)]
impl Dialled {
    /// In no time.
    pub(super) fn now() -> Self {
        let now = Instant::now();
        Self { began: now, connected: now, secured: None }
    }
}

/// Opens connections.
#[derive(Debug)]
pub struct Dialler {
    trust: ArcSwap<Trust>,
    limits: DialLimits,
    /// Addresses given by configuration in place of look-ups.
    fixed: HashMap<(String, u16), SocketAddr>,
    /// Another proxy on the way.
    upstream: Option<Upstream>,
    /// Where clients may be taken to.
    reach: ArcSwap<Reach>,
    /// Where this proxy itself listens.
    own: OnceLock<Vec<SocketAddr>>,
    /// For each connection one, as long as it stands.
    places: Arc<Semaphore>,
    meters: Arc<Meters>,
}

impl Dialler {
    /// Verifies origins by `trust`. `fixed`: hosts (lower case) and ports that are found at that address, without a look-up.
    pub fn new(
        trust: Trust,
        limits: DialLimits,
        fixed: HashMap<(String, u16), SocketAddr>,
        upstream: Option<Upstream>,
        reach: Reach,
        meters: Arc<Meters>,
    ) -> Self {
        let (trust, reach) = (ArcSwap::from_pointee(trust), ArcSwap::from_pointee(reach));
        let places = Arc::new(Semaphore::new(limits.at_once));
        Self { trust, limits, fixed, upstream, reach, own: OnceLock::new(), places, meters }
    }

    /// Says where this proxy listens, so that requests that lead back to it are refused. The first call counts.
    pub fn set_own(&self, addresses: Vec<SocketAddr>) {
        let _ = self.own.set(addresses);
    }

    /// Verifies by other certificates from here on.
    pub fn trust(&self, trust: impl Into<Arc<Trust>>) {
        self.trust.store(trust.into());
    }

    /// Takes clients elsewhere from here on.
    pub fn reach(&self, reach: Reach) {
        self.reach.store(Arc::new(reach));
    }

    /// Whether another connection would come up without waiting for one to end.
    pub(super) fn has_room(&self) -> bool {
        self.places.available_permits() > 0
    }

    /// Whether a tunnel may lead there, before anything is known but its port.
    ///
    /// # Errors
    /// [`Refusal::Denied`].
    pub fn may_connect(&self, authority: &Authority) -> Result<(), Refusal> {
        match self.reach.load().connects_to(authority.port()) {
            true => Ok(()),
            false => Err(Refusal::Denied(format!("CONNECT does not reach port {} here", authority.port()))),
        }
    }

    /// A connection to an origin, through the upstream proxy if there is one on the way.
    ///
    /// # Errors
    /// [`Refusal::DnsError`], [`Refusal::ConnectionRefused`], [`Refusal::ConnectionTimeout`], [`Refusal::Loop`], [`Refusal::Denied`],
    /// [`Refusal::Overloaded`], [`Refusal::Upstream`].
    pub(super) async fn open(&self, authority: &Authority) -> Result<Io, Refusal> {
        let is_fixed = || self.fixed.contains_key(&(authority.host().to_ascii_lowercase(), authority.port()));
        let Some(upstream) = self.upstream.as_ref().filter(|upstream| upstream.leads_to(authority) && !is_fixed()) else {
            let found = self.resolve(authority).await?;
            let addresses = if is_fixed() { found } else { self.reachable(authority, found)? };
            return Ok(Box::new(self.tcp(authority, addresses).await?));
        };
        // A name is the upstream proxy's to look up; an address is not.
        if let Some(ip) = authority.ip() {
            self.reachable(authority, vec![SocketAddr::new(ip, authority.port())])?;
        }
        let about = |refusal| match refusal {
            // Not its fault.
            Refusal::Overloaded(_) | Refusal::Loop => refusal,
            _ => Refusal::Upstream { authority: upstream.authority.clone(), source: Box::new(refusal) },
        };
        let io = self.proxy(upstream).await.map_err(about)?;
        match timeout(self.limits.upstream, upstream.open(io, authority)).await {
            Ok(opened) => opened.map_err(|source| Refusal::ConnectionRefused { authority: authority.clone(), source }),
            Err(_elapsed) => Err(about(Refusal::ConnectionTimeout { authority: authority.clone(), after: self.limits.upstream })),
        }
    }

    /// A connection to an upstream proxy itself.
    async fn proxy(&self, upstream: &Upstream) -> Result<Io, Refusal> {
        let scheme = if upstream.kind == Kind::Https { Scheme::Https } else { Scheme::Http };
        let proxy = Destination::new(Origin { scheme, authority: upstream.authority.clone() });
        let addresses = self.resolve(&upstream.authority).await?;
        let stream = self.tcp(&upstream.authority, addresses).await?;
        let (io, _) = self.secured(Box::new(stream), &proxy, Protocol::Unsaid).await?;
        Ok(io)
    }

    /// A TCP connection, without Nagle's delay.
    async fn tcp(&self, authority: &Authority, addresses: Vec<SocketAddr>) -> Result<Placed, Refusal> {
        let Ok(Ok(place)) = timeout(self.limits.connect, self.places.clone().acquire_owned()).await else {
            return Err(Refusal::Overloaded("there are as many connections to origins as there may be (limits.origin-connections)"));
        };
        let refused = |source| Refusal::ConnectionRefused { authority: authority.clone(), source };
        let stream = match timeout(self.limits.connect, attempts::first(addresses, TcpStream::connect)).await {
            Ok(connected) => connected.map_err(refused)?,
            Err(_elapsed) => return Err(Refusal::ConnectionTimeout { authority: authority.clone(), after: self.limits.connect }),
        };
        let ends = stream.local_addr().and_then(|local| Ok((local, stream.peer_addr()?))).map_err(refused)?;
        if self.own.get().is_some_and(|own| own.iter().any(|own| ends_here(own, ends))) {
            return Err(Refusal::Loop);
        }
        prepare(&stream, self.limits.keepalive).map_err(refused)?;
        Ok(Layered::new(stream, place))
    }

    /// A connection that speaks HTTP: TLS for https, verified. The second value: HTTP/2 was agreed on.
    ///
    /// # Errors
    /// As for [`Dialler::open`], and [`Refusal::CertificateError`], [`Refusal::TlsError`].
    pub(super) async fn connect(&self, destination: &Destination, protocol: Protocol) -> Result<(Io, bool, Dialled), Refusal> {
        let began = Instant::now();
        let io = self.open(&destination.origin.authority).await?;
        let connected = Instant::now();
        let (io, http2) = self.secured(io, destination, protocol).await?;
        let secured = (destination.origin.scheme == Scheme::Https).then(Instant::now);
        Ok((io, http2, Dialled { began, connected, secured }))
    }

    /// TLS over a connection, if the scheme asks for it.
    async fn secured(&self, io: Io, destination: &Destination, protocol: Protocol) -> Result<(Io, bool), Refusal> {
        let authority = &destination.origin.authority;
        if destination.origin.scheme == Scheme::Http {
            return Ok((io, false));
        }
        let failed = |reason: String| Refusal::TlsError { authority: authority.clone(), reason };
        let name = ServerName::try_from(destination.server_name().to_owned()).map_err(|error| failed(error.to_string()))?;
        let connector = TlsConnector::from(self.trust.load().config(authority.host(), protocol));
        let ended = timeout(self.limits.handshake, connector.connect(name, io)).await;
        self.meters.handshake(Side::Origin, matches!(ended, Ok(Ok(_))));
        match ended {
            Ok(Ok(stream)) => {
                let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                Ok((Box::new(stream), http2))
            }
            Ok(Err(error)) => Err(match tls::explain(&error) {
                Some(trouble) if trouble.is_certificate() => {
                    Refusal::CertificateError { authority: authority.clone(), reason: trouble.to_string() }
                }
                Some(trouble) => failed(trouble.to_string()),
                None => failed(error.to_string()),
            }),
            Err(_elapsed) => Err(Refusal::ConnectionTimeout { authority: authority.clone(), after: self.limits.handshake }),
        }
    }

    /// The addresses that clients may be taken to: these very ones are dialled, so that nothing can change after they were looked at.
    fn reachable(&self, authority: &Authority, mut addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Refusal> {
        let reach = self.reach.load();
        let mut denied = None;
        addresses.retain(|address| {
            let objection = reach.objection(address.ip());
            denied = denied.or(objection.map(|reason| (address.ip(), reason)));
            objection.is_none()
        });
        match denied {
            Some((ip, reason)) if addresses.is_empty() => Err(Refusal::Denied(format!(
                "{authority} is not reached through this proxy: {ip} is {reason} (destinations.allow in flowgate.toml has the exceptions)"
            ))),
            _ => Ok(addresses),
        }
    }

    async fn resolve(&self, authority: &Authority) -> Result<Vec<SocketAddr>, Refusal> {
        let (host, port) = (authority.host(), authority.port());
        let fixed = self.fixed.get(&(host.to_ascii_lowercase(), port));
        let addresses: Vec<SocketAddr> = match (fixed, authority.ip()) {
            (Some(address), _) => vec![*address],
            (None, Some(ip)) => vec![SocketAddr::new(ip, port)],
            (None, None) => {
                let failed = |source| Refusal::DnsError { authority: authority.clone(), source };
                let found = timeout(self.limits.resolve, lookup_host((host, port))).await;
                found.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(failed)?.collect()
            }
        };
        let leads_back = |address: &SocketAddr| self.own.get().is_some_and(|own| own.iter().any(|own| is_same(own, address)));
        if addresses.iter().any(leads_back) { Err(Refusal::Loop) } else { Ok(addresses) }
    }
}

/// Whether dialling `address` reaches the listener at `own`, which may listen on every address of this machine.
fn is_same(own: &SocketAddr, address: &SocketAddr) -> bool {
    let ip = match address.ip() {
        IpAddr::V6(ip) => ip.to_canonical(),
        ip => ip,
    };
    own.port() == address.port() && (own.ip() == ip || (own.ip().is_unspecified() && ip.is_loopback()) || ip.is_unspecified())
}

/// Whether a connection with these ends leads to the listener at `own`, which listens on every address of this machine: the system chooses for
/// one that does not leave it the same address at both ends.
fn ends_here(own: &SocketAddr, (local, peer): (SocketAddr, SocketAddr)) -> bool {
    own.ip().is_unspecified() && own.port() == peer.port() && local.ip().to_canonical() == peer.ip().to_canonical()
}

/// Shared by the pool and the tunnels.
pub(super) type SharedDialler = Arc<Dialler>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxys_own_ports_are_known_in_every_spelling() {
        let own: SocketAddr = "127.0.0.1:8080".parse().expect("an address");
        let any: SocketAddr = "0.0.0.0:8080".parse().expect("an address");
        for (address, loops) in [
            ("127.0.0.1:8080", true),
            ("[::ffff:127.0.0.1]:8080", true),
            ("0.0.0.0:8080", true),
            ("127.0.0.1:8081", false),
            ("192.0.2.1:8080", false),
        ] {
            let address = address.parse().expect("an address");
            assert_eq!(is_same(&own, &address), loops, "{address}");
            assert_eq!(is_same(&any, &address), loops, "{address}");
        }
    }

    #[test]
    fn what_comes_back_by_another_address_of_this_machine_is_known() {
        let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
        for (own, local, peer, loops) in [
            ("0.0.0.0:8080", "10.9.0.1:40000", "10.9.0.1:8080", true),
            ("[::]:8080", "[2001:db8::1]:40000", "[2001:db8::1]:8080", true),
            ("[::]:8080", "[::ffff:10.9.0.1]:40000", "10.9.0.1:8080", true),
            ("0.0.0.0:8080", "10.9.0.1:40000", "10.9.0.1:8081", false),
            ("0.0.0.0:8080", "10.9.0.1:40000", "10.9.0.2:8080", false),
            ("10.9.0.2:8080", "10.9.0.1:40000", "10.9.0.1:8080", false),
        ] {
            assert_eq!(ends_here(&address(own), (address(local), address(peer))), loops, "{own} {local} {peer}");
        }
    }

    /// Verifies by a root of its own, for nothing gets as far as that.
    fn dialler(limits: DialLimits, upstream: Option<Upstream>) -> Dialler {
        let folder = tempfile::tempdir().unwrap();
        let root = crate::tls::Root::open_or_create(folder.path()).unwrap();
        let trust = Trust::load(&[root.certificate_path().to_owned()], &[]).unwrap();
        Dialler::new(trust, limits, HashMap::new(), upstream, Reach { local_clients: true, ..Reach::default() }, Arc::default())
    }

    const PATIENT: DialLimits = DialLimits {
        resolve: Duration::from_secs(10),
        connect: Duration::from_secs(10),
        handshake: Duration::from_secs(10),
        upstream: Duration::from_secs(10),
        keepalive: Duration::from_secs(10),
        at_once: 1,
    };

    #[test]
    fn what_takes_longer_than_its_deadline_is_given_up() {
        // Names are looked up by the one thread for blocking work, which has something else to do.
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).enable_all().build().unwrap();
        let (done, busy) = std::sync::mpsc::sync_channel::<()>(0);
        runtime.block_on(async {
            crate::tasks::Tasks::new().block(move || busy.recv());
            give_up().await;
        });
        drop(done);
    }

    async fn give_up() {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let name = Authority::new("localhost", port);
        // One connection fills its queue: the system takes no further one.
        let full = tokio::net::TcpSocket::new_v4().unwrap();
        full.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let full = full.listen(0).unwrap();
        let _first = TcpStream::connect(full.local_addr().unwrap()).await.unwrap();
        let address = Authority::new("127.0.0.1", full.local_addr().unwrap().port());
        let refusal = async |dialler: Dialler, authority: &Authority| {
            dialler.open(authority).await.err().map(|refusal| format!("{:#}", anyhow::Error::from(refusal)))
        };

        let resolving = refusal(dialler(DialLimits { resolve: Duration::ZERO, ..PATIENT }, None), &name).await;
        let connecting = refusal(dialler(DialLimits { connect: Duration::ZERO, ..PATIENT }, None), &address).await;
        let proxy = Upstream::parse(&format!("http://127.0.0.1:{port}"), &[]).unwrap();
        let through =
            refusal(dialler(DialLimits { upstream: Duration::ZERO, ..PATIENT }, Some(proxy)), &Authority::new("a.test", 443)).await;

        let dead = Upstream::parse("https://127.0.0.1:1", &[]).unwrap();
        let nobody = refusal(dialler(PATIENT, Some(dead)), &Authority::new("a.test", 443)).await;

        let resolving = resolving.as_deref();
        assert!(resolving.is_some_and(|said| said.starts_with("no address for localhost: ")), "{resolving:?}");
        assert_eq!(connecting, Some(format!("{address} did not accept within 0ns")));
        assert_eq!(through, Some(format!("the upstream proxy 127.0.0.1:{port} cannot be used: a.test:443 did not accept within 0ns")));
        let said = "the upstream proxy 127.0.0.1:1 cannot be used: connecting to 127.0.0.1:1 failed: ";
        assert!(nobody.as_ref().is_some_and(|reason| reason.starts_with(said)), "{nobody:?}");
    }
}
