//! Content that plugins rewrite while it passes: event by event, whatever it is coded and framed in, and visibly broken off where it must be.

use std::{fs, io::Write};

use flowgate::config::OnFailure;
use flowgate_testkit::{
    Gate, Origin, Script, Setup, Trouble,
    client::{H2Answer, request, send_h2},
    guests,
    proxy::{Options, Proxy},
};
use http::Request;
use serde_json::{Value, json};

use crate::copilot;

const EVENTS: usize = 6;

fn with(settings: Value) -> Options {
    Options::new().component("chameleon", guests::CHAMELEON).plugin("chameleon", settings)
}

fn refusing(settings: Value) -> Options {
    with(settings).plugin_with("chameleon", |plugin| plugin.on_failure = OnFailure::Refuse)
}

/// Replaces one word in each event of an answer.
fn rewriting() -> Value {
    json!({ "response_body": "chunks", "framing": "sse-events", "word": ["wörd", "WORD"] })
}

/// What the chameleon entered into its journal, once everything has ended.
async fn journal(proxy: Proxy) -> String {
    let path = proxy.config().logs_dir.join("chameleon/journal");
    let _folder = proxy.stop().await;
    fs::read_to_string(path).unwrap_or_default()
}

/// Events in a coding, each flushed as servers do that stream; the end of the coding goes with the last.
fn coded(coding: &str) -> Vec<Vec<u8>> {
    fn pieces<W: Write>(mut coder: W, take: fn(&mut W) -> Vec<u8>, end: fn(W) -> Vec<u8>) -> Vec<Vec<u8>> {
        let mut pieces = Vec::new();
        for event in copilot::events(EVENTS) {
            coder.write_all(event.as_bytes()).unwrap();
            coder.flush().unwrap();
            pieces.push(take(&mut coder));
        }
        let last = end(coder);
        pieces.last_mut().unwrap().extend(last);
        pieces
    }
    let level = flate2::Compression::default();
    match coding {
        "gzip" => pieces(flate2::write::GzEncoder::new(Vec::new(), level), |c| std::mem::take(c.get_mut()), |c| c.finish().unwrap()),
        "deflate" => pieces(flate2::write::ZlibEncoder::new(Vec::new(), level), |c| std::mem::take(c.get_mut()), |c| c.finish().unwrap()),
        "br" => pieces(brotli::CompressorWriter::new(Vec::new(), 4096, 5, 20), |c| std::mem::take(c.get_mut()), |c| c.into_inner()),
        "zstd" => {
            pieces(zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap(), |c| std::mem::take(c.get_mut()), |c| c.finish().unwrap())
        }
        _ => copilot::events(EVENTS).into_iter().map(String::into_bytes).collect(),
    }
}

/// An origin that sends each event when the gate is opened for it.
async fn telling(setup: Setup, coding: &'static str) -> (Origin, Gate) {
    let gate = Gate::new();
    let origin = Origin::start(setup, {
        let gate = gate.clone();
        move |_| Script::events(coded(coding), &gate).field("content-encoding", coding)
    })
    .await;
    (origin, gate)
}

fn rewritten() -> Vec<String> {
    copilot::events(EVENTS).into_iter().map(|event| event.replace("wörd", "WORD")).collect()
}

#[tokio::test]
async fn each_event_is_rewritten_before_the_next_is_sent() {
    for coding in ["identity", "gzip", "deflate", "br", "zstd"] {
        let (origin, gate) = telling(Setup::http1(), coding).await;
        let target = format!("{}:443", copilot::HOST);
        let proxy = Proxy::start(with(rewriting()).resolving(&target, &origin)).await;
        let mut connection = proxy.client().h1(&target).await.unwrap();
        connection.send(copilot::completion(copilot::HOST, "1", b"{}")).await.unwrap();
        let mut answer = connection.begin("POST").await.unwrap();

        for event in rewritten() {
            gate.open();
            answer.until(event.as_bytes()).await.unwrap();
        }
        let response = answer.finish().await;

        assert_eq!((response.text(), response.is_complete()), (rewritten().concat(), true), "{coding}");
        assert_eq!(response.head.has("content-encoding"), coding == "identity", "{coding}");
        // What is recorded is what was forwarded.
        assert_eq!(proxy.records().only().await.text_at("/response/content"), Some(&*rewritten().concat()), "{coding}");
    }
}

