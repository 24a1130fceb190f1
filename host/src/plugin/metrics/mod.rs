//! Counters, gauges and histograms of plugins, by plugin name, so that a swap changes nothing about them.
//!
//! Place: one per platform; `capability/metrics` reports to it, and a page of `meters` takes it. What a plugin may report is bounded in number and in
//! length. What is beyond a bound, or cannot be a Prometheus metric, is left out, counted, and said once per plugin and reason.
//! Source: the data model of Prometheus.

mod names;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
};

use prometheus_client::metrics::histogram::Histogram;

use self::names::Names;
use crate::meters::{Kind, Labels, Page, Value};

/// Upper bounds of every histogram's buckets: 1, 2.5 and 5 of each power of ten from a thousandth up, which has room for
/// seconds as well as for octets.
const BUCKETS: [f64; 27] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1e3, 2.5e3, 5e3, 1e4,
    2.5e4, 5e4, 1e5, 2.5e5, 5e5,
];

/// Bounds of what one plugin may report.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MetricLimits {
    /// Combinations of a name and labels.
    pub series: usize,
    /// Labels of one series.
    pub labels: usize,
    /// Octets of a metric's or a label's name.
    pub name_bytes: usize,
    /// Octets of a label's value.
    pub value_bytes: usize,
}

impl Default for MetricLimits {
    fn default() -> Self {
        Self { series: 1000, labels: 8, name_bytes: 128, value_bytes: 256 }
    }
}

/// Why something is left out.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
enum Unfit {
    #[error("the name is none that Prometheus takes, or is longer than the limit")]
    Name,
    #[error("names that begin with flowgate_ or process_ are the proxy's")]
    Reserved,
    #[error("the name is in use for a metric of another kind")]
    Taken,
    #[error("there are more labels than the limit, one twice, or one whose name Prometheus does not take")]
    Labels,
    #[error("the value of a label is longer than the limit")]
    LabelValue,
    #[error("there are as many series as the plugin may have")]
    Series,
    #[error("the value is not a number")]
    NotANumber,
}

/// See the module.
pub(super) struct Metrics {
    limits: MetricLimits,
    names: Arc<Mutex<Names>>,
    plugins: Mutex<BTreeMap<String, Arc<Meters>>>,
}

impl Metrics {
    pub(super) fn new(limits: MetricLimits) -> Self {
        Self { limits, names: Arc::default(), plugins: Mutex::default() }
    }

    /// Where the plugin of that name reports to.
    pub(super) fn of(&self, plugin: &str) -> Arc<Meters> {
        let meters = || Meters {
            plugin: plugin.to_owned(),
            limits: self.limits,
            names: self.names.clone(),
            series: Mutex::default(),
            left_out: AtomicU64::new(0),
            said: AtomicU8::new(0),
        };
        lock(&self.plugins).entry(plugin.to_owned()).or_insert_with(|| Arc::new(meters())).clone()
    }

    /// Writes down what that plugin has reported, if it ever did.
    pub(super) fn write(&self, plugin: &str, page: &mut Page) {
        let Some(meters) = lock(&self.plugins).get(plugin).cloned() else { return };
        page.count(
            "flowgate_plugin_metrics_left_out",
            "Reports of the plugin that were beyond its bounds, or no metrics",
            &[("plugin", plugin)],
            meters.left_out.load(Ordering::Relaxed),
        );
        for (Series { name, kind, labels }, value) in &*lock(&meters.series) {
            let mut all = vec![("plugin".to_owned(), plugin.to_owned())];
            all.extend_from_slice(labels);
            page.add(name, *kind, "Reported by plugins", all, value.clone());
        }
    }
}

/// One plugin's.
pub(super) struct Meters {
    plugin: String,
    limits: MetricLimits,
    names: Arc<Mutex<Names>>,
    series: Mutex<BTreeMap<Series, Value>>,
    left_out: AtomicU64,
    /// Reasons that were given, a bit for each.
    said: AtomicU8,
}

#[derive(Eq, Ord, PartialEq, PartialOrd)]
struct Series {
    name: String,
    kind: Kind,
    labels: Labels,
}

impl Meters {
    /// Adds to a counter.
    pub(super) fn count(&self, name: String, labels: Labels, by: u32) {
        self.report(Kind::Counter, name, labels, |value| {
            if let Value::Count(count) = value {
                *count = count.saturating_add(by.into());
            }
        });
    }

    /// Sets a gauge.
    pub(super) fn gauge(&self, name: String, labels: Labels, now: f64) {
        self.report(Kind::Gauge, name, labels, |value| *value = Value::Gauge(now));
    }

    /// Adds to a distribution.
    pub(super) fn measure(&self, name: String, labels: Labels, measured: f64) {
        if measured.is_nan() {
            return self.leave_out(&name, Unfit::NotANumber);
        }
        self.report(Kind::Histogram, name, labels, |value| {
            if let Value::Histogram(histogram) = value {
                histogram.observe(measured);
            }
        });
    }

    fn report(&self, kind: Kind, mut name: String, mut labels: Labels, change: impl FnOnce(&mut Value)) {
        if kind == Kind::Counter && name.ends_with("_total") {
            // It is added when counters are written down.
            name.truncate(name.len() - "_total".len());
        }
        // In any order they are the same series.
        labels.sort_unstable();
        if let Err(unfit) = names::check(&name, &labels, &self.limits) {
            return self.leave_out(&name, unfit);
        }
        let mut all = lock(&self.series);
        let series = Series { name, kind, labels };
        if let Some(value) = all.get_mut(&series) {
            return change(value);
        }
        let fits = if all.len() >= self.limits.series { Err(Unfit::Series) } else { lock(&self.names).claim(&series.name, kind) };
        if let Err(unfit) = fits {
            drop(all);
            return self.leave_out(&series.name, unfit);
        }
        change(all.entry(series).or_insert_with(|| match kind {
            Kind::Counter => Value::Count(0),
            Kind::Gauge => Value::Gauge(0.0),
            Kind::Histogram => Value::Histogram(Histogram::new(BUCKETS)),
        }));
    }

