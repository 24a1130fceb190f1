//! The lower bounds: answers CONNECT and copies octets both ways; or ends TLS on both sides and copies what is inside, which whoever looks into
//! it has to do. One thread, no HTTP beyond the first head.

use std::{net::Ipv4Addr, path::PathBuf, rc::Rc};

use anyhow::{Context, ensure};
use clap::Args;
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional, copy_bidirectional_with_sizes},
    net::{TcpListener, TcpStream},
    task::{LocalSet, spawn_local},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{load::one_thread, origin::acceptor, shape::NAMES, visitor::trusting};

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// What is shown to clients in place of the origin, its key, and what signs the origin's: ends TLS
    #[arg(num_args = 3, value_names = ["CHAIN", "KEY", "ROOT"])]
    tls: Vec<PathBuf>,
}

/// How TLS is ended: towards the client, towards the origin.
type Ends = Option<(TlsAcceptor, TlsConnector)>;

/// Octets copied at a time of what was inside TLS.
const INSIDE: usize = 64 * 1024;

/// Prints its address, then serves until it is killed.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let ends: Ends = match options.tls.as_slice() {
        [chain, key, root] => Some((acceptor(chain, key)?, trusting(&[root])?.into())),
        _ => None,
    };
    let ends = Rc::new(ends);
    LocalSet::new().block_on(&one_thread()?, async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("listening")?;
        println!("{}", listener.local_addr()?);
        loop {
            let (tcp, _) = listener.accept().await.context("accepting")?;
            // A connection that fails shows as an error of the load, which counts them.
            let ends = ends.clone();
            spawn_local(async move { serve(tcp, &ends).await.ok() });
        }
    })
}

async fn serve(mut client: TcpStream, ends: &Ends) -> anyhow::Result<()> {
    client.set_nodelay(true)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(client.read_buf(&mut head).await? > 0, "no CONNECT");
    }
    let target = std::str::from_utf8(&head)?.split(' ').nth(1).context("no target")?;
    let mut origin = match target.split_once(NAMES) {
        Some((_, port)) => TcpStream::connect(format!("127.0.0.1{port}")).await?,
        None => TcpStream::connect(target).await?,
    };
    origin.set_nodelay(true)?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    match ends {
        None => drop(copy_bidirectional(&mut client, &mut origin).await?),
        Some((acceptor, connector)) => {
            let mut origin = connector.connect(ServerName::try_from("localhost")?, origin).await?;
            let mut client = acceptor.accept(client).await?;
            copy_bidirectional_with_sizes(&mut client, &mut origin, INSIDE, INSIDE).await?;
        }
    }
    Ok(())
}
