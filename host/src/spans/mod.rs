//! Traces: each flow as a span, with what its time went into below it, for whoever collects such (OpenTelemetry).
//!
//! Place: made by `app` where the configuration names a collector. `exchange` begins a span for each flow, and tells it what it knows; plugins'
//! calls are told through [`Trace`]. Says no more of a flow than diagnostics do: no fields, no content, no value of a query, and who it was
//! only if that is asked for. What clients send is never changed: their trace goes on to the origin as it came.
//! Source: OpenTelemetry's semantic conventions for HTTP server spans; W3C Trace Context.

mod collector;
mod queue;
#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    collections::HashMap,
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU16, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use anyhow::Context as _;
use http::{Method, Version};
use opentelemetry::{
    Context, KeyValue,
    propagation::{Extractor, TextMapPropagator},
    trace::{SpanBuilder, SpanKind, Status, TraceContextExt, Tracer, TracerProvider},
};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracer, SdkTracerProvider, SpanExporter as _},
};

use self::{collector::Collector, queue::Queue};
use crate::{
    flow::{Fields, FlowId, Origin, RequestHead, Scheme, Scope},
    hooks::Trace,
    meters,
    outbound::Outbound,
    redaction::Redaction,
    tasks::Tasks,
};

/// Octets of `tracestate` that are taken over with a client's trace (W3C Trace Context §3.3.1.5 wants no more of anybody).
const TRACE_STATE: usize = 512;
/// Methods that are named as they are; others are told apart by an attribute.
const METHODS: [Method; 9] =
    [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::HEAD, Method::OPTIONS, Method::PATCH, Method::TRACE, Method::CONNECT];

/// Where traces go, and what is in them.
pub struct Settings {
    /// The whole URL that is posted to, without credentials.
    pub endpoint: String,
    /// Sent with each delivery; their values are secrets.
    pub headers: HashMap<String, String>,
    /// Which part of the flows that bring no trace of their own is told of, 0 to 1.
    pub ratio: f64,
    /// Whether it says who it was: the user's name and the client's address.
    pub users: bool,
    /// What is blanked in paths, now.
    pub redaction: Box<dyn Fn() -> Arc<Redaction> + Send + Sync>,
    /// Bounds.
    pub limits: Limits,
}

/// Bounds of traces.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Spans that wait to be sent. Full: the next is lost, and counted.
    pub queue: usize,
    /// Spans of one delivery.
    pub batch: usize,
    /// How long a span waits for others to go with.
    pub delay: Duration,
    /// For one delivery, repetitions included.
    pub deadline: Duration,
    /// Octets of a collector's answer.
    pub answer_bytes: usize,
    /// Octets of one value.
    pub value_bytes: usize,
}

/// Begins spans, and sends them.
pub struct Spans {
    tracer: SdkTracer,
    propagator: TraceContextPropagator,
    users: bool,
    value_bytes: usize,
    redaction: Box<dyn Fn() -> Arc<Redaction> + Send + Sync>,
    counts: Arc<Counts>,
    tasks: Tasks,
}

/// The settings hold secrets.
impl fmt::Debug for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spans").finish_non_exhaustive()
    }
}

/// What became of spans.
#[derive(Debug, Default)]
pub struct Counts {
    sent: AtomicU64,
    /// There was no place for them.
    crowded_out: AtomicU64,
    /// The collector did not take them.
    undelivered: AtomicU64,
}

impl Counts {
    /// Those that were lost.
    pub fn lost(&self) -> u64 {
        self.crowded_out.load(Relaxed) + self.undelivered.load(Relaxed)
    }

    /// Writes them down.
    pub fn write(&self, page: &mut meters::Page) {
        page.count("flowgate_spans_sent", "Spans of traces that the collector has taken", &[], self.sent.load(Relaxed));
        for (reason, count) in [("queue-full", &self.crowded_out), ("not-delivered", &self.undelivered)] {
            page.count("flowgate_spans_lost", "Spans of traces that were lost", &[("reason", reason)], count.load(Relaxed));
        }
    }
}

