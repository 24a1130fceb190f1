//! An origin that gives the same answer to every request of one kind. HTTP/1.1 over TLS, one thread.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
};

use anyhow::Context;
use clap::Args;
use rustls::{ServerConfig, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{LocalSet, spawn_local},
};
use tokio_rustls::TlsAcceptor;

use super::{load::one_thread, shape::Exchange};

#[derive(Args, Debug)]
pub(crate) struct Options {
    chain: PathBuf,
    key: PathBuf,
}

/// Prints its address, then serves until it is killed.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let acceptor = acceptor(&options.chain, &options.key)?;
    let responses = Rc::new([Exchange::Completion, Exchange::Telemetry].map(Exchange::response));
    LocalSet::new().block_on(&one_thread()?, async move {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("listening")?;
        println!("{}", listener.local_addr()?);
        loop {
            let (tcp, _) = listener.accept().await.context("accepting")?;
            let (acceptor, responses) = (acceptor.clone(), responses.clone());
            // A connection that fails shows as an error of the load, which counts them.
            spawn_local(async move { serve(tcp, acceptor, &responses).await.ok() });
        }
    })
}

/// What shows that certificate.
pub(crate) fn acceptor(chain: &Path, key: &Path) -> anyhow::Result<TlsAcceptor> {
    let chain = CertificateDer::from_pem_file(chain).context("reading the certificate")?;
    let key = PrivateKeyDer::from_pem_file(key).context("reading the key")?;
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn serve(tcp: TcpStream, acceptor: TlsAcceptor, responses: &[Vec<u8>; 2]) -> anyhow::Result<()> {
    tcp.set_nodelay(true)?;
    let mut tls = acceptor.accept(tcp).await?;
    let mut held = Vec::with_capacity(16 * 1024);
    loop {
        while let Some(end) = request_end(&held) {
            let response = &responses[Exchange::of(&held) as usize];
            held.drain(..end);
            tls.write_all(response).await?;
            tls.flush().await?;
        }
        if tls.read_buf(&mut held).await? == 0 {
            return Ok(());
        }
    }
}

/// Where the first request ends, if it is all there.
fn request_end(octets: &[u8]) -> Option<usize> {
    let (head, content) = head_end(octets)?;
    let end = head + usize::try_from(content).ok()?;
    (octets.len() >= end).then_some(end)
}

/// Where the first request's head ends, if it is there, and how much content follows.
pub(crate) fn head_end(octets: &[u8]) -> Option<(usize, u64)> {
    let head = octets.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&octets[..head]).ok()?;
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    Some((head, length.unwrap_or_default()))
}
