//! What is recorded, where, and how it lies there.

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use flowgate::config::{Config, OnFailure};
use flowgate_testkit::{
    Origin, Script, Setup,
    client::request,
    guests,
    proxy::{Options, Proxy},
    records::{Record, Records},
};
use http::Request;
use serde::Serialize;
use serde_json::{Serializer, Value, json, ser::PrettyFormatter};

use crate::copilot;

#[tokio::test]
async fn a_completion_is_recorded_whole() {
    let origin = Origin::start(Setup::http1(), |_| {
        Script::new(200)
            .field("Content-Type", "text/event-stream")
            .field("X-Twice", "1")
            .field("x-twice", "2")
            .chunked()
            .data("data: 你好\n\n")
    })
    .await;
    let target = format!("{}:443", copilot::HOST);
    let proxy = Proxy::start(Options::new().resolving(&target, &origin)).await;
    let mut connection = proxy.client_as("ana", "").h1(&target).await.unwrap();

    connection.exchange(copilot::completion(copilot::HOST, "id-1", "{\"prompt\":\"grüß\"}".as_bytes())).await.unwrap();

    let record = proxy.records().only().await;
    assert_eq!(record.category, "completions");
    assert_eq!(keys(&record.json, ""), ["proxy-authorization", "timestamp", "proxy-time-consumed", "request", "response"]);
    assert_eq!(keys(&record.json, "/request"), ["url", "method", "headers", "content"]);
    assert_eq!(keys(&record.json, "/response"), ["status_code", "headers", "content"]);
    assert_eq!(record.json["request"]["url"], format!("https://{}{}", copilot::HOST, copilot::COMPLETIONS));
    assert_eq!((&record.json["request"]["method"], &record.json["request"]["content"]), (&json!("POST"), &json!("{\"prompt\":\"grüß\"}")));
    assert_eq!((&record.json["response"]["status_code"], &record.json["response"]["content"]), (&json!(200), &json!("data: 你好\n\n")));
    assert_eq!(keys(&record.json, "/request/headers")[..3], ["Host", "authorization", "openai-organization"], "as sent, in order");
    assert_eq!(record.json["response"]["headers"]["X-Twice"], "1, 2");
    assert_eq!(record.text, pretty(&record.json));
}

#[tokio::test]
async fn a_records_name_has_five_parts() {
    let origin = Origin::saying("ok").await;
    let target = format!("{}:443", copilot::HOST);
    let proxy = Proxy::start(Options::new().resolving(&target, &origin)).await;

    proxy.client_as("ana", "").h1(&target).await.unwrap().exchange(copilot::completion(copilot::HOST, "1", b"{}")).await.unwrap();

    let record = proxy.records().only().await;
    let timestamp = record.text_at("/timestamp").unwrap();
    assert_eq!(record.name, format!("{}_4ce93ec3b2_127.0.0.1_ana_vscode-1.95.3.json", timestamp.replace(':', "-")));
}

#[tokio::test]
async fn the_url_decides_about_the_category() {
    let cases = [
        ("/telemetry", Some("telemetry")),
        ("/v1/completions?x=telemetry", Some("telemetry")),
        ("/chat/completions", Some("completions")),
        ("/search?q=completions", Some("completions")),
        ("/models", None),
        ("/Completions", None),
    ];
    let origin = Origin::saying("ok").await;
    let target = format!("{}:443", copilot::HOST);
    let proxy = Proxy::start(Options::new().resolving(&target, &origin)).await;
    let mut connection = proxy.client().h1(&target).await.unwrap();

    for (path, _) in cases {
        assert_eq!(connection.exchange(request("GET", path, copilot::HOST, &[], b"")).await.unwrap().status(), 200);
    }

    let folder = proxy.stop().await;
    let records = Records::in_folder(folder.path().join("logs")).all();
    for (path, category) in cases {
        let of_path = |record: &&Record| record.text_at("/request/url").is_some_and(|url| url.ends_with(path));
        assert_eq!(records.iter().find(of_path).map(|record| record.category.as_str()), category, "{path}");
    }
}

