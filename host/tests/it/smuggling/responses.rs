//! Responses over HTTP/1, to clients of HTTP/1 and of HTTP/2.

use bytes::Bytes;
use flowgate_testkit::{
    Client, Origin, Setup,
    client::{Failure, request},
    proxy::{Options, Proxy},
};
use http::Request;

use super::Neighbour;

/// What must become of it.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// The client gets a 502 in its place.
    BadGateway,
    /// The client sees that something is missing.
    Cut,
    /// This status with this content.
    Means(u16, &'static str),
}

use Fate::{BadGateway, Cut, Means};

/// The request's method, what it is, why it is dangerous, the octets, what must become of it. `poison` is what nobody may take for a
/// response.
type Case = (&'static str, &'static str, &'static str, &'static [u8], Fate);

const NEXT: &str = "the next response would begin elsewhere for another reader";
const LINES: &str = "where a line ends depends on the reader";

const CASES: &[Case] = &[
    ("GET", "CL and TE", NEXT, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\npoison", BadGateway),
    ("GET", "two lengths that differ", NEXT, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 6\r\n\r\npoison", BadGateway),
    ("GET", "two lengths that agree", NEXT, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", BadGateway),
    ("GET", "a list of lengths", NEXT, b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", BadGateway),
    ("GET", "a length of -1", NEXT, b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nok", BadGateway),
    ("GET", "a length of +2", NEXT, b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok", BadGateway),
    ("GET", "a length beyond 64 bits", NEXT, b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551618\r\n\r\nok", BadGateway),
    ("GET", "an empty length", NEXT, b"HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\nok", BadGateway),
    ("GET", "identity", NEXT, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nok", BadGateway),
    ("GET", "gzip, chunked", NEXT, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", BadGateway),
    ("GET", "chunked twice", NEXT, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", BadGateway),
    ("GET", "xchunked", NEXT, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", BadGateway),
    ("GET", "chunked in HTTP/1.0", NEXT, b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", BadGateway),
    ("HEAD", "CL and TE to a HEAD", NEXT, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", BadGateway),
    ("GET", "304 with two lengths", NEXT, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", BadGateway),
    ("GET", "obs-fold", LINES, b"HTTP/1.1 200 OK\r\nX-A: a\r\n b\r\nContent-Length: 0\r\n\r\n", BadGateway),
    ("GET", "bare LF", LINES, b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", BadGateway),
    ("GET", "bare LF behind a field", LINES, b"HTTP/1.1 200 OK\r\nX-A: a\nContent-Length: 0\r\n\r\n", BadGateway),
    ("GET", "bare CR in a value", LINES, b"HTTP/1.1 200 OK\r\nX-A: a\rContent-Length: 6\r\nContent-Length: 0\r\n\r\n", BadGateway),
    ("GET", "a NUL in a value", "strings end there in C", b"HTTP/1.1 200 OK\r\nX-A: a\0\r\nContent-Length: 0\r\n\r\n", BadGateway),
    ("GET", "a space before the colon", NEXT, b"HTTP/1.1 200 OK\r\nContent-Length : 6\r\nContent-Length: 0\r\n\r\npoison", BadGateway),
    ("GET", "an empty name", NEXT, b"HTTP/1.1 200 OK\r\n: a\r\nContent-Length: 0\r\n\r\n", BadGateway),
    ("GET", "no colon", NEXT, b"HTTP/1.1 200 OK\r\nX-A\r\nContent-Length: 0\r\n\r\n", BadGateway),
    ("GET", "a pseudo-header field", "it would be one in HTTP/2", b"HTTP/1.1 200 OK\r\n:status: 500\r\nContent-Length: 0\r\n\r\n", BadGateway),
    ("GET", "no status", "not a response", b"HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n", BadGateway),
    ("GET", "a status of two digits", "not a response", b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n", BadGateway),
    ("GET", "a status of four digits", "not a response", b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", BadGateway),
    ("GET", "a status of 000", "not a response", b"HTTP/1.1 000 OK\r\nContent-Length: 0\r\n\r\n", BadGateway),
    ("GET", "a negative status", "not a response", b"HTTP/1.1 -20 OK\r\nContent-Length: 0\r\n\r\n", BadGateway),
    ("GET", "two spaces", "not a response", b"HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n", BadGateway),
    ("GET", "HTTP/2.0", "no such version on the wire", b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", BadGateway),
    ("GET", "another protocol", "not a response", b"SSH-2.0-x\r\n\r\n", BadGateway),
    ("GET", "content first", "HTTP/0.9", b"<html>\r\n\r\n", BadGateway),
    ("GET", "a CR in the reason", LINES, b"HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n", BadGateway),
    ("GET", "a NUL in the reason", "strings end there in C", b"HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n", BadGateway),
    ("GET", "101 unasked", "what follows would be taken for responses", b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nHTTP/1.1 200 OK\r\n\r\npoison", BadGateway),
    ("GET", "an interim response with a length", NEXT, b"HTTP/1.1 103 Early Hints\r\nContent-Length: 6\r\n\r\npoisonHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", BadGateway),
    ("GET", "an interim response with chunks", NEXT, b"HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", BadGateway),
    ("GET", "an interim response for this hop", "what it says of the connection is for one hop", b"HTTP/1.1 103 Early Hints\r\nConnection: X-Hop, close\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Means(200, "ok")),
    ("GET", "nothing but interim responses", "it never ends", b"INTERIM", BadGateway),
    ("GET", "204 with content", "what follows may be taken for the next response", b"HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\npoison", Means(204, "")),
    ("GET", "204 with chunks", "what follows may be taken for the next response", b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n6\r\npoison\r\n0\r\n\r\n", Means(204, "")),
    ("GET", "204 with a response behind", "nobody asked for it", b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", Means(204, "")),
    ("GET", "304 with content", "it has none, whatever it says", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\npoison", Means(304, "")),
    ("HEAD", "content to a HEAD", "it has none, whatever it says", b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", Means(200, "")),
    ("HEAD", "chunks to a HEAD", "it has none, whatever it says", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\npoison\r\n0\r\n\r\n", Means(200, "")),
    ("GET", "a response behind a response", "nobody asked for it", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", Means(200, "ok")),
    ("GET", "a response behind chunks", "nobody asked for it", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", Means(200, "ok")),
    ("GET", "an empty line behind a response", "some send one too many", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\r\n", Means(200, "ok")),
    ("GET", "a size in 0x", NEXT, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\nok\r\n0\r\n\r\n", Cut),
    ("GET", "a size with +", NEXT, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+2\r\nok\r\n0\r\n\r\n", Cut),
    ("GET", "a size that overflows", NEXT, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000002\r\nok\r\n0\r\n\r\n", Cut),
    ("GET", "a size line in LF", NEXT, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nok\r\n0\r\n\r\n", Cut),
    ("GET", "a size line in CR CR LF", NEXT, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\r\nok\r\n0\r\n\r\n", Cut),
    ("GET", "data longer than its size", NEXT, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokay\r\n0\r\n\r\n", Cut),
    ("GET", "chunks cut off", "the client must see it", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nok", Cut),
    ("GET", "chunks without the last", "the client must see it", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", Cut),
    ("GET", "content cut off", "the client must see it", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", Cut),
    ("GET", "a length in trailers", "a reader that merges them reads another message", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nContent-Length: 9\r\n\r\n", Cut),
    ("GET", "a response in place of trailers", NEXT, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", Cut),
    ("GET", "an endless head", "bounded", b"ENDLESS", BadGateway),
    ("GET", "hop-by-hop fields", "they are for one hop, and not for HTTP/2 at all", b"HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nUpgrade: h2c\r\nProxy-Connection: close\r\nContent-Length: 2\r\n\r\nok", Means(200, "ok")),
];

#[tokio::test]
async fn responses_have_one_meaning_or_none() {
    let (origin, proxy) = (origin().await, Proxy::without_plugins(Options::new()).await);
    let mut neighbour = neighbour(&proxy, &origin).await;

    for (at, (method, name, why, _, fate)) in CASES.iter().enumerate() {
        let what = format!("{method}: {name} ({why})");
        let mut client = proxy.client().h1(&origin.authority()).await.unwrap();
        let outcome = client.exchange(request(method, &format!("/{at}"), &origin.authority(), &[], b"")).await;
        match (fate, outcome) {
            (BadGateway, Ok(response)) => {
                assert_eq!(
                    (response.status(), response.head.get("proxy-status")),
                    (502, Some("flowgate; error=http_protocol_error")),
                    "{what}"
                );
            }
            (Cut, Ok(response)) => assert!(response.trouble.is_some(), "{what}: {response:?}"),
            (Cut, Err(_)) => {}
            (Means(status, content), Ok(response)) => {
                assert_eq!((response.status(), &*response.text(), &response.trouble), (*status, *content, &None), "{what}");
                assert!(response.interim.iter().all(|interim| !interim.has("x-hop") && !interim.has("keep-alive")), "{what}");
            }
            (fate, Err(failure)) => panic!("{what}: {failure} in place of {fate:?}"),
        }
        // The next one on this connection is the next one, or there is none.
        if let Ok(next) = client.exchange(request("GET", "/neighbour", &origin.authority(), &[], b"")).await {
            assert_eq!((next.status(), &*next.text()), (200, "/neighbour"), "{what}: poisoned");
        }
        neighbour.asks(&what).await;
    }
}

#[tokio::test]
async fn responses_have_one_meaning_or_none_in_http2() {
    let (origin, proxy) = (origin().await, Proxy::without_plugins(Options::new()).await);
    let mut neighbour = neighbour(&proxy, &origin).await;
    let mut client = proxy.client().h2(&origin.authority()).await.unwrap();

    for (at, (method, name, why, _, fate)) in CASES.iter().enumerate() {
        let what = format!("{method}: {name} ({why})");
        let head = Request::builder().method(*method).uri(origin.url(&format!("/{at}")));
        let outcome = client.exchange(head.body(Bytes::new()).unwrap()).await;
        match (fate, outcome) {
            (BadGateway, Ok(response)) => assert_eq!(response.status, 502, "{what}"),
            (Cut, Ok(response)) => assert!(response.trouble.is_some(), "{what}: {response:?}"),
            (Cut, Err(Failure::Http2(error))) => assert!(error.is_reset(), "{what}: {error}"),
            (Means(status, content), Ok(response)) => {
                assert_eq!((response.status, &*response.content, &response.trouble), (*status, content.as_bytes(), &None), "{what}");
            }
            (fate, Err(failure)) => panic!("{what}: {failure} in place of {fate:?}"),
        }
        neighbour.asks(&what).await;
    }
}

async fn neighbour(proxy: &Proxy, origin: &Origin) -> Neighbour {
    let client: Client = proxy.client();
    Neighbour { connection: client.h1(&origin.authority()).await.unwrap(), host: origin.authority() }
}

/// Answers `/N` with the octets of that case, and `/neighbour` as it should.
async fn origin() -> Origin {
    Origin::speaking(Setup::http1(), |mut wire| async move {
        while let Ok(head) = wire.until(b"\r\n\r\n").await {
            let line = String::from_utf8_lossy(&head);
            let target = line.split(' ').nth(1).unwrap();
            let answer = match target.trim_start_matches('/').parse::<usize>() {
                Ok(at) => octets(CASES[at].3),
                Err(_) => b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n/neighbour".to_vec(),
            };
            let is_cut = matches!(target.trim_start_matches('/').parse::<usize>().map(|at| CASES[at].4), Ok(Cut | BadGateway));
            if wire.send(answer).await.is_err() {
                return;
            }
            if is_cut {
                let _ = wire.finish().await;
                return;
            }
        }
    })
    .await
}

fn octets(case: &[u8]) -> Vec<u8> {
    match case {
        b"INTERIM" => b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1000),
        b"ENDLESS" => [b"HTTP/1.1 200 OK\r\n", &b"X-Filler: filler\r\n".repeat(100_000)[..]].concat(),
        octets => octets.to_vec(),
    }
}
