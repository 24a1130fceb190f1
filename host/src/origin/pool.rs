//! Connections kept for the next request.
//!
//! Place: between `exchange` and `dial`. An HTTP/1 connection is lent to one exchange at a time; an HTTP/2 connection carries many of one
//! client, and so does an HTTP/1 connection that a client has logged in on. What an origin speaks is remembered, so that the client's side can be
//! told the same.
//! Policy when full: the connection that was idle longest is closed, the origin that was asked for longest ago is forgotten.
//! Source: RFC 9112 §9.3, RFC 9113 §9.1.1.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{
    dial::{Dialled, SharedDialler},
    idle::Idles,
    login::Login,
    owners::{Owners, Slot},
    shared::Share,
};
use crate::{
    flow::{Authority, Origin, Refusal, Scheme, Scope},
    io::{HalfReader, HalfWriter, Io, halves},
    tasks::Tasks,
    tls::Protocol,
};
use bytes::{Bytes, BytesMut};

/// Content of one HTTP/2 stream that may be on its way to us, in octets, on either side: what a stalled reader can make us hold.
pub const STREAM_WINDOW: u32 = 256 * 1024;

/// The connection's window: large, so that stalled streams do not starve the others (RFC 9113 §5.2).
pub const CONNECTION_WINDOW: u32 = 64 * 1024 * 1024;

/// Largest response head over HTTP/2, in octets as RFC 9113 §6.5.2 counts them.
const HEADER_LIST: u32 = 128 * 1024;

/// Where a request goes: an origin, and the name asked for in TLS.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Destination {
    /// Scheme, host and port.
    pub origin: Origin,
    /// The server name a client asked for (RFC 6066 §3), where it was not the host.
    server_name: Option<Arc<str>>,
}

impl Destination {
    /// An origin, called by its own name.
    pub fn new(origin: Origin) -> Self {
        Self { origin, server_name: None }
    }

    /// The same origin, called by the name the client used.
    pub fn called(origin: Origin, server_name: Option<&str>) -> Self {
        let server_name = server_name.filter(|name| !name.eq_ignore_ascii_case(origin.authority.host())).map(Arc::from);
        Self { origin, server_name }
    }

    /// Whom the certificate must be for.
    pub fn server_name(&self) -> &str {
        self.server_name.as_deref().unwrap_or(self.origin.authority.host())
    }
}

/// An HTTP/1 connection to an origin, lent to one exchange.
pub struct Connection {
    /// Responses come from here.
    pub reader: HalfReader,
    /// Requests go here.
    pub writer: HalfWriter,
    /// It has carried an exchange before, so it may have died meanwhile.
    pub reused: bool,
    /// When it came up.
    dialled: Dialled,
    /// The pool's when it was dialled.
    generation: u64,
    /// Of whom, where somebody has logged in on it.
    login: Option<Login>,
}

impl Connection {
    fn new(io: Io, dialled: Dialled, generation: u64) -> Self {
        let (reader, writer) = halves(io, BytesMut::new());
        Self { reader, writer, reused: false, dialled, generation, login: None }
    }

    /// That client logs in on it, or is asked to: nobody else is to have it from now on.
    pub fn carry_login_of(&mut self, client: &Scope) {
        self.login = Some(Login::of(client));
    }

    /// Somebody has logged in on it.
    pub(super) fn carries_login(&self) -> bool {
        self.login.is_some()
    }

    /// That client has.
    pub(super) fn carries_login_of(&self, client: &Scope) -> bool {
        self.login.as_ref().is_some_and(|login| login.is_of(client))
    }

    /// Somebody on that connection of a client has.
    pub(super) fn carries_login_by(&self, connection: u64) -> bool {
        self.login.as_ref().is_some_and(|login| login.came_by(connection))
    }
}

#[cfg(test)]
impl Connection {
    /// One that has carried an exchange.
    pub(super) fn kept(reader: HalfReader, writer: HalfWriter) -> Self {
        Self { reader, writer, reused: true, dialled: Dialled::now(), generation: 0, login: None }
    }
}

/// A way to send one request.
pub enum Lease {
    /// A connection of its own.
    Http1(Box<Connection>),
    /// A stream on a shared connection.
    Http2(Share),
}

impl Lease {
    /// When its connection came up, if it did so for this one.
    pub fn dialled(&self) -> Option<Dialled> {
        match self {
            Self::Http1(connection) => Some(connection.dialled).filter(|_| !connection.reused),
            Self::Http2(share) => share.dialled,
        }
    }
}

