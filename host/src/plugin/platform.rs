//! The plugins as the rest of the proxy knows them.
//!
//! Place: `app` starts and closes it; `net` and `exchange` ask it through [`Hooks`].

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use arc_swap::{ArcSwap, Guard};
use tokio::sync::{Notify, broadcast, mpsc, oneshot};

use super::{
    build::PluginInfo,
    connect,
    journal::{Explanation, Journal},
    load::Loader,
    means::Means,
    observe::View,
    orders::Order,
    ring::Ring,
    set::Set,
    settings::Settings,
    status::{Board, PluginState, PluginStatus, Reloading},
    swap::{Kit, PluginEvent, Swap},
    tally::PluginCounts,
    watch::Watch,
};
use crate::{
    flow::{Authority, Refusal, Scope},
    hooks::{BoxFuture, Course, Hooks, Passage, Probe},
    meters::Page,
    outbound::Outbound,
    record::Writer,
    redaction::Redaction,
    tasks::Tasks,
};

/// Events that a slow listener may be behind by.
const EVENTS: usize = 256;
/// Orders that wait. Full: whoever orders waits.
const ORDERS: usize = 16;
/// What an order comes to at the end.
const CLOSING: &str = "the proxy is being stopped";

/// All plugins, and the task that keeps them up to date.
pub struct Platform {
    set: Arc<ArcSwap<Set>>,
    journal: Arc<Journal>,
    /// What observers do not get to see.
    redaction: Arc<ArcSwap<Redaction>>,
    /// What new builds are tried on.
    ring: Arc<Ring>,
    means: Arc<Means>,
    events: broadcast::Sender<PluginEvent>,
    look: Arc<Notify>,
    board: Arc<Board>,
    orders: mpsc::Sender<Order>,
    following: Tasks,
    observing: Tasks,
    /// Loading and what blocks. Broken off at the end and not waited for: nobody needs what comes of it then.
    working: Tasks,
}

impl Platform {
    /// The plugins in service.
    #[cfg(test)]
    pub(super) fn set(&self) -> Arc<Set> {
        self.set.load_full()
    }

    /// Loads the plugins and begins to follow their folder. `outbound` carries what they fetch.
    ///
    /// # Errors
    /// The folder cannot be made, the key-value store cannot be used, or a plugin cannot be loaded that is required or refuses on failure.
    /// Any other that cannot be loaded is reported and left out.
    pub async fn start(settings: Settings, records: Writer, outbound: Arc<dyn Outbound>) -> anyhow::Result<Arc<Self>> {
        let (events, _) = broadcast::channel(EVENTS);
        let means = Arc::new(Means::new(records, outbound, &settings));
        let (orders, ordered) = mpsc::channel(ORDERS);
        means.open(&settings).await?;
        let platform = Self {
            set: Arc::default(),
            journal: Arc::default(),
            redaction: Arc::new(ArcSwap::new(settings.redaction.clone())),
            ring: Arc::new(Ring::new(settings.replay, settings.limits.replay)),
            means: means.clone(),
            events,
            look: Arc::default(),
            board: Arc::default(),
            orders,
            following: Tasks::new(),
            observing: Tasks::new(),
            working: Tasks::new(),
        };
        let view = View::new(platform.redaction.clone(), settings.capture_bytes);
        let loader = Loader::new(&settings, means, platform.working.clone())?;
        let watch = Watch::new(settings.folder.clone(), settings.limits, platform.look.clone());
        let kit = Kit {
            observing: platform.observing.clone(),
            working: platform.working.clone(),
            set: platform.set.clone(),
            board: platform.board.clone(),
            events: platform.events.clone(),
            ring: platform.ring.clone(),
            view,
        };
        let mut swap = Swap::new(settings, loader, kit);
        swap.begin().await?;
        let (stopping, due) = (platform.following.stopping().clone(), Arc::new(Notify::new()));
        platform.following.spawn(stopping.clone().run_until_cancelled_owned(watch.run(due.clone())));
        platform.following.spawn(stopping.run_until_cancelled_owned(swap.follow(due, ordered)));
        Ok(Arc::new(platform))
    }

    /// Those in service, in their order.
    pub fn plugins(&self) -> Vec<PluginInfo> {
        self.set.load().plugins.iter().map(|serving| serving.build.info.clone()).collect()
    }

    /// What happened to the build of that name that is in service.
    pub fn counts(&self, name: &str) -> Option<PluginCounts> {
        self.set.load().plugins.iter().find(|serving| serving.build.info.name == name).map(|serving| serving.build.counts())
    }

    /// Writes down what plugins report, and what the proxy knows of those in service.
    pub fn write_metrics(&self, page: &mut Page) {
        for serving in &self.set.load().plugins {
            let name = serving.build.info.name.as_str();
            serving.build.write(page);
            if let Some(stored) = self.means.stored(name) {
                page.gauge("flowgate_plugin_stored_bytes", "Octets in the key-value store", &[("plugin", name)], stored as f64);
            }
            self.means.metrics.write(name, page);
        }
    }

    /// What plugins did to the flow of that id; `None`: none wanted it, it never was, or it was too long ago.
    pub fn explain(&self, flow: u64) -> Option<Explanation> {
        self.journal.explain(flow)
    }

