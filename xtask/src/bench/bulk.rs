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
    programs::PLAIN,
    shape,
    site::{BULK, pour},
    stand::Stand,
    stats::{column, median, with_spread},
    visitor::Visitor,
    wire::Answer,
};

/// What is kept of each content for the logger.
const CAPTURE: &str = "1MiB";
const DIRECTIONS: [&str; 2] = ["down", "up"];
/// As often in one turn: CPU time comes in steps of 10 ms.
const TIMES: u32 = 4;
const MEGABYTES: f64 = BULK as f64 / 1e6;

struct Sample {
    /// CPU time of the proxy per megabyte, in µs.
    cpu_us: f64,
    megabytes_per_second: f64,
    /// The most memory meanwhile over what it held before, in MiB.
    growth: f64,
}

/// Samples of one direction by contender; the first two are what the others are compared with: octets copied, and TLS ended as well.
struct Table {
    direction: &'static str,
    rows: Vec<(&'static str, Vec<Sample>)>,
}

pub(crate) fn run(options: &Options, programs: &Programs, folder: &Path) -> anyhow::Result<Value> {
    let stand = Stand::open(folder)?;
    let spliced = format!("tunnel = [\"localhost\"]\n{PLAIN}");
    let contenders = [
        stand.tunnel(programs)?,
        stand.tls_tunnel(programs)?,
        stand.flowgate(programs, "flowgate, spliced", &spliced, folder)?,
        stand.flowgate(programs, "flowgate, no plugin", PLAIN, folder)?,
        stand.flowgate(programs, "flowgate, logger", &format!("capture = \"{CAPTURE}\"\n"), folder)?,
    ];
    let mut tables = DIRECTIONS.map(|direction| {
        let rows = contenders.iter().map(|contender| (contender.name, Vec::new())).collect();
        Table { direction, rows }
    });
    for contender in &contenders {
        for direction in DIRECTIONS {
            // Connections are there; buffers are still to grow.
            stand.run(passed(&contender.visitor, direction, 0))?;
        }
    }
    in_turns(options.rounds, contenders.len(), |contender| {
        let process = contenders[contender].proxy.as_ref().context("it has a proxy")?.id();
        for table in &mut tables {
            let before = clock::at_rest(process)?;
            clock::forget_most(process)?;
            let (held, _) = clock::memory(process)?;
            let mut took = Duration::ZERO;
            for _ in 0..TIMES {
                took += stand.run(passed(&contenders[contender].visitor, table.direction, BULK))?;
            }
            let cpu = clock::at_rest(process)? - before;
            let (_, most) = clock::memory(process)?;
            table.rows[contender].1.push(Sample {
                cpu_us: cpu.as_secs_f64() * 1e6 / (MEGABYTES * f64::from(TIMES)),
                megabytes_per_second: MEGABYTES * f64::from(TIMES) / took.as_secs_f64(),
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

/// So many octets once, on a connection of its own; how long that took.
async fn passed(visitor: &Visitor, direction: &str, octets: u64) -> anyhow::Result<Duration> {
    let mut tls = visitor.open().await?;
    let begin = Instant::now();
    let (upload, download) = if direction == "up" { (octets, 0) } else { (0, octets) };
    let wanted = if direction == "up" { "up".to_owned() } else { format!("down={octets}") };
    tls.write_all(&shape::asking(visitor.origin(), &wanted, upload)).await?;
    pour(&mut tls, upload).await?;
    tls.flush().await?;
    let answer = Answer::whole(&mut tls).await?;
    ensure!(direction == "up" || answer.content == download, "{} octets came of {download}", answer.content);
    Ok(begin.elapsed())
}

impl Table {
    /// CPU time over that of a contender, round by round.
    fn ratios(&self, samples: &[Sample], base: usize) -> Vec<f64> {
        samples.iter().zip(&self.rows[base].1).map(|(sample, base)| sample.cpu_us / base.cpu_us).collect()
    }

    fn json(&self) -> Value {
        let row = |(name, samples): &(&str, Vec<Sample>)| {
            let all = |value: fn(&Sample) -> f64| column(samples.iter().map(value).collect());
            json!({
                "name": name,
                "cpu_us_per_mb": all(|sample| sample.cpu_us),
                "ratio": column(self.ratios(samples, 0)),
                "ratio_to_tls": column(self.ratios(samples, 1)),
                "mb_per_second": all(|sample| sample.megabytes_per_second),
                "rss_growth_mib": all(|sample| sample.growth),
            })
        };
        json!({ "direction": self.direction, "contenders": self.rows.iter().map(row).collect::<Vec<_>>() })
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = format!("{MEGABYTES:.0} MB {}", self.direction);
        writeln!(
            f,
            "{name:<22}{:>11}{:>24}{:>24}{:>7}{:>28}",
            "CPU µs/MB", "÷ tunnel [least–most]", "÷ TLS [least–most]", "MB/s", "RSS growth MiB [least–most]"
        )?;
        for (name, samples) in &self.rows {
            let all = |value: fn(&Sample) -> f64| samples.iter().map(value).collect::<Vec<_>>();
            let (cpu, rate) = (median(&all(|sample| sample.cpu_us)), median(&all(|sample| sample.megabytes_per_second)));
            let (ratio, over_tls) = (with_spread(&self.ratios(samples, 0), 2), with_spread(&self.ratios(samples, 1), 2));
            let growth = with_spread(&all(|sample| sample.growth), 1);
            writeln!(f, "{name:<22}{cpu:>11.0}{ratio:>24}{over_tls:>24}{rate:>7.0}{growth:>28}")?;
        }
        Ok(())
    }
}
