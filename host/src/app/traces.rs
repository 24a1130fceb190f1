//! Traces: from what is configured to what sends them.
//!
//! Place: part of `app`. The collector is reached over connections that are nobody else's: neither do clients wait for it, nor it for them.

use std::{collections::HashMap, fs, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use http::{HeaderName, HeaderValue};

use super::origins::Origins;
use crate::{
    config::{Config, limits},
    origin::Pool,
    plugin::Platform,
    spans::{self, Spans},
};

const LIMITS: spans::Limits = spans::Limits {
    queue: limits::TRACE_QUEUE,
    batch: limits::TRACE_BATCH,
    delay: limits::TRACE_DELAY,
    deadline: limits::TRACE_DELIVERY,
    answer_bytes: limits::TRACE_ANSWER_BYTES,
    value_bytes: limits::TRACE_VALUE_BYTES,
};

/// What sends traces, and how it reaches the collector.
pub(super) struct Traces {
    pub(super) spans: Arc<Spans>,
    origins: Origins,
}

impl Traces {
    /// `None`: none are wanted. `own`: where this proxy listens, which is no collector.
    pub(super) fn start(config: &Config, own: Vec<SocketAddr>, platform: &Arc<Platform>) -> anyhow::Result<Option<Self>> {
        let Some(endpoint) = config.traces.endpoint.clone() else { return Ok(None) };
        let origins = Origins::for_itself(config, own)?;
        let platform = platform.clone();
        let settings = spans::Settings {
            endpoint,
            headers: headers(config)?,
            ratio: config.traces.ratio,
            users: config.traces.users,
            redaction: Box::new(move || platform.redaction()),
            limits: LIMITS,
        };
        Ok(Some(Self { spans: Spans::start(settings, origins.outbound())?, origins }))
    }

    /// Connections to the collector.
    pub(super) fn pool(&self) -> &Arc<Pool> {
        &self.origins.pool
    }

    /// Sends what still waits, within the grace period.
    pub(super) async fn stop(&self, grace: Duration) {
        self.spans.close(grace.min(limits::TRACE_FAREWELL)).await;
        self.origins.stop().await;
    }
}

/// Fields to send along.
///
/// # Errors
/// Names the file, and the line that is none.
pub(super) fn headers(config: &Config) -> anyhow::Result<HashMap<String, String>> {
    let Some(file) = &config.traces.headers_file else { return Ok(HashMap::new()) };
    read(file).with_context(|| format!("reading traces.headers-file {}", file.display()))
}

/// What is wrong is told by its line alone: it may be a secret.
fn read(file: &Path) -> anyhow::Result<HashMap<String, String>> {
    let text = fs::read_to_string(file)?;
    let lines =
        text.lines().enumerate().map(|(at, line)| (at + 1, line.trim())).filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|(at, line)| {
            let field = line.split_once(':').and_then(|(name, value)| {
                let (name, value) = (name.trim(), value.trim());
                (name.parse::<HeaderName>().is_ok() && value.parse::<HeaderValue>().is_ok()).then(|| (name.to_owned(), value.to_owned()))
            });
            field.with_context(|| format!("line {at} is no field, as in Authorization: Bearer TOKEN"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_and_what_is_none_is_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("headers");
        let written = |text: &str| {
            fs::write(&file, text).unwrap();
            read(&file)
        };

        let good = written("# for the collector\n\nAuthorization: Bearer not-a-real-token\nx-scope : a:b \n").unwrap();
        assert_eq!((good.len(), good["Authorization"].as_str(), good["x-scope"].as_str()), (2, "Bearer not-a-real-token", "a:b"));
        for bad in ["a: b\nnot-a-real-token", "not a real token: x", "a: b\n:c", "a: \u{1}"] {
            let error = format!("{:#}", written(bad).unwrap_err());
            assert!(error.contains("is no field") && !error.contains("token:") && !error.contains("not-a-real"), "{error}");
        }
    }
}
