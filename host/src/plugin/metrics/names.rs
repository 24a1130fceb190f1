//! Which names metrics may have, and that no two families write the same line.
//!
//! Place: asked by `mod` before anything is counted.

use std::collections::HashMap;

use super::{Kind, MetricLimits, Unfit};

/// The proxy's own metrics begin with these.
const OWN: [&str; 2] = ["flowgate_", "process_"];

/// What names stand for.
#[derive(Default)]
pub(super) struct Names(HashMap<String, (String, Kind)>);

impl Names {
    /// Takes a family's names, if they are free or its own.
    pub(super) fn claim(&mut self, name: &str, kind: Kind) -> Result<(), Unfit> {
        let written = written(name, kind);
        let family = (name.to_owned(), kind);
        if written.iter().any(|line| self.0.get(line).is_some_and(|holder| *holder != family)) {
            return Err(Unfit::Taken);
        }
        self.0.extend(written.into_iter().map(|line| (line, family.clone())));
        Ok(())
    }
}

/// What lines of such a family begin with.
fn written(name: &str, kind: Kind) -> Vec<String> {
    let endings: &[&str] = match kind {
        Kind::Counter => &["", "_total"],
        Kind::Gauge => &[""],
        Kind::Histogram => &["", "_bucket", "_count", "_sum"],
    };
    endings.iter().map(|ending| format!("{name}{ending}")).collect()
}

/// Whether that can be a series. Labels are sorted.
pub(super) fn check(name: &str, labels: &[(String, String)], limits: &MetricLimits) -> Result<(), Unfit> {
    if !is_name(name, limits, |octet| octet == b':') {
        return Err(Unfit::Name);
    }
    if OWN.iter().any(|own| name.starts_with(own)) {
        return Err(Unfit::Reserved);
    }
    let is_label =
        |label: &str| is_name(label, limits, |_| false) && !label.starts_with("__") && !matches!(label, "plugin" | "le" | "quantile");
    let are_different = labels.windows(2).all(|pair| pair[0].0 != pair[1].0);
    if labels.len() > limits.labels || !are_different || !labels.iter().all(|(label, _)| is_label(label)) {
        return Err(Unfit::Labels);
    }
    if labels.iter().any(|(_, value)| value.len() > limits.value_bytes) {
        return Err(Unfit::LabelValue);
    }
    Ok(())
}

fn is_name(name: &str, limits: &MetricLimits, more: impl Fn(u8) -> bool) -> bool {
    let is_letter = |octet: u8| octet.is_ascii_alphabetic() || octet == b'_' || more(octet);
    name.len() <= limits.name_bytes
        && name.bytes().next().is_some_and(is_letter)
        && name.bytes().all(|octet| is_letter(octet) || octet.is_ascii_digit())
}
