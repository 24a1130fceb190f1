//! HTTP/2, spoken to the origin as the client speaks it, and translated only where the origin cannot.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use flowgate_testkit::{
    Gate, Origin, Script, Setup,
    client::{H2Answer, send_h2},
    origin::Act,
    proxy::{Options, Proxy},
    within,
};
use http::{HeaderMap, Request};

fn post(url: &str, content: &'static str) -> Request<Bytes> {
    Request::post(url).header("x-a", "1").header("x-b", "2").header("x-a", "3").body(Bytes::from_static(content.as_bytes())).unwrap()
}

#[tokio::test]
async fn http2_stays_http2() {
    let origin = Origin::start(Setup::tls(), |_| {
        Script::after_reading(|seen| {
            Script::new(201).field("x-b", "1").field("set-cookie", "a").field("set-cookie", "b").data(seen.content.clone())
        })
    })
    .await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let mut connection = proxy.client().h2(&origin.authority()).await.unwrap();

    let response = connection.exchange(post(&origin.url("/p?q=%2F"), "hello")).await.unwrap();

    assert_eq!((response.status, &response.content[..], &response.trouble), (201, &b"hello"[..], &None));
    assert_eq!(response.fields.get_all("set-cookie").iter().collect::<Vec<_>>(), ["a", "b"]);
    let seen = &origin.after(1).await[0];
    assert!(seen.http2);
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/p?q=%2F"));
    let fields: Vec<(&str, &[u8])> = seen.fields.iter().map(|(name, value)| (name.as_str(), &value[..])).collect();
    assert_eq!(fields, [("x-a", &b"1"[..]), ("x-a", b"3"), ("x-b", b"2")], "nothing is added");
}

#[tokio::test]
async fn http1_stays_http1_where_the_origin_speaks_both() {
    let origin = Origin::saying("either").await;
    let proxy = Proxy::without_plugins(Options::new()).await;

    proxy.client().get(&origin.root()).await.unwrap();

    assert!(!origin.after(1).await[0].http2);
    assert_eq!(origin.journal().peers()[0].alpn.as_deref(), Some(&b"http/1.1"[..]));
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let origin = Origin::start(Setup::http2(), |_| Script::new(200).data("grpc").trailers(&[("grpc-status", "0"), ("x-t", "1")])).await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let mut connection = proxy.client().h2(&origin.authority()).await.unwrap();
    let head = Request::post(origin.root()).header("te", "trailers").body(()).unwrap();

    let (response, mut content) = connection.begin(head, false).await.unwrap();
    send_h2(&mut content, Bytes::from_static(b"abc"), false).await.unwrap();
    content.send_trailers(HeaderMap::from_iter([("x-up".parse().unwrap(), "1".parse().unwrap())])).unwrap();
    let response = H2Answer::of(response).await.unwrap().finish().await;

    let trailers = response.trailers.expect("there are trailers");
    assert_eq!((trailers["grpc-status"].as_bytes(), trailers["x-t"].as_bytes()), (&b"0"[..], &b"1"[..]));
    let seen = &origin.after(1).await[0];
    assert_eq!((seen.get("te"), &seen.trailers[..]), (Some("trailers"), &[("x-up".to_owned(), b"1".to_vec())][..]));
}

#[tokio::test]
async fn a_response_of_trailers_only_passes() {
    let origin = Origin::start(Setup::http2(), |_| Script::new(200).trailers(&[("grpc-status", "5")])).await;
    let proxy = Proxy::without_plugins(Options::new()).await;

    let response = proxy.client().h2(&origin.authority()).await.unwrap().exchange(post(&origin.root(), "")).await.unwrap();

    assert_eq!((&response.content[..], response.trailers.unwrap()["grpc-status"].as_bytes()), (&b""[..], &b"5"[..]));
}

#[tokio::test]
async fn a_client_that_insists_on_http2_reaches_an_origin_without_it() {
    let origin = Origin::start(Setup::http1(), |_| {
        Script::after_reading(|seen| {
            let trailers = [("x-t", "1")];
            Script::new(200)
                .field("Connection", "keep-alive")
                .field("X-Spelled", "So")
                .chunked()
                .data(seen.content.clone())
                .trailers(&trailers)
        })
    })
    .await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let mut connection = proxy.client().h2(&origin.authority()).await.unwrap();

    let response = connection.exchange(post(&origin.url("/p"), "hello")).await.unwrap();

    assert_eq!((response.status, &response.content[..]), (200, &b"hello"[..]));
    assert_eq!(response.fields["x-spelled"], "So");
    assert!(!response.fields.contains_key("connection") && !response.fields.contains_key("transfer-encoding"), "{:?}", response.fields);
    assert_eq!(response.trailers.unwrap()["x-t"], "1");
    let seen = &origin.after(1).await[0];
    assert!(!seen.http2);
    assert_eq!((seen.get("host"), seen.target.as_str(), &seen.content[..]), (Some(&*origin.authority()), "/p", &b"hello"[..]));
}

