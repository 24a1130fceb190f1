//! `flowgate plugin test`: what a plugin makes of recorded flows, compared with what it made of them before.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, anyhow, bail, ensure};
use bytes::Bytes;
use serde_json::Value;

use super::{Failure, answers::Answers, difference::difference, environment, flows, harmless, looked_up, print, report, runtime};
use crate::{
    app,
    config::Flags,
    plugin::{Settings, Stage},
    recording::RecordedFlow,
};

/// Play recorded flows to a plugin and print what it makes of them
///
/// Nothing is sent anywhere: the clock stands where the recorded flow stands, randomness is the same every time, every capability is granted, and
/// what a plugin keeps is printed. With --golden, what comes of it is compared with what came of it before.
#[derive(Debug, clap::Args)]
pub(super) struct Test {
    #[command(flatten)]
    tried: Tried,
    /// Compare with the files in this folder
    #[arg(long, value_name = "FOLDER")]
    golden: Option<PathBuf>,
    /// Write those files anew
    #[arg(long, requires = "golden")]
    update: bool,
}

/// A plugin, and the flows it is tried with.
#[derive(Debug, clap::Args)]
pub(super) struct Tried {
    /// The component; its name is the plugin's
    file: PathBuf,
    /// Flow files, HAR files, records of the logger, or folders of them
    #[arg(required = true)]
    flows: Vec<PathBuf>,
    #[command(flatten)]
    around: Around,
    /// What answers the plugin's own requests: a JSON file with a list of { "url", "method", "status", "headers", "body" }
    #[arg(long, value_name = "FILE")]
    answers: Option<PathBuf>,
}

/// What a plugin that is tried runs under.
#[derive(Debug, clap::Args)]
pub(super) struct Around {
    /// The plugin's configuration: a JSON object, or @FILE with one [default: what flowgate.toml says, else {}]
    #[arg(long, value_name = "JSON")]
    config: Option<String>,
    /// Configuration file of the proxy that it is meant for; default: flowgate.toml in the working directory, if there is one
    #[arg(long, env = "FLOWGATE_CONFIG", value_name = "FILE")]
    settings: Option<PathBuf>,
    /// State folder, where compiled components are kept [default: ~/.local/state/flowgate]
    #[arg(long, env = "FLOWGATE_STATE", value_name = "FOLDER")]
    state: Option<PathBuf>,
}

/// What surrounds a plugin that is tried, and what it is tried with.
pub(super) struct Ready {
    pub(super) settings: Settings,
    pub(super) outbound: Arc<Answers>,
    pub(super) flows: Vec<RecordedFlow>,
}

impl Tried {
    /// All that is named, read.
    ///
    /// # Errors
    /// Names what cannot be read, and the mend.
    pub(super) fn read(&self) -> Result<Ready, Failure> {
        let flows = flows::read(&self.flows)?;
        let settings = self.around.settings(&self.file)?;
        let answers = self.answers.as_deref().map(Answers::read).transpose().map_err(Failure::Usage)?.unwrap_or_default();
        Ok(Ready { settings, outbound: Arc::new(answers), flows })
    }

    /// The component.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }
}

impl Around {
    /// The settings of a proxy, with that configuration for the plugin in that file.
    ///
    /// # Errors
    /// The configuration is no JSON object or the file's name no plugin's, or the proxy's configuration cannot be read.
    pub(super) fn settings(&self, file: &Path) -> Result<Settings, Failure> {
        let proxy = looked_up(Flags { config: self.settings.clone(), state: self.state.clone(), ..environment()? })?;
        let mut settings = app::trial(&proxy)?;
        if let Some(config) = &self.config {
            let name = file.file_stem().and_then(|stem| stem.to_str());
            let name = name.with_context(|| format!("{} cannot be a plugin's file: its name is no UTF-8", file.display()));
            settings.plugins.entry(name.map_err(Failure::Usage)?.to_owned()).or_default().config =
                object(config).map_err(Failure::Usage)?;
        }
        Ok(settings)
    }
}

/// JSON text of an object, from the argument or from the file it names.
fn object(argument: &str) -> anyhow::Result<String> {
    let (from, text) = match argument.strip_prefix('@') {
        Some(file) => (file.to_owned(), fs::read_to_string(file).with_context(|| format!("reading the configuration {file}"))?),
        None => ("--config".to_owned(), argument.to_owned()),
    };
    let value: Value =
        serde_json::from_str(&text).with_context(|| format!("{from} is no JSON: an object is expected, as in '{{\"model\": \"x\"}}'"))?;
    ensure!(value.is_object(), "{from} is no JSON object, as in '{{\"model\": \"x\"}}'");
    Ok(value.to_string())
}

pub(super) fn run(test: &Test) -> Result<(), Failure> {
    let outcome = runtime()?.block_on(outcome(&test.tried))?;
    match (&test.golden, test.update) {
        (None, _) => {
            for (name, octets) in &outcome.files {
                if outcome.files.len() > 1 {
                    print(format_args!("==> {name}"));
                }
                print(format_args!("{}", harmless(String::from_utf8_lossy(octets).trim_end())));
            }
        }
        (Some(folder), true) => {
            update(folder, &outcome.files).with_context(|| format!("writing golden files to {}", folder.display()))?;
            print(format_args!("{}: {} files written to {}", outcome.plugin, outcome.files.len(), folder.display()));
        }
        (Some(folder), false) => {
            compare(folder, &outcome.files)?;
            print(format_args!("{}: {} flows as before", outcome.plugin, outcome.flows));
        }
    }
    if outcome.wanted == 0 {
        let _ = writeln!(io::stderr(), "flowgate: its rules want none of these flows: `flowgate plugin check` prints them");
    }
    if outcome.failures > 0 && test.golden.is_none() {
        return Err(Failure::Run(anyhow!("{} of its calls failed: see above", outcome.failures)));
    }
    Ok(())
}