    fn leave_out(&self, name: &str, unfit: Unfit) {
        self.left_out.fetch_add(1, Ordering::Relaxed);
        let bit = 1 << unfit as u8;
        if self.said.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            let metric: String = name.chars().filter(|letter| !letter.is_control()).take(self.limits.name_bytes).collect();
            tracing::warn!(plugin = self.plugin, metric, why = %unfit, "a metric of the plugin is left out, as will be all others for that reason");
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn written(metrics: &Metrics) -> String {
        let mut page = Page::default();
        let plugins: Vec<String> = lock(&metrics.plugins).keys().cloned().collect();
        for plugin in &plugins {
            metrics.write(plugin, &mut page);
        }
        page.to_string()
    }

    #[test]
    fn metrics_of_all_plugins_are_written_family_by_family() {
        let metrics = Metrics::new(MetricLimits::default());
        let [one, two] = [metrics.of("one"), metrics.of("two")];
        one.count("seen_total".into(), labels(&[("b", "2"), ("a", "1\"\\\n")]), 2);
        one.count("seen".into(), labels(&[("a", "1\"\\\n"), ("b", "2")]), 1);
        two.count("seen".into(), Vec::new(), 1);
        two.gauge("level".into(), Vec::new(), 1.5);
        metrics.of("two").gauge("level".into(), Vec::new(), -0.5);

        let text = written(&metrics);

        let expected = "# HELP flowgate_plugin_metrics_left_out_total Reports of the plugin that were beyond its bounds, or no metrics.\n\
            # TYPE flowgate_plugin_metrics_left_out_total counter\n\
            flowgate_plugin_metrics_left_out_total{plugin=\"one\"} 0\n\
            flowgate_plugin_metrics_left_out_total{plugin=\"two\"} 0\n\
            # HELP level Reported by plugins.\n# TYPE level gauge\nlevel{plugin=\"two\"} -0.5\n\
            # HELP seen_total Reported by plugins.\n# TYPE seen_total counter\n\
            seen_total{plugin=\"one\",a=\"1\\\"\\\\\\n\",b=\"2\"} 3\n\
            seen_total{plugin=\"two\"} 1\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn distributions_have_buckets() {
        let metrics = Metrics::new(MetricLimits::default());
        for value in [0.002, 3.0, 1e9, f64::NAN] {
            metrics.of("x").measure("took_seconds".into(), Vec::new(), value);
        }

        let text = written(&metrics);

        for line in [
            "took_seconds_bucket{plugin=\"x\",le=\"0.001\"} 0\n",
            "took_seconds_bucket{plugin=\"x\",le=\"0.0025\"} 1\n",
            "took_seconds_bucket{plugin=\"x\",le=\"5\"} 2\n",
            "took_seconds_bucket{plugin=\"x\",le=\"+Inf\"} 3\n",
            "took_seconds_count{plugin=\"x\"} 3\n",
            "flowgate_plugin_metrics_left_out_total{plugin=\"x\"} 1\n",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }

    #[test]
    fn each_bound_is_kept_and_what_is_beyond_it_is_counted() {
        let limits = MetricLimits { series: 2, labels: 1, name_bytes: 8, value_bytes: 3 };
        let metrics = Metrics::new(limits);
        let meters = metrics.of("x");
        let wrong = [
            ("too_long_a", labels(&[])),
            ("", labels(&[])),
            ("1a", labels(&[])),
            ("a-b", labels(&[])),
            ("flowgate_", labels(&[])),
            ("a", labels(&[("a", ""), ("b", "")])),
            ("a", labels(&[("a-b", "")])),
            ("a", labels(&[("__a", "")])),
            ("a", labels(&[("plugin", "y")])),
            ("a", labels(&[("le", "1")])),
            ("a", labels(&[("too_long_a", "1")])),
            ("a", labels(&[("a", "1234")])),
        ];
        for (name, labels) in wrong.clone() {
            meters.count(name.into(), labels, 1);
        }
        meters.count("a".into(), labels(&[("a", "123")]), 1);
        meters.gauge("a_total".into(), Vec::new(), 1.0);
        meters.count("a".into(), labels(&[("a", "2")]), 1);
        meters.count("a".into(), labels(&[("a", "3")]), 1);
        meters.count("a".into(), labels(&[("a", "2")]), 1);

        let text = written(&metrics);

        let lines: Vec<_> = text.lines().filter(|line| line.starts_with('a')).collect();
        assert_eq!(lines, ["a_total{plugin=\"x\",a=\"123\"} 1", "a_total{plugin=\"x\",a=\"2\"} 2"]);
        assert_eq!(meters.left_out.load(Ordering::Relaxed), wrong.len() as u64 + 2);
    }

    #[test]
    fn no_two_families_share_a_line() {
        let metrics = Metrics::new(MetricLimits::default());
        let meters = metrics.of("x");
        meters.measure("a".into(), Vec::new(), 1.0);
        meters.count("b".into(), Vec::new(), 1);

        meters.gauge("a".into(), Vec::new(), 1.0);
        meters.gauge("a_count".into(), Vec::new(), 1.0);
        meters.gauge("b_total".into(), Vec::new(), 1.0);
        metrics.of("y").measure("b".into(), Vec::new(), 1.0);
        metrics.of("y").count("b".into(), Vec::new(), 1);

        assert_eq!(lock(&meters.series).len(), 2);
        assert_eq!(lock(&metrics.of("y").series).len(), 1);
    }
}
