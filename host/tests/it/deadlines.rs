//! What takes too long is ended: whoever keeps the proxy waiting costs it a connection for a while, and nothing else.

use std::{future::pending, pin::pin, time::Duration};

use bytes::Bytes;
use flowgate::config::LimitsConfig;
use flowgate_testkit::{
    Gate, Origin, Script, Setup,
    client::{H2Answer, request},
    origin::Act,
    proxy::{Options, Proxy},
};
use http::Request;

use crate::copilot;

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
async fn who_is_refused_and_stays_is_dropped() {
    let origin = Origin::saying("in").await;
    let proxy = limited(|limits| limits.connections = 1).await;
    // One says nothing more, and one more than anybody swallows.
    for more in [0, 8 << 20] {
        let mut refused = proxy.client().to_proxy().await.unwrap();
        refused.send("GET / HTTP/1.1\r\nno field\r\n\r\n").await.unwrap();
        assert_eq!(refused.response("GET").await.unwrap().status(), 400);

        let (url, client) = (origin.root(), proxy.client());
        let sending = async {
            let _ = refused.send(vec![b'x'; more]).await;
        };
        let (served, ()) = tokio::join!(client.get(&url), sending);

        assert_eq!(served.unwrap().text(), "in", "{more}");
    }
}

#[tokio::test]
async fn a_client_that_asks_nothing_more_is_closed() {
    let origin = Origin::saying("in").await;
    let proxy = limited(|limits| limits.client_idle = 6 * SOON).await;
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
    let proxy = limited(|limits| limits.client_idle = 3 * SOON).await;
    let mut lasting = proxy.client().h2(&origin.authority()).await.unwrap();
    let (response, _) = lasting.begin(Request::get(origin.root()).body(()).unwrap(), true).await.unwrap();
    let mut answer = H2Answer::of(response).await.unwrap();
    answer.until(b"a").await.unwrap();

    // By then this one has been idle for as long, and the other began before it.
    proxy.client().h2(&origin.authority()).await.unwrap().ended().await;
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
    let up = up.response("POST").await.unwrap();
    assert_eq!((up.status(), up.head.get("proxy-status")), (408, Some("flowgate; error=http_request_error")));
    assert!(up.head.closes() && up.text().contains("nothing more of the request"), "{}", up.text());
    origin.journal().wait("both ends", |requests, _| requests.iter().all(|seen| seen.gone.is_some()).then_some(())).await;
}

#[tokio::test]
async fn what_drips_passes_as_content_and_not_as_a_head() {
    // What the octets come between, and eight times as long.
    const DROP: Duration = Duration::from_millis(500);
    const LONG: Duration = Duration::from_secs(4);
    const LENGTH: usize = 100;
    let gate = Gate::new();
    let origin = Origin::start(Setup::http1(), {
        let gate = gate.clone();
        move |seen| match seen.target.as_str() {
            "/still" => Script::new(200).field("Content-Length", "10").data("half").then(Act::Hold(Gate::new())),
            "/down" => {
                (0..LENGTH).fold(Script::new(200).field("Content-Length", LENGTH.to_string()), |script, _| script.data("d").hold(&gate))
            }
            _ => Script::after_reading(|seen| Script::ok(seen.content.clone())),
        }
    })
    .await;
    let proxy = limited(|limits| (limits.client_idle, limits.head_deadline, limits.content_idle) = (DROP, LONG, LONG)).await;
    let begin = async |head: String| {
        let mut connection = proxy.client().h1(&origin.authority()).await.unwrap();
        connection.send(head).await.unwrap();
        connection
    };
    let (client, url) = (proxy.client(), origin.url("/still"));
    let mut still = pin!(client.get(&url));
    let mut head = begin("GET / HTTP/1.1\r\nHost: a.test\r\nX-Slow: ".to_owned()).await;
    let mut up = begin(format!("POST /up HTTP/1.1\r\nHost: a.test\r\nContent-Length: {LENGTH}\r\n\r\n")).await;
    let mut down = begin("GET /down HTTP/1.1\r\nHost: a.test\r\n\r\n".to_owned()).await;

    let (mut sent, mut cut, mut refused) = (0, None, false);
    while cut.is_none() || !refused {
        // The time between two drops is what a connection may be idle for.
        let mut idle = proxy.client().to_proxy().await.unwrap();
        tokio::select! {
            biased;
            ended = &mut still, if cut.is_none() => cut = Some(ended.unwrap()),
            _ = head.wire().more(), if !refused => refused = true,
            _ = idle.wire().more() => {
                // Refused meanwhile, it may take no more.
                let _ = head.send("x").await;
                up.send("u").await.unwrap();
                gate.open_for(1);
                sent += 1;
            }
        }
    }
    up.send("u".repeat(LENGTH - sent)).await.unwrap();
    gate.open_for(LENGTH);

    assert!(cut.is_some_and(|still| still.trouble.is_some()), "by then what stands still has been cut");
    assert_eq!(head.response("GET").await.unwrap().status(), 400);
    assert_eq!(up.response("POST").await.unwrap().text(), "u".repeat(LENGTH));
    assert_eq!(down.response("GET").await.unwrap().text(), "d".repeat(LENGTH));
}

