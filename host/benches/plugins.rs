//! What a flow pays for plugins: the matcher where nobody wants it, a warm filter call, an observer's call, a chunk of a stream.
//!
//! Run with `cargo bench -p flowgate --bench plugins`. The component is the test kit's, which does what it is told and no more.

use std::{hint::black_box, net::Ipv4Addr, sync::Arc};

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use flowgate::{
    flow::{
        Authority, ClientAddr, Direction, Fields, Flow, OpenFlow, Origin, Outcome, Principal, RequestHead, ResponseHead, Scheme, Scope,
        lock,
    },
    hooks::{Hooks, Next, Probe},
    plugin::{Grant, Platform, PluginSettings, Settings},
    record::{self, Writer},
};
use flowgate_testkit::guests::CHAMELEON;
use http::{Method, StatusCode, Version};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Fields of a request as editors send them, about.
const FIELDS: usize = 20;
/// Octets of an event of a model's answer, about.
const CHUNK: usize = 150;

/// Plugins that all want other hosts than the flow's.
const OTHERS: usize = 64;

/// A platform with plugins.
struct Bench {
    _root: TempDir,
    runtime: Runtime,
    platform: Arc<Platform>,
}

impl Bench {
    fn start(config: Value) -> Self {
        Self::start_all(&[config])
    }

    fn start_all(configs: &[Value]) -> Self {
        let root = TempDir::new().expect("a folder");
        let runtime = Runtime::new().expect("a runtime");
        let at = |name: &str| root.path().join(name);
        let mut settings = Settings::new(at("plugins"), at("cache"), at("logs"));
        settings.plugins.insert("logger".into(), PluginSettings { enabled: false, ..PluginSettings::default() });
        std::fs::create_dir_all(&settings.folder).expect("made");
        for (at, config) in configs.iter().enumerate() {
            let (name, mut config) = (format!("chameleon-{at}"), config.clone());
            config["name"] = name.as_str().into();
            std::fs::write(settings.folder.join(format!("{name}.wasm")), CHAMELEON).expect("written");
            let own = PluginSettings { config: config.to_string(), grants: Grant::ALL.into(), required: true, ..PluginSettings::default() };
            settings.plugins.insert(name, own);
        }
        let platform = runtime.block_on(async {
            let writer = Writer::start(record::Limits::default()).expect("a writer");
            Platform::start(settings, writer, Arc::new(())).await.expect("a platform")
        });
        Self { _root: root, runtime, platform }
    }

    fn open(&self) -> OpenFlow {
        let flow = flow();
        let course = self.platform.open(&Probe { host: "a.test", method: &Method::POST, path: b"/v1" }).expect("wanted");
        OpenFlow::new(flow, course)
    }
}

fn flow() -> Flow {
    let scope = Scope { connection: 1, client: ClientAddr((Ipv4Addr::LOCALHOST, 1).into()), principal: Principal::named("ana") };
    let origin = Origin { scheme: Scheme::Https, authority: Authority::new("a.test", 443) };
    let mut fields = Fields::default();
    for at in 0..FIELDS {
        fields.push(format!("x-field-{at}"), "a value of an ordinary length");
    }
    let request = RequestHead {
        method: Method::POST,
        scheme: Scheme::Https,
        authority: Bytes::from_static(b"a.test"),
        path: Bytes::from_static(b"/v1"),
        version: Version::HTTP_11,
        fields,
    };
    Flow::new(Arc::new(scope), origin, request)
}

fn response() -> ResponseHead {
    let mut fields = Fields::default();
    fields.push("Content-Type", "text/event-stream");
    ResponseHead { status: StatusCode::OK, reason: None, version: Version::HTTP_11, fields }
}

fn matcher(criterion: &mut Criterion) {
    let bench = Bench::start(json!({ "hosts": ["*.example.test"], "paths": ["/v1/*", "/chat/*"] }));
    criterion.bench_function("a flow nobody wants", |bencher| {
        bencher.iter(|| bench.platform.open(black_box(&Probe { host: "a.test", method: &Method::POST, path: b"/v1/other" })).is_none());
    });
}

fn many(criterion: &mut Criterion) {
    let others = (0..OTHERS).map(|at| json!({ "hosts": [format!("*.host-{at}.test"), format!("api-{at}.example.test")] }));
    let bench = Bench::start_all(&others.collect::<Vec<_>>());
    criterion.bench_function("a flow that none of 64 plugins wants", |bencher| {
        bencher.iter(|| bench.platform.open(black_box(&Probe { host: "api.a.test", method: &Method::POST, path: b"/v1" })).is_none());
    });
    criterion.bench_function("a host that one of 64 plugins wants", |bencher| {
        bencher.iter(|| bench.platform.wants_host(black_box("api-7.example.test")));
    });
}

fn filter(criterion: &mut Criterion) {
    let bench = Bench::start(json!({ "on_request": "set-header" }));
    criterion.bench_function("a filter call with 20 fields", |bencher| {
        bencher.to_async(&bench.runtime).iter_batched(
            || bench.open(),
            async |mut open| {
                let (course, flow) = open.course();
                course.request(flow, false).await.expect("it proceeds");
                open
            },
            criterion::BatchSize::SmallInput,
        );
    });
}

fn observer(criterion: &mut Criterion) {
    let bench = Bench::start(json!({}));
    criterion.bench_function("a flow that is observed", |bencher| {
        bencher.to_async(&bench.runtime).iter(async || {
            let mut open = bench.open();
            if let Some(reserving) = open.course().0.reserve() {
                reserving.await;
            }
            open.conclude(Outcome::Completed);
            drop(open);
            tokio::task::yield_now().await;
        });
    });
}

fn chunk(criterion: &mut Criterion) {
    let config = json!({ "response_body": "chunks", "framing": "sse-events", "word": ["colour", "color"] });
    let bench = Bench::start(config);
    let event = format!("data: {{\"text\":\"the colour of it\",\"pad\":\"{}\"}}\n\n", "x".repeat(CHUNK - 44));
    let event = Bytes::from(event);
    criterion.bench_function("a chunk of 150 octets", |bencher| {
        let _inside = bench.runtime.enter();
        let mut open = bench.open();
        let mut chunks = bench.runtime.block_on(async {
            let (course, flow) = open.course();
            lock(flow).response = Some(response());
            course.response_needs(&response());
            course.chunks(flow, Direction::Response).await.expect("it proceeds").expect("it is wanted")
        });
        bencher.iter(|| {
            bench.runtime.block_on(async {
                chunks.feed(event.clone());
                while let Next::Forward(octets) = chunks.next().await.expect("it answers") {
                    black_box(octets);
                }
            });
        });
    });
}

criterion_group!(benches, matcher, many, filter, observer, chunk);
criterion_main!(benches);
