//! What an operator asks of a running proxy, with the commands that ask it.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Output, Stdio},
};

use flowgate::{plugin::LOGGER_WASM, tls::rotation};
use flowgate_testkit::{
    Gate, Origin, Script, Setup,
    client::request,
    program::{self, Program},
    within,
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
};

use crate::copilot;

const BINARY: &str = env!("CARGO_BIN_EXE_flowgate");

/// A proxy that finds Copilot's host at `origin`, and its target.
async fn running(origin: &Origin) -> (Program, String) {
    let target = format!("{}:443", copilot::HOST);
    let resolve = format!("{target}={}", origin.address());
    (Program::start(BINARY, &["--resolve", &resolve]).await, target)
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn refused(output: &Output) -> (i32, String) {
    assert!(output.stdout.is_empty(), "{output:?}");
    (output.status.code().unwrap(), String::from_utf8(output.stderr.clone()).unwrap())
}

#[tokio::test]
async fn plugins_are_listed_with_what_happened_to_them() {
    let origin = Origin::saying("ok").await;
    let (program, target) = running(&origin).await;
    let mut connection = program.client().h1(&target).await.unwrap();
    connection.exchange(copilot::completion(copilot::HOST, "1", b"{}")).await.unwrap();
    // The record is what the observer's call leaves.
    program.records().after(1).await;

    let list: Value = serde_json::from_str(&printed(&program.command(BINARY, &["plugin", "list", "--json"]).await)).unwrap();
    let table = printed(&program.command(BINARY, &["plugin", "list"]).await);

    let logger = &list[0];
    assert_eq!((logger["name"].as_str(), logger["state"].as_str(), &logger["file"]), (Some("logger"), Some("serving"), &Value::Null));
    assert_eq!((logger["failures"].as_u64(), logger["lost"].as_u64()), (Some(0), Some(0)));
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("NAME") && lines[1].starts_with("logger") && lines[1].contains("serving"), "{table}");
}

#[tokio::test]
async fn a_flow_is_explained() {
    let origin = Origin::saying("ok").await;
    let (program, target) = running(&origin).await;
    let mut connection = program.client().with_user("ana", "").h1(&target).await.unwrap();
    connection.exchange(copilot::completion(copilot::HOST, "1", b"{}")).await.unwrap();
    program.records().after(1).await;

    let list = printed(&program.command(BINARY, &["why"]).await);
    let number = list.lines().nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    let explained = within("the note of the call", async {
        loop {
            let explained = printed(&program.command(BINARY, &["why", &number]).await);
            if explained.contains("observed") {
                return explained;
            }
        }
    })
    .await;

    let url = format!("https://{}{}", copilot::HOST, copilot::COMPLETIONS);
    assert!(explained.contains(&format!("POST {url} for ana: 200, completed")), "{explained}");
    assert!(explained.lines().any(|line| line.starts_with("logger") && line.contains("on-flow-end")), "{explained}");
}

#[tokio::test]
async fn a_flow_nobody_knows_is_said_to_be_unknown() {
    let origin = Origin::saying("ok").await;
    let (program, _) = running(&origin).await;

    let (code, said) = refused(&program.command(BINARY, &["why", "123456"]).await);

    assert_eq!(code, 2);
    assert!(said.contains("nothing is known of flow 123456"), "{said}");
}

#[tokio::test]
async fn who_asks_a_proxy_that_does_not_run_is_told_where_it_was_sought() {
    let origin = Origin::saying("ok").await;
    let (program, _) = running(&origin).await;
    let folder = program.kill().await;

    let mut command = program::command(BINARY, folder.path());
    let output = program::output(command.args(["plugin", "list", "--state", "state"])).await.unwrap();

    let (code, said) = refused(&output);
    assert_eq!(code, 1);
    assert!(said.contains("state/admin.sock") && said.contains("is it running"), "{said}");
}

#[tokio::test]
async fn a_socket_left_behind_is_taken_over() {
    let origin = Origin::saying("ok").await;
    let (program, _) = running(&origin).await;
    let folder = program.kill().await;
    assert!(folder.path().join("state/admin.sock").exists());

    let program = Program::start_in(folder, BINARY, &[]).await;

    printed(&program.command(BINARY, &["plugin", "list"]).await);
}

