//! `idle`: what connections take of memory while nothing happens on them, and the process with none.
//!
//! Memory is that of the process alone: what it shares with others counts by its share (PSS). Each turn has processes of its own, for one that has
//! had connections keeps some of their memory.

use std::{fmt, path::Path};

use anyhow::{Context, ensure};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::client::TlsStream;

use super::{
    Options, Programs, clock, in_turns,
    programs::PLAIN,
    shape,
    stand::{Contender, Stand},
    stats::{column, median, with_spread},
    visitor::Visitor,
    wire::Answer,
};

/// Connections that are idle together.
const CONNECTIONS: usize = 1000;
/// Connections and requests before that: what a process needs once is there.
const WARM_UP: usize = 100;
/// Octets of each answer.
const ANSWER: &str = "down=367";

/// One process.
struct Sample {
    /// Octets for each connection.
    each: f64,
    /// Octets of the process before there was any (RSS).
    begin: f64,
    /// The same with all of them.
    end: f64,
}

struct Table {
    rows: Vec<(&'static str, Vec<Sample>)>,
}

pub(crate) fn run(options: &Options, programs: &Programs, folder: &Path) -> anyhow::Result<Value> {
    // Both ends of all connections are here.
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files).context("asking for more open files")?;
    let stand = Stand::open(folder)?;
    let start = |contender: usize| -> anyhow::Result<Contender> {
        match contender {
            0 => stand.tunnel(programs),
            1 => stand.flowgate(programs, "flowgate, no plugin", PLAIN, folder),
            _ => stand.flowgate(programs, "flowgate, logger", "", folder),
        }
    };
    let mut table = Table { rows: ["tunnel", "flowgate, no plugin", "flowgate, logger"].map(|name| (name, Vec::new())).into() };
    in_turns(options.rounds, table.rows.len(), |contender| {
        let sample = turn(&stand, &start(contender)?)?;
        table.rows[contender].1.push(sample);
        Ok(())
    })?;
    println!("{table}");
    Ok(table.json())
}

fn turn(stand: &Stand, contender: &Contender) -> anyhow::Result<Sample> {
    let process = contender.proxy.as_ref().context("it has a proxy")?.id();
    clock::at_rest(process)?;
    let (begin, _) = clock::memory(process)?;
    drop(stand.run(connected(&contender.visitor, WARM_UP))?);
    clock::at_rest(process)?;
    let before = clock::own_memory(process)?;
    let connections = stand.run(connected(&contender.visitor, CONNECTIONS))?;
    clock::at_rest(process)?;
    let after = clock::own_memory(process)?;
    let (end, _) = clock::memory(process)?;
    ensure!(connections.len() == CONNECTIONS, "{} connections", connections.len());
    Ok(Sample { each: (after as f64 - before as f64) / CONNECTIONS as f64, begin: begin as f64, end: end as f64 })
}

/// So many connections, with one request done on each.
async fn connected(visitor: &Visitor, count: usize) -> anyhow::Result<Vec<TlsStream<TcpStream>>> {
    let request = shape::asking(visitor.origin(), ANSWER, 0);
    let mut connections = Vec::new();
    for _ in 0..count {
        let mut tls = visitor.open().await?;
        tls.write_all(&request).await?;
        tls.flush().await?;
        Answer::whole(&mut tls).await?;
        connections.push(tls);
    }
    Ok(connections)
}

impl Table {
    fn json(&self) -> Value {
        let rows = self.rows.iter().map(|(name, samples)| {
            let all = |value: fn(&Sample) -> f64| column(samples.iter().map(value).collect());
            json!({
                "name": name,
                "octets_each": all(|sample| sample.each),
                "rss_before": all(|sample| sample.begin),
                "rss_with_connections": all(|sample| sample.end),
            })
        });
        json!({ "connections": CONNECTIONS, "contenders": rows.collect::<Vec<_>>() })
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = format!("{CONNECTIONS} idle connections");
        writeln!(f, "{name:<24}{:>28}{:>16}{:>22}", "kB each [least–most]", "RSS before, MB", "RSS with them, MB")?;
        for (name, samples) in &self.rows {
            let all = |value: fn(&Sample) -> f64| samples.iter().map(value).collect::<Vec<_>>();
            let each = with_spread(&all(|sample| sample.each / 1e3), 1);
            let (begin, end) = (median(&all(|sample| sample.begin / 1e6)), median(&all(|sample| sample.end / 1e6)));
            writeln!(f, "{name:<24}{each:>28}{begin:>16.1}{end:>22.1}")?;
        }
        Ok(())
    }
}
