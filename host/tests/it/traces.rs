//! Traces: what a collector gets, what it never gets, and what becomes of traffic without one.

use std::time::{Duration, Instant};

use flowgate::config::{Config, limits::TRACE_DELIVERY};
use flowgate_testkit::{
    Client, Origin, Script, Setup,
    certificates::Fault,
    client::request,
    guests,
    origin::Seen,
    patience::within,
    proxy::{Options, Proxy},
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use prost::Message;
use serde_json::json;
use tokio::io::AsyncReadExt;

use crate::rereading::ask_for_reload;

/// Spans that no collector took.
const LOST: &str = "flowgate_spans_lost_total{reason=\"not-delivered\"}";

/// A collector that takes everything.
async fn collector() -> Origin {
    Origin::start(Setup::clear(), |_| Script::after_reading(|_| Script::ok(""))).await
}

/// Sends traces there.
fn to(collector: String) -> Options {
    let endpoint = format!("{collector}/v1/traces");
    Options::new().admin().change(move |config| config.traces.endpoint = Some(endpoint))
}

/// All spans of a delivery.
fn spans(seen: &Seen) -> Vec<Span> {
    let delivery = ExportTraceServiceRequest::decode(&*seen.content).unwrap();
    delivery.resource_spans.into_iter().flat_map(|of| of.scope_spans).flat_map(|of| of.spans).collect()
}

fn all(collector: &Origin) -> Vec<Span> {
    collector.seen().iter().flat_map(spans).collect()
}

fn value(attributes: &[KeyValue], key: &str) -> Option<String> {
    let mut named = attributes.iter().filter(|attribute| attribute.key == key);
    let found = named.next()?;
    assert!(named.next().is_none(), "{key} is there twice");
    Some(match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    })
}

/// The one of that kind and name.
fn one<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let mut named = spans.iter().filter(|span| span.name == name);
    let found = named.next().unwrap_or_else(|| panic!("{name} is not among {spans:#?}"));
    assert!(named.next().is_none(), "{name} is there twice");
    found
}

