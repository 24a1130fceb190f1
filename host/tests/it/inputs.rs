//! What is wrong with what an operator wrote: an exit code, and a sentence that names the file and the mend.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt, path::Path};

use flowgate_testkit::program::{command, output};

const BINARY: &str = env!("CARGO_BIN_EXE_flowgate");

/// What one mistake is and what is said about it.
struct Mistake {
    what: &'static str,
    arguments: &'static [&'static str],
    prepare: fn(&Path),
    /// 2 for what is written wrongly, 1 for what is not there or does not work.
    code: i32,
    /// All of these stand in what is said.
    said: &'static [&'static str],
}

const MISTAKES: &[Mistake] = &[
    Mistake {
        what: "a key that does not exist",
        arguments: &["--config", "flowgate.toml"],
        prepare: |folder| write(folder, "flowgate.toml", "lisen = '127.0.0.1:0'\n"),
        code: 2,
        said: &["flowgate.toml", "lisen", "listen"],
    },
    Mistake {
        what: "a configuration that is no TOML",
        arguments: &["--config", "flowgate.toml"],
        prepare: |folder| write(folder, "flowgate.toml", "listen = [\n"),
        code: 2,
        said: &["flowgate.toml"],
    },
    Mistake {
        what: "a configuration that is not there",
        arguments: &["--config", "nowhere.toml"],
        prepare: |_| {},
        code: 2,
        said: &["nowhere.toml"],
    },
    Mistake {
        what: "a users file that is not there",
        arguments: &["--users", "nobody"],
        prepare: |_| {},
        code: 1,
        said: &["nobody", "flowgate user add"],
    },
    Mistake {
        what: "a users file that is a folder",
        arguments: &["--users", "users"],
        prepare: |folder| fs::create_dir(folder.join("users")).unwrap(),
        code: 1,
        said: &["users"],
    },
    Mistake {
        what: "a users file with a password in clear",
        arguments: &["--users", "users"],
        prepare: |folder| write(folder, "users", "ana:s3cret\n"),
        code: 1,
        said: &["users", "line 1"],
    },
    Mistake {
        what: "listening for everybody",
        arguments: &["--listen", "0.0.0.0:0"],
        prepare: |_| {},
        code: 2,
        said: &["0.0.0.0:0", "--open", "--users"],
    },
    Mistake {
        what: "an origin authority that is not there",
        arguments: &["--upstream-ca", "nothing.pem"],
        prepare: |_| {},
        code: 1,
        said: &["nothing.pem"],
    },
    Mistake {
        what: "an origin authority that is no certificate",
        arguments: &["--upstream-ca", "empty.pem"],
        prepare: |folder| write(folder, "empty.pem", "nothing here\n"),
        code: 1,
        said: &["empty.pem"],
    },
    Mistake {
        what: "a log folder that is a file",
        arguments: &["--logs", "logs"],
        prepare: |folder| write(folder, "logs", ""),
        code: 1,
        said: &["logs", "--logs"],
    },
    Mistake {
        what: "a log folder in which nobody may write",
        arguments: &["--logs", "/proc/flowgate-logs"],
        prepare: |_| {},
        code: 1,
        said: &["/proc/flowgate-logs", "--logs"],
    },
    Mistake {
        what: "a plugin folder that is a file",
        arguments: &["--plugins", "plugins"],
        prepare: |folder| write(folder, "plugins", ""),
        code: 1,
        said: &["plugins"],
    },
    Mistake {
        what: "a state folder that is a file",
        arguments: &["--state", "state"],
        prepare: |folder| write(folder, "state", ""),
        code: 1,
        said: &["state"],
    },
];

