//! From the octets of a file to a build that is ready for calls, or to a sentence that says what is wrong with it.
//!
//! Place: called by `swap`. Compiling runs off the runtime. Nothing here touches what is in service.

use std::sync::{Arc, OnceLock, atomic::AtomicU32};

use anyhow::{Context, anyhow, ensure};
use bytes::Bytes;
use wasmtime::component::{Component, InstancePre};

use super::{
    LOGGER,
    bindings::exports::flowgate::plugin::{
        connect_filter,
        lifecycle::{self, InstanceMode, Registration},
        message_filter, message_observer, observer, request_filter, response_filter, state_handoff, stream_filter,
    },
    build::{Build, PluginInfo, short},
    capability::{
        log::{lines, sanitised},
        outbound::WayOut,
    },
    compile::Compiling,
    doubt::doubts,
    engine::Engine,
    grants,
    guest::{About, Guest},
    hash::Hash,
    instance::{Budgets, Exports, Failure, Instance, Kit, Span},
    journal::Label,
    means::Means,
    pool::{Pool, Streams},
    rules::Rules,
    scene::Scene,
    settings::{PluginSettings, Settings},
    shape::{self, PACKAGE, Shape, VERSION},
    tally::Tally,
};
use crate::{record::Folder, tasks::Tasks};

/// How a file in WebAssembly's binary format begins, and how it goes on in a module and in a component.
const MAGIC: &[u8] = b"\0asm";
const MODULE: &[u8] = &[1, 0, 0, 0];

/// Loads components.
pub(super) struct Loader {
    engine: Arc<Engine>,
    compiling: Arc<Compiling>,
    means: Arc<Means>,
    tasks: Tasks,
    /// What surrounds builds that serve nobody.
    scene: Option<Arc<Scene>>,
}

/// What is to be loaded.
pub(super) struct Source {
    /// The plugin's name, if it is what it is taken for.
    pub(super) name: String,
    pub(super) code: Code,
    pub(super) hash: Hash,
    /// `None`: built in.
    pub(super) file: Option<std::path::PathBuf>,
}

/// A component.
#[derive(Clone)]
pub(super) enum Code {
    /// As it is in a file.
    Octets(Bytes),
    /// As it was loaded before.
    Compiled(Component),
}

impl Loader {
    pub(super) fn new(settings: &Settings, means: Arc<Means>, tasks: Tasks) -> anyhow::Result<Self> {
        let engine = Arc::new(Engine::start(settings.instructions)?);
        let compiling = Arc::new(Compiling::new(engine.wasm().clone(), settings, tasks.clone()));
        Ok(Self { engine, compiling, means, tasks, scene: None })
    }

    /// The same for builds that serve nobody, on that scene.
    pub(super) fn staged(settings: &Settings, means: Arc<Means>, tasks: Tasks, scene: Arc<Scene>) -> anyhow::Result<Self> {
        Ok(Self { scene: Some(scene), ..Self::new(settings, means, tasks)? })
    }

    /// The same engine for a build that serves nobody.
    pub(super) fn on_stage(&self, means: Arc<Means>, scene: Arc<Scene>) -> Self {
        let (engine, compiling, tasks) = (self.engine.clone(), self.compiling.clone(), self.tasks.clone());
        Self { engine, compiling, means, tasks, scene: Some(scene) }
    }

    /// What plugins share.
    pub(super) fn means(&self) -> &Means {
        &self.means
    }

    /// There is traffic from here on, which compiling is not to disturb.
    pub(super) fn stand_back(&self) {
        self.compiling.stand_back();
    }

