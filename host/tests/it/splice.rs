//! Tunnels that are not opened: relayed octet for octet, whatever is spoken in them.

use std::sync::Arc;

use flowgate_testkit::{
    Client, Origin, Setup, Trouble,
    client::{H1, request},
    proxy::{Options, Proxy},
};

#[tokio::test]
async fn a_host_nobody_wants_to_see_is_not_opened() {
    let origin = Origin::saying("sealed").await;
    let proxy = Proxy::with_hooks(Options::new(), Arc::new(())).await;

    let through = Client::through(proxy.address(), proxy.root_pem());
    let opened = through.get(&origin.root()).await;
    let sealed = through.trusting_origins().get(&origin.root()).await.unwrap();

    assert!(opened.is_err(), "the proxy's root was shown: {opened:?}");
    assert_eq!(sealed.text(), "sealed");
}

#[tokio::test]
async fn a_host_left_alone_by_configuration_is_not_opened() {
    let origin = Origin::saying("sealed").await;
    let proxy = Proxy::without_plugins(Options::new().change(|config| config.tunnel.push("local*".to_owned()))).await;

    let opened = proxy.client().get(&origin.root()).await;
    let sealed = proxy.client().trusting_origins().get(&origin.root()).await.unwrap();

    assert!(opened.is_err(), "{opened:?}");
    assert_eq!(sealed.text(), "sealed");
}

#[tokio::test]
async fn a_server_that_speaks_first_is_heard() {
    let origin = Origin::speaking_first().await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let mut wire = proxy.client().tunnel(&origin.authority()).await.unwrap();

    let greeting = wire.until(b"\n").await.unwrap();
    wire.send("HELO\r\n").await.unwrap();

    assert_eq!((&greeting[..], &wire.until(b"\n").await.unwrap()[..]), (&b"220 ready\r\n"[..], &b"HELO\r\n"[..]));
}

#[tokio::test]
async fn an_unknown_protocol_passes_even_right_behind_the_connect() {
    let origin = Origin::speaking(Setup::clear(), |mut wire| async move {
        while let Ok(octets) = wire.some(usize::MAX).await {
            if wire.send(octets).await.is_err() {
                break;
            }
        }
    })
    .await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let client = proxy.client();
    let mut connection = client.to_proxy().await.unwrap();

    connection.send([&client.connect_request(&origin.authority())[..], b"\x00\x01\x02 SSH-ish \xff"].concat()).await.unwrap();
    let established = connection.head().await.unwrap();

    assert_eq!(established.status(), 200);
    assert_eq!(&connection.wire().exactly(13).await.unwrap()[..], b"\x00\x01\x02 SSH-ish \xff");
}

#[tokio::test]
async fn half_closing_passes_through() {
    let origin = Origin::speaking(Setup::clear(), |mut wire| async move {
        let (octets, _) = wire.rest().await;
        let _ = wire.send(format!("{} octets", octets.len())).await;
        let _ = wire.finish().await;
    })
    .await;
    let proxy = Proxy::with_hooks(Options::new(), Arc::new(())).await;
    let mut wire = proxy.client().tunnel(&origin.authority()).await.unwrap();

    wire.send(vec![0; 100_000]).await.unwrap();
    wire.finish().await.unwrap();

    assert_eq!(wire.rest().await, ("100000 octets".into(), Trouble::Closed));
}

#[tokio::test]
async fn http_in_clear_inside_a_tunnel_is_seen() {
    let origin = Origin::start(Setup::clear(), |seen| flowgate_testkit::Script::ok(seen.field_lines())).await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let mut connection: H1 = proxy.client().clear(&origin.authority()).await.unwrap();

    let response = connection.exchange(request("GET", "/p", "x", &[("Connection", "X-Hop"), ("X-Hop", "1")], b"")).await.unwrap();

    assert_eq!(response.text(), "Host: x\n", "what is for one hop was taken out: the tunnel was looked into");
}