async fn metric(proxy: &Proxy, line: &str) -> u64 {
    let mut admin = Client::through(proxy.admin(), proxy.root_pem()).to_proxy().await.unwrap();
    let scrape = admin.exchange(request("GET", "/metrics", "localhost", &[], b"")).await.unwrap().text();
    let value = scrape.lines().find_map(|found| found.strip_prefix(line)).unwrap_or_else(|| panic!("{line} is not in {scrape}"));
    value.trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_is_a_span_with_its_parts_and_nothing_that_is_secret() {
    let (collector, origin) = (collector().await, Origin::start(Setup::http1(), |_| Script::new(418).data("s3cret")).await);
    let options = to(format!("http://{}", collector.address())).component("chameleon", guests::CHAMELEON).plugin("chameleon", json!({}));
    let options = options.change_in(|config, folder| {
        let file = folder.join("headers");
        std::fs::write(&file, "X-Token: not-a-real-token\n").unwrap();
        config.traces.headers_file = Some(file);
        config.redaction.patterns = vec!["hidden-[0-9]+".to_owned()];
    });
    let proxy = Proxy::start(options.resolving("a.test:443", &origin)).await;
    let parent = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let fields = [parent, ("Authorization", "Bearer s3cret"), ("tracestate", "a=b")];
    let post = request("POST", "/v1/hidden-7/x?sig=s3cret&hidden-8=1&s3cret==", "a.test", &fields, b"s3cret");

    proxy.client_as("ana", "s3cret").h1("a.test:443").await.unwrap().exchange(&post).await.unwrap();
    proxy.stop().await;

    let head = post.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    assert_eq!(String::from_utf8_lossy(&origin.seen()[0].head), String::from_utf8_lossy(&post[..head]), "nothing is added");
    let delivered = &collector.seen()[0];
    assert_eq!((delivered.target.as_str(), delivered.get("content-type")), ("/v1/traces", Some("application/x-protobuf")));
    assert_eq!(delivered.get("x-token"), Some("not-a-real-token"));
    let spans = all(&collector);
    let flow = one(&spans, "POST");
    assert_eq!(flow.kind(), SpanKind::Server);
    assert_eq!(hex(&flow.trace_id), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!((hex(&flow.parent_span_id).as_str(), flow.trace_state.as_str()), ("b7ad6b7169203331", "a=b"));
    for (key, expected) in [
        ("http.request.method", Some("POST")),
        ("url.scheme", Some("https")),
        ("url.path", Some("/v1/[redacted]/x")),
        ("url.query", Some("sig=REDACTED&[redacted]=REDACTED&REDACTED")),
        ("server.address", Some("a.test")),
        ("server.port", Some("443")),
        ("network.protocol.version", Some("1.1")),
        ("http.response.status_code", Some("418")),
        ("error.type", None),
        ("enduser.id", None),
        ("client.address", None),
    ] {
        assert_eq!(value(&flow.attributes, key).as_deref(), expected, "{key}");
    }
    assert!(value(&flow.attributes, "flowgate.flow").is_some());
    assert_eq!(status(flow), StatusCode::Unset);
    assert_eq!(flow.events.iter().map(|event| event.name.as_str()).collect::<Vec<_>>(), ["response head"]);
    for hook in ["on-request", "on-response", "on-flow-end"] {
        let is_of = |span: &&Span| span.name == hook && value(&span.attributes, "flowgate.plugin").as_deref() == Some("chameleon");
        let part = spans.iter().find(is_of).unwrap_or_else(|| panic!("{hook} is not among {spans:#?}"));
        assert_eq!((&part.trace_id, &part.parent_span_id), (&flow.trace_id, &flow.span_id));
        assert!(part.start_time_unix_nano >= flow.start_time_unix_nano && part.end_time_unix_nano >= part.start_time_unix_nano);
    }
    let text = format!("{spans:?}");
    assert!(!text.contains("s3cret") && !text.contains("hidden-7") && !text.contains("ana"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_connection_takes_and_why_there_is_none_is_told() {
    let (collector, origin) = (collector().await, Origin::saying("ok").await);
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let options = to(format!("http://{}", collector.address())).change(|config| config.traces.users = true);
    let options = options.resolving("a.test:443", &origin).resolving_to("gone.test:80", gone);
    let proxy = Proxy::start(options).await;

    let mut client = proxy.client_as("ana", "any").to_proxy().await.unwrap();
    let absolute = |target: &str, host: &str| request("GET", target, host, &[("Proxy-Authorization", "Basic YW5hOmFueQ==")], b"");
    assert_eq!(client.exchange(absolute("https://a.test/", "a.test")).await.unwrap().text(), "ok");
    assert_eq!(client.exchange(absolute("http://gone.test/", "gone.test")).await.unwrap().status(), 502);
    proxy.stop().await;

    let spans = all(&collector);
    let [good, bad] = ["200", "502"].map(|status| {
        let is_it = |span: &&Span| value(&span.attributes, "http.response.status_code").as_deref() == Some(status);
        spans.iter().find(is_it).unwrap_or_else(|| panic!("{status} is not among {spans:#?}"))
    });
    let below = |parent: &Span| spans.iter().filter(|span| span.parent_span_id == parent.span_id).collect::<Vec<_>>();
    assert_eq!(good.name, "GET");
    assert_eq!(value(&good.attributes, "enduser.id").as_deref(), Some("ana"));
    assert_eq!(value(&good.attributes, "client.address").as_deref(), Some("127.0.0.1"));
    let parts: Vec<&str> = below(good).iter().map(|span| span.name.as_str()).filter(|name| !name.starts_with("on-")).collect();
    assert_eq!(parts, ["connect", "TLS handshake"]);
    assert_eq!((value(&bad.attributes, "error.type").as_deref(), status(bad)), (Some("connection_refused"), StatusCode::Error));
    let tried = below(bad).into_iter().find(|span| span.name == "connect").unwrap();
    assert_eq!((value(&tried.attributes, "error.type").as_deref(), status(tried)), (Some("connection_refused"), StatusCode::Error));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_does_wrong_is_no_error_of_the_servers() {
    let (collector, origin) = (collector().await, Origin::saying("never").await);
    let options = to(format!("http://{}", collector.address())).change(|config| config.intercept = vec!["*".to_owned()]);
    let proxy = Proxy::start(options.resolving("a.test:443", &origin)).await;

    let bad = "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\nx\r\n";
    assert_eq!(proxy.client().h1("a.test:443").await.unwrap().exchange(bad).await.unwrap().status(), 400);
    proxy.stop().await;

    let spans = all(&collector);
    let flow = one(&spans, "POST");
    assert_eq!((value(&flow.attributes, "error.type").as_deref(), status(flow)), (Some("http_request_error"), StatusCode::Unset));
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_bring_a_trace_say_whether_it_is_told() {
    let (collector, origin) = (collector().await, Origin::saying("ok").await);
    let options = to(format!("http://{}", collector.address())).without_logger();
    let options = options.change(|config| (config.traces.ratio, config.intercept) = (0.0, vec!["*".to_owned()]));
    let proxy = Proxy::start(options.resolving("a.test:443", &origin)).await;
    let get = async |path: &str, parent: &str| {
        let fields = [("traceparent", parent)];
        proxy.client().send(&format!("https://a.test{path}"), "GET", if parent.is_empty() { &[] } else { &fields }, b"").await.unwrap()
    };

    get("/none", "").await;
    get("/unwanted", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00").await;
    get("/broken", "00-00000000000000000000000000000000-b7ad6b7169203331-01").await;
    get("/wanted", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").await;
    proxy.stop().await;

    let told: Vec<_> = all(&collector).iter().filter_map(|span| value(&span.attributes, "url.path")).collect();
    assert_eq!(told, ["/wanted"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_is_reached_over_tls_and_verified() {
    let origin = Origin::saying("ok").await;
    for fault in [Fault::None, Fault::Expired] {
        let collector = Origin::start(Setup::tls().fault(fault), |_| Script::after_reading(|_| Script::ok(""))).await;
        let is_good = fault == Fault::None;
        let options = to("https://otel.test".to_owned());
        // Nothing gets there, however long the proxy waits for it.
        let options = if is_good { options } else { options.change(|config| config.grace = Duration::from_secs(1)) };
        let options = options.resolving("otel.test:443", &collector).resolving("a.test:443", &origin);
        let proxy = Proxy::start(options).await;

        proxy.client().get("https://a.test/").await.unwrap();
        if is_good {
            collector.journal().wait("spans", |requests, _| (!requests.is_empty()).then_some(())).await;
        }
        proxy.stop().await;

        assert_eq!(!collector.seen().is_empty(), is_good, "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_is_verified_by_the_certificates_that_a_reload_brings() {
    let origin = Origin::start(Setup::clear(), |_| Script::after_reading(|_| Script::ok("ok"))).await;
    let collector = Origin::start(Setup::tls(), |_| Script::after_reading(|_| Script::ok(""))).await;
    let options = to("https://otel.test".to_owned()).without_logger().change(|config| config.upstream_ca.clear());
    let options = options.resolving("otel.test:443", &collector).resolving("a.test:80", &origin);
    let proxy = Proxy::rereading(options, |config| {
        let authority = config.state_dir.with_file_name("origins.pem");
        Ok(Config { upstream_ca: vec![authority], ..config.clone() })
    })
    .await;
    proxy.client().get("http://a.test/").await.unwrap();
    within("the loss", async { while metric(&proxy, LOST).await == 0 {} }).await;

    let mut answer = String::new();
    within("the reload", ask_for_reload(&proxy).await.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    proxy.client().get("http://a.test/").await.unwrap();

    collector.journal().wait("spans", |requests, _| (!requests.is_empty()).then_some(())).await;
    proxy.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_collector_traffic_goes_on_and_what_is_lost_is_counted() {
    let origin = Origin::saying("ok").await;
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let broken = Origin::start(Setup::clear(), |_| Script::new(400)).await;
    for collector in [gone, broken.address()] {
        let proxy = Proxy::start(to(format!("http://{collector}")).resolving("a.test:443", &origin)).await;

        proxy.client().get("https://a.test/").await.unwrap();
        within("the loss", async { while metric(&proxy, LOST).await == 0 {} }).await;

        assert_eq!(proxy.client().get("https://a.test/").await.unwrap().text(), "ok");
        assert_eq!(metric(&proxy, "flowgate_spans_sent_total").await, 0);
        proxy.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_hangs_holds_up_neither_traffic_nor_the_stop() {
    let (collector, origin) = (Origin::silent().await, Origin::saying("ok").await);
    let options = to(format!("http://{}", collector.address())).change(|config| config.grace = Duration::from_millis(20));
    let proxy = Proxy::start(options.resolving("a.test:443", &origin)).await;

    proxy.client().get("https://a.test/").await.unwrap();
    // It has the first of them, and says nothing.
    collector.journal().wait("a connection of the exporter", |_, peers| (!peers.is_empty()).then_some(())).await;
    assert_eq!(proxy.client().get("https://a.test/").await.unwrap().text(), "ok");
    let stopping = Instant::now();
    proxy.stop().await;

    // Its own deadline is ten seconds; a stop that waited for it would take as long.
    assert!(stopping.elapsed() < TRACE_DELIVERY, "{:?}", stopping.elapsed());
}

#[tokio::test]
async fn what_cannot_be_sent_with_traces_is_said_at_the_start() {
    let proxy = Proxy::try_start(to("http://127.0.0.1:1".to_owned()).change_in(|config, folder| {
        let file = folder.join("headers");
        std::fs::write(&file, "not-a-real-token").unwrap();
        config.traces.headers_file = Some(file);
    }));
    let error = format!("{:#}", proxy.await.err().unwrap());
    assert!(error.contains("line 1 is no field") && !error.contains("not-a-real-token"), "{error}");
}

fn status(span: &Span) -> StatusCode {
    span.status.as_ref().map_or(StatusCode::Unset, |status| status.code())
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
