//! Where messages begin and end on a connection.

use std::time::Duration;

use flowgate_testkit::{
    Client, Gate, Origin, Script, Setup, Trouble,
    client::request,
    origin::Act,
    proxy::{Options, Proxy},
};

#[tokio::test]
async fn one_tunnel_carries_many_requests() {
    let origin = Origin::start(Setup::http1(), |seen| Script::ok(seen.target.clone())).await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let mut connection = proxy.client().h1(&origin.authority()).await.unwrap();

    for path in ["/1", "/2", "/3", "/4", "/5"] {
        assert_eq!(connection.exchange(request("GET", path, "x", &[], b"")).await.unwrap().text(), path);
    }

    assert_eq!(origin.after(5).await.iter().map(|seen| seen.connection).max(), Some(0), "one connection to the origin");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::start(Setup::http1(), |seen| Script::ok(seen.target.clone())).await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let mut connection = proxy.client().h1(&origin.authority()).await.unwrap();

    let all = [request("GET", "/1", "x", &[], b""), request("POST", "/2", "x", &[], b"two"), request("GET", "/3", "x", &[], b"")];
    connection.send(all.concat()).await.unwrap();

    for (method, path) in [("GET", "/1"), ("POST", "/2"), ("GET", "/3")] {
        assert_eq!(connection.response(method).await.unwrap().text(), path);
    }
}

#[tokio::test]
async fn responses_without_content_have_none() {
    let cases: [(&str, &[u8]); 5] = [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n"),
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ];
    let origin = Origin::start(Setup::http1(), move |seen| match seen.target.trim_start_matches('/').parse::<usize>() {
        Ok(case) => Script::raw(cases[case].1),
        Err(_) => Script::ok("next"),
    })
    .await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let mut connection = proxy.client().h1(&origin.authority()).await.unwrap();

    for (at, (method, sent)) in cases.iter().enumerate() {
        let response = connection.exchange(request(method, &format!("/{at}"), "x", &[], b"")).await.unwrap();
        assert_eq!((response.head.octets(), &response.content[..]), (*sent, &b""[..]));
        let next = connection.exchange(request("GET", "/next", "x", &[], b"")).await.unwrap();
        assert_eq!(next.text(), "next", "after {method} {}", sent.escape_ascii());
    }
}

#[tokio::test]
async fn chunked_content_passes_both_ways_with_trailers() {
    let origin = Origin::start(Setup::http1(), |_| {
        Script::after_reading(|seen| {
            Script::new(200).chunked().data(seen.content.clone()).data("!").trailers(&[("X-Sum", "9"), ("x-sum", "10")])
        })
    })
    .await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let asked = b"POST / HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nX-Trail: 1\r\n\r\n";

    let response = proxy.client().h1(&origin.authority()).await.unwrap().exchange(asked).await.unwrap();

    assert_eq!((response.text(), &response.trailers[..]), ("abcde!".to_owned(), &b"X-Sum: 9\r\nx-sum: 10\r\n"[..]));
    let seen = &origin.after(1).await[0];
    assert_eq!((&seen.content[..], &seen.trailers[..]), (&b"abcde"[..], &[("X-Trail".to_owned(), b"1".to_vec())][..]));
}

#[tokio::test]
async fn content_may_end_with_the_connection() {
    let origin = Origin::start(Setup::http1(), |_| Script::new(200).until_close().data("all ").data("of it")).await;
    let proxy = Proxy::without_plugins(Options::new()).await;

    let response = proxy.client().get(&origin.root()).await.unwrap();

    assert_eq!((response.text(), response.trouble), ("all of it".to_owned(), None));
}

#[tokio::test]
async fn a_cut_response_is_seen_to_be_cut() {
    let cut: [fn() -> Script; 4] = [
        || Script::raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal").close(),
        || Script::raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal").reset(),
        || Script::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhal").close(),
        // Ends with the connection, but without close_notify: an attacker may have cut it (RFC 9112 §9.8).
        || Script::raw("HTTP/1.1 200 OK\r\n\r\nhal").then(Act::Cut),
    ];

    for (at, script) in cut.into_iter().enumerate() {
        let origin = Origin::start(Setup::http1(), move |_| script()).await;
        let proxy = Proxy::without_plugins(Options::new()).await;
        match proxy.client().get(&origin.root()).await {
            Ok(response) => assert!(response.trouble.is_some(), "case {at}: {response:?}"),
            Err(failure) => panic!("case {at}: what had come is lost: {failure}"),
        }
    }
}

