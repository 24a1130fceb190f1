//! What the system knows of this process, under the names that Prometheus' own clients use.
//!
//! Place: asked once per scrape. Source: proc(5); on systems without it there is none of this.

use std::fs;

use super::{Kind, Page, Value};

/// Clock ticks a second in `/proc`, on every Linux that runs: `sysconf(_SC_CLK_TCK)`.
const TICKS: f64 = 100.0;
/// Fields of `/proc/self/stat` after the name, which may hold spaces: time in user mode.
const UTIME: usize = 11;
/// The same in the kernel.
const STIME: usize = 12;
/// Threads.
const THREADS: usize = 17;

/// Adds what can be found out.
pub(super) fn write(page: &mut Page) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
    let field = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok());
    if let Some((user, system)) = field(UTIME).zip(field(STIME)) {
        let seconds = Value::Sum((user + system) / TICKS);
        page.add("process_cpu_seconds", Kind::Counter, "Processor time of the process", Vec::new(), seconds);
    }
    if let Some(threads) = field(THREADS) {
        page.gauge("process_threads", "Threads of the process", &[], threads);
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse::<f64>().ok());
    if let Some(kib) = resident {
        page.gauge("process_resident_memory_bytes", "Memory of the process that is resident", &[], kib * 1024.0);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        page.gauge("process_open_fds", "Descriptors that are open", &[], open.count() as f64);
    }
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let most = limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next()?.parse::<f64>().ok());
    if let Some(most) = most {
        page.gauge("process_max_fds", "Descriptors that may be open", &[], most);
    }
}
