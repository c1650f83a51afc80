//! The store's clock as it is known here: its offset from this machine's, learnt from answers that carry the store's time.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::runtime::clock::unix_ms;

/// Offset above which the log warns, in milliseconds.
const MAX_OFFSET_MS: i64 = 5_000;
/// Growth of a sample's error bound, in milliseconds for each second of its age: a fresh sample soon replaces an older one
/// that came quicker.
const ERROR_MS_PER_SECOND: i64 = 10;

/// The latest good sample of the store's clock.
#[derive(Debug, Default)]
pub struct StoreClock(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    sample: Option<Sample>,
    is_far: bool,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    offset_ms: i64,
    /// Half of the round trip: the store read its clock at any time in it.
    error_ms: i64,
    at: Instant,
}

/// The time at which a question left for the store.
#[derive(Debug, Clone, Copy)]
pub struct AskedAt {
    wall_ms: i64,
    at: Instant,
}

impl AskedAt {
    #[must_use]
    pub fn now() -> Self {
        Self { wall_ms: unix_ms(), at: Instant::now() }
    }
}

impl StoreClock {
    /// Takes an answer into account that has just come, with the store's time in it.
    pub fn observe(&self, asked: AskedAt, store_ms: i64) {
        self.take(Sample::new(asked, store_ms, Instant::now()));
    }

    /// Milliseconds by which the store's clock is ahead of this machine's; `None` before the first answer.
    #[must_use]
    pub fn offset_ms(&self) -> Option<i64> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.sample.map(|sample| sample.offset_ms)
    }

    /// The store's time now, in unix milliseconds; `None` before the first answer.
    #[must_use]
    pub fn now(&self) -> Option<i64> {
        Some(unix_ms().saturating_add(self.offset_ms()?))
    }

    fn take(&self, new: Sample) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.sample.is_some_and(|known| known.outweighs(&new)) {
            return;
        }
        state.sample = Some(new);
        let is_far = new.offset_ms.saturating_abs() > MAX_OFFSET_MS;
        let was_far = std::mem::replace(&mut state.is_far, is_far);
        drop(state);
        let offset_ms = new.offset_ms;
        match (was_far, is_far) {
            (false, true) => tracing::warn!(
                offset_ms,
                "this machine's clock differs from the store's: set it right; tokens are checked by the store's"
            ),
            (true, false) => tracing::info!(offset_ms, "this machine's clock is right again"),
            _ => {}
        }
    }
}

impl Sample {
    fn new(asked: AskedAt, store_ms: i64, answered_at: Instant) -> Self {
        let half = millis(answered_at.duration_since(asked.at)) / 2;
        let offset_ms = store_ms.saturating_sub(asked.wall_ms.saturating_add(half));
        Self { offset_ms, error_ms: half + 1, at: answered_at }
    }

    /// Whether it is still better than a later one, and both can be true.
    fn outweighs(&self, later: &Self) -> bool {
        let age = millis(later.at.duration_since(self.at));
        let error_ms = self.error_ms.saturating_add(age.saturating_mul(ERROR_MS_PER_SECOND) / 1000);
        let apart = later.offset_ms.saturating_sub(self.offset_ms).saturating_abs();
        error_ms < later.error_ms && apart <= error_ms.saturating_add(later.error_ms)
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: i64 = 1_800_000_000_000;

    /// An answer after so many milliseconds, of a store that is so far ahead, asked for so long after the first.
    fn answer(begun: Instant, after_ms: u64, round_trip_ms: u64, ahead_ms: i64) -> Sample {
        let at = begun + Duration::from_millis(after_ms);
        let asked = AskedAt { wall_ms: WALL + millis(at - begun), at };
        let store_ms = asked.wall_ms + i64::try_from(round_trip_ms / 2).unwrap() + ahead_ms;
        Sample::new(asked, store_ms, at + Duration::from_millis(round_trip_ms))
    }

    #[test]
    fn takes_the_middle_of_the_round_trip() {
        let (clock, begun) = (StoreClock::default(), Instant::now());
        assert_eq!(clock.offset_ms(), None);
        assert_eq!(clock.now(), None);
        clock.take(answer(begun, 0, 20, 40_000));
        assert_eq!(clock.offset_ms(), Some(40_000));
        let ahead = clock.now().unwrap() - unix_ms();
        assert!((39_900..=40_100).contains(&ahead), "{ahead}");
    }

    #[test]
    fn keeps_a_quick_answer_before_a_slow_one_for_a_while() {
        let (clock, begun) = (StoreClock::default(), Instant::now());
        clock.take(answer(begun, 0, 2, 100));
        clock.take(answer(begun, 1000, 600, 300));
        assert_eq!(clock.offset_ms(), Some(100), "it came too slowly to say more");
        clock.take(answer(begun, 60_000, 600, 300));
        assert_eq!(clock.offset_ms(), Some(300));
    }

    #[test]
    fn follows_a_clock_that_was_set_at_once() {
        let (clock, begun) = (StoreClock::default(), Instant::now());
        clock.take(answer(begun, 0, 2, 40_000));
        clock.take(answer(begun, 1000, 600, 0));
        assert_eq!(clock.offset_ms(), Some(0));
    }

    #[test]
    fn warns_once_while_it_is_far() {
        let (clock, begun) = (StoreClock::default(), Instant::now());
        for (after_ms, ahead_ms, is_far) in
            [(0, -5_000, false), (1, 5_100, true), (2, -40_000, true), (3, 20, false)]
        {
            clock.take(answer(begun, after_ms, 2, ahead_ms));
            assert_eq!(clock.0.lock().unwrap().is_far, is_far, "{ahead_ms}");
        }
    }
}
