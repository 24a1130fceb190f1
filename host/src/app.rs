//! The composition root: the one file that names every concrete type.
//!
//! Place: called by `cli`; tests and embedders call it too. Starts everything in order, runs it, and stops it in the reverse order: accept,
//! connections, observers, record writer.

mod desk;
mod origins;
mod reload;
mod retention;
mod traces;

use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use arc_swap::ArcSwap;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use rustix::fs::Access;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use self::{desk::Desk, origins::Origins, retention::Retention, traces::Traces};
use crate::{
    admin::{self, Socket, Token},
    auth::{Gate, LoginLimits, Mode, Users},
    config::{self, Config, PluginConfig, Secret, limits},
    exchange::{self, Exchange},
    flow::CaptureBudget,
    h1::HeadLimits,
    hooks::Hooks,
    meters::Meters,
    net::{self, ClientLimits, Front, Listener, Policy, Routes, Speaks, Taken},
    pace::Rate,
    plugin::{self, Platform, PluginInfo, PluginSettings},
    record,
    recording::{self, Gallery, GalleryLimits, Recorded, Recorder, Shown, file::FlowFile},
    redaction::Redaction,
    shares::Shares,
    spans::Spans,
    store,
    tasks::Tasks,
    tls::{Interceptor, Leaves, Root, rotation},
};

pub use self::reload::{Reload, Reread};

/// A running proxy with its plugins.
pub struct App {
    network: Arc<Network>,
    logs: PathBuf,
    platform: Arc<Platform>,
    writer: record::Writer,
    recorder: Option<Arc<Recorder>>,
    traces: Option<Traces>,
    /// What operators ask and what follows files.
    local: Tasks,
    /// The admin listener: it says how the proxy stops, and so stops later.
    watched: Tasks,
    admin: Option<SocketAddr>,
    draining: CancellationToken,
    reload: Option<Arc<Reload>>,
}

/// Starts a proxy. When it returns, clients can connect.
///
/// # Errors
/// Names the file, address or plugin that keeps it from starting, and the mend.
pub async fn start(config: Config) -> anyhow::Result<App> {
    begin(config, Sockets::default(), None).await
}

/// Sockets that listen already, in place of those that the configuration would have opened.
#[derive(Debug, Default)]
pub struct Sockets {
    /// In place of `listen`, if there are any.
    pub clear: Vec<TcpListener>,
    /// In place of `listen-tls`, if there are any.
    pub tls: Vec<TcpListener>,
    /// In place of the admin listener's.
    pub admin: Option<TcpListener>,
}

/// The same for a configuration that can be read again: what changes in it is taken over while the proxy runs. The configuration's addresses are
/// those of `sockets`, where there are any.
///
/// # Errors
/// As for [`start`].
pub async fn start_rereading(config: Config, sockets: Sockets, reread: Reread) -> anyhow::Result<App> {
    begin(config, sockets, Some(reread)).await
}

