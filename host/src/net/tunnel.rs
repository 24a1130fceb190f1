//! A tunnel: from an admitted CONNECT to what is spoken inside it.
//!
//! Place: after `connection`. A spliced tunnel is connected before the client hears 200, so a refusal has a status; an intercepted one says
//! 200 first, for only its inside tells where to.
//! Source: RFC 9110 §9.3.6, RFC 6066 §3, RFC 7301.

use std::{io, sync::Arc};

use bytes::BytesMut;
use http::Method;
use rustls::server::{Acceptor, ClientHello};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::LazyConfigAcceptor;

use super::{
    Front,
    clients::Client,
    leaf,
    own::{self, Here, Visit},
    plain,
    sniff::{Sniffed, sniff},
};
use crate::{
    exchange::{Target, Via, at_proxy, relay},
    flow::{Authority, Origin, Refusal, Scheme, Scope},
    hooks::Passage,
    io::{HalfReader, HalfWriter, Io, halves, whole},
    meters::{Side, Treated},
    origin::Destination,
    tls::{self, Protocol},
};

/// RFC 9110 §9.3.6: nothing but a status is needed; a reason phrase is what some clients look for.
const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

const TOO_MANY: Refusal = Refusal::Overloaded("this user has as many tunnels as one may have (limits.tunnels-per-user)");

/// What becomes of a tunnel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Treatment {
    /// TLS is ended here, and what is inside is seen.
    Intercept,
    /// Octets are relayed blindly.
    Splice,
}

/// Runs a tunnel to its end.
pub(super) async fn run(
    front: Arc<Front>,
    reader: HalfReader,
    mut writer: HalfWriter,
    scope: Arc<Scope>,
    authority: Authority,
    client: &Client,
) {
    let meters = &front.exchange.meters;
    // Whoever gave no name has what its address may have.
    let _share = match scope.principal.name().map(|user| front.taken.tunnels.take(user.into())) {
        Some(None) => {
            meters.tunnel(Treated::Refused);
            return front.exchange.refuse(TOO_MANY, reader, writer).await;
        }
        share => share,
    };
    if let Err(refusal) = front.exchange.pool.dialler().may_connect(&authority) {
        meters.tunnel(Treated::Refused);
        return front.exchange.refuse(refusal, reader, writer).await;
    }
    let passage = match front.exchange.hooks.connect(&scope, &authority) {
        Some(asking) => asking.await,
        None => Ok(Passage::Proceed),
    };
    let treatment = match passage {
        Ok(Passage::Proceed) => treatment(&front, &scope, authority.host()),
        Ok(Passage::Splice) => Treatment::Splice,
        Ok(Passage::Reject { by, response }) => {
            meters.tunnel(Treated::Refused);
            tracing::info!(plugin = by, status = response.status.as_u16(), "no tunnel to {authority}: a plugin rejects it");
            return front.exchange.say_and_close(&response, false, reader, writer).await;
        }
        Err(refusal) => {
            meters.tunnel(Treated::Refused);
            return front.exchange.refuse(refusal, reader, writer).await;
        }
    };
    if treatment == Treatment::Splice {
        meters.tunnel(Treated::Spliced);
        return splice(&front, reader, writer, &authority, true).await;
    }
    writer.buffer().extend_from_slice(ESTABLISHED);
    if writer.flush().await.is_err() {
        return;
    }
    let mut reader = reader;
    match first_octets(&front, &mut reader, &authority).await {
        Ok(First::Spoken(Sniffed::Tls)) => {
            let until = Instant::now() + front.limits.handshake;
            if names_one_left_alone(&front, &mut reader, until).await {
                meters.tunnel(Treated::Spliced);
                return splice(&front, reader, writer, &authority, false).await;
            }
            meters.tunnel(Treated::Intercepted);
            intercept(front, whole(reader, writer), scope, authority, client, until).await;
        }
        Ok(First::Spoken(Sniffed::Http1)) => {
            meters.tunnel(Treated::Intercepted);
            let origin = Origin { scheme: Scheme::Http, authority };
            let via = Via { scope, destination: Destination::new(origin) };
            front.exchange.serve_http1(reader, writer, via).await;
        }
        Ok(First::Spoken(Sniffed::Opaque | Sniffed::Unclear)) => {
            meters.tunnel(Treated::Spliced);
            splice(&front, reader, writer, &authority, false).await;
        }
        Ok(First::Origin(origin)) => {
            meters.tunnel(Treated::Spliced);
            drop(relay((reader, writer), origin, meters.relayed()).await);
        }
        // The client is gone, or so is what it wanted; it has heard 200, so the end of the connection has to say it.
        Err(Some(refusal)) => tracing::info!("{}", crate::exchange::sentence(&refusal)),
        Err(None) => {}
    }
}

