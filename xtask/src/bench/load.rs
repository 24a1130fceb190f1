//! Load: clients through a proxy, each asking again as soon as it is answered, or at a pace. One thread.

use std::{
    io::{BufRead, stdin},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use rustls::HandshakeKind;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Runtime,
    task::JoinSet,
    time::sleep_until,
};
use tokio_rustls::client::TlsStream;

use super::{
    programs::path,
    shape::{Exchange, NAMES},
    stats::quantile_us,
    visitor::Visitor,
};

/// What it says once every client was answered.
pub(crate) const READY: &str = "ready";

/// Requests of all clients together before anything is measured: caches, pools and guests are warm.
const WARM_UP: usize = 1600;
/// The same of clients that connect for each.
const WARM_UP_CONNECTING: usize = 400;
/// Nobody waits so long for an answer unless somebody waits for an acknowledgement that is delayed (40 ms).
const STALLED: Duration = Duration::from_millis(35);

/// How clients come to their origin.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum Way {
    /// On connections kept alive
    #[default]
    Kept,
    /// On a new connection each time
    New,
    /// The same, with the TLS session of one before
    Resumed,
    /// On a new connection to a host that nobody has visited before
    FirstVisit,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// `localhost:PORT`
    pub(crate) origin: String,
    /// None goes straight
    #[arg(long)]
    pub(crate) proxy: Option<SocketAddr>,
    /// PEM files of roots
    #[arg(long)]
    pub(crate) trusted: Vec<PathBuf>,
    /// Clients at a time
    #[arg(long)]
    pub(crate) clients: usize,
    #[arg(long, value_enum)]
    pub(crate) way: Way,
    #[arg(long, value_enum)]
    pub(crate) exchange: Exchange,
    /// With `kept`: that many hosts are visited before, once each, and then as many of them as there are clients
    #[arg(long, default_value_t = 0)]
    pub(crate) hosts: usize,
    /// Requests a second of all clients together, if they are answered so fast; as many as are answered otherwise
    #[arg(long)]
    pub(crate) pace: Option<f64>,
}

impl Options {
    /// Completions through that proxy, as many as are answered, by so many clients that keep their connections. `root`: whom they trust.
    pub(crate) fn completions(origin: &str, proxy: SocketAddr, root: &Path, clients: usize) -> Self {
        Self {
            origin: origin.to_owned(),
            proxy: Some(proxy),
            trusted: vec![root.to_owned()],
            clients,
            way: Way::Kept,
            exchange: Exchange::Completion,
            hosts: 0,
            pace: None,
        }
    }

    /// As they are written on a command line.
    pub(crate) fn arguments(&self) -> anyhow::Result<Vec<String>> {
        let mut arguments = vec![self.origin.clone(), format!("--clients={}", self.clients), format!("--hosts={}", self.hosts)];
        arguments.extend(self.pace.map(|pace| format!("--pace={pace}")));
        arguments.extend(self.proxy.map(|proxy| format!("--proxy={proxy}")));
        for root in &self.trusted {
            arguments.push(format!("--trusted={}", path(root)?));
        }
        let named = |value: Option<clap::builder::PossibleValue>| value.map(|value| value.get_name().to_owned()).unwrap_or_default();
        arguments.push(format!("--way={}", named(self.way.to_possible_value())));
        arguments.push(format!("--exchange={}", named(self.exchange.to_possible_value())));
        Ok(arguments)
    }
}

/// What one turn did.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Done {
    /// Answered as they should.
    pub(crate) requests: usize,
    /// How long it took.
    pub(crate) seconds: f64,
    /// Median of the time to an answer, with connecting where that belongs to it, in µs.
    pub(crate) p50_us: f64,
    /// The same, 99th in a hundred.
    pub(crate) p99_us: f64,
    /// How many took longer than anybody computes.
    pub(crate) stalled: usize,
}

/// A runtime on this thread alone.
pub(crate) fn one_thread() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("making a runtime")
}

