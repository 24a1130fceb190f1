//! What requests cost, by proxy: medians over rounds, and ratios taken within each round.

use std::fmt;

use serde_json::{Value, json};

use super::{
    load::Done,
    stats::{column, median, with_spread},
};

/// One turn of one proxy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// CPU time of the proxy per request, in µs.
    cpu_us: f64,
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
    /// Share of the times to an answer that nobody computes for.
    stalled: f64,
}

impl Sample {
    pub(crate) fn new(cpu_us: f64, done: &Done) -> Self {
        let requests = done.requests as f64;
        let (per_second, stalled) = (requests / done.seconds, done.stalled as f64 / requests);
        Self { cpu_us, per_second, p50_us: done.p50_us, p99_us: done.p99_us, stalled }
    }
}

/// All samples; the first proxy is what the others are compared with.
#[derive(Debug)]
pub(crate) struct Report {
    title: String,
    rows: Vec<(String, Vec<Sample>)>,
}

impl Report {
    pub(crate) fn new(title: String, names: impl Iterator<Item = String>) -> Self {
        Self { title, rows: names.map(|name| (name, Vec::new())).collect() }
    }

    /// One sample of the proxy with that number. Every proxy gets one in each round.
    pub(crate) fn add(&mut self, proxy: usize, sample: Sample) {
        self.rows[proxy].1.push(sample);
    }

    /// What that proxy has over what the first has, round by round.
    fn ratios(&self, samples: &[Sample], value: fn(&Sample) -> f64) -> Vec<f64> {
        samples.iter().zip(&self.rows[0].1).map(|(sample, base)| value(sample) / value(base)).collect()
    }

    /// Samples and medians.
    pub(crate) fn json(&self) -> Value {
        let rows: Vec<Value> = self.rows.iter().map(|(name, samples)| self.row(name, samples)).collect();
        json!({ "what": self.title, "proxies": rows })
    }

    fn row(&self, name: &str, samples: &[Sample]) -> Value {
        let all = |value: fn(&Sample) -> f64| column(samples.iter().map(value).collect());
        let ratio = |value: fn(&Sample) -> f64| column(self.ratios(samples, value));
        json!({
            "name": name,
            "cpu_us": all(|sample| sample.cpu_us),
            "ratio": ratio(|sample| sample.cpu_us),
            "requests_per_second": all(|sample| sample.per_second),
            "p50_us": all(|sample| sample.p50_us),
            "p50_ratio": ratio(|sample| sample.p50_us),
            "p99_us": all(|sample| sample.p99_us),
            "p99_ratio": ratio(|sample| sample.p99_us),
            "stalled_share": all(|sample| sample.stalled),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounds = self.rows[0].1.len();
        writeln!(f, "{}, medians of {rounds} rounds, ÷ {} [least–most]", self.title, self.rows[0].0)?;
        writeln!(
            f,
            "{:<22}{:>11}{:>21}{:>9}{:>10}{:>22}{:>10}{:>25}{:>10}",
            "proxy", "CPU µs", "÷", "req/s", "p50 µs", "÷", "p99 µs", "÷", "> 35 ms"
        )?;
        for (name, samples) in &self.rows {
            let column = |value: fn(&Sample) -> f64| median(&samples.iter().map(value).collect::<Vec<_>>());
            let ratio = |value: fn(&Sample) -> f64| with_spread(&self.ratios(samples, value), 2);
            let (cpu, cpus) = (column(|sample| sample.cpu_us), ratio(|sample| sample.cpu_us));
            let (p50, p50s) = (column(|sample| sample.p50_us), ratio(|sample| sample.p50_us));
            let (p99, p99s) = (column(|sample| sample.p99_us), ratio(|sample| sample.p99_us));
            let (rate, stalled) = (column(|sample| sample.per_second), 100.0 * column(|sample| sample.stalled));
            writeln!(f, "{name:<22}{cpu:>11.1}{cpus:>21}{rate:>9.0}{p50:>10.0}{p50s:>22}{p99:>10.0}{p99s:>25}{stalled:>9.3}%")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_a_round() {
        let mut report = Report::new("x".to_owned(), ["tunnel", "other"].map(str::to_owned).into_iter());
        for (proxy, cpu_us) in [(0, 10.0), (1, 20.0), (0, 100.0), (1, 300.0)] {
            report.add(proxy, Sample { cpu_us, per_second: 1.0, p50_us: 1.0, p99_us: 1.0, stalled: 0.0 });
        }

        assert_eq!(report.ratios(&report.rows[1].1, |sample| sample.cpu_us), [2.0, 3.0]);
    }
}