#[tokio::test]
async fn every_mistake_is_named_and_nothing_is_started() {
    let mut wrong = Vec::new();
    for mistake in MISTAKES {
        let folder = tempfile::tempdir().unwrap();
        (mistake.prepare)(folder.path());

        let done = output(command(BINARY, folder.path()).args(run(mistake.arguments))).await.unwrap();

        let said = text(&done.stderr);
        let named = mistake.said.iter().all(|word| said.contains(word));
        if done.status.code() != Some(mistake.code) || !named || ["s3cret", "panicked"].iter().any(|word| said.contains(word)) {
            wrong.push(format!("{}: {:?}, not {} and {:?}: {said}", mistake.what, done.status, mistake.code, mistake.said));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn arguments_that_do_not_exist_are_a_usage_error() {
    let folder = tempfile::tempdir().unwrap();

    let done = output(command(BINARY, folder.path()).args(["run", "--lisen", "127.0.0.1:0"])).await.unwrap();

    assert_eq!(done.status.code(), Some(2));
    assert!(text(&done.stderr).contains("--listen"), "{}", text(&done.stderr));
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();

    let done = output(command(BINARY, folder.path()).args(["run", "--state", "state", "--listen", &address])).await.unwrap();

    let said = text(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(said.contains(&address) && said.contains("in use"), "{said}");
}

#[tokio::test]
async fn a_corrupt_root_is_named_and_kept() {
    let corruptions: [(&str, Corrupt); 4] = [
        ("cut off", |text| text[..text.len() / 2].to_owned()),
        ("empty", |_| String::new()),
        ("nonsense", |_| "nonsense\n".to_owned()),
        ("another's", |text| text.lines().rev().collect()),
    ];
    for (what, corrupt) in corruptions {
        for key in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let made = output(command(BINARY, folder.path()).args(["ca", "show", "--state", "state"])).await.unwrap();
            assert!(made.status.success(), "{}", text(&made.stderr));
            let path = root_file(&folder.path().join("state"), key);
            let corrupted = corrupt(&fs::read_to_string(&path).unwrap());
            fs::write(&path, &corrupted).unwrap();

            let done = output(command(BINARY, folder.path()).args(run(&[]))).await.unwrap();

            let said = text(&done.stderr);
            assert_eq!(done.status.code(), Some(1), "{what}, key: {key}: {said}");
            assert!(said.contains(path.file_name().unwrap().to_str().unwrap()), "{what}: {said}");
            assert_eq!(fs::read_to_string(&path).unwrap(), corrupted, "{what}: it was overwritten");
        }
    }
}

#[tokio::test]
async fn a_key_that_others_can_read_is_not_used_in_silence() {
    let folder = tempfile::tempdir().unwrap();
    output(command(BINARY, folder.path()).args(["ca", "show", "--state", "state"])).await.unwrap();
    let key = root_file(&folder.path().join("state"), true);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();

    let done = output(command(BINARY, folder.path()).args(["ca", "show", "--state", "state"])).await.unwrap();

    let mended = fs::metadata(&key).unwrap().permissions().mode() & 0o777 == 0o600;
    assert!(mended || text(&done.stderr).contains(key.file_name().unwrap().to_str().unwrap()), "{}", text(&done.stderr));
}

/// What becomes of a file.
type Corrupt = fn(&str) -> String;

fn run(arguments: &'static [&'static str]) -> Vec<&'static str> {
    let has = |flag: &str| arguments.contains(&flag);
    let mut all = vec!["run"];
    for (flag, value) in [("--listen", "127.0.0.1:0"), ("--state", "state")] {
        if !has(flag) {
            all.extend([flag, value]);
        }
    }
    all.extend(arguments);
    all
}

fn root_file(state: &Path, key: bool) -> std::path::PathBuf {
    let files = fs::read_dir(state).unwrap().map(|entry| entry.unwrap().path());
    let is_it = |path: &std::path::PathBuf| {
        fs::read_to_string(path).is_ok_and(|text| text.contains("PRIVATE KEY") == key && text.contains("-----BEGIN"))
    };
    files.into_iter().find(is_it).expect("the root is in the state folder")
}

fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).unwrap();
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}
