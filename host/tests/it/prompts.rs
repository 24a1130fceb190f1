//! Prompts and answers over WebSocket, as the newest clients exchange them: every exchange is a record of the built-in logger.

use std::time::Duration;

use flowgate_testkit::{
    Origin, Setup,
    proxy::{Options, Proxy},
    websocket::{CLOSE, WebSocket},
};

/// A model that answers each prompt in pieces.
async fn answering() -> Origin {
    Origin::speaking(Setup::http1(), |wire| async move {
        let mut socket = WebSocket::accept(wire, Some("permessage-deflate")).await.unwrap().deflating(false, false);
        while let Ok(message) = socket.next().await {
            if message.opcode == CLOSE {
                socket.send(CLOSE, &message.content).await.unwrap();
                break;
            }
            for kind in ["response.created", "response.output_text.delta", "response.completed"] {
                socket.say(&format!(r#"{{"type":"{kind}","of":{}}}"#, message.as_text())).await.unwrap();
            }
        }
        socket.wire().finish().await.unwrap();
        socket.wire().rest().await;
    })
    .await
}

/// Says so many prompts, and hears the answers.
async fn converse(socket: &mut WebSocket, prompts: std::ops::Range<u32>) {
    for prompt in prompts {
        socket.say(&prompt.to_string()).await.unwrap();
        for _ in 0..3 {
            assert!(socket.hear().await.unwrap().ends_with(&format!(r#""of":{prompt}}}"#)));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_exchange_over_a_websocket_is_a_record() {
    let origin = answering().await;
    let authority = "api.githubcopilot.com:443";
    let options = Options::new().resolving(authority, &origin).change(|config| config.grace = Duration::from_millis(100));
    let proxy = Proxy::start(options).await;
    let client = proxy.client_as("ana", "");
    let open = || WebSocket::open(&client, authority, "/responses", Some("permessage-deflate"));
    let (mut one, mut other) = (open().await.unwrap().deflating(false, false), open().await.unwrap().deflating(false, false));

    converse(&mut one, 0..3).await;
    converse(&mut other, 10..12).await;
    one.send(CLOSE, &1000_u16.to_be_bytes()).await.unwrap();
    assert_eq!(one.next().await.unwrap().opcode, CLOSE);
    // The other one is still open when the proxy stops.
    let records = proxy.records();
    let _folder = proxy.stop().await;

    let records = records.all();
    assert!(records.iter().all(|record| record.category == "responses" && record.text_at("/proxy-authorization") == Some("ana")));
    let mut exchanges: Vec<(&str, String)> = records
        .iter()
        .map(|record| (record.text_at("/request/content").unwrap(), record.text_at("/response/content").unwrap().to_owned()))
        .collect();
    exchanges.sort_unstable();
    let answer = |prompt: u32| {
        let line = |kind: &str| format!(r#"{{"type":"{kind}","of":{prompt}}}"#);
        [line("response.created"), line("response.output_text.delta"), line("response.completed")].join("\n")
    };
    let expected = [
        ("", String::new()),
        ("", String::new()),
        ("0", answer(0)),
        ("1", answer(1)),
        ("10", answer(10)),
        ("11", answer(11)),
        ("2", answer(2)),
    ];
    assert_eq!(exchanges, expected);
    drop(other);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_whose_connection_dies_is_recorded_whole() {
    for dies in ["client", "origin"] {
        let origin = Origin::speaking(Setup::http1(), move |wire| async move {
            let mut socket = WebSocket::accept(wire, None).await.unwrap();
            assert_eq!(socket.hear().await.unwrap(), "prompt");
            socket.say("half of").await.unwrap();
            // A message that never ends is none.
            let frame = socket.message(flowgate_testkit::websocket::TEXT, b"the answer");
            socket.wire().send(&frame[..6]).await.unwrap();
            if dies == "origin" {
                return;
            }
            socket.wire().rest().await;
        })
        .await;
        let authority = "api.githubcopilot.com:443";
        let proxy = Proxy::start(Options::new().resolving(authority, &origin)).await;
        let mut socket = WebSocket::open(&proxy.client_as("ana", ""), authority, "/responses", None).await.unwrap();
        socket.say("prompt").await.unwrap();
        assert_eq!(socket.hear().await.unwrap(), "half of");

        drop(socket);

        let records = proxy.records().after(2).await;
        let exchange = records.iter().find(|record| record.text_at("/request/content") == Some("prompt")).unwrap();
        assert_eq!(exchange.text_at("/response/content"), Some("half of"), "{dies}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_blanked_in_messages_and_pass_on_the_wire() {
    let origin = answering().await;
    let authority = "api.githubcopilot.com:443";
    let options = Options::new().resolving(authority, &origin).change(|config| {
        config.redaction.json = vec!["$..token".into()];
        config.redaction.fields = vec!["sec-websocket-key".into()];
    });
    let proxy = Proxy::start(options).await;
    let mut socket = WebSocket::open(&proxy.client(), authority, "/responses", None).await.unwrap().deflating(false, false);

    socket.say(r#"{"token":"hidden-0000"}"#).await.unwrap();
    assert!(socket.hear().await.unwrap().contains("hidden-0000"));
    let records = proxy.records();
    drop(socket);

    for record in records.after(2).await {
        assert!(!record.text.contains("hidden-0000"), "{}", record.text);
        assert_eq!(record.request_field("sec-websocket-key"), Some("[redacted]"));
        // What is shorter for being blanked has its end.
        assert_eq!(record.json.get("flowgate"), None, "{}", record.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_all_flows_hold_of_messages_is_bounded_and_records_say_so() {
    let origin = answering().await;
    let authority = "api.githubcopilot.com:443";
    let options = Options::new().resolving(authority, &origin).change(|config| {
        config.limits.captured_bytes = 64 << 10;
        config.grace = Duration::from_millis(100);
    });
    let proxy = Proxy::start(options).await;
    let mut sockets = Vec::new();
    for _ in 0..4 {
        let socket = WebSocket::open(&proxy.client(), authority, "/responses", Some("permessage-deflate")).await.unwrap();
        sockets.push(socket.deflating(false, false));
    }

    for socket in &mut sockets {
        socket.say(&format!("\"{}\"", "p".repeat(40_000))).await.unwrap();
        for _ in 0..3 {
            assert!(socket.hear().await.unwrap().len() > 40_000);
        }
    }
    let records = proxy.records();
    let _folder = proxy.stop().await;

    let records = records.all();
    let exchanges: Vec<_> =
        records.iter().filter(|record| record.json.pointer("/flowgate/response/truncated") == Some(&true.into())).collect();
    let kept = |end: &str| exchanges.iter().map(|record| record.text_at(end).map_or(0, str::len)).sum::<usize>();
    assert_eq!(exchanges.len(), 4, "{records:?}");
    assert!((1..=64 << 10).contains(&(kept("/request/content") + kept("/response/content"))));
    drop(sockets);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_exchange_beyond_what_is_captured_the_next_prompt_is_whole() {
    let origin = answering().await;
    let authority = "api.githubcopilot.com:443";
    let options = Options::new().resolving(authority, &origin).change(|config| {
        config.capture_bytes = 1000;
        config.grace = Duration::from_millis(100);
    });
    let proxy = Proxy::start(options).await;
    let socket = WebSocket::open(&proxy.client(), authority, "/responses", Some("permessage-deflate")).await.unwrap();
    let mut socket = socket.deflating(false, false);
    socket.say(&format!("\"{}\"", "p".repeat(2000))).await.unwrap();
    for _ in 0..3 {
        socket.hear().await.unwrap();
    }

    converse(&mut socket, 7..8).await;
    let records = proxy.records();
    let _folder = proxy.stop().await;

    let records = records.all();
    let next = records.iter().find(|record| record.text_at("/request/content") == Some("7")).expect("it is recorded");
    assert_eq!(next.json.get("flowgate"), None, "{}", next.text);
    let long = records.iter().find(|record| record.text_at("/request/content").is_some_and(|content| content.len() == 1000));
    assert_eq!(long.expect("it is recorded").json.pointer("/flowgate/request/truncated"), Some(&true.into()));
    drop(socket);
}
