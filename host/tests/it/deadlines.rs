//! What takes too long is ended: whoever keeps the proxy waiting costs it a connection for a while, and nothing else.

use std::time::Duration;

use bytes::Bytes;
use flowgate::config::LimitsConfig;
use flowgate_testkit::{
    Gate, Origin, Script, Setup,
    client::request,
    proxy::{Options, Proxy},
};
use http::Request;

/// Shorter than anybody would want it, and longer than a busy machine takes for what must not be cut.
const SOON: Duration = Duration::from_millis(500);

async fn limited(change: impl FnOnce(&mut LimitsConfig) + Send + 'static) -> Proxy {
    Proxy::without_plugins(Options::new().change(move |config| change(&mut config.limits))).await
}

#[tokio::test]
async fn a_head_that_does_not_end_is_refused() {
    let proxy = limited(|limits| limits.head_deadline = SOON).await;
    let origin = Origin::saying("in").await;
    let mut at_proxy = proxy.client().to_proxy().await.unwrap();
    let mut inside = proxy.client().h1(&origin.authority()).await.unwrap();

    for connection in [&mut at_proxy, &mut inside] {
        connection.send("GET http://a.test/ HTTP/1.1\r\nHost: a").await.unwrap();
        let refused = connection.response("GET").await.unwrap();
        assert_eq!(refused.status(), 400);
        assert!(refused.text().contains("did not arrive in time"), "{}", refused.text());
        assert!(connection.wire().more().await.is_err(), "it is closed");
    }
}

#[tokio::test]
async fn a_client_that_asks_nothing_more_is_closed() {
    let origin = Origin::saying("in").await;
    let proxy = limited(|limits| limits.client_idle = SOON).await;
    let mut http1 = proxy.client().h1(&origin.authority()).await.unwrap();
    http1.exchange(request("GET", "/", &origin.authority(), &[], b"")).await.unwrap();
    let mut http2 = proxy.client().h2(&origin.authority()).await.unwrap();
    let get = || Request::get(origin.root()).body(Bytes::new()).unwrap();
    assert_eq!(http2.exchange(get()).await.unwrap().status, 200);

    assert!(http1.wire().more().await.is_err());
    // Each request puts it off, so it is the last that is waited for.
    http2.ended().await;
    assert!(http2.exchange(get()).await.is_err());
}

#[tokio::test]
async fn a_stream_that_lasts_keeps_its_connection() {
    let gate = Gate::new();
    let origin = Origin::start(Setup::http2(), {
        let gate = gate.clone();
        move |_| Script::new(200).data("a").hold(&gate).data("b")
    })
    .await;
    let proxy = limited(|limits| limits.client_idle = SOON).await;
    let (mut lasting, mut idle) =
        (proxy.client().h2(&origin.authority()).await.unwrap(), proxy.client().h2(&origin.authority()).await.unwrap());
    let (response, _) = lasting.begin(Request::get(origin.root()).body(()).unwrap(), true).await.unwrap();
    let mut answer = flowgate_testkit::client::H2Answer::of(response).await.unwrap();
    answer.until(b"a").await.unwrap();

    // By then this one has been idle for as long.
    idle.ended().await;
    gate.open();

    let answer = answer.finish().await;
    assert_eq!((&answer.content[..], answer.trouble), (&b"ab"[..], None));
}

#[tokio::test]
async fn content_that_stands_still_is_broken_off_at_both_ends() {
    let gate = Gate::new();
    let origin = Origin::start(Setup::http1(), {
        let gate = gate.clone();
        move |seen| match seen.target.as_str() {
            "/down" => Script::new(200).field("Content-Length", "10").data("half").hold(&gate),
            _ => Script::after_reading(|_| Script::ok("read")),
        }
    })
    .await;
    let proxy = limited(|limits| limits.content_idle = SOON).await;

    let down = proxy.client().get(&origin.url("/down")).await.unwrap();
    let mut up = proxy.client().h1(&origin.authority()).await.unwrap();
    up.send(format!("POST /up HTTP/1.1\r\nHost: {}\r\nContent-Length: 10\r\n\r\nhalf", origin.authority())).await.unwrap();

    assert_eq!((&down.content[..], down.trouble.is_some()), (&b"half"[..], true));
    assert!(up.response("POST").await.is_err());
    origin.journal().wait("both ends", |requests, _| requests.iter().all(|seen| seen.gone.is_some()).then_some(())).await;
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_closed_at_either_end() {
    let silent = Origin::silent().await;
    let proxy = limited(|limits| limits.handshake_deadline = SOON).await;

    // A client that begins a hello and leaves it at that.
    let mut half = proxy.client().tunnel(&silent.authority()).await.unwrap();
    half.send([0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).await.unwrap();
    assert!(half.more().await.is_err());

    // An origin that takes a hello and says nothing.
    let proxy = limited(|limits| limits.handshake_deadline = 3 * SOON).await;
    let mut connection = proxy.client().h1(&silent.authority()).await.unwrap();
    let refused = connection.exchange(request("GET", "/", "x", &[], b"")).await.unwrap();
    assert_eq!((refused.status(), refused.head.get("proxy-status")), (504, Some("flowgate; error=connection_timeout")));
}

#[tokio::test]
async fn interim_responses_without_end_are_a_bad_gateway() {
    let row = |count: usize| format!("{}HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 102 Processing\r\n\r\n".repeat(count));
    for (count, status) in [(flowgate::config::limits::INTERIM_RESPONSES - 1, 200), (flowgate::config::limits::INTERIM_RESPONSES, 502)] {
        let sent = row(count);
        let origin = Origin::start(Setup::http1(), move |_| Script::raw(sent.clone()).close()).await;
        let proxy = limited(|_| {}).await;

        let response = proxy.client().get(&origin.root()).await.unwrap();

        assert_eq!(response.status(), status, "{count}: {}", response.text());
    }
}
