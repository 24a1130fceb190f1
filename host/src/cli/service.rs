//! What a service manager hands over and wants to hear: listening sockets, readiness, signs of life.
//!
//! Place: used by `run`. Without a service manager it does nothing.
//! Source: sd_listen_fds(3), sd_notify(3), sd_watchdog_enabled(3).

use std::{
    convert::Infallible,
    env,
    net::{SocketAddr, TcpListener},
};

use anyhow::{Context, bail};
use listenfd::ListenFd;
use sd_notify::NotifyState;

use crate::{app::Sockets, config::Flags};

/// Takes the sockets that were opened for this process, and puts their addresses in the place of those that were configured. What they are for
/// says their name (`FileDescriptorName` of the unit): `tls`, `admin`, and any other for clients that speak HTTP in clear.
///
/// # Errors
/// One of them is no TCP socket that listens, or there are two for operators.
pub(super) fn sockets(flags: &mut Flags) -> anyhow::Result<Sockets> {
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let (mut passed, mut sockets) = (ListenFd::from_env(), Sockets::default());
    for at in 0..passed.len() {
        let name = names.next().unwrap_or_default();
        let socket = passed.take_tcp_listener(at).with_context(|| format!("taking over socket {at} ({name}) from the service manager"))?;
        let Some(socket) = socket else { continue };
        match name {
            "tls" => sockets.tls.push(socket),
            "admin" => {
                if let Some(other) = &sockets.admin {
                    let (one, two) = (address(other)?, address(&socket)?);
                    bail!(
                        "the service manager passes two sockets named admin, for {one} and {two}: there may be one, so take a ListenStream= away"
                    );
                }
                sockets.admin = Some(socket);
            }
            _ => sockets.clear.push(socket),
        }
    }
    if !sockets.clear.is_empty() {
        flags.listen = addresses(&sockets.clear)?;
    }
    if !sockets.tls.is_empty() {
        flags.listen_tls = addresses(&sockets.tls)?;
    }
    if let Some(socket) = &sockets.admin {
        flags.admin = Some(address(socket)?);
    }
    Ok(sockets)
}

fn addresses(sockets: &[TcpListener]) -> anyhow::Result<Vec<SocketAddr>> {
    sockets.iter().map(address).collect()
}

fn address(socket: &TcpListener) -> anyhow::Result<SocketAddr> {
    socket.local_addr().context("asking for the address of a socket from the service manager")
}

/// Clients can connect.
pub(super) fn ready() {
    tell(NotifyState::Ready);
}

/// It ends.
pub(super) fn stopping() {
    tell(NotifyState::Stopping);
}

/// Gives signs of life for as long as it is polled, where they are wanted: twice as often as they must come.
pub(super) async fn watchdog() -> Infallible {
    let Some(period) = sd_notify::watchdog_enabled() else { return std::future::pending().await };
    let mut tick = tokio::time::interval(period / 2);
    loop {
        tick.tick().await;
        tell(NotifyState::Watchdog);
    }
}

fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}
