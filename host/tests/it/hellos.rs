//! What clients say first inside a tunnel: hellos in pieces, without end, of old versions, with protocols and names of their own.

use std::sync::Arc;

use flowgate_testkit::{
    Origin,
    client::{H1, request},
    proxy::{Options, Proxy},
    wire::Wire,
};
use rustls::{ClientConfig, ClientConnection, RootCertStore, crypto::aws_lc_rs};

/// Kinds of records (RFC 8446 §5.1).
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
/// The first octet of handshakes (RFC 8446 §4).
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;

/// The handshake message that a client of today begins with.
fn hello() -> Vec<u8> {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let mut connection = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let mut records = Vec::new();
    connection.write_tls(&mut records).unwrap();
    records.split_off(5)
}

/// A hello of that version, with that suite and without extensions.
fn old_hello(version: [u8; 2], suite: [u8; 2]) -> Vec<u8> {
    let body = [&version[..], &[7; 32], &[0, 0, 2], &suite, &[1, 0]].concat();
    let len = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[CLIENT_HELLO], &len[1..], &body].concat()
}

fn record(octets: &[u8]) -> Vec<u8> {
    let len = u16::try_from(octets.len()).unwrap().to_be_bytes();
    [&[HANDSHAKE, 3, 1], &len[..], octets].concat()
}

async fn tunnel(proxy: &Proxy, origin: &Origin) -> Wire {
    proxy.client().tunnel(&origin.authority()).await.unwrap()
}

#[tokio::test]
async fn a_hello_in_pieces_is_a_hello() {
    let origin = Origin::saying("in").await;
    let proxy = Proxy::without_plugins(Options::new()).await;

    for piece in [1, 7, 100, 1 << 14] {
        let mut wire = tunnel(&proxy, &origin).await;
        for octets in hello().chunks(piece) {
            wire.send(record(octets)).await.unwrap();
        }
        let answer = wire.exactly(6).await.unwrap();
        assert_eq!((answer[0], answer[5]), (HANDSHAKE, SERVER_HELLO), "{piece}");
    }
    // The same by octets on the wire.
    let mut wire = tunnel(&proxy, &origin).await;
    for octet in record(&hello()) {
        wire.send([octet]).await.unwrap();
    }
    let answer = wire.exactly(6).await.unwrap();
    assert_eq!((answer[0], answer[5]), (HANDSHAKE, SERVER_HELLO));
}

#[tokio::test]
async fn hellos_that_are_none_end_their_connection_and_no_other() {
    let origin = Origin::saying("in").await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let mut neighbour = proxy.client().h1(&origin.authority()).await.unwrap();
    let endless: Vec<u8> = [record(&[CLIENT_HELLO, 0xff, 0xff, 0xff]), record(&[0; 1 << 14]).repeat(256)].concat();
    // Whether the client is told why: what it sent can be read.
    let cases: [(&str, Vec<u8>, bool); 7] = [
        ("SSL 3.0", record(&old_hello([3, 0], [0xc0, 0x2f])), true),
        ("TLS 1.0", record(&old_hello([3, 1], [0xc0, 0x2f])), true),
        ("TLS 1.1", record(&old_hello([3, 2], [0xc0, 0x2f])), true),
        ("TLS 1.2 with RC4", record(&old_hello([3, 3], [0, 5])), true),
        ("a hello without end", endless, false),
        ("a record without end", [&[HANDSHAKE, 3, 1, 0xff, 0xff][..], &[0; 1 << 17]].concat(), false),
        ("another message", record(&[SERVER_HELLO, 0, 0, 2, 3, 3]), false),
    ];

    for (what, octets, is_told) in cases {
        let mut wire = tunnel(&proxy, &origin).await;
        // It may be closed in the middle.
        let _ = wire.send(octets).await;
        let (said, _end) = wire.rest().await;

        assert!(!is_told || said.first() == Some(&ALERT), "{what}: {said:?}");
        assert_ne!(said.first(), Some(&HANDSHAKE), "{what}: {said:?}");
        let answer = neighbour.exchange(request("GET", "/", &origin.authority(), &[], b"")).await.unwrap();
        assert_eq!(answer.text(), "in", "{what}");
    }
    assert!(origin.journal().peers().len() <= 1, "nobody else was connected");
}

#[tokio::test]
async fn a_protocol_that_nobody_knows_is_not_agreed_on() {
    let origin = Origin::saying("in").await;
    let proxy = Proxy::without_plugins(Options::new()).await;

    let mut connection = H1::new(proxy.client().secure(&origin.authority(), &["spdy/9"]).await.unwrap());

    assert_eq!(connection.alpn(), None);
    assert_eq!(connection.exchange(request("GET", "/", &origin.authority(), &[], b"")).await.unwrap().text(), "in");
}

#[tokio::test]
async fn the_name_in_the_hello_is_whom_the_client_means_and_the_origin_is_held_to_it() {
    let origin = Origin::saying("in").await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let client = proxy.client().with_server_name("inner.test");

    let mut connection = client.h1(&origin.authority()).await.unwrap();

    assert_eq!(connection.exchange(request("GET", "/", "inner.test", &[], b"")).await.unwrap().text(), "in");
    assert_eq!(origin.journal().peers()[0].server_name.as_deref(), Some("inner.test"));
}
