//! How the plugins stand, for whoever asks.
//!
//! Place: written by `swap` after everything it does; read through `platform`, which adds what changes by itself (calls, suspension, old
//! builds that flows still hold).

use std::{
    collections::BTreeMap,
    fmt,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError, Weak},
};

use super::{
    build::{Build, PluginInfo, short},
    tally::{LastFailure, PluginCounts},
};

/// One plugin, in service or not.
#[derive(Clone, Debug)]
pub struct PluginStatus {
    /// Its own and its file's.
    pub name: String,
    /// Whether flows meet it.
    pub state: PluginState,
    /// The build in service.
    pub build: Option<PluginInfo>,
    /// What happened to it.
    pub counts: Option<PluginCounts>,
    /// The latest call of the build in service that failed; `None`: none did.
    pub last_failure: Option<LastFailure>,
    /// The file in the plugins folder; `None`: there is none.
    pub file: Option<PathBuf>,
    /// Why what the file holds is not in service.
    pub refused: Option<String>,
    /// A newer build is being compiled or configured.
    pub loading: bool,
    /// SHA-256 of the build that a rollback would go back to, hexadecimal.
    pub previous: Option<String>,
    /// The same of the one that was rolled back from, which the file holds still.
    pub rolled_back_from: Option<String>,
    /// Builds out of service that flows in progress still hold.
    pub draining: usize,
}

/// Whether flows meet a plugin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PluginState {
    /// They do.
    Serving,
    /// It failed too often; its calls are not made for now.
    Suspended,
    /// No build of it was ever good, or its file is gone.
    NotInService,
}

/// What looking at the folder came to, for one plugin.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reloading {
    /// The plugin's name.
    pub name: String,
    /// What became of it.
    pub outcome: Reloaded,
}

/// What became of one plugin.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Reloaded {
    /// This build took up service.
    Live {
        /// As it says.
        version: String,
        /// SHA-256 of the component, hexadecimal.
        hash: String,
    },
    /// It is as it was.
    Unchanged,
    /// What its file holds is no good; what was in service stays.
    Refused {
        /// Why.
        reason: String,
    },
    /// It is out of service.
    Removed,
}

/// A sentence for people.
impl fmt::Display for Reloading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match &self.outcome {
            Reloaded::Live { version, hash } => write!(f, "{name}: version {version} ({}) is live", short(hash)),
            Reloaded::Unchanged => write!(f, "{name}: unchanged"),
            Reloaded::Refused { reason } => write!(f, "{name}: refused: {reason}"),
            Reloaded::Removed => write!(f, "{name}: out of service"),
        }
    }
}

/// What `swap` knows of each plugin.
#[derive(Default)]
pub(super) struct Board(Mutex<Known>);

#[derive(Default)]
struct Known {
    plugins: Vec<PluginStatus>,
    /// Builds that were taken out of service, by plugin.
    old: BTreeMap<String, Vec<Weak<Build>>>,
}

impl Board {
    /// That is how they stand now.
    pub(super) fn post(&self, plugins: Vec<PluginStatus>) {
        self.lock().plugins = plugins;
    }

    /// Went out of service.
    pub(super) fn retire(&self, name: &str, build: Weak<Build>) {
        let mut known = self.lock();
        let old = known.old.entry(name.to_owned()).or_default();
        old.retain(|build| build.strong_count() > 0);
        old.push(build);
    }

    /// As posted, with how many old builds are still held.
    pub(super) fn read(&self) -> Vec<PluginStatus> {
        let mut known = self.lock();
        known.old.retain(|_, builds| {
            builds.retain(|build| build.strong_count() > 0);
            !builds.is_empty()
        });
        let mut plugins = known.plugins.clone();
        for (name, builds) in &known.old {
            match plugins.iter_mut().find(|status| status.name == *name) {
                Some(status) => status.draining = builds.len(),
                None => plugins.push(PluginStatus { draining: builds.len(), ..PluginStatus::absent(name) }),
            }
        }
        plugins
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PluginStatus {
    /// Nothing is known of it.
    pub(super) fn absent(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            state: PluginState::NotInService,
            build: None,
            counts: None,
            last_failure: None,
            file: None,
            refused: None,
            loading: false,
            previous: None,
            rolled_back_from: None,
            draining: 0,
        }
    }
}
