//! What people see, in a real browser: onboarding, and the status page with everything on it.
//!
//! `look.mjs` drives Chromium; its pictures lie in `target/page` afterwards.

use std::{fs, path::Path, process::Stdio, time::Duration};

use flowgate_testkit::{
    Gate, Origin, Script, Setup, component, guests,
    proxy::{ADMIN_TOKEN, Options, Proxy},
    websocket::WebSocket,
};
use serde_json::json;
use time::{Date, OffsetDateTime};
use tokio::{process::Command, time::timeout};

use super::{accept, installed, source};
use crate::copilot;

/// For the whole way, on a busy machine.
const LONG: Duration = Duration::from_secs(180);

/// A chat, as its server sends it; the last event only when it is told to.
fn chat(gate: &Gate) -> Script {
    let words = ["Good", " morning,", " ana.", " A forward proxy", " sends on what you send."];
    let event = |word: &str| json!({ "object": "chat.completion.chunk", "model": "gpt-4.1", "choices": [{ "index": 0, "delta": { "content": word } }] });
    let events = words.into_iter().map(|word| format!("data: {}\n\n", event(word))).collect::<String>();
    let script = Script::new(200).field("content-type", "text/event-stream").chunked().data(events);
    script.hold(gate).data("data: [DONE]\n\n")
}

async fn origin() -> Origin {
    let gate = Gate::new();
    Origin::start(Setup::tls(), move |seen| match seen.target.as_str() {
        "/" => Script::ok("<!doctype html><title>origin</title>").field("content-type", "text/html"),
        "/chat/completions" => chat(&gate),
        "/finish" => {
            gate.open();
            Script::ok("{\"finished\":true}").field("content-type", "application/json")
        }
        "/responses" => {
            let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ";
            Script::switching(format!("{head}{}\r\n\r\n", accept(seen)), |wire| WebSocket::server(wire).echo())
        }
        _ => Script::new(404),
    })
    .await
}

/// Records of the last weeks, so that there is something to count.
fn earlier(logs: &Path) {
    let people = [
        ("ana", "vscode", "gpt-4.1", "rust", 9),
        ("bob", "JetBrains-IC", "claude-sonnet-4", "go", 5),
        ("eve", "Neovim", "gpt-4.1", "python", 2),
    ];
    let today = OffsetDateTime::now_utc().date();
    for back in 0..21_i64 {
        let day = today - time::Duration::days(back);
        for (user, editor, model, language, many) in people {
            // Fewer on Sundays.
            let many = if day.weekday() == time::Weekday::Sunday { 1 } else { many - back as usize % 2 };
            (0..many).for_each(|number| write(logs, day, number, (user, editor, model, language)));
        }
    }
}

fn write(logs: &Path, day: Date, number: usize, (user, editor, model, language): (&str, &str, &str, &str)) {
    let is_chat = number.is_multiple_of(2);
    let (category, path) = if is_chat { ("chat", "/chat/completions") } else { ("completions", copilot::COMPLETIONS) };
    let record = json!({
        "proxy-authorization": user,
        "timestamp": format!("{day}T10:00:00.{number:06}"),
        "proxy-time-consumed": "1.0ms",
        "request": {
            "url": format!("https://{}{path}", copilot::HOST), "method": "POST", "headers": { "editor-version": format!("{editor}/1.95.3") },
            "content": json!({ "model": model, "extra": { "language": language } }).to_string(),
        },
        "response": { "status_code": 200, "headers": {}, "content": "data: {\"usage\":{\"prompt_tokens\":900,\"completion_tokens\":120}}\n\n" },
    });
    fs::create_dir_all(logs.join(category)).unwrap();
    fs::write(logs.join(category).join(format!("{day}T10-00-00.{number:06}_-_127.0.0.1_{user}_-.json")), record.to_string()).unwrap();
}

fn options(origin: &Origin) -> Options {
    let trap = json!({ "name": "fragile", "paths": ["/broken"], "on_request": "trap" });
    Options::users([("ana", "s3cret"), ("bob", "s3cret")])
        .admin()
        .resolving(&format!("{}:443", copilot::HOST), origin)
        .plugin("logger", json!({ "copilot_hosts": [copilot::HOST] }))
        .component("redact", guests::REDACT)
        .plugin("redact", json!({ "remove": ["x-secret"], "refuse": ["blocked.example.test"] }))
        .component("fragile", guests::CHAMELEON)
        .plugin("fragile", trap)
        .change(|config| config.redaction.patterns = vec!["pin-[0-9]+".to_owned()])
        .change_in(|config, _| earlier(&config.logs_dir))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the clients that host/tests/clients/install brings"]
async fn people_find_their_way_in_a_real_browser() {
    let origin = origin().await;
    let proxy = Proxy::start(options(&origin)).await;
    let build = proxy.folder().join("redact-next.wasm");
    fs::write(&build, component::variant(guests::REDACT, 2)).unwrap();

    let running = Command::new("node")
        .arg(source().join("look.mjs"))
        .env("CLIENTS_MODULES", installed().join("node"))
        .env("CLIENTS_HOME", proxy.folder())
        .env("LOOK_PROXY", proxy.address().to_string())
        .env("LOOK_ADMIN", format!("http://{}", proxy.admin()))
        .env("LOOK_TOKEN", ADMIN_TOKEN)
        .env("LOOK_BASE", format!("https://{}", copilot::HOST))
        .env("LOOK_BUILD", &build)
        .env("LOOK_PLUGIN", proxy.plugins_dir().join("redact.wasm"))
        .env("LOOK_PICTURES", installed().join("../page"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(LONG, running).await.expect("the way ends").expect("node is installed");

    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    // What was pressed has happened.
    let hash = component::hash(guests::REDACT);
    assert!(proxy.plugins().iter().any(|plugin| plugin.name == "redact" && plugin.hash == hash), "{said}");
}
