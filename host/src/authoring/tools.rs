//! Running a language's own tools, and getting those that a folder pins.
//!
//! What is on the author's path is used as it is and never changed. What a folder pins (`package.json`, `requirements.txt`) is installed with the
//! author's own npm or pip into one folder of tools, by default the plugin's own: `node_modules` and `.venv`. Nothing is installed anywhere else.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::requirements::{fingerprint, installed, packages};

/// What pip reads.
const REQUIREMENTS: &str = "requirements.txt";
/// Inside a virtual environment: fingerprints of the requirements that it meets, a line each.
const INSTALLED_PIP: &str = "flowgate-installed.txt";
/// What was last asked for of each package, inside `node_modules`: a range, such as `^1.2.0`, is no version to be found there.
const INSTALLED_NPM: &str = ".flowgate-installed.json";

/// Where tools are, and who is told what happens.
pub(super) struct Tools<'a> {
    /// The plugin's folder: commands run there.
    pub(super) plugin: &'a Path,
    /// Where `node_modules` and `.venv` are.
    pub(super) place: &'a Path,
    /// Told before anything is installed.
    pub(super) say: &'a dyn Fn(&str),
}

impl Tools<'_> {
    /// A command in the plugin's folder.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.plugin).stdin(Stdio::null());
        command
    }

    /// What a short command prints in the plugin's folder, if it does well: that folder may say which version is to run.
    pub(super) fn answer(&self, program: impl AsRef<OsStr>, arguments: &[&str], environment: &[(&str, &str)]) -> Option<String> {
        let output = self.command(program).args(arguments).envs(environment.iter().copied()).stderr(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Runs it; what it says goes to the author's terminal.
    pub(super) fn run(&self, command: &mut Command, name: &str) -> Result<()> {
        // Standard output is for what `flowgate` itself answers.
        command.stdout(io::stderr());
        let status = command.status().with_context(|| format!("running {name}"))?;
        ensure!(status.success(), "{name} failed ({status}): what it said is above");
        Ok(())
    }

    /// A program of an npm package that the folder's `package.json` names among its `devDependencies`. In the plugin's own folder its `dependencies`
    /// come as well; elsewhere the plugin's sources would not find them.
    pub(super) fn npm(&self, program: &str) -> Result<PathBuf> {
        let manifest = self.plugin.join("package.json");
        let text = fs::read_to_string(&manifest).with_context(|| format!("reading {}", manifest.display()))?;
        let json: Value = serde_json::from_str(&text).with_context(|| format!("reading {}", manifest.display()))?;
        let is_own = self.place == self.plugin;
        let tables = if is_own { &["dependencies", "devDependencies"][..] } else { &["devDependencies"] };
        let wanted: BTreeMap<&str, &str> = tables
            .iter()
            .filter_map(|table| json[*table].as_object())
            .flatten()
            .filter_map(|(name, version)| Some((name.as_str(), version.as_str()?)))
            .collect();
        let modules = self.place.join("node_modules");
        let noted = modules.join(INSTALLED_NPM);
        let mut installed: BTreeMap<String, String> =
            fs::read_to_string(&noted).ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        let missing: Vec<String> = wanted
            .iter()
            .filter(|(name, wanted)| {
                let is_it = |version: String| version == **wanted || installed.get(**name).is_some_and(|noted| noted == *wanted);
                !installed_npm(&modules, name).is_some_and(is_it)
            })
            .map(|(name, version)| format!("{name}@{version}"))
            .collect();
        if !missing.is_empty() {
            let missing_names = missing.join(" and ");
            let npm = on_path("npm").with_context(|| {
                format!("npm is not installed, which brings {missing_names}: install Node.js 20 or newer with npm (Debian: apt-get install nodejs npm)")
            })?;
            (self.say)(&format!("installing {missing_names} into {}", modules.display()));
            fs::create_dir_all(self.place).with_context(|| format!("making {}", self.place.display()))?;
            let mut command = Command::new(npm);
            command.current_dir(self.place).stdin(Stdio::null()).args(["install", "--no-audit", "--no-fund"]);
            // What the author wrote stays as it is written; a folder of tools has to remember what others want of it.
            match is_own {
                true => command.arg("--include=dev"),
                false => command.args(["--save-dev", "--save-exact"]).args(&missing),
            };
            self.run(&mut command, "npm install")?;
            installed.extend(wanted.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned())));
            note(&noted, &serde_json::to_string(&installed).context("noting what was installed")?)?;
        }
        let program = modules.join(".bin").join(program);
        ensure!(program.exists(), "{} is not there: name its package under devDependencies in {}", program.display(), manifest.display());
        Ok(program)
    }

    /// A program of the virtual environment that the folder's `requirements.txt` describes.
    pub(super) fn pip(&self, program: &str) -> Result<PathBuf> {
        let requirements = self.plugin.join(REQUIREMENTS);
        let text = fs::read_to_string(&requirements).with_context(|| format!("reading {}", requirements.display()))?;
        let venv = self.place.join(".venv");
        let noted = venv.join(INSTALLED_PIP);
        let (wanted, wanted_print) = (packages(&text), fingerprint(&requirements));
        let met = fs::read_to_string(&noted).unwrap_or_default();
        if !wanted.is_empty() && !met.lines().any(|print| print == wanted_print) {
            let wanted = wanted.join(" and ");
            let python = on_path("python3").with_context(|| {
                format!("python3 is not installed, whose pip brings {wanted}: install Python 3.10 or newer (Debian: apt-get install python3 python3-venv)")
            })?;
            (self.say)(&format!("installing {wanted} into {}", venv.display()));
            fs::create_dir_all(self.place).with_context(|| format!("making {}", self.place.display()))?;
            if !venv.join("bin/pip").exists() {
                let made = self.run(self.command(python).arg("-m").arg("venv").arg(absolute(&venv)?), "python3 -m venv");
                made.context("Python's venv is needed (Debian: apt-get install python3-venv)")?;
            }
            let mut command = self.command(absolute(&venv.join("bin/pip"))?);
            command.args(["install", "--quiet", "--disable-pip-version-check", "-r", REQUIREMENTS]);
            // What was noted before holds no more, however far this comes.
            note(&noted, "")?;
            let before = installed(&venv);
            self.run(&mut command, "pip install")?;
            // Other plugins' requirements are met still where nothing of what was there has gone.
            let is_kept = before.zip(installed(&venv)).is_some_and(|(before, after)| before.is_subset(&after));
            note(&noted, &format!("{}{wanted_print}\n", if is_kept { &met } else { "" }))?;
        }
        let program = absolute(&venv.join("bin").join(program))?;
        ensure!(program.exists(), "{} is not there: name its package in {}", program.display(), requirements.display());
        Ok(program)
    }

    /// Whether the folder pins something for pip.
    pub(super) fn has_requirements(&self) -> bool {
        self.plugin.join(REQUIREMENTS).is_file()
    }
}

fn note(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

fn installed_npm(modules: &Path, name: &str) -> Option<String> {
    let text = fs::read_to_string(modules.join(name).join("package.json")).ok()?;
    let json: Value = serde_json::from_str(&text).ok()?;
    json["version"].as_str().map(str::to_owned)
}

/// A program of that name that the author has.
pub(super) fn on_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// As it is seen from any folder.
pub(super) fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("finding {}", path.display()))
}

/// The first that is there.
pub(super) fn first_on_path(names: &[&str]) -> Option<PathBuf> {
    names.iter().find_map(|name| on_path(name))
}

/// Text of a file that has to be there.
pub(super) fn octets(path: &Path, of: &str) -> Result<Vec<u8>> {
    match fs::read(path) {
        Ok(octets) => Ok(octets),
        Err(error) if error.kind() == io::ErrorKind::NotFound => bail!("{of} made no {}", path.display()),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}
