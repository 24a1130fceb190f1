//! Spans that have ended, on their way to the collector.
//!
//! Place: between the tracer of `mod`, which hands over without waiting, and one task that sends them, some at a time.
//! Policy when full: the span is lost, and counted.

use std::{
    pin::pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use opentelemetry::Context;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanExporter as _, SpanProcessor},
};
use tokio::{
    sync::mpsc::{Receiver, Sender, channel},
    time::{sleep, timeout},
};

use super::{Counts, Limits, collector::Collector};
use crate::tasks::Tasks;

/// How often it is said at most that deliveries fail, or go well again.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub(super) struct Queue {
    spans: Sender<SpanData>,
    counts: Arc<Counts>,
}

impl Queue {
    /// The task ends with `tasks`, when what waited then has been sent.
    pub(super) fn start(
        exporter: SpanExporter,
        collector: Collector,
        endpoint: String,
        limits: Limits,
        counts: Arc<Counts>,
        tasks: &Tasks,
    ) -> Self {
        let (sender, spans) = channel(limits.queue);
        let waiting = Waiting { spans, held: Vec::new(), sending: 0, counts: counts.clone() };
        let courier = Courier { exporter, collector, endpoint, limits, waiting, fails: false, said: None };
        tasks.spawn_severable(courier.run(tasks.clone()));
        Self { spans: sender, counts }
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.spans.try_send(span).is_err() {
            self.counts.crowded_out.fetch_add(1, Relaxed);
        }
    }

    // Nobody can wait here; `Spans::close` does.
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Spans that have not been sent. Dropped, they are lost.
struct Waiting {
    spans: Receiver<SpanData>,
    /// Those that go next.
    held: Vec<SpanData>,
    /// How many are on their way.
    sending: usize,
    counts: Arc<Counts>,
}

impl Waiting {
    /// Holds what goes next: as many as go at once, or those that come within the delay after the first. `false`: no more come. Cancelling it
    /// loses none.
    async fn gather(&mut self, limits: &Limits) -> bool {
        if self.held.is_empty() && self.spans.recv_many(&mut self.held, limits.batch).await == 0 {
            return false;
        }
        let mut due = pin!(sleep(limits.delay));
        while self.held.len() < limits.batch {
            let room = limits.batch - self.held.len();
            tokio::select! {
                biased;
                came = self.spans.recv_many(&mut self.held, room) => if came == 0 { break },
                () = &mut due => break,
            }
        }
        true
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.spans.close();
        let mut left = (self.sending + self.held.len()) as u64;
        while self.spans.try_recv().is_ok() {
            left += 1;
        }
        self.counts.undelivered.fetch_add(left, Relaxed);
    }
}

/// Takes spans to the collector.
struct Courier {
    exporter: SpanExporter,
    collector: Collector,
    endpoint: String,
    limits: Limits,
    waiting: Waiting,
    /// The last delivery failed, as far as was said.
    fails: bool,
    said: Option<Instant>,
}

impl Courier {
    async fn run(mut self, tasks: Tasks) {
        let stopping = tasks.stopping();
        while let Some(true) = stopping.run_until_cancelled(self.waiting.gather(&self.limits)).await {
            self.deliver().await;
        }
        // No more come, and those that are there wait for no others.
        self.waiting.spans.close();
        while self.waiting.gather(&self.limits).await || !self.waiting.held.is_empty() {
            self.deliver().await;
        }
    }

    async fn deliver(&mut self) {
        let batch = std::mem::take(&mut self.waiting.held);
        let count = batch.len();
        self.waiting.sending = count;
        let sent = timeout(self.limits.deadline, self.exporter.export(batch)).await;
        self.waiting.sending = 0;
        let trouble = match sent {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(self.collector.trouble().unwrap_or_else(|| error.to_string())),
            Err(_elapsed) => Some(format!("it does not answer within {:?}", self.limits.deadline)),
        };
        let counts = &self.waiting.counts;
        if trouble.is_some() { &counts.undelivered } else { &counts.sent }.fetch_add(count as u64, Relaxed);
        self.say(trouble);
    }

    /// Seldom, however often it happens.
    fn say(&mut self, trouble: Option<String>) {
        let is_news = trouble.is_some() != self.fails;
        if !is_news || self.said.is_some_and(|said| said.elapsed() < SAID_EVERY) {
            return;
        }
        (self.fails, self.said) = (trouble.is_some(), Some(Instant::now()));
        let (collector, lost) = (&self.endpoint, self.waiting.counts.lost());
        match trouble {
            Some(error) => tracing::warn!(collector, lost, error, "traces are not delivered; traffic goes on"),
            None => tracing::info!(collector, lost, "traces are delivered again"),
        }
    }
}
