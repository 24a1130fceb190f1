//! Which records are kept: what is written about it.
//!
//! Place: a part of [`super::Config`]; `app` and `cli` let go what is not.

use std::{
    ops::RangeInclusive,
    path::{Component, Path, PathBuf},
    time::Duration,
};

use anyhow::ensure;

use super::{raw, units, within};

/// Ages that make sense: a mistyped unit must not cost yesterday's records.
const AGES: RangeInclusive<Duration> = Duration::from_secs(60 * 60)..=Duration::from_secs(100 * 366 * 24 * 60 * 60);
/// Sizes that make sense.
const SIZES: RangeInclusive<usize> = 1 << 20..=1 << 50;
/// Numbers that make sense.
const COUNTS: RangeInclusive<usize> = 1..=1_000_000_000;

/// What is let go; nothing said: nothing is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RecordsConfig {
    /// Records that are older.
    pub max_age: Option<Duration>,
    /// The oldest, if there are more.
    pub max_count: Option<usize>,
    /// The oldest, if all have more octets.
    pub max_size_bytes: Option<usize>,
}

impl RecordsConfig {
    /// Nothing is let go.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// # Errors
    /// Names the key whose value is out of its bounds.
    pub(super) fn resolve(written: &raw::Records) -> anyhow::Result<Self> {
        Self { max_age: written.max_age, max_count: written.max_count, max_size_bytes: written.max_size }.checked()
    }

    /// The same again.
    ///
    /// # Errors
    /// Names the key whose value is out of its bounds.
    pub fn checked(self) -> anyhow::Result<Self> {
        if let Some(age) = self.max_age {
            within("records.max-age", age, &AGES, units::show_duration)?;
        }
        if let Some(size) = self.max_size_bytes {
            within("records.max-size", size, &SIZES, units::show_size)?;
        }
        if let Some(count) = self.max_count {
            within("records.max-count", count, &COUNTS, |count| count.to_string())?;
        }
        Ok(self)
    }

    /// Only a folder that holds records and nothing else may be emptied.
    ///
    /// # Errors
    /// Names what else is in it.
    pub fn check_folder<'a>(&self, logs: &Path, others: impl Iterator<Item = &'a PathBuf>) -> anyhow::Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        let folder = real(logs);
        for other in others {
            ensure!(
                !real(other).starts_with(&folder),
                "old records would be deleted from {}, where {} is as well: give records a folder of their own with --logs",
                logs.display(),
                other.display()
            );
        }
        Ok(())
    }
}

/// Without links and `..`, as far as it is there.
fn real(path: &Path) -> PathBuf {
    let there = path.ancestors().find_map(|above| Some((above.canonicalize().ok()?, path.strip_prefix(above).ok()?)));
    let (mut real, rest) = there.unwrap_or_else(|| (PathBuf::new(), path));
    for part in rest.components() {
        match part {
            Component::ParentDir => drop(real.pop()),
            Component::CurDir => {}
            part => real.push(part),
        }
    }
    real
}
