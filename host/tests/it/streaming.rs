//! Time: what arrives is passed on when it arrives, and recorded none the less.

use std::io::Write;

use brotli::CompressorWriter;
use flate2::{Compression, write::GzEncoder};
use flowgate_testkit::{
    Gate, Origin, Script, Setup,
    client::{H2Answer, request},
    proxy::{Options, Proxy},
};
use http::Request;

use crate::copilot;

const EVENTS: usize = 20;

/// An origin that sends each event when the gate is opened for it.
async fn telling(setup: Setup) -> (Origin, Gate) {
    let gate = Gate::new();
    let origin = Origin::start(setup, {
        let gate = gate.clone();
        move |_| Script::events(copilot::events(EVENTS), &gate)
    })
    .await;
    (origin, gate)
}

#[tokio::test]
async fn each_event_passes_before_the_next_is_sent() {
    let (origin, gate) = telling(Setup::http1()).await;
    let target = format!("{}:443", copilot::HOST);
    let proxy = Proxy::start(Options::new().resolving(&target, &origin)).await;
    let mut connection = proxy.client_as("ana", "").h1(&target).await.unwrap();
    connection.send(copilot::completion(copilot::HOST, "1", b"{\"stream\":true}")).await.unwrap();
    let mut answer = connection.begin("POST").await.unwrap();

    let mut told = String::new();
    for event in copilot::events(EVENTS) {
        gate.open();
        told.push_str(&event);
        answer.until(event.as_bytes()).await.unwrap();
        assert_eq!(answer.incoming.content, told.as_bytes());
    }
    assert!(answer.finish().await.is_complete());

    assert_eq!(proxy.records().only().await.text_at("/response/content"), Some(&*told));
}

#[tokio::test]
async fn each_event_passes_over_http2_too() {
    let (origin, gate) = telling(Setup::http2()).await;
    let target = format!("{}:443", copilot::HOST);
    let proxy = Proxy::start(Options::new().resolving(&target, &origin)).await;
    let mut connection = proxy.client().h2(&target).await.unwrap();
    let head = Request::post(format!("https://{}{}", copilot::HOST, copilot::COMPLETIONS)).body(()).unwrap();
    let (response, _) = connection.begin(head, true).await.unwrap();
    let mut answer = H2Answer::of(response).await.unwrap();

    for event in copilot::events(EVENTS) {
        gate.open();
        answer.until(event.as_bytes()).await.unwrap();
    }
    let response = answer.finish().await;

    let told = copilot::events(EVENTS).concat();
    assert_eq!((&response.content[..], response.trouble), (told.as_bytes(), None));
    assert_eq!(proxy.records().only().await.text_at("/response/content"), Some(&*told));
}

/// Events in that coding as servers send them that flush after each: what is written for each, and what ends it all.
fn flushed(coding: &str) -> Vec<Vec<u8>> {
    fn pieces<W: Write>(mut coder: W, written: impl Fn(&mut W) -> &mut Vec<u8>, end: impl FnOnce(W) -> Vec<u8>) -> Vec<Vec<u8>> {
        let mut pieces = Vec::new();
        for event in copilot::events(EVENTS) {
            coder.write_all(event.as_bytes()).unwrap();
            coder.flush().unwrap();
            pieces.push(std::mem::take(written(&mut coder)));
        }
        pieces.push(end(coder));
        pieces
    }
    match coding {
        "gzip" => pieces(GzEncoder::new(Vec::new(), Compression::default()), GzEncoder::get_mut, |coder| coder.finish().unwrap()),
        "br" => pieces(CompressorWriter::new(Vec::new(), 4096, 5, 20), CompressorWriter::get_mut, CompressorWriter::into_inner),
        "zstd" => pieces(zstd::Encoder::new(Vec::new(), 3).unwrap(), zstd::Encoder::get_mut, |coder| coder.finish().unwrap()),
        other => panic!("no coding {other}"),
    }
}

