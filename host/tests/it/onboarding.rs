//! What the proxy says about itself, to whoever sets a client up.

use base64::{Engine, prelude::BASE64_STANDARD};
use flowgate::tls::{Permitted, Root, rotation};
use flowgate_testkit::{
    Authority, Client, Response,
    client::request,
    proxy::{Options, Proxy},
};
use serde_json::{Value, json};

const BROWSER: (&str, &str) = ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8");

/// Straight to the proxy's own address, as a browser does that has no proxy set.
async fn straight(proxy: &Proxy, path: &str, host: &str, fields: &[(&str, &str)]) -> Response {
    proxy.client().to_proxy().await.unwrap().exchange(request("GET", path, host, fields, b"")).await.unwrap()
}

async fn started() -> Proxy {
    Proxy::without_plugins(Options::new()).await
}

#[tokio::test]
async fn the_page_has_the_address_that_the_reader_called() {
    let proxy = started().await;

    let page = straight(&proxy, "/", "proxy.corp.test:3128", &[BROWSER]).await;

    assert_eq!((page.status(), page.head.get("content-type")), (200, Some("text/html; charset=utf-8")));
    let (policy, page) = (page.head.get("content-security-policy").unwrap().to_owned(), page.text());
    assert!(policy.starts_with("default-src 'none'") && !page.contains("<script"), "{policy}");
    for expected in [
        "http://NAME:PASSWORD@proxy.corp.test:3128",
        "host <code>proxy.corp.test</code>",
        "<code>3128</code>",
        "/flowgate-ca.mobileconfig",
        "is not known from that",
        "certutil -user -addstore Root flowgate-ca.crt",
        "NODE_EXTRA_CA_CERTS",
    ] {
        assert!(page.contains(expected), "{expected} is not in {page}");
    }
    assert!(!page.contains("{{") && !page.contains("}}"), "{page}");
}

#[tokio::test]
async fn who_comes_through_the_proxy_is_told_so_and_as_whom() {
    let proxy = started().await;
    let table = [(proxy.client_as("ana<b>", "x"), Some("ana<b>")), (proxy.client(), None)];

    for (client, user) in table {
        let clear = client.send("http://flowgate.internal/whoami", "GET", &[], b"").await.unwrap();
        let mut tunnel = client.h1("flowgate.internal:443").await.unwrap();
        let secured = tunnel.exchange(request("GET", "/whoami", "flowgate.internal", &[], b"")).await.unwrap();
        let page = client.send("http://Flowgate.Internal/", "GET", &[BROWSER], b"").await.unwrap().text();

        let said = |response: &Response| serde_json::from_str::<Value>(&response.text()).unwrap();
        assert_eq!(said(&clear), json!({ "through_proxy": true, "user": user, "tls": false }));
        assert_eq!(said(&secured), json!({ "through_proxy": true, "user": user, "tls": true }));
        assert!(page.contains("Your client goes through the proxy"), "{page}");
        assert!(page.contains(&format!("@{}", proxy.address())), "{page}");
        if user.is_some() {
            assert!(page.contains("as ana&lt;b&gt;") && page.contains("http://ana%3Cb%3E:PASSWORD@"), "{page}");
        }
    }
}

#[tokio::test]
async fn who_is_not_admitted_reads_the_page_but_is_not_let_through_to_it() {
    let proxy = Proxy::without_plugins(Options::users([("ana", "secret")])).await;

    assert_eq!(straight(&proxy, "/", &proxy.address().to_string(), &[]).await.status(), 200);
    assert_eq!(proxy.client().send("http://flowgate.internal/", "GET", &[], b"").await.unwrap().status(), 407);
    assert_eq!(proxy.client_as("ana", "secret").send("http://flowgate.internal/", "GET", &[], b"").await.unwrap().status(), 200);
}

