//! Unix milliseconds of this machine, which are those of the store's clock, and what `Instant`s are in them.

use tokio::time::Instant;

#[derive(Debug, Clone, Copy)]
pub struct Clock {
    unix_ms: i64,
    at: Instant,
}

impl Clock {
    pub fn new() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the private Redis has this machine's clock")]
        let now = std::time::SystemTime::now();
        let unix = now.duration_since(std::time::UNIX_EPOCH).unwrap();
        Self { unix_ms: i64::try_from(unix.as_millis()).unwrap(), at: Instant::now() }
    }

    pub fn now(self) -> i64 {
        self.of(Instant::now())
    }

    pub fn of(self, instant: Instant) -> i64 {
        let since = instant.saturating_duration_since(self.at);
        self.unix_ms + i64::try_from(since.as_millis()).unwrap()
    }
}
