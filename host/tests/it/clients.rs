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
    records::Record,
    websocket::WebSocket,
    within,
};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::copilot;

mod page;
mod scraper;

/// What a client does, all of which is recorded.
#[derive(Clone, Copy)]
enum Does {
    /// Reads events as they come.
    Stream,
    /// Says hello over a WebSocket, and hears it again.
    Socket,
    /// Clones a repository.
    Clone,
    /// Opens a page.
    Page,
}

use Does::{Clone as Clones, Page, Socket, Stream};

/// Clients, by the programs that drive them.
const PYTHON: [(&str, &[Does]); 8] = [
    ("requests", &[Stream]),
    ("httpx", &[Stream]),
    ("aiohttp", &[Stream, Socket]),
    ("openai", &[Stream]),
    ("websockets", &[Socket]),
    ("curl-http1", &[Stream]),
    ("curl-http2", &[Stream]),
    ("git", &[Clones]),
];
const NODE: [(&str, &[Does]); 6] = [
    ("undici", &[Stream]),
    ("https-proxy-agent", &[Stream]),
    ("axios", &[Stream]),
    ("openai-node", &[Stream]),
    ("ws", &[Socket]),
    ("chromium", &[Page, Stream, Socket]),
];
const JAVA: [(&str, &[Does]); 1] = [("java", &[Stream, Socket])];

const PAGE: &str = "<!doctype html><title>page</title>";

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
async fn origin(repository: PathBuf) -> Origin {
    let gate = Gate::new();
    Origin::start(Setup::tls(), move |seen| match seen.target.as_str() {
        "/plain" => Script::ok("plain"),
        "/page" => Script::ok(PAGE).field("content-type", "text/html"),
        "/ack" => {
            gate.open();
            Script::ok("ok")
        }
        "/responses" => {
            let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ";
            Script::switching(format!("{head}{}\r\n\r\n", accept(seen)), |wire| WebSocket::server(wire).echo())
        }
        "/v1/chat/completions" => {
            gate.open();
            Script::events(events(), &gate)
        }
        other => served(&repository, other),
    })
    .await
}

/// A file of the repository, as any server of files would give it.
fn served(repository: &Path, target: &str) -> Script {
    let path = target.split('?').next().unwrap_or_default();
    match path.strip_prefix("/repository.git/").map(|path| std::fs::read(repository.join(path))) {
        Some(Ok(content)) => Script::ok(content),
        _ => Script::new(404),
    }
}

/// A repository that needs no git on the server's side.
fn repository(folder: &Path) -> PathBuf {
    let (source, bare) = (folder.join("source"), folder.join("repository.git"));
    let git = |arguments: &[&str]| {
        let mut git = std::process::Command::new("git");
        git.current_dir(&source).args(["-c", "user.name=ana", "-c", "user.email=ana@example.test", "-c", "commit.gpgSign=false"]);
        assert!(git.args(arguments).status().expect("git is installed").success(), "git {arguments:?}");
    };
    std::fs::create_dir(&source).unwrap();
    git(&["init", "--quiet"]);
    std::fs::write(source.join("note"), "cloned\n").unwrap();
    git(&["add", "note"]);
    git(&["commit", "--quiet", "--message", "note"]);
    git(&["clone", "--quiet", "--bare", ".", bare.to_str().unwrap()]);
    git(&["--git-dir", bare.to_str().unwrap(), "update-server-info"]);
    bare
}

/// Everything a client is here for, under a category of its own.
fn rules() -> Value {
    json!({ "rules": [
        { "category": "streams", "paths": ["/v1/chat/completions"] },
        { "category": "sockets", "paths": ["/responses"], "websocket": true },
        { "category": "files", "paths": ["/repository.git/*"] },
        { "category": "pages", "paths": ["/page"] },
    ] })
}

async fn drive(command: &mut Command, name: &str, does: &[Does]) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let origin = origin(repository(folder.path())).await;
    let target = format!("{}:443", copilot::HOST);
    let options = Options::users([("ana", "s3cret")]).resolving(&target, &origin).plugin("logger", rules());
    let proxy = Proxy::start(options).await;
    let root = folder.path().join("root.pem");
    std::fs::write(&root, proxy.root_pem()).unwrap();
    let store = folder.path().join("root.p12");
    std::fs::write(&store, proxy.client_as("ana", "s3cret").get("http://flowgate.internal/flowgate-ca.p12").await.unwrap().content)
        .unwrap();
    let running = command
        .arg(name)
        .env("CLIENTS_PROXY", format!("http://ana:s3cret@{}", proxy.address()))
        .env("CLIENTS_CA", &root)
        .env("CLIENTS_STORE", &store)
        // axios takes a root from nowhere else when it is given an agent.
        .env("NODE_EXTRA_CA_CERTS", &root)
        .env("CLIENTS_BASE", format!("https://{}", copilot::HOST))
        .env("CLIENTS_MODULES", installed().join("node"))
        .env("CLIENTS_HOME", folder.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = within(name, running).await.map_err(|error| format!("{name}: it cannot be started, is it installed? {error}"))?;
    if !output.status.success() {
        return Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let files = origin.seen().iter().filter(|seen| seen.target.starts_with("/repository.git/")).count();
    let expected = does.iter().map(|does| if let Clones = does { files } else { does.records() }).sum();
    let records = proxy.records().after(expected).await;
    assert_eq!(records.len(), expected, "{name}: {records:?}");
    assert!(records.iter().all(|record| record.text_at("/proxy-authorization") == Some("ana")), "{name}: {records:?}");
    for does in does {
        does.check(&records, name);
    }
    Ok(())
}

impl Does {
    /// What it leaves, if that is always the same.
    fn records(self) -> usize {
        match self {
            Stream | Page => 1,
            // The handshake and what was said.
            Socket => 2,
            Clones => 0,
        }
    }

    fn check(self, records: &[Record], name: &str) {
        let of = |category: &'static str| records.iter().filter(move |record| record.category == category);
        let contents = |category| {
            let contents = of(category).filter_map(|record| record.text_at("/request/content").zip(record.text_at("/response/content")));
            let mut contents: Vec<_> = contents.collect();
            contents.sort_unstable();
            contents
        };
        match self {
            Stream => assert_eq!(contents("streams")[0].1, events().concat(), "{name}"),
            Socket => assert_eq!(contents("sockets"), [("", ""), ("hello", "hello")], "{name}"),
            Page => assert_eq!(contents("pages"), [("", PAGE)], "{name}"),
            Clones => {
                let urls: Vec<_> = of("files").filter_map(|record| record.text_at("/request/url")).collect();
                let base = format!("https://{}/repository.git", copilot::HOST);
                assert!(urls.contains(&&*format!("{base}/HEAD")), "{name}: {urls:?}");
                // A commit, a tree, a file: objects or a pack of them.
                assert!(urls.iter().any(|url| url.starts_with(&format!("{base}/objects/"))), "{name}: {urls:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the clients that host/tests/clients/install brings"]
async fn real_clients_get_through_and_are_recorded() {
    let mut failures = Vec::new();
    for (name, does) in PYTHON {
        let mut python = Command::new(installed().join("python/bin/python"));
        failures.extend(drive(python.arg(source().join("drive.py")), name, does).await.err());
    }
    for (name, does) in NODE {
        failures.extend(drive(Command::new("node").arg(source().join("drive.mjs")), name, does).await.err());
    }
    for (name, does) in JAVA {
        failures.extend(drive(Command::new("java").arg(source().join("Drive.java")), name, does).await.err());
    }

    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
