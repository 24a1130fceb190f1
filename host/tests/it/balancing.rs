//! Connections that load balancers pass on: whose they are, and who may say so.

use flowgate_testkit::{
    Client, Failure, Origin, Script, Setup,
    client::{H1, request},
    proxy::{Options, Proxy},
};

use crate::copilot;

/// Balancers are everywhere on this machine.
fn balanced() -> Options {
    Options::new().change(|config| (config.proxy_protocol, config.open) = (vec!["127.0.0.0/8".parse().unwrap()], true))
}

/// Version 1, from that client to 198.51.100.2.
fn v1(client: &str) -> Vec<u8> {
    format!("PROXY TCP4 {client} 198.51.100.2 49152 443\r\n").into_bytes()
}

/// The same in version 2, with a part that nobody asked for.
fn v2(client: [u8; 4]) -> Vec<u8> {
    let addresses = [&client[..], &[198, 51, 100, 2, 0xc0, 0, 1, 0xbb], &[4, 0, 2, 0, 0]].concat();
    [b"\r\n\r\n\0\r\nQUIT\n", &[0x21, 0x11, 0, u8::try_from(addresses.len()).unwrap()][..], &addresses[..]].concat()
}

/// A connection to the proxy that begins with that.
async fn introduced(client: &Client, header: &[u8]) -> H1 {
    let mut wire = client.to_proxy().await.unwrap().into_wire();
    wire.send(header.to_vec()).await.unwrap();
    H1::new(wire)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balancer_says_whose_connection_it_is() {
    let origin = Origin::start(Setup::clear(), |_| Script::ok("ok")).await;
    let options = balanced().change(|config| config.listen_tls = vec![([127, 0, 0, 1], 0).into()]);
    let proxy = Proxy::start(options.resolving(&format!("{}:80", copilot::HOST), &origin)).await;
    let in_tls = Client::through(proxy.addresses()[1], proxy.root_pem());
    let target = format!("http://{}{}", copilot::HOST, copilot::COMPLETIONS);
    let post = request("POST", &target, copilot::HOST, &[("Content-Type", "application/json")], b"{}");

    for header in [v1("192.0.2.1"), v2([192, 0, 2, 2])] {
        let answer = introduced(&proxy.client(), &header).await.exchange(&post).await.unwrap();
        assert_eq!(answer.text(), "ok");
    }
    for header in [v1("192.0.2.3"), v2([192, 0, 2, 4])] {
        let wire = introduced(&in_tls, &header).await.into_wire();
        // Who names no host in TLS gets a certificate for the address that it connected to, which is the balancer's.
        let wire = in_tls.secure_over(wire, "198.51.100.2:443", &["http/1.1"]).await.unwrap();
        assert_eq!(H1::new(wire).exchange(&post).await.unwrap().text(), "ok");
    }
    // The balancer itself, as when it looks whether anybody is there.
    let answer = introduced(&proxy.client(), b"PROXY UNKNOWN\r\n").await.exchange(&post).await.unwrap();
    assert_eq!(answer.text(), "ok");

    let mut names: Vec<String> = proxy.records().after(5).await.into_iter().map(|record| record.name).collect();
    names.sort();
    for (name, client) in names.iter().zip(["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "127.0.0.1"]) {
        assert!(name.contains(&format!("_{client}_")), "{names:?}");
    }
}

#[tokio::test]
async fn from_a_balancer_the_header_is_required_and_from_others_it_is_refused() {
    let proxy = Proxy::without_plugins(balanced()).await;
    for octets in
        [&b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"[..], b"PROXY TCP4 192.0.2.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\0"]
    {
        let closed = introduced(&proxy.client(), octets).await.exchange(b"").await;
        assert!(matches!(closed, Err(Failure::Ended { .. })), "{octets:?}");
    }
    let elsewhere = Options::new().change(|config| (config.proxy_protocol, config.open) = (vec!["10.0.0.0/8".parse().unwrap()], true));
    let proxy = Proxy::without_plugins(elsewhere).await;
    for header in [v1("192.0.2.1"), v2([192, 0, 2, 1])] {
        let refused = introduced(&proxy.client(), &header).await.exchange(request("GET", "/", "a.test", &[], b"")).await.unwrap();
        assert_eq!(refused.status(), 400);
        assert!(refused.text().contains("begins as the PROXY protocol does"), "{}", refused.text());
    }
}

#[tokio::test]
async fn limits_count_by_the_client_that_the_balancer_names() {
    let proxy = Proxy::without_plugins(balanced().change(|config| config.limits.connections_per_client = 1)).await;
    let ask = request("GET", "/whoami", "a.test", &[], b"");
    let held = introduced(&proxy.client(), &v1("192.0.2.1")).await;

    let other = introduced(&proxy.client(), &v1("192.0.2.2")).await.exchange(&ask).await.unwrap();
    let mut same = introduced(&proxy.client(), &v1("192.0.2.1")).await;

    assert_eq!(other.status(), 200);
    assert_eq!(same.exchange(b"").await.unwrap().status(), 503);
    drop(held);
}

#[tokio::test]
async fn clients_of_a_balancer_on_this_machine_are_not_on_this_machine() {
    let origin = Origin::start(Setup::clear(), |_| Script::ok("ok")).await;
    let get = request("GET", &origin.root(), &origin.authority(), &[], b"");
    let proxy = Proxy::without_plugins(Options::new()).await;
    assert_eq!(proxy.client().to_proxy().await.unwrap().exchange(&get).await.unwrap().status(), 200);

    let proxy = Proxy::without_plugins(balanced()).await;
    let refused = introduced(&proxy.client(), &v1("192.0.2.1")).await.exchange(&get).await.unwrap();

    assert_eq!(refused.status(), 403);
    assert!(refused.text().contains("127.0.0.1 is this machine"), "{}", refused.text());
}
