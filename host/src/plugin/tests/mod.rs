//! The platform with real components: what it promises when plugins behave, and when they do not.

mod budgets;
mod calls;
mod capabilities;
mod compiling;
mod connecting;
mod costing;
mod handoff;
mod hostile;
mod messages;
mod orders;
mod rehearsing;
mod replaying;
mod streams;
mod swapping;

use std::{fs, net::Ipv4Addr, path::PathBuf, sync::Arc, sync::OnceLock, time::Duration};

use bytes::Bytes;
use flowgate_testkit::guests::CHAMELEON;
use http::{Method, StatusCode, Version};
use serde_json::{Value, json};
use tempfile::{NamedTempFile, TempDir};
use tokio::{sync::broadcast, time::timeout};
use tracing::{
    Dispatch,
    subscriber::{DefaultGuard, NoSubscriber},
};

use super::{Grant, Platform, PluginEvent, PluginSettings, Settings};
use crate::{
    flow::{
        Authority, ClientAddr, Content, Fields, Flow, OpenFlow, Origin, Outcome, Principal, Refusal, RequestHead, ResponseHead, Scheme,
        Scope, SharedFlow, lock,
    },
    hooks::{Hooks, Probe, Verdict},
    record::{self, Writer},
};

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// What this thread says, as long as it is held.
pub(super) struct Heard {
    written: NamedTempFile,
    _guard: DefaultGuard,
    _another: Dispatch,
}

impl Heard {
    pub(super) fn new() -> Self {
        let written = NamedTempFile::new().expect("a file");
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(Arc::new(written.reopen().expect("open"))).finish();
        // With one listener alone, whether a line is wanted is asked of the thread that comes by it first, which may be another test's.
        let another = Dispatch::new(NoSubscriber::default());
        Self { written, _guard: tracing::subscriber::set_default(subscriber), _another: another }
    }

    pub(super) fn text(&self) -> String {
        fs::read_to_string(self.written.path()).expect("text")
    }
}

/// A platform in folders of its own.
struct Bench {
    root: TempDir,
    settings: Settings,
    writer: Writer,
    platform: Arc<Platform>,
    events: broadcast::Receiver<PluginEvent>,
}

/// What a bench is made of.
struct Plan {
    root: TempDir,
    settings: Settings,
}

impl Plan {
    /// No plugins at all.
    fn new() -> Self {
        let root = TempDir::new().expect("a folder");
        let at = |name: &str| root.path().join(name);
        let mut settings = Settings::new(at("plugins"), cache(), at("logs"));
        settings.plugins.insert("logger".into(), PluginSettings { enabled: false, ..PluginSettings::default() });
        Self { root, settings }
    }

    /// A chameleon called `name`, with its file in the folder.
    fn with(mut self, name: &str, config: Value) -> Self {
        self.set(name, config);
        self.put(name, CHAMELEON);
        self
    }

    fn set(&mut self, name: &str, mut config: Value) {
        config["name"] = name.into();
        let own = self.settings.plugins.entry(name.into()).or_default();
        own.config = config.to_string();
        // The chameleon imports all there is.
        own.grants = Grant::ALL.into();
    }

    fn put(&self, name: &str, octets: &[u8]) {
        fs::create_dir_all(&self.settings.folder).expect("made");
        fs::write(self.settings.folder.join(format!("{name}.wasm")), octets).expect("written");
    }

    fn change(mut self, name: &str, change: impl FnOnce(&mut PluginSettings)) -> Self {
        change(self.settings.plugins.entry(name.into()).or_default());
        self
    }

    async fn try_start(self) -> anyhow::Result<Bench> {
        let writer = Writer::start(record::Limits::default())?;
        let platform = Platform::start(self.settings.clone(), writer.clone(), Arc::new(())).await?;
        let events = platform.events();
        Ok(Bench { root: self.root, settings: self.settings, writer, platform, events })
    }

    async fn start(self) -> Bench {
        self.try_start().await.expect("started")
    }
}

impl Bench {
    fn file(&self, name: &str) -> PathBuf {
        self.settings.folder.join(format!("{name}.wasm"))
    }

    /// Puts a file into place as careful people do: written beside, then renamed.
    fn swap(&self, name: &str, octets: &[u8]) {
        let beside = self.root.path().join("beside");
        fs::write(&beside, octets).expect("written");
        fs::rename(beside, self.file(name)).expect("renamed");
    }

