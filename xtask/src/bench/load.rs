//! Load: connections kept alive through a proxy, each asking again as soon as it is answered. One thread.

use std::{
    io::{BufRead, stdin},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Runtime,
    task::JoinSet,
};
use tokio_rustls::client::TlsStream;

use super::{shape, visitor::Visitor};

/// What it says once every connection was answered.
pub(crate) const READY: &str = "ready";

/// Requests on each connection before it is measured: caches, pools and guests are warm.
const WARM_UP: usize = 200;

#[derive(Args, Debug)]
pub(crate) struct Options {
    proxy: SocketAddr,
    root: PathBuf,
    origin: String,
    connections: usize,
}

/// What one turn did.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Done {
    /// Answered as they should.
    pub(crate) requests: usize,
    /// How long it took.
    pub(crate) seconds: f64,
    /// Median of the time to an answer, in µs.
    pub(crate) p50_us: f64,
    /// The same, 99th in a hundred.
    pub(crate) p99_us: f64,
}

/// A runtime on this thread alone.
pub(crate) fn one_thread() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("making a runtime")
}

/// Connects and warms up, says [`READY`]; then, for each line with a number of seconds, loads so long and says what it did.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let runtime = one_thread()?;
    let visitor = Visitor::new(Some(options.proxy), &[&options.root], &options.origin)?;
    let mut connections = runtime.block_on(async {
        let mut connections = Vec::new();
        for _ in 0..options.connections {
            let mut connection = Connection::open(&visitor).await?;
            for _ in 0..WARM_UP {
                connection.ask().await?;
            }
            connections.push(connection);
        }
        anyhow::Ok(connections)
    })?;
    println!("{READY}");
    for line in stdin().lock().lines() {
        let seconds: f64 = line?.trim().parse().context("reading how long to load")?;
        let done;
        (connections, done) = runtime.block_on(turn(connections, Duration::from_secs_f64(seconds)))?;
        println!("{}", serde_json::to_string(&done)?);
    }
    Ok(())
}

async fn turn(connections: Vec<Connection>, length: Duration) -> anyhow::Result<(Vec<Connection>, Done)> {
    let begin = Instant::now();
    let mut asking = JoinSet::new();
    for mut connection in connections {
        asking.spawn(async move {
            let mut times = Vec::new();
            while begin.elapsed() < length {
                times.push(connection.ask().await?);
            }
            anyhow::Ok((connection, times))
        });
    }
    let (mut connections, mut times) = (Vec::new(), Vec::new());
    while let Some(ended) = asking.join_next().await {
        let (connection, own) = ended??;
        connections.push(connection);
        times.extend(own);
    }
    let seconds = begin.elapsed().as_secs_f64();
    times.sort_unstable();
    let at = |share: f64| times.get((times.len() as f64 * share) as usize).map_or(0.0, |time| time.as_secs_f64() * 1e6);
    Ok((connections, Done { requests: times.len(), seconds, p50_us: at(0.5), p99_us: at(0.99) }))
}

struct Connection {
    tls: TlsStream<TcpStream>,
    request: Arc<[u8]>,
    held: Vec<u8>,
}

impl Connection {
    async fn open(visitor: &Visitor) -> anyhow::Result<Self> {
        let request = shape::request(visitor.origin()).into();
        Ok(Self { tls: visitor.open().await?, request, held: Vec::with_capacity(4096) })
    }

    /// One request; the time to its whole answer.
    async fn ask(&mut self) -> anyhow::Result<Duration> {
        let begin = Instant::now();
        self.tls.write_all(&self.request).await?;
        self.tls.flush().await?;
        self.held.clear();
        // The answer is chunked, by whoever: its end looks the same.
        while !self.held.ends_with(b"\r\n0\r\n\r\n") {
            if self.tls.read_buf(&mut self.held).await? == 0 {
                bail!("the answer was cut short");
            }
        }
        let whole = self.held.starts_with(b"HTTP/1.1 200") && self.held.windows(6).any(|window| window == b"[DONE]");
        ensure!(whole, "a wrong answer: {}", String::from_utf8_lossy(&self.held));
        Ok(begin.elapsed())
    }
}