    /// Loads, checks and configures a build.
    ///
    /// # Errors
    /// Says what is wrong and, where that is known, what helps.
    pub(super) async fn load(&self, source: Source, settings: &Settings) -> anyhow::Result<Build> {
        let defaults = PluginSettings::default();
        let own = settings.plugins.get(&source.name).unwrap_or(&defaults);
        let hash = source.hash.to_string();
        let component = match source.code {
            Code::Octets(octets) => {
                check_beginning(&octets)?;
                // Compiling takes its time: what can be said before is.
                if let Some(shape) = Shape::read(&octets) {
                    may_be_served(&shape, &source.name, own)?;
                }
                self.compiling.component(&source.name, octets, source.hash).await?
            }
            Code::Compiled(component) => component,
        };
        let shape = Shape::of(&component, self.engine.wasm());
        may_be_served(&shape, &source.name, own)?;
        let capabilities = shape.capabilities();
        let keeps_messages = shape::keeps_messages(&component, self.engine.wasm());
        let linked = link(&component, &self.engine)?;
        let exports = exports(&linked, &shape)?;
        let (filters_connects, filters_streams) = (exports.connect.is_some(), exports.stream.is_some());
        let (filters_requests, filters_responses, observes) =
            (exports.request.is_some(), exports.response.is_some(), exports.observer.is_some());
        let (filters_messages, observes_messages) = (exports.message.is_some(), exports.message_observer.is_some());
        let has_handoff = exports.handoff.is_some();

        let about = Arc::new(self.about(&source.name, &hash, &capabilities, own, settings).await?);
        let kit = Arc::new(Kit {
            engine: self.engine.clone(),
            component: linked,
            exports,
            about: about.clone(),
            config: own.config.clone(),
            budgets: budgets(own, settings),
        });
        let (first, registration) = configure(&kit).await?;
        check(&registration, &source.name, settings)?;
        let rules = Rules::compile(&registration.rules, settings.capture_bytes).map_err(|why| anyhow!(why))?;
        ensure!(
            filters_streams || !rules.ask_for_chunks(),
            "its rules ask for the body mode `chunks`, and it does not export `{PACKAGE}stream-filter`"
        );
        self.say_doubts(&source.name, &registration);
        // Set once, here.
        about.version.set(sanitised(&registration.version)).ok();
        let is_singleton = registration.instances == InstanceMode::Singleton;
        if has_handoff && !is_singleton && self.scene.is_none() {
            let plugin = &source.name;
            tracing::warn!(plugin, "the plugin exports `state-handoff` and is no singleton: it is never asked for a state");
        }
        let streams = Streams { most: own.streams, patience: settings.limits.stream_patience };
        let hooks = [
            ("connect-filter", filters_connects),
            ("request-filter", filters_requests),
            ("response-filter", filters_responses),
            ("message-filter", filters_messages),
            ("stream-filter", filters_streams),
            ("observer", observes),
            ("message-observer", observes_messages),
            ("state-handoff", has_handoff && is_singleton),
        ];
        let label = Label { plugin: source.name.clone(), version: sanitised(&registration.version), hash: short(&hash).to_owned() };
        Ok(Build {
            label: Arc::new(label),
            info: PluginInfo {
                name: source.name,
                version: sanitised(&registration.version),
                description: sanitised(&registration.description),
                hash,
                hooks: hooks.iter().filter(|(_, there)| *there).map(|(name, _)| *name).collect(),
                capabilities,
                file: source.file,
            },
            order: own.order,
            on_failure: own.on_failure,
            filters_connects,
            filters_requests,
            filters_responses,
            filters_messages,
            observes_messages,
            keeps_messages,
            filters_streams,
            observes,
            hands_over: has_handoff && is_singleton,
            event_bytes: settings.limits.event_bytes,
            bodies: AtomicU32::default(),
            rules,
            pool: Pool::new(kit, first, own.instances, is_singleton, streams),
            tally: Tally::new(&settings.limits),
        })
    }

    /// What its instances will know of the build, and have of what it may import.
    async fn about(
        &self,
        name: &str,
        hash: &str,
        capabilities: &[String],
        own: &PluginSettings,
        settings: &Settings,
    ) -> anyhow::Result<About> {
        let imports = |capability: &str| capabilities.iter().any(|name| name == capability);
        Ok(About {
            name: name.to_owned(),
            version: OnceLock::new(),
            hash: short(hash).to_owned(),
            lines: lines(own.log_lines),
            records: (imports("records") && self.scene.is_none()).then(|| self.records(name, settings)).transpose()?,
            key_value: match imports("key-value") {
                true => Some(self.means.namespace(name, own, settings).await?),
                false => None,
            },
            way_out: imports("outbound").then(|| WayOut {
                origins: own.outbound.clone(),
                limits: settings.limits.outbound,
                carrier: self.means.carrier.clone(),
                is_open: self.scene.is_some(),
            }),
            meters: imports("metrics").then(|| self.means.metrics.of(name)),
            tasks: self.tasks.clone(),
            max_decoded: settings.capture_bytes,
            scene: self.scene.clone(),
        })
    }

    /// What of its rules may not be meant so.
    fn say_doubts(&self, plugin: &str, registration: &Registration) {
        for doubt in doubts(&registration.rules) {
            match &self.scene {
                Some(scene) => scene.line(format!("note: {doubt}")),
                None => tracing::warn!(plugin, "{}", sanitised(&doubt)),
            }
        }
    }

