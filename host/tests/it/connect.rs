//! Plugins that decide about tunnels before anything is said in them.

use flowgate::config::OnFailure;
use flowgate_testkit::{
    Origin, guests,
    proxy::{Options, Proxy},
};
use serde_json::{Value, json};

/// A proxy with one plugin, which sees hosts and has requests answered if their tunnels are opened.
async fn proxy(settings: Value) -> Proxy {
    let mut settings = settings;
    settings["on_request"] = json!(["add-header"]);
    Proxy::start(Options::new().component("chameleon", guests::CHAMELEON).plugin("chameleon", settings)).await
}

#[tokio::test]
async fn a_tunnel_that_may_proceed_is_intercepted_as_ever() {
    let origin = Origin::echoing_fields().await;
    let proxy = proxy(json!({})).await;

    let response = proxy.client().get(&origin.root()).await.unwrap();

    assert!(response.text().contains("x-chameleon: 1"), "{}", response.text());
}

#[tokio::test]
async fn a_spliced_tunnel_is_relayed_unseen() {
    let origin = Origin::echoing_fields().await;
    let proxy = proxy(json!({ "on_connect": "splice" })).await;

    let opened = proxy.client().get(&origin.root()).await;
    let sealed = proxy.client().trusting_origins().get(&origin.root()).await.unwrap();

    assert!(opened.is_err(), "the proxy's root was shown: {opened:?}");
    assert!(!sealed.text().contains("x-chameleon"), "{}", sealed.text());
}

#[tokio::test]
async fn a_rejected_tunnel_gets_the_plugins_response() {
    let origin = Origin::saying("never").await;
    let settings = json!({ "on_connect": "answer", "status": 403, "body": "not there", "header": ["x-by", "guest"], "hosts": ["local*"] });
    let proxy = proxy(settings).await;
    let client = proxy.client();
    let mut connection = client.to_proxy().await.unwrap();

    let response = connection.exchange(client.connect_request(&origin.authority())).await.unwrap();

    assert_eq!((response.status(), response.text(), response.head.get("x-by")), (403, "not there".to_owned(), Some("guest")));
    assert!(origin.journal().peers().is_empty(), "nobody was dialled");
}

#[tokio::test]
async fn a_failing_plugin_refuses_the_tunnel_if_it_shall() {
    let origin = Origin::saying("origin").await;
    for (policy, status) in [(OnFailure::Pass, None), (OnFailure::Refuse, Some(502))] {
        let options = Options::new()
            .component("chameleon", guests::CHAMELEON)
            .plugin("chameleon", json!({ "on_connect": "trap" }))
            .plugin_with("chameleon", move |plugin| plugin.on_failure = policy);
        let proxy = Proxy::start(options).await;

        let answered = proxy.client().get(&origin.root()).await;

        assert_eq!(answered.as_ref().err().and_then(flowgate_testkit::Failure::refused_with), status, "{policy:?}: {answered:?}");
        assert_eq!(answered.is_ok(), status.is_none());
    }
}
