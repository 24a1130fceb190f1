//! Trying plugins on recorded flows, as their authors do: the commands, what they print and how they end.

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::Output,
};

use flowgate::plugin::LOGGER_WASM;
use flowgate_testkit::{
    guests::{CHAMELEON, MEDIATOR},
    program,
};
use serde_json::{Value, json};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_flowgate");

/// A folder with plugins and flows in it.
pub(crate) struct Desk(TempDir);

impl Desk {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("logger.wasm"), LOGGER_WASM).unwrap();
        fs::write(folder.path().join("chameleon.wasm"), CHAMELEON).unwrap();
        Self(folder)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn put(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(&[("TZ", "UTC")], arguments).await
    }

    /// The same in that environment.
    pub(crate) async fn run_with(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Output {
        program::output(program::command(BINARY, self.0.path()).envs(environment.iter().copied()).args(arguments)).await.unwrap()
    }
}

pub(crate) fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn golden_record(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../plugins/logger/tests/golden/{name}.record.json"));
    fs::read_to_string(path).unwrap()
}

/// One exchange as a browser saves it.
pub(crate) fn archive(change: impl FnOnce(&mut Value)) -> String {
    let mut entry = json!({
        "startedDateTime": "2024-12-08T13:18:22.949Z",
        "time": 40,
        "request": {
            "method": "POST", "url": "https://a.test/chat", "httpVersion": "HTTP/1.1",
            "headers": [{ "name": "Host", "value": "a.test" }],
            "postData": { "mimeType": "text/plain", "text": "what is a proxy" },
        },
        "response": {
            "status": 200, "statusText": "OK", "httpVersion": "HTTP/1.1",
            "headers": [{ "name": "Content-Type", "value": "text/event-stream" }],
            "content": { "text": "data: a proxy\n\ndata: is\n\n" },
        },
        "timings": { "send": 1, "wait": 9, "receive": 30 },
    });
    change(&mut entry);
    json!({ "log": { "entries": [entry] } }).to_string()
}

#[tokio::test]
async fn a_record_played_to_the_logger_becomes_that_record() {
    let desk = Desk::new();
    desk.put("record.json", &golden_record("completions"));

    let updated = text(&desk.run(&["plugin", "test", "logger.wasm", "record.json", "--golden", "golden", "--update"]).await);

    assert!(updated.contains("2 files written to golden"), "{updated}");
    let file = "golden/records/completions/2024-12-08T13-18-23.331449_4ce93ec3b2_127.0.0.1_satomic_vscode-1.95.3.json";
    assert_eq!(fs::read_to_string(desk.path(file)).unwrap(), golden_record("completions"));
}

#[tokio::test]
async fn a_record_of_a_part_played_to_the_logger_becomes_that_record() {
    let cases = [
        (json!({ "truncated": true, "wire_length": 70_000 }), None),
        (json!({ "still_coded": true }), Some("strange")),
        (json!({ "truncated": true, "wire_length": 70_000, "still_coded": true }), Some("strange")),
    ];
    for (note, coding) in cases {
        let desk = Desk::new();
        let mut record: Value = serde_json::from_str(&golden_record("completions")).unwrap();
        record["flowgate"] = json!({ "response": note });
        if let Some(coding) = coding {
            record["response"]["headers"]["content-encoding"] = coding.into();
        }
        desk.put("record.json", &record.to_string());

        text(&desk.run(&["plugin", "test", "logger.wasm", "record.json", "--golden", "golden", "--update"]).await);

        let folder = fs::read_dir(desk.path("golden/records/completions")).unwrap();
        let made = fs::read(folder.map(|entry| entry.unwrap().path()).next().unwrap()).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&made).unwrap(), record);
    }
}

#[tokio::test]
async fn the_same_flows_give_the_same_octets_wherever_and_whenever() {
    let desk = Desk::new();
    // Without a response the logger asks what time it is.
    desk.put(
        "flows.har",
        &archive(|entry| {
            entry["request"]["url"] = "https://proxy.enterprise.githubcopilot.com/v1/engines/copilot-codex/completions".into();
            entry["response"] = json!({ "status": 0 });
        }),
    );
    let arguments = ["plugin", "test", "logger.wasm", "flows.har"];

    let here = text(&desk.run(&arguments).await);
    let there = text(&desk.run_with(&[("TZ", "Pacific/Kiritimati")], &arguments).await);

    assert_eq!(here, there);
    assert!(here.contains("completions/2024-12-08T13-18-22.9"), "{here}");
}

#[tokio::test]
async fn what_a_plugin_does_is_printed_and_compared() {
    let desk = Desk::new();
    desk.put("flows.har", &archive(|_| {}));
    let config = |word: &str| {
        json!({
            "response_body": "chunks", "framing": "sse-events", "word": ["proxy", word], "on_request": ["set-header", "tag"],
            "journal": "journal", "errands": [{ "fetch": { "url": "https://b.test/x" } }],
        })
    };
    let mut plain = config("gate");
    plain.as_object_mut().unwrap().remove("errands");
    let test = async |config: &Value, more: &[&str]| {
        let config = config.to_string();
        desk.run(&[&["plugin", "test", "chameleon.wasm", "flows.har", "--config", &config][..], more].concat()).await
    };

    let printed = text(&test(&plain, &[]).await);

    for part in [
        "granted: ",
        "flow 1: POST https://a.test/chat\n",
        "  on-connect: proceed\n",
        "  on-request: proceed (x-chameleon)\n",
        "  on-chunk: replace\n  on-chunk: pass\n",
        "  request + x-chameleon: 1\n",
        "  response content:\n    | data: a gate\n",
        "  tag chameleon.note: 1\n",
        "==> records/journal\n",
    ] {
        assert!(printed.contains(part), "{part:?} is not in {printed}");
    }
    text(&test(&plain, &["--golden", "golden", "--update"]).await);
    assert!(text(&test(&plain, &["--golden", "golden"]).await).contains("1 flows as before"));

    let mut other = plain.clone();
    other["word"][1] = "sluice".into();
    let changed = test(&other, &["--golden", "golden"]).await;

    assert_eq!(changed.status.code(), Some(1));
    let difference = String::from_utf8(changed.stdout).unwrap();
    assert!(difference.contains("-     | data: a gate\n+     | data: a sluice\n"), "{difference}");
    assert!(
        String::from_utf8(changed.stderr)
            .unwrap()
            .contains("1 files are not as in golden: if that is right, write them anew with --update")
    );
}

