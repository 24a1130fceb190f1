//! CPU time and memory of a process, and where it may run.

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

/// Octets of memory that a process holds, and the most it held since [`forget_most`].
pub(crate) fn memory(process: u32) -> anyhow::Result<(u64, u64)> {
    let [now, most] = octets(&format!("/proc/{process}/status"), ["VmRSS:", "VmHWM:"])?;
    Ok((now, most))
}

/// Octets of memory that a process holds; of what it shares with others, its share.
pub(crate) fn own_memory(process: u32) -> anyhow::Result<u64> {
    let [share] = octets(&format!("/proc/{process}/smaps_rollup"), ["Pss:"])?;
    Ok(share)
}

/// What a file of the kernel's says in KiB behind those words.
fn octets<const N: usize>(path: &str, keys: [&str; N]) -> anyhow::Result<[u64; N]> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {path}"))?;
    let mut octets = [0; N];
    for (octets, key) in octets.iter_mut().zip(keys) {
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        let kibibytes: u64 =
            line.and_then(|line| line.split_whitespace().next()?.parse().ok()).with_context(|| format!("{path} has no {key}"))?;
        *octets = kibibytes << 10;
    }
    Ok(octets)
}

/// From now on the most memory a process held is counted anew.
pub(crate) fn forget_most(process: u32) -> anyhow::Result<()> {
    let path = format!("/proc/{process}/clear_refs");
    fs::write(&path, "5").with_context(|| format!("writing {path}"))
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

/// Keeps this thread, and all that it starts, on that CPU.
pub(crate) fn stay_on(cpu: usize) -> anyhow::Result<()> {
    let mut only = CpuSet::new();
    only.set(cpu);
    sched_setaffinity(None, &only).with_context(|| format!("moving to CPU {cpu}"))
}

/// Starts a child that runs on that CPU only: affinity is inherited, so that no thread of it ever runs elsewhere.
pub(crate) fn on_cpu<T>(cpu: usize, start: impl FnOnce() -> std::io::Result<T>) -> anyhow::Result<T> {
    let before = sched_getaffinity(None).context("reading the CPU affinity")?;
    stay_on(cpu)?;
    let started = start();
    sched_setaffinity(None, &before).context("restoring the CPU affinity")?;
    Ok(started?)
}
