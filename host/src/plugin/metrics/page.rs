//! Metrics as Prometheus reads them: text, family by family.
//!
//! Place: filled by `mod` and by `platform`. Format: Prometheus' text format 0.0.4 (`text/plain; version=0.0.4`).

use std::{collections::BTreeMap, fmt};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, prometheus_text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use super::{Kind, Labels, Value};

/// What is to be written, sorted.
#[derive(Clone, Debug, Default)]
pub(in crate::plugin) struct Page(BTreeMap<(String, Kind), Family>);

#[derive(Clone, Debug)]
struct Family {
    help: &'static str,
    series: Vec<(Labels, Value)>,
}

impl Page {
    /// A counter of the proxy's own, without its ending `_total`.
    pub(in crate::plugin) fn count(&mut self, name: &str, help: &'static str, plugin: &str, count: u64) {
        self.add(name, Kind::Counter, help, plugin, Labels::new(), Value::Count(count));
    }

    /// A gauge of the proxy's own.
    pub(in crate::plugin) fn gauge(&mut self, name: &str, help: &'static str, plugin: &str, labels: Labels, value: f64) {
        self.add(name, Kind::Gauge, help, plugin, labels, Value::Gauge(value));
    }

    /// One series more.
    pub(super) fn add(&mut self, name: &str, kind: Kind, help: &'static str, plugin: &str, mut labels: Labels, value: Value) {
        labels.insert(0, ("plugin".to_owned(), plugin.to_owned()));
        let family = self.0.entry((name.to_owned(), kind)).or_insert_with(|| Family { help, series: Vec::new() });
        family.series.push((labels, value));
    }
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self.clone()));
        prometheus_text::encode(f, &registry)
    }
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for ((name, kind), Family { help, series }) in &self.0 {
            let mut family = encoder.encode_descriptor(name, &format!("{help}."), None, kind.metric_type())?;
            for (labels, value) in series {
                value.encode(family.encode_family(labels)?)?;
            }
        }
        Ok(())
    }
}

impl EncodeMetric for Value {
    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => ConstCounter::new(*count).encode(encoder),
            Self::Gauge(value) => ConstGauge::new(*value).encode(encoder),
            Self::Histogram(histogram) => histogram.encode(encoder),
        }
    }

    fn metric_type(&self) -> MetricType {
        match self {
            Self::Count(_) => Kind::Counter,
            Self::Gauge(_) => Kind::Gauge,
            Self::Histogram(_) => Kind::Histogram,
        }
        .metric_type()
    }
}