/// More than all buffers between two ends hold.
const HUGE: usize = 64 << 20;

#[tokio::test]
async fn a_client_that_takes_nothing_more_is_let_go() {
    for (setup, is_http2) in [(Setup::http1(), false), (Setup::http2(), true)] {
        let origin = Origin::start(setup, |_| Script::ok(vec![b'x'; HUGE])).await;
        let proxy = limited(|limits| limits.content_idle = SOON).await;

        // Both stay open, and are not read from.
        let (mut http1, mut http2) = (None, None);
        if is_http2 {
            let mut connection = proxy.client().h2(&origin.authority()).await.unwrap();
            let (response, _) = connection.begin(Request::get(origin.root()).body(()).unwrap(), true).await.unwrap();
            http2 = Some((H2Answer::of(response).await.unwrap(), connection));
        } else {
            let mut connection = proxy.client().h1(&origin.authority()).await.unwrap();
            connection.send(request("GET", "/", &origin.authority(), &[], b"")).await.unwrap();
            http1 = Some(connection.head().await.map(|_| connection).unwrap());
        }

        origin.journal().wait("the end of the answer", |requests, _| requests.first()?.gone.is_some().then_some(())).await;
        drop((http1, http2));
    }
}

/// Empty SETTINGS and their acknowledgement (RFC 9113 §6.5): streams may send 64 KiB, and no more if the window is never opened.
const SETTINGS: [u8; 18] = [0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0];

#[tokio::test]
async fn an_origin_that_neither_takes_anything_nor_answers_is_given_up() {
    let deaf = Origin::speaking(Setup::http1(), |mut wire| async move {
        wire.until(b"\r\n\r\n").await.unwrap();
        pending().await
    })
    .await;
    let narrow = Origin::speaking(Setup::http2(), |mut wire| async move {
        wire.send(SETTINGS).await.unwrap();
        while wire.more().await.is_ok() {
            wire.discard(wire.held().len());
        }
    })
    .await;
    let proxy = limited(|limits| limits.content_idle = SOON).await;

    let mut http1 = proxy.client().h1(&deaf.authority()).await.unwrap();
    http1.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {HUGE}\r\n\r\n")).await.unwrap();
    let chunk = vec![b'x'; 64 << 10];
    while http1.wire().held().is_empty() && http1.send(&chunk).await.is_ok() {}
    let refused = http1.response("POST").await.unwrap();
    assert_eq!((refused.status(), refused.head.get("proxy-status")), (504, Some("flowgate; error=http_response_timeout")));

    let mut http2 = proxy.client().h2(&narrow.authority()).await.unwrap();
    let post = Request::post(narrow.root()).body(Bytes::from(vec![b'x'; 128 << 10])).unwrap();
    let refused = http2.exchange(post).await.unwrap();
    assert_eq!(refused.status, 504, "{:?}", refused.fields);
}

