//! A client that speaks HTTP/2 to an origin that speaks HTTP/1.1 only: what the one cannot say the other way is said another way.

use std::{collections::HashMap, sync::Mutex};

use bytes::Bytes;
use flowgate_testkit::{
    Gate, Origin, Script, Setup, Trouble,
    client::{H2, H2Answer, H2Response, send_h2},
    proxy::{Options, Proxy},
};
use http::{HeaderMap, Request};

/// A connection over HTTP/2 to that origin, through a proxy.
async fn connected(origin: &Origin) -> (Proxy, H2) {
    let proxy = Proxy::without_plugins(Options::new()).await;
    let connection = proxy.client().h2(&origin.authority()).await.unwrap();
    (proxy, connection)
}

/// What a request of that method gets.
async fn asked(connection: &mut H2, method: &str, url: &str) -> H2Response {
    connection.exchange(Request::builder().method(method).uri(url).body(Bytes::new()).unwrap()).await.unwrap()
}

#[tokio::test]
async fn an_upload_of_unknown_length_goes_in_chunks_with_its_trailers() {
    let origin = Origin::start(Setup::http1(), |_| Script::ok("done")).await;
    let (_proxy, mut connection) = connected(&origin).await;

    let (response, mut content) = connection.begin(Request::post(origin.root()).body(()).unwrap(), false).await.unwrap();
    for piece in ["one ", "two"] {
        send_h2(&mut content, Bytes::from(piece), false).await.unwrap();
        origin.journal().wait(piece, |requests, _| requests.first()?.content.ends_with(piece.as_bytes()).then_some(())).await;
    }
    content.send_trailers(HeaderMap::from_iter([("x-up".parse().unwrap(), "1".parse().unwrap())])).unwrap();

    assert_eq!(H2Answer::of(response).await.unwrap().finish().await.content, b"done");
    let seen = &origin.after(1).await[0];
    assert_eq!((seen.get("transfer-encoding"), seen.has("content-length")), (Some("chunked"), false));
    assert_eq!((&seen.content[..], &seen.trailers[..]), (&b"one two"[..], &[("x-up".to_owned(), b"1".to_vec())][..]));
}

#[tokio::test]
async fn responses_without_content_end_with_their_head() {
    let cases: [(&str, &str, u16); 4] = [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", 200),
        ("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", 204),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n", 304),
    ];
    let origin = Origin::start(Setup::http1(), move |seen| match seen.target.trim_start_matches('/').parse::<usize>() {
        Ok(case) => Script::raw(cases[case].1),
        Err(_) => Script::ok("next"),
    })
    .await;
    let (_proxy, mut connection) = connected(&origin).await;

    for (at, (method, sent, status)) in cases.into_iter().enumerate() {
        let response = asked(&mut connection, method, &origin.url(&format!("/{at}"))).await;
        let length = response.fields.get("content-length").map(|length| length.as_bytes());
        assert_eq!((response.status, &response.content[..], response.trouble), (status, &b""[..], None), "{sent}");
        assert_eq!(length, sent.contains("500").then_some(&b"500"[..]), "{sent}");
        assert_eq!(asked(&mut connection, "GET", &origin.url("/next")).await.content, b"next", "after {sent}");
    }
}

#[tokio::test]
async fn content_that_ends_with_the_connection_ends_the_stream() {
    let answers: [fn() -> Script; 3] = [
        || Script::new(200).until_close().data("all ").data("of it"),
        || Script::raw("HTTP/1.0 200 OK\r\n\r\nall of it").close(),
        || Script::raw("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 9\r\n\r\nall of it"),
    ];
    for (at, answer) in answers.into_iter().enumerate() {
        let origin = Origin::start(Setup::http1(), move |_| answer()).await;
        let (_proxy, mut connection) = connected(&origin).await;

        let response = asked(&mut connection, "GET", &origin.root()).await;

        assert_eq!((&response.content[..], response.trouble), (&b"all of it"[..], None), "case {at}");
        assert!(!response.fields.contains_key("connection"), "case {at}: {:?}", response.fields);
    }
}

#[tokio::test]
async fn a_cut_answer_is_a_reset_stream_behind_all_that_came() {
    let cut: [fn() -> Script; 3] = [
        || Script::raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal").close(),
        || Script::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhal").close(),
        || Script::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhal\r\nnonsense\r\n"),
    ];
    for (at, script) in cut.into_iter().enumerate() {
        let origin = Origin::start(Setup::http1(), move |_| script()).await;
        let (_proxy, mut connection) = connected(&origin).await;

        let response = asked(&mut connection, "GET", &origin.root()).await;

        assert_eq!((response.status, &response.content[..]), (200, &b"hal"[..]), "case {at}");
        assert!(matches!(response.trouble, Some(Trouble::Other(_))), "case {at}: {:?}", response.trouble);
    }
}