impl Spans {
    /// Sends over `outbound` from here on.
    ///
    /// # Errors
    /// The settings, or those of the environment (`OTEL_…`), make no sense.
    pub fn start(settings: Settings, outbound: Arc<dyn Outbound>) -> anyhow::Result<Arc<Self>> {
        let Settings { endpoint, headers, ratio, users, redaction, limits } = settings;
        let collector = Collector::new(outbound, limits.answer_bytes);
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(&endpoint)
            .with_timeout(limits.deadline)
            .with_headers(headers)
            .with_http_client(collector.clone())
            .build()
            .context("preparing to send traces")?;
        let resource = resource();
        exporter.set_resource(&resource);
        let (tasks, counts) = (Tasks::new(), Arc::<Counts>::default());
        let queue = Queue::start(exporter, collector, endpoint, limits, counts.clone(), &tasks);
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio))))
            .with_resource(resource)
            .with_span_processor(queue)
            .build();
        let tracer = provider.tracer("flowgate");
        Ok(Arc::new(Self {
            tracer,
            propagator: TraceContextPropagator::new(),
            users,
            value_bytes: limits.value_bytes,
            redaction,
            counts,
            tasks,
        }))
    }

    /// What became of spans so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Sends what still waits. What has not gone after `patience` is lost, and counted.
    pub async fn close(&self, patience: Duration) {
        self.tasks.stop();
        if !self.tasks.ended(patience).await {
            self.tasks.cut();
            self.tasks.ended(patience).await;
        }
        match self.counts.lost() {
            0 => {}
            lost => tracing::warn!(lost, "spans of traces were lost"),
        }
    }

    /// A flow begins; it ends when what is returned is dropped. `None`: nobody is told of this one.
    pub fn flow(&self, scope: &Scope, origin: &Origin, head: &RequestHead) -> Option<FlowSpan> {
        let parent = self.propagator.extract_with_context(&Context::new(), &Carried(&head.fields));
        let clock = Clock::now();
        let is_known = METHODS.contains(&head.method);
        let name = if is_known { head.method.to_string().into() } else { Cow::Borrowed("HTTP") };
        let builder = SpanBuilder::from_name(name).with_kind(SpanKind::Server).with_start_time(clock.wall);
        let context = Context::new().with_span(self.tracer.build_with_context(builder, &parent));
        if !context.span().is_recording() {
            return None;
        }
        let span = FlowSpan {
            inner: Arc::new(Inner { tracer: self.tracer.clone(), context, clock }),
            status: AtomicU16::new(0),
            error: OnceLock::new(),
        };
        span.inner.context.span().set_attributes(self.attributes(scope, origin, head, is_known));
        Some(span)
    }

    fn attributes(&self, scope: &Scope, origin: &Origin, head: &RequestHead, is_known: bool) -> Vec<KeyValue> {
        let text = |text: &str| cut(text, self.value_bytes).to_owned();
        let (path, query) = parts(&head.path);
        let redaction = (self.redaction)();
        let method = if is_known { head.method.to_string() } else { "_OTHER".to_owned() };
        let mut all = vec![
            KeyValue::new("http.request.method", method),
            KeyValue::new("url.scheme", if origin.scheme == Scheme::Https { "https" } else { "http" }),
            KeyValue::new("url.path", text(&redaction.text(&path))),
            KeyValue::new("server.address", text(origin.authority.host())),
            KeyValue::new("server.port", i64::from(origin.authority.port())),
            KeyValue::new(
                "network.protocol.version",
                match head.version {
                    Version::HTTP_2 => "2",
                    Version::HTTP_10 => "1.0",
                    _ => "1.1",
                },
            ),
        ];
        all.extend(query.map(|query| KeyValue::new("url.query", text(&redaction.text(&query)))));
        if !is_known {
            all.push(KeyValue::new("http.request.method_original", text(head.method.as_str())));
        }
        if self.users {
            all.push(KeyValue::new("client.address", scope.client.0.ip().to_canonical().to_string()));
            all.extend(scope.principal.name().map(|name| KeyValue::new("enduser.id", text(name))));
        }
        all
    }
}

/// One flow, told of as it goes on.
#[derive(Debug)]
pub struct FlowSpan {
    inner: Arc<Inner>,
    /// Of the response that the client gets; 0: none yet.
    status: AtomicU16,
    /// What went wrong, first.
    error: OnceLock<(&'static str, bool)>,
}

#[derive(Debug)]
struct Inner {
    tracer: SdkTracer,
    context: Context,
    clock: Clock,
}

impl FlowSpan {
    /// The same for those who know nothing but the flow.
    pub fn trace(&self) -> Arc<dyn Trace> {
        self.inner.clone()
    }

    /// How the proxy's own diagnostics call it.
    pub fn is_flow(&self, id: FlowId) {
        self.inner.context.span().set_attribute(KeyValue::new("flowgate.flow", i64::try_from(id.0).unwrap_or(i64::MAX)));
    }

    /// A connection to the origin was made for it: TCP from `began` to `connected`, then TLS to `secured`, if it speaks that.
    pub fn connected(&self, began: Instant, connected: Instant, secured: Option<Instant>) {
        self.inner.part("connect", Vec::new(), began, connected, None);
        if let Some(secured) = secured {
            self.inner.part("TLS handshake", Vec::new(), connected, secured, None);
        }
    }

    /// There was none, though it was tried since `began`; `error`: as RFC 9209 names it.
    pub fn not_connected(&self, began: Instant, error: &'static str) {
        self.inner.part("connect", Vec::new(), began, Instant::now(), Some(error));
    }