/// Connects and warms up, says [`READY`]; then, for each line with a number of seconds, loads so long and says what it did.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let runtime = one_thread()?;
    let visitor = Visitor::new(options.proxy, &options.trusted, &options.origin)?;
    let visitor = if options.way == Way::Resumed { visitor } else { visitor.forgetful() };
    let way =
        Arc::new(Course { visitor, way: options.way, exchange: options.exchange, hosts: options.hosts, connected: AtomicUsize::new(0) });
    let mut clients = runtime.block_on(async {
        for _ in 0..options.hosts.saturating_sub(options.clients) {
            way.connect(true).await?.ask().await?;
        }
        let warm_up = if options.way == Way::Kept { WARM_UP } else { WARM_UP_CONNECTING };
        let mut clients = Vec::new();
        for _ in 0..options.clients {
            let mut kept = match options.way {
                Way::Kept => Some(way.connect(options.hosts > 0).await?),
                Way::New | Way::Resumed | Way::FirstVisit => None,
            };
            for _ in 0..warm_up.div_ceil(options.clients) {
                way.go(&mut kept).await?;
            }
            clients.push(kept);
        }
        anyhow::Ok(clients)
    })?;
    println!("{READY}");
    for line in stdin().lock().lines() {
        let seconds: f64 = line?.trim().parse().context("reading how long to load")?;
        let done;
        (clients, done) = runtime.block_on(turn(&way, clients, Duration::from_secs_f64(seconds), options.pace))?;
        println!("{}", serde_json::to_string(&done)?);
    }
    Ok(())
}

/// Clients, with the connection that each keeps.
type Clients = Vec<Option<Connection>>;

async fn turn(way: &Arc<Course>, clients: Clients, length: Duration, pace: Option<f64>) -> anyhow::Result<(Clients, Done)> {
    let begin = Instant::now();
    let pause = pace.map(|pace| Duration::from_secs_f64(clients.len() as f64 / pace));
    let mut going = JoinSet::new();
    for mut kept in clients {
        let way = way.clone();
        going.spawn(async move {
            let (mut times, mut due) = (Vec::new(), begin);
            while begin.elapsed() < length {
                if let Some(pause) = pause {
                    // Who is late is so for one request, and catches up.
                    sleep_until(due.into()).await;
                    due += pause;
                }
                times.push(way.go(&mut kept).await?);
            }
            anyhow::Ok((kept, times))
        });
    }
    let (mut clients, mut times) = (Vec::new(), Vec::new());
    while let Some(ended) = going.join_next().await {
        let (kept, own) = ended??;
        clients.push(kept);
        times.extend(own);
    }
    let seconds = begin.elapsed().as_secs_f64();
    times.sort_unstable();
    let (p50_us, p99_us) = (quantile_us(&times, 0.5), quantile_us(&times, 0.99));
    let stalled = times.iter().filter(|time| **time > STALLED).count();
    Ok((clients, Done { requests: times.len(), seconds, p50_us, p99_us, stalled }))
}

/// How all clients go about it.
struct Course {
    visitor: Visitor,
    way: Way,
    exchange: Exchange,
    /// To how many hosts, if not to another one each time.
    hosts: usize,
    /// Connections so far.
    connected: AtomicUsize,
}

impl Course {
    /// One request; the time to its whole answer, with connecting if nothing was kept.
    async fn go(&self, kept: &mut Option<Connection>) -> anyhow::Result<Duration> {
        let begin = Instant::now();
        if let Some(connection) = kept {
            connection.ask().await?;
            return Ok(begin.elapsed());
        }
        let mut connection = self.connect(self.way == Way::FirstVisit).await?;
        connection.ask().await?;
        let took = begin.elapsed();
        connection.tls.shutdown().await?;
        Ok(took)
    }

    async fn connect(&self, to_another_host: bool) -> anyhow::Result<Connection> {
        let connected = self.connected.fetch_add(1, Relaxed);
        let mut authority = self.visitor.origin().to_owned();
        if to_another_host {
            authority = authority.replace("localhost", &nth(connected.checked_rem(self.hosts).unwrap_or(connected)));
        }
        let tls = self.visitor.open_to(&authority).await?;
        let resumed = tls.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
        ensure!(resumed || self.way != Way::Resumed || connected < WARM_UP_CONNECTING, "no TLS session is resumed");
        let request = self.exchange.request(&authority);
        Ok(Connection { tls, exchange: self.exchange, request, held: Vec::with_capacity(4096) })
    }
}

/// The name of a host that nobody visits twice.
pub(crate) fn nth(host: usize) -> String {
    format!("h{host}{NAMES}")
}

struct Connection {
    tls: TlsStream<TcpStream>,
    exchange: Exchange,
    request: Vec<u8>,
    held: Vec<u8>,
}

impl Connection {
    async fn ask(&mut self) -> anyhow::Result<()> {
        self.tls.write_all(&self.request).await?;
        self.tls.flush().await?;
        self.held.clear();
        while !self.held.ends_with(self.exchange.end()) {
            ensure!(self.tls.read_buf(&mut self.held).await? > 0, "the answer was cut short");
        }
        ensure!(self.held.starts_with(b"HTTP/1.1 200"), "a wrong answer: {}", String::from_utf8_lossy(&self.held));
        Ok(())
    }
}
