//! What authors of plugins get wrong first, and what they are told, word for word: the cause and the mend. The texts are in `mistakes.txt`;
//! `UPDATE_GOLDEN=1` writes them anew: read the difference as somebody would who has never seen this program.

use std::{env, fs, path::Path};

use flowgate_testkit::guests::CHAMELEON;
use serde_json::{Value, json};

use crate::trying::{Desk, archive};

/// A component with every `from` replaced; both have one length, so that it stays well formed.
fn patched(from: &str, to: &str) -> Vec<u8> {
    let (from, to, mut octets) = (from.as_bytes(), to.as_bytes(), CHAMELEON.to_vec());
    assert_eq!(from.len(), to.len());
    let places: Vec<usize> = octets.windows(from.len()).enumerate().filter(|(_, window)| *window == from).map(|(at, _)| at).collect();
    assert!(!places.is_empty());
    places.into_iter().for_each(|at| octets[at..at + to.len()].copy_from_slice(to));
    octets
}

/// The commands and what they say, one after the other.
struct Book<'a> {
    desk: &'a Desk,
    text: String,
}

impl Book<'_> {
    /// What is wrong with a file of that content.
    async fn file(&mut self, what: &str, path: &str, octets: &[u8], command: &[&str]) {
        let place = self.desk.path(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, octets).unwrap();
        self.run(what, command).await;
    }

    /// The same of a plugin so configured.
    async fn configured(&mut self, what: &str, config: &Value) {
        let config = config.to_string();
        self.run(what, &["plugin", "test", "chameleon.wasm", "flows.har", "--config", &config]).await;
    }

    async fn run(&mut self, what: &str, command: &[&str]) {
        let output = self.desk.run_with(&[("RUST_LOG", "off")], command).await;
        let quoted = command.iter().map(|word| if word.contains(['{', '[']) { format!("'{word}'") } else { (*word).to_owned() });
        let printed = String::from_utf8(output.stdout).unwrap();
        // Of what a test prints, what it says of the flow, and records.
        let flow = printed.split_once("\nflow 1: ").map_or("", |(_, flow)| flow);
        let flow: String = flow.lines().skip(1).map(|line| format!("{line}\n")).collect();
        let said = String::from_utf8(output.stderr).unwrap();
        let code = output.status.code().unwrap();
        self.text += &format!("## {what}\n$ flowgate {}\n{flow}{said}(exit code {code})\n\n", quoted.collect::<Vec<_>>().join(" "));
    }
}

