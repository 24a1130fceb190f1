//! `events`: how long an event of a stream takes from the origin's hand to the client's.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::ensure;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::{
    Options, Programs, in_turns,
    latency::Latencies,
    programs::PLAIN,
    shape,
    site::{EVENTS, Log},
    stand::{Contender, Stand},
    visitor::Visitor,
    wire::Answer,
};

/// Each flushed for every event.
const CODINGS: [&str; 4] = ["identity", "gzip", "br", "zstd"];

pub(crate) fn run(options: &Options, programs: &Programs, folder: &Path) -> anyhow::Result<Value> {
    let stand = Stand::open(folder)?;
    let contenders = contenders(&stand, programs, folder)?;
    let names = || contenders.iter().map(|contender| contender.name);
    let mut tables: Vec<(Latencies, Latencies)> = CODINGS
        .iter()
        .map(|coding| {
            let first = Latencies::new(format!("{coding}: request to first event"), names());
            (first, Latencies::new(format!("{coding}: each event, written to read"), names()))
        })
        .collect();
    let length = Duration::from_secs_f64(options.seconds / CODINGS.len() as f64);
    in_turns(options.rounds, contenders.len(), |contender| {
        for (coding, (first, each)) in CODINGS.iter().zip(&mut tables) {
            let (firsts, all) = stand.run(turn(&contenders[contender].visitor, coding, length, &stand.log))?;
            first.add(contender, firsts);
            each.add(contender, all);
        }
        Ok(())
    })?;
    for (first, each) in &tables {
        println!("{first}\n{each}");
    }
    let tables: Vec<Value> = tables.iter().flat_map(|(first, each)| [first.json(), each.json()]).collect();
    Ok(json!({ "events_per_stream": EVENTS, "tables": tables }))
}

/// Straight, through a plain tunnel, which shows what another process in between costs on this machine at this time, and as the product comes.
pub(super) fn contenders(stand: &Stand, programs: &Programs, folder: &Path) -> anyhow::Result<Vec<Contender>> {
    Ok(vec![
        stand.direct()?,
        stand.tunnel(programs)?,
        stand.flowgate(programs, "flowgate, no plugin", PLAIN, folder)?,
        stand.flowgate(programs, "flowgate, logger", "", folder)?,
    ])
}

/// Streams, one after the other on one connection, for so long: times to the first event of each, and of every event.
async fn turn(visitor: &Visitor, coding: &str, length: Duration, log: &Log) -> anyhow::Result<(Vec<Duration>, Vec<Duration>)> {
    let mut tls = visitor.open().await?;
    let request = shape::asking(visitor.origin(), &format!("events={coding}"), 0);
    let (mut firsts, mut all) = (Vec::new(), Vec::new());
    let (mut begin, mut is_warm) = (Instant::now(), false);
    while begin.elapsed() < length || !is_warm {
        let asked = Instant::now();
        tls.write_all(&request).await?;
        tls.flush().await?;
        let (mut answer, mut times) = (Answer::new(), Vec::new());
        let mut first = None;
        while !answer.is_done() {
            answer.more(&mut tls).await?;
            let now = Instant::now();
            let written = log.written.borrow();
            while let Some((at, total)) = written.get(times.len())
                && *total <= answer.content
            {
                first.get_or_insert(now - asked);
                times.push(now - *at);
            }
        }
        ensure!(times.len() == EVENTS, "{} events came of {EVENTS}", times.len());
        // The first one opens connections and fills caches.
        if is_warm {
            firsts.extend(first);
            all.extend(times);
        } else {
            (begin, is_warm) = (Instant::now(), true);
        }
    }
    Ok((firsts, all))
}