#[tokio::test]
async fn the_root_is_there_in_every_form() {
    let proxy = started().await;
    let pem = straight(&proxy, "/flowgate-ca.pem", "x.test", &[]).await;
    let der = straight(&proxy, "/flowgate-ca.crt", "x.test", &[]).await;
    let profile = straight(&proxy, "/flowgate-ca.mobileconfig", "x.test", &[]).await;

    assert_eq!(pem.text(), proxy.root_pem());
    let base64: String = proxy.root_pem().lines().filter(|line| !line.starts_with("-----")).collect();
    assert_eq!(BASE64_STANDARD.encode(&der.content), base64);
    assert_eq!(profile.head.get("content-type"), Some("application/x-apple-aspen-config"));
    assert!(profile.text().contains(&format!("<data>{base64}</data>")) && profile.text().contains("com.apple.security.root"));
    assert_eq!(straight(&proxy, "/flowgate-ca.mobileconfig", "x.test", &[]).await.text(), profile.text(), "it replaces itself");
}

#[tokio::test]
async fn while_roots_are_rotated_every_form_has_both() {
    let options = Options::new().change_in(|config, _| {
        Root::open_or_create(&config.state_dir).unwrap();
        rotation::begin(&config.state_dir, None).unwrap();
    });
    let proxy = Proxy::without_plugins(options).await;
    let next = rotation::next(&proxy.config().state_dir).unwrap().unwrap();
    let base64 = BASE64_STANDARD.encode(next.certificate_der());

    let pem = straight(&proxy, "/flowgate-ca.pem", "x.test", &[]).await.text();
    let der = straight(&proxy, "/flowgate-ca-next.crt", "x.test", &[]).await;
    let profile = straight(&proxy, "/flowgate-ca.mobileconfig", "x.test", &[]).await.text();
    let store = straight(&proxy, "/flowgate-ca.p12", "x.test", &[]).await;
    let page = straight(&proxy, "/", "x.test", &[BROWSER]).await.text();

    assert!(pem.starts_with(proxy.root_pem()) && pem.ends_with(next.certificate_pem()), "{pem}");
    assert_eq!(BASE64_STANDARD.encode(&der.content), base64);
    assert!(profile.contains(&base64) && profile.matches("com.apple.security.root").count() == 2, "{profile}");
    assert_eq!(store.head.get("content-type"), Some("application/x-pkcs12"));
    assert!(store.content.windows(next.certificate_der().len()).any(|part| part == &**next.certificate_der()));
    assert!(page.contains(&next.fingerprint()) && page.contains("/flowgate-ca-next.crt"), "{page}");
    let without = started().await;
    assert_eq!(straight(&without, "/flowgate-ca-next.crt", "x.test", &[]).await.status(), 404);
    assert!(!straight(&without, "/", "x.test", &[BROWSER]).await.text().contains("about to be replaced"));
}

#[tokio::test]
async fn a_limited_root_is_not_tried_where_it_may_not_sign() {
    let own = "<a href=\"https://flowgate.internal/\">";
    let limited = Options::new().change_in(|config, _| {
        Root::create(&config.state_dir, &Permitted::parse(&["inside.test".to_owned()]).unwrap()).unwrap();
    });

    let page = straight(&Proxy::without_plugins(limited).await, "/", "x.test", &[BROWSER]).await.text();

    assert!(!page.contains(own) && page.contains("signs for <code>inside.test</code> only"), "{page}");
    let page = straight(&started().await, "/", "x.test", &[BROWSER]).await.text();
    assert!(page.contains(own) && !page.contains("signs for") && !page.contains("<!--"), "{page}");
}

#[tokio::test]
async fn what_else_is_asked_is_answered_in_words() {
    let proxy = started().await;
    let own = proxy.address().to_string();

    assert_eq!(straight(&proxy, "/nothing", &own, &[]).await.status(), 404);
    let mut posting = Client::through(proxy.address(), Authority::shared().pem()).to_proxy().await.unwrap();
    let posted = posting.exchange(request("POST", "/", &own, &[], b"x")).await.unwrap();
    assert_eq!((posted.status(), posted.head.get("allow")), (405, Some("GET, HEAD")));
    let mut asking = Client::through(proxy.address(), Authority::shared().pem()).to_proxy().await.unwrap();
    let head = asking.exchange(request("HEAD", "/", &own, &[], b"")).await.unwrap();
    let whole = straight(&proxy, "/", &own, &[]).await.content.len();
    assert_eq!((head.head.get("content-length"), head.content.len()), (Some(&*whole.to_string()), 0));
    let text = straight(&proxy, "/", &own, &[("Accept", "*/*")]).await.text();
    assert!(text.contains(&format!("curl -x http://NAME:PASSWORD@{own}")), "{text}");
}
