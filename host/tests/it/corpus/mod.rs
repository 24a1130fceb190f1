//! The same message straight and through the proxy, octet for octet, over a corpus of odd ones: nobody can tell which was which.
//!
//! Compared are the whole heads and trailers as octets (but for fields that speak about one hop only), interim responses, content, how it
//! ended, and whether the connection carries another request. Where chunks begin and what their extensions say is between two hops
//! (RFC 9112 §7.1.1), and is not compared.

mod h1;
mod h2;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use flowgate_testkit::{
    Client, Head, Origin, Script, Seen, Setup,
    client::{H1, request},
    proxy::{Options, Proxy},
};

use self::h1::{PAIRS, Pair};

/// The request after each pair's.
const NEXT: &str = "/the-next-one";

/// How the proxy is used.
#[derive(Clone, Copy)]
enum Form {
    /// TLS in a tunnel.
    Tunnel,
    /// Absolute-form, in clear.
    Absolute,
}

type Fields = Vec<(String, Vec<u8>)>;

/// All that both ends can see of one exchange.
#[derive(Debug, PartialEq)]
struct Exchange {
    asked: String,
    /// Content and trailers; not where the origin answers before it reads, for how much of it comes is then a matter of time.
    asked_content: Option<(String, Fields)>,
    interim: Vec<String>,
    answer: String,
    content: String,
    trailers: String,
    is_complete: bool,
    /// Of the request that follows on the connection; not where the origin answers before it reads.
    next: Option<String>,
}

#[tokio::test]
async fn http1_in_a_tunnel_is_the_same_straight_and_through() {
    compare(Proxy::without_plugins(Options::new()).await, Form::Tunnel).await;
}

#[tokio::test]
async fn http1_in_absolute_form_is_the_same_straight_and_through() {
    compare(Proxy::without_plugins(Options::new()).await, Form::Absolute).await;
}

#[tokio::test]
async fn an_observer_changes_nothing() {
    compare(Proxy::start(Options::new()).await, Form::Tunnel).await;
}

async fn compare(proxy: Proxy, form: Form) {
    let current = Arc::new(AtomicUsize::new(0));
    let setup = if matches!(form, Form::Tunnel) { Setup::http1() } else { Setup::clear() };
    let origin = Origin::start(setup, {
        let current = current.clone();
        move |seen| if seen.target == NEXT { Script::ok("next") } else { script(&PAIRS[current.load(Ordering::SeqCst)]) }
    })
    .await;

    let mut differences = Vec::new();
    for (at, pair) in PAIRS.iter().enumerate() {
        // Asterisk-form has no absolute-form with an asterisk (RFC 9112 §3.2.4), one with a fragment is refused, and one without Host gets one (§3.2.2).
        let line = pair.request.split(|octet| *octet == b'\r').next().unwrap();
        if matches!(form, Form::Absolute) && (line.starts_with(b"OPTIONS *") || line.contains(&b'#') || !names_host(pair.request)) {
            continue;
        }
        current.store(at, Ordering::SeqCst);
        let straight = exchange(pair, &origin, &Client::direct(), form, false).await;
        let through = exchange(pair, &origin, &proxy.client(), form, true).await;
        if through != straight {
            differences.push(format!("{}\n straight {straight:#?}\n through {through:#?}", shown(pair.request)));
        }
    }

    assert!(differences.is_empty(), "{} of {}: {}", differences.len(), PAIRS.len(), differences.join("\n"));
}

fn names_host(request: &[u8]) -> bool {
    request.to_ascii_lowercase().windows(7).any(|window| window == b"\r\nhost:")
}

fn script(pair: &Pair) -> Script {
    let script = Script::raw(filled(pair.response, ""));
    let script = if pair.early { script.early() } else { script };
    if pair.closed { script.close() } else { script }
}

