//! What the platform is told: filled in by `app` from the configuration.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use super::{cache::CacheFolder, metrics::MetricLimits};
use crate::{flow::Origin, redaction::Redaction, store};

/// Everything the platform needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Components called `<name>.wasm` in here are loaded, replaced and removed while the proxy runs. Made if it is missing.
    pub folder: PathBuf,
    /// Where compiled components are kept.
    pub cache: CacheFolder,
    /// Where records go: the logger's in here, any other plugin's in a folder of its name.
    pub logs: PathBuf,
    /// Where what plugins store is kept; `None`: in memory, until the platform is closed.
    pub store: Option<PathBuf>,
    /// Where good builds of before are kept, for going back to. Made (0700) if it is missing. `None`: none are kept.
    pub before: Option<PathBuf>,
    /// What compiles components that are not in the cache.
    pub compiler: Compiler,
    /// Whether what plugins execute is counted.
    pub instructions: Instructions,
    /// Per plugin, by name; [`PluginSettings::default`] for those that are not here.
    pub plugins: BTreeMap<String, PluginSettings>,
    /// Flows kept per plugin that its next build is tried on before it is published; 0: none.
    pub replay: usize,
    /// Octets kept of a body where a rule says nothing else.
    pub capture_bytes: usize,
    /// What observers do not get to see.
    pub redaction: Arc<Redaction>,
    /// Bounds that hold for all plugins.
    pub limits: Limits,
}

impl Settings {
    /// With defaults for everything but the places.
    pub fn new(folder: PathBuf, cache: PathBuf, logs: PathBuf) -> Self {
        Self {
            folder,
            cache: CacheFolder::Kept(cache),
            logs,
            store: None,
            before: None,
            compiler: Compiler::InProcess,
            instructions: Instructions::Uncounted,
            plugins: BTreeMap::new(),
            replay: 0,
            capture_bytes: 10 << 20,
            redaction: Arc::default(),
            limits: Limits::default(),
        }
    }
}

/// What compiles components.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Compiler {
    /// A thread of this process, with this process's priority; what it takes of memory stays.
    #[default]
    InProcess,
    /// This program, run as `PROGRAM __compile`: a process of its own, of low priority while there is traffic, that ends with this one at the latest. It must
    /// be of the same build as this one.
    Program(PathBuf),
}

/// Whether what plugins execute is counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Instructions {
    /// It is not: as fast as can be.
    #[default]
    Uncounted,
    /// Each of them: for measuring what plugins cost; takes half as long again, or more.
    Counted,
}

/// One plugin's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PluginSettings {
    /// Its file (or the logger that is built in) is left alone otherwise.
    pub enabled: bool,
    /// Requests pass plugins from the lowest to the highest, those of one order by name; responses the other way.
    pub order: i32,
    /// What becomes of a flow whose filter fails.
    pub on_failure: OnFailure,
    /// Without it the proxy does not start.
    pub required: bool,
    /// What `configure` gets: JSON text.
    pub config: String,
    /// Octets of linear memory per instance.
    pub memory_bytes: usize,
    /// Computing time per call of a filter.
    pub call: Duration,
    /// Time by the clock per call of a filter, waiting included.
    pub wall: Duration,
    /// Instances at work for filters at a time. When all are, a few more are made for one call each.
    pub instances: usize,
    /// Capabilities it may import besides those that every plugin has.
    pub grants: BTreeSet<Grant>,
    /// Where its own requests may go.
    pub outbound: Vec<Origin>,
    /// Octets it may hold in the key-value store.
    pub key_value_bytes: u64,
    /// Calls into the host per call of a hook.
    pub host_calls: u64,
    /// Octets that one call may hand over to be kept or sent, and that it may answer.
    pub output_bytes: usize,
    /// Lines it may write a second, standard output and error included; twice as many at once.
    pub log_lines: u32,
    /// Bodies that its stream filter may be at at a time, each with an instance for itself. Another one waits shortly, then meets
    /// `on_failure`.
    pub streams: usize,
}

impl Default for PluginSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            order: 0,
            on_failure: OnFailure::Pass,
            required: false,
            config: "{}".into(),
            memory_bytes: 128 << 20,
            call: Duration::from_millis(50),
            wall: Duration::from_secs(5),
            instances: 4,
            grants: BTreeSet::new(),
            outbound: Vec::new(),
            key_value_bytes: 16 << 20,
            host_calls: 100_000,
            output_bytes: 64 << 20,
            log_lines: 100,
            streams: 256,
        }
    }
}

/// A capability that a plugin has only if it is granted.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Grant {
    /// Entries that survive swaps and restarts.
    KeyValue,
    /// Numbers that the proxy publishes.
    Metrics,
    /// Requests of its own, to origins that are named.
    Outbound,
}

impl Grant {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::KeyValue, Self::Metrics, Self::Outbound];

    /// As the contract spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::KeyValue => "key-value",
            Self::Metrics => "metrics",
            Self::Outbound => "outbound",
        }
    }

    /// The one of that name, if that has to be granted at all.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|grant| grant.as_str() == name)
    }
}

