//! Requests over HTTP/2, frame by frame, to an origin that speaks HTTP/1 only, where what is no request line and no field line must not
//! become one, and to one that speaks HTTP/2.
//!
//! `PATH` stands for a path of the case's own, `HOST` for the origin's authority.

use flowgate_testkit::{
    Origin, Script, Setup, Trouble,
    proxy::{Options, Proxy},
    wire::Wire,
};

use super::{Neighbour, filled, recording};

type Fields = &'static [(&'static str, &'static [u8])];

/// What follows the first HEADERS; the last of them ends the stream.
#[derive(Clone, Copy)]
enum Then {
    Data(&'static [u8]),
    Trailers(Fields),
}

#[derive(Clone, Copy)]
enum Fate {
    /// The stream or the connection ends with an error, or the answer is a 400; the origin sees nothing of it.
    Refused,
    /// The same, but the head may have gone out.
    Cut,
    /// This arrives, as [`super::strict::Asked`] is shown, and is answered.
    Means(&'static str),
}

use Fate::{Cut, Means, Refused};
use Then::{Data, Trailers};

/// What it is, why it is dangerous, fields, what follows, what must become of it.
type Case = (&'static str, &'static str, Fields, &'static [Then], Fate);

const M: (&str, &[u8]) = (":method", b"GET");
const POST: (&str, &[u8]) = (":method", b"POST");
const S: (&str, &[u8]) = (":scheme", b"https");
const A: (&str, &[u8]) = (":authority", b"HOST");
const P: (&str, &[u8]) = (":path", b"PATH");

const FORM: &str = "a malformed request (RFC 9113 §8.1.1)";
const LINE: &str = "it would be a line of its own in HTTP/1";
const FRAMES: &str = "it would frame a message in HTTP/1";
const WHOSE: &str = "whom it is for depends on the reader";

const CASES: &[Case] = &[
    ("a plain request", "the plain case", &[M, S, A, P], &[], Means("GET PATH")),
    ("no :method", FORM, &[S, A, P], &[], Refused),
    ("no :scheme", FORM, &[M, A, P], &[], Refused),
    ("no :path", FORM, &[M, S, A], &[], Refused),
    ("an empty :path", FORM, &[M, S, A, (":path", b"")], &[], Refused),
    ("no authority at all", WHOSE, &[M, S, P], &[], Refused),
    ("an empty :authority", WHOSE, &[M, S, (":authority", b""), P], &[], Refused),
    ("two :method", FORM, &[M, POST, S, A, P], &[], Refused),
    ("two :path", FORM, &[M, S, A, P, (":path", b"/smuggled")], &[], Refused),
    ("two :authority", WHOSE, &[M, S, A, (":authority", b"other"), P], &[], Refused),
    ("two :scheme", FORM, &[M, S, S, A, P], &[], Refused),
    (":path behind a field", FORM, &[M, S, A, ("x", b"1"), P], &[], Refused),
    ("a second :path behind a field", FORM, &[M, S, A, P, ("x", b"1"), (":path", b"/smuggled")], &[], Refused),
    ("an unknown pseudo-header field", FORM, &[M, S, A, P, (":host", b"other")], &[], Refused),
    (":status in a request", FORM, &[M, S, A, P, (":status", b"200")], &[], Refused),
    (":protocol without CONNECT", FORM, &[M, S, A, P, (":protocol", b"websocket")], &[], Refused),
    ("an upper-case name", FORM, &[M, S, A, P, ("X-A", b"1")], &[], Refused),
    ("an upper-case length", FRAMES, &[POST, S, A, P, ("Content-Length", b"3")], &[Data(b"abc")], Refused),
    ("an empty name", FORM, &[M, S, A, P, ("", b"1")], &[], Refused),
    ("a name with a colon", LINE, &[M, S, A, P, ("x:y", b"1")], &[], Refused),
    ("a name with a space", LINE, &[M, S, A, P, ("content-length ", b"1")], &[], Refused),
    ("a name with a line end", LINE, &[M, S, A, P, ("x\r\nhost", b"other")], &[], Refused),
    ("a name that is a whole field", LINE, &[M, S, A, P, ("x: 1\r\ny", b"1")], &[], Refused),
    ("CRLF in a value", LINE, &[M, S, A, P, ("x", b"1\r\nhost: other")], &[], Refused),
    ("LF in a value", LINE, &[M, S, A, P, ("x", b"1\nhost: other")], &[], Refused),
    ("CR in a value", LINE, &[M, S, A, P, ("x", b"1\rhost: other")], &[], Refused),
    ("NUL in a value", LINE, &[M, S, A, P, ("x", b"1\0")], &[], Refused),
    ("a whole request in a value", LINE, &[M, S, A, P, ("x", b"1\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n")], &[], Refused),
    ("CRLF in :path", LINE, &[M, S, A, (":path", b"PATH HTTP/1.1\r\nHost: other\r\n\r\nGET /smuggled")], &[], Refused),
    ("a space in :path", LINE, &[M, S, A, (":path", b"PATH HTTP/1.1")], &[], Refused),
    ("a tab in :path", LINE, &[M, S, A, (":path", b"PATH\tx")], &[], Refused),
    ("DEL in :path", LINE, &[M, S, A, (":path", b"PATH\x7f")], &[], Refused),
    ("NUL in :path", LINE, &[M, S, A, (":path", b"PATH\0")], &[], Refused),
    (":path without a slash", WHOSE, &[M, S, A, (":path", b"smuggledPATH")], &[], Refused),
    (":path that is a query", WHOSE, &[M, S, A, (":path", b"?PATH")], &[], Refused),
    (":path that is a URL", WHOSE, &[M, S, A, (":path", b"https://otherPATH")], &[], Refused),
    (
        "a fragment in :path",
        "it is no part of what is asked for (RFC 9113 §8.3.1), and goes no further",
        &[M, S, A, (":path", b"PATH#x")],
        &[],
        Means("GET PATH"),
    ),
    ("an asterisk with GET", FORM, &[M, S, A, (":path", b"*"), ("x", b"PATH")], &[], Refused),
    ("a space in :method", LINE, &[(":method", b"GET /smuggled HTTP/1.1"), S, A, P], &[], Refused),
    ("CRLF in :method", LINE, &[(":method", b"GET / HTTP/1.1\r\nx:"), S, A, P], &[], Refused),
    ("an empty :method", FORM, &[(":method", b""), S, A, P], &[], Refused),
    ("CONNECT", "a tunnel in a tunnel is none of ours", &[(":method", b"CONNECT"), A], &[], Refused),
    ("CONNECT with :path", FORM, &[(":method", b"CONNECT"), S, A, P], &[], Refused),
    (":scheme of another protocol", WHOSE, &[M, (":scheme", b"ftp"), A, P], &[], Refused),
    (":scheme http inside TLS", WHOSE, &[M, (":scheme", b"http"), A, P], &[], Refused),
    ("CRLF in :scheme", LINE, &[M, (":scheme", b"https\r\nx"), A, P], &[], Refused),
    ("a URL in :scheme", LINE, &[M, (":scheme", b"https://other/?"), A, P], &[], Refused),
    (":authority with userinfo", WHOSE, &[M, S, (":authority", b"other@HOST"), P], &[], Refused),
    (":authority with a path", WHOSE, &[M, S, (":authority", b"HOST/smuggled"), P], &[], Refused),
    (":authority with CRLF", LINE, &[M, S, (":authority", b"HOST\r\nx: 1"), P], &[], Refused),
    (":authority with a space", WHOSE, &[M, S, (":authority", b"HOST other"), P], &[], Refused),
    (":authority against host", WHOSE, &[M, S, A, P, ("host", b"other")], &[], Refused),
    ("two host", WHOSE, &[M, S, P, ("host", b"HOST"), ("host", b"HOST")], &[], Refused),
    ("host that is none", WHOSE, &[M, S, P, ("host", b"a b")], &[], Refused),
    ("host in the place of :authority", "RFC 9113 §8.3.1: it may be", &[M, S, P, ("host", b"HOST")], &[], Means("GET PATH")),
    ("connection", FRAMES, &[M, S, A, P, ("connection", b"close")], &[], Refused),
    ("keep-alive", FRAMES, &[M, S, A, P, ("keep-alive", b"5")], &[], Refused),
    ("proxy-connection", FRAMES, &[M, S, A, P, ("proxy-connection", b"close")], &[], Refused),
    ("upgrade", FRAMES, &[M, S, A, P, ("upgrade", b"websocket")], &[], Refused),
    (
        "transfer-encoding",
        FRAMES,
        &[POST, S, A, P, ("transfer-encoding", b"chunked")],
        &[Data(b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n")],
        Refused,
    ),
    ("te: chunked", FRAMES, &[M, S, A, P, ("te", b"chunked")], &[], Refused),
    ("te: trailers, chunked", FRAMES, &[M, S, A, P, ("te", b"trailers, chunked")], &[], Refused),
    ("two lengths that agree", FRAMES, &[POST, S, A, P, ("content-length", b"3"), ("content-length", b"3")], &[Data(b"abc")], Refused),
    ("two lengths that differ", FRAMES, &[POST, S, A, P, ("content-length", b"3"), ("content-length", b"0")], &[Data(b"abc")], Refused),
    ("two lengths without content", FRAMES, &[POST, S, A, P, ("content-length", b"0"), ("content-length", b"0")], &[], Refused),
    ("an empty length", FRAMES, &[POST, S, A, P, ("content-length", b"")], &[], Refused),
    ("an empty length with content", FRAMES, &[POST, S, A, P, ("content-length", b"")], &[Data(b"abc")], Refused),
    ("a list of lengths", FRAMES, &[POST, S, A, P, ("content-length", b"3, 3")], &[Data(b"abc")], Refused),
    ("+3", FRAMES, &[POST, S, A, P, ("content-length", b"+3")], &[Data(b"abc")], Refused),
    ("a length beyond 64 bits", FRAMES, &[POST, S, A, P, ("content-length", b"18446744073709551619")], &[Data(b"abc")], Refused),
    (
        "a length without content",
        "an HTTP/1 origin would wait for it, and find the next request",
        &[POST, S, A, P, ("content-length", b"3")],
        &[],
        Refused,
    ),
    (
        "a length of 0 with content",
        "H2.CL: the content would be the next request",
        &[POST, S, A, P, ("content-length", b"0")],
        &[Data(b"GET /smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n")],
        Cut,
    ),
    (
        "content longer than its length",
        "H2.CL",
        &[POST, S, A, P, ("content-length", b"3")],
        &[Data(b"abc"), Data(b"GET /smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n")],
        Cut,
    ),
    (
        "content shorter than its length",
        "the next request would be its rest",
        &[POST, S, A, P, ("content-length", b"9")],
        &[Data(b"abc")],
        Cut,
    ),
    (
        "shorter, with trailers",
        "the next request would be its rest",
        &[POST, S, A, P, ("content-length", b"9")],
        &[Data(b"abc"), Trailers(&[("x", b"1")])],
        Cut,
    ),
    (
        "a pseudo-header field in trailers",
        "the crate drops it: it is never seen as a trailer",
        &[POST, S, A, P],
        &[Data(b"abc"), Trailers(&[(":path", b"/smuggled")])],
        Means("POST PATH abc"),
    ),
    (
        "a length in trailers",
        "a reader that merges them reads another message",
        &[POST, S, A, P],
        &[Data(b"abc"), Trailers(&[("content-length", b"9")])],
        Cut,
    ),
    ("host in trailers", WHOSE, &[POST, S, A, P], &[Data(b"abc"), Trailers(&[("host", b"other")])], Cut),
    ("transfer-encoding in trailers", FRAMES, &[POST, S, A, P], &[Data(b"abc"), Trailers(&[("transfer-encoding", b"chunked")])], Cut),
    ("CRLF in trailers", LINE, &[POST, S, A, P], &[Data(b"abc"), Trailers(&[("x", b"1\r\n\r\nGET /smuggled HTTP/1.1")])], Cut),
    (
        "content that looks like chunks",
        "content is content",
        &[POST, S, A, P],
        &[Data(b"0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n")],
        Means("POST PATH 0\\r\\n\\r\\nGET /smuggled HTTP/1.1\\r\\n\\r\\n"),
    ),
    ("content of a known length", "the plain case", &[POST, S, A, P, ("content-length", b"3")], &[Data(b"abc")], Means("POST PATH abc")),
];

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

#[tokio::test]
async fn http2_becomes_no_other_request_in_http1() {
    let (origin, heard) = recording(Setup::http1()).await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let mut neighbour = neighbour(&proxy, &origin).await;
    let mut expected = Vec::new();

    for (at, case) in CASES.iter().enumerate() {
        let path = format!("/case-{at}-");
        let ended = play(case, &path, &proxy, &origin).await;
        judge(case, &path, &ended, &mut expected);
        if let Refused = case.4 {
            assert!(!heard.contains(&path), "{} ({}): the origin hears of it", case.0, case.1);
        }
        neighbour.asks(case.0).await;
    }

    drop(neighbour);
    proxy.stop().await;
    origin.journal().wait("the end of all connections", |_, peers| peers.iter().all(|peer| peer.ended.is_some()).then_some(())).await;
    let seen: Vec<String> = heard.requests().iter().filter(|asked| asked.target != "/neighbour").map(ToString::to_string).collect();
    assert_eq!(seen, expected, "nothing else has arrived whole");
}

#[tokio::test]
async fn http2_becomes_no_other_request_in_http2() {
    let origin = Origin::start(Setup::tls(), |seen| Script::ok(seen.target.clone())).await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let mut neighbour = neighbour(&proxy, &origin).await;
    let mut expected = Vec::new();

    for (at, case) in CASES.iter().enumerate() {
        let path = format!("/case-{at}-");
        let ended = play(case, &path, &proxy, &origin).await;
        judge(case, &path, &ended, &mut expected);
        neighbour.asks(case.0).await;
    }

    let arrived = |seen: &flowgate_testkit::Seen| seen.complete && seen.target != "/neighbour";
    let shown = |seen: flowgate_testkit::Seen| match seen.content.is_empty() {
        true => format!("{} {}", seen.method, seen.target),
        false => format!("{} {} {}", seen.method, seen.target, seen.content.escape_ascii()),
    };
    let seen: Vec<String> = origin.seen().into_iter().filter(arrived).map(shown).collect();
    assert_eq!(seen, expected, "nothing else has arrived whole");
}

async fn neighbour(proxy: &Proxy, origin: &Origin) -> Neighbour {
    Neighbour { connection: proxy.client().h1(&origin.authority()).await.unwrap(), host: origin.authority() }
}

/// How a stream ended.
#[derive(Debug)]
enum Ended {
    /// A response head; whether it says 200.
    Answered(bool),
    Reset,
    Closed,
}

fn judge(case: &Case, path: &str, ended: &Ended, expected: &mut Vec<String>) {
    let what = format!("{} ({})", case.0, case.1);
    match case.4 {
        Refused | Cut => assert!(!matches!(ended, Ended::Answered(true)), "{what}: it is answered"),
        Means(asked) => {
            assert!(matches!(ended, Ended::Answered(true)), "{what}: {ended:?}");
            expected.push(asked.replace("PATH", path));
        }
    }
}

/// Plays a case on a connection of its own.
async fn play(case: &Case, path: &str, proxy: &Proxy, origin: &Origin) -> Ended {
    let mut wire = proxy.client().secure(&origin.authority(), &["h2"]).await.unwrap();
    let host = origin.authority();
    let (fields, then) = (case.2, case.3);
    let block = |fields: Fields| block(fields, &[("PATH", path), ("HOST", &host)]);
    let mut octets = [PREFACE, &SETTINGS, &frame(1, END_HEADERS | ends(then.is_empty()), &block(fields))].concat();
    for (at, next) in then.iter().enumerate() {
        let end = ends(at + 1 == then.len());
        octets.extend(match next {
            Data(data) => frame(0, end, &filled(data, &[("HOST", &host)])),
            Trailers(fields) => frame(1, END_HEADERS | end, &block(fields)),
        });
    }
    match wire.send(octets).await {
        Ok(()) => ended(&mut wire).await,
        Err(_) => Ended::Closed,
    }
}

/// Reads frames until stream 1 has an answer or an end.
async fn ended(wire: &mut Wire) -> Ended {
    loop {
        let read = async {
            let head = wire.exactly(9).await?;
            let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            Ok::<_, Trouble>((head[3], wire.exactly(len).await?))
        };
        match read.await {
            // Indexed: `:status: 200` (RFC 7541 appendix A).
            Ok((1, block)) => return Ended::Answered(block.first() == Some(&0x88)),
            Ok((3, _)) => return Ended::Reset,
            Ok(_) => {}
            Err(_) => return Ended::Closed,
        }
    }
}

const END_HEADERS: u8 = 4;

fn ends(end: bool) -> u8 {
    u8::from(end)
}

/// A frame of stream 1 (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&len[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
}

/// Literal fields that are never indexed, without Huffman (RFC 7541 §6.2.3): nothing is checked on the way.
fn block(fields: Fields, pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0x10);
        for text in [name.as_bytes().to_vec(), filled(value, pairs)] {
            assert!(text.len() < 127, "one octet of length is enough");
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text);
        }
    }
    block
}
