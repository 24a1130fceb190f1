//! The operator's desk: what the local interface offers, done with the parts of this proxy.
//!
//! Place: part of `app`; served by `admin`.

use std::sync::Arc;

use anyhow::Context;

use super::reload::Reload;
use crate::{
    admin::Operator,
    hooks::BoxFuture,
    plugin::{Explanation, Platform, PluginCounts, PluginInfo},
};

/// See the module.
pub(super) struct Desk {
    pub(super) platform: Arc<Platform>,
    /// `None`: the configuration came from nowhere that could be read again.
    pub(super) reload: Option<Arc<Reload>>,
}

impl Operator for Desk {
    fn plugins(&self) -> Vec<(PluginInfo, PluginCounts)> {
        let with_counts = |info: PluginInfo| {
            let counts = self.platform.counts(&info.name).unwrap_or_default();
            (info, counts)
        };
        self.platform.plugins().into_iter().map(with_counts).collect()
    }

    fn explain(&self, flow: u64) -> Option<Explanation> {
        self.platform.explain(flow)
    }

    fn latest_flows(&self, most: usize) -> Vec<Explanation> {
        self.platform.latest_flows(most)
    }

    fn metrics(&self) -> String {
        self.platform.metrics()
    }

    fn reload_plugins(&self) -> BoxFuture<'_, anyhow::Result<Vec<String>>> {
        Box::pin(async {
            self.platform.rescan();
            Ok(vec!["the plugins folder is being looked at".into()])
        })
    }

    fn roll_back<'a>(&'a self, plugin: &'a str) -> BoxFuture<'a, anyhow::Result<String>> {
        Box::pin(async move { anyhow::bail!("plugin {plugin} cannot be rolled back yet") })
    }

    fn reload(&self) -> BoxFuture<'_, anyhow::Result<Vec<String>>> {
        Box::pin(async {
            let reload =
                self.reload.as_ref().context("this proxy's configuration came from the program that runs it, and cannot be read again")?;
            reload.run().await
        })
    }
}
