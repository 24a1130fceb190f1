//! Bounds of traces, with a collector that needs no network.

use std::{collections::HashMap, net::Ipv4Addr, sync::Mutex};

use bytes::Bytes;
use http::StatusCode;
use opentelemetry_proto::tonic::{collector::trace::v1::ExportTraceServiceRequest, trace::v1::Span};
use prost::Message;
use tokio::sync::{Semaphore, watch};

use super::*;
use crate::{
    flow::{Authority, ClientAddr, LocalResponse, Principal},
    hooks::BoxFuture,
    outbound::{FetchError, Order},
};

/// Answers when it is let.
struct Desk {
    orders: Mutex<Vec<Order>>,
    came: watch::Sender<usize>,
    leave: Semaphore,
}

impl Desk {
    fn new(leave: usize) -> Arc<Self> {
        Arc::new(Self { orders: Mutex::default(), came: watch::Sender::default(), leave: Semaphore::new(leave) })
    }

    /// Waits until there were so many.
    async fn deliveries_are(&self, count: usize) {
        self.came.subscribe().wait_for(|came| *came >= count).await.unwrap();
    }

    /// How many spans each delivery had.
    fn deliveries(&self) -> Vec<usize> {
        self.orders.lock().unwrap().iter().map(|order| spans(order).len()).collect()
    }

    fn spans(&self) -> Vec<Span> {
        self.orders.lock().unwrap().iter().flat_map(spans).collect()
    }
}

fn spans(order: &Order) -> Vec<Span> {
    let delivery = ExportTraceServiceRequest::decode(&*order.content).unwrap();
    delivery.resource_spans.into_iter().flat_map(|of| of.scope_spans).flat_map(|of| of.spans).collect()
}

struct To(Arc<Desk>);

impl Outbound for To {
    fn fetch(&self, order: Order) -> BoxFuture<'static, Result<LocalResponse, FetchError>> {
        let desk = self.0.clone();
        Box::pin(async move {
            desk.orders.lock().unwrap().push(order);
            desk.came.send_modify(|came| *came += 1);
            desk.leave.acquire().await.unwrap().forget();
            Ok(LocalResponse { status: StatusCode::OK, fields: Fields::default(), content: Bytes::new() })
        })
    }
}

const LIMITS: Limits =
    Limits { queue: 4, batch: 3, delay: Duration::from_secs(60), deadline: Duration::from_secs(3600), answer_bytes: 7, value_bytes: 10 };

fn start(desk: &Arc<Desk>, limits: Limits) -> Arc<Spans> {
    let settings = Settings {
        endpoint: "http://collector.test:4318/v1/traces".into(),
        headers: HashMap::new(),
        ratio: 1.0,
        users: true,
        redaction: Box::new(Arc::default),
        limits,
    };
    Spans::start(settings, Arc::new(To(desk.clone()))).unwrap()
}

fn flow(spans: &Spans, path: &str) {
    let (client, principal) = (ClientAddr((Ipv4Addr::LOCALHOST, 1).into()), Principal::named("a-name-that-is-long"));
    let scope = Scope { connection: 1, client, principal };
    let origin = Origin { scheme: Scheme::Https, authority: Authority::new("a.test", 443) };
    let head = RequestHead {
        method: Method::GET,
        scheme: Scheme::Https,
        authority: "a.test".into(),
        path: path.to_owned().into(),
        version: Version::HTTP_11,
        fields: Fields::default(),
    };
    spans.flow(&scope, &origin, &head).expect("every flow is told of");
}

/// What a scrape says of one metric.
fn counted(spans: &Spans, name: &str) -> u64 {
    let mut page = meters::Page::default();
    spans.counts().write(&mut page);
    let text = page.to_string();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name} is not in {text}"));
    line.trim().parse().unwrap()
}

const CROWDED_OUT: &str = "flowgate_spans_lost_total{reason=\"queue-full\"}";
const UNDELIVERED: &str = "flowgate_spans_lost_total{reason=\"not-delivered\"}";
const SENT: &str = "flowgate_spans_sent_total";

#[tokio::test]
async fn spans_beyond_the_queue_are_lost_and_counted_and_the_rest_goes_in_parts() {
    let desk = Desk::new(9);
    let spans = start(&desk, LIMITS);

    // The task that empties the queue has no turn between them.
    (0..6).for_each(|_| flow(&spans, "/"));
    spans.close(Duration::from_secs(60)).await;
    flow(&spans, "/");

    assert_eq!(desk.deliveries(), [3, 1]);
    assert_eq!((counted(&spans, SENT), counted(&spans, CROWDED_OUT), counted(&spans, UNDELIVERED)), (4, 3, 0));
}

#[tokio::test]
async fn a_span_waits_so_long_for_others() {
    let desk = Desk::new(9);
    let spans = start(&desk, Limits { delay: Duration::from_millis(5), ..LIMITS });

    flow(&spans, "/");
    desk.deliveries_are(1).await;

    assert_eq!((desk.deliveries(), desk.orders.lock().unwrap()[0].max_response), (vec![1], LIMITS.answer_bytes));
}

#[tokio::test]
async fn a_delivery_that_takes_too_long_is_given_up_and_the_next_one_goes() {
    let desk = Desk::new(0);
    let spans = start(&desk, Limits { deadline: Duration::from_millis(5), ..LIMITS });

    (0..3).for_each(|_| flow(&spans, "/"));
    desk.deliveries_are(1).await;
    (0..3).for_each(|_| flow(&spans, "/"));
    desk.deliveries_are(2).await;

    assert_eq!((counted(&spans, SENT), counted(&spans, UNDELIVERED)), (0, 3));
}

#[tokio::test]
async fn what_has_not_gone_when_the_proxy_has_stopped_is_counted() {
    let desk = Desk::new(0);
    let spans = start(&desk, LIMITS);

    (0..4).for_each(|_| flow(&spans, "/"));
    spans.close(Duration::from_millis(5)).await;

    assert_eq!((counted(&spans, SENT), counted(&spans, UNDELIVERED)), (0, 4));
}

#[tokio::test]
async fn values_are_cut_and_say_nothing_of_a_querys() {
    let desk = Desk::new(9);
    let spans = start(&desk, LIMITS);

    flow(&spans, "/123456789\u{e4}?k=secret");
    spans.close(Duration::from_secs(60)).await;

    let said = format!("{:?}", desk.spans()[0].attributes);
    assert!(said.contains("\"/123456789\"") && said.contains("\"k=REDACTED\"") && said.contains("\"a-name-tha\""), "{said}");
    assert!(!said.contains("secret"), "{said}");
}

#[test]
fn queries_keep_their_names_only() {
    for (target, path, query) in [
        ("/a", "/a", None),
        ("/a?", "/a", None),
        ("/a?b=c&d=&e", "/a", Some("b=REDACTED&REDACTED&REDACTED")),
        ("/a?b==c&U0VDUkVUQkFTRTY0==", "/a", Some("b=REDACTED&REDACTED")),
        ("/a?b=c?d=e", "/a", Some("b=REDACTED")),
        ("*", "*", None),
    ] {
        assert_eq!(parts(target.as_bytes()), (path.to_owned(), query.map(str::to_owned)), "{target}");
    }
}

#[test]
fn a_clock_that_goes_wrong_bends_nothing() {
    let clock = Clock::now();
    let second = Duration::from_secs(1);

    assert_eq!(clock.at(clock.steady + second), clock.wall + second);
    assert_eq!(clock.at(clock.steady.checked_sub(second).unwrap()), clock.wall - second);
}
