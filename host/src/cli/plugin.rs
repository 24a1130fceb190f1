//! `flowgate plugin`: the plugins of a running proxy; making them is in `authoring`.

use std::time::Duration;

use clap::Subcommand;
use http::Method;

use super::{
    Failure, authoring, bench, examine, print, rehearse,
    running::{Running, Table},
};
use crate::admin::{Done, Listed};

#[derive(Debug, Subcommand)]
pub(super) enum Plugin {
    #[command(flatten)]
    Authoring(authoring::Authoring),
    Check(examine::Check),
    Inspect(examine::Inspect),
    Test(rehearse::Test),
    Bench(bench::Bench),
    /// Say which plugins are in service, how they do, and what they cost
    List {
        /// As JSON, with everything that is known
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        running: Running,
    },
    /// Look at the plugins folder now, and try again what was refused
    Reload {
        #[command(flatten)]
        running: Running,
    },
    /// Put the build before the present one back into service
    ///
    /// It stays until a file with another content appears, also across a restart.
    Rollback {
        /// The plugin's name, which is its file's without .wasm
        name: String,
        #[command(flatten)]
        running: Running,
    },
}

pub(super) fn run(command: Plugin) -> Result<(), Failure> {
    match command {
        Plugin::Authoring(command) => return authoring::run(command),
        Plugin::Check(check) => return examine::check(&check),
        Plugin::Inspect(inspect) => return examine::inspect(&inspect),
        Plugin::Test(test) => return rehearse::run(&test),
        Plugin::Bench(bench) => return bench::run(&bench),
        Plugin::List { json: true, running } => {
            let list: serde_json::Value = running.ask(Method::GET, "/v1/plugins")?;
            print(format_args!("{list:#}"));
        }
        Plugin::List { json: false, running } => table(&running.ask::<Vec<Listed>>(Method::GET, "/v1/plugins")?),
        Plugin::Reload { running } => say(&running.ask(Method::POST, "/v1/plugins/reload")?),
        Plugin::Rollback { name, running } => say(&running.ask(Method::POST, &format!("/v1/plugins/{name}/rollback"))?),
    }
    Ok(())
}

/// One sentence a line.
pub(super) fn say(done: &Done) {
    for sentence in &done.done {
        print(format_args!("{sentence}"));
    }
}

fn table(list: &[Listed]) {
    if list.is_empty() {
        return print(format_args!("there are no plugins"));
    }
    let mut table = Table::new(["NAME", "VERSION", "HASH", "STATE", "CALLS", "FAILED", "P50", "P99", "MEMORY"]);
    for plugin in list {
        table.row([
            plugin.name.clone(),
            plugin.version.clone().unwrap_or("-".into()),
            plugin.hash.as_deref().map_or("-".into(), short),
            plugin.state.clone(),
            plugin.calls.to_string(),
            plugin.failures.to_string(),
            micros(plugin.p50_us),
            micros(plugin.p99_us),
            format!("{:.1} MiB", plugin.memory_bytes as f64 / f64::from(1 << 20)),
        ]);
    }
    table.print();
    for plugin in list {
        let name = &plugin.name;
        if let Some(reason) = &plugin.refused {
            print(format_args!("{name}: what its file holds is refused: {reason}"));
        }
        if let Some(from) = &plugin.rolled_back_from {
            print(format_args!("{name}: rolled back from {}, which its file holds still", short(from)));
        }
        if plugin.loading {
            print(format_args!("{name}: a newer build is being loaded"));
        }
        if plugin.draining > 0 {
            print(format_args!("{name}: flows in progress still hold {} builds of before", plugin.draining));
        }
    }
}

/// Enough of a hash to tell builds apart.
pub(super) fn short(hash: impl AsRef<str>) -> String {
    hash.as_ref().chars().take(12).collect()
}

/// `250 µs`, `1.5 ms`, `2.0 s`.
pub(super) fn micros(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{:.1} ms", micros as f64 / 1e3),
        _ => format!("{:.1} s", micros as f64 / 1e6),
    }
}

/// The same, and `850 ns`.
pub(super) fn nanos(took: Duration) -> String {
    match took.as_micros() {
        0 => format!("{} ns", took.as_nanos()),
        long => micros(u64::try_from(long).unwrap_or(u64::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        assert_eq!([0, 999, 1_000, 1_549, 2_000_000].map(micros), ["0 µs", "999 µs", "1.0 ms", "1.5 ms", "2.0 s"]);
        assert_eq!([0, 999, 1_000, 1_500_000].map(|took| nanos(Duration::from_nanos(took))), ["0 ns", "999 ns", "1 µs", "1.5 ms"]);
    }
}
