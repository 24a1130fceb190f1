//! Taking over a changed configuration while the proxy runs: all of it or nothing.
//!
//! Place: part of `app`; asked for by the local interface, by SIGHUP, and by itself when a file has changed.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, bail, ensure};

use super::{Network, gate, origins, plugins, policy, redaction, retention::Retention};
use crate::{
    auth::Gate,
    config::{Config, OriginConfig, limits},
    net::Policy,
    origin::{Pool, Reach},
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
    /// The files as they were when they were last read, well or not: those of what is in force, and of what was refused after it.
    seen: Mutex<Stamps>,
    network: Arc<Network>,
    /// Connections to where traces go.
    collector: Option<Arc<Pool>>,
    platform: Arc<Platform>,
    retention: Arc<Retention>,
    tasks: Tasks,
}

impl Reload {
    pub(super) fn new(
        reread: Reread,
        current: Config,
        network: Arc<Network>,
        collector: Option<Arc<Pool>>,
        platform: Arc<Platform>,
        retention: Arc<Retention>,
        tasks: Tasks,
    ) -> Arc<Self> {
        let seen = Mutex::new(stamps(files(&current)));
        let current = tokio::sync::Mutex::new(current);
        Arc::new(Self { reread: Arc::new(reread), current, seen, network, collector, platform, retention, tasks })
    }

    /// Reads the configuration again and takes over what has changed. Says what, in sentences for people.
    ///
    /// # Errors
    /// Something in it is wrong, or takes a restart: then nothing is taken over.
    pub async fn run(&self) -> anyhow::Result<Vec<String>> {
        let mut current = self.current.lock().await;
        let (reread, known) = (self.reread.clone(), self.seen().into_keys().collect::<Vec<_>>());
        let (before, next) = self.tasks.block(move || (stamps(known), reread())).await.context("reading the configuration")?;
        self.see(before.clone());
        let next = next?;
        // Before they are read: what is missing now is waited for, and what was written again since `before` is news.
        let named = files(&next).into_iter().chain(next.users.clone()).filter(|file| !before.contains_key(file)).collect::<Vec<_>>();
        let named = self.tasks.block(move || stamps(named)).await.context("looking at what the configuration names")?;
        self.see(named);
        can_change(&current, &next)?;
        let (for_network, config) = (self.network.clone(), next.clone());
        let prepared = self.tasks.block(move || for_network.prepare(&config)).await.context("reading what the configuration names")??;
        let redaction = redaction(&next)?;
        if current.plugins != next.plugins || current.capture_bytes != next.capture_bytes || current.swap_replay != next.swap_replay {
            // Last of all that can go wrong: what comes after it cannot.
            self.platform.reconfigure(plugins(&next)?).await?;
        }
        self.network.adopt(prepared, self.collector.as_deref());
        self.platform.redact(redaction);
        self.retention.adopt(next.records.clone());
        let changed = changed(&current, &next);
        *current = next;
        let followed = files(&current);
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).retain(|file, _| followed.contains(file));
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
        let mut files = Rest::new(self.seen());
        loop {
            tokio::time::sleep(limits::CONFIG_RESCAN).await;
            let seen = self.seen();
            let known = seen.keys().cloned().collect::<Vec<_>>();
            files.took(seen);
            let Ok(now) = self.tasks.block(move || stamps(known)).await else { continue };
            if !files.is_news(now) {
                continue;
            }
            if let Err(error) = self.run().await {
                tracing::error!("the configuration was changed and cannot be taken over; the one in force stays: {error:#}");
            }
        }
    }

    fn seen(&self) -> Stamps {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn see(&self, files: Stamps) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).extend(files);
    }
}

type Stamps = BTreeMap<PathBuf, Option<Stamp>>;

/// What a configuration was read from, or would have been, but for the users, who are followed elsewhere once they are in force.
fn files(config: &Config) -> Vec<PathBuf> {
    let of_origins = config.origins.values().flat_map(OriginConfig::files);
    config.sought.iter().chain(&config.upstream_ca).chain(of_origins).cloned().collect()
}

fn stamps(files: Vec<PathBuf>) -> Stamps {
    files.into_iter().map(|file| (file.clone(), Stamp::at(&file))).collect()
}

/// What the network side takes over.
pub(super) struct Prepared {
    gate: Gate,
    policy: Policy,
    trust: Trust,
    reach: Reach,
}

impl Network {
    /// Makes all that can go wrong, and takes over nothing.
    fn prepare(&self, config: &Config) -> anyhow::Result<Prepared> {
        let gate = gate(config, Some(&self.gate.load()), &self.connections)?;
        Ok(Prepared { policy: policy(config, gate.clone())?, gate, trust: origins::trust(config)?, reach: origins::reach(config) })
    }

    /// `collector`: the connections to it, which are verified as those to origins are.
    fn adopt(&self, prepared: Prepared, collector: Option<&Pool>) {
        self.gate.store(Arc::new(prepared.gate));
        let policy = prepared.policy.remembering(&self.front.policy.load());
        self.front.policy.store(Arc::new(policy));
        let (pool, trust) = (&*self.front.exchange.pool, Arc::new(prepared.trust));
        pool.dialler().reach(prepared.reach);
        for pool in [Some(pool), collector].into_iter().flatten() {
            pool.dialler().trust(trust.clone());
            // What was verified by the certificates of before, and may not be reached any more.
            pool.forget();
        }
    }
}

/// What a running proxy cannot take over.
fn can_change(current: &Config, next: &Config) -> anyhow::Result<()> {
    // What it said about who may enter and what is hidden must not go by the name of a default.
    if let (Some(file), None) = (&current.file, &next.file) {
        bail!("{} is gone: put it back, or restart the proxy without it", file.display());
    }
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
