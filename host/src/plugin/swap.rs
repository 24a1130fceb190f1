//! Which builds are in service: what is in the plugins folder, as far as it is any good.
//!
//! Place: one task, so that swaps are serialised; loading runs beside it, so that a component that compiles for long holds up no other. A
//! build is published only when everything about it has been checked; until then, and if anything is wrong with it, the one before goes on.
//! Flows in progress keep the set they began with. What operators order is in `orders`.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    sync::Arc,
};

use anyhow::{Context, anyhow, bail};
use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::{Notify, broadcast, mpsc};
use tokio_util::sync::DropGuard;

use super::{
    LOGGER, LOGGER_WASM,
    before::{Before, History},
    build::{Build, PluginInfo, Serving, short},
    handoff::{HandedOver, hand_over},
    hash::Hash,
    load::{Code, Loader, Source},
    observe::{Observers, View},
    orders::{Changed, Changing, Order, Reload, Undone},
    replay::{Tried, replay},
    ring::Ring,
    set::Set,
    settings::{OnFailure, Settings},
    status::{Board, PluginState, PluginStatus},
    watch::{self, Candidate, Listing},
};
use crate::{stamp::Stamp, tasks::Tasks};

/// Builds that are ready and wait to be looked at. Full: their loading ends a little later.
const READY: usize = 16;

/// What happened to a plugin.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PluginEvent {
    /// A build took up service; new flows meet it.
    Live(PluginInfo),
    /// A file was refused; what was in service goes on.
    Refused {
        /// The plugin's name.
        name: String,
        /// Why.
        reason: String,
    },
    /// It is no longer in service for new flows.
    Removed {
        /// The plugin's name.
        name: String,
    },
}

/// See the module.
pub(super) struct Swap {
    pub(super) settings: Arc<Settings>,
    pub(super) loader: Arc<Loader>,
    pub(super) kit: Kit,
    pub(super) slots: BTreeMap<String, Slot>,
    pub(super) histories: BTreeMap<String, History>,
    pub(super) reloads: Vec<Reload>,
    /// Other settings are being prepared.
    pub(super) changing: Option<Changing>,
    pub(super) ready: (mpsc::Sender<Ready>, mpsc::Receiver<Ready>),
    tickets: u64,
    /// Files that are no plugins and of which that has been said.
    ignored: BTreeSet<PathBuf>,
    is_folder_missing: bool,
}

/// What it shares with the platform.
pub(super) struct Kit {
    pub(super) observing: Tasks,
    pub(super) working: Tasks,
    pub(super) set: Arc<ArcSwap<Set>>,
    pub(super) board: Arc<Board>,
    pub(super) events: broadcast::Sender<PluginEvent>,
    /// What new builds are tried on.
    pub(super) ring: Arc<Ring>,
    pub(super) view: View,
}

/// What is known of one name.
#[derive(Default)]
pub(super) struct Slot {
    pub(super) live: Option<Live>,
    /// The file as it was when last looked at.
    pub(super) seen: Option<Stamp>,
    pub(super) file: Option<PathBuf>,
    /// What was refused last (if it could be read at all), and why.
    pub(super) refused: Option<(Option<Hash>, String)>,
    pub(super) loading: Option<Loading>,
}

pub(super) struct Live {
    pub(super) serving: Arc<Serving>,
    pub(super) hash: Hash,
    pub(super) is_file: bool,
}

/// A build on its way. Dropping this ends it.
pub(super) struct Loading {
    ticket: u64,
    /// Of what lies in the folder.
    asked: Hash,
    hash: Hash,
    file: Option<PathBuf>,
    is_file: bool,
    octets: Bytes,
    /// It is gone back to.
    back: Option<Undone>,
    _stop: DropGuard,
}

/// What was prepared beside this task, and is to be published by it.
pub(super) enum Ready {
    Build(Loaded),
    Settings(Box<Changed>),
}

