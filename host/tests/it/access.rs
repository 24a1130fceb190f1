//! Who may use the proxy, and whom what is recorded for.

use flowgate::auth::Mode;
use flowgate_testkit::{
    Origin, Trouble,
    client::request,
    proxy::{Options, Proxy},
};

use crate::copilot;

#[tokio::test]
async fn credentials_stop_at_the_proxy() {
    let origin = Origin::echoing_fields().await;
    let proxy = Proxy::without_plugins(Options::users([("ana", "s3cret")])).await;

    let response = proxy.client_as("ana", "s3cret").get(&origin.root()).await.unwrap();

    assert_eq!((response.status(), response.text()), (200, format!("Host: {}\n", origin.authority())));
}

#[tokio::test]
async fn credentials_of_absolute_form_stop_too() {
    let origin = Origin::start(flowgate_testkit::Setup::clear(), |seen| flowgate_testkit::Script::ok(seen.field_lines())).await;
    let proxy = Proxy::without_plugins(Options::users([("ana", "s3cret")])).await;
    let client = proxy.client_as("ana", "s3cret");

    let response = client.send(&origin.root(), "GET", &[("Proxy-Connection", "keep-alive"), ("X-A", "1")], b"").await.unwrap();

    assert_eq!((response.status(), response.text()), (200, format!("Host: {}\nX-A: 1\n", origin.authority())));
}

#[tokio::test]
async fn nobody_is_dialled_before_credentials_verify() {
    let origin = Origin::saying("in").await;
    let proxy = Proxy::without_plugins(Options::users([("ana", "s3cret")])).await;
    let strangers = [
        proxy.client(),
        proxy.client_as("ana", "wrong"),
        proxy.client_as("bo", "s3cret"),
        proxy.client().with_authorization("Bearer s3cret"),
        proxy.client().with_authorization("Basic ?"),
    ];

    for stranger in strangers {
        let refused = stranger.tunnel(&origin.authority()).await.unwrap_err();
        let flowgate_testkit::Failure::Refused(response) = refused else { panic!("{refused}") };
        assert_eq!(response.status(), 407, "{stranger:?}");
        assert!(response.head.get("proxy-authenticate").unwrap().starts_with("Basic realm="), "{response:?}");
        let absolute = stranger.get(&format!("http://{}/", origin.authority())).await.unwrap();
        assert_eq!(absolute.status(), 407, "{stranger:?}");
    }

    assert_eq!(proxy.client_as("ana", "s3cret").get(&origin.root()).await.unwrap().text(), "in");
    assert_eq!(origin.journal().peers().len(), 1);
}

#[tokio::test]
async fn a_client_may_try_again_on_the_same_connection() {
    let origin = Origin::saying("in").await;
    let proxy = Proxy::without_plugins(Options::users([("ana", "s3cret")])).await;
    let (stranger, ana) = (proxy.client(), proxy.client_as("ana", "s3cret"));
    let mut connection = stranger.to_proxy().await.unwrap();
    let refused = connection.exchange(stranger.connect_request(&origin.authority())).await.unwrap();

    connection.send(ana.connect_request(&origin.authority())).await.unwrap();
    let admitted = connection.begin("CONNECT").await.unwrap().head;
    let secure = ana.secure_over(connection.into_wire(), &origin.authority(), &["http/1.1"]).await.unwrap();

    assert_eq!((refused.status(), admitted.status()), (407, 200));
    let response = flowgate_testkit::client::H1::new(secure).exchange(request("GET", "/", "x", &[], b"")).await.unwrap();
    assert_eq!(response.text(), "in");
}

#[tokio::test]
async fn ask_asks_once_and_believes() {
    let origin = Origin::saying("in").await;
    let proxy = Proxy::without_plugins(Options::new().change(|config| config.auth = Mode::Ask)).await;

    let silent = proxy.client().get(&origin.root()).await.unwrap_err();
    let named = proxy.client_as("ana", "whatever").get(&origin.root()).await.unwrap();

    assert_eq!((silent.refused_with(), named.text()), (Some(407), "in".to_owned()));
}

#[tokio::test]
async fn two_users_behind_one_address_stay_two() {
    const ROUNDS: usize = 10;
    let origin = Origin::saying("ok").await;
    let target = format!("{}:443", copilot::HOST);
    let proxy = Proxy::start(Options::new().resolving(&target, &origin)).await;
    let mut ana = proxy.client_as("ana", "a").h1(&target).await.unwrap();
    let mut bo = proxy.client_as("bo", "b").h1(&target).await.unwrap();
    let mut nobody = proxy.client().h1(&target).await.unwrap();

    for round in 0..ROUNDS {
        // Written to all before any is read: three exchanges are under way at once.
        for (name, connection) in [("ana", &mut ana), ("bo", &mut bo), ("nobody", &mut nobody)] {
            connection.send(copilot::completion(copilot::HOST, &format!("{name}-{round}"), b"{}")).await.unwrap();
        }
        for connection in [&mut bo, &mut nobody, &mut ana] {
            assert_eq!(connection.response("POST").await.unwrap().status(), 200);
        }
    }

    let records = proxy.records().after(3 * ROUNDS).await;
    assert_eq!(records.len(), 3 * ROUNDS);
    for record in records {
        let (asked_by, _) = record.request_field("x-request-id").unwrap().split_once('-').unwrap();
        let user = (asked_by != "nobody").then_some(asked_by);
        assert_eq!(record.text_at("/proxy-authorization"), user, "{}", record.name);
        let in_name = format!("_{}_127.0.0.1_{}_", copilot::MACHINE, user.unwrap_or("-"));
        assert!(record.name.contains(&in_name), "{in_name} is not in {}", record.name);
    }
}

#[tokio::test]
async fn a_password_is_recorded_nowhere() {
    let origin = Origin::saying("ok").await;
    let target = format!("{}:443", copilot::HOST);
    let proxy = Proxy::start(Options::new().resolving(&target, &origin)).await;

    let mut connection = proxy.client_as("ana", "s3:cret").h1(&target).await.unwrap();
    connection.exchange(copilot::completion(copilot::HOST, "1", b"{}")).await.unwrap();

    let record = proxy.records().only().await;
    assert_eq!(record.text_at("/proxy-authorization"), Some("ana"));
    assert!(!format!("{}{}", record.name, record.text).contains("cret"));
}

#[tokio::test]
async fn who_is_not_admitted_and_asks_nothing_more_is_closed() {
    let proxy = Proxy::without_plugins(Options::users([("ana", "s3cret")])).await;
    let asked = [
        "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\nConnection: close\r\n\r\n",
        "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n",
        "GET http://a.test/ HTTP/1.0\r\nHost: a.test\r\n\r\n",
    ];

    for asked in asked {
        let mut connection = proxy.client().to_proxy().await.unwrap();
        let refused = connection.exchange(asked).await.unwrap();

        assert_eq!((refused.status(), refused.head.closes()), (407, true), "{asked}");
        assert_eq!(connection.wire().rest().await.1, Trouble::Closed, "{asked}");
    }
}
