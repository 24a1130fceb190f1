//! The pairs over HTTP/2: field lists in their order with their repeats, targets, trailers, interim responses, content.
//!
//! What the `h2` crate cannot carry, and these therefore cannot show: `http::HeaderMap` puts repeats of a name behind its first one,
//! pseudo-header fields leave in the crate's order, and the mark "never indexed" of a field (RFC 7541 §6.2.3) is not kept.

use bytes::Bytes;
use flowgate_testkit::{
    Client, Origin, Script, Setup,
    client::{H2, H2Answer, send_h2},
    origin::Act,
    proxy::{Options, Proxy},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};

use super::replaced;

type Lines = &'static [(&'static str, &'static [u8])];

/// What the client and the origin say. `LARGE` in a value stands for 32 KiB of one letter.
#[derive(Clone, Copy)]
struct Pair {
    method: &'static str,
    path: &'static str,
    fields: Lines,
    content: &'static [u8],
    trailers: Lines,
    interim: &'static [(u16, Lines)],
    status: u16,
    answer: Lines,
    answer_content: &'static [u8],
    answer_trailers: Lines,
    /// The origin answers before it reads.
    early: bool,
}

const PLAIN: Pair = Pair {
    method: "GET",
    path: "/",
    fields: &[],
    content: b"",
    trailers: &[],
    interim: &[],
    status: 200,
    answer: &[],
    answer_content: b"hi",
    answer_trailers: &[],
    early: false,
};

const fn fields(fields: Lines) -> Pair {
    Pair { fields, ..PLAIN }
}

const fn path(path: &'static str) -> Pair {
    Pair { path, ..PLAIN }
}

const fn answer(answer: Lines) -> Pair {
    Pair { answer, ..PLAIN }
}

const PAIRS: &[Pair] = &[
    PLAIN,
    fields(&[("x-b", b"1"), ("x-a", b"2"), ("x-c", b"3"), ("accept", b"*/*"), ("user-agent", b"")]),
    fields(&[("x-a", b"1"), ("x-a", b"2"), ("x-a", b"1"), ("x-b", b"2"), ("x-b", b"1")]),
    fields(&[("x-latin", b"gr\xfc\xdfe"), ("x-utf8", b"\xe4\xbd\xa0"), ("x-empty", b""), ("x-tab", b"a\tb"), ("x-comma", b",,a, ,")]),
    fields(&[("cookie", b"a=1"), ("cookie", b"b=2"), ("cookie", b"c=3; d=4"), ("authorization", b"Bearer x")]),
    fields(&[("x-large", b"LARGE"), ("x-after", b"1")]),
    fields(&[("via", b"1.1 x"), ("forwarded", b"for=x"), ("x-forwarded-for", b"1"), ("max-forwards", b"3"), ("date", b"never")]),
    fields(&[("te", b"trailers"), ("x!#$%&'*+-.^_`|~0", b"odd"), ("accept-encoding", b"gzip;q=0.1, , br"), ("priority", b"u=1, i")]),
    path("//"),
    path("/?"),
    path("/a//b/../c/./%2F%2f%41?x=%20&&=?"),
    path("/[a]/%5B%5d;p=1,2/~@:!$&'()*+,={}|^\""),
    path("/http://other.test/x?u=http://y"),
    Pair { method: "OPTIONS", path: "*", ..PLAIN },
    Pair { method: "M-SEARCH", ..PLAIN },
    Pair { method: "delete", ..PLAIN },
    Pair { method: "POST", fields: &[("content-length", b"5"), ("content-type", b"text/plain")], content: b"hello", ..PLAIN },
    Pair { method: "POST", fields: &[("content-type", b"text/plain")], content: b"hello", ..PLAIN },
    Pair { method: "POST", fields: &[("content-length", b"0")], ..PLAIN },
    Pair { method: "POST", content: b"hello", trailers: &[("x-t", b"1"), ("x-u", b"\xe9"), ("x-t", b"2")], ..PLAIN },
    Pair { method: "GET", content: b"hello", ..PLAIN },
    answer(&[("x-b", b"1"), ("x-a", b"2"), ("set-cookie", b"a=1"), ("set-cookie", b"b=2"), ("server", b"me"), ("age", b"3")]),
    answer(&[("x-latin", b"\xe9"), ("x-empty", b""), ("x-large", b"LARGE"), ("alt-svc", b"h3=\":443\"")]),
    answer(&[("content-length", b"2"), ("content-type", b"text/plain"), ("content-encoding", b"br")]),
    Pair { answer_trailers: &[("grpc-status", b"0"), ("x-t", b"1"), ("x-t", b"2")], ..PLAIN },
    Pair { answer_content: b"", answer_trailers: &[("grpc-status", b"5")], ..PLAIN },
    Pair { answer_content: b"", ..PLAIN },
    Pair { status: 204, answer: &[("x-a", b"1")], answer_content: b"", ..PLAIN },
    Pair { status: 304, answer: &[("etag", b"W/\"x\""), ("content-length", b"9")], answer_content: b"", ..PLAIN },
    Pair { method: "HEAD", answer: &[("content-length", b"9")], answer_content: b"", ..PLAIN },
    Pair { status: 401, answer: &[("www-authenticate", b"Basic realm=\"a\""), ("www-authenticate", b"Bearer")], ..PLAIN },
    Pair { status: 429, ..PLAIN },
    Pair { status: 799, ..PLAIN },
    Pair { interim: &[(103, &[("link", b"</a>"), ("link", b"</b>")]), (103, &[]), (102, &[("x-i", b"\xe9")])], ..PLAIN },
    Pair { method: "POST", fields: &[("expect", b"100-continue")], content: b"hello", interim: &[(100, &[])], ..PLAIN },
    Pair { method: "POST", fields: &[("expect", b"100-continue")], content: b"hello", status: 417, early: true, ..PLAIN },
];

