//! Octets and moments as texts, and back: what HAR and records have in common.

use time::{
    OffsetDateTime, PrimitiveDateTime, UtcOffset,
    format_description::{BorrowedFormatItem, well_known::Rfc3339},
    macros::format_description,
};

/// RFC 3339 in UTC with milliseconds: what HAR 1.2 asks for.
const MILLIS: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");
/// As records have it: UTC without saying so, and no fraction where it is zero.
const RECORD: &[BorrowedFormatItem<'_>] =
    format_description!(version = 2, "[year]-[month]-[day]T[hour]:[minute]:[second][optional [.[subsecond]]]");

/// UTF-8, or else Latin-1: no octet is lost.
pub(super) fn of_octets(octets: &[u8]) -> String {
    match std::str::from_utf8(octets) {
        Ok(text) => text.to_owned(),
        Err(_) => octets.iter().map(|octet| char::from(*octet)).collect(),
    }
}

/// `2024-12-08T13:18:23.331449Z`.
pub(super) fn of_micros(micros: u64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000);
    time.ok().and_then(|time| time.format(MILLIS).ok()).unwrap_or_else(|| "1970-01-01T00:00:00.000000Z".to_owned())
}

/// Microseconds since the Unix epoch; `None`: it is no moment since then.
pub(super) fn micros(text: &str) -> Option<u64> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok().or_else(|| {
        let local = PrimitiveDateTime::parse(text, RECORD).ok()?;
        Some(local.assume_offset(UtcOffset::UTC))
    })?;
    u64::try_from(time.unix_timestamp_nanos() / 1000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_with_a_zone_and_without() {
        let table = [
            ("2024-12-08T13:18:23.331449", Some(1_733_663_903_331_449)),
            ("2024-12-08T13:18:23", Some(1_733_663_903_000_000)),
            ("2024-12-08T14:18:23.331449+01:00", Some(1_733_663_903_331_449)),
            ("2024-12-08T13:18:23.331Z", Some(1_733_663_903_331_000)),
            ("yesterday", None),
            ("1960-01-01T00:00:00Z", None),
        ];
        for (text, expected) in table {
            assert_eq!(micros(text), expected, "{text}");
        }
        assert_eq!(of_micros(1_733_663_903_331_449), "2024-12-08T13:18:23.331449Z");
    }
}
