//! Taking over a changed configuration while the proxy runs: all of it or nothing.
//!
//! Place: part of `app`; asked for by the local interface, by SIGHUP, and by itself when a file has changed.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, ensure};

use super::{Network, origins, plugins, policy, redaction, retention::Retention};
use crate::{
    config::{Config, OriginConfig, limits},
    net::Policy,
    origin::Reach,
    plugin::Platform,
    stamp::{Rest, Stamp},
    tasks::Tasks,
    tls::Trust,
};

/// Reads the configuration again, from wherever it came.
pub type Reread = Box<dyn Fn() -> anyhow::Result<Config> + Send + Sync>;

/// Takes over changed configurations.
pub struct Reload {
    reread: Arc<Reread>,
    /// What is in force. The lock makes reloads one at a time.
    current: tokio::sync::Mutex<Config>,
    /// The files as they were when the proxy started.
    first: Stamps,
    network: Arc<Network>,
    platform: Arc<Platform>,
    retention: Arc<Retention>,
    tasks: Tasks,
}

impl Reload {
    pub(super) fn new(
        reread: Reread,
        current: Config,
        network: Arc<Network>,
        platform: Arc<Platform>,
        retention: Arc<Retention>,
        tasks: Tasks,
    ) -> Arc<Self> {
        let first = stamps(files(&current));
        let current = tokio::sync::Mutex::new(current);
        Arc::new(Self { reread: Arc::new(reread), current, first, network, platform, retention, tasks })
    }

    /// Reads the configuration again and takes over what has changed. Says what, in sentences for people.
    ///
    /// # Errors
    /// Something in it is wrong, or takes a restart: then nothing is taken over.
    pub async fn run(&self) -> anyhow::Result<Vec<String>> {
        let mut current = self.current.lock().await;
        let reread = self.reread.clone();
        let next = self.tasks.block(move || reread()).await.context("reading the configuration")??;
        can_change(&current, &next)?;
        let (for_network, config) = (self.network.clone(), next.clone());
        let prepared = self.tasks.block(move || for_network.prepare(&config)).await.context("reading what the configuration names")??;
        let redaction = redaction(&next)?;
        if current.plugins != next.plugins || current.capture_bytes != next.capture_bytes || current.swap_replay != next.swap_replay {
            // Last of all that can go wrong: what comes after it cannot.
            self.platform.reconfigure(plugins(&next)?).await?;
        }
        self.network.adopt(prepared);
        self.platform.redact(redaction);
        self.retention.adopt(next.records.clone());
        let changed = changed(&current, &next);
        *current = next;
        let said = match changed.is_empty() {
            true => "nothing in the configuration has changed; files it names were read again".to_owned(),
            false => format!("taken over: {}", changed.join(", ")),
        };
        tracing::info!("the configuration was read again: {said}");
        Ok(vec![said])
    }

    /// Looks at the files now and then, and takes over what has changed.
    pub(super) async fn follow(self: Arc<Self>) {
        // Not looked at here: what was changed since the start is a change as well.
        let mut files = Rest::new(self.first.clone());
        loop {
            tokio::time::sleep(limits::CONFIG_RESCAN).await;
            if !files.is_news(self.stamps().await) {
                continue;
            }
            if let Err(error) = self.run().await {
                tracing::error!("the configuration was changed and cannot be taken over; the one in force stays: {error:#}");
            }
        }
    }

    async fn stamps(&self) -> Stamps {
        let files = files(&*self.current.lock().await);
        self.tasks.block(move || stamps(files)).await.unwrap_or_default()
    }
}

type Stamps = Vec<(PathBuf, Option<Stamp>)>;

/// What a configuration was read from, but for the users, who are followed elsewhere.
fn files(config: &Config) -> Vec<PathBuf> {
    let of_origins = config.origins.values().flat_map(OriginConfig::files);
    config.file.iter().chain(&config.upstream_ca).chain(of_origins).cloned().collect()
}

fn stamps(files: Vec<PathBuf>) -> Stamps {
    files.into_iter().map(|file| (file.clone(), Stamp::at(&file))).collect()
}

/// What the network side takes over.
pub(super) struct Prepared {
    policy: Policy,
    trust: Trust,
    reach: Reach,
}

impl Network {
    /// Makes all that can go wrong, and takes over nothing.
    fn prepare(&self, config: &Config) -> anyhow::Result<Prepared> {
        Ok(Prepared { policy: policy(config, &self.connections)?, trust: origins::trust(config)?, reach: origins::reach(config) })
    }

    fn adopt(&self, prepared: Prepared) {
        self.front.policy.store(Arc::new(prepared.policy));
        let pool = &self.front.exchange.pool;
        pool.dialler().trust(prepared.trust);
        pool.dialler().reach(prepared.reach);
        // What was verified by the certificates of before, and may not be reached any more.
        pool.forget();
    }
}

/// What a running proxy cannot take over.
fn can_change(current: &Config, next: &Config) -> anyhow::Result<()> {
    let fixed = [
        ("listen", current.listen == next.listen),
        ("listen-tls", current.listen_tls == next.listen_tls),
        ("admin", current.admin == next.admin),
        ("plugins-dir", current.plugins_dir == next.plugins_dir),
        ("logs", current.logs_dir == next.logs_dir),
        ("record", current.record == next.record),
        ("state", current.state_dir == next.state_dir),
        ("resolve", current.resolve == next.resolve),
        ("upstream-proxy", current.upstream_proxy == next.upstream_proxy),
        ("no-proxy", current.no_proxy == next.no_proxy),
        ("grace", current.grace == next.grace),
        ("limits", current.limits == next.limits),
        ("traces", current.traces == next.traces),
    ];
    let changed: Vec<&str> = fixed.iter().filter(|(_, same)| !same).map(|(key, _)| *key).collect();
    ensure!(changed.is_empty(), "a change of {} takes a restart: nothing was taken over", changed.join(", "));
    Ok(())
}

fn changed(current: &Config, next: &Config) -> Vec<&'static str> {
    let keys = [
        ("auth", current.auth == next.auth),
        ("users", current.users == next.users),
        ("proxy-protocol", current.proxy_protocol == next.proxy_protocol),
        ("upstream-ca", current.upstream_ca == next.upstream_ca),
        ("destinations", current.destinations == next.destinations),
        ("origins", current.origins == next.origins),
        ("intercept", current.intercept == next.intercept),
        ("tunnel", current.tunnel == next.tunnel),
        ("auto-splice", current.auto_splice == next.auto_splice),
        ("open", current.open == next.open),
        ("capture", current.capture_bytes == next.capture_bytes),
        ("records", current.records == next.records),
        ("redaction", current.redaction == next.redaction),
        ("swap", current.swap_replay == next.swap_replay),
        ("plugins", current.plugins == next.plugins),
    ];
    keys.iter().filter(|(_, same)| !same).map(|(key, _)| *key).collect()
}
