//! Requests of plugins' own, to real origins over real TLS.

use flowgate::{
    config::{Grant, OnFailure},
    flow,
};
use flowgate_testkit::{
    Gate, Origin, Script, Setup,
    certificates::Fault,
    guests,
    proxy::{Options, Proxy},
};
use serde_json::{Value, json};

const SECOND: std::time::Duration = std::time::Duration::from_secs(1);

/// A proxy whose chameleon may fetch from those origins, and does those errands in each request.
fn fetching(origins: &[&Origin], settings: Value) -> Options {
    let granted: Vec<_> = origins.iter().map(|origin| flow::Origin::parse(origin.root().trim_end_matches('/')).unwrap()).collect();
    let options = Options::new().component("chameleon", guests::CHAMELEON).plugin("chameleon", settings);
    options.plugin_with("chameleon", |plugin| plugin.outbound = granted)
}

/// What came of the errands.
async fn told(proxy: Proxy) -> Vec<String> {
    let folder = proxy.stop().await;
    let text = std::fs::read_to_string(folder.path().join("logs/chameleon/errands")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_plugin_fetches_from_what_it_was_granted_only() {
    let client_origin = Origin::saying("origin").await;
    for setup in [Setup::tls(), Setup::http1(), Setup::clear()] {
        let answer = |seen: &flowgate_testkit::origin::Seen| Script::ok(format!("{} {}", seen.method, seen.target));
        let (granted, other) = (Origin::start(setup.clone(), answer).await, Origin::start(setup, answer).await);
        let errands = json!([
            { "fetch": ["GET", granted.url("/a?b"), 0, 0] },
            { "fetch": ["POST", granted.url("/c"), 70_000, 0] },
            { "fetch": ["GET", other.url("/"), 0, 0] },
            { "fetch": ["CONNECT", granted.url("/"), 0, 0] },
            { "fetch": ["GET", granted.url("/a b"), 0, 0] },
        ]);
        let proxy = Proxy::start(fetching(&[&granted], json!({ "errands": errands, "methods": ["GET"] }))).await;

        assert_eq!(proxy.client().get(&client_origin.root()).await.unwrap().text(), "origin");

        let seen = granted.seen();
        assert_eq!(seen.iter().map(|seen| seen.get("x-chameleon")).collect::<Vec<_>>(), [Some("fetches"); 2]);
        assert!(other.seen().is_empty());
        let told = told(proxy).await;
        assert_eq!(told[..3], ["Ok((200, \"GET /a?b\"))", "Ok((200, \"POST /c\"))", "Err(Denied)"]);
        assert!(told[3].contains("is not a method") && told[4].contains("is not a path"), "{told:?}");
    }
}

#[tokio::test]
async fn what_is_too_large_or_too_late_is_given_up() {
    let gate = Gate::new();
    let origin = Origin::start(Setup::tls(), {
        let gate = gate.clone();
        move |seen| match seen.target.as_str() {
            "/late" => Script::new(200).hold(&gate).data("late"),
            "/large" => Script::ok(vec![b'x'; (4 << 20) + 1]),
            _ => Script::ok("in time"),
        }
    })
    .await;
    let errands = json!([
        { "fetch": ["GET", origin.url("/late"), 0, 50] },
        { "fetch": ["GET", origin.url("/large"), 0, 0] },
        { "fetch": ["POST", origin.url("/"), (1 << 20) + 1, 0] },
        { "fetch": ["POST", origin.url("/"), 1 << 20, 0] },
    ]);
    let options = fetching(&[&origin], json!({ "errands": errands, "paths": ["/first"] }));
    let proxy = Proxy::start(options.plugin_with("chameleon", |plugin| (plugin.call, plugin.wall) = (SECOND, 30 * SECOND))).await;

    proxy.client().get(&origin.url("/first")).await.unwrap();
    gate.open();

    assert_eq!(told(proxy).await, ["Err(Timeout)", "Err(TooLarge)", "Err(TooLarge)", "Ok((200, \"in time\"))"]);
}

#[tokio::test]
async fn an_origin_that_is_not_trusted_gets_nothing() {
    let origin = Origin::start(Setup::tls().fault(Fault::UnknownIssuer), |_| Script::ok("never")).await;
    let client_origin = Origin::saying("origin").await;
    let errands = json!([{ "fetch": ["GET", origin.root(), 0, 0] }]);
    let proxy = Proxy::start(fetching(&[&origin], json!({ "errands": errands }))).await;

    proxy.client().get(&client_origin.root()).await.unwrap();

    let told = told(proxy).await;
    assert!(told[0].starts_with("Err(Failed(\"the certificate of") && origin.seen().is_empty(), "{told:?}");
}

#[tokio::test]
async fn a_fetch_counts_against_the_clock_of_its_call_only() {
    let gate = Gate::new();
    let origin = Origin::start(Setup::tls(), {
        let gate = gate.clone();
        move |seen| match seen.target.as_str() {
            "/never" => Script::new(200).hold(&gate),
            _ => Script::ok("origin"),
        }
    })
    .await;
    let errands = json!([{ "fetch": ["GET", origin.url("/never"), 0, 0] }]);
    let options = fetching(&[&origin], json!({ "errands": errands, "paths": ["/waits"] }));
    let options = options.plugin_with("chameleon", |plugin| {
        (plugin.on_failure, plugin.wall) = (OnFailure::Refuse, SECOND / 2);
    });
    let proxy = Proxy::start(options).await;

    let (target, client) = (origin.url("/waits"), proxy.client());
    let waiting = flowgate::tasks::Tasks::new().spawn(async move { client.get(&target).await.unwrap().status() });
    // Its neighbours pass meanwhile, through other instances and past this one.
    for _ in 0..16 {
        assert_eq!(proxy.client().get(&origin.url("/passes")).await.unwrap().status(), 200);
    }

    assert_eq!(waiting.await.unwrap(), 502);
    assert!(told(proxy).await.is_empty());
}

#[tokio::test]
async fn a_plugin_may_fetch_while_it_is_configured() {
    let origin = Origin::saying("settings").await;
    let errands = json!([{ "fetch": ["GET", origin.root(), 0, 0] }]);

    let proxy = Proxy::start(fetching(&[&origin], json!({ "first_errands": errands }))).await;

    // In each of the two instances that are compared.
    assert_eq!(told(proxy).await, ["Ok((200, \"settings\"))"; 2]);
}

#[tokio::test]
async fn nothing_is_fetched_by_a_plugin_that_names_no_origin() {
    let origin = Origin::saying("origin").await;
    let errands = json!([{ "fetch": ["GET", origin.root(), 0, 0] }]);
    let options = fetching(&[], json!({ "errands": errands })).plugin_with("chameleon", |plugin| plugin.grants = Grant::ALL.into());
    let proxy = Proxy::start(options).await;

    proxy.client().get(&origin.root()).await.unwrap();

    assert_eq!(told(proxy).await, ["Err(Denied)"]);
}

#[tokio::test]
async fn a_fetch_that_leads_back_to_the_proxy_is_refused() {
    // All of 127.0.0.0/8 is this machine: an address per process leaves the port free for whoever runs the same test.
    let id = std::process::id();
    let own = format!("127.77.{}.{}:8099", (id >> 8) & 255, id & 255);
    let origin = Origin::saying("origin").await;
    let targets = [format!("http://{own}"), "http://self.test:8099".to_owned()];
    let errands: Vec<Value> = targets.iter().map(|target| json!({ "fetch": ["GET", format!("{target}/"), 0, 0] })).collect();
    let granted = targets.iter().map(|target| flow::Origin::parse(target).unwrap()).collect();
    let options = fetching(&[], json!({ "errands": errands })).plugin_with("chameleon", move |plugin| plugin.outbound = granted);
    let listen = own.parse().unwrap();
    let options = options.resolving_to("self.test:8099", listen).change(move |config| config.listen = vec![listen]);
    let proxy = Proxy::start(options).await;

    assert_eq!(proxy.client().get(&origin.root()).await.unwrap().text(), "origin");

    assert_eq!(told(proxy).await, ["Err(Failed(\"the request leads back to this proxy\"))"; 2]);
}
