//! Stands in for the host's metrics: sums of what was counted and measured, the last of what was set.

use std::{cell::RefCell, collections::BTreeMap};

thread_local! {
    static SERIES: RefCell<BTreeMap<String, f64>> = const { RefCell::new(BTreeMap::new()) };
}

/// What was reported since this was last asked, by name and labels as in `seen{a=b,c=d}`.
pub fn take_metrics() -> BTreeMap<String, f64> {
    SERIES.take()
}

pub(crate) fn add(name: &str, labels: &[(&str, &str)], value: f64) {
    SERIES.with_borrow_mut(|series| *series.entry(series_name(name, labels)).or_default() += value);
}

pub(crate) fn set(name: &str, labels: &[(&str, &str)], value: f64) {
    SERIES.with_borrow_mut(|series| series.insert(series_name(name, labels), value));
}

fn series_name(name: &str, labels: &[(&str, &str)]) -> String {
    let labels: Vec<String> = labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
    format!("{name}{{{}}}", labels.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{count, gauge, measure};

    #[test]
    fn a_test_sees_what_was_reported() {
        count("seen", &[("a", "b")], 2);
        count("seen", &[("a", "b")], 1);
        gauge("level", &[], 1.0);
        gauge("level", &[], -1.0);
        measure("took", &[], 0.5);

        let seen: Vec<_> = take_metrics().into_iter().collect();
        assert_eq!(seen, [("level{}".to_owned(), -1.0), ("seen{a=b}".to_owned(), 3.0), ("took{}".to_owned(), 0.5)]);
        assert!(take_metrics().is_empty());
    }
}