    /// The latest flows that some plugin wanted, the last one first, at most `most`.
    pub fn latest_flows(&self, most: usize) -> Vec<Explanation> {
        self.journal.latest(most)
    }

    /// Blanks other things from now on, in flows that observers have not been told of.
    pub fn redact(&self, redaction: Redaction) {
        self.redaction.store(Arc::new(redaction));
    }

    /// What is blanked now.
    pub fn redaction(&self) -> Arc<Redaction> {
        self.redaction.load_full()
    }

    /// What happens to plugins from now on.
    pub fn events(&self) -> broadcast::Receiver<PluginEvent> {
        self.events.subscribe()
    }

    /// Looks at the folder soon, whatever the system tells of it.
    pub fn rescan(&self) {
        self.look.notify_one();
    }

    /// How all plugins stand, those that are not in service too, by name.
    pub fn status(&self) -> Vec<PluginStatus> {
        let set = self.set.load();
        let mut plugins = self.board.read();
        for status in &mut plugins {
            let build = set.plugins.iter().map(|serving| &serving.build).find(|build| build.info.name == status.name);
            status.counts = build.map(|build| build.counts());
            status.last_failure = build.and_then(|build| build.last_failure());
            if status.state == PluginState::Serving && status.counts.is_some_and(|counts| counts.suspended.is_some()) {
                status.state = PluginState::Suspended;
            }
        }
        plugins
    }

    /// Looks at the folder now, at what was refused before too. Returns when what came of it is published.
    ///
    /// # Errors
    /// The platform is being closed.
    pub async fn reload(&self) -> anyhow::Result<Vec<Reloading>> {
        let (answer, answered) = oneshot::channel();
        self.orders.send(Order::Reload(answer)).await.ok();
        answered.await.context(CLOSING)
    }

    /// Puts the good build before the present one back into service. It stays, over restarts too, until the plugin's file holds something
    /// else than now. Returns when it is published.
    ///
    /// # Errors
    /// There is no such build, or it can no longer be loaded: nothing has changed.
    pub async fn rollback(&self, name: &str) -> anyhow::Result<PluginInfo> {
        let (answer, answered) = oneshot::channel();
        self.orders.send(Order::RollBack(name.to_owned(), answer)).await.ok();
        answered.await.context("nothing was rolled back: a newer file came in between, or the proxy is being stopped")?
    }

    /// Takes other settings: every plugin they concern is loaded anew, and all of them are published at once. Says which. Folders cannot
    /// change; what observers see is [`Platform::redact`]'s.
    ///
    /// # Errors
    /// Some plugin cannot take its settings, and which: nothing has changed.
    pub async fn reconfigure(&self, settings: Settings) -> anyhow::Result<Vec<String>> {
        let (answer, answered) = oneshot::channel();
        self.orders.send(Order::Reconfigure(Box::new(settings), answer)).await.ok();
        answered.await.context(CLOSING)?
    }

    /// Takes all plugins out of service for new flows and tells observers of those that have ended; returns when they know, or after
    /// `grace`. To be called when no flow is in progress any more, and before the record writer is closed.
    pub async fn close(&self, grace: Duration) {
        self.following.stop();
        // Nobody waits for what is being compiled.
        self.working.stop();
        self.following.ended(grace).await;
        let before = self.set.swap(Arc::default());
        let names: Vec<String> = before.plugins.iter().map(|serving| serving.build.info.name.clone()).collect();
        drop(before);
        if !self.observing.ended(grace).await {
            tracing::error!(plugins = names.join(", "), "stopping before all flows were observed: records may be missing");
        }
        self.means.close(grace).await;
    }
}

#[cfg(test)]
impl Platform {
    pub(super) fn metrics(&self) -> String {
        let mut page = Page::default();
        self.write_metrics(&mut page);
        page.to_string()
    }

    /// Ids of the flows that the next build of that plugin is tried on.
    pub(super) fn kept_for(&self, plugin: &str) -> Vec<u64> {
        self.ring.of(plugin).iter().map(|flow| flow.id).collect()
    }

    pub(super) fn set_in_service(&self) -> Arc<Set> {
        self.set.load_full()
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.following.stop();
        self.working.stop();
    }
}

impl Hooks for Platform {
    fn wants_host(&self, host: &str) -> bool {
        self.set.load().wants_host(host)
    }

    fn connect<'a>(&'a self, scope: &'a Scope, authority: &'a Authority) -> Option<BoxFuture<'a, Result<Passage, Refusal>>> {
        let set = self.set.load();
        if !set.wants_tunnel(authority.host()) {
            return None;
        }
        Some(Box::pin(connect::ask(Guard::into_inner(set), scope, authority)))
    }

    fn open(&self, request: &Probe<'_>) -> Option<Box<dyn Course>> {
        let set = self.set.load();
        let wanting = set.wanting(request);
        if wanting.is_empty() {
            return None;
        }
        let of = self.ring.is_on().then(|| wanting.iter().map(|wanted| set.plugins[wanted.at].build.label.clone()).collect());
        let way = Guard::into_inner(set).open(self.journal.clone(), wanting, self.observing.clone());
        Some(match of {
            Some(of) => self.ring.watch(way, of),
            None => way,
        })
    }
}
