//! What operators order: look now, go back, take other settings.
//!
//! Place: done by the task of `swap`, one after the other and between its swaps; asked through `platform`. What takes long (loading, with
//! whatever that compiles) is done beside it, so other plugins are swapped meanwhile. An answer comes when what was ordered has been published,
//! or has come to nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use tokio::sync::oneshot;

use super::{
    LOGGER, LOGGER_WASM,
    build::{Build, PluginInfo},
    handoff::{HandedOver, hand_over},
    hash::Hash,
    load::{Code, Loader, Source},
    observe::View,
    replay::{Tried, replay},
    ring::Ring,
    settings::{OnFailure, PluginSettings, Settings},
    status::{Reloaded, Reloading},
    swap::{Live, PluginEvent, Ready, Swap, Wanted},
    watch::{self, Listing},
};

/// See the module.
pub(super) enum Order {
    Reload(oneshot::Sender<Vec<Reloading>>),
    RollBack(String, oneshot::Sender<anyhow::Result<PluginInfo>>),
    Reconfigure(Box<Settings>, oneshot::Sender<anyhow::Result<Vec<String>>>),
}

/// A reload that waits for what is being loaded.
pub(super) struct Reload {
    /// What was in service.
    before: BTreeMap<String, Option<Hash>>,
    answer: oneshot::Sender<Vec<Reloading>>,
}

/// A rollback in progress. Dropped: a newer file took its place.
pub(super) struct Undone {
    /// What the file holds.
    pub(super) from: Hash,
    answer: oneshot::Sender<anyhow::Result<PluginInfo>>,
}

impl Undone {
    pub(super) fn done(self, info: PluginInfo) {
        // Whoever asked may be gone, here and below.
        self.answer.send(Ok(info)).ok();
    }

    pub(super) fn fail(self, error: anyhow::Error) {
        self.answer.send(Err(error)).ok();
    }
}

/// Other settings on their way: what they concern is left as it is until they are taken over or have come to nothing.
pub(super) struct Changing {
    /// All there are and all that come; else only `names`.
    all: bool,
    names: BTreeSet<String>,
}

/// Other settings, with every build they concern.
pub(super) struct Changed {
    next: Settings,
    changes: anyhow::Result<Vec<(String, Change)>>,
    answer: oneshot::Sender<anyhow::Result<Vec<String>>>,
}

/// What is to become of one plugin.
enum Plan {
    Load {
        source: Source,
        is_file: bool,
        octets: Option<Bytes>,
        /// Whose place it takes.
        before: Option<Arc<Build>>,
    },
    Leave,
}

/// What a change of settings makes of one plugin.
enum Change {
    Serve { build: Arc<Build>, hash: Hash, is_file: bool, octets: Option<Bytes>, handed: Option<HandedOver> },
    Leave,
}

impl Swap {
    pub(super) async fn obey(&mut self, order: Order) {
        match order {
            Order::Reload(answer) => self.reload(answer).await,
            Order::RollBack(name, answer) => match self.previous(&name).await {
                Ok((from, wanted)) => self.load(&name, wanted, Some(Undone { from, answer })),
                Err(error) => drop(answer.send(Err(error))),
            },
            Order::Reconfigure(settings, answer) => self.reconfigure(*settings, answer).await,
        }
    }

    async fn reload(&mut self, answer: oneshot::Sender<Vec<Reloading>>) {
        let hash = |live: &Option<Live>| live.as_ref().map(|live| live.hash);
        let before = self.slots.iter().map(|(name, slot)| (name.clone(), hash(&slot.live))).collect();
        for slot in self.slots.values_mut() {
            if slot.refused.take().is_some() {
                slot.seen = None;
            }
        }
        self.reloads.push(Reload { before, answer });
        self.scan().await;
    }

    /// Answers when nothing is being loaded any more.
    pub(super) fn answer_reloads(&mut self) {
        if self.reloads.is_empty() || self.is_loading() {
            return;
        }
        for Reload { before, answer } in std::mem::take(&mut self.reloads) {
            let names: BTreeSet<&String> = before.keys().chain(self.slots.keys()).collect();
            let outcomes =
                names.into_iter().filter_map(|name| Some(Reloading { name: name.clone(), outcome: self.outcome(name, &before)? }));
            answer.send(outcomes.collect()).ok();
        }
    }

    fn outcome(&self, name: &str, before: &BTreeMap<String, Option<Hash>>) -> Option<Reloaded> {
        let slot = self.slots.get(name);
        let was = before.get(name).copied().flatten();
        if let Some((_, reason)) = slot.and_then(|slot| slot.refused.as_ref()) {
            return Some(Reloaded::Refused { reason: reason.clone() });
        }
        match slot.and_then(|slot| slot.live.as_ref()) {
            Some(live) if Some(live.hash) == was => Some(Reloaded::Unchanged),
            Some(live) => {
                let info = &live.serving.build.info;
                Some(Reloaded::Live { version: info.version.clone(), hash: info.hash.clone() })
            }
            None => was.map(|_| Reloaded::Removed),
        }
    }

