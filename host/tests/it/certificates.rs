//! Certificates: those of origins are verified, those of the proxy verify.

use flowgate_testkit::{
    Client, Failure, Fault, Origin, Script, Seen, Setup,
    client::{H1, request},
    proxy::{Options, Proxy},
};

use crate::copilot;

#[tokio::test]
async fn a_bad_certificate_keeps_the_request_from_being_sent() {
    let words = |fault| match fault {
        Fault::Expired => "expired on 2020",
        Fault::NotYetValid => "not valid before 2090",
        Fault::WrongHost => "not for wronghost.example.test but for elsewhere.test",
        Fault::SelfSigned => "self-signed",
        Fault::UnknownIssuer => "its issuer, CN=Somebody Else's Root, is not trusted",
        Fault::ClientsOnly => "not for servers",
        Fault::SubjectOnly => "names no host",
        Fault::None => "",
    };
    let mut origins = Vec::new();
    let mut options = Options::new();
    for fault in Fault::ALL {
        let origin = Origin::start(Setup::tls().fault(fault), |_| Script::ok("never")).await;
        let name = format!("{fault:?}.example.test").to_lowercase();
        options = options.resolving(&format!("{name}:443"), &origin);
        origins.push((fault, name, origin));
    }
    let proxy = Proxy::start(options).await;

    for (fault, name, origin) in &origins {
        let mut connection = proxy.client().h1(&format!("{name}:443")).await.unwrap();
        let response = connection.exchange(copilot::completion(name, "1", b"secret")).await.unwrap();

        assert_eq!(response.status(), 502, "{fault:?}");
        let reason = format!("{:?} {}", response.head, response.text());
        assert!(reason.contains(words(*fault)), "{fault:?}: {:?} is not in {reason}", words(*fault));
        assert!(origin.seen().is_empty(), "{fault:?}: the request was sent");
    }

    let folder = proxy.stop().await;
    assert!(flowgate_testkit::records::Records::in_folder(folder.path().join("logs")).all().is_empty());
}

#[tokio::test]
async fn an_address_is_intercepted_under_its_own_name() {
    let origin = Origin::saying("here").await;
    let proxy = Proxy::without_plugins(Options::new()).await;

    let response = proxy.client().get(&format!("https://{}/", origin.address())).await.unwrap();

    assert_eq!(response.text(), "here");
}

#[tokio::test]
async fn an_ipv6_literal_is_reached_in_every_form() {
    let named = |seen: &Seen| Script::ok(format!("{}{}", seen.get("host").unwrap_or_default(), seen.authority));
    let (sealed, clear) = (Origin::start(Setup::tls(), named).await, Origin::start(Setup::clear(), named).await);
    let options = Options::new().resolving("::1:443", &sealed).resolving("::1:8443", &sealed).resolving("::1:80", &clear);
    let proxy = Proxy::without_plugins(options).await;
    let client = proxy.client();

    let mut answers = Vec::new();
    for url in ["https://[::1]/", "https://[::1]:8443/", "http://[::1]/"] {
        answers.push(client.get(url).await.unwrap().text());
    }
    let mut tunnel = client.clear("[::1]:80").await.unwrap();
    answers.push(tunnel.exchange(request("GET", "/", "[::1]", &[], b"")).await.unwrap().text());
    let over_http2 = http::Request::get("https://[::1]/").body(bytes::Bytes::new()).unwrap();
    let over_http2 = client.h2("[::1]:443").await.unwrap().exchange(over_http2).await.unwrap();
    answers.push(String::from_utf8(over_http2.content).unwrap());

    assert_eq!(answers, ["[::1]", "[::1]:8443", "[::1]", "[::1]", "[::1]"]);
}

#[tokio::test]
async fn a_client_without_server_name_gets_the_tunnels_name() {
    let origin = Origin::saying("here").await;
    let proxy = Proxy::without_plugins(Options::new()).await;

    let mut connection = proxy.client().without_server_name().h1(&origin.authority()).await.unwrap();
    let response = connection.exchange(request("GET", "/", &origin.authority(), &[], b"")).await.unwrap();

    assert_eq!(response.text(), "here");
}