#[tokio::test]
async fn an_origin_that_does_not_answer_is_given_up() {
    let held = Gate::new();
    let origin = Origin::start(Setup::tls(), move |_| Script::ok("late").before(Act::Hold(held.clone()))).await;
    let target = format!("{}:443", copilot::HOST);
    let options = Options::new().resolving(&target, &origin).change(|config| config.limits.response_deadline = SOON);
    let proxy = Proxy::start(options).await;

    let mut http1 = proxy.client().h1(&target).await.unwrap();
    let refused = http1.exchange(copilot::completion(copilot::HOST, "1", b"{}")).await.unwrap();
    let get = Request::get(format!("https://{}/models", copilot::HOST)).body(Bytes::new()).unwrap();
    let over_http2 = proxy.client().h2(&target).await.unwrap().exchange(get).await.unwrap();

    assert_eq!((refused.status(), refused.head.get("proxy-status")), (504, Some("flowgate; error=http_response_timeout")));
    assert!(refused.text().contains("has not answered"), "{}", refused.text());
    assert_eq!(over_http2.status, 504, "{:?}", over_http2.fields);
    assert_eq!(proxy.records().only().await.request_field("x-request-id"), Some("1"));
    origin.journal().wait("the end of both", |requests, _| requests.iter().all(|seen| seen.gone.is_some()).then_some(())).await;
    assert_eq!(origin.seen().iter().map(|seen| seen.http2).collect::<Vec<_>>(), [false, true]);
}

#[tokio::test]
async fn interim_responses_put_the_deadline_off_and_uploads_do_not_count() {
    // Each takes a sixth of the deadline, all of them together more than that.
    const STEPS: usize = 8;
    let gate = Gate::new();
    let origin = Origin::start(Setup::http1(), {
        let gate = gate.clone();
        move |seen| {
            let mut script = Script::ok("in time");
            if seen.target == "/interims" {
                for _ in 0..STEPS {
                    script = script.interim(102, &[]).before(Act::Hold(gate.clone()));
                }
            }
            script
        }
    })
    .await;
    let proxy = limited(|limits| (limits.response_deadline, limits.client_idle) = (6 * SOON, SOON)).await;
    let begin = async |head: String| {
        let mut connection = proxy.client().h1(&origin.authority()).await.unwrap();
        connection.send(head).await.unwrap();
        connection
    };
    let mut up = begin(format!("POST /up HTTP/1.1\r\nHost: a.test\r\nContent-Length: {STEPS}\r\n\r\n")).await;
    let mut interims = begin("GET /interims HTTP/1.1\r\nHost: a.test\r\n\r\n".to_owned()).await;

    for _ in 0..STEPS {
        // What a connection may be idle for is the clock.
        let mut idle = proxy.client().to_proxy().await.unwrap();
        let _ = idle.wire().more().await;
        up.send("u").await.unwrap();
        gate.open_for(1);
    }

    assert_eq!(up.response("POST").await.unwrap().text(), "in time");
    assert_eq!(interims.response("GET").await.unwrap().text(), "in time");
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

    // Before the client's own handshake is over it is asked whether it speaks HTTP/2.
    let mut connection = proxy.client().h2(&silent.authority()).await.unwrap();
    let refused = connection.exchange(Request::get(format!("https://{}/", silent.authority())).body(Bytes::new()).unwrap()).await.unwrap();
    let why = refused.fields.get("proxy-status").map(|value| value.as_bytes());
    assert_eq!((refused.status, why), (504, Some(b"flowgate; error=connection_timeout".as_ref())));
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