struct Outcome {
    plugin: String,
    flows: usize,
    /// Flows that it was called about.
    wanted: usize,
    failures: u64,
    /// What comes of it, by name.
    files: BTreeMap<String, Vec<u8>>,
}

async fn outcome(tried: &Tried) -> Result<Outcome, Failure> {
    let Ready { settings, outbound, flows } = tried.read()?;
    let first = flows.first().map_or(0, |flow| flow.began);
    let stage = Stage::open(&tried.file, settings, outbound, first).await?;
    let mut text = report::head(stage.info(), &stage.begin_lines());
    let mut wanted = 0;
    for flow in &flows {
        let played = stage.play(flow).await;
        wanted += usize::from(played.rehearsed.flow.is_some() || played.rehearsed.tunnel.is_some());
        text += &report::flow(flow, &played);
    }
    let mut files = BTreeMap::from([("flows.txt".to_owned(), text.into_bytes())]);
    let metrics = stage.metrics();
    if !metrics.is_empty() {
        files.insert("metrics.txt".to_owned(), metrics.into_bytes());
    }
    files.extend(stage.records().into_iter().map(|(path, octets)| (format!("records/{path}"), octets)));
    Ok(Outcome { plugin: stage.to_string(), flows: flows.len(), wanted, failures: stage.failures(), files })
}

/// All files below a folder, by name. One that is not there has none.
fn golden(folder: &Path) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let (mut files, mut folders) = (BTreeMap::new(), vec![(folder.to_owned(), String::new())]);
    while let Some((folder, prefix)) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| format!("reading {}", folder.display())),
        };
        for entry in entries {
            let path = entry?.path();
            let name = format!("{prefix}{}", path.file_name().unwrap_or_default().to_string_lossy());
            match path.is_dir() {
                true => folders.push((path, format!("{name}/"))),
                false => drop(files.insert(name, fs::read(&path).with_context(|| format!("reading {}", path.display()))?)),
            }
        }
    }
    Ok(files)
}

/// Only what a test writes is touched: a folder with other things in it is none of its own.
fn update(folder: &Path, files: &BTreeMap<String, Vec<u8>>) -> anyhow::Result<()> {
    let before = golden(folder)?;
    if let Some(other) = before.keys().find(|name| !is_own(name)) {
        bail!("there is {other} in it, which no test wrote: name another folder");
    }
    for name in before.keys().filter(|name| !files.contains_key(*name)) {
        fs::remove_file(folder.join(name))?;
    }
    for (name, octets) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap_or(folder))?;
        fs::write(&path, octets)?;
    }
    Ok(())
}

fn is_own(name: &str) -> bool {
    matches!(name, "flows.txt" | "metrics.txt") || name.starts_with("records/")
}

fn compare(folder: &Path, files: &BTreeMap<String, Vec<u8>>) -> Result<(), Failure> {
    let before = golden(folder)?;
    if before.is_empty() {
        return Err(Failure::Usage(anyhow!("there are no golden files in {}: write them with --update", folder.display())));
    }
    let names: std::collections::BTreeSet<&String> = before.keys().chain(files.keys()).filter(|name| is_own(name)).collect();
    let empty = Vec::new();
    let (mut differences, mut text) = (0, String::new());
    for name in names {
        let (old, new) = (before.get(name).unwrap_or(&empty), files.get(name).unwrap_or(&empty));
        if old != new || before.contains_key(name) != files.contains_key(name) {
            differences += 1;
            text += &format!("--- {name} (golden)\n+++ {name}\n{}", difference(&Bytes::copy_from_slice(old), new));
        }
    }
    if differences == 0 {
        return Ok(());
    }
    print(format_args!("{}", harmless(text.trim_end())));
    Err(Failure::Run(anyhow!("{differences} files are not as in {}: if that is right, write them anew with --update", folder.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_are_objects() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("c.json");
        fs::write(&file, "{\"a\": 1}").expect("written");

        assert_eq!(object(&format!("@{}", file.display())).expect("an object"), "{\"a\":1}");
        assert_eq!(object("{}").expect("an object"), "{}");
        let table = [
            ("{\"a\"", "--config is no JSON: an object is expected"),
            ("[1]", "no JSON object"),
            ("@missing.json", "reading the configuration missing.json"),
        ];
        for (argument, expected) in table {
            let error = format!("{:#}", object(argument).expect_err(argument));
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_folder_of_other_things_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), b"x".to_vec())).collect::<BTreeMap<_, _>>();
        update(folder.path(), &files(&["flows.txt", "records/a/b"])).expect("written");
        update(folder.path(), &files(&["flows.txt"])).expect("written");
        assert_eq!(golden(folder.path()).expect("read"), files(&["flows.txt"]));

        fs::write(folder.path().join("mine"), "x").expect("written");
        let error = update(folder.path(), &files(&["flows.txt"])).expect_err("refused").to_string();

        assert!(error.contains("there is mine in it"), "{error}");
    }
}
