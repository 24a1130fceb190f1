//! The operator's desk: what the local interface offers, done with the parts of this proxy.
//!
//! Place: part of `app`; served by `admin`.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{reload::Reload, retention::Retention};
use crate::{
    admin::Operator,
    hooks::BoxFuture,
    meters::{Meters, Page},
    plugin::{Explanation, Platform, PluginStatus},
    record,
    recording::{Gallery, Recorder},
    redaction::Redaction,
    spans::{self, Spans},
    tasks::Tasks,
    usage::{self, Progress, Query, Usage},
};

/// See the module.
pub(super) struct Desk {
    pub(super) platform: Arc<Platform>,
    pub(super) meters: Arc<Meters>,
    pub(super) writer: record::Writer,
    pub(super) recorder: Option<Arc<Recorder>>,
    pub(super) retention: Arc<Retention>,
    pub(super) gallery: Arc<Gallery>,
    pub(super) spans: Option<Arc<Spans>>,
    /// Whether fields and contents of flows are shown.
    pub(super) shows_content: bool,
    /// Where records are.
    pub(super) logs: PathBuf,
    /// Turns of counting records, which takes all processors: one at a time.
    pub(super) counting: Arc<Semaphore>,
    pub(super) tasks: Tasks,
    /// Cancelled when the proxy begins to stop.
    pub(super) draining: CancellationToken,
    /// `None`: the configuration came from nowhere that could be read again.
    pub(super) reload: Option<Arc<Reload>>,
}

impl Operator for Desk {
    fn plugins(&self) -> Vec<PluginStatus> {
        self.platform.status()
    }

    fn explain(&self, flow: u64) -> Option<Explanation> {
        self.platform.explain(flow)
    }

    fn latest_flows(&self, most: usize) -> Vec<Explanation> {
        self.platform.latest_flows(most)
    }

    fn is_ready(&self) -> bool {
        !self.draining.is_cancelled()
    }

    fn stopping(&self) -> CancellationToken {
        self.draining.clone()
    }

    fn gallery(&self) -> &Arc<Gallery> {
        &self.gallery
    }

    fn shows_content(&self) -> bool {
        self.shows_content
    }

    fn redaction(&self) -> Arc<Redaction> {
        self.platform.redaction()
    }

    fn usage(&self, query: Query) -> BoxFuture<'_, anyhow::Result<Usage>> {
        Box::pin(async move {
            let logs = self.logs.clone();
            self.tasks
                .block_in_turn(&self.counting, move || usage::count(&logs, &query, &Progress::default()))
                .await
                .context("counting records")?
        })
    }

    fn metrics(&self) -> String {
        let mut page = Page::default();
        self.meters.write(&mut page);
        self.platform.write_metrics(&mut page);
        let records = self.writer.standing();
        page.count("flowgate_records_written", "Records that were written", &[], records.written);
        page.gauge("flowgate_records_queued", "Records that wait to be written", &[], records.entries as f64);
        page.gauge("flowgate_records_queued_bytes", "Octets of the records that wait to be written", &[], records.bytes as f64);
        for (reason, count) in [("queue-full", records.losses.overloaded), ("write-failed", records.losses.failed)] {
            page.count("flowgate_records_lost", "Records that were lost", &[("reason", reason)], count);
        }
        self.retention.write_metrics(&mut page);
        let kept = self.recorder.as_ref().map(|recorder| recorder.kept()).unwrap_or_default();
        for (outcome, count) in [("written", kept.written), ("lost", kept.lost), ("cut", kept.cut)] {
            page.count("flowgate_recorded_flows", "Flows for the file of --record", &[("outcome", outcome)], count);
        }
        match &self.spans {
            Some(spans) => spans.counts().write(&mut page),
            None => spans::Counts::default().write(&mut page),
        }
        page.to_string()
    }

    fn reload_plugins(&self) -> BoxFuture<'_, anyhow::Result<Vec<String>>> {
        Box::pin(async {
            let outcomes = self.platform.reload().await?;
            Ok(match outcomes.is_empty() {
                true => vec!["there are no plugins".into()],
                false => outcomes.iter().map(ToString::to_string).collect(),
            })
        })
    }

    fn roll_back<'a>(&'a self, plugin: &'a str) -> BoxFuture<'a, anyhow::Result<String>> {
        Box::pin(async move {
            let info = self.platform.rollback(plugin).await?;
            let hash: String = info.hash.chars().take(12).collect();
            Ok(format!("{plugin}: back to version {} ({hash}); it stays until its file holds something else", info.version))
        })
    }

    fn reload(&self) -> BoxFuture<'_, anyhow::Result<Vec<String>>> {
        Box::pin(async {
            let reload =
                self.reload.clone().context("this proxy's configuration came from the program that runs it, and cannot be read again")?;
            // A task of its own: whoever asked may be gone before it is taken over as a whole.
            self.tasks.spawn(async move { reload.run().await }).await.context("reading the configuration again")?
        })
    }
}
