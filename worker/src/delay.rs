//! When a message is tried again: one pure function of attempt, schedule, chance and the provider's wish.
//!
//! With `[retry]` as it comes (initial 1 s, factor 2, max 60 s, jitter 0.5) the delays before the attempts are:
//!
//! | attempt | base | chosen among |
//! |---|---|---|
//! | 2 | 1 s | 1 s |
//! | 3 | 2 s | 1, 2, 3 s |
//! | 4 | 4 s | 2, 3, 4, 6 s |

use std::time::Duration;

use postrider_common::config::Retry;
use postrider_common::queue::Rung;

/// The delay after the `attempt`-th attempt (from 1). Chance (0 to below 1) chooses among the rungs within
/// `jitter` of the base; a `Retry-After` that is longer is rounded up to a rung, or kept as it is above the longest.
#[must_use]
pub(crate) fn delay(
    attempt: u32,
    retry: &Retry,
    chance: f64,
    retry_after: Option<Duration>,
) -> Duration {
    let chosen = choose(base(attempt, retry), retry.jitter, chance);
    match retry_after {
        Some(wish) if wish > chosen => {
            if wish > Rung::longest().delay() {
                wish
            } else {
                Rung::at_least(wish).delay()
            }
        }
        _ => chosen,
    }
}

/// How a delay is waited out: the rung to wait on now, and what is left after it.
#[must_use]
pub(crate) fn hop(delay: Duration) -> (Option<Rung>, Duration) {
    if delay.is_zero() {
        return (None, Duration::ZERO);
    }
    let rung = Rung::at_least(delay);
    (Some(rung), delay.saturating_sub(rung.delay()))
}

fn base(attempt: u32, retry: &Retry) -> Duration {
    let power = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
    let seconds = retry.initial.as_secs_f64() * retry.factor.powi(power);
    Duration::try_from_secs_f64(seconds).unwrap_or(retry.max).min(retry.max)
}

fn choose(base: Duration, jitter: f64, chance: f64) -> Duration {
    let (least, most) = (base.mul_f64(1.0 - jitter), base.mul_f64(1.0 + jitter));
    let within: Vec<Duration> =
        Rung::all().map(Rung::delay).filter(|delay| (least..=most).contains(delay)).collect();
    if within.is_empty() {
        let distance = |delay: &Duration| delay.abs_diff(base);
        return Rung::all().map(Rung::delay).min_by_key(distance).unwrap_or(base);
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "at most 12"
    )]
    let index = (chance * within.len() as f64) as usize;
    within[index.min(within.len() - 1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(attempt: u32, chance: f64, retry_after: Option<u64>) -> u64 {
        delay(attempt, &Retry::default(), chance, retry_after.map(Duration::from_secs)).as_secs()
    }

    #[test]
    fn delays_are_those_of_the_table() {
        let all = |attempt| {
            let mut all: Vec<u64> =
                (0..100).map(|c| seconds(attempt, f64::from(c) / 100.0, None)).collect();
            all.dedup();
            all
        };
        assert_eq!(all(1), [1]);
        assert_eq!(all(2), [1, 2, 3]);
        assert_eq!(all(3), [2, 3, 4, 6]);
        assert_eq!(all(40), [32, 48, 64], "never beyond max and its jitter");
    }

    #[test]
    fn without_jitter_the_nearest_rung_is_taken() {
        let retry = Retry { jitter: 0.0, initial: Duration::from_millis(200), ..Retry::default() };
        assert_eq!(delay(1, &retry, 0.5, None).as_secs(), 1);
        let retry =
            Retry { jitter: 0.0, initial: Duration::from_secs(5), factor: 1.0, ..Retry::default() };
        assert!([4, 6].contains(&delay(1, &retry, 0.5, None).as_secs()));
    }

    #[test]
    fn a_wish_of_the_provider_is_never_cut_short() {
        assert_eq!(seconds(1, 0.0, Some(5)), 6);
        assert_eq!(seconds(3, 0.99, Some(1)), 6, "our own delay is longer");
        assert_eq!(seconds(1, 0.0, Some(150)), 150);
        let (rung, rest) = hop(Duration::from_secs(150));
        assert_eq!((rung, rest.as_secs()), (Some(Rung::longest()), 86));
        assert_eq!(hop(Duration::ZERO), (None, Duration::ZERO));
    }
}
