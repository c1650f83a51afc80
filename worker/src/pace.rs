//! How fast notices begin while codes are being carried, so that a campaign doesn't take what codes need.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// How long after a code codes count as being carried.
const FLOWING: Duration = Duration::from_secs(1);
/// How far notices that had to wait may catch up: a timer is late by a millisecond or two.
const CATCH_UP: Duration = Duration::from_millis(10);
const NEVER: u64 = u64::MAX;

/// When this worker last had a code delivered.
#[derive(Debug)]
pub(crate) struct Codes {
    begun: Instant,
    /// In milliseconds from `begun`; `NEVER` before the first.
    last: AtomicU64,
}

impl Codes {
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now(), last: AtomicU64::new(NEVER) }
    }

    /// A code was delivered.
    pub(crate) fn seen(&self, now: Instant) {
        self.last.store(self.at(now), Ordering::Relaxed);
    }

    fn flow(&self, now: Instant) -> bool {
        let last = self.last.load(Ordering::Relaxed);
        last != NEVER && Duration::from_millis(self.at(now).saturating_sub(last)) < FLOWING
    }

    fn at(&self, now: Instant) -> u64 {
        u64::try_from((now - self.begun).as_millis()).unwrap_or(NEVER - 1)
    }
}

/// The turns of notices.
#[derive(Debug)]
pub(crate) struct Pace {
    between: Duration,
    due: Instant,
}

impl Pace {
    /// So many notices a second, more than none.
    pub(crate) fn new(a_second: u32) -> Self {
        Self { between: Duration::from_secs(1) / a_second, due: Instant::now() }
    }

    /// Waits until the next notice may begin, which is at once where no codes flow.
    pub(crate) async fn turn(&mut self, codes: &Codes) {
        let now = Instant::now();
        let next = self.next(codes, now);
        if next > now {
            metrics::counter!("sms_notices_paced_total").increment(1);
            // Not for what is due already: a timer takes a millisecond also for that.
            sleep_until(next).await;
        }
    }

    fn next(&mut self, codes: &Codes, now: Instant) -> Instant {
        if !codes.flow(now) {
            return now;
        }
        self.due = (self.due + self.between).max(now.checked_sub(CATCH_UP).unwrap_or(now));
        self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// How many begin within 10 s of `now`, by a timer that is late by a millisecond; 100,000 are as many as wait.
    fn begun(pace: &mut Pace, codes: &Codes, from: Instant, codes_flow: bool) -> u32 {
        let (mut now, mut notices) = (from, 0);
        while now < from + 10 * SECOND && notices < 100_000 {
            if codes_flow {
                codes.seen(now);
            }
            let next = pace.next(codes, now);
            if next > now {
                now = next + Duration::from_millis(1);
            }
            notices += 1;
        }
        notices
    }

    #[test]
    fn notices_keep_to_their_pace_beside_codes_and_to_none_without() {
        let (codes, mut pace) = (Codes::new(), Pace::new(700));
        let start = Instant::now();
        assert_eq!(begun(&mut pace, &codes, start + SECOND, false), 100_000);
        // What might have begun in the minute before isn't caught up with.
        let beside = begun(&mut pace, &codes, start + 60 * SECOND, true);
        assert!((6_950..=7_010).contains(&beside), "{beside}");
        assert_eq!(begun(&mut pace, &codes, start + 71 * SECOND + FLOWING, false), 100_000);
    }

    #[tokio::test]
    async fn without_codes_a_turn_takes_no_time() {
        let (codes, mut pace) = (Codes::new(), Pace::new(1));
        let begun = Instant::now();
        for _ in 0..5_000 {
            pace.turn(&codes).await;
        }
        assert!(begun.elapsed() < SECOND, "5,000 turns took {:?}", begun.elapsed());
    }
}
