//! Plugins that try to split a message, or to move its end.

use flowgate_testkit::{
    Origin, Script, Setup,
    client::request,
    guests::CHAMELEON,
    proxy::{Options, Proxy},
};
use serde_json::{Value, json};

/// What a filter tries, and why it may not.
fn attempts() -> Vec<(&'static str, Value)> {
    let header = |name: &str, value: &str| json!({ "on_request": ["set-header", "add-header"], "on_response": ["set-header", "add-header"], "header": [name, value] });
    vec![
        ("CRLF in a value", header("x-split", "a\r\nx-injected: b")),
        ("LF in a value", header("x-split", "a\nx-injected: b")),
        ("a message in a value", header("x-split", "a\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison")),
        ("a NUL in a value", header("x-split", "a\u{0}")),
        ("a name with CRLF", header("x-split: a\r\nx-injected", "b")),
        ("a name with a space", header("content-length ", "0")),
        ("a length", header("Content-Length", "0")),
        ("a coding", header("transfer-encoding", "chunked")),
        ("the connection", header("connection", "close, content-length")),
        ("an upgrade", header("upgrade", "h2c")),
        ("trailers", header("trailer", "content-length")),
        ("no content where there is some", json!({ "on_response": "set-status", "status": 204 })),
        ("not modified where there is content", json!({ "on_response": "set-status", "status": 304 })),
        ("an interim status", json!({ "on_response": "set-status", "status": 100 })),
        ("a HEAD of a GET", json!({ "on_request": "set-method", "method": "HEAD" })),
        ("a CONNECT of a GET", json!({ "on_request": "set-method", "method": "CONNECT" })),
        ("a method with a line end", json!({ "on_request": "set-method", "method": "GET / HTTP/1.1\r\nx:" })),
        ("a path with a line end", json!({ "on_request": "set-path", "path": "/ HTTP/1.1\r\nx: b" })),
        ("a path with a space", json!({ "on_request": "set-path", "path": "/ HTTP/1.1" })),
        ("another host beside", json!({ "on_request": "add-header", "header": ["host", "other"] })),
        ("no host", json!({ "on_request": "remove-header", "header": ["host", ""] })),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn no_filter_can_split_or_reframe_a_message() {
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 2\r\n\r\nok";
    let origin = Origin::start(Setup::clear(), |_| Script::raw(ANSWER)).await;
    let asked = format!("GET / HTTP/1.1\r\nHost: {}\r\nX-A: 1\r\n\r\n", origin.authority());
    let mut options = Options::new().without_logger();
    for (at, (_, mut config)) in attempts().into_iter().enumerate() {
        let name = format!("splitter-{at:02}");
        config["name"] = json!(name);
        options = options.component(&name, CHAMELEON).plugin(&name, config);
    }
    let proxy = Proxy::start(options).await;
    let mut client = proxy.client().clear(&origin.authority()).await.unwrap();

    for _ in 0..2 {
        let response = client.exchange(&asked).await.unwrap();
        assert_eq!([response.head.octets(), &response.content[..]].concat(), ANSWER);
    }

    for seen in origin.after(2).await {
        assert_eq!((String::from_utf8_lossy(&seen.head), seen.content.is_empty()), (asked.as_str().into(), true));
    }
    for at in 0..attempts().len() {
        assert_eq!(proxy.failures(&format!("splitter-{at:02}")), Some(0), "each was asked, and told no: {}", attempts()[at].0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_stays_one_and_what_has_no_content_gets_none() {
    let origin = Origin::start(Setup::clear(), |seen| match seen.method.as_str() {
        "HEAD" => Script::raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
        _ => Script::raw("HTTP/1.1 204 No Content\r\n\r\n"),
    })
    .await;
    let config = json!({ "name": "changer", "on_request": "set-method", "method": "GET", "on_response": "set-status", "status": 200 });
    let proxy = Proxy::start(Options::new().without_logger().component("changer", CHAMELEON).plugin("changer", config)).await;
    let mut client = proxy.client().clear(&origin.authority()).await.unwrap();

    for (method, status) in [("HEAD", 200), ("GET", 204), ("HEAD", 200)] {
        let response = client.exchange(request(method, "/", &origin.authority(), &[], b"")).await.unwrap();
        assert_eq!((response.status(), response.content.is_empty(), &response.trouble), (status, true, &None), "{method}");
    }

    assert_eq!(origin.after(3).await.iter().map(|seen| &*seen.method).collect::<Vec<_>>(), ["HEAD", "GET", "HEAD"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_a_plugin_frames_itself() {
    let origin = Origin::saying("never").await;
    let cases = [
        (json!({ "status": 200, "body": "abc", "header": ["Content-Length", "1"] }), 200, "abc"),
        (json!({ "status": 204, "body": "", "header": ["transfer-encoding", "chunked"] }), 204, ""),
    ];
    for (mut config, status, content) in cases {
        (config["name"], config["on_request"]) = (json!("answerer"), json!("answer"));
        let options = Options::new().without_logger().component("answerer", CHAMELEON).plugin("answerer", config);
        let proxy = Proxy::start(options).await;
        for (method, expected) in [("GET", content), ("HEAD", "")] {
            let mut client = proxy.client().h1(&origin.authority()).await.unwrap();
            // So that all that comes is known: nothing follows it.
            client.send(request(method, "/", &origin.authority(), &[("Connection", "close")], b"")).await.unwrap();
            let head = client.head().await.unwrap();
            let (content, _) = client.wire().rest().await;
            assert_eq!((head.status(), &*content), (status, expected.as_bytes()), "{method}");
            assert!(status != 204 || !(head.has("content-length") || head.has("transfer-encoding")), "{head:?}");
        }
    }
    assert!(origin.seen().is_empty());
}
