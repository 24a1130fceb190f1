//! Plugins on real flows: what a filter decides happens, and one that misbehaves harms its own flow only.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use flowgate::config::OnFailure;
use flowgate_testkit::{
    Gate, Origin, Script, Setup,
    client::request,
    guests,
    origin::Act,
    proxy::{Options, Proxy},
    within,
};
use http::Request;
use serde_json::json;

use crate::copilot;

#[tokio::test]
async fn redact_takes_fields_out_and_refuses_hosts() {
    let origin = Origin::echoing_fields().await;
    let forbidden = Origin::saying("never").await;
    let options = Options::new()
        .component("redact", guests::REDACT)
        .plugin("redact", json!({ "remove": ["x-secret"], "refuse": ["*.forbidden.test"] }))
        .resolving("a.forbidden.test:443", &forbidden);
    let proxy = Proxy::start(options).await;
    let fields = [("X-Secret", "1"), ("X-Kept", "2"), ("x-secret", "3")];

    let passed = proxy.client().send(&origin.root(), "GET", &fields, b"").await.unwrap();
    let refused = proxy.client().get("https://a.forbidden.test/").await.unwrap();

    assert_eq!(passed.text(), format!("Host: {}\nX-Kept: 2\n", origin.authority()));
    assert_eq!(refused.status(), 403);
    assert!(forbidden.seen().is_empty());
}

#[tokio::test]
async fn a_plugin_comes_and_goes_without_a_restart() {
    let origin = Origin::echoing_fields().await;
    let proxy = Proxy::start(Options::new().plugin("redact", json!({ "remove": ["x-secret"] }))).await;
    let mut connection = proxy.client().h1(&origin.authority()).await.unwrap();
    let asked = request("GET", "/", "x", &[("X-Secret", "1")], b"");
    let before = connection.exchange(&asked).await.unwrap().text();

    proxy.put_plugin("redact", guests::REDACT);
    proxy.until_plugins("redact in service", |plugins| plugins.iter().any(|plugin| plugin.name == "redact")).await;
    let with = connection.exchange(&asked).await.unwrap().text();

    proxy.take_plugin("redact");
    proxy.until_plugins("redact out of service", |plugins| plugins.iter().all(|plugin| plugin.name != "redact")).await;
    let after = connection.exchange(&asked).await.unwrap().text();

    assert_eq!((before, with, after), ("Host: x\nX-Secret: 1\n".into(), "Host: x\n".into(), "Host: x\nX-Secret: 1\n".into()));
}

#[tokio::test]
async fn a_plugin_sees_and_answers_what_it_subscribed_to_only() {
    let origin = Origin::saying("origin").await;
    let options = Options::new().component("chameleon", guests::CHAMELEON).plugin(
        "chameleon",
        json!({ "paths": ["/told*"], "on_request": "answer", "status": 418, "body": "short and stout", "header": ["x-by", "guest"] }),
    );
    let proxy = Proxy::start(options).await;

    let told = proxy.client().post(&origin.url("/told?x"), &[], b"content").await.unwrap();
    let other = proxy.client().get(&origin.url("/other")).await.unwrap();

    assert_eq!((told.status(), told.text(), told.head.get("x-by")), (418, "short and stout".to_owned(), Some("guest")));
    assert_eq!((other.status(), other.text()), (200, "origin".to_owned()));
    assert_eq!(origin.seen().len(), 1);
}

#[tokio::test]
async fn a_filters_answers_leave_the_connection_to_the_next_request() {
    let origin = Origin::saying("origin").await;
    for hook in ["on_request", "on_response"] {
        let settings = json!({ "paths": ["/told"], hook: "answer", "status": 418 });
        let proxy = Proxy::start(Options::new().component("chameleon", guests::CHAMELEON).plugin("chameleon", settings)).await;
        let mut connection = proxy.client().h1(&origin.authority()).await.unwrap();

        for (path, status) in [("/told", 418), ("/told", 418), ("/other", 200)] {
            let answer = connection.exchange(request("GET", path, &origin.authority(), &[], b"")).await.unwrap();
            assert_eq!((answer.status(), answer.head.closes()), (status, false), "{hook} {path}");
        }
    }
}

