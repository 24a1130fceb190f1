//! `cancel`: how long it takes until the origin sees that the client has left in the middle of a stream.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{io::AsyncWriteExt, time::timeout};

use super::{Options, Programs, events, in_turns, latency::Latencies, shape, site::Log, stand::Stand, visitor::Visitor, wire::Answer};

/// When a client's leaving counts as not seen at all.
const LOST: Duration = Duration::from_secs(10);

pub(crate) fn run(options: &Options, programs: &Programs, folder: &Path) -> anyhow::Result<Value> {
    let stand = Stand::open(folder)?;
    let contenders = events::contenders(&stand, programs, folder)?;
    let names = contenders.iter().map(|contender| contender.name);
    let mut table = Latencies::new("client leaves, origin sees it".to_owned(), names);
    let length = Duration::from_secs_f64(options.seconds);
    in_turns(options.rounds, contenders.len(), |contender| {
        table.add(contender, stand.run(turn(&contenders[contender].visitor, length, &stand.log))?);
        Ok(())
    })?;
    println!("{table}");
    Ok(table.json())
}

async fn turn(visitor: &Visitor, length: Duration, log: &Log) -> anyhow::Result<Vec<Duration>> {
    let request = shape::asking(visitor.origin(), "hold", 0);
    let (begin, mut times) = (Instant::now(), Vec::new());
    while begin.elapsed() < length {
        let mut tls = visitor.open().await?;
        tls.write_all(&request).await?;
        tls.flush().await?;
        let mut answer = Answer::new();
        while answer.content == 0 {
            answer.more(&mut tls).await?;
        }
        let left = Instant::now();
        // As when its process is killed: the connection just ends.
        drop(tls);
        times.push(timeout(LOST, log.left()).await? - left);
    }
    Ok(times)
}
