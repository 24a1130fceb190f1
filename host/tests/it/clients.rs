//! Real clients through the proxy, with credentials, each recorded.
//!
//! Opt-in, for it needs what `host/tests/clients/install` brings: `cargo test --workspace --test it -- --ignored clients`.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use flowgate_testkit::{
    Gate, Origin, Script, Seen, Setup,
    proxy::{Options, Proxy},
    within,
};
use tokio::process::Command;

use crate::copilot;

/// A client, and whether it asks for a streamed answer, which is then recorded.
const PYTHON: [(&str, bool); 7] = [
    ("requests", true),
    ("httpx", true),
    ("aiohttp", true),
    ("openai", true),
    ("websockets", false),
    ("curl-http1", true),
    ("curl-http2", true),
];
const NODE: [(&str, bool); 5] = [("undici", true), ("https-proxy-agent", true), ("axios", true), ("openai-node", true), ("ws", false)];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

fn installed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/clients")
}

/// Events as the models' servers send them, and the end.
fn events() -> Vec<String> {
    let event = |at| {
        format!(
            "data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"wörd {at}\"}},\
             \"finish_reason\":null}}]}}\n\n"
        )
    };
    (1..6).map(event).chain(["data: [DONE]\n\n".to_owned()]).collect()
}

/// RFC 6455 §4.2.2, by the one SHA-1 that is at hand.
fn accept(seen: &Seen) -> String {
    let program = "import base64, hashlib, sys; print(base64.b64encode(hashlib.sha1(sys.argv[1].encode()).digest()).decode())";
    let key = format!("{}258EAFA5-E914-47DA-95CA-C5AB0DC85B11", seen.get("sec-websocket-key").unwrap());
    let output = std::process::Command::new(installed().join("python/bin/python")).args(["-c", program, &key]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Sends the next event when the one before was acknowledged by a request of its own.
async fn origin() -> Origin {
    let gate = Gate::new();
    Origin::start(Setup::tls(), move |seen| match seen.target.as_str() {
        "/plain" => Script::ok("plain"),
        "/ack" => {
            gate.open();
            Script::ok("ok")
        }
        "/ws" => {
            let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ";
            Script::raw([format!("{head}{}\r\n\r\n", accept(seen)).as_bytes(), b"\x81\x05hello"].concat())
        }
        _ => {
            gate.open();
            Script::events(events(), &gate)
        }
    })
    .await
}

async fn drive(command: &mut Command, name: &str, is_streamed: bool) -> Result<(), String> {
    let origin = origin().await;
    let target = format!("{}:443", copilot::HOST);
    let proxy = Proxy::start(Options::users([("ana", "s3cret")]).resolving(&target, &origin)).await;
    let root = proxy.folder().join("root.pem");
    std::fs::write(&root, proxy.root_pem()).unwrap();
    let running = command
        .arg(name)
        .env("CLIENTS_PROXY", format!("http://ana:s3cret@{}", proxy.address()))
        .env("CLIENTS_CA", &root)
        // axios takes a root from nowhere else when it is given an agent.
        .env("NODE_EXTRA_CA_CERTS", &root)
        .env("CLIENTS_BASE", format!("https://{}", copilot::HOST))
        .env("CLIENTS_MODULES", installed().join("node"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = within(name, running).await.map_err(|error| format!("{name}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr)));
    }
    if is_streamed {
        let record = proxy.records().only().await;
        let recorded = (record.text_at("/proxy-authorization"), record.text_at("/response/content"));
        assert_eq!(recorded, (Some("ana"), Some(&*events().concat())), "{name}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the clients that host/tests/clients/install brings"]
async fn real_clients_get_through_and_are_recorded() {
    let mut failures = Vec::new();
    for (name, is_streamed) in PYTHON {
        let mut python = Command::new(installed().join("python/bin/python"));
        failures.extend(drive(python.arg(source().join("drive.py")), name, is_streamed).await.err());
    }
    for (name, is_streamed) in NODE {
        failures.extend(drive(Command::new("node").arg(source().join("drive.mjs")), name, is_streamed).await.err());
    }

    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