    /// The logger's records lie in the folder itself, any other plugin's in one of its name.
    fn records(&self, name: &str, settings: &Settings) -> anyhow::Result<Folder> {
        self.means.records.folder(if name == LOGGER { settings.logs.clone() } else { settings.logs.join(name) })
    }
}

fn check_beginning(octets: &[u8]) -> anyhow::Result<()> {
    ensure!(!octets.is_empty(), "the file is empty: build it again, or copy it whole");
    let kind =
        octets.strip_prefix(MAGIC).context("the file is not WebAssembly: a component is expected, as `flowgate plugin build` makes")?;
    ensure!(
        !kind.starts_with(MODULE),
        "the file is a core module, not a component: build it for wasm32-wasip2, or make a component of it with `flowgate plugin pack`"
    );
    Ok(())
}

fn may_be_served(shape: &Shape, name: &str, own: &PluginSettings) -> anyhow::Result<()> {
    shape.check()?;
    grants::check(&shape.capabilities(), name, own)
}

fn link(component: &Component, engine: &Engine) -> anyhow::Result<InstancePre<Guest>> {
    engine.linker().instantiate_pre(component).map_err(|error| {
        let error = sanitised(&format!("{error:#}"));
        // What wasmtime says of a function that the interface here does not have.
        let hint = if error.contains("function implementation is missing") { " (it needs a newer flowgate)" } else { "" };
        anyhow!("its imports do not fit{hint}: {error}")
    })
}

/// Finds the hooks. One whose functions are not the contract's is an error, not a hook that is not there.
fn exports(component: &InstancePre<Guest>, shape: &Shape) -> anyhow::Result<Exports> {
    let has = |interface: &str| shape.exports(interface);
    let wrong = |error: wasmtime::Error| {
        anyhow!(
            "its exports do not fit version {VERSION} of the contract: {} (`flowgate plugin inspect` prints what it exports, `flowgate plugin wit` the contract)",
            sanitised(&format!("{error:#}"))
        )
    };
    Ok(Exports {
        lifecycle: lifecycle::GuestIndices::new(component).map_err(wrong)?,
        connect: has("connect-filter").then(|| connect_filter::GuestIndices::new(component)).transpose().map_err(wrong)?,
        request: has("request-filter").then(|| request_filter::GuestIndices::new(component)).transpose().map_err(wrong)?,
        response: has("response-filter").then(|| response_filter::GuestIndices::new(component)).transpose().map_err(wrong)?,
        message: has("message-filter").then(|| message_filter::GuestIndices::new(component)).transpose().map_err(wrong)?,
        message_observer: has("message-observer").then(|| message_observer::GuestIndices::new(component)).transpose().map_err(wrong)?,
        stream: has("stream-filter").then(|| stream_filter::GuestIndices::new(component)).transpose().map_err(wrong)?,
        handoff: has("state-handoff").then(|| state_handoff::GuestIndices::new(component)).transpose().map_err(wrong)?,
        observer: has("observer").then(|| observer::GuestIndices::new(component)).transpose().map_err(wrong)?,
    })
}

fn budgets(own: &PluginSettings, settings: &Settings) -> Budgets {
    let limits = &settings.limits;
    let handoff = limits.handoff.min(own.wall / 4);
    Budgets {
        memory: own.memory_bytes,
        host_calls: own.host_calls,
        output: own.output_bytes,
        filter: Span { computing: own.call, wall: own.wall },
        observer: Span { computing: own.call.max(limits.observer_call), wall: own.wall.max(limits.observer_wall) },
        configure: Span { computing: own.call.max(limits.configure_call), wall: own.wall.max(limits.configure_wall) },
        handoff: Span { computing: handoff, wall: handoff },
        state: limits.state_bytes,
    }
}

/// Two instances must answer alike: every later one is taken to be like the first.
async fn configure(kit: &Arc<Kit>) -> anyhow::Result<(Instance, Registration)> {
    let started = async || Instance::start(kit).await.map_err(Failure::starting);
    let (first, registration) = started().await?;
    let (_, again) = started().await?;
    ensure!(
        registration == again,
        "two of its instances registered differently, and the registration must depend on the configuration alone: neither on time nor on randomness"
    );
    Ok((first, registration))
}

fn check(registration: &Registration, name: &str, settings: &Settings) -> anyhow::Result<()> {
    let own = sanitised(&registration.name);
    let is_taken = own == LOGGER || settings.folder.join(format!("{own}.wasm")).exists();
    ensure!(own == name || !is_taken, "the component calls itself {own}, which is another plugin's name: have it register as {name}");
    ensure!(own == name, "the component calls itself {own}: rename the file to {own}.wasm");
    Ok(())
}