#[tokio::test]
async fn a_client_that_offers_both_hears_what_the_origin_speaks() {
    for (setup, http2) in [(Setup::http1(), false), (Setup::http2(), true), (Setup::tls(), true)] {
        let origin = Origin::start(setup, |_| Script::ok("ok")).await;
        let proxy = Proxy::without_plugins(Options::new()).await;

        let wire = proxy.client().secure(&origin.authority(), &["h2", "http/1.1"]).await.unwrap();

        let connection = flowgate_testkit::client::H1::new(wire);
        let expected: &[u8] = if http2 { b"h2" } else { b"http/1.1" };
        assert_eq!(connection.alpn(), Some(expected));
    }
}

#[tokio::test]
async fn streams_do_not_wait_for_each_other() {
    const STREAMS: usize = 60;
    let gate = Gate::new();
    let origin = Origin::start(Setup::http2(), {
        let gate = gate.clone();
        move |seen| match seen.target.as_str() {
            "/held" => Script::new(200).hold(&gate).data("late"),
            _ => Script::ok(seen.target.clone()),
        }
    })
    .await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let mut connection = proxy.client().h2(&origin.authority()).await.unwrap();
    let get = |path: &str| Request::get(origin.url(path)).body(()).unwrap();
    let (held, _) = connection.begin(get("/held"), true).await.unwrap();

    let mut others = Vec::new();
    for at in 1..STREAMS {
        let path = format!("/{at}");
        let (response, _) = connection.begin(get(&path), true).await.unwrap();
        others.push((path, response));
    }
    for (path, response) in others {
        assert_eq!(H2Answer::of(response).await.unwrap().finish().await.content, path.as_bytes());
    }
    gate.open();

    assert_eq!(H2Answer::of(held).await.unwrap().finish().await.content, b"late");
}

#[tokio::test]
async fn a_reader_that_stalls_stalls_its_own_stream_and_is_not_buffered_for() {
    const STREAMS: usize = 60;
    const PIECE: usize = 64 * 1024;
    const PIECES: usize = 64;
    // What the client's own window takes, the window towards the origin, and a piece in each hand on the way.
    const AHEAD: usize = (1 << 20) + 256 * 1024 + 3 * PIECE;
    let sent = Arc::new(AtomicUsize::new(0));
    let origin = Origin::start(Setup::http2(), {
        let sent = sent.clone();
        move |seen| match seen.target.as_str() {
            "/stalled" => (0..PIECES).fold(Script::new(200), |script, _| script.data(vec![b's'; PIECE]).then(Act::Count(sent.clone()))),
            _ => Script::ok(vec![b'o'; PIECE / 2]),
        }
    })
    .await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let mut connection = proxy.client().h2(&origin.authority()).await.unwrap();
    let get = |path: &str| Request::get(origin.url(path)).body(()).unwrap();
    let (stalled, _) = connection.begin(get("/stalled"), true).await.unwrap();
    let mut stalled = H2Answer::of(stalled).await.unwrap();
    within("the windows' filling", async {
        while sent.load(Ordering::SeqCst) * PIECE < 1 << 20 {
            tokio::task::yield_now().await;
        }
    })
    .await;

    let mut others = Vec::new();
    for at in 1..STREAMS {
        others.push(connection.begin(get(&format!("/{at}")), true).await.unwrap().0);
    }
    for other in others {
        let other = H2Answer::of(other).await.unwrap().finish().await;
        assert_eq!((other.content.len(), other.trouble), (PIECE / 2, None));
    }

    let ahead = sent.load(Ordering::SeqCst) * PIECE;
    assert!(ahead <= AHEAD, "{ahead} octets were taken for a reader that reads none");
    while stalled.next().await.unwrap().is_some() {}
    assert_eq!(stalled.finish().await.content.len(), PIECES * PIECE);
}

#[tokio::test]
async fn a_reset_stream_reaches_the_origin_and_harms_no_other() {
    let gate = Gate::new();
    let origin = Origin::start(Setup::http2(), move |seen| match seen.target.as_str() {
        "/left" => Script::new(200).data("some").hold(&gate),
        _ => Script::ok("other"),
    })
    .await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let mut connection = proxy.client().h2(&origin.authority()).await.unwrap();
    let (left, content) = connection.begin(Request::get(origin.url("/left")).body(()).unwrap(), true).await.unwrap();
    let mut answer = H2Answer::of(left).await.unwrap();
    answer.until(b"some").await.unwrap();

    drop((answer, content));

    origin.journal().wait("the reset", |requests, _| requests[0].gone.clone()).await;
    let other = connection.exchange(Request::get(origin.url("/other")).body(Bytes::new()).unwrap()).await.unwrap();
    assert_eq!(other.content, b"other");
}

#[tokio::test]
async fn a_stream_that_the_origin_resets_is_reset_for_the_client() {
    let gate = Gate::new();
    let origin = Origin::start(Setup::http2(), {
        let gate = gate.clone();
        move |_| Script::new(200).data("half").hold(&gate).reset()
    })
    .await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let mut connection = proxy.client().h2(&origin.authority()).await.unwrap();
    let (response, _) = connection.begin(Request::get(origin.root()).body(()).unwrap(), true).await.unwrap();
    let mut answer = H2Answer::of(response).await.unwrap();
    answer.until(b"half").await.unwrap();

    gate.open();

    assert!(answer.finish().await.trouble.is_some());
}
