//! `--record`: what is in the file is what passed, before any plugin changed it.

use std::{fs, os::unix::fs::PermissionsExt};

use flowgate::{
    flow::{Direction, MessageKind, Outcome},
    recording::{self, RecordedFlow},
};
use flowgate_testkit::{
    Gate, Origin, Script, Setup,
    guests::CHAMELEON,
    proxy::{Options, Proxy},
    websocket::{CLOSE, TEXT, WebSocket},
};
use serde_json::json;

use crate::copilot;

fn recording(options: Options) -> Options {
    options.change_in(|config, folder| config.record = Some(folder.join("traffic.flows")))
}

/// What was recorded, when the proxy has stopped.
async fn recorded(proxy: Proxy) -> (Vec<RecordedFlow>, Vec<u8>) {
    let folder = proxy.stop().await;
    let path = folder.path().join("traffic.flows");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    (recording::read(std::slice::from_ref(&path), |_| {}).unwrap(), fs::read(&path).unwrap())
}

#[tokio::test]
async fn a_flow_is_recorded_as_it_came_piece_by_piece() {
    let gate = Gate::new();
    let origin = Origin::start(Setup::http1(), {
        let gate = gate.clone();
        move |_| Script::events(copilot::events(3), &gate).field("X-Twice", "1").field("x-twice", "2")
    })
    .await;
    let target = format!("{}:443", copilot::HOST);
    let rewriting = json!({ "response_body": "chunks", "word": ["wörd", "WORD"], "on_request": "set-header" });
    let options = Options::users([("ana", "s3cret")]).resolving(&target, &origin);
    let proxy = Proxy::start(recording(options.component("chameleon", CHAMELEON).plugin("chameleon", rewriting))).await;
    let mut connection = proxy.client_as("ana", "s3cret").h1(&target).await.unwrap();

    gate.open_for(3);
    let answer = connection.exchange(copilot::completion(copilot::HOST, "1", b"a question")).await.unwrap();
    drop(connection);

    assert!(answer.text().contains("WORD"), "{answer:?}");
    let (flows, octets) = recorded(proxy).await;
    let [flow] = flows.as_slice() else { panic!("{flows:?}") };
    assert_eq!(
        (flow.user.as_deref(), &flow.outcome, flow.request.body.octets().as_ref()),
        (Some("ana"), &Outcome::Completed, &b"a question"[..])
    );
    assert!(!flow.request.head.fields.contains("x-chameleon") && !flow.request.head.fields.contains("proxy-authorization"));
    let response = flow.response.as_ref().unwrap();
    assert_eq!(String::from_utf8(response.body.octets().to_vec()).unwrap(), copilot::events(3).concat());
    let names: Vec<_> = response.head.fields.iter().map(|field| field.name_str().to_owned()).collect();
    assert!(names.contains(&"X-Twice".to_owned()) && names.contains(&"x-twice".to_owned()), "{names:?}");
    assert!(response.at <= response.body.pieces[0].at && response.body.ended.is_some() && !response.body.is_cut());
    assert!(!octets.windows(6).any(|window| window == b"s3cret"));
}

#[tokio::test]
async fn messages_are_recorded_where_nobody_else_wants_them() {
    let origin = Origin::speaking(Setup::http1(), |wire| async move {
        let Ok(mut socket) = WebSocket::accept(wire, None).await else { return };
        while let Ok(message) = socket.next().await {
            if socket.send(message.opcode, &message.content).await.is_err() || message.opcode == CLOSE {
                break;
            }
        }
        let _ = socket.wire().finish().await;
        socket.wire().rest().await;
    })
    .await;
    let proxy = Proxy::start(recording(Options::new().without_logger())).await;
    let mut socket = WebSocket::open(&proxy.client(), &origin.authority(), "/ws", None).await.unwrap();

    socket.send(TEXT, b"hello").await.unwrap();
    assert_eq!(socket.hear().await.unwrap(), "hello");
    socket.send(CLOSE, &1000_u16.to_be_bytes()).await.unwrap();
    assert_eq!(socket.next().await.unwrap().opcode, CLOSE);
    drop(socket);

    let (flows, _) = recorded(proxy).await;
    let told: Vec<_> = flows[0].frames.iter().map(|frame| (frame.sent, frame.kind, frame.content.as_ref())).collect();
    let expected = [
        (Direction::Request, MessageKind::Text, &b"hello"[..]),
        (Direction::Response, MessageKind::Text, b"hello"),
        (Direction::Request, MessageKind::Closed, b"\x03\xe8"),
        (Direction::Response, MessageKind::Closed, b"\x03\xe8"),
    ];
    assert_eq!(told, expected);
}
