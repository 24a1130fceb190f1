//! The operator's desk: what the local interface offers, done with the parts of this proxy.
//!
//! Place: part of `app`; served by `admin`.

use std::sync::Arc;

use anyhow::Context;

use super::reload::Reload;
use crate::{
    admin::Operator,
    hooks::BoxFuture,
    plugin::{Explanation, Platform, PluginStatus},
};

/// See the module.
pub(super) struct Desk {
    pub(super) platform: Arc<Platform>,
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

    fn metrics(&self) -> String {
        self.platform.metrics()
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
                self.reload.as_ref().context("this proxy's configuration came from the program that runs it, and cannot be read again")?;
            reload.run().await
        })
    }
}
