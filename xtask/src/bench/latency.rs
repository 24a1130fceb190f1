//! Times of one kind of thing, by contender and round, and how much longer they are than straight.

use std::{fmt, time::Duration};

use serde_json::{Value, json};

use super::stats::{column, median, quantile_us, with_spread};

/// Times of one turn.
#[derive(Clone, Copy, Debug)]
struct Turn {
    p50_us: f64,
    p99_us: f64,
    count: usize,
}

/// What was timed, of every contender; the first one goes straight.
#[derive(Debug)]
pub(crate) struct Latencies {
    what: String,
    rows: Vec<(&'static str, Vec<Turn>)>,
}

impl Latencies {
    pub(crate) fn new(what: String, names: impl Iterator<Item = &'static str>) -> Self {
        Self { what, rows: names.map(|name| (name, Vec::new())).collect() }
    }

    /// One turn of that contender. Every contender has one in each round.
    pub(crate) fn add(&mut self, contender: usize, mut times: Vec<Duration>) {
        times.sort_unstable();
        let (p50_us, p99_us) = (quantile_us(&times, 0.5), quantile_us(&times, 0.99));
        self.rows[contender].1.push(Turn { p50_us, p99_us, count: times.len() });
    }

    /// By how much the 99th in a hundred is later than straight, round by round, in µs.
    fn later(&self, turns: &[Turn]) -> Vec<f64> {
        turns.iter().zip(&self.rows[0].1).map(|(turn, straight)| turn.p99_us - straight.p99_us).collect()
    }

    pub(crate) fn json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|(name, turns)| {
                let all = |value: fn(&Turn) -> f64| column(turns.iter().map(value).collect());
                json!({
                    "name": name,
                    "count": turns.iter().map(|turn| turn.count).sum::<usize>(),
                    "p50_us": all(|turn| turn.p50_us),
                    "p99_us": all(|turn| turn.p99_us),
                    "p99_later_us": column(self.later(turns)),
                })
            })
            .collect();
        json!({ "what": self.what, "contenders": rows })
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<40}{:>9}{:>9}{:>9}{:>32}", self.what, "count", "p50 µs", "p99 µs", "p99 − direct [least–most] µs")?;
        for (name, turns) in &self.rows {
            let of = |value: fn(&Turn) -> f64| median(&turns.iter().map(value).collect::<Vec<_>>());
            let (count, later) = (turns.iter().map(|turn| turn.count).sum::<usize>(), with_spread(&self.later(turns), 0));
            let (p50, p99) = (of(|turn| turn.p50_us), of(|turn| turn.p99_us));
            writeln!(f, "  {name:<38}{count:>9}{p50:>9.0}{p99:>9.0}{later:>32}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_later_is_taken_within_a_round() {
        let mut latencies = Latencies::new("x".to_owned(), ["direct", "other"].into_iter());
        for (contender, ms) in [(0, 1), (1, 3), (0, 10), (1, 11)] {
            latencies.add(contender, vec![Duration::from_millis(ms); 100]);
        }

        assert_eq!(latencies.later(&latencies.rows[1].1), [2000.0, 1000.0]);
        assert_eq!(latencies.json()["contenders"][1]["p99_later_us"]["median"], 1500.0);
    }
}
