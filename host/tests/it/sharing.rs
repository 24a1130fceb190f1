//! Connections to origins of HTTP/2, which the streams of one client share: how many there are, and what is asked again.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use flowgate_testkit::{
    Failure, Gate, Origin, Script, Setup,
    client::{H2, H2Answer},
    origin::Act,
    proxy::{Options, Proxy},
};
use h2::Reason;
use http::Request;

/// An origin that allows so many streams on each connection, and takes them as long as the gate is closed.
async fn narrow(streams: u32, gate: &Gate) -> Origin {
    let gate = gate.clone();
    Origin::start(Setup::http2().streams(streams), move |seen| match seen.target.as_str() {
        "/held" => Script::new(200).data("some ").hold(&gate).data("of it"),
        _ => Script::ok("quick"),
    })
    .await
}

/// A stream that has begun and does not end.
async fn held(connection: &mut H2, origin: &Origin) -> H2Answer {
    let (response, _) = connection.begin(Request::get(origin.url("/held")).body(()).unwrap(), true).await.unwrap();
    H2Answer::of(response).await.unwrap()
}

fn get(url: &str) -> Request<Bytes> {
    Request::get(url).body(Bytes::new()).unwrap()
}

#[tokio::test]
async fn streams_of_some_clients_keep_no_others_waiting() {
    let gate = Gate::new();
    let origin = narrow(2, &gate).await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let (mut one, mut other) =
        (proxy.client().h2(&origin.authority()).await.unwrap(), proxy.client().h2(&origin.authority()).await.unwrap());
    let streams = [held(&mut one, &origin).await, held(&mut one, &origin).await];

    let quick = other.exchange(get(&origin.root())).await.unwrap();

    assert_eq!(quick.content, b"quick");
    gate.open_for(streams.len());
    for stream in streams {
        assert_eq!(stream.finish().await.content, b"some of it");
    }
}

#[tokio::test]
async fn connections_to_one_origin_are_bounded() {
    const MOST: usize = flowgate::config::limits::ORIGIN_HTTP2_CONNECTIONS_EACH;
    let gate = Gate::new();
    let origin = narrow(1, &gate).await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let mut connection = proxy.client().h2(&origin.authority()).await.unwrap();
    let mut streams = Vec::new();
    for _ in 0..MOST {
        streams.push(held(&mut connection, &origin).await);
    }

    let (waiting, _) = connection.begin(Request::get(origin.root()).body(()).unwrap(), true).await.unwrap();
    gate.open_for(MOST);
    let waiting = H2Answer::of(waiting).await.unwrap().finish().await;

    assert_eq!((&waiting.content[..], origin.journal().peers().len()), (&b"quick"[..], MOST));
    for stream in streams {
        assert_eq!(stream.finish().await.content, b"some of it");
    }
}

#[tokio::test]
async fn what_an_origin_says_it_has_not_begun_is_asked_once_more() {
    let asked = AtomicUsize::new(0);
    let origin = Origin::start(Setup::http2(), move |seen| match asked.fetch_add(1, Ordering::SeqCst) {
        0 | 2..=4 => Script::refusing(),
        _ => Script::ok(seen.method.clone()),
    })
    .await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let mut connection = proxy.client().h2(&origin.authority()).await.unwrap();

    let again = connection.exchange(get(&origin.root())).await.unwrap();
    let twice = connection.exchange(get(&origin.root())).await.unwrap_err().to_string();
    let (answer, _content) = connection.begin(Request::post(origin.root()).body(()).unwrap(), false).await.unwrap();
    let with_content = H2Answer::of(answer).await.err().unwrap().to_string();

    assert_eq!((again.status, &again.content[..]), (200, &b"GET"[..]));
    assert!(twice.contains("refused stream"), "and no more than that: {twice}");
    assert!(with_content.contains("refused stream"), "its client may ask again: {with_content}");
    assert_eq!(origin.seen().len(), 5, "what may have been sent is not there to be sent again");
}

#[tokio::test]
async fn a_request_that_the_origin_resets_is_reset_for_the_same_reason() {
    for reason in [Reason::HTTP_1_1_REQUIRED, Reason::CANCEL, Reason::INTERNAL_ERROR] {
        let origin = Origin::start(Setup::http2(), move |_| Script::ok("").before(Act::ResetFor(reason))).await;
        let proxy = Proxy::without_plugins(Options::new()).await;
        let mut connection = proxy.client().h2(&origin.authority()).await.unwrap();

        let (answer, _content) = connection.begin(Request::post(origin.root()).body(()).unwrap(), false).await.unwrap();
        let Some(Failure::Http2(heard)) = H2Answer::of(answer).await.err() else { panic!("there is an answer") };

        assert_eq!((heard.reason(), heard.is_remote(), origin.seen().len()), (Some(reason), true, 1));
    }
}

/// Empty SETTINGS (RFC 9113 §6.5).
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
/// GOAWAY that says that no stream was looked at (§6.8).
const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[tokio::test]
async fn what_an_origin_that_goes_away_has_not_begun_can_be_asked_again_by_its_client() {
    let origin = Origin::speaking(Setup::http2(), |mut wire| async move {
        wire.send(SETTINGS).await.unwrap();
        wire.exactly(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len()).await.unwrap();
        // Up to a HEADERS frame; who only looks in sends none.
        while let Ok(frame) = wire.exactly(9).await {
            let length = u32::from_be_bytes([0, frame[0], frame[1], frame[2]]);
            wire.exactly(length as usize).await.unwrap();
            if frame[3] == 1 {
                wire.send(GOAWAY).await.unwrap();
            }
        }
    })
    .await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let mut connection = proxy.client().h2(&origin.authority()).await.unwrap();

    let (answer, _content) = connection.begin(Request::post(origin.root()).body(()).unwrap(), false).await.unwrap();
    let Some(Failure::Http2(heard)) = H2Answer::of(answer).await.err() else { panic!("there is an answer") };

    assert_eq!((heard.reason(), heard.is_reset(), heard.is_remote()), (Some(Reason::REFUSED_STREAM), true, true));
}

#[tokio::test]
async fn a_stream_that_the_origin_resets_is_reset_for_the_same_reason() {
    let gate = Gate::new();
    let origin = Origin::start(Setup::http2(), {
        let gate = gate.clone();
        move |_| Script::new(200).data("half").hold(&gate).then(Act::ResetFor(Reason::REFUSED_STREAM))
    })
    .await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let mut connection = proxy.client().h2(&origin.authority()).await.unwrap();
    let mut answer = held(&mut connection, &origin).await;
    answer.until(b"half").await.unwrap();

    gate.open();

    let trouble = answer.finish().await.trouble.map(|trouble| format!("{trouble:?}"));
    assert!(trouble.as_ref().is_some_and(|trouble| trouble.contains("refused stream")), "{trouble:?}");
}