/// A tunnel to the proxy's own name: one request is answered, over TLS with a leaf of ours, which shows whether the client trusts them.
pub(super) async fn to_itself(
    front: &Front,
    here: Here,
    (mut reader, mut writer): (HalfReader, HalfWriter),
    scope: &Scope,
    authority: &Authority,
    client: &Client,
) {
    let inside = async {
        writer.buffer().extend_from_slice(ESTABLISHED);
        writer.flush().await?;
        if client_speaks(&mut reader).await? != Sniffed::Tls {
            return io::Result::Ok((reader, writer, false));
        }
        let start = LazyConfigAcceptor::new(Acceptor::default(), whole(reader, writer)).await?;
        let hello = Hello::read(&start.client_hello());
        let _place = client.handshake(&front.taken.handshakes).await;
        let protocol = if hello.alpn || hello.http2 { Protocol::Http1 } else { Protocol::Unsaid };
        let config = leaf::config(front, client, hello.server_name.as_deref(), authority.host(), protocol).await?;
        let accepted = start.into_stream(config).await;
        front.exchange.meters.handshake(Side::Client, accepted.is_ok());
        let (reader, writer) = halves(Box::new(accepted?), BytesMut::new());
        Ok((reader, writer, true))
    };
    // Who gives up early is no news.
    let Ok(Ok((mut reader, writer, is_tls))) = timeout(front.limits.handshake, inside).await else { return };
    let Ok(Some((line, _))) = front.exchange.next_request(&mut reader).await else { return };
    match at_proxy(line) {
        Ok(Target::Own(head)) => {
            let visit = Visit { head: &head, here, through: Some(&scope.principal), is_tls };
            front.exchange.say_and_close(&own::answer(front, &visit), head.method == Method::HEAD, reader, writer).await;
        }
        Ok(Target::Tunnel(_) | Target::Forward(..)) => {}
        Err(refusal) => front.exchange.refuse(refusal, reader, writer).await,
    }
}

fn treatment(front: &Front, scope: &Scope, host: &str) -> Treatment {
    let lower = plain(host);
    let policy = front.policy.load();
    if policy.routes.tunnel.is_match(&lower) || !front.interceptor.may_intercept(&lower) {
        return Treatment::Splice;
    }
    let wanted = match &policy.routes.intercept {
        Some(hosts) => hosts.is_match(&lower),
        None => front.exchange.hooks.wants_host(host),
    };
    if wanted && !policy.distrust.is_known(scope, host) { Treatment::Intercept } else { Treatment::Splice }
}

/// Relays to the origin blindly. `answer`: the client still waits for the response to its CONNECT.
async fn splice(front: &Front, reader: HalfReader, mut writer: HalfWriter, authority: &Authority, answer: bool) {
    match front.exchange.pool.open(authority).await {
        Ok(stream) => {
            if answer {
                writer.buffer().extend_from_slice(ESTABLISHED);
                if writer.flush().await.is_err() {
                    return;
                }
            }
            // How either side ends it is theirs to say.
            let _ = relay((reader, writer), halves(stream, BytesMut::new()), front.exchange.meters.relayed()).await;
        }
        Err(refusal) if answer => front.exchange.refuse(refusal, reader, writer).await,
        Err(refusal) => tracing::info!("{}", crate::exchange::sentence(&refusal)),
    }
}

/// Who spoke first.
enum First {
    /// The client, and what.
    Spoken(Sniffed),
    /// The origin: no protocol we know, so all is relayed.
    Origin((HalfReader, HalfWriter)),
}

