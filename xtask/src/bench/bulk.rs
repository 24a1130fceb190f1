//! `bulk`: what much content costs, down and up: CPU time per megabyte, and memory.

use std::{
    fmt,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::{
    Options, Programs, clock, in_turns,
    report::{median, spread},
    shape,
    site::{BULK, pour},
    stand::Stand,
    visitor::Visitor,
    wire::Answer,
};

/// What is kept of each content for the logger.
const CAPTURE: &str = "1MiB";
const DIRECTIONS: [&str; 2] = ["down", "up"];
const MEGABYTES: f64 = BULK as f64 / 1e6;

struct Sample {
    /// CPU time of the proxy per megabyte, in µs.
    cpu_us: f64,
    megabytes_per_second: f64,
    /// The most memory meanwhile over what it held before, in MiB.
    growth: f64,
}

/// Samples of one direction by contender; the first contender is what the others are compared with.
struct Table {
    direction: &'static str,
    rows: Vec<(&'static str, Vec<Sample>)>,
}

pub(crate) fn run(options: &Options, programs: &Programs, folder: &Path) -> anyhow::Result<Value> {
    let stand = Stand::open(folder)?;
    let plain = "[plugins.logger]\nenabled = false\n";
    let spliced = format!("tunnel = [\"localhost\"]\n{plain}");
    let contenders = [
        stand.tunnel(programs)?,
        stand.flowgate(programs, "flowgate, spliced", &spliced, folder)?,
        stand.flowgate(programs, "flowgate, no plugin", plain, folder)?,
        stand.flowgate(programs, "flowgate, logger", &format!("capture = \"{CAPTURE}\"\n"), folder)?,
    ];
    let mut tables = DIRECTIONS.map(|direction| {
        let rows = contenders.iter().map(|contender| (contender.name, Vec::new())).collect();
        Table { direction, rows }
    });
    for contender in &contenders {
        for direction in DIRECTIONS {
            // Caches, pools and buffers grow to what they need.
            stand.run(passed(&contender.visitor, direction))?;
        }
    }
    in_turns(options.rounds, contenders.len(), |contender| {
        let process = contenders[contender].proxy.as_ref().context("it has a proxy")?.id();
        for table in &mut tables {
            let before = clock::at_rest(process)?;
            clock::forget_most(process)?;
            let (held, _) = clock::memory(process)?;
            let took = stand.run(passed(&contenders[contender].visitor, table.direction))?;
            let cpu = clock::at_rest(process)? - before;
            let (_, most) = clock::memory(process)?;
            table.rows[contender].1.push(Sample {
                cpu_us: cpu.as_secs_f64() * 1e6 / MEGABYTES,
                megabytes_per_second: MEGABYTES / took.as_secs_f64(),
                growth: most.saturating_sub(held) as f64 / f64::from(1 << 20),
            });
        }
        Ok(())
    })?;
    for table in &tables {
        println!("{table}");
    }
    let tables: Vec<Value> = tables.iter().map(Table::json).collect();
    Ok(json!({ "octets": BULK, "capture": CAPTURE, "tables": tables }))
}

/// All of it once, on a connection of its own; how long that took.
async fn passed(visitor: &Visitor, direction: &str) -> anyhow::Result<Duration> {
    let mut tls = visitor.open().await?;
    let begin = Instant::now();
    let upload = if direction == "up" { BULK } else { 0 };
    tls.write_all(&shape::asking(visitor.origin(), direction, upload)).await?;
    if upload > 0 {
        pour(&mut tls).await?;
    }
    tls.flush().await?;
    let mut answer = Answer::new();
    while !answer.is_done() {
        answer.more(&mut tls).await?;
    }
    ensure!(upload > 0 || answer.content == BULK, "{} octets came of {BULK}", answer.content);
    Ok(begin.elapsed())
}

impl Table {
    /// CPU time over that of the first contender, round by round.
    fn ratios(&self, samples: &[Sample]) -> Vec<f64> {
        samples.iter().zip(&self.rows[0].1).map(|(sample, base)| sample.cpu_us / base.cpu_us).collect()
    }

    fn json(&self) -> Value {
        let row = |(name, samples): &(&str, Vec<Sample>)| {
            let column = |value: fn(&Sample) -> f64| {
                let samples: Vec<f64> = samples.iter().map(value).collect();
                json!({ "median": median(&samples), "samples": samples })
            };
            let ratios = self.ratios(samples);
            json!({
                "name": name,
                "cpu_us_per_mb": column(|sample| sample.cpu_us),
                "ratio": { "median": median(&ratios), "samples": ratios },
                "mb_per_second": column(|sample| sample.megabytes_per_second),
                "rss_growth_mib": column(|sample| sample.growth),
            })
        };
        json!({ "direction": self.direction, "contenders": self.rows.iter().map(row).collect::<Vec<_>>() })
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = format!("{MEGABYTES:.0} MB {}", self.direction);
        writeln!(f, "{name:<22}{:>13}{:>28}{:>9}{:>28}", "CPU µs/MB", "÷ tunnel [least–most]", "MB/s", "RSS growth MiB [least–most]")?;
        for (name, samples) in &self.rows {
            let column = |value: fn(&Sample) -> f64| samples.iter().map(value).collect::<Vec<_>>();
            let with_spread = |values: &[f64], digits: usize| {
                let (least, most) = spread(values);
                format!("{:.digits$} [{least:.digits$}–{most:.digits$}]", median(values))
            };
            let (cpu, rate) = (median(&column(|sample| sample.cpu_us)), median(&column(|sample| sample.megabytes_per_second)));
            let (ratio, growth) = (with_spread(&self.ratios(samples), 2), with_spread(&column(|sample| sample.growth), 1));
            writeln!(f, "{name:<22}{cpu:>13.0}{ratio:>28}{rate:>9.0}{growth:>28}")?;
        }
        Ok(())
    }
}
