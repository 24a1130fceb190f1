//! Which builds are in service: what is in the plugins folder, as far as it is any good.
//!
//! Place: one task, so that swaps are serialised. A build is published only when everything about it has been checked; until then, and if
//! anything is wrong with it, the one before goes on. Flows in progress keep the set they began with.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    sync::Arc,
};

use anyhow::{Context, bail};
use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::broadcast;

use super::{
    LOGGER, LOGGER_WASM,
    build::{PluginInfo, Serving, short},
    hash::Hash,
    load::{Loader, Source},
    observe::{Observers, View},
    set::Set,
    settings::{OnFailure, Settings},
    watch::{self, Candidate, Listing, Stamp, Watch},
};
use crate::tasks::Tasks;

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
    settings: Settings,
    loader: Loader,
    observing: Tasks,
    working: Tasks,
    set: Arc<ArcSwap<Set>>,
    events: broadcast::Sender<PluginEvent>,
    view: View,
    slots: BTreeMap<String, Slot>,
    /// Files that are no plugins and of which that has been said.
    ignored: BTreeSet<PathBuf>,
    is_folder_missing: bool,
}

/// What is known of one name.
#[derive(Default)]
struct Slot {
    live: Option<Live>,
    /// The file as it was when last looked at.
    seen: Option<Stamp>,
    /// What was refused last (if it could be read at all), and why.
    refused: Option<(Option<Hash>, String)>,
}

struct Live {
    serving: Arc<Serving>,
    hash: Hash,
    is_file: bool,
}

impl Swap {
    pub(super) fn new(
        settings: Settings,
        loader: Loader,
        observing: Tasks,
        working: Tasks,
        set: Arc<ArcSwap<Set>>,
        events: broadcast::Sender<PluginEvent>,
        view: View,
    ) -> Self {
        Self {
            settings,
            loader,
            observing,
            working,
            set,
            events,
            view,
            slots: BTreeMap::new(),
            ignored: BTreeSet::new(),
            is_folder_missing: false,
        }
    }

    /// The first look, before any traffic.
    ///
    /// # Errors
    /// A plugin that the proxy must not run without cannot be loaded.
    pub(super) async fn begin(&mut self) -> anyhow::Result<()> {
        let folder = self.settings.folder.clone();
        std::fs::create_dir_all(&folder).with_context(|| format!("making the plugins folder {}", folder.display()))?;
        self.scan().await;
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
        Ok(())
    }

    /// Follows the folder until told to stop. May be dropped at any time: what is published is whole.
    pub(super) async fn follow(mut self, mut watch: Watch) {
        loop {
            watch.renew();
            watch.due().await;
            self.scan().await;
        }
    }

    async fn scan(&mut self) {
        let Some(listing) = self.list().await else { return };
        self.say_ignored(listing.ignored);
        let names: BTreeSet<String> = self.slots.keys().chain(listing.candidates.keys()).cloned().chain([LOGGER.to_owned()]).collect();
        for name in names {
            if self.settings.plugins.get(&name).is_some_and(|own| !own.enabled) {
                continue;
            }
            match listing.candidates.get(&name) {
                Some(candidate) => self.look_at(&name, candidate).await,
                None => self.is_gone(&name).await,
            }
            self.fall_back(&name).await;
        }
    }

