//! The rungs of delay: a fixed set of waiting times, one retry queue each.

use std::time::Duration;

/// One waiting time. The set is fixed, whatever `[retry]` says: a queue's TTL can't be changed once it exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rung(u64);

impl Rung {
    /// In seconds.
    pub const SECONDS: [u64; 12] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64];

    pub fn all() -> impl Iterator<Item = Self> {
        Self::SECONDS.into_iter().map(Self)
    }

    /// The shortest that is no shorter than `delay`; the longest where none is.
    #[must_use]
    pub fn at_least(delay: Duration) -> Self {
        Self::all().find(|rung| rung.delay() >= delay).unwrap_or(Self::longest())
    }

    #[must_use]
    pub fn longest() -> Self {
        Self(Self::SECONDS[Self::SECONDS.len() - 1])
    }

    #[must_use]
    pub fn delay(self) -> Duration {
        Duration::from_secs(self.0)
    }

    /// The queue's name, and that of the fanout exchange before it.
    #[must_use]
    pub fn queue(self) -> String {
        format!("sms.retry.{}", self.0)
    }
}
