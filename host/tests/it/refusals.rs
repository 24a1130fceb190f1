//! What a client hears when there is nothing to hear from the origin.

use std::sync::Arc;

use flowgate_testkit::{
    Origin, Script, Setup,
    client::request,
    origin::Vacant,
    proxy::{Options, Proxy},
};

#[tokio::test]
async fn an_origin_that_refuses_connections_is_a_bad_gateway() {
    let vacant = Vacant::new().unwrap();
    let authority = format!("refusing.example.test:{}", vacant.address().port());
    let proxy = Proxy::without_plugins(Options::new().resolving_to(&authority, vacant.address())).await;

    let inside = proxy.client().h1(&authority).await.unwrap().exchange(request("GET", "/", "x", &[], b"")).await.unwrap();
    let absolute = proxy.client().get(&format!("http://{authority}/")).await.unwrap();

    for response in [inside, absolute] {
        assert_eq!((response.status(), response.head.get("proxy-status")), (502, Some("flowgate; error=connection_refused")));
        assert!(response.text().contains(&authority), "{}", response.text());
    }
}

#[tokio::test]
async fn a_refused_request_leaves_its_connection_to_the_next_where_it_can() {
    let vacant = Vacant::new().unwrap();
    let authority = format!("refusing.example.test:{}", vacant.address().port());
    let proxy = Proxy::without_plugins(Options::new().resolving_to(&authority, vacant.address())).await;
    let last = [
        ("HTTP/1.1", ("Content-Length", "3"), "with content to come"),
        ("HTTP/1.1", ("Connection", "close"), "that is the last"),
        ("HTTP/1.0", ("X-Kept", "no"), "of a client that does not know"),
    ];

    for (version, field, what) in last {
        let inside = (proxy.client().h1(&authority).await.unwrap(), "/".to_owned());
        let at_proxy = (proxy.client().to_proxy().await.unwrap(), format!("http://{authority}/"));
        for (mut connection, target) in [inside, at_proxy] {
            let none: &[(&str, &str)] = &[];
            for fields in [none, &[("Content-Length", "0")]] {
                let kept = connection.exchange(request("POST", &target, &authority, fields, b"")).await.unwrap();
                assert_eq!((kept.status(), kept.head.closes()), (502, false), "{target}");
            }

            let head = String::from_utf8(request("POST", &target, &authority, &[field], b"")).unwrap().replace("HTTP/1.1", version);
            let closed = connection.exchange(head).await.unwrap();

            assert_eq!((closed.status(), closed.head.closes()), (502, true), "{what} to {target}");
            assert!(connection.wire().fill().await.is_err(), "{what} to {target}");
        }
    }
}