/// Waits for the client to speak. One that stays silent may wait for a server that speaks first, so after a while the origin is listened
/// to as well.
async fn first_octets(front: &Front, reader: &mut HalfReader, authority: &Authority) -> Result<First, Option<Refusal>> {
    if let Ok(spoken) = timeout(front.limits.sniff, client_speaks(reader)).await {
        return spoken.map(First::Spoken).map_err(|_| None);
    }
    let stopping = front.exchange.tasks.stopping();
    let dial = front.exchange.pool.open(authority);
    let (mut origin, writer) = tokio::select! {
        spoken = client_speaks(reader) => return spoken.map(First::Spoken).map_err(|_| None),
        dialled = dial => halves(dialled.map_err(Some)?, BytesMut::new()),
        () = stopping.cancelled() => return Err(None),
    };
    tokio::select! {
        spoken = client_speaks(reader) => spoken.map(First::Spoken).map_err(|_| None),
        _ = origin.fill() => Ok(First::Origin((origin, writer))),
        () = stopping.cancelled() => Err(None),
    }
}

/// Reads until it is clear what the client speaks. May be cancelled and called again: nothing read is lost.
async fn client_speaks(reader: &mut HalfReader) -> io::Result<Sniffed> {
    loop {
        match sniff(reader.buffer()) {
            Sniffed::Unclear => {}
            clear => return Ok(clear),
        }
        if reader.fill().await? == 0 {
            return match reader.buffer().is_empty() {
                true => Err(io::ErrorKind::UnexpectedEof.into()),
                false => Ok(Sniffed::Opaque),
            };
        }
    }
}

/// Whether the client's hello names a host that is never to be looked into: a tunnel to an address says nothing of whose it is.
async fn names_one_left_alone(front: &Front, reader: &mut HalfReader, until: Instant) -> bool {
    if front.policy.load().routes.tunnel.is_empty() {
        return false;
    }
    let name = timeout_at(until, hello_name(reader)).await.ok().flatten();
    name.is_some_and(|name| front.policy.load().routes.tunnel.is_match(name))
}

/// The server name in a hello, which stays to be read, as patterns are written for it. `None`: it has none, or is no hello.
async fn hello_name(reader: &mut HalfReader) -> Option<String> {
    let (mut acceptor, mut taken) = (Acceptor::default(), 0);
    loop {
        while let Some(mut rest) = reader.buffer().get(taken..).filter(|rest| !rest.is_empty()) {
            taken += acceptor.read_tls(&mut rest).ok()?;
            if let Some(accepted) = acceptor.accept().ok()? {
                return accepted.client_hello().server_name().map(plain);
            }
        }
        if reader.fill().await.ok()? == 0 {
            return None;
        }
    }
}

/// Ends the client's TLS with a leaf for the name it asks for, and serves what is inside.
async fn intercept(
    front: Arc<Front>,
    io: impl crate::io::Duplex,
    scope: Arc<Scope>,
    authority: Authority,
    client: &Client,
    until: Instant,
) {
    let handshake = async {
        let start = LazyConfigAcceptor::new(Acceptor::default(), io).await?;
        let hello = Hello::read(&start.client_hello());
        // Not before it has said hello: silence takes no place from others.
        let _place = client.handshake(&front.taken.handshakes).await;
        let origin = Origin { scheme: Scheme::Https, authority: authority.clone() };
        let destination = Destination::called(origin, hello.server_name.as_deref());
        let protocol = agree(&front, &hello, &destination, &scope).await;
        let config = leaf::config(&front, client, hello.server_name.as_deref(), authority.host(), protocol).await?;
        // In a box at once: what is returned stays in the task of the connection for as long as that lasts.
        let stream: Io = Box::new(start.into_stream(config).await?);
        io::Result::Ok((stream, destination, protocol))
    };
    let ended = timeout_at(until, handshake).await;
    front.exchange.meters.handshake(Side::Client, matches!(ended, Ok(Ok(_))));
    match ended {
        Ok(Ok((io, destination, protocol))) => {
            let via = Via { scope, destination };
            match protocol {
                Protocol::Http2 => front.exchange.serve_http2(io, via).await,
                Protocol::Http1 | Protocol::Unsaid => {
                    let (reader, writer) = halves(io, BytesMut::new());
                    front.exchange.serve_http1(reader, writer, via).await;
                }
            }
        }
        Ok(Err(error)) => explain(&front, &scope, &authority, &error),
        Err(_elapsed) => tracing::info!("the client did not finish its TLS handshake for {authority}"),
    }
}

