//! Where clients are taken to, and where not.

use std::net::{Ipv4Addr, SocketAddr};

use flowgate_testkit::{
    Origin, Script, Setup,
    proxy::{Options, Proxy},
};

/// For clients that may be anywhere.
fn open_to_all() -> Options {
    Options::new().change(|config| (config.listen, config.open) = (vec![(Ipv4Addr::UNSPECIFIED, 0).into()], true))
}

async fn clear_origin() -> Origin {
    Origin::start(Setup::clear(), |_| Script::raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")).await
}

#[tokio::test]
async fn clients_from_elsewhere_do_not_reach_this_machine_by_any_name_for_it() {
    let origin = clear_origin().await;
    let port = origin.address().port();
    let proxy = Proxy::without_plugins(open_to_all().change(|config| config.destinations.connect_ports = Some(Vec::new()))).await;

    for host in
        ["127.0.0.1", "localhost", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "2130706433", "0177.0.0.1", "127.1"]
    {
        let response = proxy.client().get(&format!("http://{host}:{port}/")).await.unwrap();
        // A host that is spelled like no address may also have none.
        let refused = [(403, Some("flowgate; error=http_request_denied")), (502, Some("flowgate; error=dns_error"))];
        assert!(refused.contains(&(response.status(), response.head.get("proxy-status"))), "{host}: {response:?}");
    }
    assert_eq!(origin.seen().len(), 0);
}

#[tokio::test]
async fn tunnels_to_this_machine_are_refused_before_they_are_granted() {
    let origin = clear_origin().await;
    let proxy =
        Proxy::with_hooks(open_to_all().change(|config| config.destinations.connect_ports = Some(Vec::new())), std::sync::Arc::new(()))
            .await;

    let refused = proxy.client().tunnel(&origin.address().to_string()).await.unwrap_err();

    assert_eq!(refused.refused_with(), Some(403));
}

#[tokio::test]
async fn what_is_allowed_or_written_to_an_address_is_reached() {
    let origin = clear_origin().await;
    let address = origin.address();
    let allowed = open_to_all().change(|config| config.destinations.allow = vec!["127.0.0.0/8".parse().unwrap()]);
    let fixed = open_to_all().resolving_to(&format!("a.test:{}", address.port()), address);

    for (options, host) in [(allowed, "127.0.0.1"), (fixed, "a.test"), (Options::new(), "127.0.0.1")] {
        let proxy = Proxy::without_plugins(options).await;
        let response = proxy.client().get(&format!("http://{host}:{}/", address.port())).await.unwrap();
        assert_eq!(response.status(), 200, "{host}");
    }
}

#[tokio::test]
async fn denied_networks_and_the_credentials_of_clouds_are_not_dialled() {
    let denied = Options::new().change(|config| config.destinations.deny = vec!["127.0.0.0/8".parse().unwrap()]);
    let proxy = Proxy::without_plugins(denied).await;

    for host in ["127.0.0.1", "169.254.169.254", "[fe80::1]", "[fd00:ec2::254]"] {
        let response = proxy.client().get(&format!("http://{host}/latest/meta-data/")).await.unwrap();
        assert_eq!(response.status(), 403, "{host}");
        assert!(response.text().contains("destinations.allow"), "{}", response.text());
    }
}

#[tokio::test]
async fn tunnels_for_others_lead_to_web_servers_only() {
    let proxy = Proxy::without_plugins(open_to_all()).await;

    for (port, granted) in [(25, false), (22, false), (9200, false), (443, true), (80, true), (8443, true)] {
        let tunnel = proxy.client().tunnel(&format!("a.test:{port}")).await;
        match tunnel {
            Ok(_) => assert!(granted, "{port}"),
            Err(error) => assert_eq!((granted, error.refused_with()), (false, Some(403)), "{port}"),
        }
    }
}

#[tokio::test]
async fn no_configuration_of_networks_opens_the_proxys_own_ports() {
    let own: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    let options = open_to_all().change(move |config| {
        config.listen = vec![own];
        config.destinations.allow = vec!["0.0.0.0/0".parse().unwrap()];
    });
    let proxy = Proxy::start(options.without_logger().admin()).await;

    for own in [proxy.address(), proxy.admin()] {
        let response = proxy.client().get(&format!("http://{own}/")).await.unwrap();
        assert_eq!(response.head.get("proxy-status"), Some("flowgate; error=proxy_loop_detected"), "{own}");
    }
}