/// Bounds of the pool.
#[derive(Clone, Copy, Debug)]
pub struct PoolLimits {
    /// Idle connections to one origin.
    pub per_origin: usize,
    /// Idle connections in all, and origins whose protocol is remembered, each with its HTTP/2 connections.
    pub in_all: usize,
    /// Octets of a stream of HTTP/2 that may wait to be sent.
    pub stream_buffer: usize,
    /// HTTP/2 connections of one client to one origin; more than one are made only where it allows too few streams on each.
    pub http2_per_origin: usize,
    /// Longest time a connection is kept idle.
    pub idle: Duration,
}

/// Connections to all origins.
pub struct Pool {
    dialler: SharedDialler,
    limits: PoolLimits,
    idle: Arc<Mutex<Idles>>,
    owners: Arc<Mutex<Owners>>,
    /// Another number each time that all is forgotten; changes while `idle` is locked.
    generation: AtomicU64,
    tasks: Tasks,
}

impl Pool {
    /// An empty pool. Its tasks (HTTP/2 connections, the sweep) run in `tasks`.
    pub fn new(dialler: SharedDialler, limits: PoolLimits, tasks: Tasks) -> Self {
        let pool = Self { dialler, limits, idle: Arc::default(), owners: Arc::default(), generation: AtomicU64::new(0), tasks };
        pool.sweep();
        pool
    }

    /// What dials.
    pub fn dialler(&self) -> &SharedDialler {
        &self.dialler
    }

    /// A connection that nobody else will have, for a tunnel.
    ///
    /// # Errors
    /// Whatever keeps it from coming up.
    pub async fn open(&self, authority: &Authority) -> Result<Io, Refusal> {
        self.make_room();
        self.dialler.open(authority).await
    }

    /// An HTTP/1 connection for that client. `fresh`: none that was kept.
    ///
    /// # Errors
    /// Whatever keeps it from coming up.
    pub async fn http1(&self, destination: &Destination, client: &Scope, fresh: bool) -> Result<Box<Connection>, Refusal> {
        if !fresh && let Some(connection) = self.idle().take(destination, client, self.limits.idle) {
            return Ok(connection);
        }
        self.make_room();
        // Before it is known whether the destination may be reached, and by what it is verified.
        let generation = self.generation.load(Ordering::Relaxed);
        let (io, _, dialled) = self.dialler.connect(destination, Protocol::Http1).await?;
        Ok(Box::new(Connection::new(io, dialled, generation)))
    }

    /// HTTP/2 where the origin offers it, else HTTP/1. `owner`: on whose behalf; nobody else is on that HTTP/2 connection. `fresh`: no HTTP/1
    /// connection that was kept.
    ///
    /// # Errors
    /// Whatever keeps it from coming up.
    pub async fn http2(&self, destination: &Destination, owner: &Arc<Scope>, fresh: bool) -> Result<Lease, Refusal> {
        let is_http1 = || destination.origin.scheme == Scheme::Http || self.owners().speaks_http2(destination) == Some(false);
        if is_http1() {
            return self.http1(destination, owner, fresh).await.map(Lease::Http1);
        }
        let slot = self.slot(destination, owner);
        let mut connections = slot.lock().await;
        if let Some(share) = connections.share(self.limits.http2_per_origin) {
            return Ok(Lease::Http2(share));
        }
        if is_http1() {
            // Found out by whoever had the lock before.
            drop(connections);
            return self.http1(destination, owner, fresh).await.map(Lease::Http1);
        }
        self.make_room();
        let generation = self.generation.load(Ordering::Relaxed);
        let (io, http2, dialled) = match self.dialler.connect(destination, Protocol::Http2).await {
            Ok(dialled) => dialled,
            // There is one already, on which there will be room at some time.
            Err(refusal) => return connections.share(0).map(Lease::Http2).ok_or(refusal),
        };
        self.owners().found(destination, http2);
        if !http2 {
            return Ok(Lease::Http1(Box::new(Connection::new(io, dialled, generation))));
        }
        let handshake = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(HEADER_LIST)
            .max_send_buffer_size(self.limits.stream_buffer)
            .enable_push(false)
            .handshake::<_, Bytes>(io);
        let (send, connection) = handshake.await.map_err(|error| Refusal::TlsError {
            authority: destination.origin.authority.clone(),
            reason: format!("HTTP/2 did not start: {error}"),
        })?;
        let stopping = self.tasks.stopping().clone();
        self.tasks.spawn(async move {
            tokio::pin!(connection);
            tokio::select! {
                // How it ended reaches every stream that is on it.
                _ = &mut connection => {}
                // Nobody has a handle any more, see `close`: it says GOAWAY and ends (RFC 9113 §5.4.1).
                () = stopping.cancelled() => drop(connection.await),
            }
        });
        Ok(Lease::Http2(connections.add(send, dialled)))
    }