type Listed = Vec<(String, String)>;

/// All that both ends can see of one exchange.
#[derive(Debug, PartialEq)]
struct Exchange {
    method: String,
    path: String,
    authority: String,
    fields: Listed,
    /// Content and trailers, unless the origin answers before it reads.
    content: Option<(String, Listed)>,
    interim: Vec<(u16, Listed)>,
    status: u16,
    answer: Listed,
    answer_content: String,
    answer_trailers: Option<Listed>,
    is_complete: bool,
}

#[tokio::test]
async fn http2_is_the_same_straight_and_through() {
    compare(Proxy::without_plugins(Options::new()).await).await;
}

#[tokio::test]
async fn an_observer_changes_nothing_of_http2() {
    compare(Proxy::start(Options::new()).await).await;
}

async fn compare(proxy: Proxy) {
    let origin = Origin::start(Setup::http2(), |seen| script(&PAIRS[seen.get("x-which").unwrap().parse::<usize>().unwrap()])).await;
    let mut straight = Client::direct().h2(&origin.authority()).await.unwrap();
    let mut through = proxy.client().h2(&origin.authority()).await.unwrap();

    let mut differences = Vec::new();
    for (at, pair) in PAIRS.iter().enumerate() {
        let straight = exchange(at, pair, &origin, &mut straight).await;
        let through = exchange(at, pair, &origin, &mut through).await;
        if through != straight {
            differences.push(format!("{at}:\n straight {straight:#?}\n through {through:#?}"));
        }
    }

    assert!(differences.is_empty(), "{} of {}: {}", differences.len(), PAIRS.len(), differences.join("\n"));
}

fn script(pair: &Pair) -> Script {
    let mut script = Script::new(pair.status);
    for (name, value) in pair.answer {
        script = script.field(name, filled(value));
    }
    if !pair.answer_content.is_empty() {
        script = script.data(pair.answer_content);
    }
    if !pair.answer_trailers.is_empty() {
        script = script.then(Act::Trailers(owned(pair.answer_trailers)));
    }
    // Each goes in front of what is there.
    for (status, fields) in pair.interim.iter().rev() {
        script = script.interim_with(*status, owned(fields));
    }
    if pair.early { script.early() } else { script }
}

async fn exchange(at: usize, pair: &Pair, origin: &Origin, connection: &mut H2) -> Exchange {
    let before = origin.seen().len();
    let uri = http::Uri::builder().scheme("https").authority(origin.authority()).path_and_query(pair.path).build().unwrap();
    let mut head = Request::builder().method(Method::from_bytes(pair.method.as_bytes()).unwrap()).uri(uri).body(()).unwrap();
    *head.headers_mut() = map(pair.fields);
    head.headers_mut().insert("x-which", at.into());

    let (answer, mut content) = connection.begin(head, pair.content.is_empty()).await.unwrap();
    if !pair.content.is_empty() {
        let over = pair.trailers.is_empty();
        // An early answer may have ended the stream.
        let _ = send_h2(&mut content, Bytes::from_static(pair.content), over).await;
        if !over {
            content.send_trailers(map(pair.trailers)).unwrap();
        }
    }
    let answer = H2Answer::of(answer).await.unwrap_or_else(|failure| panic!("{at}: {failure}")).finish().await;
    let seen = super::at_origin(origin, before).await;

    Exchange {
        method: seen.method,
        path: seen.target,
        authority: seen.authority,
        fields: shown(&seen.fields),
        content: (!pair.early).then(|| (super::shown(&seen.content), shown(&seen.trailers))),
        interim: answer.interim.iter().map(|(status, fields)| (*status, listed(fields))).collect(),
        status: answer.status,
        answer: listed(&answer.fields),
        answer_content: super::shown(&answer.content),
        answer_trailers: answer.trailers.as_ref().map(listed),
        is_complete: answer.trouble.is_none(),
    }
}

fn filled(value: &[u8]) -> Vec<u8> {
    replaced(value.to_vec(), b"LARGE", &[b'v'; 32 * 1024])
}

fn owned(lines: Lines) -> Vec<(String, Vec<u8>)> {
    lines.iter().map(|(name, value)| ((*name).to_owned(), filled(value))).collect()
}

fn map(lines: Lines) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in owned(lines) {
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(&value).unwrap());
    }
    map
}

fn listed(map: &HeaderMap) -> Listed {
    map.iter().map(|(name, value)| (name.to_string(), super::shown(value.as_bytes()))).collect()
}

fn shown(fields: &[(String, Vec<u8>)]) -> Listed {
    fields.iter().map(|(name, value)| (name.clone(), super::shown(value))).collect()
}
