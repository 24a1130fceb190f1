//! Metrics as a scraper reads them, and what one would object to.
//!
//! Place: for tests of what the proxy publishes. The rules are those of `promtool check metrics` and of the text format 0.0.4.

use std::collections::{BTreeMap, BTreeSet};

/// What a family's samples share.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Family {
    /// `counter`, `gauge`, `histogram` …
    pub kind: String,
    /// For people.
    pub help: String,
    /// Names with labels, and values.
    pub samples: Vec<(String, f64)>,
}

/// The families of a scrape, by name.
pub fn families(text: &str) -> BTreeMap<String, Family> {
    let mut families = BTreeMap::<String, Family>::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            families.entry(name.to_owned()).or_default().help = help.to_owned();
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            current = name.to_owned();
            families.entry(name.to_owned()).or_default().kind = kind.to_owned();
        } else if let Some((name, value)) = line.rsplit_once(' ').filter(|_| !line.starts_with('#')) {
            let family = families.entry(current.clone()).or_default();
            family.samples.push((name.to_owned(), value.parse().unwrap_or(f64::NAN)));
        }
    }
    families
}

/// What is wrong with a scrape; empty: nothing.
pub fn faults(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut said = BTreeSet::new();
    for line in text.lines().filter(|line| line.starts_with("# ")) {
        let mut words = line.split(' ').skip(1);
        let (what, name) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if !said.insert((what, name)) {
            faults.push(format!("{name} has a second {what}"));
        }
    }
    let mut seen = BTreeSet::new();
    for (name, family) in families(text) {
        let is_name = |name: &str| name.bytes().all(|octet| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'_');
        let is_count = family.kind == "counter";
        let troubles = [
            (!is_name(&name) || !name.starts_with(|first: char| first.is_ascii_lowercase()), "is no name as they are usual"),
            (family.help.is_empty(), "has no HELP"),
            (!matches!(family.kind.as_str(), "counter" | "gauge" | "histogram"), "has no TYPE"),
            (family.samples.is_empty(), "has no sample"),
            (is_count != name.ends_with("_total"), "is a counter without _total, or has it and is none"),
            (["_count", "_sum", "_bucket"].iter().any(|end| name.ends_with(end)), "ends as parts of a histogram do"),
            (["milliseconds", "_ms", "_kib", "_mb"].iter().any(|unit| name.contains(unit)), "is in no base unit"),
        ];
        faults.extend(troubles.iter().filter(|(is, _)| *is).map(|(_, trouble)| format!("{name} {trouble}")));
        for (sample, value) in &family.samples {
            let (bare, labels) = sample.split_once('{').unwrap_or((sample, ""));
            let endings: &[&str] = if family.kind == "histogram" { &["_bucket", "_count", "_sum"] } else { &[""] };
            let checks = [
                (!endings.iter().any(|end| bare.strip_suffix(end) == Some(&name)), "does not belong to its family"),
                (value.is_nan() || (is_count && *value < 0.0), "has no good value"),
                (labels.contains("quantile="), "has a quantile and is no summary"),
                (labels.contains("le=") != bare.ends_with("_bucket"), "has le and is no bucket, or is one without"),
                (!seen.insert(sample.clone()), "stands there twice"),
            ];
            faults.extend(checks.iter().filter(|(is, _)| *is).map(|(_, trouble)| format!("{sample} {trouble}")));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_scrape_has_no_faults_and_each_fault_is_found() {
        let good = "# HELP a_total A.\n# TYPE a_total counter\na_total{x=\"1\"} 1\n# HELP b B.\n# TYPE b gauge\nb -1.5\n\
                    # HELP c_seconds C.\n# TYPE c_seconds histogram\nc_seconds_bucket{le=\"+Inf\"} 1\nc_seconds_sum 0.5\nc_seconds_count 1\n";
        assert_eq!(faults(good), Vec::<String>::new());
        for (before, after, fault) in [
            ("a_total", "a", "without _total"),
            ("# HELP b B.\n", "", "has no HELP"),
            ("# HELP b B.\n", "# HELP b B.\n# HELP b B.\n", "second HELP"),
            ("b -1.5\n", "b -1.5\nb -1.5\n", "twice"),
            ("a_total{x=\"1\"} 1", "a_total{x=\"1\"} -1", "no good value"),
            ("b -1.5", "b{quantile=\"1\"} 1", "no summary"),
            ("c_seconds_sum 0.5", "c_seconds_mean 0.5", "does not belong"),
        ] {
            let found = faults(&good.replace(before, after));
            assert!(found.iter().any(|found| found.contains(fault)), "{fault}: {found:?}");
        }
    }
}
