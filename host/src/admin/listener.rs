//! The admin listener: health, metrics and the status page, over TCP.
//!
//! Place: bound by `app` when it is asked for. `guard` stands before every route. The connections it takes at a time are bounded, and so is how
//! long a request head may take, and a client to take its answer.

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
use tokio_io_timeout::TimeoutStream;

use super::{
    Operator, Token,
    guard::{Guard, guard},
    routes,
};
use crate::{io::prepare, tasks::Tasks};

/// Pause after an accept that failed for want of descriptors or memory.
const BACK_OFF: Duration = Duration::from_millis(50);

/// What those who ask there may take up.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections at once; more wait in the system's queue.
    pub connections: usize,
    /// For a whole request head, silence between two requests, and what is not taken of an answer.
    pub idle: Duration,
    /// Within which silent clients have to give a sign of life.
    pub keepalive: Duration,
}

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
    pub fn serve(self, operator: Arc<dyn Operator>, bounds: Bounds, tasks: &Tasks) {
        let app = routes::router(operator).layer(middleware::from_fn_with_state(self.guard, guard));
        tasks.spawn(run(self.socket, app, bounds, tasks.clone()));
    }
}

async fn run(socket: TcpListener, app: Router, bounds: Bounds, tasks: Tasks) {
    let permits = Arc::new(Semaphore::new(bounds.connections));
    let stopping = tasks.stopping().clone();
    while let Some(accepted) = stopping.run_until_cancelled(accept(&socket, &permits, bounds.keepalive)).await {
        if let Some((stream, permit)) = accepted {
            let (app, idle, connections) = (app.clone(), bounds.idle, tasks.clone());
            tasks.spawn_severable(async move {
                answer(stream, app, idle, connections).await;
                drop(permit);
            });
        }
    }
}

async fn accept(socket: &TcpListener, permits: &Arc<Semaphore>, keepalive: Duration) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    // Never closed.
    let permit = permits.clone().acquire_owned().await.ok()?;
    match socket.accept().await {
        Ok((stream, _)) => {
            let _ = prepare(&stream, keepalive);
            Some((stream, permit))
        }
        Err(error) => {
            tracing::warn!("accepting on the admin listener: {error}");
            sleep(BACK_OFF).await;
            None
        }
    }
}

async fn answer(stream: TcpStream, app: Router, idle: Duration, tasks: Tasks) {
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(idle);
    // hyper has no time for those who ask and do not take what they get.
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(idle));
    let stream = TokioIo::new(Box::pin(stream));
    let mut connection = pin!(server.serve_connection(stream, TowerToHyperService::new(app)));
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
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        time::Instant,
    };

    use super::*;

    const IDLE: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn who_does_not_ask_or_take_an_answer_leaves_its_place_to_others() {
        let endless = get(|| async { vec![b'x'; 64 << 20] });
        let app = Router::new().route("/endless", endless).route("/", get(|| async { "here" }));
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, tasks) = (socket.local_addr().unwrap(), Tasks::new());
        tasks.spawn(run(socket, app, Bounds { connections: 1, idle: IDLE, keepalive: IDLE }, tasks.clone()));

        for wanting in ["", "GET / HTTP/1.1\r\nHost: a", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /endless HTTP/1.1\r\nHost: a\r\n\r\n"] {
            let mut first = TcpStream::connect(address).await.unwrap();
            first.write_all(wanting.as_bytes()).await.unwrap();
            let (began, mut next) = (Instant::now(), TcpStream::connect(address).await.unwrap());
            next.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();

            let mut answer = String::new();
            next.read_to_string(&mut answer).await.unwrap();

            assert!(answer.ends_with("here"), "{wanting}: {answer}");
            assert!(began.elapsed() >= IDLE, "{wanting}");
        }
    }
}
