//! Errands: what the guest asks of the capabilities that it has to be granted, and how it tells what came of it.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    time::{SystemTime, UNIX_EPOCH},
};

use flowgate_guest::{WriteMode, key_value, log, metrics, outbound::Fetch, records};
use serde::Deserialize;

/// One call into the host. What comes of it is a line of the record `errands`: the result as Rust prints it, octets as text.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) enum Errand {
    /// `"now"`: tells the time, in microseconds since the Unix epoch.
    Now,
    /// `"chance"`: tells a random number.
    Chance,
    /// `{"get": "key"}`
    Get(String),
    /// `{"set": ["key", "value", seconds or null]}`
    Set(String, String, Option<u32>),
    /// So many octets under a key.
    Fill(String, usize),
    /// `{"remove": "key"}`
    Remove(String),
    /// `{"compare-and-set": ["key", "expected" or null, "value"]}`
    CompareAndSet(String, Option<String>, String),
    /// `{"increment": ["key", by]}`
    Increment(String, u32),
    /// `{"keys": ["prefix", limit]}`
    Keys(String, u32),
    /// `{"count": ["name", {"label": "value"}, by]}`
    Count(String, BTreeMap<String, String>, u32),
    /// The same with a number.
    Gauge(String, BTreeMap<String, String>, f64),
    /// The same with a number.
    Measure(String, BTreeMap<String, String>, f64),
    /// Asks so many times whether anybody sees lines.
    Ask(u32),
    /// Writes so many lines, whoever sees them.
    Write(u32),
    /// `{"fetch": ["method", "url", octets of the body, milliseconds]}`; what is told of the response is its status and its body.
    Fetch(String, String, usize, u32),
}

/// Runs them in order.
pub(crate) fn run(errands: &[Errand]) {
    for errand in errands {
        let said = format!("{}\n", errand.run());
        if let Err(error) = records::keep("errands", said.as_bytes(), WriteMode::Append) {
            log::error(format_args!("errands: {error}"));
        }
    }
}

/// The same, telling nobody.
pub(crate) fn run_in_silence(errands: &[Errand]) {
    for errand in errands {
        errand.run();
    }
}

impl Errand {
    fn run(&self) -> String {
        match self {
            Self::Now => format!("{}", SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros())),
            Self::Chance => format!("{:x}", RandomState::new().hash_one(0)),
            Self::Get(key) => format!("{:?}", key_value::get(key).map(|value| value.map(text))),
            Self::Set(key, value, ttl) => format!("{:?}", key_value::set(key, value.as_bytes(), *ttl)),
            Self::Fill(key, octets) => format!("{:?}", key_value::set(key, &vec![b'x'; *octets], None)),
            Self::Remove(key) => format!("{:?}", key_value::remove(key)),
            Self::CompareAndSet(key, expected, value) => {
                format!("{:?}", key_value::compare_and_set(key, expected.as_ref().map(String::as_bytes), value.as_bytes()))
            }
            Self::Increment(key, by) => format!("{:?}", key_value::increment(key, *by)),
            Self::Keys(prefix, limit) => format!("{:?}", key_value::keys(prefix, *limit)),
            Self::Count(name, labels, by) => format!("{:?}", metrics::count(name, &pairs(labels), *by)),
            Self::Gauge(name, labels, value) => format!("{:?}", metrics::gauge(name, &pairs(labels), *value)),
            Self::Measure(name, labels, value) => format!("{:?}", metrics::measure(name, &pairs(labels), *value)),
            Self::Ask(times) => format!("{}", (0..*times).filter(|_| log::enabled(log::Level::Trace)).count() as u32 <= *times),
            Self::Write(lines) => {
                (0..*lines).for_each(|_| log::write(log::Level::Info, "a line like any other"));
                "written".to_owned()
            }
            Self::Fetch(method, url, octets, millis) => {
                let fetch = Fetch::new(method, url).header("X-Chameleon", "fetches").body(vec![b'x'; *octets]).timeout_ms(*millis);
                format!("{:?}", fetch.send().map(|response| (response.status, text(response.body))))
            }
        }
    }
}

fn pairs(labels: &BTreeMap<String, String>) -> Vec<(&str, &str)> {
    labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

fn text(octets: Vec<u8>) -> String {
    String::from_utf8_lossy(&octets).into_owned()
}
