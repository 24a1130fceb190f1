//! Many calls of plugins in all languages at once: what each holds of memory must not grow with the calls.

use std::{fs, net::SocketAddr, path::Path, process::Command};

use anyhow::{Context, ensure};
use serde_json::Value;

use super::{
    OTHER_CPU, load,
    process::Helper,
    programs::{self, PLAIN, path},
    shape,
};

/// Calls of each plugin.
pub(crate) const CALLS: u64 = 20_000;
/// Calls after which an instance is warm.
const WARM: u64 = 4_000;
/// How much more a plugin may hold in the end: collectors let memory swing by as much.
const SWING_BYTES: u64 = 8 << 20;
/// Connections kept alive.
const CONNECTIONS: usize = 4;

/// Runs the components of that folder in one proxy, and says what each holds. `xtask`: this program, for the origin and the load.
pub(crate) fn run(xtask: &Path, flowgate: &Path, components: &Path) -> anyhow::Result<Vec<Soaked>> {
    let folder = tempfile::tempdir().context("making a folder for the soak")?;
    let authority = shape::Certificates::make(folder.path())?;
    let origin = Helper::start(xtask, "bench-origin", &[path(&authority.chain)?, path(&authority.key)?], OTHER_CPU)?;
    let place: SocketAddr = origin.line()?.parse().context("reading the origin's address")?;
    let place = format!("localhost:{}", place.port());
    let state = folder.path().join("state");
    let (_proxy, address, root) = programs::start(flowgate, &settings(components)?, folder.path(), components, &authority)?;
    let options = load::Options::completions(&place, address, &root, CONNECTIONS);
    let mut load = Helper::start(xtask, "bench-load", &options.arguments()?, OTHER_CPU)?;
    ensure!(load.line()? == load::READY, "the load did not come up");

    let first = until(WARM, flowgate, &state, &mut load)?;
    let last = until(CALLS, flowgate, &state, &mut load)?;
    for (before, after) in first.iter().zip(&last) {
        println!(
            "{:<20} {:>7} calls, p50 {:>4} µs, {:>6.1} MiB after {WARM}, {:>6.1} MiB in the end",
            after.name,
            after.calls,
            after.p50_us,
            before.memory as f64 / f64::from(1 << 20),
            after.memory as f64 / f64::from(1 << 20),
        );
        ensure!(after.memory <= before.memory + SWING_BYTES, "{}: what it holds grows with the calls", after.name);
    }
    Ok(last)
}

/// One instance each: how many a plugin has depends on the load, and each holds memory.
fn settings(components: &Path) -> anyhow::Result<String> {
    let mut settings = PLAIN.to_owned();
    for component in fs::read_dir(components).with_context(|| format!("reading {}", components.display()))? {
        let file = component?.file_name();
        let name = Path::new(&file).file_stem().unwrap_or_default().to_string_lossy();
        settings.push_str(&format!("[plugins.{name}]\ninstances = 1\n"));
    }
    Ok(settings)
}

/// A plugin after so many calls.
pub(crate) struct Soaked {
    pub(crate) name: String,
    calls: u64,
    failures: u64,
    /// Octets of its instance.
    pub(crate) memory: u64,
    /// Of its calls, half took less.
    pub(crate) p50_us: u64,
}

/// Loads until every plugin had so many calls.
///
/// # Errors
/// A call failed: a plugin that is suspended has no more.
fn until(calls: u64, flowgate: &Path, state: &Path, load: &mut Helper) -> anyhow::Result<Vec<Soaked>> {
    loop {
        let listed = listed(flowgate, state)?;
        ensure!(!listed.is_empty(), "no plugin is in service");
        for plugin in &listed {
            ensure!(plugin.failures == 0, "{}: {} calls failed", plugin.name, plugin.failures);
        }
        if listed.iter().all(|plugin| plugin.calls >= calls) {
            return Ok(listed);
        }
        load.say("2")?;
        load.line()?;
    }
}

fn listed(flowgate: &Path, state: &Path) -> anyhow::Result<Vec<Soaked>> {
    let output = Command::new(flowgate).args(["plugin", "list", "--json", "--state"]).arg(state).output().context("running flowgate")?;
    ensure!(output.status.success(), "flowgate plugin list: {}", String::from_utf8_lossy(&output.stderr));
    let list: Vec<Value> = serde_json::from_slice(&output.stdout).context("reading the list of plugins")?;
    let number = |plugin: &Value, key: &str| plugin[key].as_u64().with_context(|| format!("the list has no {key}"));
    let plugins = list.iter().map(|plugin| {
        Ok(Soaked {
            name: plugin["name"].as_str().unwrap_or_default().to_owned(),
            calls: number(plugin, "calls")?,
            failures: number(plugin, "failures")?,
            memory: number(plugin, "memory_bytes")?,
            p50_us: number(plugin, "p50_us").unwrap_or_default(),
        })
    });
    plugins.collect()
}
