//! A client's connection to the proxy's own port.
//!
//! Place: between `listener` and `tunnel`. Nobody is dialled before the client is admitted.
//! Source: RFC 9112 §3.2, RFC 9110 §11.7.

use std::{io, net::SocketAddr, sync::Arc};

use bytes::BytesMut;
use http::Method;
use rustls::server::Acceptor;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::LazyConfigAcceptor;

use super::{
    Front, Speaks,
    clients::Client,
    leaf,
    own::{self, Here, Visit},
    tunnel,
};
use crate::{
    exchange::{Served, Target, Via, at_proxy, persists},
    flow::{ClientAddr, Refusal, Scope},
    h1::Framing,
    io::{Io, again, halves},
    meters::{Side, TurnedAway},
    origin::Destination,
    tls::Protocol,
};

/// A connection that has been accepted.
pub(super) struct Arrival {
    pub(super) stream: TcpStream,
    /// What has been read of it already.
    pub(super) first: BytesMut,
    /// Whose it is.
    pub(super) client: ClientAddr,
    /// What they connected to.
    pub(super) address: Option<SocketAddr>,
}

impl Arrival {
    /// Nothing is known of it but where it comes from.
    pub(super) fn of(stream: TcpStream, client: ClientAddr) -> Self {
        let address = stream.local_addr().ok();
        Self { stream, first: BytesMut::new(), client, address }
    }
}

/// Serves a connection to its end.
pub(super) async fn serve(front: Arc<Front>, arrival: Arrival, speaks: Speaks, connection: u64, known: &Client) {
    let _open = front.exchange.meters.connection();
    let Arrival { stream, first, client, address } = arrival;
    let here = Here { address, speaks };
    let (mut reader, mut writer) = match speaks {
        Speaks::Clear => halves(Box::new(stream), first),
        Speaks::Tls => match secured(&front, stream, first, address, known).await {
            Ok(io) => halves(io, BytesMut::new()),
            Err(error) => return tracing::info!("TLS of a client with the proxy itself failed: {error}"),
        },
    };
    let exchange = front.exchange.clone();
    loop {
        let (line, framing) = match exchange.next_request(&mut reader).await {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err(refusal) => return exchange.refuse(refusal, reader, writer).await,
        };
        let credentials = line.fields.get("proxy-authorization").map(<[u8]>::to_vec);
        let method = line.method.clone();
        // With content under way, or where this is to be the last request, no other one can follow.
        let persists = framing == Framing::Empty && persists(line.version, &line.fields);
        let target = match at_proxy(line) {
            Ok(target) => target,
            Err(refusal) => return exchange.refuse(refusal, reader, writer).await,
        };
        if let Target::Own(head) = &target {
            let visit = Visit { head, here, through: None, is_tls: speaks == Speaks::Tls };
            return exchange.say_and_close(&own::answer(&front, &visit), method == Method::HEAD, reader, writer).await;
        }
        let scope = match front.policy.load_full().gate.admit(credentials.as_deref(), client).await {
            Ok(principal) => Arc::new(Scope { connection, client, principal }),
            Err(refusal) => {
                let why = match (&refusal, credentials) {
                    (Refusal::Overloaded(_), _) => TurnedAway::Overloaded,
                    (_, None) => TurnedAway::Missing,
                    (_, Some(_)) => TurnedAway::Wrong,
                };
                // Many clients send none until they are asked; nobody sends wrong ones on purpose.
                if matches!(why, TurnedAway::Wrong) {
                    tracing::info!("the client's credentials do not verify: name and password have to be those of the users file");
                }
                exchange.meters.turned_away(why);
                match own::turn_away(&front, refusal, &method, persists, reader, writer).await {
                    Some(halves) => {
                        (reader, writer) = halves;
                        continue;
                    }
                    None => return,
                }
            }
        };
        match target {
            Target::Tunnel(authority) if own::is_own(authority.host()) => {
                return tunnel::to_itself(&front, here, (reader, writer), &scope, &authority, known).await;
            }
            Target::Tunnel(authority) => return tunnel::run(front, reader, writer, scope, authority, known).await,
            Target::Forward(origin, head) if own::is_own(origin.authority.host()) => {
                let visit = Visit { head: &head, here, through: Some(&scope.principal), is_tls: false };
                return exchange.say_and_close(&own::answer(&front, &visit), method == Method::HEAD, reader, writer).await;
            }
            Target::Forward(origin, head) => {
                let via = Via { scope, destination: Destination::new(origin) };
                match exchange.one(reader, writer, &via, head, framing).await {
                    Served::Next(read, write) => (reader, writer) = (read, write),
                    Served::Ended => return,
                }
            }
            // Answered above: nobody has to be admitted for it.
            Target::Own(_) => return,
        }
    }
}

/// Ends TLS that is meant for the proxy itself, with a leaf for the name or address it was called by.
async fn secured(front: &Front, stream: TcpStream, first: BytesMut, address: Option<SocketAddr>, client: &Client) -> io::Result<Io> {
    let address = address.ok_or(io::ErrorKind::NotConnected)?.ip().to_canonical().to_string();
    let handshake = async {
        let start = LazyConfigAcceptor::new(Acceptor::default(), again(stream, first)).await?;
        let hello = start.client_hello();
        let protocol = if hello.alpn().is_some() { Protocol::Http1 } else { Protocol::Unsaid };
        let server_name = hello.server_name().map(str::to_owned);
        let _place = client.handshake(&front.taken.handshakes).await;
        let config = leaf::config(front, client, server_name.as_deref(), &address, protocol).await?;
        start.into_stream(config).await
    };
    let ended = timeout(front.limits.handshake, handshake).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    front.exchange.meters.handshake(Side::Client, ended.is_ok());
    Ok(Box::new(ended?))
}
