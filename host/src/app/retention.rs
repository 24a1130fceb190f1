//! Letting old records go while the proxy runs.
//!
//! Place: part of `app`; at the start, every ten minutes, and when the configuration has changed. On a thread for what blocks.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Instant, SystemTime},
};

use tokio::sync::watch;

use crate::{
    config::{RecordsConfig, limits},
    meters::Page,
    record::{self, Pruned},
    tasks::Tasks,
};

/// See the module.
pub(super) struct Retention {
    logs: PathBuf,
    wanted: watch::Sender<RecordsConfig>,
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
                let done = tasks.block(move || this.once(&config, &|| stopping.is_cancelled())).await;
                if let Err(error) = done {
                    tracing::error!(%error, "letting old records go has failed");
                }
            }
            // The sender lives as long as this.
            let _ = tokio::time::timeout(limits::RECORD_PRUNE, wanted.changed()).await;
        }
    }

    fn once(&self, config: &RecordsConfig, stop: &dyn Fn() -> bool) {
        let began = Instant::now();
        match record::prune(&self.logs, &retention(config), SystemTime::now(), false, stop) {
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
