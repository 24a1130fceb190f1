//! A plugin outside a proxy: one build, to which recorded flows are played.
//!
//! Place: made by the commands that try plugins, and by `replay` for builds that are to take up service. The build is loaded, configured and called as in a
//! proxy; what surrounds it is a `scene`. One flow after the other, one call at a time: the same flows give the same answers.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use bytes::Bytes;

use super::{
    build::{Build, PluginInfo, Serving, short},
    connect,
    cost::Costs,
    hash::Hash,
    instance::Failure,
    journal::{Journal, Step},
    load::{Code, Loader, Source},
    means::Means,
    observe::{Observers, View},
    scene::Scene,
    set::Set,
    settings::{Grant, Limits, Settings},
};
use crate::{
    flow::{Authority, Refusal, Scope},
    hooks::{BoxFuture, Course, Hooks, Passage, Probe},
    outbound::Outbound,
    record::Writer,
    recording::RecordedFlow,
    rehearsal::{Audience, Rehearsed, rehearse},
    tasks::Tasks,
};

/// What the host adds to a plugin's own metrics.
const LEFT_OUT: &str = "flowgate_plugin_metrics_left_out_total";
/// Longer than anything takes: bounds of calls end what does not return.
const FOREVER: Duration = Duration::from_secs(24 * 60 * 60);

/// See the module.
pub struct Stage {
    build: Arc<Build>,
    scene: Arc<Scene>,
    means: Arc<Means>,
    limits: Limits,
    view: View,
}

/// What a plugin made of one flow.
#[derive(Debug)]
pub struct Played {
    /// What became of the flow.
    pub rehearsed: Rehearsed,
    /// Calls of hooks, in order; calls that said the same are one.
    pub steps: Vec<Step>,
    /// Notes on the flow.
    pub tags: Vec<(String, String)>,
    /// What it wrote and kept meanwhile, a line each.
    pub lines: Vec<String>,
}

impl Stage {
    /// Loads the component in `file` under the name of that file, with the settings there are for it and every capability granted. `outbound`
    /// answers what it fetches. It is configured at the moment `began`, in microseconds since the Unix epoch.
    ///
    /// # Errors
    /// It cannot be read or loaded; says what helps.
    pub async fn open(file: &Path, mut settings: Settings, outbound: Arc<dyn Outbound>, began: u64) -> anyhow::Result<Self> {
        let name = name(file)?;
        let octets = read(file, settings.limits.component_bytes)?;
        settings.plugins.entry(name.clone()).or_default().grants = Grant::ALL.into();
        let settings = staged(settings);
        let scene = Scene::noting();
        scene.set(began);
        let means = Arc::new(Means::staged(Writer::start(crate::record::Limits::default())?, outbound, &settings, &scene));
        let loader = Loader::staged(&settings, means.clone(), Tasks::new(), scene.clone())?;
        let hash = Hash::of(&octets);
        let source = Source { name, code: Code::Octets(octets), hash, file: Some(file.to_owned()) };
        let build = loader.load(source, &settings).await.with_context(|| format!("loading {}", file.display()))?;
        let view = View::new(Arc::new(arc_swap::ArcSwap::new(settings.redaction.clone())), settings.capture_bytes);
        Ok(Self::of(build, scene, means, settings.limits, view))
    }

    /// A build that was loaded on that scene, with those means.
    pub(super) fn of(build: Build, scene: Arc<Scene>, means: Arc<Means>, limits: Limits, view: View) -> Self {
        Self { build: Arc::new(build), scene, means, limits, view }
    }

    /// What was loaded.
    pub fn info(&self) -> &PluginInfo {
        &self.build.info
    }

    /// What it wrote and kept while it was loaded.
    pub fn begin_lines(&self) -> Vec<String> {
        self.scene.take_lines()
    }

    /// Plays one flow. Returns when observers know of it, too.
    pub async fn play(&self, flow: &RecordedFlow) -> Played {
        let tasks = Tasks::new();
        let observes = self.build.observes || self.build.observes_messages;
        let observers = observes.then(|| Observers::start(self.build.clone(), &self.limits, self.view.clone(), &tasks));
        let serving = Arc::new(Serving { build: self.build.clone(), observers });
        let journal = Arc::new(Journal::default());
        let set = Arc::new(Set::new(vec![serving.clone()]));
        let performance = Performance { set, serving, journal: journal.clone(), tasks: tasks.clone(), scene: self.scene.clone() };
        let rehearsed = rehearse(&performance, flow).await;
        drop(performance);
        tasks.ended(FOREVER).await;
        let explained = journal.latest(1).pop();
        let (steps, tags) = explained.map(|explained| (explained.steps, explained.tags)).unwrap_or_default();
        Played { rehearsed, steps, tags, lines: self.scene.take_lines() }
    }

