//! The plugins that are shipped beside the logger, as components on real flows. What each makes of every kind of answer is tested natively, beside it.

use std::{fs, io::Write, path::Path};

use flate2::{Compression, write::GzEncoder};
use flowgate_testkit::{
    Origin, Script, Setup,
    component::variant,
    guests::{CHAT_TEXT, SECRETS_GUARD, USAGE},
    proxy::{Options, Proxy},
    websocket::{CLOSE, WebSocket},
};
use serde_json::{Value, json};

/// A host that all of them know.
const MODELS: &str = "api.githubcopilot.com:443";
const CHAT: &str = "https://api.githubcopilot.com/chat/completions";
const FIELDS: [(&str, &str); 2] = [("content-type", "application/json"), ("editor-version", "vscode/1.95.3")];

/// A model that answers `Good day` in pieces, whatever it is asked.
async fn answering() -> Origin {
    Origin::start(Setup::tls(), |_| {
        let delta = |delta: Value| format!("data: {}\n\n", json!({"model": "m-1", "choices": [{"index": 0, "delta": delta}]}));
        let usage = json!({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}});
        let events = [
            delta(json!({"content": "Good "})),
            delta(json!({"content": "day"})),
            format!("data: {usage}\n\n"),
            "data: [DONE]\n\n".to_owned(),
        ];
        Script::ok(events.concat()).field("content-type", "text/event-stream").chunked()
    })
    .await
}

/// The same over a WebSocket, where the end of an answer says itself that it is one.
async fn conversing() -> Origin {
    Origin::speaking(Setup::http1(), |wire| async move {
        let Ok(mut socket) = WebSocket::accept(wire, None).await else { return };
        while let Ok(message) = socket.next().await {
            if message.opcode == CLOSE {
                let _ = socket.send(CLOSE, &message.content).await;
                break;
            }
            let done = json!({"type": "response.completed", "response": {"status": "completed"}});
            for event in [json!({"type": "response.output_text.delta", "delta": "Good day"}), done] {
                let _ = socket.say(&event.to_string()).await;
            }
        }
        let _ = socket.wire().finish().await;
        socket.wire().rest().await;
    })
    .await
}

fn prompt(text: &str) -> String {
    json!({"model": "m", "messages": [{"role": "user", "content": text}]}).to_string()
}

/// Looks like a token, and is none.
fn token() -> String {
    format!("ghp_{}", "a1B2".repeat(9))
}

