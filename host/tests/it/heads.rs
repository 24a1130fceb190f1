//! What of a head is for one hop only. That everything else passes octet for octet, `corpus` holds.

use flowgate_testkit::{
    Origin, Script, Setup,
    proxy::{Options, Proxy},
};

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