#[tokio::test]
async fn who_speaks_another_protocol_is_told_at_once() {
    let proxy = Proxy::without_plugins(Options::new()).await;
    // Each waits for the other side's hello, and would wait as long as a head may take.
    let hellos: [(&[u8], &str); 5] = [
        (b"\x16\x03\x01\x02\x00\x01", "TLS"),
        (b"\x05\x01\x00", "SOCKS"),
        (b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00", "SOCKS"),
        (b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2\r\nGET http://a.test/ HTTP/1.1\r\n", "the PROXY protocol"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xc6\x33\x64\x02\x00\x01\x00\x02", "the PROXY protocol"),
    ];

    for (hello, name) in hellos {
        let mut connection = proxy.client().to_proxy().await.unwrap();
        let response = connection.exchange(hello.to_vec()).await.unwrap();

        assert_eq!((response.status(), response.head.closes()), (400, true), "{name}");
        assert!(response.text().contains(&format!("begins as {name} does")), "{}", response.text());
    }
}

#[tokio::test]
async fn what_is_wrong_is_said_once() {
    let proxy = Proxy::without_plugins(Options::new()).await;
    let mut connection = proxy.client().to_proxy().await.unwrap();

    let response = connection.exchange(request("GET", "http://ana:secret@a.test/", "a.test", &[], b"")).await.unwrap();

    assert_eq!(response.text(), "flowgate: the authority of the request is malformed: userinfo is not allowed\n");
}

#[tokio::test]
async fn an_origin_without_address_is_a_bad_gateway() {
    // RFC 6761 §6.4: names under `invalid` never resolve.
    let proxy = Proxy::without_plugins(Options::new()).await;

    let response = proxy.client().get("http://nowhere.invalid/").await.unwrap();

    assert_eq!((response.status(), response.head.get("proxy-status")), (502, Some("flowgate; error=dns_error")));
}

#[tokio::test]
async fn a_spliced_tunnel_is_refused_before_it_is_granted() {
    let vacant = Vacant::new().unwrap();
    let proxy = Proxy::with_hooks(Options::new(), Arc::new(())).await;

    let refused = proxy.client().tunnel(&vacant.address().to_string()).await.unwrap_err();

    assert_eq!(refused.refused_with(), Some(502));
}

#[tokio::test]
async fn an_origin_that_hangs_up_is_a_bad_gateway() {
    let silent = Origin::speaking(Setup::clear(), |_| async {}).await;
    let secure = Origin::start(Setup::http1(), |_| Script::raw("").close()).await;
    let proxy = Proxy::without_plugins(Options::new()).await;

    // Before TLS, and after the request.
    for authority in [silent.authority(), secure.authority()] {
        let mut connection = proxy.client().h1(&authority).await.unwrap();
        let response = connection.exchange(request("POST", "/", "x", &[], b"abc")).await.unwrap();
        assert_eq!(response.status(), 502, "{response:?}");
    }
}

#[tokio::test]
async fn nonsense_from_an_origin_is_not_passed_on() {
    let nonsense: [&str; 8] = [
        "SSH-2.0-OpenSSH\r\n\r\n",
        "HTTP/1.1 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-Fold: a\r\n b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-Space : a\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    ];
    for sent in nonsense {
        let origin = Origin::start(Setup::http1(), move |_| Script::raw(sent).close()).await;
        let proxy = Proxy::without_plugins(Options::new()).await;

        let response = proxy.client().get(&origin.root()).await.unwrap();

        assert_eq!((response.status(), response.head.get("proxy-status")), (502, Some("flowgate; error=http_protocol_error")), "{sent:?}");
    }
}

#[tokio::test]
async fn requests_at_the_proxy_that_it_cannot_take_are_refused() {
    let proxy = Proxy::without_plugins(Options::new()).await;
    let cases = [
        ("CONNECT a.test HTTP/1.1\r\nHost: a.test\r\n\r\n", 400),
        ("CONNECT a.test:0 HTTP/1.1\r\nHost: a.test\r\n\r\n", 400),
        ("CONNECT a.test:99999 HTTP/1.1\r\nHost: a.test\r\n\r\n", 400),
        ("CONNECT a.test:443/x HTTP/1.1\r\nHost: a.test\r\n\r\n", 400),
        ("CONNECT u@a.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\n", 400),
        ("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc", 400),
        ("GET ftp://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 400),
        ("GET http://u:p@a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 400),
        ("GET nonsense HTTP/1.1\r\nHost: a.test\r\n\r\n", 400),
        ("GET http://a.test/ HTTP/9.9\r\nHost: a.test\r\n\r\n", 400),
        ("\x16\x03\x01\r\n\r\n", 400),
    ];

    for (request, status) in cases {
        let response = proxy.client().to_proxy().await.unwrap().exchange(request).await.unwrap();
        assert_eq!(response.status(), status, "{request:?}: {}", response.text());
    }
}

#[tokio::test]
async fn a_request_to_the_proxy_itself_is_no_way_around() {
    let proxy = Proxy::without_plugins(Options::new()).await;
    let own = proxy.address().to_string();

    let looped = proxy.client().get(&format!("http://{own}/")).await.unwrap();
    let page = proxy.client().to_proxy().await.unwrap().exchange(request("GET", "/flowgate-ca.pem", &own, &[], b"")).await.unwrap();

    assert_eq!((looped.status(), looped.head.get("proxy-status")), (502, Some("flowgate; error=proxy_loop_detected")));
    assert_eq!((page.status(), page.text()), (200, proxy.root_pem().to_owned()));
}
