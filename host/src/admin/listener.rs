//! The admin listener: health, metrics and the status page, over TCP.
//!
//! Place: bound by `app` when it is asked for. `guard` stands before every route. The connections it takes at a time are bounded, and so is how
//! long a request head may take.

use std::{io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use anyhow::Context;
use axum::{Router, middleware};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};

use super::{
    Operator, Token,
    guard::{Guard, guard},
    routes,
};
use crate::tasks::Tasks;

/// Connections at a time: some people's pages, of some connections each, and a few scrapers. More wait in the system's queue.
const CONNECTIONS: usize = 64;
/// For a whole request head, and silence between two requests.
const HEAD: Duration = Duration::from_secs(30);
/// Pause after an accept that failed for want of descriptors or memory.
const BACK_OFF: Duration = Duration::from_millis(50);

/// Bound, and not answered yet.
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    guard: Arc<Guard>,
}

impl Listener {
    /// Binds it. `names`: what it may be called besides addresses and `localhost`, in lower case.
    ///
    /// # Errors
    /// Names the address, and the mend where the port is taken.
    pub async fn bind(address: SocketAddr, names: Vec<String>, token: Token) -> anyhow::Result<Self> {
        let socket = TcpListener::bind(address).await.map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => anyhow::anyhow!("{address} is in use by another process: choose another address with --admin"),
            _ => error.into(),
        });
        Self::of(socket.with_context(|| format!("listening on {address} for operators"))?, names, token)
    }

    /// The same on a socket that somebody else has opened.
    ///
    /// # Errors
    /// It cannot be listened on.
    pub fn on(socket: std::net::TcpListener, names: Vec<String>, token: Token) -> anyhow::Result<Self> {
        let taken = socket.set_nonblocking(true).and_then(|()| TcpListener::from_std(socket));
        Self::of(taken.context("taking over a socket for operators")?, names, token)
    }

    fn of(socket: TcpListener, names: Vec<String>, token: Token) -> anyhow::Result<Self> {
        let address = socket.local_addr().context("asking for the admin listener's address")?;
        let is_loopback = address.ip().to_canonical().is_loopback();
        if !is_loopback {
            tracing::warn!(
                "the admin listener {address} is reached from other machines: each request there needs the token, and both pass in clear \
                 unless something in front of it speaks TLS"
            );
        }
        Ok(Self { socket, address, guard: Arc::new(Guard { token, names, is_loopback }) })
    }

    /// Where it listens; the port is real even if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers on it until `tasks` are told to stop.
    pub fn serve(self, operator: Arc<dyn Operator>, tasks: &Tasks) {
        let app = routes::router(operator).layer(middleware::from_fn_with_state(self.guard, guard));
        let (permits, connections) = (Arc::new(Semaphore::new(CONNECTIONS)), tasks.clone());
        tasks.spawn(async move {
            let stopping = connections.stopping().clone();
            while let Some(accepted) = stopping.run_until_cancelled(accept(&self.socket, &permits)).await {
                if let Some((stream, permit)) = accepted {
                    connections.spawn_severable(answer(stream, permit, app.clone(), connections.clone()));
                }
            }
        });
    }
}

async fn accept(socket: &TcpListener, permits: &Arc<Semaphore>) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    // Never closed.
    let permit = permits.clone().acquire_owned().await.ok()?;
    match socket.accept().await {
        Ok((stream, _)) => {
            let _ = stream.set_nodelay(true);
            Some((stream, permit))
        }
        Err(error) => {
            tracing::warn!("accepting on the admin listener: {error}");
            sleep(BACK_OFF).await;
            None
        }
    }
}

async fn answer(stream: TcpStream, permit: OwnedSemaphorePermit, app: Router, tasks: Tasks) {
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let mut connection = pin!(server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(app)));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = tasks.stopping().cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection of the admin listener: {error}");
    }
    drop(permit);
}