async fn begin(config: Config, sockets: Sockets, reread: Option<Reread>) -> anyhow::Result<App> {
    // Two proxies with one state folder would each believe what lies in it to be theirs.
    let socket = Socket::bind(&config.state_dir, limits::ADMIN_CONNECTIONS).await?;
    let Sockets { clear, tls, admin } = sockets;
    let listeners = bind(&config, clear, tls)?;
    let admin = self::admin(&config, admin).await?;
    let writer = writer(&config)?;
    let meters = Arc::<Meters>::default();
    let own = addresses(&listeners).into_iter().chain(admin.as_ref().map(admin::Listener::address)).collect();
    let origins = Origins::new(&config, own, meters.clone())?;
    let platform = Platform::start(plugins(&config)?, writer.clone(), origins.outbound()).await?;
    let recorder = config.record.as_deref().map(|file| recorder(file, &config)).transpose()?;
    let hooks: Arc<dyn Hooks> = match &recorder {
        Some(recorder) => Arc::new(Recorded::new(platform.clone(), recorder.clone())),
        None => platform.clone(),
    };
    let gallery = Gallery::new(GALLERY);
    let hooks = Arc::new(Shown::new(hooks, gallery.clone()));
    let traces = Traces::start(&config, addresses(&listeners), &platform)?;
    let spans = traces.as_ref().map(|traces| traces.spans.clone());
    let network = Arc::new(Network::run(&config, listeners, origins, hooks, meters.clone(), spans.clone())?);
    let local = Tasks::new();
    let (connections, idle) = (limits::ADMIN_PORT_CONNECTIONS, limits::ADMIN_PORT_IDLE);
    let admin_bounds = admin::Bounds { connections, idle, keepalive: config.limits.keepalive };
    let (logs, shows_content) = (config.logs_dir.clone(), config.admin.content);
    let retention = Retention::start(logs.clone(), config.records.clone(), &local);
    let collector = traces.as_ref().map(|traces| traces.pool().clone());
    let reload =
        reread.map(|reread| Reload::new(reread, config, network.clone(), collector, platform.clone(), retention.clone(), local.clone()));
    if let Some(reload) = &reload {
        let (following, stopping) = (reload.clone().follow(), local.stopping().clone());
        local.spawn(async move { stopping.run_until_cancelled(following).await });
    }
    let draining = CancellationToken::new();
    let desk = Arc::new(Desk {
        platform: platform.clone(),
        meters,
        writer: writer.clone(),
        recorder: recorder.clone(),
        retention,
        gallery,
        spans,
        shows_content,
        logs: logs.clone(),
        counting: Arc::new(Semaphore::new(1)),
        tasks: local.clone(),
        draining: draining.clone(),
        reload: reload.clone(),
    });
    if let Some(socket) = socket {
        socket.serve(desk.clone(), &local);
    }
    let (watched, address) = (Tasks::new(), admin.as_ref().map(admin::Listener::address));
    if let Some(admin) = admin {
        admin.serve(desk, admin_bounds, &watched);
    }
    Ok(App { network, logs, platform, writer, recorder, traces, local, watched, admin: address, draining, reload })
}

/// Looks at the files that [`start`] would open or make, and makes none of them.
///
/// # Errors
/// As for [`start`].
pub fn check_files(config: &Config) -> anyhow::Result<()> {
    if config.admin.listen.is_some() {
        let file = config.admin.token_file.clone().unwrap_or_else(|| Token::path(&config.state_dir));
        match &config.admin.token {
            Some(given) => drop(chosen(given)?),
            None if file.symlink_metadata().is_ok() => drop(Token::open(&file)?),
            None => can_be_made(&file).with_context(|| format!("making the admin token {}", file.display()))?,
        }
    }
    let Some(file) = &config.record else { return Ok(()) };
    match file.metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => can_be_made(file).with_context(|| format!("opening {}", file.display())),
        _ => FlowFile::look(file),
    }
}

fn can_be_made(file: &Path) -> io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK)?)
}

fn chosen(token: &Secret) -> anyhow::Result<Token> {
    Token::chosen(&token.0).context("reading FLOWGATE_ADMIN_TOKEN")
}

/// Loads what [`start`] would load, and lets it go again.
///
/// # Errors
/// As for [`start`].
pub async fn check(config: Config) -> anyhow::Result<Vec<PluginInfo>> {
    store::verify(&store::file(&config.state_dir)).await?;
    let writer = writer(&config)?;
    traces::headers(&config)?;
    // The one that is in use stays as it is, and a proxy that runs may have it open.
    let settings = plugin::Settings { store: None, before: None, ..trial(&config)? };
    let platform = Platform::start(settings, writer.clone(), Origins::new(&config, Vec::new(), Arc::default())?.outbound()).await?;
    let loaded = platform.plugins();
    platform.close(config.grace).await;
    writer.close().await;
    Ok(loaded)
}

impl App {
    /// The network side.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.network.addresses
    }

    /// Where operators look, if anywhere.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// The root certificate that clients must trust, in PEM.
    pub fn root_pem(&self) -> &str {
        self.network.root.certificate_pem()
    }

    /// The file it lies in.
    pub fn root_path(&self) -> &Path {
        self.network.root.certificate_path()
    }

    /// Where records go.
    pub fn logs(&self) -> &Path {
        &self.logs
    }

    /// The plugins in service.
    pub fn plugins(&self) -> Vec<PluginInfo> {
        self.platform.plugins()
    }

    /// What decides about flows.
    pub fn platform(&self) -> &Arc<Platform> {
        &self.platform
    }

    /// Takes over what has changed in the configuration; see [`Reload::run`]. Nothing can be reread after [`start`].
    pub fn reload(&self) -> Option<&Arc<Reload>> {
        self.reload.as_ref()
    }

    /// Stops: no new connections, what is in flight finishes within the grace period, observers drain, records are flushed.
    pub async fn stop(self) {
        self.draining.cancel();
        self.local.stop();
        self.local.ended(limits::SEVER).await;
        self.network.stop_connections().await;
        self.watched.stop();
        if !self.watched.ended(limits::SEVER).await {
            self.watched.cut();
        }
        if let Some(recorder) = self.recorder.clone() {
            // It waits for a disk.
            if let Ok(kept) = Tasks::new().block(move || recorder.close()).await {
                tracing::info!(flows = kept.written, lost = kept.lost, cut = kept.cut, "recording has ended");
            }
        }
        self.platform.close(self.network.grace).await;
        // Observers may have fetched something until now.
        self.network.origins.stop().await;
        if let Some(traces) = &self.traces {
            traces.stop(self.network.grace).await;
        }
        let losses = self.writer.close().await;
        if !losses.is_none() {
            tracing::error!("records were lost: {losses}");
        }
    }
}