    /// `None` where the folder cannot be read now, which removes nobody.
    async fn list(&mut self) -> Option<Listing> {
        let (folder, most) = (self.settings.folder.clone(), self.settings.limits.components);
        let listed = self.working.block(move || watch::list(&folder, most)).await.map_err(io::Error::other).flatten();
        match listed {
            Ok(listing) => {
                self.is_folder_missing = false;
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

    fn say_ignored(&mut self, ignored: BTreeMap<PathBuf, &'static str>) {
        self.ignored.retain(|path| ignored.contains_key(path));
        for (path, why) in ignored {
            if self.ignored.insert(path.clone()) {
                tracing::warn!(file = %path.display(), why, "the file is not taken for a plugin");
            }
        }
    }

    /// There is a file: takes it into service if it is new and good.
    async fn look_at(&mut self, name: &str, candidate: &Candidate) {
        let slot = self.slots.entry(name.to_owned()).or_default();
        if slot.seen == Some(candidate.stamp) {
            return;
        }
        let (path, max) = (candidate.path.clone(), self.settings.limits.component_bytes);
        let read = self.working.block(move || watch::read(&path, max)).await.map_err(anyhow::Error::from).flatten();
        match read {
            Ok(contents) => {
                slot.seen = contents.stamp;
                let hash = Hash::of(&contents.octets);
                self.load(name, contents.octets, hash, Some(candidate.path.clone())).await;
            }
            Err(error) => {
                slot.seen = Some(candidate.stamp);
                self.refuse(name, None, &error, Some(&candidate.path));
            }
        }
    }

    /// There is no file (any more).
    async fn is_gone(&mut self, name: &str) {
        let Some(slot) = self.slots.get_mut(name) else { return };
        if slot.seen.take().is_some() || slot.live.as_ref().is_some_and(|live| live.is_file) {
            slot.refused = None;
        }
        if !slot.live.as_ref().is_some_and(|live| live.is_file) {
            return;
        }
        if name == LOGGER {
            // The one that is built in follows without a gap.
            self.load(name, Bytes::from_static(LOGGER_WASM), Hash::of(LOGGER_WASM), None).await;
            return;
        }
        self.slots.remove(name);
        self.publish();
        tracing::info!(plugin = name, "plugin is out of service: its file is gone");
        self.tell(PluginEvent::Removed { name: name.to_owned() });
    }

    /// The logger that is built in, where there is no other.
    async fn fall_back(&mut self, name: &str) {
        if name == LOGGER && self.slots.get(name).is_none_or(|slot| slot.live.is_none()) {
            self.load(name, Bytes::from_static(LOGGER_WASM), Hash::of(LOGGER_WASM), None).await;
        }
    }

    async fn load(&mut self, name: &str, octets: Bytes, hash: Hash, file: Option<PathBuf>) {
        let slot = self.slots.entry(name.to_owned()).or_default();
        if let Some(live) = slot.live.as_mut().filter(|live| live.hash == hash) {
            live.is_file = file.is_some();
            slot.refused = None;
            return;
        }
        if slot.refused.as_ref().is_some_and(|(refused, _)| *refused == Some(hash)) {
            return;
        }
        let is_file = file.is_some();
        let source = Source { name: name.to_owned(), octets, hash, file: file.clone() };
        let build = match self.loader.load(source, &self.settings).await {
            Ok(build) => Arc::new(build),
            Err(error) => return self.refuse(name, Some(hash), &error, file.as_ref()),
        };
        let info = build.info.clone();
        let observes = build.observes || build.observes_messages;
        let observers = observes.then(|| Observers::start(build.clone(), &self.settings.limits, self.view.clone(), &self.observing));
        let slot = self.slots.entry(name.to_owned()).or_default();
        slot.live = Some(Live { serving: Arc::new(Serving { build, observers }), hash, is_file });
        slot.refused = None;
        self.publish();
        let (version, hash) = (&info.version, short(&info.hash));
        let (hooks, capabilities) = (info.hooks.join(", "), info.capabilities.join(", "));
        let file = file.as_ref().map_or("built in".into(), |file| file.to_string_lossy());
        tracing::info!(plugin = name, version, hash, hooks, capabilities, %file, "plugin is live");
        self.tell(PluginEvent::Live(info));
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

    fn publish(&self) {
        let live = self.slots.values().filter_map(|slot| slot.live.as_ref()).map(|live| live.serving.clone()).collect();
        self.set.store(Arc::new(Set::new(live)));
    }

    fn tell(&self, event: PluginEvent) {
        // Nobody may be listening.
        self.events.send(event).ok();
    }
}