#[tokio::test]
async fn long_and_odd_names_get_certificates_that_verify() {
    let label = "a".repeat(50);
    let names = [format!("{label}.{label}.example.test"), "xn--bcher-kva.example.test".to_owned(), "MiXed.Example.test".to_owned()];
    let origin = Origin::saying("here").await;
    let options = names.iter().fold(Options::new(), |options, name| options.resolving(&format!("{}:443", name.to_lowercase()), &origin));
    let proxy = Proxy::without_plugins(options).await;

    for name in names {
        let response = proxy.client().get(&format!("https://{name}/")).await;
        assert_eq!(response.unwrap().text(), "here", "{name}");
    }
}

#[tokio::test]
async fn tls_1_2_is_spoken_too() {
    let origin = Origin::saying("here").await;
    let proxy = Proxy::without_plugins(Options::new()).await;

    let mut connection = proxy.client().tls12().h1(&origin.authority()).await.unwrap();

    assert_eq!(connection.exchange(request("GET", "/", "x", &[], b"")).await.unwrap().text(), "here");
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_root_harms_nobody() {
    let origin = Origin::saying("here").await;
    let proxy = Proxy::without_plugins(Options::new()).await;

    let stranger = proxy.client().trusting_nobody().get(&origin.root()).await;
    let friend = proxy.client().get(&origin.root()).await;

    assert!(matches!(stranger, Err(Failure::Tls(_))), "{stranger:?}");
    assert_eq!(friend.unwrap().text(), "here");
    assert_eq!(origin.seen().len(), 1);
}

#[tokio::test]
async fn the_root_outlives_a_restart() {
    let origin = Origin::saying("here").await;
    let first = Proxy::start(Options::new().without_logger()).await;
    let root = first.root_pem().to_owned();

    let intercept = Options::new().without_logger().change(|config| config.intercept.push("*".to_owned()));
    let second = Proxy::start_in(first.stop().await, intercept).await.unwrap();

    let installed_before = Client::through(second.address(), &root);
    assert_eq!(installed_before.get(&origin.root()).await.unwrap().text(), "here");
}

#[tokio::test]
async fn leaves_do_not_hold_the_roots_key() {
    use x509_parser::prelude::*;
    let origin = Origin::saying("here").await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let (_, root) = x509_parser::pem::parse_x509_pem(proxy.root_pem().as_bytes()).unwrap();
    let root = root.parse_x509().unwrap();

    let mut connection: H1 = proxy.client().h1(&origin.authority()).await.unwrap();
    connection.exchange(request("GET", "/", "x", &[], b"")).await.unwrap();
    let der = connection.certificate().unwrap().to_vec();
    let (_, leaf) = X509Certificate::from_der(&der).unwrap();

    assert_ne!(leaf.public_key().raw, root.public_key().raw);
    assert_eq!(leaf.issuer().as_raw(), root.subject().as_raw());
}

#[tokio::test]
async fn hosts_that_the_root_may_not_sign_for_are_never_looked_into() {
    let origin = Origin::saying("here").await;
    let port = origin.address().port();
    let (inside, outside) = (format!("api.inside.test:{port}"), format!("api.outside.test:{port}"));
    let options = Options::new().resolving(&inside, &origin).resolving(&outside, &origin).change_in(|config, _| {
        let permitted = flowgate::tls::Permitted::parse(&["inside.test".to_owned()]).unwrap();
        flowgate::tls::Root::create(&config.state_dir, &permitted).unwrap();
    });
    let proxy = Proxy::without_plugins(options).await;
    let client = proxy.client().trusting_origins();

    let (mut first, mut second) = (client.h1(&inside).await.unwrap(), client.h1(&outside).await.unwrap());

    for connection in [&mut first, &mut second] {
        assert!(connection.exchange(request("GET", "/", "x.test", &[], b"")).await.is_ok());
    }
    let issuer = |connection: &H1| {
        let certificate = connection.certificate().unwrap().clone();
        let (_, seen) = x509_parser::parse_x509_certificate(&certificate).unwrap();
        seen.issuer().to_string()
    };
    assert!(
        issuer(&first).contains("flowgate root") && !issuer(&second).contains("flowgate root"),
        "{} {}",
        issuer(&first),
        issuer(&second)
    );
}
