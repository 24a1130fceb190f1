//! `flowgate plugin bench`: what a plugin costs, per hook, and whether that is more than it may.

use std::time::Duration;

use anyhow::anyhow;
use serde_json::{Value, json};

use super::{
    Failure,
    plugin::{nanos, short},
    print,
    rehearse::{Ready, Tried},
    running::Table,
    runtime,
};
use crate::{
    config::units,
    plugin::{self, CostCard, HookCost},
};

/// Play recorded flows to a plugin and say what its hooks cost
///
/// Time is taken by the clock while nothing is counted, from a thousand calls of each hook or for five seconds. Instructions (wasmtime's fuel) are
/// counted in a run of their own and are the same every time, as are memory and output. A limit holds for every hook that is called about
/// flows; one that is crossed is a line on standard error and exit code 1.
#[derive(Debug, clap::Args)]
pub(super) struct Bench {
    #[command(flatten)]
    tried: Tried,
    /// As JSON, with everything that was measured
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    limits: Limits,
}

/// What calls may cost.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(super) struct Limits {
    /// Most time that 99 of 100 calls may take, as in 250us or 5ms
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    max_p99: Option<Duration>,
    /// Most instructions that a call may execute
    #[arg(long, value_name = "NUMBER")]
    max_instructions: Option<u64>,
    /// Most memory that an instance may have, as in 16MiB
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    max_memory: Option<usize>,
    /// Most octets that a call may hand over and answer together, as in 64KiB
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    max_output: Option<usize>,
}

/// Calls take less than what configurations are about.
fn duration(text: &str) -> Result<Duration, &'static str> {
    let micros = text.strip_suffix("us").or_else(|| text.strip_suffix("µs"));
    match micros {
        Some(micros) => micros.trim_end().parse().map(Duration::from_micros).ok(),
        None => units::duration(text).ok(),
    }
    .ok_or("a duration is expected, as in 250us, 5ms or 1s")
}

pub(super) fn run(bench: &Bench) -> Result<(), Failure> {
    let Ready { settings, outbound, flows } = bench.tried.read()?;
    let card = runtime()?.block_on(plugin::bench(bench.tried.file(), settings, outbound, &flows))?;
    let crossed = bench.limits.crossed(&card);
    match bench.json {
        true => print(format_args!("{:#}", json(&card, &crossed))),
        false => table(&card),
    }
    let failed: u64 = card.hooks.iter().map(|hook| hook.failed).sum();
    if failed > 0 {
        let test = format!("flowgate plugin test {}", bench.tried.file().display());
        return Err(Failure::Run(anyhow!("{failed} of its calls failed, so these are not its costs: `{test} FLOWS` says why")));
    }
    if card.hooks.iter().all(|hook| hook.is_start) {
        let flows = flows.len();
        return Err(Failure::Run(anyhow!("its rules want none of the flows ({flows}), so no hook was called: play others")));
    }
    match crossed.is_empty() {
        true => Ok(()),
        // A line each, as every complaint is.
        false => Err(Failure::Run(anyhow!("{}", crossed.join("\nflowgate: ")))),
    }
}

impl Limits {
    /// A sentence for each that is crossed.
    fn crossed(&self, card: &CostCard) -> Vec<String> {
        let mut crossed = Vec::new();
        for hook in card.hooks.iter().filter(|hook| !hook.is_start) {
            let name = hook.hook;
            if let Some(most) = self.max_p99.filter(|most| hook.p99 > *most) {
                crossed.push(format!("{name}: its p99 is {}, and --max-p99 is {}", nanos(hook.p99), nanos(most)));
            }
            if let Some(most) = self.max_instructions.filter(|most| hook.most_instructions > *most) {
                crossed.push(format!("{name}: a call executes {} instructions, and --max-instructions is {most}", hook.most_instructions));
            }
            if let Some(most) = self.max_memory.filter(|most| hook.memory_bytes > *most) {
                crossed.push(format!("{name}: an instance has {} octets of memory, and --max-memory is {most}", hook.memory_bytes));
            }
            if let Some(most) = self.max_output.filter(|most| hook.most_output_bytes > *most as u64) {
                crossed.push(format!("{name}: a call puts out {} octets, and --max-output is {most}", hook.most_output_bytes));
            }
        }
        crossed
    }
}