    async fn event(&mut self) -> PluginEvent {
        timeout(PATIENCE, self.events.recv()).await.expect("in time").expect("the platform lives")
    }

    /// Waits for `name` to be refused.
    async fn refused(&mut self, name: &str) -> String {
        loop {
            if let PluginEvent::Refused { name: refused, reason } = self.event().await
                && refused == name
            {
                return reason;
            }
        }
    }

    /// Waits for a build of `name` to go live.
    async fn live(&mut self, name: &str) -> String {
        loop {
            if let PluginEvent::Live(info) = self.event().await
                && info.name == name
            {
                return info.hash;
            }
        }
    }

    fn hash(&self, name: &str) -> Option<String> {
        self.platform.plugins().into_iter().find(|plugin| plugin.name == name).map(|plugin| plugin.hash)
    }

    fn open(&self, path: &str) -> Option<OpenFlow> {
        let flow = flow(path);
        let course = self.platform.open(&Probe { host: "a.test", method: &flow.request.method, path: path.as_bytes() })?;
        Some(OpenFlow::new(flow, course))
    }

    /// The request's verdict on a flow to `path`.
    async fn request(&self, path: &str) -> Result<Verdict, Refusal> {
        let Some(mut open) = self.open(path) else { return Ok(Verdict::Proceed) };
        let (course, flow) = open.course();
        course.request(flow, false).await
    }

    /// A whole flow, with an answer from the origin.
    async fn pass(&self, path: &str) -> Result<(), Refusal> {
        let Some(mut open) = self.open(path) else { return Ok(()) };
        {
            let (course, flow) = open.course();
            if let Some(reserved) = course.reserve() {
                reserved.await;
            }
            course.request(flow, false).await?;
            answer(flow, "an answer");
            let head = lock(flow).response.clone().expect("an answer");
            course.response_needs(&head);
            course.response(flow, false).await?;
        }
        open.conclude(Outcome::Completed);
        Ok(())
    }

    /// Everything is observed and written. The records of one plugin, by name.
    async fn records(self, plugin: &str) -> Vec<(String, String)> {
        self.platform.close(PATIENCE).await;
        self.writer.close().await;
        let mut records = Vec::new();
        if let Ok(folder) = fs::read_dir(self.settings.logs.join(plugin)) {
            for entry in folder {
                let path = entry.expect("an entry").path();
                let name = path.file_name().expect("a name").to_string_lossy().into_owned();
                records.push((name, fs::read_to_string(path).expect("text")));
            }
        }
        records.sort();
        records
    }
}

/// One for all tests of this process: compiling takes longest.
fn cache() -> PathBuf {
    static CACHE: OnceLock<TempDir> = OnceLock::new();
    CACHE.get_or_init(|| TempDir::new().expect("a folder")).path().join("cache")
}

/// The same component with other octets.
fn variant(number: u8) -> Vec<u8> {
    let mut octets = CHAMELEON.to_vec();
    // A custom section: its id, its size, its name and one octet.
    octets.extend([0, 3, 1, b'v', number]);
    octets
}

pub(super) fn flow(path: &str) -> Flow {
    let scope = Scope { connection: 1, client: ClientAddr((Ipv4Addr::LOCALHOST, 1234).into()), principal: Principal::named("ana") };
    let origin = Origin { scheme: Scheme::Https, authority: Authority::new("a.test", 443) };
    let mut fields = Fields::default();
    fields.push("Host", "a.test");
    let request = RequestHead {
        method: Method::POST,
        scheme: Scheme::Https,
        authority: Bytes::from_static(b"a.test"),
        path: Bytes::copy_from_slice(path.as_bytes()),
        version: Version::HTTP_11,
        fields,
    };
    Flow::new(Arc::new(scope), origin, request)
}

/// The origin answers.
fn answer(flow: &SharedFlow, text: &str) {
    let mut fields = Fields::default();
    fields.push("Content-Type", "text/plain; charset=utf-8");
    let mut flow = lock(flow);
    flow.response = Some(ResponseHead { status: StatusCode::OK, reason: None, version: Version::HTTP_11, fields });
    flow.response_content = Content::whole(Bytes::copy_from_slice(text.as_bytes()));
}

/// What most tests configure: everything is captured, and one record kept of every flow.
fn recording() -> Value {
    json!({ "request_body": "capture", "response_body": "capture", "records": ["record"] })
}