/// The JSON of the lines of all files in a folder.
fn lines(folder: &Path) -> Vec<Value> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        lines.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
    }
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_guard_keeps_credentials_in_the_house() {
    let origin = answering().await;
    let proxy = Proxy::start(Options::new().component("secrets-guard", SECRETS_GUARD).resolving(MODELS, &origin)).await;

    let leak = proxy.client().post(CHAT, &FIELDS, prompt(&format!("why?\nTOKEN={}", token())).as_bytes()).await.unwrap();
    let fine = proxy.client().post(CHAT, &FIELDS, prompt("how do I make a ghp_ token?").as_bytes()).await.unwrap();

    let refusal: Value = serde_json::from_str(&leak.text()).unwrap();
    assert_eq!(
        (leak.status(), leak.head.get("content-type"), &refusal["error"]["code"]),
        (400, Some("application/json"), &json!("credential_in_prompt"))
    );
    assert!(!leak.text().contains(&token()) && fine.text().contains("Good "));
    assert_eq!(origin.seen().len(), 1);
    // The logger records both, one of them without what must not be kept.
    let records = proxy.records().after(2).await;
    assert!(records.iter().all(|record| !record.text.contains(&token())));
    assert_eq!(records.iter().filter(|record| record.text.contains("secrets-guard refused this request")).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_guard_lets_nothing_by_that_it_cannot_look_at() {
    let origin = answering().await;
    let options = Options::new().component("secrets-guard", SECRETS_GUARD).change(|config| config.capture_bytes = 64 * 1024);
    let proxy = Proxy::start(options.resolving(MODELS, &origin)).await;
    let coded = |text: &str| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let leak = prompt(&format!("{}\n{}", "x".repeat(100_000), token()));
    let table = [
        (CHAT, "gzip", coded(&leak), "prompt_not_readable"),
        (CHAT, "unheard-of", coded(&prompt("hello")), "prompt_not_readable"),
        (CHAT, "gzip", coded(&prompt(&token())), "credential_in_prompt"),
        ("https://api.githubcopilot.com/chat/completions/", "identity", prompt(&token()).into_bytes(), "credential_in_prompt"),
    ];

    for (url, coding, content, code) in table {
        let answer = proxy.client().post(url, &[FIELDS[0], ("content-encoding", coding)], &content).await.unwrap();
        let refusal: Value = serde_json::from_str(&answer.text()).unwrap();
        assert_eq!((answer.status(), &refusal["error"]["code"]), (400, &json!(code)), "{coding}: {url}");
    }
    let fine = proxy.client().post(CHAT, &[FIELDS[0], ("content-encoding", "gzip")], &coded(&prompt("hello"))).await.unwrap();
    assert!(fine.text().contains("Good "));
    assert_eq!(origin.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_guard_closes_a_websocket_over_a_credential() {
    let origin = conversing().await;
    let options = Options::new().without_logger().component("secrets-guard", SECRETS_GUARD).resolving(MODELS, &origin);
    let proxy = Proxy::start(options).await;
    let mut socket = WebSocket::open(&proxy.client(), MODELS, "/responses", None).await.unwrap();

    socket.say(r#"{"type": "response.create", "input": "hello"}"#).await.unwrap();
    assert!(socket.hear().await.unwrap().contains("Good day") && socket.hear().await.unwrap().contains("completed"));
    socket.say(&json!({"type": "response.create", "input": token()}).to_string()).await.unwrap();

    let closed = socket.next().await.unwrap();
    assert_eq!((closed.opcode, &closed.content[..2]), (CLOSE, &1008_u16.to_be_bytes()[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn chat_text_keeps_final_messages_of_streams_and_of_websockets() {
    for over in ["https", "websocket"] {
        let origin = if over == "https" { answering().await } else { conversing().await };
        let options = Options::new().without_logger().component("chat-text", CHAT_TEXT).resolving(MODELS, &origin);
        let proxy = Proxy::start(options).await;

        if over == "https" {
            proxy.client_as("ana", "").post(CHAT, &FIELDS, prompt("Hello?").as_bytes()).await.unwrap();
        } else {
            let mut socket = WebSocket::open(&proxy.client_as("ana", ""), MODELS, "/responses", None).await.unwrap();
            socket.say(r#"{"type": "response.create", "model": "m", "input": "Hello?"}"#).await.unwrap();
            socket.hear().await.unwrap();
            socket.hear().await.unwrap();
            socket.send(CLOSE, &1000_u16.to_be_bytes()).await.unwrap();
            assert_eq!(socket.next().await.unwrap().opcode, CLOSE);
        }
        let folder = proxy.stop().await;

        let [line] = &lines(&folder.path().join("logs/chat-text"))[..] else { panic!("{over}: there is one line") };
        let kept = ["user", "prompt", "text"].map(|name| line[name].as_str().unwrap());
        assert_eq!(kept, ["ana", "Hello?", "Good day"], "{over}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_goes_on_counting_over_a_swap_and_a_restart() {
    let origin = answering().await;
    let options = || Options::new().without_logger().component("usage", USAGE).resolving(MODELS, &origin);
    let ask = async |proxy: &Proxy| {
        let answer = proxy.client_as("ana", "").post(CHAT, &FIELDS, prompt("Hello?").as_bytes()).await.unwrap();
        assert_eq!(answer.status(), 200);
    };
    let proxy = Proxy::start(options()).await;
    ask(&proxy).await;

    let before = proxy.plugins().remove(0).hash;
    proxy.put_plugin("usage", &variant(USAGE, 1));
    proxy.until_plugins("the other build in service", |plugins| plugins.first().is_some_and(|plugin| plugin.hash != before)).await;
    ask(&proxy).await;
    let proxy = Proxy::start_in(proxy.stop().await, options()).await.unwrap();
    ask(&proxy).await;
    let folder = proxy.stop().await;

    // The day may have changed meanwhile.
    let (mut turns, mut tokens) = (0, 0);
    for day in fs::read_dir(folder.path().join("logs/usage")).unwrap() {
        let text = fs::read_to_string(day.unwrap().path().join("ana.json")).unwrap();
        let record: Value = serde_json::from_str(&text).unwrap();
        turns += record["turns"].as_u64().unwrap();
        tokens += record["models"]["m-1"]["input_tokens"].as_u64().unwrap();
    }
    assert_eq!((turns, tokens), (3, 21));
}
