//! CPU time of a process, and where it may run.

use std::{fs, thread, time::Duration};

use anyhow::Context;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// `sysconf(_SC_CLK_TCK)`, which is 100 on every Linux that matters.
const TICK: Duration = Duration::from_millis(10);

/// User and system time of all threads of a process, ended ones included; in steps of 10 ms.
pub(crate) fn cpu_time(process: u32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{process}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    // The second column is the name in parentheses, which may hold spaces; utime and stime are columns 14 and 15.
    let columns = text.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    let ticks = columns.map(str::parse::<u32>).sum::<Result<u32, _>>().with_context(|| format!("reading {path}"))?;
    Ok(TICK * ticks)
}

/// CPU time once it stands still: work that goes on after the answers (records) belongs to the requests.
pub(crate) fn at_rest(process: u32) -> anyhow::Result<Duration> {
    let mut last = cpu_time(process)?;
    for _ in 0..100 {
        thread::sleep(Duration::from_millis(200));
        let now = cpu_time(process)?;
        if now == last {
            return Ok(now);
        }
        last = now;
    }
    anyhow::bail!("process {process} does not come to rest")
}

/// Starts a child that runs on that CPU only: affinity is inherited, so that no thread of it ever runs elsewhere.
pub(crate) fn on_cpu<T>(cpu: usize, start: impl FnOnce() -> std::io::Result<T>) -> anyhow::Result<T> {
    let before = sched_getaffinity(None).context("reading the CPU affinity")?;
    let mut only = CpuSet::new();
    only.set(cpu);
    sched_setaffinity(None, &only).with_context(|| format!("moving to CPU {cpu}"))?;
    let started = start();
    sched_setaffinity(None, &before).context("restoring the CPU affinity")?;
    Ok(started?)
}
