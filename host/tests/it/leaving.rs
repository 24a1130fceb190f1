//! What both ends hear when the proxy stops: WebSockets are closed with 1001 between two frames, HTTP/2 connections with GOAWAY.

use flowgate::tasks::Tasks;
use flowgate_testkit::{
    Origin, Setup,
    guests::{CHAMELEON, MEDIATOR},
    proxy::{Options, Proxy},
    websocket::{CLOSE, TEXT, WebSocket},
    within,
};
use serde_json::json;
use tokio::sync::mpsc;

/// Becomes a WebSocket, and hands over each octet that comes.
async fn listening(extensions: Option<&'static str>) -> (Origin, mpsc::Receiver<u8>) {
    let (hear, heard) = mpsc::channel(1 << 16);
    let origin = Origin::speaking(Setup::http1(), move |wire| {
        let hear = hear.clone();
        async move {
            let mut socket = WebSocket::accept(wire, extensions).await.unwrap();
            while let Ok(octets) = socket.wire().some(usize::MAX).await {
                for octet in octets {
                    hear.send(octet).await.unwrap();
                }
            }
        }
    })
    .await;
    (origin, heard)
}

async fn next(heard: &mut mpsc::Receiver<u8>, count: usize) -> Vec<u8> {
    let mut octets = Vec::new();
    for _ in 0..count {
        octets.push(within("another octet at the origin", heard.recv()).await.unwrap());
    }
    octets
}

/// A masked close frame with nothing but a status code in it.
async fn code(heard: &mut mpsc::Receiver<u8>) -> u16 {
    let frame = next(heard, 8).await;
    assert_eq!(frame[..2], [0x88, 0x82], "{frame:02x?}");
    u16::from_be_bytes([frame[6] ^ frame[2], frame[7] ^ frame[3]])
}

/// A frame passes in two parts; the proxy stops between them.
async fn told_between_two_frames(proxy: Proxy, extensions: Option<&'static str>) {
    let (origin, mut heard) = listening(extensions).await;
    let mut socket = WebSocket::open(&proxy.client(), &origin.authority(), "/ws", extensions).await.unwrap();
    let frame = socket.message(TEXT, b"in two parts");
    let (one, other) = frame.split_at(5);
    socket.wire().send(one).await.unwrap();
    assert_eq!(next(&mut heard, one.len()).await, one);

    let stopping = Tasks::new().spawn(proxy.stop());
    let told = socket.next().await.unwrap();
    socket.wire().send(other).await.unwrap();

    assert_eq!((told.opcode, &told.content[..]), (CLOSE, &1001_u16.to_be_bytes()[..]));
    assert_eq!(next(&mut heard, other.len()).await, other, "the frame in progress passes whole");
    assert_eq!(code(&mut heard).await, 1001);
    within("the stop", stopping).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observed_websocket_is_told_between_two_frames() {
    let watcher = json!({ "messages": "messages", "name": "watcher" });
    let observed = || Options::new().without_logger().component("watcher", CHAMELEON).plugin("watcher", watcher.clone());

    told_between_two_frames(Proxy::start(observed()).await, None).await;
    told_between_two_frames(Proxy::start(observed()).await, Some("x-unreadable")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_that_nobody_observes_is_told_too() {
    told_between_two_frames(Proxy::without_plugins(Options::new()).await, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filtered_websocket_is_told_at_once() {
    let (origin, mut heard) = listening(None).await;
    let options = Options::new().without_logger().component("mediator", MEDIATOR).plugin("mediator", json!({ "name": "mediator" }));
    let proxy = Proxy::start(options).await;
    let mut socket = WebSocket::open(&proxy.client(), &origin.authority(), "/ws", None).await.unwrap();
    socket.say("hi").await.unwrap();
    next(&mut heard, 8).await;

    let stopping = Tasks::new().spawn(proxy.stop());
    let told = socket.next().await.unwrap();

    assert_eq!((told.opcode, &told.content[..]), (CLOSE, &1001_u16.to_be_bytes()[..]));
    assert_eq!(code(&mut heard).await, 1001);
    within("the stop", stopping).await.unwrap();
}

/// An empty SETTINGS frame, and its acknowledgement (RFC 9113 §6.5).
const SETTINGS: [u8; 18] = [0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0];
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of the frames, and the error codes of GOAWAY among them (RFC 9113 §6.8).
fn goaways(mut octets: &[u8]) -> Vec<u32> {
    let mut codes = Vec::new();
    while octets.len() >= 9 {
        let len = u32::from_be_bytes([0, octets[0], octets[1], octets[2]]) as usize;
        if octets[3] == 7 {
            codes.push(u32::from_be_bytes(octets[13..17].try_into().unwrap()));
        }
        octets = &octets[9 + len..];
    }
    codes
}

#[tokio::test]
async fn http2_connections_end_with_goaway_at_both_ends() {
    let (hear, mut heard) = mpsc::channel(1);
    let origin = Origin::speaking(Setup::http2(), move |mut wire| {
        let hear = hear.clone();
        async move {
            wire.exactly(PREFACE.len()).await.unwrap();
            wire.send(SETTINGS).await.unwrap();
            hear.send(wire.rest().await.0).await.unwrap();
        }
    })
    .await;
    // This client does not answer the ping by which streams on their way are waited for.
    let brief = Options::new().change(|config| config.grace = std::time::Duration::from_millis(100));
    let proxy = Proxy::without_plugins(brief).await;
    let mut client = proxy.client().secure(&origin.authority(), &["h2"]).await.unwrap();
    client.send([PREFACE, &SETTINGS].concat()).await.unwrap();
    // The proxy's own settings: it serves.
    let first = client.exactly(9).await.unwrap();

    let stopping = Tasks::new().spawn(proxy.stop());
    let (rest, _) = client.rest().await;

    assert!(goaways(&[&first, &rest[..]].concat()).contains(&0), "{rest:02x?}");
    let at_origin = within("what the origin heard", heard.recv()).await.unwrap();
    assert_eq!(goaways(&at_origin), [0], "{at_origin:02x?}");
    within("the stop", stopping).await.unwrap();
}