#[tokio::test]
async fn each_event_is_rewritten_over_http2_too() {
    for coding in ["identity", "gzip", "br", "zstd"] {
        let (origin, gate) = telling(Setup::http2(), coding).await;
        let target = format!("{}:443", copilot::HOST);
        let proxy = Proxy::start(with(rewriting()).resolving(&target, &origin)).await;
        let mut connection = proxy.client().h2(&target).await.unwrap();
        let head = Request::post(format!("https://{}{}", copilot::HOST, copilot::COMPLETIONS)).body(()).unwrap();
        let (response, _) = connection.begin(head, true).await.unwrap();
        let mut answer = H2Answer::of(response).await.unwrap();

        for event in rewritten() {
            gate.open();
            answer.until(event.as_bytes()).await.unwrap();
        }
        let response = answer.finish().await;

        assert_eq!((String::from_utf8(response.content).unwrap(), response.trouble), (rewritten().concat(), None), "{coding}");
        assert_eq!(response.fields.contains_key("content-encoding"), coding == "identity", "{coding}");
    }
}

#[tokio::test]
async fn a_length_that_is_not_true_any_more_goes_and_trailers_stay() {
    let settings = json!({ "response_body": "chunks", "word": ["short", "rather long"], "on_body_end": "append", "tail": "!" });
    let origin = Origin::start(Setup::http1(), |seen| match seen.target.as_str() {
        "/trailers" => Script::ok("short").chunked().trailers(&[("x-sum", "1")]),
        _ => Script::ok("short").field("content-digest", "sha-256=:x:"),
    })
    .await;
    let proxy = Proxy::start(with(settings)).await;
    let mut connection = proxy.client().h1(&origin.authority()).await.unwrap();

    let plain = connection.exchange(request("GET", "/", "x", &[], b"")).await.unwrap();
    let trailed = connection.exchange(request("GET", "/trailers", "x", &[], b"")).await.unwrap();

    assert_eq!((plain.text(), trailed.text()), ("rather long!".to_owned(), "rather long!".to_owned()));
    assert_eq!((plain.head.get("transfer-encoding"), plain.head.has("content-length")), (Some("chunked"), false));
    assert!(!plain.head.has("content-digest"));
    assert!(String::from_utf8_lossy(&trailed.trailers).contains("x-sum: 1"), "{trailed:?}");
    assert_eq!(origin.journal().peers().len(), 1, "the origin's connection was kept");
}

#[tokio::test]
async fn uploads_are_rewritten_as_they_are_written() {
    let settings = json!({ "request_body": "chunks", "word": ["secret", "******"], "on_body_end": "append", "tail": "." });
    let origin = Origin::echoing_content().await;
    let proxy = Proxy::start(with(settings)).await;
    let mut connection = proxy.client().h1(&origin.authority()).await.unwrap();
    connection.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 21\r\n\r\n").await.unwrap();

    for (piece, passed) in [("a secret, ", "a ******, "), ("two secret", "two ******")] {
        connection.send(piece).await.unwrap();
        origin.journal().wait(passed, |requests, _| requests.first()?.content.ends_with(passed.as_bytes()).then_some(())).await;
    }

    connection.send("!").await.unwrap();

    assert_eq!(connection.response("POST").await.unwrap().text(), "a ******, two ******!.");
    let seen = &origin.after(1).await[0];
    assert_eq!((seen.get("transfer-encoding"), seen.has("content-length")), (Some("chunked"), false));
}

