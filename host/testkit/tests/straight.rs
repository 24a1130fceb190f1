//! The kit against itself: clients straight at origins, no proxy between. What fails here is the kit's fault.

use std::io;

use bytes::Bytes;
use flowgate_testkit::{
    Client, Failure, Fault, Gate, Head, Origin, Script, Setup, Trouble,
    client::{H2Answer, request},
    origin::{Act, Vacant},
    websocket::{self, WebSocket},
};
use http::Request;

#[tokio::test]
async fn heads_and_content_arrive_octet_for_octet() {
    let sent = b"HTTP/1.1 200 Quite Fine\r\nX-A: 1\r\nx-b: \xe9\r\nX-A: 2\r\nContent-Length: 2\r\n\r\nhi";
    let origin = Origin::start(Setup::http1(), |_| Script::raw(&sent[..])).await;
    let asked =
        b"POST /a//b?%2F[] HTTP/1.1\r\nHost: x\r\nX-Odd:\tv \r\nTransfer-Encoding: chunked\r\n\r\n3;e=1\r\nabc\r\n0\r\nX-T: 9\r\n\r\n";

    let response = Client::direct().h1(&origin.authority()).await.unwrap().exchange(asked).await.unwrap();

    assert_eq!([response.head.octets(), &response.content].concat(), sent);
    let seen = &origin.after(1).await[0];
    assert_eq!([&seen.head[..], &seen.wire_content].concat(), asked);
    assert_eq!((&seen.content[..], &seen.trailers[..]), (&b"abc"[..], &[("X-T".to_owned(), b"9".to_vec())][..]));
}

#[tokio::test]
async fn both_protocols_answer_the_same_script() {
    let origin = Origin::start(Setup::tls(), |seen| {
        assert_eq!(seen.method, "POST");
        Script::after_reading(|seen| Script::new(201).field("x-a", "1").data(seen.content.clone()).chunked().trailers(&[("x-t", "9")]))
    })
    .await;
    let authority = origin.authority();
    let url = origin.url("/p?q");

    let h1 = Client::direct().post(&url, &[], b"hello").await.unwrap();
    let h2 = Client::direct().h2(&authority).await.unwrap().exchange(post(&url, "hello")).await.unwrap();

    assert_eq!((h1.status(), &h1.content[..], &h1.trailers[..]), (201, &b"hello"[..], &b"x-t: 9\r\n"[..]));
    assert_eq!((h2.status, &h2.content[..], h2.trailers.unwrap()["x-t"].as_bytes()), (201, &b"hello"[..], &b"9"[..]));
    assert_eq!(origin.after(2).await.iter().map(|seen| seen.http2).collect::<Vec<_>>(), [false, true]);
}

#[tokio::test]
async fn events_wait_for_the_test() {
    let gate = Gate::new();
    let origin = Origin::start(Setup::tls(), {
        let gate = gate.clone();
        move |_| Script::events(["data: 1\n\n", "data: 2\n\n"], &gate)
    })
    .await;
    let mut h1 = Client::direct().h1(&origin.authority()).await.unwrap();
    let mut h2 = Client::direct().h2(&origin.authority()).await.unwrap();
    h1.send(request("GET", "/", "x", &[], b"")).await.unwrap();
    let mut over_h1 = h1.begin("GET").await.unwrap();
    gate.open();
    assert_eq!(over_h1.until(b"\n\n").await.unwrap(), b"data: 1\n\n");
    gate.open();
    let response = over_h1.finish().await;

    let (pending, _) = h2.begin(Request::get(origin.root()).body(()).unwrap(), true).await.unwrap();
    let mut over_h2 = H2Answer::of(pending).await.unwrap();
    gate.open_for(2);
    while over_h2.next().await.unwrap().is_some() {}

    assert_eq!((response.content, response.trouble), (b"data: 1\n\ndata: 2\n\n".to_vec(), None));
    assert_eq!(over_h2.finish().await.content, b"data: 1\n\ndata: 2\n\n");
}

#[tokio::test]
async fn each_bad_certificate_is_refused_for_its_fault() {
    for fault in Fault::ALL {
        let origin = Origin::start(Setup::tls().fault(fault), |_| Script::ok("never")).await;

        let answer = Client::direct().get(&origin.root()).await;

        assert!(matches!(answer, Err(Failure::Tls(_))), "{fault:?}: {answer:?}");
        assert!(origin.seen().is_empty(), "{fault:?}");
    }
}