/// How loading ended.
pub(super) struct Loaded {
    name: String,
    ticket: u64,
    build: anyhow::Result<Arc<Build>>,
    handed: Option<HandedOver>,
}

/// What is to be loaded.
pub(super) struct Wanted {
    /// What lies in the folder.
    pub(super) asked: Hash,
    pub(super) hash: Hash,
    pub(super) octets: Bytes,
    /// Where it comes from.
    pub(super) file: Option<PathBuf>,
    pub(super) is_file: bool,
}

impl Slot {
    /// What is in service.
    pub(super) fn build(&self) -> Option<Arc<Build>> {
        self.live.as_ref().map(|live| live.serving.build.clone())
    }
}

impl Swap {
    pub(super) fn new(settings: Settings, loader: Loader, kit: Kit) -> Self {
        Self {
            settings: Arc::new(settings),
            loader: Arc::new(loader),
            kit,
            slots: BTreeMap::new(),
            histories: BTreeMap::new(),
            reloads: Vec::new(),
            changing: None,
            ready: mpsc::channel(READY),
            tickets: 0,
            ignored: BTreeSet::new(),
            is_folder_missing: false,
        }
    }

    /// The first look, before any traffic.
    ///
    /// # Errors
    /// The folder cannot be made or read, or a plugin that the proxy must not run without cannot be loaded.
    pub(super) async fn begin(&mut self) -> anyhow::Result<()> {
        let folder = self.settings.folder.clone();
        std::fs::create_dir_all(&folder).with_context(|| format!("making the plugins folder {}", folder.display()))?;
        if let Some(before) = self.before() {
            self.histories = self.kit.working.block(move || before.histories()).await.context("reading earlier builds")?;
        }
        let listing = self.read_folder().await.with_context(|| format!("reading the plugins folder {}", folder.display()))?;
        self.heed(listing).await;
        while self.is_loading() {
            // This side holds a sender.
            let Some(ready) = self.ready.1.recv().await else { break };
            self.settle(ready).await;
        }
        for (name, own) in &self.settings.plugins {
            let slot = self.slots.get(name);
            let is_needed = own.enabled && (own.required || own.on_failure == OnFailure::Refuse);
            if !is_needed || slot.is_some_and(|slot| slot.live.is_some()) {
                continue;
            }
            match slot.and_then(|slot| slot.refused.as_ref()) {
                Some((_, reason)) => bail!("plugin {name} is needed and cannot be loaded: {reason}"),
                None => bail!("plugin {name} is needed and {} is missing", folder.join(format!("{name}.wasm")).display()),
            }
        }
        for (name, _) in self.settings.plugins.iter().filter(|(name, own)| own.enabled && !self.slots.contains_key(*name)) {
            let file = folder.join(format!("{name}.wasm"));
            tracing::warn!(plugin = name, file = %file.display(), "there are settings for a plugin that is not there");
        }
        self.loader.stand_back();
        self.post();
        Ok(())
    }

    /// Does what it is told to until it is dropped, which may be at any time: what is published is whole.
    pub(super) async fn follow(mut self, due: Arc<Notify>, mut orders: mpsc::Receiver<Order>) {
        loop {
            tokio::select! {
                Some(ready) = self.ready.1.recv() => self.settle(ready).await,
                // One after the other.
                Some(order) = orders.recv(), if self.changing.is_none() && !self.is_going_back() => self.obey(order).await,
                () = due.notified() => self.scan().await,
            }
            // Whoever gets an answer may look at the board next.
            self.post();
            self.answer_reloads();
        }
    }

    pub(super) fn is_loading(&self) -> bool {
        self.slots.values().any(|slot| slot.loading.is_some())
    }

    fn is_going_back(&self) -> bool {
        self.slots.values().any(|slot| slot.loading.as_ref().is_some_and(|loading| loading.back.is_some()))
    }

    pub(super) fn before(&self) -> Option<Before> {
        self.settings.before.clone().map(Before::new)
    }

