//! The lower bound: answers CONNECT and copies octets both ways. One thread, no TLS, no HTTP beyond the first head.

use std::net::Ipv4Addr;

use anyhow::{Context, ensure};
use clap::Args;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::{LocalSet, spawn_local},
};

use super::load::one_thread;

#[derive(Args, Debug)]
pub(crate) struct Options {}

/// Prints its address, then serves until it is killed.
pub(crate) fn run(_: &Options) -> anyhow::Result<()> {
    LocalSet::new().block_on(&one_thread()?, async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("listening")?;
        println!("{}", listener.local_addr()?);
        loop {
            let (tcp, _) = listener.accept().await.context("accepting")?;
            // A connection that fails shows as an error of the load, which counts them.
            spawn_local(async move { serve(tcp).await.ok() });
        }
    })
}

async fn serve(mut client: TcpStream) -> anyhow::Result<()> {
    client.set_nodelay(true)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(client.read_buf(&mut head).await? > 0, "no CONNECT");
    }
    let target = std::str::from_utf8(&head)?.split(' ').nth(1).context("no target")?;
    let mut origin = TcpStream::connect(target).await?;
    origin.set_nodelay(true)?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    copy_bidirectional(&mut client, &mut origin).await?;
    Ok(())
}
