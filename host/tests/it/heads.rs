//! Heads pass octet for octet: the same request straight and through the proxy, and nobody can tell which was which.

use flowgate_testkit::{
    Client, Origin, Script, Setup,
    proxy::{Options, Proxy},
};

/// Requests without hop-by-hop fields; `HOST` stands for the origin's authority.
const REQUESTS: &[&[u8]] = &[
    b"GET / HTTP/1.1\r\nHost: HOST\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: HOST\r\nACCEPT: */*\r\naccept: text/plain\r\n\r\n",
    b"GET / HTTP/1.1\r\nX-First: 1\r\nHost: HOST\r\n\r\n",
    b"GET /a//b/../c/./%2F%2f%41?x=%20&&=?# HTTP/1.1\r\nHost: HOST\r\n\r\n",
    b"GET /? HTTP/1.1\r\nHost: HOST\r\n\r\n",
    b"GET //?//[]{}|^`\"<> HTTP/1.1\r\nHost: HOST\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: HOST\r\nX-A: 1\r\nX-B: 2\r\nx-a: 3\r\nX-B: 4\r\nX-A: 5\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: HOST\r\nX-Latin: gr\xfc\xdfe\r\nX-Utf8: \xe4\xbd\xa0\xe5\xa5\xbd\r\nX-Empty:\r\nX-Blank: \r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: HOST\r\nX-Tight:v\r\nX-Loose:   v  \r\nX-Tab:\tv\t\r\nX-Inner: a\tb  c\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: HOST\r\nx!#$%&'*+-.^_`|~0: odd\r\nCookie: a=1\r\ncookie: b=2\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: HOST\r\nAccept-Encoding: gzip;q=0.1, , br\r\nAccept-Encoding: zstd\r\nRange: bytes=0-\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: HOST\r\nVia: 1.0 fred\r\nX-Forwarded-For: 10.0.0.1\r\nForwarded: for=x\r\nMax-Forwards: 3\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: HOST\r\nAuthorization: Basic YTpi\r\nReferer: https://x.test/#y\r\nUser-Agent: \r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: HOST\r\n\r\n",
    b"M-SEARCH /x HTTP/1.1\r\nHost: HOST\r\n\r\n",
    b"delete /x HTTP/1.1\r\nHost: HOST\r\n\r\n",
    b"POST /p HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello",
    b"POST /p HTTP/1.1\r\nHost: HOST\r\ncontent-LENGTH:0\r\nX-After: 1\r\n\r\n",
    b"PUT /p HTTP/1.1\r\nHost: HOST\r\ntransfer-encoding: chunked\r\nX-After: 1\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"GET /p HTTP/1.1\r\nHost: HOST\r\nContent-Length: 2\r\n\r\nhi",
];

/// Responses without hop-by-hop fields.
const RESPONSES: &[&[u8]] = &[
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nhi",
    b"HTTP/1.1 200 Quite All Right, Thank You\r\ncontent-length: 2\r\n\r\nhi",
    b"HTTP/1.1 200 Gr\xfc\xdfe\r\nContent-Length: 2\r\n\r\nhi",
    b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nX-A: 1\r\nset-cookie: b=2; Secure\r\nx-a: 2\r\nSet-Cookie: c=3\r\nContent-Length: 2\r\n\r\nhi",
    b"HTTP/1.1 200 OK\r\nStrict-Transport-Security: max-age=1\r\nX-One: 1\r\nStrict-Transport-Security: max-age=1\r\nContent-Length: 2\r\n\r\nhi",
    b"HTTP/1.1 200 OK\r\nX-Latin: \xe9\r\nX-Empty:\r\nX-Tight:v\r\nX-Loose:   v  \r\nContent-Length: 2\r\n\r\nhi",
    b"HTTP/1.1 200 OK\r\nDate: yesterday\r\nServer: \"me\"\r\nVia: 1.1 other\r\nAge: 3\r\nContent-Length: 2\r\n\r\nhi",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-After: 1\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    b"HTTP/1.1 201 Created\r\nLocation: /x?y#z\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n",
    b"HTTP/1.1 299 Odd\r\nContent-Length: 2\r\n\r\nhi",
    b"HTTP/1.1 304 Not Modified\r\nETag: W/\"x\"\r\n\r\n",
    b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"a\", Bearer\r\nwww-authenticate: Negotiate\r\nContent-Length: 2\r\n\r\nhi",
    b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\nhi",
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nhi",
    b"HTTP/1.1 799 Beyond\r\nContent-Length: 2\r\n\r\nhi",
];