#[tokio::test]
async fn each_event_passes_compressed_too() {
    for coding in ["gzip", "br", "zstd"] {
        let (gate, pieces) = (Gate::new(), flushed(coding));
        let origin = Origin::start(Setup::http1(), {
            let (gate, pieces) = (gate.clone(), pieces.clone());
            move |_| Script::events(pieces.clone(), &gate).field("content-encoding", coding)
        })
        .await;
        let target = format!("{}:443", copilot::HOST);
        let proxy = Proxy::start(Options::new().resolving(&target, &origin)).await;
        let mut connection = proxy.client().h1(&target).await.unwrap();
        connection.send(copilot::completion(copilot::HOST, "1", b"{}")).await.unwrap();
        let mut answer = connection.begin("POST").await.unwrap();

        let mut told = Vec::new();
        for piece in &pieces {
            gate.open();
            told.extend_from_slice(piece);
            // All of it: what two events are coded as may be the same octets.
            answer.until(&told).await.unwrap();
            assert_eq!(answer.incoming.content.len(), told.len(), "{coding}");
        }

        assert!(answer.finish().await.is_complete(), "{coding}");
        assert_eq!(proxy.records().only().await.text_at("/response/content"), Some(&*copilot::events(EVENTS).concat()), "{coding}");
    }
}

#[tokio::test]
async fn a_request_streams_up_as_it_is_written() {
    let origin = Origin::echoing_content().await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let mut connection = proxy.client().h1(&origin.authority()).await.unwrap();
    connection.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();

    for piece in ["one ", "two ", "three"] {
        connection.send(format!("{:x}\r\n{piece}\r\n", piece.len())).await.unwrap();
        origin.journal().wait(piece, |requests, _| requests.first()?.content.ends_with(piece.as_bytes()).then_some(())).await;
    }
    connection.send("0\r\n\r\n").await.unwrap();

    assert_eq!(connection.response("POST").await.unwrap().text(), "one two three");
}

#[tokio::test]
async fn a_client_that_leaves_is_missed_by_the_origin_and_recorded() {
    let (origin, gate) = telling(Setup::http1()).await;
    let target = format!("{}:443", copilot::HOST);
    let proxy = Proxy::start(Options::new().resolving(&target, &origin)).await;
    let mut connection = proxy.client_as("ana", "").h1(&target).await.unwrap();
    connection.send(copilot::completion(copilot::HOST, "1", b"{}")).await.unwrap();
    let mut answer = connection.begin("POST").await.unwrap();
    let first = copilot::events(EVENTS).remove(0);
    gate.open();
    answer.until(first.as_bytes()).await.unwrap();

    drop(connection);

    origin.journal().wait("the client's leaving", |requests, _| requests[0].gone.clone()).await;
    let record = proxy.records().only().await;
    assert_eq!((record.text_at("/response/content"), record.text_at("/proxy-authorization")), (Some(&*first), Some("ana")));
}

#[tokio::test]
async fn a_client_that_leaves_before_the_head_is_missed_too() {
    let gate = Gate::new();
    let origin = Origin::start(Setup::http1(), move |_| Script::raw("").hold(&gate)).await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let mut connection = proxy.client().h1(&origin.authority()).await.unwrap();
    connection.send(request("GET", "/", "x", &[], b"")).await.unwrap();
    origin.after(1).await;

    drop(connection);

    origin.journal().wait("the client's leaving", |requests, _| requests[0].gone.clone()).await;
}

#[tokio::test]
async fn an_answer_cut_short_is_recorded_as_far_as_it_came() {
    let origin = Origin::start(Setup::http1(), |_| Script::raw("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf of it").close()).await;
    let target = format!("{}:443", copilot::HOST);
    let proxy = Proxy::start(Options::new().resolving(&target, &origin)).await;

    let response = proxy.client().h1(&target).await.unwrap().exchange(copilot::completion(copilot::HOST, "1", b"{}")).await.unwrap();

    assert_eq!((response.text(), response.is_complete()), ("half of it".to_owned(), false));
    assert_eq!(proxy.records().only().await.text_at("/response/content"), Some("half of it"));
}

#[tokio::test]
async fn large_contents_pass_whole_both_ways() {
    let origin = Origin::echoing_content().await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let content: Vec<u8> = (0..5_000_000_u32).map(|at| (at ^ (at >> 8)) as u8).collect();

    let response = proxy.client().post(&origin.root(), &[], &content).await.unwrap();

    assert!(response.content == content, "{} octets came back", response.content.len());
}
