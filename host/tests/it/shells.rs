//! What shells and `man` are told of the command line, read by real ones.

use std::{fs, path::Path, process::Output};

use flowgate_testkit::program;
use tokio::process::Command;

const BINARY: &str = env!("CARGO_BIN_EXE_flowgate");

async fn run(folder: &Path, arguments: &[&str]) -> Output {
    let output = program::output(program::command(BINARY, folder).args(arguments)).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    output
}

#[tokio::test]
async fn bash_completes_commands_flags_and_values() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("flowgate.bash");
    fs::write(&script, run(folder.path(), &["completions", "bash"]).await.stdout).unwrap();
    let table = [
        ("pl", "plugin"),
        ("doctor --thr", "--through"),
        ("plugin roll", "rollback"),
        ("usage --format c", "csv"),
        ("records prune --dry", "--dry-run"),
    ];

    for (typed, expected) in table {
        // As bash does at the key: words so far, the last of them unfinished.
        let words = typed.split(' ').count();
        let ask = format!(
            "source \"$0\"; COMP_WORDS=(flowgate {typed}); COMP_CWORD={words}; _flowgate flowgate \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        let output = Command::new("bash").args(["--norc", "--noprofile", "-c", &ask]).arg(&script).output().await.unwrap();

        let offered = String::from_utf8(output.stdout).unwrap();
        assert!(offered.lines().any(|word| word == expected), "{typed}: {offered:?} {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_could_not_be_printed_is_no_success() {
    let folder = tempfile::tempdir().unwrap();

    for arguments in [&["completions", "bash"][..], &["plugin", "wit"], &["ca", "export"], &["ca", "show"], &["check"]] {
        let mut command = program::command("/bin/sh", folder.path());
        let output = program::output(command.args(["-c", r#"exec "$0" "$@" >/dev/full"#, BINARY]).args(arguments)).await.unwrap();

        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("flowgate: writing to standard output: No space left on device"), "{arguments:?}: {said}");
    }
}

#[tokio::test]
async fn every_shell_has_a_script_that_names_every_command() {
    let folder = tempfile::tempdir().unwrap();

    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = String::from_utf8(run(folder.path(), &["completions", shell]).await.stdout).unwrap();
        for command in ["check", "doctor", "rollback", "prune", "completions", "man"] {
            assert!(script.contains(command), "{shell} does not know {command}");
        }
        // What only the proxy itself runs is offered to nobody.
        assert!(!script.contains("__compile"), "{shell}");
    }
    let unknown = program::output(program::command(BINARY, folder.path()).args(["completions", "csh"])).await.unwrap();
    assert_eq!(unknown.status.code(), Some(2));
}

#[tokio::test]
async fn every_command_has_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("deep/man1");

    run(folder.path(), &["man", "--dir", "deep/man1"]).await;

    let page = |name: &str| fs::read_to_string(pages.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    for (name, expected) in [
        ("flowgate.1", "flowgate\\-doctor(1)"),
        ("flowgate-run.1", "FLOWGATE_LISTEN"),
        ("flowgate-plugin-rollback.1", "another content"),
        ("flowgate-records-prune.1", "\\-\\-dry\\-run"),
    ] {
        let page = page(name);
        // Roff: a title, then the sections that man looks for.
        for part in [".TH ", ".SH NAME\n", ".SH SYNOPSIS\n", expected] {
            assert!(page.contains(part), "{part} is not in {name}: {page}");
        }
    }
    assert!(!pages.join("flowgate-__compile.1").exists());
    // No token or password that is set where pages are made ends in them.
    let mut command = program::command(BINARY, folder.path());
    command
        .args(["man", "--dir", "other"])
        .env("FLOWGATE_ADMIN_TOKEN", "not-a-real-token-at-all")
        .env("FLOWGATE_UPSTREAM_PROXY", "http://ana:s3cret@x");
    assert!(program::output(&mut command).await.unwrap().status.success());
    for file in fs::read_dir(folder.path().join("other")).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(!text.contains("s3cret") && !text.contains("not-a-real-token"), "{text}");
    }
}
