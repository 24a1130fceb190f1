//! An origin in the client's own thread: what one writes and the other reads is timed by one clock.
//!
//! The query of a request says what is wanted of it: events in some coding, an answer that never ends, or much content.

use std::{
    cell::{Cell, RefCell},
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use brotli::CompressorWriter;
use flate2::{Compression, write::GzEncoder};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::spawn_local,
    time::sleep,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    origin::{acceptor, head_end},
    shape::Certificates,
};

/// Events of one stream.
pub(crate) const EVENTS: usize = 50;
/// Time between two: enough that no two travel together.
const PAUSE: Duration = Duration::from_millis(2);
/// Octets of much content.
pub(crate) const BULK: u64 = 100_000_000;
/// Octets of it that are written at a time.
const SLICE: usize = 64 * 1024;

/// What the origin did, for the client to see.
#[derive(Default)]
pub(crate) struct Log {
    /// When each event of the last stream was written, and the octets of content until then, it included.
    pub(crate) written: RefCell<Vec<(Instant, u64)>>,
    left: Cell<Option<Instant>>,
    change: Notify,
}

impl Log {
    /// When a client was seen to leave; waits for it.
    pub(crate) async fn left(&self) -> Instant {
        loop {
            if let Some(left) = self.left.take() {
                return left;
            }
            self.change.notified().await;
        }
    }
}

/// Serves from now on, as a task of this thread.
pub(crate) async fn open(certificates: &Certificates) -> anyhow::Result<(SocketAddr, Rc<Log>)> {
    let acceptor = acceptor(&certificates.chain, &certificates.key)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("listening")?;
    let (address, log) = (listener.local_addr()?, Rc::new(Log::default()));
    let shared = log.clone();
    spawn_local(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (acceptor, log) = (acceptor.clone(), shared.clone());
            // A connection that fails shows at the client.
            spawn_local(async move { serve(tcp, acceptor, &log).await.ok() });
        }
    });
    Ok((address, log))
}

async fn serve(tcp: TcpStream, acceptor: TlsAcceptor, log: &Log) -> anyhow::Result<()> {
    tcp.set_nodelay(true)?;
    let mut tls = acceptor.accept(tcp).await?;
    let mut held = Vec::with_capacity(SLICE);
    loop {
        let (head, content) = loop {
            if let Some(found) = head_end(&held) {
                break found;
            }
            if tls.read_buf(&mut held).await? == 0 {
                return Ok(());
            }
        };
        let line = String::from_utf8_lossy(&held[..head]).lines().next().unwrap_or_default().to_owned();
        held.drain(..head);
        swallow(&mut tls, &mut held, content).await?;
        let wanted = line.split(' ').nth(1).and_then(|target| target.split_once('?')).map(|(_, query)| query).context("no query")?;
        match wanted.split_once('=').unwrap_or((wanted, "")) {
            ("events", coding) => events(&mut tls, coding, log).await?,
            ("hold", _) => return hold(tls, log).await,
            ("down", octets) => down(&mut tls, octets.parse()?).await?,
            ("up", _) => write(&mut tls, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await?,
            (other, _) => bail!("nobody knows what {other} is"),
        }
    }
}

/// Reads that much, of which some is held already.
async fn swallow(tls: &mut TlsStream<TcpStream>, held: &mut Vec<u8>, content: u64) -> anyhow::Result<()> {
    let mut left = content;
    loop {
        let now = usize::try_from(left).unwrap_or(usize::MAX).min(held.len());
        held.drain(..now);
        left -= now as u64;
        if left == 0 {
            return Ok(());
        }
        if tls.read_buf(held).await? == 0 {
            bail!("the request was cut short");
        }
    }
}

async fn write(tls: &mut TlsStream<TcpStream>, octets: &[u8]) -> io::Result<()> {
    tls.write_all(octets).await?;
    tls.flush().await
}

fn chunk(octets: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", octets.len()).as_bytes(), octets, b"\r\n"].concat()
}

async fn events(tls: &mut TlsStream<TcpStream>, coding: &str, log: &Log) -> anyhow::Result<()> {
    let mut coder = Coder::new(coding)?;
    log.written.borrow_mut().clear();
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: {coding}\r\ntransfer-encoding: chunked\r\n\r\n");
    tls.write_all(head.as_bytes()).await?;
    let mut total = 0;
    for at in 0..EVENTS {
        if at > 0 {
            sleep(PAUSE).await;
        }
        let event =
            format!("data: {{\"id\":\"cmpl-0\",\"choices\":[{{\"text\":\"word {at} of many\",\"index\":0,\"finish_reason\":null}}]}}\n\n");
        let piece = coder.code(event.as_bytes())?;
        total += piece.len() as u64;
        log.written.borrow_mut().push((Instant::now(), total));
        write(tls, &chunk(&piece)).await?;
    }
    let mut rest = coder.end()?;
    if !rest.is_empty() {
        rest = chunk(&rest);
    }
    rest.extend_from_slice(b"0\r\n\r\n");
    write(tls, &rest).await?;
    Ok(())
}

/// One event, and no end until the client leaves.
async fn hold(mut tls: TlsStream<TcpStream>, log: &Log) -> anyhow::Result<()> {
    let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    write(&mut tls, &[head, &chunk(b"data: first\n\n")[..]].concat()).await?;
    // It ends in order, or by a reset.
    while let Ok(1..) = tls.read(&mut [0; 1024]).await {}
    log.left.set(Some(Instant::now()));
    log.change.notify_one();
    Ok(())
}

async fn down(tls: &mut TlsStream<TcpStream>, octets: u64) -> anyhow::Result<()> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: {octets}\r\n\r\n");
    tls.write_all(head.as_bytes()).await?;
    pour(tls, octets).await?;
    Ok(())
}