/// What a client asks for before anything is agreed.
struct Hello {
    server_name: Option<String>,
    http2: bool,
    alpn: bool,
}

impl Hello {
    fn read(hello: &ClientHello<'_>) -> Self {
        let protocols: Vec<&[u8]> = hello.alpn().into_iter().flatten().collect();
        Self {
            server_name: hello.server_name().map(str::to_owned),
            http2: protocols.contains(&b"h2".as_ref()),
            alpn: protocols.contains(&b"http/1.1".as_ref()),
        }
    }
}

/// The client is offered what the origin speaks, so that both hear what they would hear from each other (RFC 7301). Where the origin cannot
/// be asked, or not within half the time of the client's handshake, the client gets what it prefers, and then the reason as a response.
async fn agree(front: &Front, hello: &Hello, destination: &Destination, scope: &Arc<Scope>) -> Protocol {
    if !hello.http2 {
        return if hello.alpn { Protocol::Http1 } else { Protocol::Unsaid };
    }
    match timeout(front.limits.handshake / 2, front.exchange.pool.speaks_http2(destination, scope)).await {
        Ok(Ok(false)) if hello.alpn => Protocol::Http1,
        Ok(Ok(_) | Err(_)) | Err(_) => Protocol::Http2,
    }
}

/// One line for the operator, with the mend where there is one.
fn explain(front: &Front, scope: &Scope, authority: &Authority, error: &io::Error) {
    let host = authority.host();
    let trouble = tls::explain(error);
    if trouble.as_ref().is_some_and(tls::CertificateTrouble::is_distrust) {
        front.exchange.meters.distrusted();
    }
    match trouble {
        Some(trouble) if trouble.is_distrust() => match front.policy.load().distrust.rejected(scope, host) {
            Some(period) => tracing::warn!(
                "the client does not trust the root certificate for {host}, again: its connections to {host} pass unseen for {period:?} \
                 (auto-splice), and nothing of them is recorded"
            ),
            None => tracing::warn!(
                "the client does not trust the root certificate for {host}: install it on the client (`flowgate ca show` says where it is), \
                 or leave {host} alone with --tunnel {host}"
            ),
        },
        Some(trouble) => tracing::info!("TLS with the client for {host} failed: {trouble}"),
        // Clients open tunnels ahead of need and drop them; that is no news.
        None => tracing::debug!("TLS with the client for {host} failed: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use rustls::{ClientConfig, ClientConnection, RootCertStore, crypto::aws_lc_rs};
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn the_name_in_a_hello_is_read_however_that_comes_and_stays_to_be_read() {
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for TLS 1.2 and 1.3")
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let name = "www.Bank.test".try_into().expect("a name");
        let mut hello = Vec::new();
        ClientConnection::new(Arc::new(config), name).expect("a client").write_tls(&mut hello).expect("there is room");
        let half = &hello[..hello.len() / 2];

        for step in [1, 7, hello.len()] {
            for (sent, expected) in [(&hello[..], Some("www.bank.test")), (half, None), (b"\x16\x03\x01\x00\x01x", None)] {
                let (io, mut client) = tokio::io::duplex(step);
                let (mut reader, _writer) = halves(Box::new(io), BytesMut::new());
                let send = async {
                    client.write_all(sent).await.expect("it is read");
                    drop(client);
                };

                let (name, ()) = tokio::join!(hello_name(&mut reader), send);

                assert_eq!(name.as_deref(), expected);
                assert!(sent.starts_with(reader.buffer()) && (expected.is_none() || sent.len() == reader.buffer().len()));
            }
        }
    }
}