#[tokio::test]
async fn a_response_is_changed_before_the_client_sees_it() {
    let origin = Origin::start(Setup::tls(), |_| Script::ok("plain").field("X-A", "1").field("x-told", "no").field("X-B", "2")).await;
    let options = Options::new()
        .component("chameleon", guests::CHAMELEON)
        .plugin("chameleon", json!({ "on_response": ["set-header", "set-status"], "header": ["x-told", "yes"], "status": 203 }));
    let proxy = Proxy::start(options).await;

    let response = proxy.client().get(&origin.root()).await.unwrap();

    assert_eq!((response.status(), response.text()), (203, "plain".to_owned()));
    let names: Vec<_> = response.head.fields().into_iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    assert_eq!(names[..3], [(b"X-A".to_vec(), b"1".to_vec()), (b"x-told".to_vec(), b"yes".to_vec()), (b"X-B".to_vec(), b"2".to_vec())]);
}

#[tokio::test]
async fn a_held_body_is_replaced_whole() {
    let origin = Origin::echoing_content().await;
    let settings = json!({ "request_body": "whole", "response_body": "whole", "on_request": "set-body", "body": "told" });
    let options = Options::new().component("chameleon", guests::CHAMELEON).plugin("chameleon", settings);
    let proxy = Proxy::start(options).await;

    let response = proxy.client().post(&origin.root(), &[("content-type", "text/plain")], b"something longer").await.unwrap();

    assert_eq!((response.status(), response.text()), (200, "told".to_owned()));
    assert_eq!(origin.after(1).await[0].get("content-length"), Some("4"));
}

#[tokio::test]
async fn a_guest_that_misbehaves_harms_its_own_flow_only() {
    for misdeed in ["trap", "spin", "hog", "recurse", "sleep", "exit"] {
        for (policy, status) in [(OnFailure::Pass, 200), (OnFailure::Refuse, 502)] {
            let origin = Origin::saying("origin").await;
            let options = Options::new()
                .component("chameleon", guests::CHAMELEON)
                .plugin("chameleon", json!({ "paths": ["/bad"], "on_request": misdeed }))
                .plugin_with("chameleon", move |plugin| plugin.on_failure = policy);
            let proxy = Proxy::start(options).await;
            let mut connection = proxy.client().h1(&origin.authority()).await.unwrap();

            let bad = connection.exchange(request("GET", "/bad", "x", &[], b"")).await.unwrap();
            let good = proxy.client().get(&origin.url("/good")).await.unwrap();

            assert_eq!(bad.status(), status, "{misdeed}, {policy:?}: {}", bad.text());
            assert_eq!((good.status(), good.text()), (200, "origin".to_owned()), "{misdeed}");
            assert_eq!(origin.seen().iter().filter(|seen| seen.target == "/bad").count(), usize::from(status == 200), "{misdeed}");
        }
    }
}

#[tokio::test]
async fn an_observer_that_misbehaves_harms_nobody() {
    for misdeed in ["trap", "spin", "hog", "exit"] {
        let origin = Origin::saying("ok").await;
        let target = format!("{}:443", copilot::HOST);
        let options = Options::new()
            .resolving(&target, &origin)
            .component("chameleon", guests::CHAMELEON)
            .plugin("chameleon", json!({ "on_flow_end": misdeed }));
        let proxy = Proxy::start(options).await;
        let mut connection = proxy.client().h1(&target).await.unwrap();

        for at in 0..3 {
            let response = connection.exchange(copilot::completion(copilot::HOST, &at.to_string(), b"{}")).await.unwrap();
            assert_eq!((response.status(), response.text()), (200, "ok".to_owned()), "{misdeed}");
        }

        assert_eq!(proxy.records().after(3).await.len(), 3, "{misdeed}: the logger's records");
    }
}