    /// What to go back to, and what the file holds.
    async fn previous(&self, name: &str) -> anyhow::Result<(Hash, Wanted)> {
        let live = self.slots.get(name).and_then(|slot| slot.live.as_ref());
        let live = live.with_context(|| format!("plugin {name} is not in service: `flowgate plugin list` says which are"))?;
        // Of that one nobody knows yet whether it is any good; going back would take its place unseen.
        let is_loading = self.slots.get(name).is_some_and(|slot| slot.loading.is_some());
        ensure!(!is_loading, "a newer build of plugin {name} is being loaded: ask again when it is live or refused");
        ensure!(self.before().is_some(), "no builds are kept: there is nothing to go back to");
        let history = self.histories.get(name);
        let previous = history.and_then(|history| history.previous());
        let previous =
            previous.with_context(|| format!("no build of plugin {name} before this one was kept: there is nothing to go back to"))?;
        // What was gone back from before is still what the file holds.
        let from = history.and_then(|history| history.passed_over).unwrap_or(live.hash);
        let wanted = self.kept(name, from, previous, live.is_file).await?;
        Ok((from, wanted))
    }

    /// Other settings: all of them with every build they concern, or none. The builds are made beside this task.
    async fn reconfigure(&mut self, next: Settings, answer: oneshot::Sender<anyhow::Result<Vec<String>>>) {
        let (changing, plans) = match self.plans(&next).await {
            Ok(planned) => planned,
            Err(error) => return drop(answer.send(Err(error))),
        };
        for (name, slot) in &mut self.slots {
            // It was begun with the settings of before.
            if changing.concerns(name) && slot.loading.take().is_some() {
                slot.seen = None;
            }
        }
        self.changing = Some(changing);
        let (loader, ready, stopping) = (self.loader.clone(), self.ready.0.clone(), self.kit.working.stopping().clone());
        let (now, ring, view) = (self.settings.clone(), self.kit.ring.clone(), self.kit.view.clone());
        self.kit.working.spawn(stopping.run_until_cancelled_owned(async move {
            let trial = Trial { now: &now, ring: &ring, view: &view };
            let changes = changes(&loader, plans, &next, trial).await;
            // The other side may have ended.
            ready.send(Ready::Settings(Box::new(Changed { next, changes, answer }))).await.ok();
        }));
    }

    pub(super) fn is_changing(&self, name: &str) -> bool {
        self.changing.as_ref().is_some_and(|changing| changing.concerns(name))
    }

    /// What the settings concern, and what is to become of it.
    async fn plans(&mut self, next: &Settings) -> anyhow::Result<(Changing, Vec<(String, Plan)>)> {
        let now = &self.settings;
        let same = now.folder == next.folder && now.cache == next.cache && now.logs == next.logs && now.before == next.before;
        ensure!(same, "other folders take a restart");
        let all = now.limits != next.limits || now.capture_bytes != next.capture_bytes;
        let known: BTreeSet<String> = now.plugins.keys().chain(next.plugins.keys()).chain(self.slots.keys()).cloned().collect();
        let names: BTreeSet<String> = known.into_iter().filter(|name| all || now.of(name) != next.of(name)).collect();
        let listing = self.list().await.context("the plugins folder cannot be read")?;
        let mut plans = Vec::new();
        for name in &names {
            let plan = self.plan(name, next, &listing).await.with_context(|| cannot(name))?;
            plans.push((name.clone(), plan));
        }
        Ok((Changing { all, names }, plans))
    }

    /// What that plugin would be with those settings.
    async fn plan(&self, name: &str, next: &Settings, listing: &Listing) -> anyhow::Result<Plan> {
        if !next.is_enabled(name) {
            return Ok(Plan::Leave);
        }
        if let Some(live) = self.slots.get(name).and_then(|slot| slot.live.as_ref()) {
            let build = &live.serving.build;
            let code = Code::Compiled(build.pool.component().clone());
            let source = Source { name: name.to_owned(), code, hash: live.hash, file: build.info.file.clone() };
            return Ok(Plan::Load { source, is_file: live.is_file, octets: None, before: Some(build.clone()) });
        }
        let (octets, hash, file) = match listing.candidates.get(name) {
            Some(candidate) => {
                let (path, max) = (candidate.path.clone(), next.limits.component_bytes);
                let contents = self.kit.working.block(move || watch::read(&path, max)).await??;
                (contents.octets, contents.hash, Some(candidate.path.clone()))
            }
            None if name == LOGGER => (Bytes::from_static(LOGGER_WASM), Hash::of(LOGGER_WASM), None),
            None => {
                let own = next.of(name);
                if own.required || own.on_failure == OnFailure::Refuse {
                    bail!("it is needed and {} is missing", next.folder.join(format!("{name}.wasm")).display());
                }
                return Ok(Plan::Leave);
            }
        };
        let (is_file, mut wanted) = (file.is_some(), Wanted { asked: hash, hash, octets, is_file: file.is_some(), file });
        if let Some(history) = self.histories.get(name).filter(|history| history.passed_over == Some(hash)) {
            let instead = history.good.first().copied().context("it was rolled back from, and no other build was kept")?;
            wanted = self.kept(name, hash, instead, is_file).await?;
        }
        let source = Source { name: name.to_owned(), code: Code::Octets(wanted.octets.clone()), hash: wanted.hash, file: wanted.file };
        Ok(Plan::Load { source, is_file, octets: Some(wanted.octets), before: None })
    }

