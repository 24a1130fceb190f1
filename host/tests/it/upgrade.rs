//! Upgraded connections: after 101 octets pass as they are, both ways, until either side ends.

use flowgate_testkit::{
    Origin, Script, Setup, Trouble,
    client::request,
    origin::Act,
    proxy::{Options, Proxy},
};

const ASKED: [(&str, &str); 6] = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Protocol", "chat, superchat"),
    ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
];

const SWITCHED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";

/// A text frame "hi" and its masked twin.
const FRAMES: &[u8] = b"\x81\x02hi\x81\x82\x01\x02\x03\x04\x69\x6b";

#[tokio::test]
async fn a_websocket_in_a_tunnel_passes_octet_for_octet() {
    let origin = Origin::start(Setup::tls(), |_| Script::raw([SWITCHED, FRAMES].concat()).then(Act::Echo)).await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let mut connection = proxy.client().h1(&origin.authority()).await.unwrap();

    // What is sent right behind the request belongs to the new protocol.
    connection.send([&request("GET", "/ws", "x", &ASKED, b"")[..], FRAMES].concat()).await.unwrap();
    let head = connection.head().await.unwrap();
    let greeting = connection.wire().exactly(FRAMES.len()).await.unwrap();
    let echoed = connection.wire().exactly(FRAMES.len()).await.unwrap();

    assert_eq!(head.octets(), SWITCHED);
    assert_eq!((&greeting[..], &echoed[..]), (FRAMES, FRAMES));
    let seen = &origin.seen()[0];
    for (name, value) in ASKED {
        assert_eq!(seen.get(name), Some(value));
    }
}

#[tokio::test]
async fn a_websocket_in_absolute_form_passes_too() {
    let origin = Origin::start(Setup::clear(), |_| Script::upgrade("websocket")).await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let mut connection = proxy.client().to_proxy().await.unwrap();

    connection.send(request("GET", &origin.url("/ws"), &origin.authority(), &ASKED, b"")).await.unwrap();
    let head = connection.head().await.unwrap();
    connection.send(FRAMES).await.unwrap();

    assert_eq!(head.status(), 101);
    assert_eq!(&connection.wire().exactly(FRAMES.len()).await.unwrap()[..], FRAMES);
    assert_eq!(origin.seen()[0].target, "/ws");
}

#[tokio::test]
async fn a_refused_upgrade_is_a_response_like_any_other() {
    let origin = Origin::start(Setup::tls(), |_| Script::new(403).data("no")).await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let mut connection = proxy.client().h1(&origin.authority()).await.unwrap();

    let refused = connection.exchange(request("GET", "/ws", "x", &ASKED, b"")).await.unwrap();
    let next = connection.exchange(request("GET", "/", "x", &[], b"")).await.unwrap();

    assert_eq!((refused.status(), refused.text(), next.status()), (403, "no".to_owned(), 403));
}

#[tokio::test]
async fn the_end_of_one_side_reaches_the_other() {
    let origin = Origin::start(Setup::tls(), |_| Script::raw([SWITCHED, b"bye"].concat()).close()).await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let mut connection = proxy.client().h1(&origin.authority()).await.unwrap();
    connection.send(request("GET", "/ws", "x", &ASKED, b"")).await.unwrap();
    connection.head().await.unwrap();

    let (octets, end) = connection.wire().rest().await;

    assert_eq!((&octets[..], end), (&b"bye"[..], Trouble::Closed));
}

#[tokio::test]
async fn a_client_that_leaves_a_websocket_is_missed_by_the_origin() {
    let origin = Origin::start(Setup::tls(), |_| Script::upgrade("websocket")).await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let mut connection = proxy.client().h1(&origin.authority()).await.unwrap();
    connection.send(request("GET", "/ws", "x", &ASKED, b"")).await.unwrap();
    connection.head().await.unwrap();

    drop(connection);

    origin.journal().wait("the client's leaving", |requests, _| requests[0].gone.clone()).await;
}

#[tokio::test]
async fn an_unasked_switch_is_not_passed_on() {
    let origin = Origin::start(Setup::tls(), |_| Script::raw(SWITCHED).then(Act::Echo)).await;
    let proxy = Proxy::without_plugins(Options::new()).await;

    let response = proxy.client().get(&origin.root()).await.unwrap();

    assert_eq!(response.status(), 502);
}
