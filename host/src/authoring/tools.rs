//! Running a language's own tools, and getting those that a folder pins.
//!
//! What is on the author's path is used as it is and never changed. What a folder pins (`package.json`, `requirements.txt`) is installed with the
//! author's own npm or pip into one folder of tools, by default the plugin's own: `node_modules` and `.venv`. Nothing is installed anywhere else.

use std::{
    env,
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// What the last installation into a virtual environment was, inside it.
const INSTALLED: &str = "flowgate-installed.txt";

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

    /// Runs it; what it says goes to the author's terminal.
    pub(super) fn run(&self, command: &mut Command, name: &str) -> Result<()> {
        // Standard output is for what `flowgate` itself answers.
        command.stdout(io::stderr());
        let status = command.status().with_context(|| format!("running {name}"))?;
        ensure!(status.success(), "{name} failed ({status}): what it said is above");
        Ok(())
    }

    /// A program of an npm package that the folder's `package.json` pins among its `devDependencies`.
    pub(super) fn npm(&self, program: &str) -> Result<PathBuf> {
        let manifest = self.plugin.join("package.json");
        let text = fs::read_to_string(&manifest).with_context(|| format!("reading {}", manifest.display()))?;
        let json: Value = serde_json::from_str(&text).with_context(|| format!("reading {}", manifest.display()))?;
        let pinned: Vec<(&str, &str)> = json["devDependencies"]
            .as_object()
            .map(|pinned| pinned.iter().filter_map(|(name, version)| Some((name.as_str(), version.as_str()?))).collect())
            .unwrap_or_default();
        let modules = self.place.join("node_modules");
        let missing: Vec<String> = pinned
            .iter()
            .filter(|(name, version)| installed_npm(&modules, name).as_deref() != Some(*version))
            .map(|(name, version)| format!("{name}@{version}"))
            .collect();
        if !missing.is_empty() {
            let npm = on_path("npm").with_context(|| {
                format!(
                    "npm is not installed, which brings {}: install Node.js 20 or newer with npm (Debian: apt-get install nodejs npm)",
                    missing.join(" and ")
                )
            })?;
            (self.say)(&format!("installing {} into {}", missing.join(" and "), modules.display()));
            fs::create_dir_all(self.place).with_context(|| format!("making {}", self.place.display()))?;
            let mut command = Command::new(npm);
            command.current_dir(self.place).stdin(Stdio::null());
            command.args(["install", "--no-audit", "--no-fund", "--save-dev", "--save-exact"]).args(&missing);
            self.run(&mut command, "npm install")?;
        }
        let program = modules.join(".bin").join(program);
        ensure!(program.exists(), "{} is not there: name its package under devDependencies in {}", program.display(), manifest.display());
        Ok(program)
    }

    /// A program of the virtual environment that the folder's `requirements.txt` pins.
    pub(super) fn pip(&self, program: &str) -> Result<PathBuf> {
        let requirements = self.plugin.join("requirements.txt");
        let pinned = fs::read_to_string(&requirements).with_context(|| format!("reading {}", requirements.display()))?;
        let venv = self.place.join(".venv");
        let noted = venv.join(INSTALLED);
        let mut installed = fs::read_to_string(&noted).unwrap_or_default();
        let missing: Vec<&str> = pinned.lines().filter(|line| is_requirement(line) && !installed.lines().any(|had| had == *line)).collect();
        if !missing.is_empty() {
            let python = on_path("python3").with_context(|| {
                format!(
                    "python3 is not installed, whose pip brings {}: install Python 3.10 or newer (Debian: apt-get install python3 python3-venv)",
                    missing.join(" and ")
                )
            })?;
            (self.say)(&format!("installing {} into {}", missing.join(" and "), venv.display()));
            fs::create_dir_all(self.place).with_context(|| format!("making {}", self.place.display()))?;
            if !venv.join("bin/pip").exists() {
                let made = self.run(self.command(python).arg("-m").arg("venv").arg(absolute(&venv)?), "python3 -m venv");
                made.context("Python's venv is needed (Debian: apt-get install python3-venv)")?;
            }
            let mut command = self.command(absolute(&venv.join("bin/pip"))?);
            command.args(["install", "--quiet", "--disable-pip-version-check"]).args(&missing);
            self.run(&mut command, "pip install")?;
            installed.extend(missing.iter().flat_map(|line| [*line, "\n"]));
            fs::write(&noted, installed).with_context(|| format!("writing {}", noted.display()))?;
        }
        let program = absolute(&venv.join("bin").join(program))?;
        ensure!(program.exists(), "{} is not there: name its package in {}", program.display(), requirements.display());
        Ok(program)
    }

    /// Whether the folder pins something for pip.
    pub(super) fn has_requirements(&self) -> bool {
        self.plugin.join("requirements.txt").is_file()
    }
}

fn is_requirement(line: &str) -> bool {
    !line.trim().is_empty() && !line.starts_with('#')
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

/// What a short command prints, if it does well.
pub(super) fn answer(program: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
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
