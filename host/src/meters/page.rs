//! Metrics as Prometheus reads them: text, family by family.
//!
//! Place: filled by whoever counts, written down once per scrape. Families are sorted, and each stands there once whoever adds to it.
//! Format: Prometheus' text format 0.0.4 (`text/plain; version=0.0.4`).

use std::{collections::BTreeMap, fmt};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, prometheus_text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge, histogram::Histogram},
    registry::Registry,
};

/// Name and value of each label.
pub type Labels = Vec<(String, String)>;

/// What is counted how.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// As it stands.
    Gauge,
    /// A distribution.
    Histogram,
}

impl Kind {
    fn metric_type(self) -> MetricType {
        match self {
            Self::Counter => MetricType::Counter,
            Self::Gauge => MetricType::Gauge,
            Self::Histogram => MetricType::Histogram,
        }
    }
}

/// One number, or one distribution.
#[derive(Clone, Debug)]
pub enum Value {
    /// Of a counter.
    Count(u64),
    /// Of a counter that adds up seconds.
    Sum(f64),
    /// Of a gauge.
    Gauge(f64),
    /// Of a histogram.
    Histogram(Histogram),
}

/// What is to be written, sorted.
#[derive(Clone, Debug, Default)]
pub struct Page(BTreeMap<(String, Kind), Family>);

#[derive(Clone, Debug)]
struct Family {
    help: &'static str,
    series: Vec<(Labels, Value)>,
}

impl Page {
    /// A counter, its name without the ending `_total`.
    pub fn count(&mut self, name: &str, help: &'static str, labels: &[(&str, &str)], count: u64) {
        self.add(name, Kind::Counter, help, owned(labels), Value::Count(count));
    }

    /// A gauge.
    pub fn gauge(&mut self, name: &str, help: &'static str, labels: &[(&str, &str)], value: f64) {
        self.add(name, Kind::Gauge, help, owned(labels), Value::Gauge(value));
    }

    /// A histogram.
    pub fn histogram(&mut self, name: &str, help: &'static str, labels: &[(&str, &str)], histogram: &Histogram) {
        self.add(name, Kind::Histogram, help, owned(labels), Value::Histogram(histogram.clone()));
    }

    /// One series more; `help` without a full stop.
    pub fn add(&mut self, name: &str, kind: Kind, help: &'static str, labels: Labels, value: Value) {
        let family = self.0.entry((name.to_owned(), kind)).or_insert_with(|| Family { help, series: Vec::new() });
        family.series.push((labels, value));
    }
}

fn owned(labels: &[(&str, &str)]) -> Labels {
    labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
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
                match labels.is_empty() {
                    true => {
                        // The encoder is used up by a metric without labels, of which there is one in a family.
                        value.encode(family)?;
                        break;
                    }
                    false => value.encode(family.encode_family(labels)?)?,
                }
            }
        }
        Ok(())
    }
}

impl EncodeMetric for Value {
    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => ConstCounter::new(*count).encode(encoder),
            Self::Sum(sum) => ConstCounter::new(*sum).encode(encoder),
            Self::Gauge(value) => ConstGauge::new(*value).encode(encoder),
            Self::Histogram(histogram) => histogram.encode(encoder),
        }
    }

    fn metric_type(&self) -> MetricType {
        match self {
            Self::Count(_) | Self::Sum(_) => Kind::Counter,
            Self::Gauge(_) => Kind::Gauge,
            Self::Histogram(_) => Kind::Histogram,
        }
        .metric_type()
    }
}
