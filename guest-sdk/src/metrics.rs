//! Numbers for whoever watches the proxy, published with the plugin's name as the label `plugin`.
//!
//! The operator has to grant it: `grants = ["metrics"]` in the plugin's table of `flowgate.toml`. Nothing here fails: what the host does not
//! take (too many series, a name that Prometheus does not know) it leaves out, and says so once.

#[cfg(target_family = "wasm")]
fn owned(labels: &[(&str, &str)]) -> Vec<(String, String)> {
    labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Adds to a counter; the host writes its name with `_total` at the end.
pub fn count(counter: &str, labels: &[(&str, &str)], by: u32) {
    #[cfg(target_family = "wasm")]
    crate::bindings::imports::metrics::count(counter, &owned(labels), by);
    #[cfg(not(target_family = "wasm"))]
    crate::testing::metrics::add(counter, labels, by.into());
}

/// Sets a gauge.
pub fn gauge(name: &str, labels: &[(&str, &str)], value: f64) {
    #[cfg(target_family = "wasm")]
    crate::bindings::imports::metrics::gauge(name, &owned(labels), value);
    #[cfg(not(target_family = "wasm"))]
    crate::testing::metrics::set(name, labels, value);
}

/// Adds one measurement to a histogram, whose buckets are the host's: 1, 2.5 and 5 of each power of ten from 0.001 to 500,000.
pub fn measure(histogram: &str, labels: &[(&str, &str)], value: f64) {
    #[cfg(target_family = "wasm")]
    crate::bindings::imports::metrics::measure(histogram, &owned(labels), value);
    #[cfg(not(target_family = "wasm"))]
    crate::testing::metrics::add(histogram, labels, value);
}
