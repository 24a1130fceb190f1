//! What is made of many samples of one thing.

use std::time::Duration;

use serde_json::{Value, json};

/// 0 where there is nothing.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (Some(low), Some(high)) = (sorted.get(sorted.len().saturating_sub(1) / 2), sorted.get(sorted.len() / 2)) else { return 0.0 };
    f64::midpoint(*low, *high)
}

/// What that share of the times stays below, in µs; 0 where there is nothing. They are sorted.
pub(crate) fn quantile_us(sorted: &[Duration], share: f64) -> f64 {
    sorted.get((sorted.len() as f64 * share) as usize).map_or(0.0, |time| time.as_secs_f64() * 1e6)
}

/// For people: the median, the least and the most of them.
pub(crate) fn with_spread(values: &[f64], digits: usize) -> String {
    let (least, most) = values.iter().fold((f64::MAX, f64::MIN), |(least, most), value| (least.min(*value), most.max(*value)));
    format!("{:.digits$} [{least:.digits$}–{most:.digits$}]", median(values))
}

/// For programs: the median, and all of them.
pub(crate) fn column(values: Vec<f64>) -> Value {
    json!({ "median": median(&values), "samples": values })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!([median(&[]), median(&[3.0]), median(&[9.0, 1.0]), median(&[5.0, 1.0, 2.0])], [0.0, 3.0, 5.0, 2.0]);
        assert_eq!(with_spread(&[2.0, 1.0, 4.0], 1), "2.0 [1.0–4.0]");
    }

    #[test]
    fn quantiles_are_of_what_there_is() {
        let times: Vec<Duration> = (0..100).map(Duration::from_micros).collect();

        assert_eq!([quantile_us(&times, 0.5), quantile_us(&times, 0.99), quantile_us(&[], 0.5)].map(f64::round), [50.0, 99.0, 0.0]);
    }
}