    /// All that was prepared takes up service, or nothing of it.
    pub(super) async fn take_over(&mut self, changed: Changed) {
        let Changed { next, changes, answer } = changed;
        self.changing = None;
        let done = match changes {
            Ok(changes) => {
                self.kit.view.max_decoded.store(next.capture_bytes, Ordering::Relaxed);
                self.kit.ring.resize(next.replay);
                self.settings = Arc::new(next);
                Ok(self.change(changes).await)
            }
            Err(error) => Err(error),
        };
        // What has come meanwhile, and what had been broken off.
        self.scan().await;
        self.post();
        answer.send(done).ok();
    }

    /// Publishes all of it at once.
    async fn change(&mut self, changes: Vec<(String, Change)>) -> Vec<String> {
        let (mut live, mut gone, mut paused) = (Vec::new(), Vec::new(), Vec::new());
        for (name, change) in changes {
            match change {
                Change::Serve { build, hash, is_file, octets, handed } => {
                    live.push((name.clone(), hash, octets));
                    paused.extend(handed);
                    let serving = self.serve(build, hash, is_file, &self.settings);
                    self.put(&name, serving);
                }
                Change::Leave => {
                    if self.slots.get(&name).is_some_and(|slot| slot.live.is_some()) {
                        gone.push(name.clone());
                    }
                    self.remove(&name);
                }
            }
        }
        self.publish();
        // Flows that stay with the builds of before may go on.
        drop(paused);
        for name in &gone {
            tracing::info!(plugin = name, "plugin is out of service: it is switched off");
            self.tell(PluginEvent::Removed { name: name.clone() });
        }
        let mut changed = gone;
        for (name, hash, octets) in live {
            if let Some(octets) = octets {
                let (most, history) = (self.settings.limits.builds, self.histories.entry(name.clone()).or_default());
                if history.passed_over.is_none() || history.good.first() != Some(&hash) {
                    history.took(hash, most);
                }
                self.keep(&name, Some((hash, octets))).await;
            }
            // What its file holds may be good with these settings.
            if let Some(slot) = self.slots.get_mut(&name)
                && slot.refused.take().is_some()
            {
                slot.seen = None;
            }
            self.announce(&name);
            changed.push(name);
        }
        changed
    }
}

/// What new builds are tried on, and the settings of those in service.
struct Trial<'a> {
    now: &'a Settings,
    ring: &'a Ring,
    view: &'a View,
}

/// Loads all that is planned and tries it, then hands over the states of singletons: what fails, fails before that.
async fn changes(loader: &Loader, plans: Vec<(String, Plan)>, next: &Settings, trial: Trial<'_>) -> anyhow::Result<Vec<(String, Change)>> {
    let Trial { now, ring, view } = trial;
    let mut changes = Vec::new();
    for (name, plan) in plans {
        let (change, before) = match plan {
            Plan::Leave => (Change::Leave, None),
            Plan::Load { source, is_file, octets, before } => {
                let hash = source.hash;
                let build = Arc::new(loader.load(source, next).await.with_context(|| cannot(&name))?);
                let old = before.as_deref().map(|build| Tried { build, settings: now });
                let tried = replay(loader, ring, view, Tried { build: &build, settings: next }, old);
                tried.await.with_context(|| cannot(&name))?;
                (Change::Serve { build, hash, is_file, octets, handed: None }, before)
            }
        };
        changes.push((name, change, before));
    }
    let mut handed_over = Vec::new();
    for (name, mut change, before) in changes {
        if let (Change::Serve { build, handed, .. }, Some(before)) = (&mut change, before) {
            *handed = hand_over(&before, build).await;
        }
        handed_over.push((name, change));
    }
    Ok(handed_over)
}

fn cannot(name: &str) -> String {
    format!("plugin {name} cannot take its new settings")
}

impl Changing {
    fn concerns(&self, name: &str) -> bool {
        self.all || self.names.contains(name)
    }
}

impl Settings {
    /// That plugin's.
    pub(super) fn of(&self, name: &str) -> PluginSettings {
        self.plugins.get(name).cloned().unwrap_or_default()
    }

    /// Whether it is to be loaded at all.
    pub(super) fn is_enabled(&self, name: &str) -> bool {
        self.plugins.get(name).is_none_or(|own| own.enabled)
    }
}
