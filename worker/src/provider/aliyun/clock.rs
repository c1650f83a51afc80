//! The vendor's clock as its answers show it: a signature whose date is 15 minutes off is refused.

use std::sync::atomic::{AtomicI64, Ordering};

use reqwest::header::{DATE, HeaderMap};
use time::format_description::well_known::Rfc2822;
use time::{Duration, OffsetDateTime};

/// What remains between the clocks after a correction: `Date` has whole seconds, and is older than its arrival.
const TOLERANCE: Duration = Duration::MINUTE;

/// Our clock with the offset that the vendor's answers gave it.
#[derive(Debug, Default)]
pub(super) struct Clock {
    offset_seconds: AtomicI64,
}

impl Clock {
    pub(super) fn now(&self) -> OffsetDateTime {
        Self::wall() + Duration::seconds(self.offset_seconds.load(Ordering::Relaxed))
    }

    /// Takes over the time of an answer that refuses the date `used`. Returns whether another signature has a better
    /// date.
    pub(super) fn correct(&self, used: OffsetDateTime, headers: &HeaderMap) -> bool {
        let date = headers.get(DATE).and_then(|date| date.to_str().ok());
        let Some(theirs) = date.and_then(|date| OffsetDateTime::parse(date, &Rfc2822).ok()) else {
            return false;
        };
        let offset = (theirs - Self::wall()).whole_seconds();
        let before = self.offset_seconds.swap(offset, Ordering::Relaxed);
        // Of the calls under way at the same time the first to come back warns.
        if Duration::seconds(offset.saturating_sub(before)).abs() > TOLERANCE {
            tracing::warn!(
                offset_seconds = offset,
                "this machine's clock differs from the provider's: calls are signed with the provider's time"
            );
        }
        (theirs - used).abs() > TOLERANCE
    }

    #[expect(clippy::disallowed_methods, reason = "the signature is dated by the wall clock")]
    fn wall() -> OffsetDateTime {
        OffsetDateTime::from(std::time::SystemTime::now())
    }
}
