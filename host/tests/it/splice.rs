//! Tunnels that are not opened: relayed octet for octet, whatever is spoken in them.

use std::sync::Arc;

use flowgate_testkit::{
    Authority, Client, Origin, Script, Setup, Trouble,
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
async fn a_host_left_alone_is_not_opened_by_its_full_name_either() {
    let origin = Origin::saying("sealed").await;
    let full = origin.authority().replace(':', ".:");
    let options = Options::new().resolving(&full, &origin).change(|config| config.tunnel.push("localhost".to_owned()));
    let proxy = Proxy::without_plugins(options).await;
    let client = proxy.client().trusting_origins().with_server_name("localhost");

    let mut connection = client.h1(&full).await.expect("the origin's certificate is shown, not one of the proxy's");

    assert_eq!(connection.exchange(request("GET", "/", "localhost", &[], b"")).await.unwrap().text(), "sealed");
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

#[tokio::test]
async fn a_client_that_pins_a_certificate_is_let_through_if_that_is_wanted() {
    let origin = Origin::saying("pinned").await;
    let hour = std::time::Duration::from_secs(3600);
    let proxy = Proxy::start(Options::new().change(move |config| config.auto_splice = Some(hour))).await;
    // It trusts the origin's certificate and no other.
    let pinning = Client::through(proxy.address(), Authority::shared().pem()).with_user("ana", "");

    let [first, second, third] = [pinning.get(&origin.root()).await, pinning.get(&origin.root()).await, pinning.get(&origin.root()).await];
    let other = proxy.client().with_user("bob", "").get(&origin.root()).await.unwrap();

    assert!(first.is_err() && second.is_err(), "{first:?} {second:?}");
    assert_eq!((third.unwrap().text(), other.text()), ("pinned".into(), "pinned".into()));
}

#[tokio::test]
async fn a_client_that_pins_a_certificate_gets_nowhere_otherwise() {
    let origin = Origin::saying("pinned").await;
    let proxy = Proxy::start(Options::new()).await;
    let pinning = Client::through(proxy.address(), Authority::shared().pem());

    for _ in 0..4 {
        assert!(pinning.get(&origin.root()).await.is_err());
    }
}

#[tokio::test]
async fn clients_may_speak_tls_to_the_proxy_itself() {
    let origin = Origin::start(Setup::clear(), |_| Script::ok("inside")).await;
    let any = "127.0.0.1:0".parse().unwrap();
    let proxy = Proxy::start(Options::new().change(move |config| config.listen_tls.push(any))).await;
    let (client, itself) = (proxy.client(), proxy.addresses()[1].to_string());

    let wire = Client::direct().tunnel(&itself).await.unwrap();
    let mut wire = client.secure_over(wire, &itself, &["http/1.1"]).await.unwrap();
    wire.send(client.connect_request(&origin.authority())).await.unwrap();
    let established = wire.until(b"\r\n\r\n").await.unwrap();
    let answer = H1::new(wire).exchange(request("GET", "/", &origin.authority(), &[], b"")).await.unwrap();

    assert!(established.starts_with(b"HTTP/1.1 200"), "{established:?}");
    assert_eq!(answer.text(), "inside");
}

#[tokio::test]
async fn a_host_left_alone_is_not_opened_where_only_the_hello_names_it() {
    let origin = Origin::saying("sealed").await;
    let proxy = Proxy::without_plugins(Options::new().change(|config| config.tunnel.push("*.bank.test".to_owned()))).await;
    let (ours, theirs) = (proxy.client(), Client::through(proxy.address(), Authority::shared().pem()));

    let sealed = theirs.with_server_name("www.Bank.test").get(&origin.root()).await.unwrap();
    let opened = ours.with_server_name("www.shop.test").get(&origin.root()).await.unwrap();

    assert_eq!((sealed.text(), opened.text()), ("sealed".to_owned(), "sealed".to_owned()));
}
