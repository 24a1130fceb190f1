//! What the local interface answers, as HTTP with JSON.
//!
//! Place: served on `socket` and on `listener`. Paths, but for those that other programs expect, begin with the version of this interface.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};

use super::{Done, NotDone, Operator, watch};
use crate::plugin::{Explanation, LastFailure, PluginState, PluginStatus};

/// Media type of Prometheus' text format.
const METRICS: &str = "text/plain; version=0.0.4";

/// Flows that are listed where nobody says how many.
const LATEST: usize = 20;

/// One plugin of a list.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Listed {
    /// Its own and its file's.
    pub name: String,
    /// `serving`, `suspended` with the time left, or `not in service`.
    pub state: String,
    /// As it says; of the build in service, as all that follows.
    pub version: Option<String>,
    /// SHA-256 of the component, hexadecimal.
    pub hash: Option<String>,
    /// Hooks that are called.
    pub hooks: Vec<String>,
    /// Capabilities it has.
    pub capabilities: Vec<String>,
    /// The file in the plugins folder; `null`: there is none, it is built in.
    pub file: Option<std::path::PathBuf>,
    /// Why what the file holds is not in service.
    pub refused: Option<String>,
    /// A newer build is being compiled or configured.
    pub loading: bool,
    /// SHA-256 of the build that a rollback would go back to.
    pub previous: Option<String>,
    /// The same of the one that was rolled back from, which the file holds still.
    pub rolled_back_from: Option<String>,
    /// Builds out of service that flows in progress still hold.
    pub draining: usize,
    /// Calls of hooks that were begun.
    pub calls: u64,
    /// Those that failed.
    pub failures: u64,
    /// Calls that were not made because it was suspended.
    pub skipped: u64,
    /// Flows that found no place among the observed.
    pub unobserved: u64,
    /// Flows whose observation failed.
    pub lost: u64,
    /// Half of its calls took no longer, in microseconds.
    pub p50_us: u64,
    /// 99 of 100 of its calls took no longer, in microseconds.
    pub p99_us: u64,
    /// The latest call that failed.
    pub last_failure: Option<LastFailure>,
    /// Octets of its instances that are not at work now.
    pub memory_bytes: usize,
}

impl Listed {
    fn new(status: PluginStatus) -> Self {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let counts = status.counts.unwrap_or_default();
        let build = status.build;
        Self {
            name: status.name,
            state: match (status.state, counts.suspended) {
                (PluginState::NotInService, _) => "not in service".into(),
                (PluginState::Suspended, Some(left)) => format!("suspended for {} s", left.as_secs() + 1),
                (PluginState::Serving | PluginState::Suspended, _) => "serving".into(),
            },
            version: build.as_ref().map(|build| build.version.clone()),
            hash: build.as_ref().map(|build| build.hash.clone()),
            hooks: build.iter().flat_map(|build| &build.hooks).map(|hook| (*hook).to_owned()).collect(),
            capabilities: build.map(|build| build.capabilities).unwrap_or_default(),
            file: status.file,
            refused: status.refused,
            loading: status.loading,
            previous: status.previous,
            rolled_back_from: status.rolled_back_from,
            draining: status.draining,
            calls: counts.calls,
            failures: counts.failures,
            skipped: counts.skipped,
            unobserved: counts.unobserved,
            lost: counts.lost,
            p50_us: micros(counts.p50),
            p99_us: micros(counts.p99),
            last_failure: status.last_failure,
            memory_bytes: counts.memory_bytes,
        }
    }
}

pub(super) fn router(operator: Arc<dyn Operator>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/v1/plugins", get(plugins))
        .route("/v1/plugins/reload", post(reload_plugins))
        .route("/v1/plugins/{name}/rollback", post(roll_back))
        .route("/v1/flows", get(flows))
        .route("/v1/flows/{id}", get(flow))
        .route("/v1/reload", post(reload))
        .merge(watch::router())
        .with_state(operator)
}

type Asked = State<Arc<dyn Operator>>;

async fn ready(State(operator): Asked) -> Response {
    match operator.is_ready() {
        true => "ready\n".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response(),
    }
}

async fn metrics(State(operator): Asked) -> Response {
    ([(header::CONTENT_TYPE, METRICS)], operator.metrics()).into_response()
}

async fn plugins(State(operator): Asked) -> Json<Vec<Listed>> {
    Json(operator.plugins().into_iter().map(Listed::new).collect())
}

async fn flow(State(operator): Asked, Path(id): Path<u64>) -> Response {
    match operator.explain(id) {
        Some(explanation) => Json(explanation).into_response(),
        None => {
            let error = format!("nothing is known of flow {id}: no plugin wanted it, it is too long ago, or it never was");
            refused(StatusCode::NOT_FOUND, error)
        }
    }
}

/// How many of the latest flows are asked for.
#[derive(Deserialize)]
struct Latest {
    most: Option<usize>,
}

async fn flows(State(operator): Asked, Query(Latest { most }): Query<Latest>) -> Json<Vec<Explanation>> {
    Json(operator.latest_flows(most.unwrap_or(LATEST)))
}

async fn reload_plugins(State(operator): Asked) -> Response {
    done(operator.reload_plugins().await)
}

async fn roll_back(State(operator): Asked, Path(name): Path<String>) -> Response {
    done(operator.roll_back(&name).await.map(|sentence| vec![sentence]))
}

async fn reload(State(operator): Asked) -> Response {
    done(operator.reload().await)
}

fn done(outcome: anyhow::Result<Vec<String>>) -> Response {
    match outcome {
        Ok(done) => Json(Done { done }).into_response(),
        Err(error) => refused(StatusCode::CONFLICT, format!("{error:#}")),
    }
}

pub(super) fn refused(status: StatusCode, error: String) -> Response {
    (status, Json(NotDone { error })).into_response()
}