    /// The head of the response is known, which is the last one that counts.
    pub fn answered(&self, status: u16) {
        self.status.store(status, Relaxed);
        let now = self.inner.clock.at(Instant::now());
        let attributes = vec![KeyValue::new("http.response.status_code", i64::from(status))];
        self.inner.context.span().add_event_with_timestamp("response head", now, attributes);
    }

    /// It has a bad end: `error` says in a word which. `is_fault`: it is not the client's doing.
    pub fn failed(&self, error: &'static str, is_fault: bool) {
        let _ = self.error.set((error, is_fault));
    }
}

impl Drop for FlowSpan {
    fn drop(&mut self) {
        let (span, status) = (self.inner.context.span(), self.status.load(Relaxed));
        if status != 0 {
            span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
        }
        let failed = self.error.get().map(|(error, is_fault)| (Cow::Borrowed(*error), *is_fault));
        if let Some((error, is_fault)) = failed.or_else(|| (status >= 500).then(|| (status.to_string().into(), true))) {
            span.set_attribute(KeyValue::new("error.type", error));
            if is_fault {
                span.set_status(Status::error(""));
            }
        }
        span.end_with_timestamp(self.inner.clock.at(Instant::now()));
    }
}

impl Inner {
    fn part(&self, name: impl Into<Cow<'static, str>>, attributes: Vec<KeyValue>, from: Instant, to: Instant, error: Option<&'static str>) {
        use opentelemetry::trace::Span as _;
        let builder = SpanBuilder::from_name(name).with_start_time(self.clock.at(from)).with_attributes(attributes);
        let mut span = self.tracer.build_with_context(builder, &self.context);
        if let Some(error) = error {
            span.set_attribute(KeyValue::new("error.type", error));
            span.set_status(Status::error(""));
        }
        span.end_with_timestamp(self.clock.at(to));
    }
}

impl Trace for Inner {
    fn hook(&self, plugin: &str, hook: &'static str, took: Duration, failed: bool) {
        let now = Instant::now();
        let attributes = vec![KeyValue::new("flowgate.plugin", plugin.to_owned()), KeyValue::new("flowgate.hook", hook)];
        self.part(hook, attributes, now.checked_sub(took).unwrap_or(now), now, failed.then_some("plugin_failed"));
    }
}

/// One moment by both clocks: a wall clock that jumps puts no part outside its whole.
#[derive(Clone, Copy, Debug)]
struct Clock {
    wall: SystemTime,
    steady: Instant,
}

impl Clock {
    fn now() -> Self {
        Self { wall: SystemTime::now(), steady: Instant::now() }
    }

    fn at(&self, moment: Instant) -> SystemTime {
        match moment.checked_duration_since(self.steady) {
            Some(after) => self.wall + after,
            None => self.wall - self.steady.duration_since(moment),
        }
    }
}

/// The trace that a client's request is part of, if it says so.
struct Carried<'a>(&'a Fields);

impl Extractor for Carried<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        let value = std::str::from_utf8(self.0.get(key)?).ok()?.trim();
        (key != "tracestate" || value.len() <= TRACE_STATE).then_some(value)
    }

    fn keys(&self) -> Vec<&str> {
        Vec::new()
    }
}

/// Path and query of a target. Of the query only what things are called: their values are where keys and signatures are put.
fn parts(target: &[u8]) -> (String, Option<String>) {
    let text = String::from_utf8_lossy(target);
    let Some((path, query)) = text.split_once('?') else { return (text.into_owned(), None) };
    let name = |pair: &str| match pair.split_once('=') {
        Some((name, value)) if value.contains(|character| character != '=') => format!("{name}=REDACTED"),
        // Nobody can say whether it is a name: base64 ends in `=`, too.
        _ => "REDACTED".to_owned(),
    };
    let query = (!query.is_empty()).then(|| query.split('&').map(name).collect::<Vec<_>>().join("&"));
    (path.to_owned(), query)
}

/// At most so many octets of it.
fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

/// What sends the traces: as the environment says (`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`), else by its own name.
fn resource() -> Resource {
    let own =
        Resource::builder_empty().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))).with_service_name("flowgate");
    let said = opentelemetry_sdk::resource::EnvResourceDetector::new();
    let named = opentelemetry_sdk::resource::SdkProvidedResourceDetector;
    let is_named = std::env::var("OTEL_SERVICE_NAME").is_ok_and(|name| !name.is_empty())
        || std::env::var("OTEL_RESOURCE_ATTRIBUTES").is_ok_and(|all| all.contains("service.name="));
    let own = own.with_detector(Box::new(said));
    if is_named { own.with_detector(Box::new(named)).build() } else { own.build() }
}