#[tokio::test]
async fn a_request_that_goes_wrong_behind_what_its_origin_has_had_is_recorded() {
    let fields: String = copilot::fields("1").into_iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let (target, path) = (format!("{}:443", copilot::HOST), copilot::COMPLETIONS);
    let begun = format!("POST {path} HTTP/1.1\r\nHost: {target}\r\n{fields}Transfer-Encoding: chunked\r\n\r\n6\r\nprompt\r\n");
    let cases = [
        ("x\r\n", 400, "prompt"),
        ("3\r\nabcd\r\n", 400, "promptabc"),
        ("0\r\nHost: b\r\n\r\n", 400, "prompt"),
        // Nothing more comes.
        ("", 408, "prompt"),
    ];
    for (rest, status, content) in cases {
        let origin = Origin::saying("never").await;
        let options = Options::new().resolving(&target, &origin);
        let stalls = |config: &mut Config| config.limits.content_idle = Duration::from_millis(500);
        let proxy = Proxy::start(if rest.is_empty() { options.change(stalls) } else { options }).await;
        let mut connection = proxy.client().h1(&target).await.unwrap();
        connection.send(&begun).await.unwrap();
        origin.journal().wait("the prompt", |requests, _| (requests.last()?.content == b"prompt").then_some(())).await;

        let told = connection.exchange(rest).await.unwrap();

        let record = proxy.records().only().await;
        assert_eq!((told.status(), record.text_at("/flowgate/outcome")), (status, Some("client-aborted")), "{rest:?}");
        assert_eq!(record.text_at("/request/content"), Some(content), "{rest:?}");
    }
}

#[tokio::test]
async fn a_flow_that_a_plugin_ends_is_recorded_once_its_origin_has_had_it() {
    let (target, origin) = (format!("{}:443", copilot::HOST), Origin::saying("ok").await);
    let cases = [
        (json!({ "on_request": "trap" }), None),
        (json!({ "on_request": "disconnect" }), None),
        (json!({ "request_body": "chunks", "on_body_end": "trap" }), Some("plugin chameleon failed in ")),
        (json!({ "on_response": "trap" }), Some("plugin chameleon failed in on-response")),
        (json!({ "on_response": "disconnect" }), Some("a plugin closed the client's stream")),
        (json!({ "response_body": "chunks", "on_body_start": "trap" }), Some("plugin chameleon failed in ")),
    ];
    for (settings, cause) in cases {
        let options = Options::new().component("chameleon", guests::CHAMELEON).plugin("chameleon", settings.clone());
        let refusing = options.plugin_with("chameleon", |plugin| plugin.on_failure = OnFailure::Refuse);
        let proxy = Proxy::start(refusing.resolving(&target, &origin)).await;
        let mut connection = proxy.client().h1(&target).await.unwrap();

        let told = connection.exchange(copilot::completion(copilot::HOST, "1", b"prompt")).await;

        assert!(told.is_err() || told.is_ok_and(|refused| refused.status() == 502), "{settings}");
        let folder = proxy.stop().await;
        let records = Records::in_folder(folder.path().join("logs")).all();
        assert_eq!(records.len(), usize::from(cause.is_some()), "{settings}: {records:?}");
        for record in records {
            assert_eq!(record.text_at("/flowgate/outcome"), Some("origin-failed"), "{settings}");
            assert!(record.text_at("/flowgate/cause").unwrap().starts_with(cause.unwrap()), "{settings}: {record:?}");
        }
    }
}

#[tokio::test]
async fn requests_in_clear_and_over_http2_are_recorded_alike() {
    let clear = Origin::start(Setup::clear(), |_| Script::ok("ok")).await;
    let secure = Origin::saying("ok").await;
    let (http, https) = (format!("{}:80", copilot::HOST), format!("{}:443", copilot::HOST));
    let proxy = Proxy::start(Options::new().resolving(&http, &clear).resolving(&https, &secure)).await;
    let client = proxy.client_as("ana", "pw");

    client.get(&format!("http://{}/completions", copilot::HOST)).await.unwrap();
    let over_http2 = Request::get(format!("https://{}/completions", copilot::HOST)).body(bytes::Bytes::new()).unwrap();
    client.h2(&https).await.unwrap().exchange(over_http2).await.unwrap();

    let mut records = proxy.records().after(2).await;
    records.sort_by_key(|record| record.text_at("/request/url").map(str::len));
    for (record, scheme) in records.iter().zip(["http", "https"]) {
        assert_eq!(record.json["request"]["url"], format!("{scheme}://{}/completions", copilot::HOST));
        assert_eq!(record.text_at("/proxy-authorization"), Some("ana"));
        let headers = record.json["request"]["headers"].as_object().unwrap();
        let pseudo_or_proxy = |name: &&String| name.starts_with(':') || name.to_lowercase().starts_with("proxy-");
        assert_eq!(headers.keys().find(pseudo_or_proxy), None);
    }
}

#[tokio::test]
async fn nobody_else_can_read_them() {
    let origin = Origin::saying("ok").await;
    let target = format!("{}:443", copilot::HOST);
    let proxy = Proxy::start(Options::new().resolving(&target, &origin)).await;

    proxy.client().h1(&target).await.unwrap().exchange(copilot::completion(copilot::HOST, "1", b"{}")).await.unwrap();

    let record = proxy.records().only().await;
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(record.path.as_path()), mode(record.path.parent().unwrap())), (0o600, 0o700));
}

