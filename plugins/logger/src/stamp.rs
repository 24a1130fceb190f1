//! Times as the record prints them.

use time::OffsetDateTime;

/// UTC as Python's `isoformat` prints it: no zone, six digits of fraction, none where it is exactly zero. `micros` since the Unix epoch.
pub(crate) fn timestamp(micros: u64) -> String {
    // Timestamps stay below 2^53 by contract, far within the years a date can have.
    let at = i64::try_from(micros / 1_000_000).ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    let at = at.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second) = at.to_hms();
    let mut text = String::with_capacity("0000-00-00T00:00:00.000000".len());
    digits(&mut text, year.unsigned_abs(), 1000);
    for (mark, part) in [('-', u8::from(month)), ('-', day), ('T', hour), (':', minute), (':', second)] {
        text.push(mark);
        digits(&mut text, u32::from(part), 10);
    }
    let fraction = (micros % 1_000_000) as u32;
    if fraction > 0 {
        text.push('.');
        digits(&mut text, fraction, 100_000);
    }
    text
}

/// Milliseconds as Python's `round(x, 2)` leaves and `str` prints a float: `382.4ms`, and `100.0ms`, never `100ms`.
pub(crate) fn consumed(micros: u64) -> String {
    if micros % 10 == 5 {
        // Between two: formatting rounds by the exact binary value, as Python's `round` does; reading it back drops trailing zeros.
        let exact = micros as f64 / 1000.0;
        let rounded = format!("{exact:.2}").parse().unwrap_or(exact);
        return format!("{rounded:?}ms");
    }
    let hundredths = micros / 10 + u64::from(micros % 10 > 5);
    let mut text = (hundredths / 100).to_string();
    text.push('.');
    match (hundredths % 100) as u32 {
        tenths if tenths % 10 == 0 => digits(&mut text, tenths / 10, 1),
        both => digits(&mut text, both, 10),
    }
    text.push_str("ms");
    text
}

/// A number with all its digits, the first of which counts `first`.
fn digits(text: &mut String, number: u32, first: u32) {
    let mut one = first;
    while one > 0 {
        text.push(char::from(b'0' + (number / one % 10) as u8));
        one /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_iso_without_a_zero_fraction() {
        let table = [
            (0, "1970-01-01T00:00:00"),
            (1, "1970-01-01T00:00:00.000001"),
            (1_733_663_903_331_449, "2024-12-08T13:18:23.331449"),
            (1_709_164_800_000_000, "2024-02-29T00:00:00"),
            ((1 << 53) - 1, "2255-06-05T23:47:34.740991"),
        ];
        for (micros, text) in table {
            assert_eq!(timestamp(micros), text);
        }
    }

    /// The right column is what Python 3 prints for `str(round(micros / 1000, 2))`.
    #[test]
    fn milliseconds_are_rounded_and_printed_as_python_does() {
        let table = [
            (0, "0.0ms"),
            (1, "0.0ms"),
            (5, "0.01ms"),
            (6, "0.01ms"),
            (15, "0.01ms"),
            (125, "0.12ms"),
            (375, "0.38ms"),
            (1005, "1.0ms"),
            (2675, "2.67ms"),
            (100_000, "100.0ms"),
            (382_400, "382.4ms"),
            (382_395, "382.39ms"),
            (530_510, "530.51ms"),
            (8_000_000_000_123_456, "8000000000123.46ms"),
        ];
        for (micros, text) in table {
            assert_eq!(consumed(micros), text, "{micros}");
        }
    }
}