fn table(card: &CostCard) {
    let info = &card.info;
    print(format_args!("{} {} ({}), {} flows", info.name, info.version, short(&info.hash), card.flows));
    let mut table = Table::new(["HOOK", "CALLS", "TIMED", "P50", "P99", "INSTRUCTIONS", "MOST", "MEMORY", "OUTPUT", "MOST"]);
    for hook in &card.hooks {
        table.row([
            hook.hook.to_owned(),
            hook.calls.to_string(),
            hook.timed.to_string(),
            nanos(hook.p50),
            nanos(hook.p99),
            hook.mean_instructions.to_string(),
            hook.most_instructions.to_string(),
            format!("{:.1} MiB", hook.memory_bytes as f64 / f64::from(1 << 20)),
            hook.mean_output_bytes.to_string(),
            hook.most_output_bytes.to_string(),
        ]);
    }
    table.print();
}

fn json(card: &CostCard, crossed: &[String]) -> Value {
    let share = |mean: u64, most: u64| json!({ "mean": mean, "most": most });
    let hook = |hook: &HookCost| {
        json!({
            "hook": hook.hook,
            "calls": hook.calls,
            "failed": hook.failed,
            "timed": hook.timed,
            "p50_ns": whole(hook.p50),
            "p99_ns": whole(hook.p99),
            "instructions": share(hook.mean_instructions, hook.most_instructions),
            "memory_bytes": hook.memory_bytes,
            "output_bytes": share(hook.mean_output_bytes, hook.most_output_bytes),
        })
    };
    let info = &card.info;
    json!({
        "plugin": info.name,
        "version": info.version,
        "hash": info.hash,
        "flows": card.flows,
        "hooks": card.hooks.iter().map(hook).collect::<Vec<_>>(),
        "crossed": crossed,
    })
}

/// In nanoseconds.
fn whole(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::PluginInfo;

    fn card() -> CostCard {
        let hook = |hook, is_start| HookCost {
            hook,
            is_start,
            calls: 3,
            failed: 0,
            timed: 1000,
            p50: Duration::from_nanos(800),
            p99: Duration::from_micros(1500),
            mean_instructions: 900,
            most_instructions: 1000,
            memory_bytes: 2 << 20,
            mean_output_bytes: 5,
            most_output_bytes: 10,
        };
        let info = PluginInfo {
            name: "x".into(),
            version: "1".into(),
            description: String::new(),
            hash: "0123456789abcdef".into(),
            hooks: Vec::new(),
            capabilities: Vec::new(),
            file: None,
        };
        CostCard { info, flows: 3, hooks: vec![hook("configure", true), hook("on-request", false)] }
    }

    #[test]
    fn each_limit_is_crossed_by_one_more_and_by_hooks_about_flows_alone() {
        let limits = Limits {
            max_p99: Some(Duration::from_micros(1499)),
            max_instructions: Some(999),
            max_memory: Some((2 << 20) - 1),
            max_output: Some(9),
        };
        let met = Limits {
            max_p99: Some(Duration::from_micros(1500)),
            max_instructions: Some(1000),
            max_memory: Some(2 << 20),
            max_output: Some(10),
        };

        let expected = [
            "on-request: its p99 is 1.5 ms, and --max-p99 is 1.5 ms",
            "on-request: a call executes 1000 instructions, and --max-instructions is 999",
            "on-request: an instance has 2097152 octets of memory, and --max-memory is 2097151",
            "on-request: a call puts out 10 octets, and --max-output is 9",
        ];
        assert_eq!(limits.crossed(&card()), expected);
        assert!(met.crossed(&card()).is_empty() && Limits::default().crossed(&card()).is_empty());
    }

    #[test]
    fn limits_of_time_go_down_to_microseconds() {
        let good = [("250us", 250), ("3 µs", 3), ("5ms", 5000), ("1s", 1_000_000)];
        for (text, micros) in good {
            assert_eq!(duration(text), Ok(Duration::from_micros(micros)), "{text}");
        }
        for text in ["", "250", "1.5us", "-1us", "us"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