#[tokio::test]
async fn a_plugin_that_must_load_and_cannot_stops_the_start() {
    let bad: [(&str, Vec<u8>, serde_json::Value); 4] = [
        ("no component", b"nonsense".to_vec(), json!({})),
        ("fails to configure", guests::CHAMELEON.to_vec(), json!({ "configure": "fail" })),
        ("traps while it configures", guests::CHAMELEON.to_vec(), json!({ "configure": "trap" })),
        ("a setting it does not know", guests::CHAMELEON.to_vec(), json!({ "unknown": 1 })),
    ];
    for (what, component, settings) in bad {
        let options = || Options::new().component("chameleon", &component).plugin("chameleon", settings.clone());

        let required = Proxy::try_start(options().plugin_with("chameleon", |plugin| plugin.required = true)).await;
        let wished = Proxy::try_start(options()).await;

        let error = required.err().map(|error| format!("{error:#}")).unwrap_or_else(|| panic!("{what}: it starts"));
        assert!(error.contains("chameleon"), "{what}: {error}");
        let wished = wished.unwrap_or_else(|error| panic!("{what}: {error:#}"));
        assert_eq!(wished.plugins().iter().map(|plugin| plugin.name.as_str()).collect::<Vec<_>>(), ["logger"], "{what}");
    }
}

#[tokio::test]
async fn records_of_a_plugin_stay_in_its_folder() {
    let origin = Origin::saying("ok").await;
    let paths = ["a/b.txt", "../escaped", "/tmp/escaped", "a/../../escaped", "nul\u{0}", "..", ""];
    let options = Options::new().component("chameleon", guests::CHAMELEON).plugin("chameleon", json!({ "records": paths }));
    let proxy = Proxy::start(options).await;

    proxy.client().get(&origin.root()).await.unwrap();
    let folder = proxy.stop().await;

    let written = flowgate_testkit::records::Records::in_folder(folder.path().join("logs")).paths();
    assert_eq!(written, [folder.path().join("logs/chameleon/a/b.txt")]);
    assert!(!folder.path().join("escaped").exists() && !folder.path().join("logs/escaped").exists());
}

#[tokio::test]
async fn an_origin_that_breaks_off_while_its_response_is_held_is_a_bad_gateway() {
    let cases =
        ["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhal\r\nx\r\n"];
    let target = format!("{}:443", copilot::HOST);
    for sent in cases {
        let origin = Origin::start(Setup::http1(), move |_| Script::raw(sent).close()).await;
        let options = Options::new().component("chameleon", guests::CHAMELEON).plugin("chameleon", json!({ "response_body": "whole" }));
        let proxy = Proxy::start(options.resolving(&target, &origin)).await;
        let mut client = proxy.client().h1(&target).await.unwrap();

        let told = client.exchange(copilot::completion(copilot::HOST, "1", b"{}")).await.unwrap();

        assert_eq!((told.status(), told.head.get("proxy-status")), (502, Some("flowgate; error=http_protocol_error")), "{sent}");
        assert_eq!(proxy.records().only().await.text_at("/flowgate/outcome"), Some("origin-failed"), "{sent}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_while_its_response_is_held_is_noticed() {
    // More than may be on its way: the origin is rid of it once it is being held.
    const HELD: usize = 300 << 10;
    let (gate, sent) = (Gate::new(), Arc::new(AtomicUsize::new(0)));
    let origin = Origin::start(Setup::http2(), {
        let sent = sent.clone();
        move |_| Script::new(200).data(vec![b'x'; HELD]).then(Act::Count(sent.clone())).hold(&gate)
    })
    .await;
    let holding = json!({ "response_body": "whole", "limit": 1 << 20 });
    let proxy = Proxy::start(Options::new().component("chameleon", guests::CHAMELEON).plugin("chameleon", holding)).await;
    let mut connection = proxy.client().h2(&origin.authority()).await.unwrap();
    let asked = connection.begin(Request::get(origin.root()).body(()).unwrap(), true).await.unwrap();
    within("the beginning", async {
        while sent.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;

    drop(asked);

    origin.journal().wait("the reset", |requests, _| requests[0].gone.clone()).await;
}