    /// All records it has kept, by their paths.
    pub fn records(&self) -> BTreeMap<String, Vec<u8>> {
        self.scene.records()
    }

    /// What it reported, in Prometheus' text format, line by line in a fixed order.
    pub fn metrics(&self) -> String {
        let mut page = crate::meters::Page::default();
        self.means.metrics.write(&self.build.info.name, &mut page);
        let text = page.to_string();
        // It has reported nothing, and nothing was left out.
        let is_empty = text.lines().all(|line| line.starts_with('#') || (line.starts_with(LEFT_OUT) && line.ends_with(" 0")));
        if is_empty { String::new() } else { text }
    }

    /// What its calls cost.
    pub(super) fn costs(&self) -> &Costs {
        &self.scene.costs
    }

    /// What it wrote and kept so far is as if it had not.
    pub(super) fn forget(&self) {
        self.scene.forget();
    }

    /// Starts so many instances and drops them.
    ///
    /// # Errors
    /// One did not start.
    pub(super) async fn start_more(&self, instances: usize) -> anyhow::Result<()> {
        for _ in 0..instances {
            self.build.pool.registration().await.map_err(Failure::starting)?;
        }
        Ok(())
    }

    /// How many of its calls failed so far.
    pub fn failures(&self) -> u64 {
        self.build.counts().failures
    }
}

/// The plugin's name, which is its file's.
///
/// # Errors
/// The file cannot have one.
pub(super) fn name(file: &Path) -> anyhow::Result<String> {
    let stem = file.file_stem().and_then(|stem| stem.to_str()).filter(|_| file.extension().is_some_and(|extension| extension == "wasm"));
    stem.map(str::to_owned)
        .with_context(|| format!("{} is not called NAME.wasm: rename it, for a plugin is called as its file", file.display()))
}

/// The component's octets.
///
/// # Errors
/// They cannot be read, or are too many.
pub(super) fn read(file: &Path, max: usize) -> anyhow::Result<Bytes> {
    let reading = || format!("reading the component {}", file.display());
    let length = std::fs::metadata(file).with_context(reading)?.len();
    ensure!(length <= max as u64, "{} has {length} octets, and a component may have {max}", file.display());
    Ok(std::fs::read(file).with_context(reading)?.into())
}

/// Nothing of it depends on how quick the machine is, or on what was before.
pub(super) fn staged(mut settings: Settings) -> Settings {
    settings.store = None;
    settings.before = None;
    settings.limits.patience = FOREVER;
    settings.limits.failures = u32::MAX;
    settings
}

/// One flow's.
struct Performance {
    set: Arc<Set>,
    serving: Arc<Serving>,
    journal: Arc<Journal>,
    tasks: Tasks,
    scene: Arc<Scene>,
}

impl Audience for Performance {
    fn hooks(&self) -> &dyn Hooks {
        self
    }

    fn now(&self, micros: u64) {
        self.scene.set(micros);
    }

    fn told(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if let Some(observers) = &self.serving.observers {
                observers.crowd().idle().await;
            }
        })
    }
}

impl Hooks for Performance {
    fn wants_host(&self, host: &str) -> bool {
        self.set.wants_host(host)
    }

    fn connect<'a>(&'a self, scope: &'a Scope, authority: &'a Authority) -> Option<BoxFuture<'a, Result<Passage, Refusal>>> {
        self.set.wants_tunnel(authority.host()).then(|| Box::pin(connect::ask(self.set.clone(), scope, authority)) as BoxFuture<'a, _>)
    }

    fn open(&self, request: &Probe<'_>) -> Option<Box<dyn Course>> {
        let wanting = self.set.wanting(request);
        (!wanting.is_empty()).then(|| self.set.clone().open(self.journal.clone(), wanting, self.tasks.clone()))
    }
}

/// `logger 0.1.0 (1f2e3d4c5b6a)`.
impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let PluginInfo { name, version, hash, .. } = &self.build.info;
        write!(f, "{name} {version} ({})", short(hash))
    }
}