#[tokio::test]
async fn what_became_of_messages_is_printed() {
    let desk = Desk::new();
    fs::write(desk.path("mediator.wasm"), MEDIATOR).unwrap();
    desk.put(
        "flows.har",
        &archive(|entry| {
            entry["response"] = json!({ "status": 101 });
            entry["_webSocketMessages"] = json!([
                { "type": "send", "opcode": 1, "data": "a secret" },
                { "type": "receive", "opcode": 2, "data": "AAE=" },
                { "type": "send", "opcode": 1, "data": "goodbye" },
            ]);
        }),
    );
    let rest = "  message < binary\n    | \u{fffd}\u{fffd}\n  message > text\n    | goodbye\n";
    let table = [
        (json!({}), "  on-message: pass × 3\n".to_owned()),
        (json!({ "act": "replace" }), format!("  on-message: replace\n  on-message: pass × 2\n  message > text\n    | a ******\n{rest}")),
        (json!({ "act": "discard-word" }), format!("  on-message: discard\n  on-message: pass × 2\n{rest}")),
        (json!({ "act": "close" }), "  on-message: close 1000\n  no message went on\n  closed with 1000\n".to_owned()),
    ];
    for (config, expected) in table {
        let printed = text(&desk.run(&["plugin", "test", "mediator.wasm", "flows.har", "--config", &config.to_string()]).await);

        let (_, told) = printed.split_once("flow 1: POST https://a.test/chat\n").unwrap();
        assert_eq!(told, expected, "{config}");
    }
}

#[tokio::test]
async fn a_component_is_checked_against_what_is_granted() {
    let desk = Desk::new();

    let refused =
        desk.run(&["plugin", "check", "chameleon.wasm", "--config", "{\"hosts\": [\"a.test\", \"https://b.test\"], \"limit\": 7}"]).await;

    assert_eq!(refused.status.code(), Some(2));
    let printed = String::from_utf8(refused.stdout).unwrap();
    for part in [
        "contract: flowgate:plugin@0.1.0\n",
        "hooks: connect-filter, ",
        "imports: log, key-value (not granted), records, metrics (not granted), outbound (not granted); ",
        " interfaces of WASI 0.2\n",
        "rule: hosts a.test, https://b.test; request skip, response skip, at most 7 octets\n",
        "note: rule 1: the host \"https://b.test\" matches nothing: a host is a name or an address, without scheme, port and path\n",
        " octets, SHA-256 ",
        " the first time, ",
        " from the cache\n",
    ] {
        assert!(printed.contains(part), "{part:?} is not in {printed}");
    }
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("grants = [\"key-value\", \"metrics\"]") && said.contains("outbound = ["), "{said}");
    assert!(text(&desk.run(&["plugin", "check", "logger.wasm"]).await).ends_with("good\n"));
}

#[tokio::test]
async fn a_plugin_is_tried_under_the_configuration_that_is_named() {
    let desk = Desk::new();
    fs::create_dir(desk.path("etc")).unwrap();
    let granted = "grants = [\"key-value\", \"metrics\"]\noutbound = [\"https://a.test\"]\n";
    desk.put("etc/proxy.toml", &format!("[plugins.chameleon]\n{granted}[plugins.chameleon.config]\nhosts = [\"named.test\"]\n"));
    desk.put("flows.har", &archive(|_| ()));
    let check = ["plugin", "check", "chameleon.wasm"];

    let named = text(&desk.run(&[&check[..], &["--settings", "etc/proxy.toml"]].concat()).await);
    let meant = text(&desk.run_with(&[("FLOWGATE_CONFIG", "etc/proxy.toml")], &check).await);

    for printed in [named, meant] {
        assert!(printed.contains("rule: hosts named.test;") && printed.ends_with("good\n"), "{printed}");
    }
    for command in ["test", "bench"] {
        let missing = desk.run(&["plugin", command, "chameleon.wasm", "flows.har", "--settings", "nowhere.toml"]).await;
        let said = String::from_utf8(missing.stderr).unwrap();
        assert!(missing.status.code() == Some(2) && said.contains("nowhere.toml"), "{said}");
    }
}

#[tokio::test]
async fn a_configuration_for_a_file_whose_name_is_no_plugins_is_refused() {
    let desk = Desk::new();
    let name = OsStr::from_bytes(b"chameleon\xff.wasm");
    fs::write(desk.path("").join(name), CHAMELEON).unwrap();

    let mut command = program::command(BINARY, &desk.path(""));
    let refused = program::output(command.args(["plugin", "check", "--config", "{}"]).arg(name)).await.unwrap();

    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(2) && said.contains("cannot be a plugin's file: its name is no UTF-8"), "{said}");
}