/// So much content, either way.
pub(crate) async fn pour(to: &mut (impl AsyncWriteExt + Unpin), octets: u64) -> io::Result<()> {
    let slice = [b'a'; SLICE];
    let mut left = octets;
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(usize::MAX).min(SLICE);
        to.write_all(&slice[..now]).await?;
        left -= now as u64;
    }
    to.flush().await
}

/// What codes events and flushes after each.
enum Coder {
    Identity,
    Gzip(GzEncoder<Vec<u8>>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Zstd(zstd::Encoder<'static, Vec<u8>>),
}

impl Coder {
    fn new(coding: &str) -> anyhow::Result<Self> {
        Ok(match coding {
            "identity" => Self::Identity,
            "gzip" => Self::Gzip(GzEncoder::new(Vec::new(), Compression::default())),
            "br" => Self::Brotli(Box::new(CompressorWriter::new(Vec::new(), 4096, 5, 20))),
            "zstd" => Self::Zstd(zstd::Encoder::new(Vec::new(), 3)?),
            other => bail!("no coding {other}"),
        })
    }

    fn code(&mut self, event: &[u8]) -> io::Result<Vec<u8>> {
        fn flushed<W: Write>(coder: &mut W, event: &[u8], made: impl Fn(&mut W) -> &mut Vec<u8>) -> io::Result<Vec<u8>> {
            coder.write_all(event)?;
            coder.flush()?;
            Ok(std::mem::take(made(coder)))
        }
        match self {
            Self::Identity => Ok(event.to_vec()),
            Self::Gzip(coder) => flushed(coder, event, GzEncoder::get_mut),
            Self::Brotli(coder) => flushed(&mut **coder, event, CompressorWriter::get_mut),
            Self::Zstd(coder) => flushed(coder, event, zstd::Encoder::get_mut),
        }
    }

    fn end(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Identity => Ok(Vec::new()),
            Self::Gzip(coder) => coder.finish(),
            Self::Brotli(coder) => Ok(coder.into_inner()),
            Self::Zstd(coder) => coder.finish(),
        }
    }
}