#[tokio::test]
async fn a_cut_is_told_from_an_end() {
    let cases = [
        (Script::ok("whole").until_close(), None),
        (Script::raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal").close(), Some(Trouble::Closed)),
        (Script::raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal").then(Act::Cut), Some(Trouble::Cut)),
    ];

    for (script, trouble) in cases {
        let script = std::sync::Mutex::new(Some(script));
        let origin = Origin::start(Setup::http1(), move |_| script.lock().unwrap().take().unwrap()).await;
        let response = Client::direct().get(&origin.root()).await.unwrap();
        assert_eq!(response.trouble, trouble);
    }
}

#[tokio::test]
async fn a_reset_is_a_reset() {
    let gate = Gate::new();
    let origin = Origin::start(Setup::clear(), {
        let gate = gate.clone();
        move |_| Script::raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal").hold(&gate).reset()
    })
    .await;
    let mut connection = Client::direct().clear(&origin.authority()).await.unwrap();
    connection.send(request("GET", "/", "x", &[], b"")).await.unwrap();
    let mut answer = connection.begin("GET").await.unwrap();
    answer.until(b"hal").await.unwrap();

    gate.open();

    assert_eq!(answer.finish().await.trouble, Some(Trouble::Reset));
}

#[tokio::test]
async fn an_origin_sees_that_its_client_left() {
    let gate = Gate::new();
    let origin = Origin::start(Setup::tls(), move |_| Script::events(["never"], &gate)).await;
    let mut connection = Client::direct().h1(&origin.authority()).await.unwrap();
    connection.send(request("GET", "/", "x", &[], b"")).await.unwrap();
    connection.begin("GET").await.unwrap();

    drop(connection);

    origin.journal().wait("the client's leaving", |requests, _| requests[0].gone.clone()).await;
}

#[tokio::test]
async fn interim_responses_come_before_the_content_is_sent() {
    let origin = Origin::start(Setup::http1(), |_| Script::ok("done").continuing()).await;
    let mut connection = Client::direct().h1(&origin.authority()).await.unwrap();
    connection.send("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n").await.unwrap();

    let interim = connection.head().await.unwrap();
    connection.send("abc").await.unwrap();

    assert_eq!(interim.octets(), b"HTTP/1.1 100 \r\n\r\n");
    assert_eq!(connection.response("POST").await.unwrap().text(), "done");
}

#[tokio::test]
async fn an_upgraded_connection_echoes() {
    let origin = Origin::start(Setup::http1(), |_| Script::upgrade("websocket")).await;
    let mut connection = Client::direct().h1(&origin.authority()).await.unwrap();
    connection.send(request("GET", "/", "x", &[("Connection", "Upgrade"), ("Upgrade", "websocket")], b"")).await.unwrap();

    let head = connection.head().await.unwrap();
    connection.send(b"\x81\x02hi").await.unwrap();

    assert_eq!(head.status(), 101);
    assert_eq!(&connection.wire().exactly(4).await.unwrap()[..], b"\x81\x02hi");
}

#[tokio::test]
async fn other_protocols_are_spoken_too() {
    let origin = Origin::speaking_first().await;
    let mut wire = Client::direct().tunnel(&origin.authority()).await.unwrap();

    let greeting = wire.until(b"\n").await.unwrap();
    wire.send("HELO").await.unwrap();

    assert_eq!((&greeting[..], &wire.exactly(4).await.unwrap()[..]), (&b"220 ready\r\n"[..], &b"HELO"[..]));
}

#[tokio::test]
async fn a_vacant_address_refuses() {
    let vacant = Vacant::new().unwrap();

    let answer = Client::direct().tunnel(&vacant.address().to_string()).await;

    assert!(matches!(answer, Err(Failure::Connect(error)) if error.kind() == io::ErrorKind::ConnectionRefused));
}

#[tokio::test]
async fn any_name_has_a_certificate() {
    let origin = Origin::saying("here").await;
    let client = Client::direct().resolving("api.copilot.test:443", origin.address());

    let response = client.get("https://api.copilot.test/").await.unwrap();

    assert_eq!(response.text(), "here");
    assert_eq!(origin.journal().peers()[0].server_name.as_deref(), Some("api.copilot.test"));
}

#[test]
fn requests_are_written_as_told() {
    let octets = request("POST", "/p", "h:1", &[("X-A", "1")], b"c");

    assert_eq!(octets, b"POST /p HTTP/1.1\r\nHost: h:1\r\nX-A: 1\r\nContent-Length: 1\r\n\r\nc");
    assert_eq!(Head::new(octets[..octets.len() - 1].to_vec()).get("x-a"), Some("1"));
}

fn post(url: &str, content: &'static str) -> Request<Bytes> {
    Request::post(url).body(Bytes::from_static(content.as_bytes())).expect("the parts are well-formed")
}

#[tokio::test]
async fn websockets_say_and_hear_under_every_agreement() {
    for (client_forgets, server_forgets) in [(false, false), (true, false), (false, true)] {
        let origin = Origin::speaking(Setup::http1(), move |wire| async move {
            let mut socket = WebSocket::accept(wire, Some("permessage-deflate")).await.unwrap().deflating(server_forgets, client_forgets);
            while let Ok(message) = socket.next().await {
                socket.send(message.opcode, &message.content).await.unwrap();
            }
        })
        .await;
        let socket = WebSocket::open(&Client::direct(), &origin.authority(), "/", Some("permessage-deflate")).await.unwrap();
        let mut socket = socket.deflating(client_forgets, server_forgets);

        let pieces = [socket.frame(false, false, websocket::TEXT, b"in "), socket.frame(true, false, websocket::CONTINUATION, b"two")];
        socket.wire().send(pieces.concat()).await.unwrap();
        for message in ["same", "same", "same"] {
            socket.say(message).await.unwrap();
        }

        for message in ["in two", "same", "same", "same"] {
            assert_eq!(socket.next().await.unwrap(), websocket::Message::text(message));
        }
    }
}
