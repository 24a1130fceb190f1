//! Durations and sizes as people write them: `50ms`, `10s`, `64MiB`.
//!
//! Place: read by `raw`, written by `show`.

use std::time::Duration;

/// What a text with a unit should have been.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UnitError {
    /// Not a duration.
    #[error("a duration is expected, as in 50ms, 10s, 5m, 1h or 30d")]
    Duration,
    /// Not a size.
    #[error("a size is expected, as in 512KiB, 64MiB or 1GiB")]
    Size,
}

const DURATIONS: [(&str, u64); 5] = [("ms", 1), ("s", 1000), ("m", 60 * 1000), ("h", 60 * 60 * 1000), ("d", 24 * 60 * 60 * 1000)];
const SIZES: [(&str, u64); 8] =
    [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("kB", 1000), ("KB", 1000), ("MB", 1_000_000), ("GB", 1_000_000_000)];

/// A whole number and a unit, with or without a space between.
///
/// # Errors
/// Where it is anything else; there is no default unit to guess at.
pub fn duration(text: &str) -> Result<Duration, UnitError> {
    read(text, &DURATIONS).map(Duration::from_millis).ok_or(UnitError::Duration)
}

/// As for [`duration`], in octets; a bare `0` is a size too.
///
/// # Errors
/// Where it is anything else or does not fit.
pub fn size(text: &str) -> Result<usize, UnitError> {
    match text.trim() {
        "0" => Ok(0),
        text => read(text, &SIZES).and_then(|octets| usize::try_from(octets).ok()).ok_or(UnitError::Size),
    }
}

/// The same text again, in the largest unit that leaves no fraction; days are shown as hours.
pub fn show_duration(duration: Duration) -> String {
    show(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), &DURATIONS[..4])
}

/// The same for sizes.
pub fn show_size(octets: usize) -> String {
    show(octets as u64, &SIZES[..4])
}

fn read(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let (digits, unit) = text.split_at(text.find(|letter: char| !letter.is_ascii_digit())?);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    digits.parse::<u64>().ok()?.checked_mul(*factor)
}

fn show(value: u64, units: &[(&str, u64)]) -> String {
    let unit = units.iter().rev().find(|(_, factor)| value > 0 && value.is_multiple_of(*factor));
    let (name, factor) = unit.unwrap_or(&units[0]);
    format!("{}{name}", value / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        for (text, millis) in [("50ms", 50), ("10s", 10_000), (" 5 m ", 300_000), ("1h", 3_600_000), ("30d", 2_592_000_000), ("0s", 0)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "10", "s", "1.5s", "-1s", "+1s", "1w", "1 s s", "18446744073709551615h"] {
            assert_eq!(duration(text), Err(UnitError::Duration), "{text}");
        }
    }

    #[test]
    fn sizes_need_a_unit() {
        for (text, octets) in [("0", 0), ("17B", 17), ("4 KiB", 4096), ("64MiB", 64 << 20), ("1GiB", 1 << 30), ("2MB", 2_000_000)] {
            assert_eq!(size(text), Ok(octets), "{text}");
        }
        for text in ["", "64", "64mib", "64M", "1.5GiB", "-1B", "99999999999999GiB"] {
            assert_eq!(size(text), Err(UnitError::Size), "{text}");
        }
    }

    #[test]
    fn what_is_shown_can_be_read() {
        for millis in [0, 1, 50, 1000, 1500, 60_000, 3_600_000, 86_400_000] {
            let value = Duration::from_millis(millis);
            assert_eq!(duration(&show_duration(value)), Ok(value));
        }
        for octets in [0, 1, 1023, 1024, 64 << 20, (64 << 20) + 1, 3 << 30] {
            assert_eq!(size(&show_size(octets)), Ok(octets));
        }
        assert_eq!((show_duration(Duration::from_secs(90)), show_size(8 << 20)), ("90s".to_owned(), "8MiB".to_owned()));
    }
}