#[tokio::test]
async fn names_cannot_be_steered_by_what_clients_send() {
    let hostile = ["../../../x", "a/b", "..", ".hidden", "nul\u{0}", "line\nfeed", "con", "ü/ß", &"x".repeat(300), "a\\b", "*?<>|", ""];
    let origin = Origin::saying("ok").await;
    let target = format!("{}:443", copilot::HOST);
    let proxy = Proxy::start(Options::new().resolving(&target, &origin)).await;

    for text in hostile {
        let field: String = text.chars().filter(|sign| !sign.is_control()).collect();
        let fields = [("vscode-machineid", field.as_str()), ("editor-version", field.as_str())];
        let mut connection = proxy.client_as(text, "").h1(&target).await.unwrap();
        let response = connection.exchange(request("POST", copilot::COMPLETIONS, copilot::HOST, &fields, b"{}")).await.unwrap();
        assert_eq!(response.status(), 200, "{text:?}");
    }

    for record in proxy.records().after(hostile.len()).await {
        assert_eq!((record.category.as_str(), record.path.parent()), ("completions", Some(&*proxy.config().logs_dir.join("completions"))));
        assert!(record.name.len() <= 255 && !record.name.starts_with('.') && record.name.ends_with(".json"), "{:?}", record.name);
        assert!(!record.name.contains(|sign: char| sign.is_control() || "/\\".contains(sign)), "{:?}", record.name);
    }
    let outside = fs::read_dir(proxy.folder()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(outside.into_iter().all(|name| ["logs", "state", "plugins", "origins.pem"].contains(&&*name.to_string_lossy())));
}

#[tokio::test]
async fn content_that_is_no_text_loses_no_record() {
    let octets: &[u8] = b"\x89PNG\r\n\xff\xfe\0broken";
    let origin = Origin::start(Setup::http1(), move |seen| match seen.get("x-which") {
        Some("latin1") => Script::ok(&b"gr\xfc\xdfe"[..]).field("content-type", "text/plain; charset=iso-8859-1"),
        Some("broken gzip") => Script::ok(octets).field("content-encoding", "gzip"),
        Some("unknown coding") => Script::ok(octets).field("content-encoding", "x-none-such"),
        _ => Script::ok(octets),
    })
    .await;
    let target = format!("{}:443", copilot::HOST);
    let proxy = Proxy::start(Options::new().resolving(&target, &origin)).await;
    let mut connection = proxy.client().h1(&target).await.unwrap();
    let cases = ["binary", "latin1", "broken gzip", "unknown coding"];

    for case in cases {
        let fields = [("x-which", case)];
        let response = connection.exchange(request("POST", copilot::COMPLETIONS, copilot::HOST, &fields, octets)).await.unwrap();
        assert!(response.is_complete());
    }

    let records = proxy.records().after(cases.len()).await;
    for case in cases {
        let record = records.iter().find(|record| record.request_field("x-which") == Some(case)).expect(case);
        assert!(record.text_at("/response/content").is_some_and(|content| !content.is_empty()), "{case}: {}", record.text);
    }
}

#[tokio::test]
async fn equal_moments_overwrite_nothing() {
    const STREAMS: usize = 50;
    let origin = Origin::saying("ok").await;
    let target = format!("{}:443", copilot::HOST);
    let proxy = Proxy::start(Options::new().resolving(&target, &origin)).await;
    let mut connection = proxy.client().h2(&target).await.unwrap();

    let mut pending = Vec::new();
    for _ in 0..STREAMS {
        let head = Request::get(format!("https://{}/completions", copilot::HOST)).body(()).unwrap();
        pending.push(connection.begin(head, true).await.unwrap().0);
    }
    for response in pending {
        assert_eq!(flowgate_testkit::client::H2Answer::of(response).await.unwrap().finish().await.trouble, None);
    }

    assert_eq!(proxy.records().after(STREAMS).await.len(), STREAMS);
}

fn keys(json: &Value, pointer: &str) -> Vec<String> {
    json.pointer(pointer).unwrap().as_object().unwrap().keys().cloned().collect()
}

/// As Python's `json.dumps(value, indent=4, ensure_ascii=False)` has it.
fn pretty(json: &Value) -> String {
    let mut out = Vec::new();
    json.serialize(&mut Serializer::with_formatter(&mut out, PrettyFormatter::with_indent(b"    "))).unwrap();
    String::from_utf8(out).unwrap()
}