#[tokio::test]
async fn two_proxies_do_not_share_a_state_folder() {
    let origin = Origin::saying("ok").await;
    let (program, _) = running(&origin).await;

    let second = ["run", "--listen", "127.0.0.1:0", "--logs", "other"];
    let (code, said) = refused(&program.command(BINARY, &second).await);

    assert_eq!(code, 1);
    assert!(said.contains("another flowgate runs with the state folder") && said.contains("--state"), "{said}");
}

#[tokio::test]
async fn only_the_proxys_own_user_may_ask() {
    let origin = Origin::saying("ok").await;
    let (program, _) = running(&origin).await;

    let mode = fs::metadata(program.folder().join("state/admin.sock")).unwrap().permissions().mode();

    assert_eq!(mode & 0o777, 0o600);
}

/// The logger with other octets: a custom section at its end holds one more.
fn another_logger(number: u8) -> Vec<u8> {
    let mut octets = LOGGER_WASM.to_vec();
    octets.extend([0, 3, 1, b'v', number]);
    octets
}

fn put(program: &Program, octets: &[u8]) {
    let beside = program.folder().join("beside");
    fs::write(&beside, octets).unwrap();
    fs::rename(beside, program.folder().join("plugins/logger.wasm")).unwrap();
}

async fn listed(program: &Program) -> Value {
    serde_json::from_str(&printed(&program.command(BINARY, &["plugin", "list", "--json"]).await)).unwrap()
}

#[tokio::test]
async fn a_build_is_compiled_beside_the_proxy_and_gone_back_from() {
    let origin = Origin::saying("ok").await;
    let (program, target) = running(&origin).await;
    let built_in = listed(&program).await[0]["hash"].clone();

    put(&program, &another_logger(1));
    let said = printed(&program.command(BINARY, &["plugin", "reload"]).await);
    let swapped = listed(&program).await[0].clone();
    let back = printed(&program.command(BINARY, &["plugin", "rollback", "logger"]).await);
    let undone = listed(&program).await[0].clone();

    assert!(said.contains("logger: version") && said.contains("is live") || said.contains("logger: unchanged"), "{said}");
    assert_ne!(swapped["hash"], built_in);
    assert!(back.contains("logger: back to version"), "{back}");
    assert_eq!((&undone["hash"], &undone["rolled_back_from"]), (&built_in, &swapped["hash"]));
    let mut connection = program.client().h1(&target).await.unwrap();
    connection.exchange(copilot::completion(copilot::HOST, "1", b"{}")).await.unwrap();
    program.records().after(1).await;
}

#[tokio::test]
async fn a_build_that_cannot_be_compiled_is_refused_with_the_reason() {
    let origin = Origin::saying("ok").await;
    let (program, _) = running(&origin).await;
    let built_in = listed(&program).await[0]["hash"].clone();

    put(&program, &LOGGER_WASM[..LOGGER_WASM.len() / 2]);
    let said = printed(&program.command(BINARY, &["plugin", "reload"]).await);
    let table = printed(&program.command(BINARY, &["plugin", "list"]).await);

    assert!(said.contains("logger: refused: it cannot be compiled: "), "{said}");
    assert!(table.contains("logger: what its file holds is refused: it cannot be compiled"), "{table}");
    assert_eq!(listed(&program).await[0]["hash"], built_in);
    let (code, said) = refused(&program.command(BINARY, &["plugin", "rollback", "logger"]).await);
    assert!(code == 2 && said.contains("nothing to go back to"), "{said}");
}

#[tokio::test]
async fn a_plugin_takes_new_settings_without_a_restart() {
    let origin = Origin::saying("ok").await;
    let (program, target) = running(&origin).await;
    let file = program.folder().join("flowgate.toml");

    fs::write(&file, "[plugins.logger]\nconfig = { nonsense = 1 }\n").unwrap();
    let (code, said) = refused(&program.command(BINARY, &["reload"]).await);
    assert!(code == 2 && said.contains("plugin logger cannot take its new settings") && said.contains("nonsense"), "{said}");
    until_opened(&program, &target, true).await;

    fs::write(&file, "[plugins.logger]\nenabled = false\n").unwrap();
    printed(&program.command(BINARY, &["reload"]).await);
    until_opened(&program, &target, false).await;
}

#[tokio::test]
async fn what_is_counted_can_be_scraped() {
    let origin = Origin::saying("ok").await;
    let (program, _) = running(&origin).await;
    let socket = UnixStream::connect(program.folder().join("state/admin.sock")).await.unwrap();
    let mut socket = BufReader::new(socket);

    socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: flowgate\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();

    assert!(answer.starts_with("HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\n"), "{answer}");
    assert!(answer.contains("plugin=\"logger\""), "{answer}");
}