#[tokio::test]
async fn uploads_over_http2_are_rewritten_whatever_the_origin_speaks() {
    for setup in [Setup::http1(), Setup::http2()] {
        let settings = json!({ "request_body": "chunks", "word": ["secret", "******"] });
        let origin = Origin::start(setup, |_| Script::after_reading(|seen| Script::ok(seen.content.clone()))).await;
        let proxy = Proxy::start(with(settings)).await;
        // The client is offered what the origin speaks; this one takes HTTP/2 where it can.
        let Ok(mut connection) = proxy.client().h2(&origin.authority()).await else { continue };
        let head = Request::post(origin.root()).header("content-length", "8").body(()).unwrap();
        let (response, mut stream) = connection.begin(head, false).await.unwrap();
        send_h2(&mut stream, "a secret".into(), true).await.unwrap();

        let response = H2Answer::of(response).await.unwrap().finish().await;

        assert_eq!((&response.content[..], response.trouble), (&b"a ******"[..], None));
    }
}

#[tokio::test]
async fn a_message_without_content_is_nobodys_body() {
    let origin = Origin::start(Setup::http1(), |seen| match seen.target.as_str() {
        "/204" => Script::new(204),
        "/304" => Script::new(304),
        "/empty" => Script::ok(""),
        _ => Script::raw("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"),
    })
    .await;
    let proxy = Proxy::start(with(json!({ "request_body": "chunks", "response_body": "chunks", "journal": "journal" }))).await;
    let mut connection = proxy.client().h1(&origin.authority()).await.unwrap();

    for (method, target) in [("GET", "/204"), ("GET", "/304"), ("GET", "/empty"), ("HEAD", "/head")] {
        let response = connection.exchange(request(method, target, "x", &[], b"")).await.unwrap();
        assert!(response.is_complete() && response.content.is_empty(), "{target}: {response:?}");
        assert_eq!(response.head.get("content-length"), (target == "/head").then_some("7").or(response.head.get("content-length")));
    }

    drop(connection);
    let journal = journal(proxy).await;
    assert!(journal.contains("on-flow-end") && !journal.contains("on-body"), "{journal}");
}

#[tokio::test]
async fn a_plugin_that_finishes_ends_the_message_well() {
    let settings =
        json!({ "response_body": "chunks", "framing": "sse-events", "on_chunk": "finish", "at_chunk": 1, "tail": "data: end\n\n" });
    let expected = format!("{}data: end\n\n", copilot::events(EVENTS)[0]);
    let (origin, gate) = telling(Setup::http1(), "identity").await;
    let target = format!("{}:443", copilot::HOST);
    let proxy = Proxy::start(with(settings.clone()).resolving(&target, &origin)).await;
    let mut connection = proxy.client().h1(&target).await.unwrap();
    gate.open_for(2);

    let first = connection.exchange(copilot::completion(copilot::HOST, "1", b"{}")).await.unwrap();
    // The rest of the origin's response is nobody's: its connection goes, the client's stays.
    origin.journal().wait("the end of the origin's connection", |requests, _| requests[0].gone.clone()).await;
    gate.open_for(2);
    let second = connection.exchange(copilot::completion(copilot::HOST, "2", b"{}")).await.unwrap();

    assert_eq!((first.text(), first.is_complete()), (expected.clone(), true));
    assert_eq!((second.text(), second.is_complete()), (expected.clone(), true));

    let (origin, gate) = telling(Setup::http2(), "identity").await;
    let proxy = Proxy::start(with(settings).resolving(&target, &origin)).await;
    let mut connection = proxy.client().h2(&target).await.unwrap();
    gate.open_for(2);
    let asked = Request::post(format!("https://{}{}", copilot::HOST, copilot::COMPLETIONS)).body(bytes::Bytes::new()).unwrap();
    let response = connection.exchange(asked).await.unwrap();

    assert_eq!((String::from_utf8(response.content).unwrap(), response.trouble), (expected, None));
    origin.journal().wait("the end of the origin's stream", |requests, _| requests[0].gone.clone()).await;
}

#[tokio::test]
async fn an_upload_that_a_plugin_finishes_ends_well_and_the_connection_goes_on() {
    let settings = json!({ "request_body": "chunks", "on_chunk": "finish", "tail": "enough" });
    let origin = Origin::echoing_content().await;
    let proxy = Proxy::start(with(settings)).await;
    let mut connection = proxy.client().h1(&origin.authority()).await.unwrap();
    connection.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345").await.unwrap();
    origin.after(1).await;

    connection.send("67890").await.unwrap();
    let first = connection.response("POST").await.unwrap();
    let second = proxy.client().post(&origin.root(), &[], b"more").await.unwrap();

    assert_eq!((first.text(), second.text()), ("enough".to_owned(), "enough".to_owned()));
}

