//! Accepting connections.
//!
//! Place: one per listening address, started by `app`. Each accepts one connection, and the next when there was a permit for that one: what cannot
//! be served waits in the kernel's queue. Descriptors that run out are waited for, not spun on. A client that has as many connections as it may have is told so.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tracing::Instrument;

use super::{
    Front,
    clients::Presence,
    connection::{self, Arrival},
    introduced::{self, Unintroduced},
};
use crate::{flow::ClientAddr, io::prepare, tasks::Tasks};

/// Connections the kernel queues for us; more than its usual limit only if that is raised.
const BACKLOG: u32 = 1024;

/// Pause after an accept that failed for want of descriptors or memory.
const BACK_OFF: Duration = Duration::from_millis(50);

/// To a client that has as many connections as it may have (RFC 9209 §2.3.12).
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nProxy-Status: flowgate; error=connection_limit_reached\r\n\
Content-Type: text/plain; charset=utf-8\r\nContent-Length: 70\r\nConnection: close\r\n\r\n\
flowgate: this client has as many connections here as it may have now\n";

/// A bound address.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    speaks: Speaks,
}

/// What clients speak to the proxy itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Speaks {
    /// HTTP in clear, as most do.
    Clear,
    /// HTTP over TLS: what clients call an `https://` proxy.
    Tls,
}

/// Binds an address, where clients speak to the proxy as `speaks` says.
///
/// # Errors
/// Names the address, and the mend where the port is taken.
pub fn bind(address: SocketAddr, speaks: Speaks) -> anyhow::Result<Listener> {
    let socket = || -> io::Result<TcpListener> {
        let socket = if address.is_ipv4() { tokio::net::TcpSocket::new_v4()? } else { tokio::net::TcpSocket::new_v6()? };
        // A restart must not wait for connections of the run before.
        socket.set_reuseaddr(true)?;
        // Linux hands it on to accepted connections; set there again for systems that do not.
        socket.set_nodelay(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    let socket = socket().map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            anyhow::anyhow!("{address} is in use by another process: stop it, or choose another address with --listen")
        }
        io::ErrorKind::PermissionDenied => anyhow::anyhow!("{address} needs privileges: choose a port above 1023 with --listen"),
        io::ErrorKind::AddrNotAvailable => anyhow::anyhow!("{address} is not an address of this machine: choose another with --listen"),
        _ => error.into(),
    });
    let socket = socket.with_context(|| format!("listening on {address}"))?;
    let address = socket.local_addr().context("asking for the listening address")?;
    Ok(Listener { socket, address, speaks })
}

impl Listener {
    /// A socket that somebody else has opened.
    ///
    /// # Errors
    /// It cannot be listened on.
    pub fn on(socket: std::net::TcpListener, speaks: Speaks) -> anyhow::Result<Self> {
        let taken = || -> io::Result<(TcpListener, SocketAddr)> {
            let address = socket.local_addr()?;
            socket.set_nonblocking(true)?;
            Ok((TcpListener::from_std(socket)?, address))
        };
        let (socket, address) = taken().context("taking over a listening socket")?;
        Ok(Self { socket, address, speaks })
    }

    /// Where it listens; the port is real even if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts until told to stop. Every connection is a task of `tasks`.
    pub async fn run(self, front: Arc<Front>, tasks: Tasks) {
        static CONNECTION: AtomicU64 = AtomicU64::new(1);
        let stopping = tasks.stopping().clone();
        loop {
            let accepted = tokio::select! {
                accepted = self.accept(&front) => accepted,
                () = stopping.cancelled() => return,
            };
            let Some((stream, peer, permit)) = accepted else { continue };
            let id = CONNECTION.fetch_add(1, Ordering::Relaxed);
            let span = tracing::info_span!("connection", id, client = %peer.0);
            let (front, speaks) = (front.clone(), self.speaks);
            if front.policy.load().is_balancer(peer) {
                tasks.spawn_severable(async move {
                    let Some(arrival) = introduced(&front, stream, peer).instrument(span).await else { return };
                    let span = tracing::info_span!("connection", id, client = %arrival.client.0, via = %peer.0);
                    let Some(presence) = span.in_scope(|| enter(&front, &arrival, speaks)) else { return };
                    connection::serve(front.clone(), arrival, speaks, id, presence.client()).instrument(span).await;
                    front.exchange.pool.log_out(id);
                    drop((presence, permit));
                });
                continue;
            }
            let arrival = Arrival::of(stream, peer);
            let Some(presence) = span.in_scope(|| enter(&front, &arrival, speaks)) else { continue };
            let serve = async move {
                connection::serve(front.clone(), arrival, speaks, id, presence.client()).await;
                front.exchange.pool.log_out(id);
                drop((presence, permit));
            };
            tasks.spawn_severable(serve.instrument(span));
        }
    }

    async fn accept(&self, front: &Front) -> Option<(TcpStream, ClientAddr, tokio::sync::OwnedSemaphorePermit)> {
        match self.socket.accept().await {
            Ok((stream, address)) => {
                let _ = prepare(&stream, front.limits.keepalive);
                // Not before there is somebody to take it: listeners that nobody comes to would keep places from the others. Never closed.
                let permit = front.taken.connections.clone().acquire_owned().await.ok()?;
                Some((stream, ClientAddr(address), permit))
            }
            Err(error) if is_of_one_connection(&error) => None,
            Err(error) => {
                let hint = if is_of_descriptors(&error) { ": allow it more (ulimit -n, or LimitNOFILE= of its unit)" } else { "" };
                tracing::warn!("accepting on {}: {error}{hint}", self.address);
                sleep(BACK_OFF).await;
                None
            }
        }
    }
}

/// The process, not the machine, has as many as it may have.
fn is_of_descriptors(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error())
}

/// A place among its client's connections; a client without one is told, if that can be.
fn enter(front: &Front, arrival: &Arrival, speaks: Speaks) -> Option<Presence> {
    let presence = front.taken.clients.enter(arrival.client);
    if presence.is_none() {
        tracing::info!("refused: this client has as many connections as it may have (limits.connections-per-client)");
        if speaks == Speaks::Clear {
            // Nobody waits for a client that is too much already: what does not go out at once does not go out.
            let _ = arrival.stream.try_write(TOO_MANY);
        }
    }
    presence
}

/// A connection of a balancer's, as that of whom it speaks for.
async fn introduced(front: &Front, mut stream: TcpStream, balancer: ClientAddr) -> Option<Arrival> {
    match introduced::read(&mut stream, balancer, front.limits.introduction).await {
        Ok(said) => {
            let own = Arrival::of(stream, said.client);
            Some(Arrival { address: said.reached.or(own.address), first: said.rest, ..own })
        }
        // Balancers that look whether anybody is there often do no more.
        Err(Unintroduced::Silent) => None,
        Err(error) => {
            tracing::info!("a connection from a network of proxy-protocol is closed: {error}");
            None
        }
    }
}

/// The connection died in the queue; the next one is not concerned.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted)
}
