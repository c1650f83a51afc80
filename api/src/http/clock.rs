//! The wall clock, where it is the right one (tokens, lists, what an operator says), and how times are written.

use std::time::Duration;

pub use postrider_common::runtime::clock::unix_ms;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A duration in milliseconds, at most what fits.
pub fn as_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Whole seconds that are no shorter than these milliseconds, and at least one.
pub fn seconds_up(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or(0).div_ceil(1000).max(1)
}

/// `2026-11-21T03:12:24.123Z`.
pub fn rfc3339(unix_ms: i64) -> String {
    let (date, clock) = OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ms) * 1_000_000)
        .map_or((time::Date::MIN, (0, 0, 0, 0)), |at| (at.date(), at.to_hms_milli()));
    let (hour, minute, second, milli) = clock;
    format!(
        "{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z",
        date.year(),
        u8::from(date.month()),
        date.day()
    )
}

/// Reads an RFC 3339 time as unix milliseconds.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    i64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_milliseconds_and_are_read_back() {
        for ms in [0, 1_790_000_000_007, 1_790_000_000_120, 1_790_000_000_000] {
            assert_eq!(parse_rfc3339(&rfc3339(ms)), Some(ms));
        }
        assert_eq!(rfc3339(1_000), "1970-01-01T00:00:01.000Z");
        assert_eq!(parse_rfc3339("1970-01-01T08:00:01+08:00"), Some(1000));
        assert_eq!(parse_rfc3339("yesterday"), None);
    }

    #[test]
    fn seconds_are_rounded_up_and_never_none() {
        let rounded = [(-5, 1), (0, 1), (1, 1), (1000, 1), (1001, 2), (59_999, 60)];
        for (ms, seconds) in rounded {
            assert_eq!(seconds_up(ms), seconds);
        }
    }
}