    pub(super) async fn scan(&mut self) {
        if let Some(listing) = self.list().await {
            self.heed(listing).await;
        }
    }

    async fn heed(&mut self, listing: Listing) {
        self.say_ignored(listing.ignored);
        let found = listing.candidates.keys().chain(listing.unfit.keys());
        let names: BTreeSet<String> = self.slots.keys().chain(found).cloned().chain([LOGGER.to_owned()]).collect();
        for name in names {
            if !self.settings.is_enabled(&name) || self.is_changing(&name) {
                continue;
            }
            match (listing.candidates.get(&name), listing.unfit.get(&name)) {
                (Some(candidate), _) => self.look_at(&name, candidate).await,
                (None, Some((path, why))) => self.is_unfit(&name, path, why),
                (None, None) => self.is_gone(&name).await,
            }
            self.fall_back(&name).await;
        }
    }

    /// `None` where the folder cannot be read now, which removes nobody.
    pub(super) async fn list(&mut self) -> Option<Listing> {
        match self.read_folder().await {
            Ok(listing) => {
                if std::mem::take(&mut self.is_folder_missing) {
                    tracing::info!(folder = %self.settings.folder.display(), "the plugins folder can be read again");
                }
                Some(listing)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_folder_missing, true) {
                    let folder = self.settings.folder.display();
                    tracing::warn!(%folder, %error, "the plugins folder cannot be read: the plugins in service stay");
                }
                None
            }
        }
    }

    async fn read_folder(&self) -> io::Result<Listing> {
        let (folder, most) = (self.settings.folder.clone(), self.settings.limits.components);
        self.kit.working.block(move || watch::list(&folder, most)).await.map_err(io::Error::other).flatten()
    }

    fn say_ignored(&mut self, ignored: BTreeMap<PathBuf, &'static str>) {
        self.ignored.retain(|path| ignored.contains_key(path));
        for (path, why) in ignored {
            if self.ignored.insert(path.clone()) {
                tracing::warn!(file = %path.display(), why, "the file is not taken for a plugin");
                let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                self.tell(PluginEvent::Refused { name, reason: why.to_owned() });
            }
        }
    }

    /// There is a file: takes it into service if it is new and good.
    async fn look_at(&mut self, name: &str, candidate: &Candidate) {
        let slot = self.slots.entry(name.to_owned()).or_default();
        slot.file = Some(candidate.path.clone());
        if slot.seen == Some(candidate.stamp) {
            return;
        }
        let (path, max) = (candidate.path.clone(), self.settings.limits.component_bytes);
        let read = self.kit.working.block(move || watch::read(&path, max)).await.map_err(anyhow::Error::from).flatten();
        let slot = self.slots.entry(name.to_owned()).or_default();
        match read {
            Ok(contents) => {
                slot.seen = contents.stamp;
                self.take(name, contents.octets, contents.hash, Some(candidate.path.clone())).await;
            }
            // Between being listed and being read.
            Err(error) if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::NotFound) => {
                self.is_gone(name).await;
            }
            Err(error) => {
                slot.seen = Some(candidate.stamp);
                slot.loading = None;
                self.refuse(name, None, &error, Some(&candidate.path));
            }
        }
    }

    /// There is something in the place of its file that is none: as with any file that is no good, what is in service stays.
    fn is_unfit(&mut self, name: &str, path: &PathBuf, why: &'static str) {
        let slot = self.slots.entry(name.to_owned()).or_default();
        (slot.file, slot.seen, slot.loading) = (Some(path.clone()), None, None);
        if slot.refused.as_ref().is_none_or(|(_, said)| said != why) {
            self.refuse(name, None, &anyhow!(why), Some(path));
        }
    }

    /// There is no file (any more).
    async fn is_gone(&mut self, name: &str) {
        let Some(slot) = self.slots.get_mut(name) else { return };
        slot.seen = None;
        if slot.file.take().is_some() || slot.live.as_ref().is_some_and(|live| live.is_file) {
            slot.refused = None;
            slot.loading = None;
        }
        if !slot.live.as_ref().is_some_and(|live| live.is_file) {
            if slot.live.is_none() && slot.loading.is_none() && slot.refused.is_none() {
                self.slots.remove(name);
            }
            return;
        }
        if name == LOGGER {
            // The one that is built in follows without a gap.
            self.take(name, Bytes::from_static(LOGGER_WASM), Hash::of(LOGGER_WASM), None).await;
            return;
        }
        self.remove(name);
        self.publish();
        tracing::info!(plugin = name, "plugin is out of service: its file is gone");
        self.tell(PluginEvent::Removed { name: name.to_owned() });
    }

    /// Forgets the name, and what is in service of it.
    pub(super) fn remove(&mut self, name: &str) {
        self.kit.ring.forget(name);
        if let Some(live) = self.slots.remove(name).and_then(|slot| slot.live) {
            self.kit.board.retire(name, Arc::downgrade(&live.serving.build));
        }
    }

    /// The logger that is built in, where there is no other.
    async fn fall_back(&mut self, name: &str) {
        let is_without = |slot: &Slot| slot.live.is_none() && slot.loading.is_none();
        if name == LOGGER && self.slots.get(name).is_none_or(is_without) {
            self.take(name, Bytes::from_static(LOGGER_WASM), Hash::of(LOGGER_WASM), None).await;
        }
    }

    /// That is what the name stands for now; loads it if it is neither in service nor known to be no good.
    async fn take(&mut self, name: &str, octets: Bytes, hash: Hash, file: Option<PathBuf>) {
        let slot = self.slots.entry(name.to_owned()).or_default();
        if slot.loading.as_ref().is_some_and(|loading| loading.asked == hash) {
            return;
        }
        // A newer file makes an older one moot.
        slot.loading = None;
        let passed_over = self.histories.get(name).is_some_and(|history| history.passed_over == Some(hash));
        if let Some(live) = slot.live.as_mut().filter(|live| live.hash == hash || passed_over) {
            live.is_file = file.is_some();
            let is_chosen = live.hash == hash;
            if slot.refused.take().is_some() && is_chosen {
                tracing::info!(plugin = name, hash = short(&hash.to_string()), "the plugin's file holds what is in service again");
            }
            if is_chosen && let Some(history) = self.histories.get_mut(name).filter(|history| history.passed_over.is_some()) {
                history.passed_over = None;
                self.keep(name, None).await;
            }
            return;
        }
        if slot.refused.as_ref().is_some_and(|(refused, _)| *refused == Some(hash)) {
            return;
        }
        let wanted = match passed_over {
            true => self.instead(name, hash, file.is_some()).await,
            false => Ok(Wanted { asked: hash, hash, octets, is_file: file.is_some(), file: file.clone() }),
        };
        match wanted {
            Ok(wanted) => self.load(name, wanted, None),
            Err(error) => self.refuse(name, Some(hash), &error, file.as_ref()),
        }
    }

    /// What is served instead of a build that was gone back from.
    pub(super) async fn instead(&mut self, name: &str, asked: Hash, is_file: bool) -> anyhow::Result<Wanted> {
        let hash = self.histories.get(name).and_then(|history| history.good.first().copied());
        let hash = hash.context("it was rolled back from, and no other build was kept")?;
        tracing::info!(plugin = name, from = short(&asked.to_string()), to = short(&hash.to_string()), "the plugin stays rolled back");
        self.kept(name, asked, hash, is_file).await
    }

    /// A build of before.
    pub(super) async fn kept(&self, name: &str, asked: Hash, hash: Hash, is_file: bool) -> anyhow::Result<Wanted> {
        let before = self.before().context("no builds are kept")?;
        let (file, max, name) = (before.path(name, hash), self.settings.limits.component_bytes, name.to_owned());
        let octets = self.kit.working.block(move || before.octets(&name, hash, max)).await??;
        Ok(Wanted { asked, hash, octets, file: Some(file), is_file })
    }

    /// Begins to load, beside everything else.
    pub(super) fn load(&mut self, name: &str, wanted: Wanted, back: Option<Undone>) {
        let Wanted { asked, hash, octets, file, is_file } = wanted;
        self.tickets += 1;
        let (ticket, stop) = (self.tickets, self.kit.working.stopping().child_token());
        let source = Source { name: name.to_owned(), code: Code::Octets(octets.clone()), hash, file: file.clone() };
        let (loader, settings, ready) = (self.loader.clone(), self.settings.clone(), self.ready.0.clone());
        // What is gone back to has shown what it is worth.
        let tried = back.is_none().then(|| (self.kit.ring.clone(), self.kit.view.clone()));
        let (name, stopping) = (name.to_owned(), stop.clone());
        let loading = Loading { ticket, asked, hash, file, is_file, octets, back, _stop: stop.drop_guard() };
        let slot = self.slots.entry(name.clone()).or_default();
        slot.loading = Some(loading);
        // Nothing else takes its place before this one: what would, ends this.
        let before = slot.build();
        self.kit.working.spawn(async move {
            let replaced = before.clone();
            let building = async move {
                let build = loader.load(source, &settings).await?;
                if let Some((ring, view)) = tried {
                    let of = |build| Tried { build, settings: &settings };
                    replay(&loader, &ring, &view, of(&build), replaced.as_deref().map(of)).await?;
                }
                Ok(Arc::new(build))
            };
            let Some(build) = stopping.run_until_cancelled_owned(building).await else { return };
            let handed = match (before, &build) {
                (Some(before), Ok(build)) => hand_over(&before, build).await,
                _ => None,
            };
            // The other side may have ended.
            ready.send(Ready::Build(Loaded { name, ticket, build, handed })).await.ok();
        });
    }

    async fn settle(&mut self, ready: Ready) {
        match ready {
            Ready::Build(loaded) => self.take_up(loaded).await,
            Ready::Settings(changed) => self.take_over(*changed).await,
        }
    }

    /// Loading has ended: publishes the build, or says why not.
    async fn take_up(&mut self, loaded: Loaded) {
        let Loaded { name, ticket, build, handed } = loaded;
        let Some(slot) = self.slots.get_mut(&name) else { return };
        let Some(loading) = slot.loading.take_if(|loading| loading.ticket == ticket) else { return };
        let Loading { asked, hash, octets, file, is_file, back, .. } = loading;
        let build = match build {
            Ok(build) => build,
            Err(error) => {
                match back {
                    Some(undone) => undone.fail(error.context("the build of before can no longer be loaded")),
                    None => self.refuse(&name, Some(asked), &error, file.as_ref()),
                }
                return self.fall_back(&name).await;
            }
        };
        let live = self.serve(build, hash, is_file, &self.settings);
        self.put(&name, live);
        self.publish();
        // Flows that stay with the build of before may go on.
        drop(handed);
        let history = self.histories.entry(name.clone()).or_default();
        let was_rolled_back = history.passed_over == Some(asked);
        match &back {
            Some(undone) => history.went_back(undone.from),
            None if was_rolled_back => {}
            None => history.took(hash, self.settings.limits.builds),
        }
        self.keep(&name, Some((hash, octets))).await;
        let info = self.announce(&name);
        if let (Some(undone), Some(info)) = (back, info) {
            self.post();
            undone.done(info);
        }
    }

    /// A build with what it needs to serve.
    pub(super) fn serve(&self, build: Arc<Build>, hash: Hash, is_file: bool, settings: &Settings) -> Live {
        let view = self.kit.view.clone();
        let observes = build.observes || build.observes_messages;
        let observers = observes.then(|| Observers::start(build.clone(), &settings.limits, view, &self.kit.observing));
        Live { serving: Arc::new(Serving { build, observers }), hash, is_file }
    }

    /// Puts it where the one before was; to be published.
    pub(super) fn put(&mut self, name: &str, live: Live) {
        let slot = self.slots.entry(name.to_owned()).or_default();
        // Where the built-in logger stands in for a file that is no good, that is still to be said.
        if live.is_file || slot.file.is_none() {
            slot.refused = None;
        }
        if let Some(before) = slot.live.replace(live) {
            self.kit.board.retire(name, Arc::downgrade(&before.serving.build));
        }
    }

    /// Says that what is in service of that name is live.
    pub(super) fn announce(&self, name: &str) -> Option<PluginInfo> {
        let info = self.slots.get(name)?.live.as_ref()?.serving.build.info.clone();
        let (version, hash) = (&info.version, short(&info.hash));
        let (hooks, capabilities) = (info.hooks.join(", "), info.capabilities.join(", "));
        let file = info.file.as_ref().map_or("built in".into(), |file| file.to_string_lossy());
        tracing::info!(plugin = name, version, hash, hooks, capabilities, %file, "plugin is live");
        self.tell(PluginEvent::Live(info.clone()));
        Some(info)
    }

    /// Writes down which builds were good. That it cannot is said; traffic does not depend on it.
    pub(super) async fn keep(&self, name: &str, new: Option<(Hash, Bytes)>) {
        let (Some(before), Some(history)) = (self.before(), self.histories.get(name).cloned()) else { return };
        let owned = name.to_owned();
        let kept = self.kit.working.block(move || before.keep(&owned, &history, new.as_ref().map(|(hash, octets)| (*hash, octets)))).await;
        if let Err(error) = kept.map_err(io::Error::other).flatten() {
            tracing::warn!(plugin = name, %error, "the build cannot be kept: it cannot be gone back to after the next swap");
        }
    }

    fn refuse(&mut self, name: &str, hash: Option<Hash>, error: &anyhow::Error, file: Option<&PathBuf>) {
        let reason = format!("{error:#}");
        let slot = self.slots.entry(name.to_owned()).or_default();
        let stays = match &slot.live {
            Some(live) => format!("version {} ({}) stays", live.serving.build.info.version, short(&live.serving.build.info.hash)),
            None => "none".into(),
        };
        let file = file.map_or("built in".into(), |file| file.to_string_lossy());
        tracing::warn!(plugin = name, %file, reason, in_service = stays, "plugin is refused");
        slot.refused = Some((hash, reason.clone()));
        self.tell(PluginEvent::Refused { name: name.to_owned(), reason });
    }

    pub(super) fn publish(&self) {
        let live = self.slots.values().filter_map(|slot| slot.live.as_ref()).map(|live| live.serving.clone()).collect();
        self.kit.set.store(Arc::new(Set::new(live)));
    }

    pub(super) fn tell(&self, event: PluginEvent) {
        self.post();
        // Nobody may be listening.
        self.kit.events.send(event).ok();
    }

    pub(super) fn post(&self) {
        self.kit.board.post(self.slots.iter().map(|(name, slot)| self.status(name, slot)).collect());
    }

    fn status(&self, name: &str, slot: &Slot) -> PluginStatus {
        let history = self.histories.get(name);
        PluginStatus {
            state: if slot.live.is_some() { PluginState::Serving } else { PluginState::NotInService },
            build: slot.live.as_ref().map(|live| live.serving.build.info.clone()),
            file: slot.file.clone(),
            refused: slot.refused.as_ref().map(|(_, reason)| reason.clone()),
            loading: slot.loading.is_some(),
            previous: history.and_then(History::previous).map(|hash| hash.to_string()),
            rolled_back_from: history.and_then(|history| history.passed_over).map(|hash| hash.to_string()),
            ..PluginStatus::absent(name)
        }
    }
}