#[tokio::test]
async fn each_mistake_is_told_with_its_cause_and_its_mend() {
    let desk = Desk::new();
    desk.put("flows.har", &archive(|_| {}));
    // What computes too long is told so on a busy machine, too.
    desk.put("flowgate.toml", "[plugins.chameleon]\nwall = \"5m\"\n");
    let mut book = Book { desk: &desk, text: String::new() };

    let check = async |book: &mut Book<'_>, what: &str, path: &str, octets: &[u8]| {
        book.file(what, path, octets, &["plugin", "check", path]).await;
    };
    book.run("There is no such file", &["plugin", "check", "none.wasm"]).await;
    check(&mut book, "The file is empty", "empty.wasm", b"").await;
    check(&mut book, "The file is something else", "text.wasm", b"print('hello')").await;
    check(&mut book, "The file is a core module", "core.wasm", b"\0asm\x01\0\0\0").await;
    check(&mut book, "The file is not whole", "half.wasm", &CHAMELEON[..CHAMELEON.len() / 2]).await;
    check(&mut book, "The file's name does not end in .wasm", "plugin.bin", CHAMELEON).await;
    check(&mut book, "The file was renamed", "renamed.wasm", CHAMELEON).await;
    check(&mut book, "The file has another plugin's name", "logger.wasm", CHAMELEON).await;
    book.file("The WIT of a file that has none", "core.wasm", b"\0asm\x01\0\0\0", &["plugin", "inspect", "core.wasm"]).await;

    let wrong = [
        ("It is a component and no plugin", "no-plugin", "plugin/lifecycle@", "plugin/lifecykle@"),
        ("The lifecycle is in a package of one's own", "own-package", "flowgate:plugin/lifecycle@", "my-house:plugin/lifecycle@"),
        ("A hook is misspelt", "misspelt-hook", "plugin/observer@", "plugin/observes@"),
        ("A function is misspelt", "misspelt-function", "on-flow-end", "on-flow-off"),
        ("It was built for another version of the contract", "newer", "@0.1.0", "@0.2.0"),
        ("It asks for a capability that there is not", "misspelt-capability", "plugin/key-value@", "plugin/key-volue@"),
        ("It asks for more of WASI than there is", "with-http", "wasi:cli/environment@", "wasi:http/environmen@"),
    ];
    for (what, folder, from, to) in wrong {
        check(&mut book, what, &format!("{folder}/chameleon.wasm"), &patched(from, to)).await;
    }

    let test = |argument: &'static str| ["plugin", "test", "chameleon.wasm", "flows.har", "--config", argument];
    book.run("The configuration is no JSON", &test("{hosts: a.test}")).await;
    book.run("The configuration is no object", &test("[\"a.test\"]")).await;
    book.run("The configuration's file is missing", &test("@none.json")).await;
    book.configured("A key of the configuration has another type", &json!({ "limit": "many" })).await;
    book.configured("The plugin refuses its configuration", &json!({ "configure": "fail" })).await;
    book.configured("configure panics", &json!({ "configure": "trap" })).await;
    book.configured("configure never ends", &json!({ "configure": "spin" })).await;
    book.configured("configure registers differently every time", &json!({ "configure": "lie" })).await;
    book.run("A grant was forgotten", &["plugin", "check", "chameleon.wasm"]).await;

    book.configured("A rule's host is a URL", &json!({ "hosts": ["https://a.test"] })).await;
    book.configured("A tunnel's hook panics", &json!({ "on_connect": "trap" })).await;
    book.configured("A hook panics", &json!({ "on_request": "trap" })).await;
    book.configured("A hook never ends", &json!({ "on_request": "spin" })).await;
    book.configured("A hook calls itself without end", &json!({ "on_request": "recurse" })).await;
    book.configured("A hook ends the process", &json!({ "on_request": "exit" })).await;
    book.configured("An answer has no status that there is", &json!({ "on_request": "answer", "status": 99 })).await;
    book.configured("A field belongs to the host", &json!({ "on_request": "set-header", "header": ["content-length", "1"] })).await;
    book.configured("Paths of records leave the folder", &json!({ "records": ["/etc/passwd", "../up", ".hidden", "a//b", "a\\b"] })).await;
    book.configured("A request of its own has no answer", &json!({ "errands": [{ "fetch": ["GET", "https://b.test/x", 0, 0] }] })).await;

    for (what, path, content) in [
        ("An archive is cut off", "cut.har", "{\"log\": {\"entr"),
        ("Flows are JSON of another kind", "other.json", "{\"a\": 1}"),
        ("Flows are something else", "flows.txt", "GET / HTTP/1.1"),
    ] {
        book.file(what, path, content.as_bytes(), &["plugin", "test", "chameleon.wasm", path]).await;
    }
    let relative = archive(|entry| entry["request"]["url"] = "/chat".into());
    book.file("A URL is none", "relative.har", relative.as_bytes(), &["plugin", "test", "chameleon.wasm", "relative.har"]).await;
    book.run("There are no flows", &["plugin", "test", "chameleon.wasm", "none.har"]).await;
    book.run("There are no golden files yet", &["plugin", "test", "chameleon.wasm", "flows.har", "--golden", "none"]).await;

    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/mistakes.txt");
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, &book.text).unwrap();
    }
    assert_eq!(book.text, fs::read_to_string(&golden).unwrap(), "UPDATE_GOLDEN=1 writes them anew");
    assert!(!desk.path("none").exists());
}
