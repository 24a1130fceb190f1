//! What plugins store, in the proxy's real binary: over kills and restarts, and beside another process.

use std::path::Path;

use flowgate_testkit::{Origin, guests, program::Program};

const BINARY: &str = env!("CARGO_BIN_EXE_flowgate");

/// A chameleon that counts requests in the key-value store and tells of each.
fn prepare(folder: &Path) {
    std::fs::create_dir_all(folder.join("plugins")).unwrap();
    std::fs::write(folder.join("plugins/chameleon.wasm"), guests::CHAMELEON).unwrap();
    let configuration = "[plugins.chameleon]\nrequired = true\ngrants = ['key-value', 'metrics']\noutbound = 'https://a.test'\n\
                         config = { errands = [{ increment = ['n', 1] }] }\n";
    std::fs::write(folder.join("flowgate.toml"), configuration).unwrap();
}

/// The count as the guest told it last, which is written in its own time.
fn counts(folder: &Path) -> Vec<u64> {
    let text = std::fs::read_to_string(folder.join("logs/chameleon/errands")).unwrap_or_default();
    text.lines().map(|line| line.trim_start_matches("Ok(").trim_end_matches(')').parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_proxy_leaves_a_store_that_opens_and_goes_on() {
    const ROUNDS: u64 = 3;
    const REQUESTS: u64 = 20;
    let origin = Origin::saying("ok").await;
    let mut folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    for _ in 0..ROUNDS {
        let program = Program::start_in(folder, BINARY, &[]).await;
        for _ in 0..REQUESTS {
            assert_eq!(program.client().get(&origin.root()).await.unwrap().status(), 200);
        }
        folder = program.kill().await;
        std::fs::remove_file(folder.path().join("logs/chameleon/errands")).ok();
    }

    // Stopped in good order it loses nothing more.
    let mut last = 0;
    for _ in 0..2 {
        let program = Program::start_in(folder, BINARY, &[]).await;
        assert_eq!(program.client().get(&origin.root()).await.unwrap().status(), 200);
        let (code, left) = program.terminate().await;
        (folder, last) = (left, last + 1);
        let counts = counts(folder.path());
        assert_eq!((code, counts.len() as u64), (Some(0), last));
        assert!(
            counts.iter().all(|count| *count <= ROUNDS * REQUESTS + 2) && counts.is_sorted_by(|one, next| one + 1 == *next),
            "{counts:?}"
        );
    }
}

#[tokio::test]
async fn a_check_leaves_the_store_of_a_running_proxy_alone() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    let program = Program::start_in(folder, BINARY, &[]).await;

    let output = program.command(BINARY, &["check"]).await;

    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    for line in ["grants = [\"key-value\", \"metrics\", \"outbound\"]", "outbound = [\"https://a.test\"]", "uses ", "# good"] {
        assert!(printed.contains(line), "{line} is not in {printed}");
    }
}

#[tokio::test]
async fn a_damaged_store_is_said_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    std::fs::create_dir_all(folder.path().join("state")).unwrap();
    std::fs::write(folder.path().join("state/key-value.redb"), "no store").unwrap();

    for command in [["check", "--state", "state"], ["run", "--state", "state"]] {
        let mut ended = flowgate_testkit::program::command(BINARY, folder.path());
        let output = flowgate_testkit::program::output(ended.args(command).args(["--listen", "127.0.0.1:0"])).await.unwrap();

        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && said.contains("key-value.redb is damaged") && said.contains("move it away"),
            "{command:?}: {said}"
        );
    }
}