#[tokio::test]
async fn the_compiler_keeps_to_its_memory_and_ends_with_who_asked() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let compile = |memory: &str, octets: Vec<u8>| {
        let mut command = program::command(BINARY, folder.path());
        command.arg("__compile").arg("--cache").arg(&cache).args(["--cache-bytes", "1000000000", "--niceness", "10", "--memory", memory]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        async move {
            let mut child = command.spawn().unwrap();
            let mut input = child.stdin.take().unwrap();
            let _ = input.write_all(&(LOGGER_WASM.len() as u64).to_le_bytes()).await;
            let _ = input.write_all(&octets).await;
            drop(input);
            within("the end of the compiler", child.wait_with_output()).await.unwrap()
        }
    };

    let poor = compile("100000000", LOGGER_WASM.to_vec()).await;
    let left = compile("8000000000", LOGGER_WASM[..1000].to_vec()).await;

    assert!(!poor.status.success(), "{poor:?}");
    assert!(!left.status.success() && String::from_utf8_lossy(&left.stderr).contains("ends early"), "{left:?}");
    assert!(!cache.exists() || fs::read_dir(&cache).unwrap().next().is_none());
}

/// Waits until the proxy looks into `target`'s TLS, or no longer does.
async fn until_opened(program: &Program, target: &str, opened: bool) {
    within("the change of configuration", async {
        loop {
            let answer = program.client().h1(target).await;
            if answer.is_ok() == opened {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_changed_configuration_is_taken_over() {
    let origin = Origin::saying("ok").await;
    let (program, target) = running(&origin).await;
    until_opened(&program, &target, true).await;
    let file = program.folder().join("flowgate.toml");

    fs::write(&file, "tunnel = '*.example.test'\n").unwrap();
    let said = printed(&program.command(BINARY, &["reload"]).await);
    assert!(said.contains("taken over: tunnel") || said.contains("nothing in the configuration has changed"), "{said}");
    let spliced = program.client().h1(&target).await;
    assert!(spliced.is_err(), "the root of the proxy was shown to a client that does not trust the origin");

    fs::write(&file, "").unwrap();
    program.hang_up().await;
    until_opened(&program, &target, true).await;
}

#[tokio::test]
async fn a_connection_of_before_a_reload_carries_nothing_after_it() {
    let gate = Gate::new();
    let origin = Origin::start(Setup::clear(), {
        let gate = gate.clone();
        move |_| Script::new(200).data("some ").hold(&gate).data("of it")
    })
    .await;
    let program = Program::start(BINARY, &[]).await;
    let asked = request("GET", &origin.root(), &origin.authority(), &[], b"");
    let (mut client, mut other) = (program.client().to_proxy().await.unwrap(), program.client().to_proxy().await.unwrap());
    client.send(&asked).await.unwrap();
    let answer = client.begin("GET").await.unwrap();

    fs::write(program.folder().join("flowgate.toml"), "[destinations]\ndeny = ['127.0.0.0/8', '::1/128']\n").unwrap();
    printed(&program.command(BINARY, &["reload"]).await);
    gate.open_for(3);

    assert_eq!(answer.finish().await.text(), "some of it", "what is under way goes on");
    for client in [&mut client, &mut other] {
        assert_eq!(client.exchange(&asked).await.unwrap().status(), 403);
    }
    assert_eq!(origin.seen().len(), 1);
}

#[tokio::test]
async fn a_changed_file_is_noticed() {
    let origin = Origin::saying("ok").await;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("flowgate.toml"), "").unwrap();
    let target = format!("{}:443", copilot::HOST);
    let resolve = format!("{target}={}", origin.address());
    let program = Program::start_in(folder, BINARY, &["--resolve", &resolve]).await;
    until_opened(&program, &target, true).await;

    fs::write(program.folder().join("flowgate.toml"), "tunnel = '*.example.test'\n").unwrap();

    until_opened(&program, &target, false).await;
}

#[tokio::test]
async fn what_keeps_the_proxy_from_starting_is_found_by_check() {
    let folder = tempfile::tempdir().unwrap();
    for (file, token, mode) in [("short", "abc", 0o600), ("open", "0123456789abcdef", 0o644)] {
        fs::write(folder.path().join(file), token).unwrap();
        fs::set_permissions(folder.path().join(file), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::write(folder.path().join("a.har"), "hello").unwrap();
    fs::write(folder.path().join("flowgate.toml"), "[plugins.logger]\nenabled = false\n").unwrap();
    let admin = ["--admin", "127.0.0.1:0"];
    let cases: [(&[&str], &str, &str); 7] = [
        (&["--record", "none/x.flows"], "", "none/x.flows"),
        (&["--record", "a.har"], "", "it is no flow file"),
        (&["--admin-token-file", "none/token"], "", "none/token"),
        (&["--admin-token-file", "short"], "", "at least 16 characters"),
        (&["--admin-token-file", "open"], "", "chmod 600"),
        (&[], "abc", "at least 16 characters"),
        (&[], "", "flowgate-ca-next-key.pem (mode 644)"),
    ];
    for (arguments, token, expected) in cases {
        if expected.contains("next-key") {
            let state = folder.path().join("state");
            rotation::begin(&state, None).unwrap();
            fs::set_permissions(state.join("flowgate-ca-next-key.pem"), fs::Permissions::from_mode(0o644)).unwrap();
        }
        for command in ["check", "run"] {
            let mut tried = program::command(BINARY, folder.path());
            tried.args([command, "--listen", "127.0.0.1:0", "--state", "state", "--logs", "logs"]).args(admin).args(arguments);
            if !token.is_empty() {
                tried.env("FLOWGATE_ADMIN_TOKEN", token);
            }
            let output = program::output(&mut tried).await.unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.code() == Some(1) && said.contains(expected), "{command} {arguments:?}: {said}");
        }
    }
}

#[tokio::test]
async fn users_that_nobody_asks_for_keep_nothing_from_starting() {
    let program = Program::start(BINARY, &["--users", "nobody", "--auth", "identify"]).await;

    let checked = printed(&program.command(BINARY, &["check", "--users", "nobody", "--auth", "identify"]).await);

    assert!(checked.contains("# users: not looked at") && checked.contains("# good"), "{checked}");
}

#[tokio::test]
async fn a_broken_configuration_keeps_no_command_from_a_folder_that_is_named() {
    let origin = Origin::saying("ok").await;
    let (program, _) = running(&origin).await;
    for (broken, code) in [("listen = '0.0.0.0:1'\n", 0), ("nonsense", 2)] {
        fs::write(program.folder().join("flowgate.toml"), broken).unwrap();

        assert!(printed(&program.command(BINARY, &["plugin", "list"]).await).contains("logger"), "{broken}");
        assert!(printed(&program.command(BINARY, &["ca", "export"]).await).contains("BEGIN CERTIFICATE"), "{broken}");
        let named = program.command(BINARY, &["ca", "show", "--config", "flowgate.toml"]).await;
        assert_eq!(named.status.code(), Some(code), "{broken}: what is named is read");
    }
}

#[tokio::test]
async fn who_looks_for_a_folder_needs_not_say_all_that_the_proxy_was_told() {
    let folder = tempfile::tempdir().unwrap();
    for (logs, users) in [("from-file", None), ("from-variable", Some("users"))] {
        fs::create_dir_all(folder.path().join(logs)).unwrap();
        fs::write(folder.path().join("flowgate.toml"), "listen = '0.0.0.0:1'\nlogs = 'from-file'\n").unwrap();
        let asked = |arguments: &[&str]| {
            let mut command = program::command(BINARY, folder.path());
            command.args(arguments).env("FLOWGATE_STATE", "state");
            if let Some(users) = users {
                command.env("FLOWGATE_USERS", users).env("FLOWGATE_LOGS", logs);
            }
            async move { program::output(&mut command).await.unwrap() }
        };

        printed(&asked(&["usage", "--config", "flowgate.toml"]).await);
        let pruned = printed(&asked(&["records", "prune", "--max-count", "1", "--config", "flowgate.toml"]).await);
        assert!(pruned.contains("deleted"), "{pruned}");
        let (_, said) = refused(&asked(&["plugin", "check", "none.wasm"]).await);
        assert!(said.contains("none.wasm") && !said.contains("listening on"), "{said}");
    }
}

#[tokio::test]
async fn a_users_file_that_the_proxy_would_refuse_is_spoken_of_when_a_user_is_added() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("users"), "bo:plain-text\n").unwrap();
    fs::set_permissions(folder.path().join("users"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(folder.path().join("password"), "not-a-secret\n").unwrap();

    let mut command = program::command(BINARY, folder.path());
    command.args(["user", "add", "ana", "--users", "users", "--bcrypt", "--password-stdin"]);
    let output = program::output(command.stdin(fs::File::open(folder.path().join("password")).unwrap())).await.unwrap();

    let said = printed(&output);
    assert!(said.contains("ana added") && said.contains("the proxy refuses the whole file") && said.contains("line 1"), "{said}");
    assert!(said.contains("every user of this machine can read it (mode 644)"), "{said}");
    assert_eq!(fs::metadata(folder.path().join("users")).unwrap().permissions().mode() & 0o777, 0o644);
    let mut command = program::command(BINARY, folder.path());
    let said = printed(&program::output(command.args(["user", "remove", "ana", "--users", "users"])).await.unwrap());
    assert!(said.contains("ana taken out") && said.contains("line 1") && said.contains("mode 644"), "{said}");
}

#[tokio::test]
async fn a_number_of_threads_that_is_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = program::command(BINARY, folder.path());
    command.args(["run", "--listen", "127.0.0.1:0"]).env("TOKIO_WORKER_THREADS", "0");

    let (code, said) = refused(&program::output(&mut command).await.unwrap());

    assert!(code == 2 && said.contains("TOKIO_WORKER_THREADS is \"0\""), "{said}");
}

#[tokio::test]
async fn a_file_that_comes_after_the_start_is_noticed() {
    let origin = Origin::saying("ok").await;
    let (program, target) = running(&origin).await;
    until_opened(&program, &target, true).await;

    fs::write(program.folder().join("flowgate.toml"), "tunnel = '*.example.test'\n").unwrap();

    until_opened(&program, &target, false).await;
}

#[tokio::test]
async fn a_file_that_is_gone_leaves_what_it_said_in_force_and_is_followed() {
    let origin = Origin::saying("ok").await;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("flowgate.toml"), "tunnel = '*.example.test'\n").unwrap();
    let resolve = format!("{}:443={}", copilot::HOST, origin.address());
    let target = format!("{}:443", copilot::HOST);
    let program = Program::start_in(folder, BINARY, &["--resolve", &resolve]).await;
    assert!(program.client().h1(&target).await.is_err());

    fs::remove_file(program.folder().join("flowgate.toml")).unwrap();
    let (code, said) = refused(&program.command(BINARY, &["reload"]).await);

    assert!(code == 2 && said.contains("flowgate.toml is gone"), "{said}");
    assert!(program.client().h1(&target).await.is_err(), "it is left alone as before");
    fs::write(program.folder().join("flowgate.toml"), "").unwrap();
    until_opened(&program, &target, true).await;
}

#[tokio::test]
async fn what_was_refused_for_a_missing_file_is_taken_over_once_it_is_there() {
    let origin = Origin::saying("ok").await;
    let (program, target) = running(&origin).await;
    let file = program.folder().join("flowgate.toml");
    fs::write(&file, "tunnel = '*.example.test'\n[origins.'a.test']\nca = 'late.pem'\n").unwrap();
    let (code, said) = refused(&program.command(BINARY, &["reload"]).await);
    assert!(code == 2 && said.contains("late.pem"), "{said}");
    assert!(program.client().h1(&target).await.is_ok());

    fs::copy(program.folder().join("origins.pem"), program.folder().join("late.pem")).unwrap();

    until_opened(&program, &target, false).await;
}

#[tokio::test]
async fn a_bad_configuration_leaves_the_one_in_force() {
    let origin = Origin::saying("ok").await;
    let (program, target) = running(&origin).await;
    let mistakes = [
        ("tunel = '*.example.test'\n", "did you mean tunnel?"),
        ("tunnel = '*.example.test'\nupstream-ca = 'nowhere.pem'\nusers = 'nobody'\n", "nobody"),
        ("tunnel = '*.example.test'\ngrace = '1s'\n", "a change of grace takes a restart"),
    ];

    for (text, expected) in mistakes {
        fs::write(program.folder().join("flowgate.toml"), text).unwrap();
        let (code, said) = refused(&program.command(BINARY, &["reload"]).await);

        assert_eq!(code, 2, "{text}");
        assert!(said.contains(expected), "{text}: {said}");
        assert!(program.client().h1(&target).await.is_ok(), "{text}");
    }
}