    /// Whether the origin speaks HTTP/2, so that its clients can be offered the same. Asks it, the first time.
    ///
    /// # Errors
    /// Whatever keeps a connection from coming up.
    pub async fn speaks_http2(&self, destination: &Destination, owner: &Arc<Scope>) -> Result<bool, Refusal> {
        let known = self.owners().speaks_http2(destination);
        if let Some(known) = known {
            return Ok(known);
        }
        match self.http2(destination, owner, false).await? {
            Lease::Http2(_) => Ok(true),
            Lease::Http1(connection) => {
                self.give_back(destination.clone(), *connection);
                Ok(false)
            }
        }
    }

    /// Keeps a connection that has carried its exchange to the end, unless it is one of those that were forgotten meanwhile.
    pub fn give_back(&self, destination: Destination, mut connection: Connection) {
        // Octets nobody asked for would be taken for the next response.
        if connection.reader.at_end() || !connection.reader.buffer().is_empty() || self.tasks.stopping().is_cancelled() {
            return;
        }
        if !self.dialler.has_room() {
            // Somebody may be waiting for its place.
            return;
        }
        connection.reused = true;
        let goes = {
            let mut idle = self.idle();
            match connection.generation == self.generation.load(Ordering::Relaxed) {
                true => idle.keep(destination, connection, self.limits.per_origin, self.limits.in_all),
                false => Some(Box::new(connection)),
            }
        };
        // Outside the lock: closing takes a while.
        drop(goes);
    }

    /// A connection of a client has ended, and with it the logins that came by it.
    pub fn log_out(&self, connection: u64) {
        let gone = self.idle().log_out(connection);
        // Outside the lock: closing takes a while.
        drop(gone);
    }

    /// Forgets all connections, and what is known of origins. Exchanges in progress keep theirs to their end.
    pub fn forget(&self) {
        let idle = {
            let mut idle = self.idle();
            self.generation.fetch_add(1, Ordering::Relaxed);
            std::mem::take(&mut *idle)
        };
        let owners = std::mem::take(&mut *self.owners());
        // Outside the locks: closing takes a while.
        drop((idle, owners));
    }

    /// Lets all connections go in good order. Those that do not end within `patience` are left to their fate.
    pub async fn close(&self, patience: Duration) {
        self.tasks.stop();
        self.forget();
        self.tasks.ended(patience).await;
    }

    /// Where there are as many connections as there may be, one that idles goes.
    fn make_room(&self) {
        if !self.dialler.has_room() {
            let goes = self.idle().take_oldest();
            let also = if goes.is_none() { self.owners().take_oldest() } else { None };
            drop((goes, also));
        }
    }

    fn idle(&self) -> MutexGuard<'_, Idles> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn owners(&self) -> MutexGuard<'_, Owners> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self, destination: &Destination, owner: &Arc<Scope>) -> Arc<Slot> {
        let (slot, forgotten) = self.owners().slot(destination, owner, self.limits.in_all);
        // Outside the lock: closing takes a while.
        drop(forgotten);
        slot
    }

    /// Closes what idles for too long or has died, now and then.
    fn sweep(&self) {
        let (idle, owners) = (self.idle.clone(), self.owners.clone());
        let (limit, stopping) = (self.limits.idle, self.tasks.stopping().clone());
        self.tasks.spawn(async move {
            let mut every = tokio::time::interval(limit / 4);
            loop {
                tokio::select! {
                    _ = every.tick() => {}
                    () = stopping.cancelled() => return drop(std::mem::take(&mut *idle.lock().unwrap_or_else(PoisonError::into_inner))),
                }
                idle.lock().unwrap_or_else(PoisonError::into_inner).sweep(limit);
                owners.lock().unwrap_or_else(PoisonError::into_inner).sweep(limit);
            }
        });
    }
}