/// What becomes of a flow whose filter traps, crosses a bound or answers nonsense.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnFailure {
    /// It goes on as if the plugin were not there.
    Pass,
    /// It is refused.
    Refuse,
}

/// Bounds of requests that plugins make.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OutboundLimits {
    /// Octets of the request's content.
    pub request_bytes: usize,
    /// Octets of the response's content.
    pub response_bytes: usize,
}

impl Default for OutboundLimits {
    fn default() -> Self {
        Self { request_bytes: 1 << 20, response_bytes: 4 << 20 }
    }
}

/// Bounds of the flows that new builds are tried on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ReplayLimits {
    /// Octets they hold, those of all plugins together; and the same again for flows that have not ended. The oldest make room.
    pub bytes: usize,
    /// Octets of one content, and of all WebSocket messages of one flow: of what has more, nothing is kept.
    pub content_bytes: usize,
    /// How long trying one build takes; what is left of the flows then is left out, and that is said.
    pub time: Duration,
}

impl Default for ReplayLimits {
    fn default() -> Self {
        Self { bytes: 64 << 20, content_bytes: 4 << 20, time: Duration::from_secs(30) }
    }
}

/// Bounds that hold for all plugins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Octets of a component's file: Python's have 20 MiB. Larger ones are refused.
    pub component_bytes: usize,
    /// Files in the plugins folder that are looked at; the others are not.
    pub components: usize,
    /// Octets of compiled components kept; those used longest ago go first.
    pub cache_bytes: u64,
    /// How long the compiler may take for one component: Python's take 20 s on a busy machine.
    pub compile: Duration,
    /// Components compiled at a time.
    pub compilers: usize,
    /// Address space of the compiler, in octets: Python's components take 400 MB and a gigabyte of reservations.
    pub compile_memory: u64,
    /// Good builds kept per plugin, with the one in service.
    pub builds: usize,
    /// Flows per plugin that are observed or wait for it. Full: a new flow waits `patience`, then runs unobserved, and is counted.
    pub places: usize,
    /// How long a flow waits for its place among the observed.
    pub patience: Duration,
    /// WebSocket messages per plugin and flow that are observed or wait for it. Full: the next waits `patience`, then passes unobserved, and is
    /// counted; those after it wait no more until the plugin has caught up.
    pub messages: usize,
    /// Octets of them, per plugin.
    pub message_bytes: usize,
    /// Computing time of an observer's call, if that is more than a filter's: nobody waits for it.
    pub observer_call: Duration,
    /// The same by the clock.
    pub observer_wall: Duration,
    /// Computing time of making and configuring an instance.
    pub configure_call: Duration,
    /// The same by the clock.
    pub configure_wall: Duration,
    /// Computing time of saving a singleton's state, and of restoring it; the same by the clock. Never more than a quarter of the plugin's `wall`:
    /// flows wait for both, and give up after that.
    pub handoff: Duration,
    /// Octets of such a state.
    pub state_bytes: usize,
    /// Octets of a server-sent event that are held until it is whole; of a larger one, the filter gets the parts as they come.
    pub event_bytes: usize,
    /// How long a body waits for its place among those that a plugin filters at a time.
    pub stream_patience: Duration,
    /// Failures in a row after which a plugin is suspended.
    pub failures: u32,
    /// For how long at first. One call then tries again; if it fails, the pause doubles.
    pub first_pause: Duration,
    /// Longest pause.
    pub longest_pause: Duration,
    /// Lines a second about failures of one build.
    pub reports: u32,
    /// Of what a plugin may report.
    pub metrics: MetricLimits,
    /// Of requests that plugins make.
    pub outbound: OutboundLimits,
    /// Of what new builds are tried on.
    pub replay: ReplayLimits,
    /// Of the key-value store.
    pub key_value: store::Limits,
    /// Silence in the folder before its files are read: writers get to their end.
    pub settle: Duration,
    /// How long a folder that does not come to rest is waited for.
    pub unrest: Duration,
    /// How often the folder is looked at without being told of a change: some file systems tell nothing.
    pub rescan: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            component_bytes: 64 << 20,
            components: 256,
            cache_bytes: 512 << 20,
            compile: Duration::from_secs(300),
            compilers: 2,
            compile_memory: 8 << 30,
            builds: 3,
            places: 1024,
            patience: Duration::from_millis(100),
            messages: 256,
            message_bytes: 64 << 20,
            observer_call: Duration::from_secs(2),
            observer_wall: Duration::from_secs(30),
            configure_call: Duration::from_secs(2),
            configure_wall: Duration::from_secs(10),
            handoff: Duration::from_secs(1),
            state_bytes: 16 << 20,
            event_bytes: 1 << 20,
            stream_patience: Duration::from_secs(1),
            failures: 5,
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
            reports: 100,
            metrics: MetricLimits::default(),
            outbound: OutboundLimits::default(),
            replay: ReplayLimits::default(),
            key_value: store::Limits::default(),
            settle: Duration::from_millis(50),
            unrest: Duration::from_millis(500),
            rescan: Duration::from_secs(2),
        }
    }
}
