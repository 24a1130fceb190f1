//! What plugins share and may be granted: made once per platform, whatever builds come and go.
//!
//! Place: made by `platform`, asked by `load`, closed after the last call.

use std::{sync::Arc, time::Duration};

use tokio::sync::OnceCell;

use super::{
    metrics::Metrics,
    scene::Scene,
    settings::{Grant, PluginSettings, Settings},
};
use crate::{
    outbound::Outbound,
    record::Writer,
    store::{self, Namespace, Store},
};

/// See the module.
pub(super) struct Means {
    pub(super) records: Writer,
    pub(super) metrics: Metrics,
    pub(super) carrier: Arc<dyn Outbound>,
    /// Opened when the first plugin needs it, so that two proxies that do not use it can share a state folder.
    store: OnceCell<Store>,
    /// Entries of a store in memory end by that.
    clock: store::Clock,
}

impl Means {
    pub(super) fn new(records: Writer, carrier: Arc<dyn Outbound>, settings: &Settings) -> Self {
        Self { records, metrics: Metrics::new(settings.limits.metrics), carrier, store: OnceCell::new(), clock: store::machine() }
    }

    /// The same for builds that serve nobody, on that scene.
    pub(super) fn staged(records: Writer, carrier: Arc<dyn Outbound>, settings: &Settings, scene: &Arc<Scene>) -> Self {
        let mut means = Self::new(records, carrier, settings);
        means.clock = scene.clock();
        means
    }

    /// Others for a build that serves nobody: nothing is carried, and what it stores and reports is gone with them.
    pub(super) fn aside(&self, settings: &Settings, scene: &Arc<Scene>) -> Self {
        Self::staged(self.records.clone(), Arc::new(()), settings, scene)
    }

    /// Opens what some plugin is granted.
    ///
    /// # Errors
    /// It cannot be used; says the mend.
    pub(super) async fn open(&self, settings: &Settings) -> anyhow::Result<()> {
        if settings.plugins.values().any(|own| own.enabled && own.grants.contains(&Grant::KeyValue)) {
            self.store(settings).await?;
        }
        Ok(())
    }

    /// What the plugin of that name has stored.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) async fn namespace(&self, name: &str, own: &PluginSettings, settings: &Settings) -> anyhow::Result<Namespace> {
        self.store(settings).await?.namespace(name, own.key_value_bytes).await
    }

    /// Octets that the plugin of that name has stored, if it may and its namespace was ever opened.
    pub(super) fn stored(&self, name: &str) -> Option<u64> {
        self.store.get()?.used(name)
    }

    /// Nothing is called any more.
    pub(super) async fn close(&self, grace: Duration) {
        if let Some(store) = self.store.get()
            && !store.close(grace).await
        {
            tracing::error!("stopping before all was written that plugins have stored");
        }
    }

    async fn store(&self, settings: &Settings) -> anyhow::Result<&Store> {
        let limits = settings.limits.key_value;
        let open = async || match &settings.store {
            Some(file) => Store::open(file.clone(), limits).await,
            None => Ok(Store::in_memory(limits, self.clock.clone())),
        };
        self.store.get_or_try_init(open).await
    }
}

impl Drop for Means {
    fn drop(&mut self) {
        if let Some(store) = self.store.get() {
            store.abandon();
        }
    }
}