#[tokio::test]
async fn interim_responses_come_through() {
    let origin =
        Origin::start(Setup::http1(), |_| Script::ok("done").interim(103, &[("Link", "</a>"), ("Link", "</b>")]).interim(100, &[])).await;
    let (_proxy, mut connection) = connected(&origin).await;
    let head = Request::post(origin.root()).header("expect", "100-continue").header("content-length", "5").body(()).unwrap();

    let (response, mut content) = connection.begin(head, false).await.unwrap();
    origin.journal().wait("the head", |requests, _| requests.first().map(|_| ())).await;
    send_h2(&mut content, Bytes::from_static(b"hello"), true).await.unwrap();
    let response = H2Answer::of(response).await.unwrap().finish().await;

    let interim: Vec<(u16, usize)> =
        response.interim.iter().map(|(status, fields)| (*status, fields.get_all("link").iter().count())).collect();
    assert_eq!((interim, &response.content[..]), (vec![(100, 0), (103, 2)], &b"done"[..]));
    assert_eq!(origin.after(1).await[0].get("expect"), Some("100-continue"));
}

#[tokio::test]
async fn an_answer_may_come_while_the_request_is_sent_whatever_the_origin_speaks() {
    for setup in [Setup::http1(), Setup::http2()] {
        let what = format!("{setup:?}");
        let origin = Origin::start(setup, |seen| match seen.method.as_str() {
            "POST" => Script::new(413).early().data("too large").close(),
            _ => Script::ok("next"),
        })
        .await;
        let (_proxy, mut connection) = connected(&origin).await;
        let head = Request::post(origin.root()).header("content-length", "9").body(()).unwrap();

        let (response, mut content) = connection.begin(head, false).await.unwrap();
        send_h2(&mut content, Bytes::from_static(b"hal"), false).await.unwrap();
        let response = H2Answer::of(response).await.unwrap().finish().await;

        assert_eq!((response.status, &response.content[..], response.trouble), (413, &b"too large"[..], None), "{what}");
        assert_eq!(asked(&mut connection, "GET", &origin.root()).await.content, b"next", "{what}");
    }
}

#[tokio::test]
async fn a_client_that_resets_its_stream_is_missed_by_the_origin() {
    let gate = Gate::new();
    let origin = Origin::start(Setup::http1(), move |_| Script::new(200).chunked().data("some").hold(&gate)).await;
    let (_proxy, mut connection) = connected(&origin).await;
    let (response, content) = connection.begin(Request::get(origin.root()).body(()).unwrap(), true).await.unwrap();
    let mut answer = H2Answer::of(response).await.unwrap();
    answer.until(b"some").await.unwrap();

    drop((answer, content));

    origin.journal().wait("the client's leaving", |requests, _| requests[0].gone.clone()).await;
}

#[tokio::test]
async fn a_request_that_a_dead_connection_did_not_take_is_not_given_to_another_dead_one() {
    let (gate, carried) = (Gate::new(), Mutex::new(HashMap::new()));
    let origin = Origin::start(Setup::http1(), {
        let gate = gate.clone();
        move |seen| {
            let mut carried = carried.lock().unwrap();
            let carried = carried.entry(seen.connection).and_modify(|carried| *carried += 1).or_insert(1);
            // Each connection ends when it is to carry a second request.
            if *carried > 1 { Script::raw("").close() } else { Script::new(200).hold(&gate).data("first") }
        }
    })
    .await;
    let (_proxy, mut connection) = connected(&origin).await;
    let get = || Request::get(origin.root()).body(()).unwrap();
    let mut both = Vec::new();
    for at in 1..=2 {
        both.push(connection.begin(get(), true).await.unwrap().0);
        origin.journal().wait("both requests", |requests, _| (requests.len() == at).then_some(())).await;
    }
    gate.open_for(3);
    for answer in both {
        assert_eq!(H2Answer::of(answer).await.unwrap().finish().await.content, b"first");
    }

    let third = asked(&mut connection, "GET", &origin.root()).await;

    assert_eq!((third.status, &third.content[..], origin.seen().len()), (200, &b"first"[..], 4));
}
