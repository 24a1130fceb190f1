//! Old records go, with the real command and while the proxy runs.

use std::{
    fs::{self, File},
    path::Path,
    time::{Duration, SystemTime},
};

use flowgate_testkit::{
    Origin,
    program::{self, Program},
    records::Records,
    within,
};
use tempfile::TempDir;

use crate::copilot;

const BINARY: &str = env!("CARGO_BIN_EXE_flowgate");
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A file of that age.
fn put(folder: &Path, path: &str, days: u32) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "{}").unwrap();
    File::options().write(true).open(&path).unwrap().set_modified(SystemTime::now() - days * DAY).unwrap();
}

fn logs() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, days) in [
        ("logs/completions/1.json", 50),
        ("logs/completions/2.json", 40),
        ("logs/completions/3.json", 20),
        ("logs/telemetry/1.json", 90),
        ("logs/telemetry/2.json", 35),
        ("logs/redact/deep/1", 70),
        ("logs/redact/deep/2", 60),
    ] {
        put(folder.path(), path, days);
    }
    folder
}

fn names(folder: &Path) -> Vec<String> {
    let logs = folder.join("logs");
    let paths = Records::in_folder(&logs).paths();
    paths.iter().map(|path| path.strip_prefix(&logs).unwrap().display().to_string()).collect()
}

const AFTER_30_DAYS: [&str; 3] = ["completions/3.json", "redact/deep/2", "telemetry/2.json"];

async fn prune(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = program::command(BINARY, folder);
    let output = program::output(command.args(["records", "prune"]).args(arguments)).await.unwrap();
    (output.status.code(), format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

#[tokio::test]
async fn the_command_deletes_what_is_old_and_says_before_what_that_would_be() {
    let folder = logs();
    let all = names(folder.path());

    let dry = prune(folder.path(), &["--max-age", "30d", "--dry-run"]).await;
    assert_eq!((dry.0, dry.1.starts_with("would be deleted: 4 records"), names(folder.path())), (Some(0), true, all), "{}", dry.1);
    let done = prune(folder.path(), &["--max-age", "30d"]).await;
    assert_eq!((done.0, done.1.starts_with("deleted: 4 records")), (Some(0), true), "{}", done.1);
    assert_eq!(names(folder.path()), AFTER_30_DAYS);

    let refused = prune(folder.path(), &[]).await;
    assert!(refused.0 == Some(2) && refused.1.contains("nothing says which records are old"), "{}", refused.1);
    let refused = prune(folder.path(), &["--max-age", "5m"]).await;
    assert!(refused.0 == Some(2) && refused.1.contains("must be between 1h"), "{}", refused.1);
    let refused = prune(folder.path(), &["--max-count", "1", "--logs", "."]).await;
    assert!(refused.0 == Some(2) && refused.1.contains("give records a folder of their own"), "{}", refused.1);
    fs::write(folder.path().join("flowgate.toml"), "[records]\nmax-count = 1\n").unwrap();
    put(folder.path(), "logs/completions/0.json", 100);
    assert_eq!(prune(folder.path(), &[]).await.0, Some(0));
    assert_eq!(names(folder.path()), AFTER_30_DAYS, "the newest of each folder stays");
}

#[tokio::test]
async fn the_command_deletes_nothing_that_the_proxy_was_told_of_by_whatever_means() {
    let folder = logs();
    let all = names(folder.path());
    for (flag, variable) in [
        ("--state", "FLOWGATE_STATE"),
        ("--plugins", "FLOWGATE_PLUGINS"),
        ("", "FLOWGATE_USERS"),
        ("", "FLOWGATE_RECORD"),
        ("", "FLOWGATE_UPSTREAM_CA"),
        ("", "FLOWGATE_ADMIN_TOKEN_FILE"),
    ] {
        let told = "logs/completions/deep";
        let mut command = program::command(BINARY, folder.path());
        command.args(["records", "prune", "--max-count", "1"]).env(variable, told);
        let mut refused = vec![program::output(&mut command).await.unwrap()];
        if !flag.is_empty() {
            let mut command = program::command(BINARY, folder.path());
            refused.push(program::output(command.args(["records", "prune", "--max-count", "1", flag, told])).await.unwrap());
        }
        for refused in refused {
            let said = String::from_utf8_lossy(&refused.stderr);
            assert!(refused.status.code() == Some(2) && said.contains(told) && said.contains("as well"), "{variable}: {said}");
        }
    }
    assert_eq!(names(folder.path()), all);
}

#[tokio::test]
async fn a_state_folder_below_the_records_that_nobody_told_of_stays() {
    let folder = logs();
    let mut command = program::command(BINARY, folder.path());
    let made = program::output(command.args(["ca", "create", "--state", "logs/state"])).await.unwrap();
    assert!(made.status.success(), "{made:?}");
    for file in ["flowgate-ca.pem", "flowgate-ca-key.pem"] {
        let file = File::options().append(true).open(folder.path().join("logs/state").join(file)).unwrap();
        file.set_modified(SystemTime::now() - 300 * DAY).unwrap();
    }
    put(folder.path(), "logs/state/key-value.redb", 300);

    let done = prune(folder.path(), &["--max-age", "30d"]).await;

    assert!(done.1.starts_with("deleted: 4 records"), "{}", done.1);
    let left = fs::read_dir(folder.path().join("logs/state")).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = left.filter(|name| !name.to_string_lossy().contains("lock")).collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

/// Waits until that is left.
async fn until_left(folder: &Path, expected: &[&str]) {
    within("the end of old records", async {
        while names(folder) != expected {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn old_records_go_while_the_proxy_runs() {
    let folder = logs();
    let all = names(folder.path());
    let origin = Origin::saying("ok").await;
    let resolve = format!("{}:443={}", copilot::HOST, origin.address());
    let program = Program::start_in(folder, BINARY, &["--resolve", &resolve]).await;
    let configuration = program.folder().join("flowgate.toml");
    assert_eq!(names(program.folder()), all, "nothing was said about them");

    fs::write(&configuration, "[records]\nmax-age = '30d'\n").unwrap();
    let said = program.command(BINARY, &["reload"]).await;
    assert!(said.status.success(), "{said:?}");
    until_left(program.folder(), &AFTER_30_DAYS).await;
    let mut connection = program.client().h1(&format!("{}:443", copilot::HOST)).await.unwrap();
    connection.exchange(copilot::completion(copilot::HOST, "1", b"{}")).await.unwrap();
    program.records().after(3).await;
    let scraped = within("the count", async {
        loop {
            let scraped = scrape(&program).await;
            if scraped.contains("flowgate_records_deleted_total 4\n") {
                return scraped;
            }
        }
    })
    .await;
    assert!(
        scraped.contains("flowgate_records_deleted_bytes_total 8\n") && scraped.contains("flowgate_records_delete_failed_total 0\n"),
        "{scraped}"
    );

    // And at the start.
    let (_, folder) = program.terminate().await;
    put(folder.path(), "logs/completions/0.json", 100);
    let program = Program::start_in(folder, BINARY, &[]).await;
    within("the end of the old record", async {
        while names(program.folder()).iter().any(|name| name == "completions/0.json") {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

async fn scrape(program: &Program) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut socket = tokio::net::UnixStream::connect(program.folder().join("state/admin.sock")).await.unwrap();
    socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: flowgate\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}