#[tokio::test]
async fn a_chunk_that_fails_passes_as_it_came_or_breaks_the_response_off() {
    let mut settings = rewriting();
    (settings["on_chunk"], settings["at_chunk"]) = (json!("trap"), json!(1));
    let unfiltered = [rewritten()[0].clone(), copilot::events(EVENTS)[1..].concat()].concat();
    for (setup, over_http2) in [(Setup::http1(), false), (Setup::http2(), true)] {
        for (options, passes) in [(with(settings.clone()), true), (refusing(settings.clone()), false)] {
            let (origin, gate) = telling(setup.clone(), "gzip").await;
            let target = format!("{}:443", copilot::HOST);
            let proxy = Proxy::start(options.resolving(&target, &origin)).await;
            let first = &rewritten()[0];
            gate.open();
            let (text, trouble) = if over_http2 {
                let mut connection = proxy.client().h2(&target).await.unwrap();
                let asked = Request::post(format!("https://{}{}", copilot::HOST, copilot::COMPLETIONS)).body(()).unwrap();
                let (response, _) = connection.begin(asked, true).await.unwrap();
                let mut answer = H2Answer::of(response).await.unwrap();
                answer.until(first.as_bytes()).await.unwrap();
                gate.open_for(EVENTS);
                let response = answer.finish().await;
                (String::from_utf8(response.content).unwrap(), response.trouble)
            } else {
                let mut connection = proxy.client().h1(&target).await.unwrap();
                connection.send(copilot::completion(copilot::HOST, "1", b"{}")).await.unwrap();
                let mut answer = connection.begin("POST").await.unwrap();
                answer.until(first.as_bytes()).await.unwrap();
                gate.open_for(EVENTS);
                let response = answer.finish().await;
                (response.text(), response.trouble)
            };

            match passes {
                true => assert_eq!((text, trouble), (unfiltered.clone(), None)),
                false => {
                    assert_eq!(text, rewritten()[0]);
                    assert!(trouble.is_some_and(|trouble| trouble != Trouble::Silent));
                }
            }
        }
    }
}

#[tokio::test]
async fn what_fails_before_the_head_is_sent_is_refused_with_502() {
    let table = [
        json!({ "response_body": "chunks", "on_body_start": "trap" }),
        json!({ "request_body": "chunks", "on_body_start": "trap" }),
        json!({ "request_body": "chunks", "on_chunk": "trap" }),
        json!({ "request_body": "chunks", "on_chunk": "spin" }),
        json!({ "request_body": "chunks", "on_body_end": "trap" }),
    ];
    for settings in table {
        let origin = Origin::echoing_content().await;
        let refused = Proxy::start(refusing(settings.clone())).await.client().post(&origin.root(), &[], b"content").await.unwrap();
        let passed = Proxy::start(with(settings.clone())).await.client().post(&origin.root(), &[], b"content").await.unwrap();

        assert_eq!(refused.status(), 502, "{settings}: {}", refused.text());
        assert_eq!((passed.status(), passed.text()), (200, "content".to_owned()), "{settings}");
    }
}

#[tokio::test]
async fn content_that_cannot_be_decoded_passes_unfiltered_or_not_at_all() {
    let settings = json!({ "response_body": "chunks", "word": ["plain", "other"] });
    let origin = Origin::start(Setup::http1(), |seen| match seen.target.as_str() {
        "/partial" => Script::new(206).data("plain").field("content-encoding", "gzip"),
        _ => Script::ok("plain").field("content-encoding", "rot13"),
    })
    .await;
    for target in ["/", "/partial"] {
        let passed = Proxy::start(with(settings.clone())).await.client().get(&origin.url(target)).await.unwrap();
        let refused = Proxy::start(refusing(settings.clone())).await.client().get(&origin.url(target)).await.unwrap();

        assert_eq!((passed.text(), passed.head.get("content-length")), ("plain".to_owned(), Some("5")), "{target}");
        assert_eq!(refused.status(), 502, "{target}");
    }
}

