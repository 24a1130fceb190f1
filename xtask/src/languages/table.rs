//! What a newcomer's way took in each language, as the table in `docs/plugins.md`.

use std::{fmt, time::Duration};

use crate::bench::soak::Soaked;

/// One language.
pub(super) struct Row {
    pub(super) language: &'static str,
    pub(super) made: Duration,
    /// With tools and dependencies that were not there yet.
    pub(super) first_build: Duration,
    pub(super) build: Duration,
    /// The first time, and from the cache, as `flowgate plugin check` says.
    pub(super) loading: [String; 2],
    pub(super) test: Duration,
    pub(super) live: Duration,
    pub(super) octets: u64,
    pub(super) soaked: Option<Soaked>,
}

pub(super) struct Table(pub(super) Vec<Row>);

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| language | `new` | first `build` | `build` | component | loads first | from cache | `test` | live after | warm call | memory |"
        )?;
        writeln!(f, "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")?;
        for row in &self.0 {
            let [first, cached] = &row.loading;
            write!(
                f,
                "| {} | {} | {} | {} | {} KB | {first} | {cached} | {} | {} ",
                row.language,
                Took(row.made),
                Took(row.first_build),
                Took(row.build),
                row.octets.div_ceil(1000),
                Took(row.test),
                Took(row.live),
            )?;
            match &row.soaked {
                Some(soaked) => writeln!(f, "| {} µs | {:.1} MiB |", soaked.p50_us, soaked.memory as f64 / f64::from(1 << 20))?,
                None => writeln!(f, "| | |")?,
            }
        }
        Ok(())
    }
}

struct Took(Duration);

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_millis() {
            millis @ 0..1000 => write!(f, "{millis} ms"),
            _ => write!(f, "{:.1} s", self.0.as_secs_f64()),
        }
    }
}