async fn exchange(pair: &Pair, origin: &Origin, client: &Client, form: Form, is_through: bool) -> Exchange {
    let before = origin.seen().len();
    let absolute = is_through && matches!(form, Form::Absolute);
    let mut connection = match form {
        Form::Tunnel => client.h1(&origin.authority()).await.unwrap(),
        Form::Absolute if is_through => client.to_proxy().await.unwrap(),
        Form::Absolute => client.clear(&origin.authority()).await.unwrap(),
    };
    let asked = filled(pair.request, &origin.authority());
    let method = String::from_utf8(asked.split(|octet| *octet == b' ').next().unwrap().to_vec()).unwrap();

    connection.send(formed(asked, origin, absolute)).await.unwrap();
    let response = connection.response(&method).await.unwrap_or_else(|failure| panic!("{}: {failure}", shown(pair.request)));
    let next = if pair.early { None } else { next(&mut connection, origin, absolute).await };
    let seen = at_origin(origin, before).await;

    Exchange {
        asked: lasting(&Head::new(seen.head.clone())),
        asked_content: (!pair.early).then(|| (shown(&seen.content), seen.trailers)),
        interim: response.interim.iter().map(lasting).collect(),
        answer: lasting(&response.head),
        content: shown(&response.content),
        trailers: shown(&response.trailers),
        is_complete: response.is_complete(),
        next,
    }
}

async fn next(connection: &mut H1, origin: &Origin, absolute: bool) -> Option<String> {
    let asked = formed(request("GET", NEXT, &origin.authority(), &[], b""), origin, absolute);
    Some(connection.exchange(asked).await.ok()?.text())
}

/// The request as it came, once all of it is there or its connection has ended; nothing where the answer did not come from the origin.
async fn at_origin(origin: &Origin, at: usize) -> Seen {
    if origin.seen().len() <= at {
        return Seen::default();
    }
    let over = |seen: &&Seen| seen.complete || seen.answered || seen.gone.is_some();
    origin.journal().wait("the request at the origin", |requests, _| requests.get(at).filter(over).cloned()).await
}

/// With the origin in the request-target, where it shall be.
fn formed(asked: Vec<u8>, origin: &Origin, absolute: bool) -> Vec<u8> {
    if !absolute {
        return asked;
    }
    let at = asked.iter().position(|octet| *octet == b' ').unwrap() + 1;
    [&asked[..at], format!("http://{}", origin.authority()).as_bytes(), &asked[at..]].concat()
}

fn filled(octets: &[u8], authority: &str) -> Vec<u8> {
    replaced(replaced(octets.to_vec(), b"HOST", authority.as_bytes()), b"LARGE", &[b'v'; 32 * 1024])
}

fn replaced(octets: Vec<u8>, what: &[u8], by: &[u8]) -> Vec<u8> {
    match octets.windows(what.len()).position(|window| window == what) {
        Some(at) => [&octets[..at], by, &octets[at + what.len()..]].concat(),
        None => octets,
    }
}

/// A head without what speaks about one hop only (RFC 9110 §7.6.1).
fn lasting(head: &Head) -> String {
    let hop = ["connection", "keep-alive", "proxy-connection", "proxy-authorization", "proxy-authenticate", "te", "upgrade"];
    let named: Vec<String> = head
        .all("connection")
        .iter()
        .flat_map(|value| {
            String::from_utf8_lossy(value).to_ascii_lowercase().split(',').map(|name| name.trim().to_owned()).collect::<Vec<_>>()
        })
        .collect();
    let is_lasting = |line: &&&[u8]| {
        let name = String::from_utf8_lossy(line.split(|octet| *octet == b':').next().unwrap_or_default()).to_ascii_lowercase();
        !hop.contains(&name.as_str()) && !named.contains(&name)
    };
    let lines: Vec<String> = head.lines().iter().filter(is_lasting).map(|line| shown(line)).collect();
    format!("{}\n{}", shown(head.start_line()), lines.join("\n"))
}

/// Readable in a failure, and different for different octets.
fn shown(octets: &[u8]) -> String {
    octets.escape_ascii().to_string().replace("vvvvvvvvvvvvvvvv", "V")
}
