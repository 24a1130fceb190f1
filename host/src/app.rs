//! The composition root: signatures only, so that what is around it compiles.

use std::{net::SocketAddr, path::Path};

use crate::{config::Config, plugin::PluginInfo};

/// A running proxy.
#[derive(Debug)]
pub struct App {}

/// Starts a proxy.
///
/// # Errors
/// Always.
pub async fn start(_: Config) -> anyhow::Result<App> {
    anyhow::bail!("this build has no proxy in it")
}

/// What `start` would load.
///
/// # Errors
/// Always.
pub async fn check(_: Config) -> anyhow::Result<Vec<PluginInfo>> {
    anyhow::bail!("this build has no proxy in it")
}

impl App {
    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &[]
    }

    /// The file the root certificate lies in.
    pub fn root_path(&self) -> &Path {
        Path::new("")
    }

    /// Where records go.
    pub fn logs(&self) -> &Path {
        Path::new("")
    }

    /// The plugins in service.
    pub fn plugins(&self) -> Vec<PluginInfo> {
        Vec::new()
    }

    /// Stops.
    pub async fn stop(self) {}
}