#[tokio::test]
async fn a_cut_response_in_clear_is_seen_to_be_cut_where_its_end_is_the_connections() {
    let cut: [fn() -> (&'static str, Script); 3] = [
        || ("1.1", Script::raw("HTTP/1.1 200 OK\r\n\r\nhal").reset()),
        || ("1.0", Script::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhal").close()),
        || ("1.0", Script::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhal\r\nx\r\n").close()),
    ];

    for (at, case) in cut.into_iter().enumerate() {
        let (version, _) = case();
        let origin = Origin::start(Setup::clear(), move |_| case().1).await;
        let proxy = Proxy::without_plugins(Options::new()).await;
        let asked = |target: &str| format!("GET {target} HTTP/{version}\r\nHost: {}\r\n\r\n", origin.authority());
        let at_proxy = proxy.client().to_proxy().await.unwrap().exchange(asked(&origin.root())).await.unwrap();
        let inside = proxy.client().clear(&origin.authority()).await.unwrap().exchange(asked("/")).await.unwrap();

        for response in [at_proxy, inside] {
            assert_eq!((response.text(), response.trouble), ("hal".to_owned(), Some(Trouble::Reset)), "case {at}");
        }
    }
}

#[tokio::test]
async fn a_stop_cuts_a_response_in_clear_where_its_client_can_see_it() {
    let gate = Gate::new();
    let cases = [("1.1", "HTTP/1.1 200 OK\r\n\r\nhal"), ("1.0", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhal\r\n")];
    for (version, sent) in cases {
        let origin = Origin::start(Setup::clear(), {
            let gate = gate.clone();
            move |_| Script::raw(sent).hold(&gate)
        })
        .await;
        let proxy = Proxy::without_plugins(Options::new().change(|config| config.grace = Duration::from_millis(100))).await;
        let mut client = proxy.client().to_proxy().await.unwrap();
        client.send(format!("GET {} HTTP/{version}\r\nHost: {}\r\n\r\n", origin.root(), origin.authority())).await.unwrap();
        let mut answer = client.begin("GET").await.unwrap();
        answer.until(b"hal").await.unwrap();

        proxy.stop().await;

        assert_eq!(answer.finish().await.trouble, Some(Trouble::Reset), "{version}");
    }
}

#[tokio::test]
async fn what_came_before_a_break_arrives_in_clear_too() {
    const LEN: usize = 4 << 20;
    let head = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{LEN:x}\r\n");
    let sent = [head.as_bytes(), &vec![b'x'; LEN]].concat();
    let origin = Origin::start(Setup::clear(), move |_| Script::raw(sent.clone()).close()).await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let asked = format!("GET {} HTTP/1.0\r\nHost: {}\r\n\r\n", origin.root(), origin.authority());

    let response = proxy.client().to_proxy().await.unwrap().exchange(asked).await.unwrap();

    assert_eq!((response.content.len(), response.trouble), (LEN, Some(Trouble::Reset)));
}

#[tokio::test]
async fn content_that_is_none_is_refused_wherever_it_comes_to_light() {
    let cases = [
        ("x\r\n", "a chunk size is malformed"),
        ("3\r\nabcd\r\n", "a chunk is longer than its size"),
        ("0\r\nHost: b\r\n\r\n", "the trailers would change the message"),
    ];
    let origin = Origin::start(Setup::http1(), |_| Script::ok("taken")).await;
    let proxy = Proxy::without_plugins(Options::new()).await;

    for (content, reason) in cases {
        let mut connection = proxy.client().h1(&origin.authority()).await.unwrap();
        connection.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n").await.unwrap();
        origin.journal().wait("the beginning", |requests, _| (requests.last()?.content == b"a").then_some(())).await;
        let refused = connection.exchange(content).await.unwrap();

        assert_eq!((refused.status(), refused.head.get("proxy-status")), (400, Some("flowgate; error=http_request_error")), "{content}");
        assert!(refused.head.closes() && refused.text().contains(reason), "{}", refused.text());
        origin.journal().wait("the break", |requests, _| requests.last()?.gone.clone()).await;
    }
}

#[tokio::test]
async fn a_client_that_asks_to_close_is_closed_after_its_answer() {
    let origin = Origin::saying("bye").await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let mut connection = proxy.client().h1(&origin.authority()).await.unwrap();

    let response = connection.exchange(request("GET", "/", "x", &[("Connection", "close")], b"")).await.unwrap();

    assert_eq!(response.text(), "bye");
    assert_eq!(connection.wire().rest().await.1, Trouble::Closed);
}

#[tokio::test]
async fn http_1_0_clients_are_answered_too() {
    let origin = Origin::start(Setup::http1(), |_| Script::new(200).chunked().data("chunks ").data("for all")).await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let mut connection = proxy.client().h1(&origin.authority()).await.unwrap();

    connection.send("GET / HTTP/1.0\r\nHost: x\r\n\r\n").await.unwrap();
    let response = connection.response("GET").await.unwrap();

    assert!(!response.head.has("transfer-encoding"), "HTTP/1.0 has no chunks: {:?}", response.head);
    assert_eq!((response.text(), response.trouble), ("chunks for all".to_owned(), None));
}

#[tokio::test]
async fn an_origin_that_closed_between_requests_is_dialled_anew() {
    let origin = Origin::start(Setup::http1(), |seen| Script::ok(seen.connection.to_string()).close()).await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let mut connection = proxy.client().h1(&origin.authority()).await.unwrap();

    for turn in ["0", "1", "2"] {
        let response = connection.exchange(request("POST", "/", "x", &[], b"content")).await.unwrap();
        assert_eq!((response.status(), response.text()), (200, turn.to_owned()));
        let turn: usize = turn.parse().unwrap();
        origin.journal().wait("the origin's close", |_, peers| peers[turn].ended.clone()).await;
    }
}

#[tokio::test]
async fn a_slow_response_does_not_hold_up_other_connections() {
    let gate = Gate::new();
    let origin = Origin::start(Setup::http1(), {
        let gate = gate.clone();
        move |seen| match seen.target.as_str() {
            "/slow" => Script::new(200).until_close().hold(&gate).data("late"),
            _ => Script::ok("quick"),
        }
    })
    .await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let mut slow = proxy.client().h1(&origin.authority()).await.unwrap();
    slow.send(request("GET", "/slow", "x", &[], b"")).await.unwrap();
    let slow = slow.begin("GET").await.unwrap();

    let quick = proxy.client().get(&origin.url("/quick")).await.unwrap();
    gate.open();

    assert_eq!((quick.text(), slow.finish().await.text()), ("quick".to_owned(), "late".to_owned()));
}

#[tokio::test]
async fn ambiguous_requests_are_refused_and_not_sent() {
    let ambiguous: [&str; 13] = [
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nX-Fold: a\r\n b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nX-Space : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n: nameless\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nX-Null: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
    ];
    let origin = Origin::saying("never").await;
    let proxy = Proxy::without_plugins(Options::new()).await;

    for request in ambiguous {
        let mut connection = proxy.client().h1(&origin.authority()).await.unwrap();
        let response = connection.exchange(request).await.unwrap();
        assert_eq!(response.status(), 400, "{request:?}: {response:?}");
        connection.wire().rest().await;
        let gone = connection.exchange("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(gone.is_err(), "{request:?}: the connection goes on");
    }

    assert!(origin.seen().is_empty(), "{:?}", origin.seen());
}

#[tokio::test]
async fn a_poisoned_answer_reaches_nobody_else() {
    let origin = Origin::start(Setup::http1(), |seen| match seen.target.as_str() {
        "/poison" => Script::raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"),
        _ => Script::ok("clean"),
    })
    .await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let mut connection = proxy.client().h1(&origin.authority()).await.unwrap();

    let first = connection.exchange(request("GET", "/poison", "x", &[], b"")).await.unwrap();
    let second = connection.exchange(request("GET", "/clean", "x", &[], b"")).await;
    let other = proxy.client().get(&origin.url("/clean")).await.unwrap();

    assert_eq!((first.text(), other.text()), ("hi".to_owned(), "clean".to_owned()));
    assert!(second.is_err() || second.is_ok_and(|response| response.text() == "clean"));
}

#[tokio::test]
async fn straight_and_through_agree_on_every_framing() {
    let contents: [(&str, &[u8]); 3] = [
        ("length", b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world"),
        ("chunks", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\nX-T: 1\r\n\r\n"),
        ("close", b"HTTP/1.1 200 OK\r\n\r\nhello world"),
    ];
    for (what, sent) in contents {
        let origin = Origin::start(Setup::http1(), move |_| Script::raw(sent).close()).await;
        let proxy = Proxy::without_plugins(Options::new()).await;

        let straight = Client::direct().get(&origin.root()).await.unwrap();
        let through = proxy.client().get(&origin.root()).await.unwrap();

        assert_eq!((&through.content, &through.trailers, &through.trouble), (&straight.content, &straight.trailers, &None), "{what}");
    }
}

#[tokio::test]
async fn a_connection_that_its_client_has_had_closed_carries_nothing_more() {
    // Says how many requests a connection has carried, and ends none.
    let origin = Origin::speaking(Setup::clear(), |mut wire| async move {
        for carried in 1.. {
            if wire.until(b"\r\n\r\n").await.is_err()
                || wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{carried}")).await.is_err()
            {
                break;
            }
        }
    })
    .await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let (root, host) = (origin.root(), origin.authority());

    for last in [
        format!("GET {root} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"),
        format!("GET {root} HTTP/1.0\r\nHost: {host}\r\n\r\n"),
    ] {
        let closing = proxy.client().to_proxy().await.unwrap().exchange(&last).await.unwrap();
        let next = proxy.client().to_proxy().await.unwrap().exchange(&last).await.unwrap();

        assert_eq!((closing.text(), next.text()), ("1".to_owned(), "1".to_owned()), "{last}");
    }
}

#[tokio::test]
async fn an_origin_hears_whom_a_request_of_http_1_0_is_for() {
    let origin = Origin::start(Setup::clear(), |seen| Script::ok(seen.field_lines())).await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let asked = format!("GET {} HTTP/1.0\r\nA: b\r\n\r\n", origin.root());

    let at_proxy = proxy.client().to_proxy().await.unwrap().exchange(&asked).await.unwrap();
    let inside = proxy.client().clear(&origin.authority()).await.unwrap().exchange(&asked).await.unwrap();

    let expected = format!("A: b\nHost: {}\n", origin.authority());
    assert_eq!((at_proxy.text(), inside.text()), (expected.clone(), expected));
}
