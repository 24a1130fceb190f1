//! Letting old records go while the proxy runs.
//!
//! Place: part of `app`; at the start, every ten minutes, and when the configuration has changed. On a thread for what blocks.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::watch;

use crate::{
    config::{RecordsConfig, limits},
    meters::Page,
    record::{self, Pruned},
    tasks::Tasks,
};

/// By how much the wall clock may be ahead of what has passed without anybody wondering: leap seconds, and clocks that are slewed.
const SLACK: Duration = Duration::from_secs(60);

/// See the module.
pub(super) struct Retention {
    logs: PathBuf,
    wanted: watch::Sender<RecordsConfig>,
    clock: Mutex<Doubted>,
    deleted: AtomicU64,
    deleted_bytes: AtomicU64,
    failed: AtomicU64,
}

/// As `record` has it.
pub(super) fn retention(config: &RecordsConfig) -> record::Retention {
    record::Retention {
        age: config.max_age,
        count: config.max_count.map(|count| count as u64),
        bytes: config.max_size_bytes.map(|octets| octets as u64),
        quiet: limits::RECORD_QUIET,
    }
}

impl Retention {
    /// Follows what is wanted, until `tasks` are told to stop.
    pub(super) fn start(logs: PathBuf, config: RecordsConfig, tasks: &Tasks) -> Arc<Self> {
        let (wanted, _) = watch::channel(config);
        let retention = Arc::new(Self {
            logs,
            wanted,
            clock: Mutex::default(),
            deleted: AtomicU64::default(),
            deleted_bytes: AtomicU64::default(),
            failed: AtomicU64::default(),
        });
        let (following, stopping, own) = (retention.clone(), tasks.stopping().clone(), tasks.clone());
        tasks.spawn(async move { stopping.run_until_cancelled(following.follow(own)).await });
        retention
    }

    /// Takes over what is wanted from now on.
    pub(super) fn adopt(&self, config: RecordsConfig) {
        self.wanted.send_if_modified(|current| std::mem::replace(current, config.clone()) != config);
    }

    async fn follow(self: Arc<Self>, tasks: Tasks) {
        let mut wanted = self.wanted.subscribe();
        loop {
            let config = wanted.borrow_and_update().clone();
            if !config.is_empty() {
                let (this, stopping) = (self.clone(), tasks.stopping().clone());
                let done = tasks.block(move || this.once(&config, (SystemTime::now(), Instant::now()), &|| stopping.is_cancelled())).await;
                if let Err(error) = done {
                    tracing::error!(%error, "letting old records go has failed");
                }
            }
            // The sender lives as long as this.
            let _ = tokio::time::timeout(limits::RECORD_PRUNE, wanted.changed()).await;
        }
    }

    fn once(&self, config: &RecordsConfig, (wall, began): (SystemTime, Instant), stop: &dyn Fn() -> bool) {
        let now = self.clock.lock().unwrap_or_else(PoisonError::into_inner).now(wall, began);
        match record::prune(&self.logs, &retention(config), now, false, stop) {
            Ok(pruned) => {
                let Pruned { deleted, deleted_bytes, failed, .. } = pruned;
                self.deleted.fetch_add(deleted, Ordering::Relaxed);
                self.deleted_bytes.fetch_add(deleted_bytes, Ordering::Relaxed);
                self.failed.fetch_add(failed, Ordering::Relaxed);
                if failed > 0 {
                    tracing::warn!(folder = %self.logs.display(), failed, "old records could not be deleted");
                }
                if deleted > 0 {
                    tracing::info!(folder = %self.logs.display(), took = ?began.elapsed(), "old records were deleted: {pruned}");
                }
            }
            // Nothing was recorded yet.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(folder = %self.logs.display(), %error, "old records cannot be looked for"),
        }
    }

    /// What it counts.
    pub(super) fn write_metrics(&self, page: &mut Page) {
        let now = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        page.count("flowgate_records_deleted", "Records that were deleted because they were old", &[], now(&self.deleted));
        page.count("flowgate_records_deleted_bytes", "Octets of the records that were deleted", &[], now(&self.deleted_bytes));
        page.count("flowgate_records_delete_failed", "Old records that could not be deleted", &[], now(&self.failed));
    }
}

/// The wall clock, but one that has jumped ahead is not believed at once: what it would delete, nobody can bring back.
#[derive(Debug, Default)]
struct Doubted {
    /// When it was believed last.
    believed: Option<(SystemTime, Instant)>,
    /// Since when it has been ahead.
    ahead: Option<Instant>,
}

impl Doubted {
    /// What time it is where that clock says `wall`.
    fn now(&mut self, wall: SystemTime, at: Instant) -> SystemTime {
        if let Some((then, since)) = self.believed {
            let expected = then + at.saturating_duration_since(since);
            let jump = wall.duration_since(expected).unwrap_or_default();
            if jump > SLACK {
                let since = *self.ahead.get_or_insert_with(|| {
                    tracing::warn!(
                        "the clock has jumped ahead by {jump:?}: no record counts as older for it within {:?}",
                        limits::CLOCK_DOUBT
                    );
                    at
                });
                if at.saturating_duration_since(since) < limits::CLOCK_DOUBT {
                    return expected;
                }
            }
        }
        self.believed = Some((wall, at));
        self.ahead = None;
        wall
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn a_clock_that_jumps_ahead_deletes_nothing_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let records = folder.path().join("completions");
        fs::create_dir(&records).unwrap();
        let (wall, at) = (SystemTime::now(), Instant::now());
        for age in [2, 1] {
            File::create(records.join(format!("{age}.json"))).unwrap().set_modified(wall - age * HOUR).unwrap();
        }
        let config = RecordsConfig { max_age: Some(24 * HOUR), ..RecordsConfig::default() };
        let retention = Retention::start(folder.path().to_owned(), RecordsConfig::default(), &Tasks::new());
        let left = |jump: Duration, later: Duration| {
            retention.once(&config, (wall + jump + later, at + later), &|| false);
            fs::read_dir(&records).unwrap().count()
        };

        assert_eq!(left(Duration::ZERO, Duration::ZERO), 2);
        assert_eq!([1, 2, 3].map(|looks| left(24 * HOUR, looks * limits::RECORD_PRUNE)), [2; 3], "not believed");
        assert_eq!(left(Duration::ZERO, 4 * limits::RECORD_PRUNE), 2, "it was mended");
        assert_eq!([5, 10].map(|looks| left(24 * HOUR, looks * limits::RECORD_PRUNE)), [2; 2], "not yet");
        assert_eq!(left(24 * HOUR, 12 * limits::RECORD_PRUNE), 1, "it stays there; the newest is kept in any case");
    }

    #[test]
    fn a_clock_that_is_set_back_is_believed() {
        let (mut clock, wall, at) = (Doubted::default(), SystemTime::now(), Instant::now());

        assert_eq!(clock.now(wall, at), wall);
        assert_eq!(clock.now(wall - 5 * HOUR, at + HOUR), wall - 5 * HOUR);
        assert_eq!(clock.now(wall - 4 * HOUR, at + 2 * HOUR), wall - 4 * HOUR);
    }
}