/// Everything but the plugins: what decides about flows may be anything that implements [`Hooks`].
pub struct Network {
    addresses: Vec<SocketAddr>,
    root: Arc<Root>,
    grace: Duration,
    front: Arc<Front>,
    /// That of the policy in force, for the next one.
    gate: ArcSwap<Gate>,
    connections: Tasks,
    origins: Origins,
}

impl Network {
    /// Starts to serve. When it returns, clients can connect.
    ///
    /// # Errors
    /// Names the file or address that keeps it from starting, and the mend.
    pub fn start(config: &Config, hooks: Arc<dyn Hooks>) -> anyhow::Result<Self> {
        let listeners = bind(config, Vec::new(), Vec::new())?;
        let meters = Arc::<Meters>::default();
        let origins = Origins::new(config, addresses(&listeners), meters.clone())?;
        Self::run(config, listeners, origins, hooks, meters, None)
    }

    fn run(
        config: &Config,
        listeners: Vec<Listener>,
        origins: Origins,
        hooks: Arc<dyn Hooks>,
        meters: Arc<Meters>,
        spans: Option<Arc<Spans>>,
    ) -> anyhow::Result<Self> {
        let connections = Tasks::new();
        let root = Arc::new(Root::open_or_create(&config.state_dir)?);
        let (addresses, pool, front) = (addresses(&listeners), origins.pool.clone(), front(config));
        let captured = CaptureBudget::new(config.limits.captured_bytes);
        let gate = gate(config, None, &connections)?;
        let front = Arc::new(Front {
            policy: ArcSwap::from_pointee(policy(config, gate.clone())?),
            interceptor: Interceptor::new(Arc::new(Leaves::new(root.clone(), limits::LEAF_CACHE)?))?,
            exchange: Arc::new(Exchange {
                hooks,
                pool,
                limits: exchange(config),
                captured,
                streams: Shares::new(config.limits.streams_per_client, config.limits.streams),
                meters,
                spans,
                tasks: connections.clone(),
            }),
            next_root: rotation::next(&config.state_dir)?,
            root: root.clone(),
            limits: front,
            taken: Taken::none(&front),
        });
        for listener in listeners {
            connections.spawn(listener.run(front.clone(), connections.clone()));
        }
        Ok(Self { addresses, root, grace: config.grace, front, gate: ArcSwap::from_pointee(gate), connections, origins })
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The root that clients must trust.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// No new connections; what is in flight finishes within the grace period.
    pub async fn stop(&self) {
        self.stop_connections().await;
        self.origins.stop().await;
    }

    async fn stop_connections(&self) {
        self.connections.stop();
        if !self.connections.ended(self.grace).await {
            tracing::warn!("{} tasks of connections had not ended after {:?} and are cut off", self.connections.len(), self.grace);
            // Dropped, their flows still reach the observers: what had passed is recorded.
            self.connections.cut();
            self.connections.ended(limits::SEVER).await;
        }
    }
}

/// Where operators look, if that is wanted.
async fn admin(config: &Config, socket: Option<TcpListener>) -> anyhow::Result<Option<admin::Listener>> {
    let Some(address) = config.admin.listen else { return Ok(None) };
    let token = match (&config.admin.token, &config.admin.token_file) {
        (Some(given), _) => chosen(given)?,
        (None, Some(file)) => Token::open_or_create(file)?,
        (None, None) => Token::open_or_create(&Token::path(&config.state_dir))?,
    };
    let names = config.admin.names.clone();
    match socket {
        Some(socket) => admin::Listener::on(socket, names, token).map(Some),
        None => admin::Listener::bind(address, names, token).await.map(Some),
    }
}

fn bind(config: &Config, clear: Vec<TcpListener>, tls: Vec<TcpListener>) -> anyhow::Result<Vec<Listener>> {
    let each = |addresses: &[SocketAddr], sockets: Vec<TcpListener>, speaks| -> anyhow::Result<Vec<Listener>> {
        match sockets.is_empty() {
            true => addresses.iter().map(|address| net::bind(*address, speaks)).collect(),
            false => sockets.into_iter().map(|socket| Listener::on(socket, speaks)).collect(),
        }
    };
    let mut all = each(&config.listen, clear, Speaks::Clear)?;
    all.extend(each(&config.listen_tls, tls, Speaks::Tls)?);
    Ok(all)
}

fn addresses(listeners: &[Listener]) -> Vec<SocketAddr> {
    listeners.iter().map(Listener::address).collect()
}

const RECORDS: record::Limits = record::Limits {
    entries: limits::RECORD_QUEUE,
    bytes: limits::RECORD_QUEUE_BYTES,
    patience: limits::RECORD_PATIENCE,
    threads: limits::RECORD_THREADS,
};
const GALLERY: GalleryLimits =
    GalleryLimits { flows: limits::SHOWN_FLOWS, bytes: limits::SHOWN_BYTES, body: limits::SHOWN_BODY_BYTES, news: limits::SHOWN_NEWS };
const OUTBOUND: plugin::OutboundLimits =
    plugin::OutboundLimits { request_bytes: limits::OUTBOUND_REQUEST_BYTES, response_bytes: limits::OUTBOUND_RESPONSE_BYTES };
const REPLAY: plugin::ReplayLimits =
    plugin::ReplayLimits { bytes: limits::REPLAY_BYTES, content_bytes: limits::REPLAY_CONTENT_BYTES, time: limits::REPLAY_TIME };
const METRICS: plugin::MetricLimits = plugin::MetricLimits {
    series: limits::METRIC_SERIES,
    labels: limits::METRIC_LABELS,
    name_bytes: limits::METRIC_NAME_BYTES,
    value_bytes: limits::METRIC_VALUE_BYTES,
};
const LOGINS: LoginLimits = LoginLimits {
    remembered: limits::LOGINS_REMEMBERED,
    counted: limits::LOGINS_COUNTED,
    counted_for: limits::LOGIN_COUNTED_FOR,
    patience: limits::LOGIN_PATIENCE,
    pause: limits::LOGIN_PAUSE,
    doublings: limits::LOGIN_PAUSE_DOUBLINGS,
    free: limits::WRONG_LOGINS,
    rate: Rate { per_second: limits::SUSPECT_LOGINS, at_once: limits::SUSPECT_LOGINS },
};
const KEY_VALUE: store::Limits = store::Limits {
    key_bytes: limits::KEY_VALUE_KEY_BYTES,
    value_bytes: limits::KEY_VALUE_VALUE_BYTES,
    commit: limits::KEY_VALUE_COMMIT,
    sweep: limits::KEY_VALUE_SWEEP,
};

fn exchange(config: &Config) -> exchange::Limits {
    let chosen = &config.limits;
    exchange::Limits {
        head: HeadLimits { octets: limits::HEAD_BYTES, fields: limits::HEAD_FIELDS },
        head_deadline: chosen.head_deadline,
        keep_alive: chosen.client_idle,
        idle: chosen.content_idle,
        response: chosen.response_deadline,
        interim_responses: limits::INTERIM_RESPONSES,
        streams: limits::STREAMS,
        stream_buffer: limits::STREAM_BUFFER,
        resets_unseen: limits::RESETS_UNSEEN,
        stream_errors: limits::STREAM_ERRORS,
        floods: exchange::FloodLimits {
            resets: Rate { per_second: limits::RESETS, at_once: limits::RESETS_AT_ONCE },
            chatter: Rate { per_second: limits::CHATTER, at_once: limits::CHATTER_AT_ONCE },
        },
        inflated_message: limits::INFLATED_MESSAGE_BYTES,
        farewell: limits::FAREWELL,
        farewell_octets: limits::FAREWELL_BYTES,
    }
}

fn front(config: &Config) -> net::Limits {
    let chosen = &config.limits;
    net::Limits {
        handshake: chosen.handshake_deadline,
        sniff: limits::SNIFF,
        keepalive: chosen.keepalive,
        connections: chosen.connections,
        handshakes: chosen.handshakes,
        tunnels: chosen.tunnels_per_user,
        client: ClientLimits {
            connections: chosen.connections_per_client,
            handshakes: chosen.handshakes_per_client,
            leaves: leaves(chosen.leaves_per_client),
            leaf_patience: limits::LEAF_PATIENCE,
        },
        introduction: net::IntroductionLimits { deadline: limits::PROXY_HEADER_DEADLINE, bytes: limits::PROXY_HEADER_BYTES },
    }
}

/// What may come at once is moved with the rest.
fn leaves(per_second: usize) -> Rate {
    let per_second = u32::try_from(per_second).unwrap_or(u32::MAX);
    Rate { per_second, at_once: per_second.saturating_mul(limits::CLIENT_LEAVES_AT_ONCE / limits::CLIENT_LEAVES) }
}

/// Whoever asks for it is told what will be in that file.
fn recorder(file: &Path, config: &Config) -> anyhow::Result<Arc<Recorder>> {
    let limits = recording::Limits { bytes: limits::RECORDING_BYTES, body: config.capture_bytes, queue: limits::RECORDING_QUEUE };
    let recorder = Recorder::start(file, limits)?;
    tracing::warn!(
        file = %file.display(),
        "flows are recorded: everything that passes is in that file, prompts, answers and the tokens of their senders included"
    );
    Ok(recorder)
}

/// A plugin that cannot be loaded is left out, but a proxy that cannot record would miss its purpose in silence.
fn writer(config: &Config) -> anyhow::Result<record::Writer> {
    let writer = record::Writer::start(RECORDS)?;
    if config.plugins.get("logger").is_some_and(|logger| logger.enabled) {
        let folder = writer.folder(config.logs_dir.clone());
        folder.map_err(|error| anyhow::anyhow!("{error:#}: choose another folder with --logs, or set plugins.logger.enabled = false"))?;
    }
    Ok(writer)
}

fn plugins(config: &Config) -> anyhow::Result<plugin::Settings> {
    Ok(plugin::Settings {
        redaction: Arc::new(redaction(config)?),
        store: Some(store::file(&config.state_dir)),
        before: Some(config.state_dir.join("plugins-before")),
        compiler: config.compiler.clone().map_or(plugin::Compiler::InProcess, plugin::Compiler::Program),
        instructions: plugin::Instructions::Uncounted,
        plugins: config.plugins.iter().map(|(name, plugin)| (name.clone(), one_plugin(plugin))).collect(),
        replay: config.swap_replay,
        capture_bytes: config.capture_bytes,
        limits: plugin::Limits {
            component_bytes: limits::PLUGIN_FILE_BYTES,
            components: limits::PLUGIN_FILES,
            settle: limits::PLUGIN_SETTLE,
            unrest: limits::PLUGIN_UNREST,
            rescan: limits::PLUGIN_RESCAN,
            cache_bytes: limits::PLUGIN_CACHE_BYTES,
            places: limits::OBSERVER_QUEUE,
            patience: limits::OBSERVER_PATIENCE,
            messages: limits::MESSAGE_QUEUE,
            message_bytes: limits::MESSAGE_QUEUE_BYTES,
            observer_call: limits::OBSERVER_CALL,
            observer_wall: limits::OBSERVER_WALL,
            configure_call: limits::CONFIGURE_CALL,
            configure_wall: limits::CONFIGURE_WALL,
            handoff: limits::PLUGIN_HANDOFF,
            state_bytes: limits::PLUGIN_STATE_BYTES,
            event_bytes: limits::EVENT_BYTES,
            stream_patience: limits::STREAM_PATIENCE,
            compile: limits::PLUGIN_COMPILE,
            compilers: limits::PLUGIN_COMPILERS,
            compile_memory: limits::PLUGIN_COMPILE_MEMORY_BYTES,
            builds: limits::PLUGIN_BUILDS,
            failures: limits::PLUGIN_FAILURES,
            first_pause: limits::PLUGIN_FIRST_PAUSE,
            longest_pause: limits::PLUGIN_LONGEST_PAUSE,
            key_value: KEY_VALUE,
            reports: limits::PLUGIN_REPORTS,
            metrics: METRICS,
            outbound: OUTBOUND,
            replay: REPLAY,
        },
        ..plugin::Settings::new(config.plugins_dir.clone(), cache(config), config.logs_dir.clone())
    })
}

/// Which records such a proxy keeps.
pub fn retention(config: &config::RecordsConfig) -> record::Retention {
    retention::retention(config)
}

/// What the plugins of such a proxy are told where they are tried out, by somebody who may not be the proxy's user.
///
/// # Errors
/// What is to be redacted cannot be understood.
pub fn trial(config: &Config) -> anyhow::Result<plugin::Settings> {
    let settings = plugins(config)?;
    Ok(plugin::Settings { cache: plugin::CacheFolder::own_or_passing(cache(config))?, ..settings })
}

/// Where compiled plugins are kept.
fn cache(config: &Config) -> PathBuf {
    config.state_dir.join("plugin-cache")
}

fn redaction(config: &Config) -> anyhow::Result<Redaction> {
    let rules = &config.redaction;
    Ok(Redaction::new(&rules.fields, &rules.json, &rules.patterns)?)
}

fn one_plugin(config: &PluginConfig) -> PluginSettings {
    PluginSettings {
        enabled: config.enabled,
        order: config.order,
        on_failure: match config.on_failure {
            config::OnFailure::Pass => plugin::OnFailure::Pass,
            config::OnFailure::Refuse => plugin::OnFailure::Refuse,
        },
        required: config.required,
        config: config.config.to_string(),
        memory_bytes: config.memory_bytes,
        call: config.call,
        wall: config.wall,
        instances: config.instances,
        streams: config.streams,
        grants: config.grants.iter().copied().map(grant).collect(),
        outbound: config.outbound.clone(),
        key_value_bytes: config.key_value_bytes as u64,
        host_calls: config.host_calls,
        output_bytes: config.output_bytes,
        log_lines: config.log_lines,
    }
}

fn grant(grant: config::Grant) -> plugin::Grant {
    match grant {
        config::Grant::KeyValue => plugin::Grant::KeyValue,
        config::Grant::Metrics => plugin::Grant::Metrics,
        config::Grant::Outbound => plugin::Grant::Outbound,
    }
}

/// Who may enter, and what becomes of tunnels.
fn policy(config: &Config, gate: Gate) -> anyhow::Result<Policy> {
    Ok(Policy::new(gate, routes(config)?, config.auto_splice, config.proxy_protocol.clone()))
}

/// Users are looked at where they are asked for alone. Those of `before` go on, with what is known of their logins.
fn gate(config: &Config, before: Option<&Gate>, tasks: &Tasks) -> anyhow::Result<Gate> {
    let users = config.users.as_deref().filter(|_| config.auth == Mode::Require);
    let Some(users) = users else { return Ok(Gate::new(config.auth, None, LOGINS, tasks)) };
    match before.and_then(|before| before.going_on(users)) {
        Some(gate) => gate,
        None => Ok(Gate::new(config.auth, Some(Users::open(users)?), LOGINS, tasks)),
    }
}

fn routes(config: &Config) -> anyhow::Result<Routes> {
    let intercept = (!config.intercept.is_empty()).then(|| globs(&config.intercept)).transpose()?;
    Ok(Routes { tunnel: globs(&config.tunnel)?, intercept })
}

fn globs(patterns: &[String]) -> anyhow::Result<GlobSet> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = GlobBuilder::new(&pattern.to_ascii_lowercase()).build();
        set.add(glob.with_context(|| format!("reading host pattern {pattern}"))?);
    }
    set.build().context("compiling host patterns")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn another_configuration_with_the_same_users_goes_on_with_their_gate() {
        let folder = tempfile::tempdir().expect("a folder");
        let (users, tasks) = (folder.path().join("users"), Tasks::new());
        std::fs::write(&users, "").expect("written");
        let required = Config { auth: Mode::Require, users: Some(users.clone()), ..Config::in_folder(folder.path()) };
        let before = gate(&required, None, &tasks).expect("read");

        let reloaded = gate(&Config { tunnel: vec!["a.test".to_owned()], ..required.clone() }, Some(&before), &tasks).expect("read");

        assert!(reloaded.is_same(&before));
        assert!(!gate(&required, None, &tasks).expect("read").is_same(&before));
        std::fs::remove_file(&users).expect("removed");
        assert!(gate(&required, Some(&before), &tasks).is_err());
        assert!(gate(&Config { auth: Mode::Identify, ..required }, Some(&before), &tasks).is_ok(), "nobody is looked up");
    }

    #[test]
    fn a_plugin_nobody_wrote_about_runs_as_documented() {
        assert_eq!(one_plugin(&PluginConfig::of("other")), PluginSettings::default());
    }
}
