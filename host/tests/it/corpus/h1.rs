//! The pairs over HTTP/1: requests and responses as they stand on the wire, each odd in one way.
//!
//! `HOST` stands for the origin's authority, `LARGE` for 32 KiB of one letter. Hop-by-hop fields may be in them: they are left out of the
//! comparison. Not in it, because it is refused rather than passed on: framing and line ends that can be read in two ways (see `framing`).

/// What the client writes and what the origin writes.
pub(super) struct Pair {
    pub(super) request: &'static [u8],
    pub(super) response: &'static [u8],
    /// The origin answers before it reads.
    pub(super) early: bool,
    /// The origin closes behind its answer.
    pub(super) closed: bool,
}

const fn pair(request: &'static [u8], response: &'static [u8]) -> Pair {
    Pair { request, response, early: false, closed: false }
}

/// An odd request, and a plain answer.
const fn asked(request: &'static [u8]) -> Pair {
    pair(request, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
}

/// An odd answer to a plain request.
const fn told(response: &'static [u8]) -> Pair {
    pair(b"GET / HTTP/1.1\r\nHost: HOST\r\n\r\n", response)
}

impl Pair {
    const fn early(mut self) -> Self {
        self.early = true;
        self
    }

    const fn closed(mut self) -> Self {
        self.closed = true;
        self
    }
}

pub(super) const PAIRS: &[Pair] = &[
    // Field lines of requests: spelling, order, repeats, white space, octets, size.
    asked(b"GET / HTTP/1.1\r\nHost: HOST\r\n\r\n"),
    asked(b"GET / HTTP/1.1\r\nhost: HOST\r\nACCEPT: */*\r\naccept: text/plain\r\naCCept: x/y\r\n\r\n"),
    asked(b"GET / HTTP/1.1\r\nX-First: 1\r\nHoSt: HOST\r\n\r\n"),
    asked(b"GET / HTTP/1.1\r\nHost:HOST\r\n\r\n"),
    asked(b"GET / HTTP/1.1\r\nHost: HOST\r\nX-A: 1\r\nX-B: 2\r\nx-a: 3\r\nX-B: 4\r\nX-A: 5\r\n\r\n"),
    asked(b"GET / HTTP/1.1\r\nHost: HOST\r\nX-A: same\r\nX-A: same\r\nX-A: same\r\n\r\n"),
    asked(b"GET / HTTP/1.1\r\nHost: HOST\r\nX-Latin: gr\xfc\xdfe\r\nX-Utf8: \xe4\xbd\xa0\xe5\xa5\xbd\r\nX-High: \x80\xff\r\n\r\n"),
    asked(b"GET / HTTP/1.1\r\nHost: HOST\r\nX-Empty:\r\nX-Blank: \r\nX-Tabs:\t\t\r\nX-End:\r\n\r\n"),
    asked(b"GET / HTTP/1.1\r\nHost: HOST\r\nX-Tight:v\r\nX-Loose:   v  \r\nX-Tab:\tv\t\r\nX-Inner: a\tb  c\r\n\r\n"),
    asked(b"GET / HTTP/1.1\r\nHost: HOST\r\nx!#$%&'*+-.^_`|~0: odd\r\n_: u\r\n1: d\r\nCookie: a=1\r\ncookie: b=2; c=\"3\"\r\n\r\n"),
    asked(b"GET / HTTP/1.1\r\nHost: HOST\r\nAccept-Encoding: gzip;q=0.1, , br\r\nAccept-Encoding: zstd\r\nRange: bytes=0-\r\n\r\n"),
    asked(b"GET / HTTP/1.1\r\nHost: HOST\r\nVia: 1.0 fred\r\nX-Forwarded-For: 10.0.0.1\r\nForwarded: for=x\r\nMax-Forwards: 3\r\n\r\n"),
    asked(b"GET / HTTP/1.1\r\nHost: HOST\r\nAuthorization: Basic YTpi\r\nReferer: https://x.test/#y\r\nUser-Agent: \r\n\r\n"),
    asked(b"GET / HTTP/1.1\r\nHost: HOST\r\nX-Large: LARGE\r\nX-After: 1\r\n\r\n"),
    asked(b"GET / HTTP/1.1\r\nHost: HOST\r\nX-Colon: a: b:c:\r\nX-Comma: ,a,,\r\nX-Quote: \"\\\"\r\nX-Semi: ;;\r\n\r\n"),
    asked(b"GET / HTTP/1.1\r\nHost: HOST\r\nIf-None-Match: W/\"x\", \"y\"\r\nIf-Modified-Since: whenever\r\nDate: never\r\nDNT: 1\r\n\r\n"),
    asked(b"GET / HTTP/1.1\r\nHost: HOST\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nX-Stays: 1\r\n\r\n"),
    asked(b"GET / HTTP/1.1\r\nHost: HOST\r\nTE: trailers, gzip\r\nConnection: TE\r\nTrailer: X-T\r\nUpgrade: h2c\r\nX-Stays: 1\r\n\r\n"),
    asked(b"GET / HTTP/1.1\r\nHost: HOST\r\nProxy-Authorization: Basic YTpi\r\nProxy-Connection: keep-alive\r\nX-Stays: 1\r\n\r\n"),
    // Request-targets and methods.
    asked(b"GET /a//b/../c/./%2F%2f%41?x=%20&&=?# HTTP/1.1\r\nHost: HOST\r\n\r\n"),
    asked(b"GET /? HTTP/1.1\r\nHost: HOST\r\n\r\n"),
    asked(b"GET // HTTP/1.1\r\nHost: HOST\r\n\r\n"),
    asked(b"GET //?//[]{}|^`\"<> HTTP/1.1\r\nHost: HOST\r\n\r\n"),
    asked(b"GET /[a]/%5B%5d;p=1,2/~@:!$&'()*+,= HTTP/1.1\r\nHost: HOST\r\n\r\n"),
    asked(b"GET /gr\xc3\xbc\xc3\x9fe/%zz/%?q=\xe4\xbd\xa0 HTTP/1.1\r\nHost: HOST\r\n\r\n"),
    asked(b"GET /http://other.test/x?u=http://y HTTP/1.1\r\nHost: HOST\r\n\r\n"),
    asked(b"GET /LARGE HTTP/1.1\r\nHost: HOST\r\n\r\n"),
    asked(b"OPTIONS * HTTP/1.1\r\nHost: HOST\r\n\r\n"),
    asked(b"M-SEARCH /x HTTP/1.1\r\nHost: HOST\r\n\r\n"),
    asked(b"delete /x HTTP/1.1\r\nHost: HOST\r\n\r\n"),
    asked(b"TRACE /x HTTP/1.1\r\nHost: HOST\r\n\r\n"),
    asked(b"PRI /x HTTP/1.1\r\nHost: HOST\r\n\r\n"),
    // Content of requests, its framing and trailers.
    asked(b"POST /p HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello"),
    asked(b"POST /p HTTP/1.1\r\nHost: HOST\r\ncontent-LENGTH:0\r\nX-After: 1\r\n\r\n"),
    asked(b"POST /p HTTP/1.1\r\nHost: HOST\r\nContent-Length: 0005\r\n\r\nhello"),
    asked(b"POST /p HTTP/1.1\r\nHost: HOST\r\n\r\n"),
    asked(b"GET /p HTTP/1.1\r\nHost: HOST\r\nContent-Length: 2\r\n\r\nhi"),
    asked(b"DELETE /p HTTP/1.1\r\nHost: HOST\r\nContent-Length: 2\r\n\r\n\r\n"),
    asked(b"PUT /p HTTP/1.1\r\nHost: HOST\r\ntransfer-encoding: chunked\r\nX-After: 1\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    asked(b"PUT /p HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n"),
    asked(b"PUT /p HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n0003;a=\"b\"\r\nabc\r\nA\r\n\r\n\r\n012345\r\n0;last\r\n\r\n"),
    asked(
        b"PUT /p HTTP/1.1\r\nHost: HOST\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-T: 1\r\nx-t:  \xe9\r\nX-T:\r\n\r\n",
    ),
    asked(b"POST /p HTTP/1.1\r\nHost: HOST\r\nContent-Encoding: gzip\r\nContent-Length: 6\r\n\r\nno gz!"),
    asked(b"POST /p HTTP/1.1\r\nHost: HOST\r\nContent-Length: 32768\r\n\r\nLARGE"),
    // Status lines.
    told(b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nhi"),
    told(b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi"),
    told(b"HTTP/1.1 200 Quite All Right, Thank You\r\ncontent-length: 2\r\n\r\nhi"),
    told(b"HTTP/1.1 200 Gr\xfc\xdfe\r\nContent-Length: 2\r\n\r\nhi"),
    told(b"HTTP/1.1 200  two\tspaces \r\nContent-Length: 2\r\n\r\nhi"),
    told(b"HTTP/1.1 404 OK\r\nContent-Length: 2\r\n\r\nhi"),
    told(b"HTTP/1.1 299 Odd\r\nContent-Length: 2\r\n\r\nhi"),
    told(b"HTTP/1.1 799 Beyond\r\nContent-Length: 2\r\n\r\nhi"),
    told(b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\nhi"),
    told(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nhi"),
    told(b"HTTP/1.1 301 Moved Permanently\r\nLocation: //x/?y#z\r\nContent-Length: 0\r\n\r\n"),
    told(
        b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"a\", Bearer\r\nwww-authenticate: Negotiate\r\nContent-Length: 2\r\n\r\nhi",
    ),
    told(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 2\r\n\r\nhi"),
    // Field lines of responses.
    told(
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nX-A: 1\r\nset-cookie: b=2; Secure\r\nx-a: 2\r\nSet-Cookie: c=3\r\nContent-Length: 2\r\n\r\nhi",
    ),
    told(
        b"HTTP/1.1 200 OK\r\nStrict-Transport-Security: max-age=1\r\nX-One: 1\r\nStrict-Transport-Security: max-age=1\r\nContent-Length: 2\r\n\r\nhi",
    ),
    told(b"HTTP/1.1 200 OK\r\nX-Latin: \xe9\r\nX-Empty:\r\nX-Tight:v\r\nX-Loose:   v  \r\nContent-Length: 2\r\n\r\nhi"),
    told(b"HTTP/1.1 200 OK\r\nDate: yesterday\r\nServer: \"me\"\r\nVia: 1.1 other\r\nAge: 3\r\nContent-Length: 2\r\n\r\nhi"),
    told(b"HTTP/1.1 200 OK\r\nX-Large: LARGE\r\nContent-Length: 2\r\n\r\nhi"),
    told(b"HTTP/1.1 200 OK\r\nAlt-Svc: h3=\":443\"\r\nX-GitHub-Request-Id: A:B\r\nx-github-backend: K\r\nContent-Length: 2\r\n\r\nhi"),
    told(b"HTTP/1.1 200 OK\r\nConnection: X-Hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\nX-Stays: 1\r\n\r\nhi"),
    // Content of responses: length, chunks, trailers, codings, none, the end of the connection.
    told(b"HTTP/1.1 201 Created\r\nLocation: /x?y#z\r\nContent-Length: 0\r\n\r\n"),
    told(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-After: 1\r\n\r\n2\r\nhi\r\n0\r\n\r\n"),
    told(b"HTTP/1.1 200 OK\r\ntransfer-encoding:  CHUNKED\r\n\r\n0\r\n\r\n"),
    told(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n02;x=y;\"z\"\r\nhi\r\n00d\r\n in \r\n chunks\r\n000;last=1\r\n\r\n"),
    told(b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\nx-SUM:\xfc\r\nX-Empty:\r\n\r\n"),
    told(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 6\r\n\r\nno gz!"),
    told(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n0\r\n\r\n"),
    told(b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-1/9\r\nContent-Length: 2\r\n\r\nhi"),
    told(b"HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n"),
    told(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"),
    told(b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n"),
    told(b"HTTP/1.1 304 Not Modified\r\nETag: W/\"x\"\r\n\r\n"),
    told(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 999\r\nETag: \"x\"\r\n\r\n"),
    pair(b"HEAD / HTTP/1.1\r\nHost: HOST\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n"),
    pair(b"HEAD / HTTP/1.1\r\nHost: HOST\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n"),
    pair(b"HEAD / HTTP/1.1\r\nHost: HOST\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"),
    told(b"HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\nto the end of the connection\r\n\r\n").closed(),
    told(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").closed(),
    told(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi").closed(),
    told(b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-T: 1\r\n\r\n").closed(),
    // Either side of HTTP/1.0.
    told(b"HTTP/1.0 200 OK\r\nX-A: 1\r\n\r\nto the end").closed(),
    told(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi").closed(),
    told(b"HTTP/1.0 404 Not Found\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi"),
    pair(b"GET / HTTP/1.0\r\nHost: HOST\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\nto the end").closed(),
    pair(b"GET / HTTP/1.0\r\nX-No-Host: 1\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").closed(),
    pair(b"POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi", b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi").closed(),
    pair(
        b"GET / HTTP/1.0\r\nHost: HOST\r\nConnection: Keep-Alive\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nhi",
    ),
    pair(b"GET / HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").closed(),
    // Responses before the response.
    told(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"),
    told(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nlink: </b>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"),
    told(
        b"HTTP/1.1 102 \r\nX-I: \xe9\r\n\r\nHTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 199 Odd\r\nX-I:\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    ),
    pair(
        b"POST / HTTP/1.1\r\nHost: HOST\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 100 Go On\r\nX-I: 1\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    )
    .early(),
    pair(
        b"POST / HTTP/1.1\r\nHost: HOST\r\nexpect: 100-Continue\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno",
    )
    .early(),
    pair(
        b"POST / HTTP/1.1\r\nHost: HOST\r\nExpect: 100-continue, x\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 417 No Such Expectation\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno",
    )
    .early()
    .closed(),
    // Responses while the request is still being sent.
    pair(
        b"POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 32768\r\n\r\nLARGE",
        b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno",
    )
    .early(),
    pair(
        b"POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n8000\r\nLARGE\r\n0\r\nX-T: 1\r\n\r\n",
        b"HTTP/1.1 200 Early\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-T: 1\r\n\r\n",
    )
    .early(),
    pair(
        b"POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 32768\r\n\r\nLARGE",
        b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\nto the end",
    )
    .early()
    .closed(),
];
