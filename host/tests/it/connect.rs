//! Plugins that decide about tunnels before anything is said in them.

use flowgate::{config::OnFailure, tasks::Tasks};
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neighbours_are_served_while_plugins_spin_over_tunnels_and_chunks() {
    const SPINNING: usize = 4;
    const NEIGHBOURS: usize = 16;
    let origin = Origin::saying("served").await;
    let spins = |hook: &str, host: &str, name: &str| json!({ "name": name, hook: "spin", "response_body": "chunks", "hosts": [host] });
    let slow = |plugin: &mut flowgate::config::PluginConfig| plugin.call = std::time::Duration::from_millis(200);
    let options = Options::new()
        .component("tunnels", guests::CHAMELEON)
        .plugin("tunnels", spins("on_connect", "tunnels.test", "tunnels"))
        .plugin_with("tunnels", slow)
        .component("chunks", guests::CHAMELEON)
        .plugin("chunks", spins("on_chunk", "chunks.test", "chunks"))
        .plugin_with("chunks", slow);
    let hosts = ["tunnels.test:443", "chunks.test:443", "neighbour.test:443"];
    let proxy = Proxy::start(hosts.iter().fold(options, |options, host| options.resolving(host, &origin))).await;
    let tasks = Tasks::new();
    let asked = |host: &'static str| {
        let client = proxy.client();
        tasks.spawn(async move { client.get(&format!("https://{host}/")).await.map(|response| response.text()).ok() })
    };

    let spinning: Vec<_> = (0..SPINNING).flat_map(|_| [asked("tunnels.test"), asked("chunks.test")]).collect();
    let neighbours: Vec<_> = (0..NEIGHBOURS).map(|_| asked("neighbour.test")).collect();

    for answer in neighbours.into_iter().chain(spinning) {
        assert_eq!(answer.await.unwrap().as_deref(), Some("served"));
    }
    assert_eq!([proxy.failures("tunnels"), proxy.failures("chunks")], [Some(SPINNING as u64); 2]);
}