#[tokio::test]
async fn content_that_is_not_what_its_coding_says_is_broken_off() {
    let origin = Origin::start(Setup::http1(), |_| Script::ok("no gzip at all").field("content-encoding", "gzip")).await;
    let proxy = Proxy::start(with(json!({ "response_body": "chunks" }))).await;

    let response = proxy.client().get(&origin.root()).await;

    assert!(response.as_ref().map_or(true, |response| !response.is_complete()), "{response:?}");
}

#[tokio::test]
async fn a_request_that_is_not_what_its_coding_says_is_refused() {
    let origin = Origin::echoing_content().await;
    let whole = coded("gzip").concat();
    for content in [b"no gzip at all", &whole[..whole.len() / 2]] {
        let proxy = Proxy::start(with(json!({ "request_body": "chunks" }))).await;

        let refused = proxy.client().post(&origin.root(), &[("Content-Encoding", "gzip")], content).await.unwrap();

        assert_eq!((refused.status(), refused.head.get("proxy-status")), (400, Some("flowgate; error=http_request_error")));
        assert!(refused.text().contains("the content is not what its Content-Encoding says"), "{}", refused.text());
    }
}

#[tokio::test]
async fn a_client_that_leaves_breaks_the_body_off() {
    let mut settings = rewriting();
    settings["journal"] = json!("journal");
    let (origin, gate) = telling(Setup::http1(), "identity").await;
    let target = format!("{}:443", copilot::HOST);
    let proxy = Proxy::start(with(settings).resolving(&target, &origin)).await;
    let mut connection = proxy.client().h1(&target).await.unwrap();
    connection.send(copilot::completion(copilot::HOST, "1", b"{}")).await.unwrap();
    let mut answer = connection.begin("POST").await.unwrap();
    gate.open();
    answer.until(rewritten()[0].as_bytes()).await.unwrap();

    drop(connection);

    origin.journal().wait("the client's leaving", |requests, _| requests[0].gone.clone()).await;
    let journal = journal(proxy).await;
    let hooks: Vec<&str> = journal.lines().map(|line| line.split(' ').next().unwrap_or_default()).collect();
    assert_eq!(hooks, ["on-connect", "on-request", "on-response", "on-body-start", "on-chunk", "on-body-end", "on-flow-end"], "{journal}");
    assert!(journal.contains("chunks=1 broken=true"), "{journal}");
}

#[tokio::test]
async fn fifty_bodies_are_rewritten_at_once() {
    for singleton in [false, true] {
        let mut settings = rewriting();
        settings["singleton"] = json!(singleton);
        let (origin, gate) = telling(Setup::http1(), "gzip").await;
        let target = format!("{}:443", copilot::HOST);
        let proxy = Proxy::start(with(settings).resolving(&target, &origin)).await;
        let mut connections = Vec::new();
        for at in 0..50 {
            let mut connection = proxy.client().h1(&target).await.unwrap();
            connection.send(copilot::completion(copilot::HOST, &at.to_string(), b"{}")).await.unwrap();
            connections.push(connection);
        }
        // All of them have begun before any of them goes on.
        let mut answers = Vec::new();
        for connection in &mut connections {
            answers.push(connection.begin("POST").await.unwrap());
        }

        gate.open_for(50 * EVENTS);
        for answer in answers {
            assert_eq!(answer.finish().await.text(), rewritten().concat(), "singleton: {singleton}");
        }
    }
}

#[tokio::test]
async fn a_request_of_http10_keeps_its_length_and_passes_unfiltered() {
    let settings = json!({ "request_body": "chunks", "word": ["secret", "******"] });
    let origin = Origin::echoing_content().await;
    let asked = b"POST / HTTP/1.0\r\nHost: x\r\nContent-Length: 6\r\n\r\nsecret";

    let passed = Proxy::start(with(settings.clone())).await.client().h1(&origin.authority()).await.unwrap().exchange(asked).await.unwrap();
    let refused = Proxy::start(refusing(settings)).await.client().h1(&origin.authority()).await.unwrap().exchange(asked).await.unwrap();

    assert_eq!((passed.text(), refused.status()), ("secret".to_owned(), 502));
}
