//! Medians over rounds, and ratios taken within each round.

use std::fmt;

use serde_json::{Value, json};

use super::load::Done;

/// One turn of one proxy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// CPU time of the proxy per request, in µs.
    cpu_us: f64,
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
}

impl Sample {
    pub(crate) fn new(cpu_us: f64, done: &Done) -> Self {
        Self { cpu_us, per_second: done.requests as f64 / done.seconds, p50_us: done.p50_us, p99_us: done.p99_us }
    }
}

/// All samples; the first proxy is what the others are compared with.
#[derive(Debug)]
pub(crate) struct Report {
    title: String,
    rows: Vec<(&'static str, Vec<Sample>)>,
}

impl Report {
    pub(crate) fn new(title: String, names: impl Iterator<Item = &'static str>) -> Self {
        Self { title, rows: names.map(|name| (name, Vec::new())).collect() }
    }

    /// One sample of the proxy with that number. Every proxy gets one in each round.
    pub(crate) fn add(&mut self, proxy: usize, sample: Sample) {
        self.rows[proxy].1.push(sample);
    }

    /// CPU time of that proxy over that of the first, round by round.
    fn ratios(&self, samples: &[Sample]) -> Vec<f64> {
        let base = &self.rows[0].1;
        samples.iter().zip(base).map(|(sample, base)| sample.cpu_us / base.cpu_us).collect()
    }

    /// Samples and medians.
    pub(crate) fn json(&self) -> Value {
        let rows: Vec<Value> = self.rows.iter().map(|(name, samples)| self.row(name, samples)).collect();
        json!({ "what": self.title, "proxies": rows })
    }

    fn row(&self, name: &str, samples: &[Sample]) -> Value {
        let column = |value: fn(&Sample) -> f64| samples.iter().map(value).collect::<Vec<_>>();
        let (cpu, ratios) = (column(|sample| sample.cpu_us), self.ratios(samples));
        json!({
            "name": name,
            "cpu_us": { "median": median(&cpu), "samples": cpu },
            "ratio": { "median": median(&ratios), "samples": ratios },
            "requests_per_second": { "median": median(&column(|sample| sample.per_second)) },
            "p50_us": { "median": median(&column(|sample| sample.p50_us)) },
            "p99_us": { "median": median(&column(|sample| sample.p99_us)) },
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounds = self.rows[0].1.len();
        writeln!(f, "{}, medians of {rounds} rounds", self.title)?;
        writeln!(f, "{:<22}{:>13}{:>28}{:>9}{:>9}{:>9}", "proxy", "CPU µs/req", "÷ tunnel [least–most]", "req/s", "p50 µs", "p99 µs")?;
        for (name, samples) in &self.rows {
            let column = |value: fn(&Sample) -> f64| median(&samples.iter().map(value).collect::<Vec<_>>());
            let ratios = self.ratios(samples);
            let (least, most) = spread(&ratios);
            let ratio = format!("{:.2} [{least:.2}–{most:.2}]", median(&ratios));
            let (cpu, rate) = (column(|sample| sample.cpu_us), column(|sample| sample.per_second));
            let (p50, p99) = (column(|sample| sample.p50_us), column(|sample| sample.p99_us));
            writeln!(f, "{name:<22}{cpu:>13.1}{ratio:>28}{rate:>9.0}{p50:>9.0}{p99:>9.0}")?;
        }
        Ok(())
    }
}

/// The least and the most of them.
pub(crate) fn spread(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::MAX, f64::MIN), |(least, most), value| (least.min(*value), most.max(*value)))
}

/// 0 where there is nothing.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (Some(low), Some(high)) = (sorted.get(sorted.len().saturating_sub(1) / 2), sorted.get(sorted.len() / 2)) else { return 0.0 };
    f64::midpoint(*low, *high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!([median(&[]), median(&[3.0]), median(&[9.0, 1.0]), median(&[5.0, 1.0, 2.0])], [0.0, 3.0, 5.0, 2.0]);
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let mut report = Report::new("x".to_owned(), ["tunnel", "other"].into_iter());
        for (proxy, cpu_us) in [(0, 10.0), (1, 20.0), (0, 100.0), (1, 300.0)] {
            report.add(proxy, Sample { cpu_us, per_second: 1.0, p50_us: 1.0, p99_us: 1.0 });
        }

        assert_eq!(report.ratios(&report.rows[1].1), [2.0, 3.0]);
    }
}
