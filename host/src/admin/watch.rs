//! What the status page asks for: itself, the flows as they happen, one of them in detail, and who used what.
//!
//! Place: part of `routes`.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use hyper::body::Frame;
use serde::{Deserialize, Serialize};
use serde_json::json;
use time::{Date, format_description::BorrowedFormatItem, macros::format_description};
use tokio::time::{sleep, timeout};

use super::{
    Operator,
    detail::{Detail, glance},
    routes::refused,
};
use crate::{
    hooks::BoxFuture,
    plugin::Step,
    recording::{Glance, News, Watcher},
    redaction::Redaction,
    usage::{self, Dimension},
};

/// News are gathered for so long: people see no difference, and a busy proxy sends few large pieces.
const GATHER: Duration = Duration::from_millis(250);
/// Flows in one piece; what is beyond is told as a number.
const AT_ONCE: usize = 200;
/// Silence after which a sign of life is sent, so that connections that are gone are noticed.
const SILENCE: Duration = Duration::from_secs(15);

type Asked = State<Arc<dyn Operator>>;

pub(super) fn router() -> Router<Arc<dyn Operator>> {
    let file = |media_type: &'static str, text: &'static str| get(move || async move { ([(header::CONTENT_TYPE, media_type)], text) });
    Router::new()
        .route("/", file("text/html; charset=utf-8", include_str!("page/page.html")))
        .route("/page.css", file("text/css; charset=utf-8", include_str!("page/page.css")))
        .route("/page.js", file("text/javascript; charset=utf-8", include_str!("page/page.js")))
        .route("/favicon.svg", file("image/svg+xml", include_str!("../../assets/sign.svg")))
        .route("/v1/watch", get(live))
        .route("/v1/watch/{id}", get(detail))
        .route("/v1/usage", get(used))
}

/// Server-sent events: first what there is, then what happens.
async fn live(State(operator): Asked) -> Response {
    let watcher = operator.gallery().watch();
    let redaction = operator.redaction();
    let latest = operator.gallery().latest().into_iter().rev();
    let first = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "content": operator.shows_content(),
        "flows": latest.map(|flow| Row::new(flow, &*operator, &redaction)).collect::<Vec<_>>(),
        "missed": 0,
    });
    let viewer = Viewer { watcher, operator };
    let next: Next = Box::pin(async move { Some((event(&first), viewer)) });
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::new(Live(next))).into_response()
}

struct Viewer {
    watcher: Watcher,
    operator: Arc<dyn Operator>,
}

type Next = BoxFuture<'static, Option<(Bytes, Viewer)>>;

impl Viewer {
    /// The next piece; `None`: the proxy stops. A viewer that reads slowly asks seldom, and gets what is newest then.
    async fn next(mut self) -> Option<(Bytes, Self)> {
        let stopping = self.operator.stopping();
        let piece = stopping.run_until_cancelled(self.piece()).await?;
        Some((piece, self))
    }

    async fn piece(&mut self) -> Bytes {
        let mut news = News::default();
        if timeout(SILENCE, self.watcher.wait(&mut news)).await.is_err() {
            return Bytes::from_static(b":\n\n");
        }
        sleep(GATHER).await;
        self.watcher.take(&mut news, AT_ONCE);
        let redaction = self.operator.redaction();
        let flows: Vec<_> = news.flows.iter().map(|flow| Row::new(Glance::clone(flow), &*self.operator, &redaction)).collect();
        event(&json!({ "flows": flows, "missed": news.missed }))
    }
}

/// One flow of a list.
#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    glance: Glance,
    /// What plugins did about it, those left out that only looked at it.
    verdicts: Vec<String>,
}

impl Row {
    fn new(flow: Glance, operator: &dyn Operator, redaction: &Redaction) -> Self {
        let steps = operator.explain(flow.flow).map(|explanation| explanation.steps).unwrap_or_default();
        let deed = |step: Step| {
            let said = step.said.split_once(':').map_or(step.said.as_str(), |(said, _)| said);
            match step.changes.is_empty() {
                true => format!("{}: {said}", step.plugin),
                false => format!("{}: changed {}", step.plugin, step.changes.join(", ")),
            }
        };
        Self { glance: glance(flow, redaction), verdicts: steps.into_iter().filter(Step::is_deed).map(deed).collect() }
    }
}

fn event(value: &serde_json::Value) -> Bytes {
    format!("data: {value}\n\n").into()
}

/// Pieces, each made when the one before has been taken.
struct Live(Next);

impl hyper::body::Body for Live {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some((piece, viewer)) = ready!(self.0.as_mut().poll(cx)) else { return Poll::Ready(None) };
        self.0 = Box::pin(viewer.next());
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

async fn detail(State(operator): Asked, Path(id): Path<u64>) -> Response {
    let Some(flow) = operator.gallery().flow(id) else {
        return refused(StatusCode::NOT_FOUND, format!("flow {id} has not ended, or is not kept any more"));
    };
    Json(Detail::new(&flow, operator.explain(id), operator.shows_content(), &operator.redaction())).into_response()
}

#[derive(Deserialize)]
struct Question {
    /// Dimensions with commas between them, for each of which there is a table; all of them where nobody says.
    by: Option<String>,
    since: Option<String>,
    until: Option<String>,
}

async fn used(State(operator): Asked, Query(question): Query<Question>) -> Response {
    let query = match question.query() {
        Ok(query) => query,
        Err(error) => return refused(StatusCode::BAD_REQUEST, error),
    };
    match operator.usage(query.clone()).await {
        Ok(used) => {
            let row = |(key, counts): (&str, usage::Counts)| json!({ "key": key, "counts": counts });
            let table = |(place, by): (usize, &Dimension)| {
                let rows: Vec<_> = used.along(place).into_iter().map(row).collect();
                json!({ "by": by.as_str(), "rows": rows })
            };
            let tables: Vec<_> = query.by.iter().enumerate().map(table).collect();
            Json(json!({ "tables": tables, "counted": used.counted, "skipped": used.skipped })).into_response()
        }
        Err(error) => refused(StatusCode::CONFLICT, format!("{error:#}")),
    }
}

impl Question {
    fn query(&self) -> Result<usage::Query, String> {
        const DAY: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");
        let day = |text: &Option<String>| {
            let given = text.as_deref().filter(|text| !text.is_empty());
            given.map(|text| Date::parse(text, DAY).map_err(|_| format!("{text:?} is no day as in 2025-01-31"))).transpose()
        };
        let by = match &self.by {
            Some(by) => by.split(',').map(|name| name.parse().map_err(str::to_owned)).collect::<Result<_, _>>()?,
            None => Dimension::ALL.to_vec(),
        };
        Ok(usage::Query { since: day(&self.since)?, until: day(&self.until)?, by })
    }
}
