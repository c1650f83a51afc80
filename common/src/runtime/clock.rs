//! The wall clock of this machine.

use std::time::{SystemTime, UNIX_EPOCH};

/// Unix milliseconds. Limits and deadlines never go by it: the store has a clock of its own.
#[must_use]
pub fn unix_ms() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "nothing of the store is compared with it alone")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}