#[tokio::test]
async fn the_origin_sees_the_request_as_the_client_wrote_it() {
    let origin = Origin::start(Setup::http1(), |_| Script::ok("ok")).await;
    let proxy = Proxy::without_plugins(Options::new()).await;

    for request in REQUESTS {
        let request = replaced(request, b"HOST", origin.authority().as_bytes());
        for client in [Client::direct(), proxy.client()] {
            let response = client.h1(&origin.authority()).await.unwrap().exchange(&request).await.unwrap();
            assert_eq!(response.text(), "ok", "{}", shown(&request));
        }
    }

    let seen = origin.after(2 * REQUESTS.len()).await;
    for pair in seen.chunks(2) {
        let (straight, through) = (&pair[0], &pair[1]);
        assert_eq!(shown(&through.head), shown(&straight.head));
        assert_eq!(through.content, straight.content, "{}", shown(&straight.head));
    }
}

#[tokio::test]
async fn the_client_sees_the_response_as_the_origin_wrote_it() {
    let origin = Origin::start(Setup::http1(), |seen| Script::raw(RESPONSES[seen.get("x-which").unwrap().parse::<usize>().unwrap()])).await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let mut straight = Client::direct().h1(&origin.authority()).await.unwrap();
    let mut through = proxy.client().h1(&origin.authority()).await.unwrap();

    for (which, response) in RESPONSES.iter().enumerate() {
        let request = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Which: {which}\r\n\r\n");
        let straight = straight.exchange(&request).await.unwrap();
        let through = through.exchange(&request).await.unwrap_or_else(|failure| panic!("{}: {failure}", shown(response)));

        assert_eq!(shown(through.head.octets()), shown(straight.head.octets()));
        assert_eq!((&through.content, &through.trouble), (&straight.content, &None), "{}", shown(response));
        assert!(response.starts_with(through.head.octets()));
    }
}

#[tokio::test]
async fn large_fields_pass() {
    let large = "v".repeat(32 * 1024);
    let sent = format!("HTTP/1.1 200 OK\r\nX-Large: {large}\r\nContent-Length: 2\r\n\r\nhi");
    let origin = Origin::start(Setup::http1(), {
        let sent = sent.clone();
        move |_| Script::raw(sent.clone())
    })
    .await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let asked = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Large: {large}\r\n\r\n");

    let response = proxy.client().h1(&origin.authority()).await.unwrap().exchange(&asked).await.unwrap();

    assert_eq!(origin.after(1).await[0].head, asked.as_bytes());
    assert_eq!([response.head.octets(), &response.content].concat(), sent.as_bytes());
}

#[tokio::test]
async fn what_is_for_one_hop_stays_on_it() {
    let origin = Origin::start(Setup::http1(), |seen| {
        Script::raw(
            [
                &b"HTTP/1.1 200 OK\r\nConnection: X-Hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nX-End: 1\r\n"[..],
                format!("Content-Length: {}\r\n\r\n", seen.field_lines().len()).as_bytes(),
                &seen.field_lines(),
            ]
            .concat(),
        )
    })
    .await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let hop =
        [("Connection", "X-Hop, keep-alive"), ("X-Hop", "1"), ("Keep-Alive", "9"), ("Proxy-Connection", "keep-alive"), ("X-End", "1")];

    let response = proxy.client().send(&origin.url("/"), "GET", &hop, b"").await.unwrap();

    // That the connection shall be kept holds for the next hop as well.
    assert_eq!(response.text(), format!("Host: {}\nConnection: keep-alive\nX-End: 1\n", origin.authority()));
    for name in ["x-hop", "keep-alive"] {
        assert!(!response.head.has(name), "{name}: {:?}", response.head);
    }
    assert!(response.head.has("x-end"));
}

fn replaced(octets: &[u8], what: &[u8], by: &[u8]) -> Vec<u8> {
    let at = octets.windows(what.len()).position(|window| window == what).expect("it is there");
    [&octets[..at], by, &octets[at + what.len()..]].concat()
}

/// Readable in a failure, and different for different octets.
fn shown(octets: &[u8]) -> String {
    octets.escape_ascii().to_string().replace("\\r\\n", "\n")
}
