//! What follows from an attempt: one pure function of the job, the answer, the schedule, the time and chance.

use std::time::Duration;

use postrider_common::config::Retry;
use postrider_common::database::dead_letter::DeadReason;
use postrider_common::database::sms_log::RowStatus;
use postrider_common::job::{Attempt, Job, Lane, Outcome};
use postrider_common::queue::Rung;
use serde::{Deserialize, Serialize};

use crate::delay::delay;

/// From so many on, an answer of "too fast" is waited out longer than `[retry]` says.
const PATIENT_AFTER: u32 = 8;
/// A message that waits for a day is tried some 160 times then.
const LONGEST_SNOOZE: Duration = Duration::from_mins(10);

/// How an attempt ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Decision {
    /// Sent.
    Done,
    /// Another attempt, after the delay; 0 is at once.
    Retry { delay_ms: u64 },
    /// The same again later, and this attempt is free.
    Snooze { delay_ms: u64 },
    /// The end, unsent as far as is known.
    Fail { status: RowStatus, error_code: String, dead: Option<DeadReason> },
}

/// What a decision is made from.
#[derive(Debug)]
pub(crate) struct Situation<'a> {
    /// The job as it was before this attempt.
    pub job: &'a Job,
    pub attempt: &'a Attempt,
    pub retry_after: Option<Duration>,
    /// The names of the providers, in order.
    pub providers: &'a [String],
    /// From then on no call of theirs is begun: it could reach them after the deadline.
    pub begin_by: i64,
    pub retry: &'a Retry,
    /// The store's clock, unix milliseconds.
    pub now: i64,
    /// From 0 to below 1.
    pub chance: f64,
}

/// Decides what follows from an attempt.
#[must_use]
pub(crate) fn decide(situation: &Situation<'_>) -> Decision {
    match situation.attempt.outcome {
        Outcome::Accepted => Decision::Done,
        Outcome::Refused => situation.fail(situation.error_code(), Some(DeadReason::Refused)),
        Outcome::RefusedHere => situation.elsewhere(),
        Outcome::TooFast | Outcome::Unreachable => situation.snooze(),
        Outcome::Later => situation.again(),
        Outcome::Unknown => situation.after_unknown(),
    }
}

/// The end of a message that isn't tried (again): `expired`, `superseded`, `poison`. A lost answer among its attempts
/// makes it unknown, but for a superseded one: its code was used, so a text arrived.
#[must_use]
pub(crate) fn end(job: &Job, error_code: &str, dead: Option<DeadReason>) -> Decision {
    let unknown = job.has_unknown() && error_code != "superseded";
    let status = if unknown { RowStatus::Unknown } else { RowStatus::Failed };
    Decision::Fail { status, error_code: error_code.to_owned(), dead }
}

/// Which provider the next attempt goes to: after the last one's in order, round and round, past those that
/// refused this message. `None` where all have.
#[must_use]
pub(crate) fn next_provider<'a>(attempts: &[Attempt], providers: &'a [String]) -> Option<&'a str> {
    let refused = |name: &str| {
        attempts.iter().any(|a| a.provider == name && a.outcome == Outcome::RefusedHere)
    };
    let last =
        attempts.last().and_then(|last| providers.iter().position(|name| *name == last.provider));
    let start = last.map_or(0, |place| place + 1);
    let (before, after) = providers.split_at(start.min(providers.len()));
    after.iter().chain(before).map(String::as_str).find(|name| !refused(name))
}

impl Situation<'_> {
    fn error_code(&self) -> &str {
        self.attempt.error_code.as_deref().unwrap_or(self.attempt.outcome.as_str())
    }

    /// Attempts that count, this one included.
    fn charged(&self) -> u32 {
        self.job.attempt.saturating_sub(self.job.snoozed)
    }

    fn fail(&self, error_code: &str, dead: Option<DeadReason>) -> Decision {
        let unknown = self.job.has_unknown() || self.attempt.outcome == Outcome::Unknown;
        let status = if unknown { RowStatus::Unknown } else { RowStatus::Failed };
        Decision::Fail { status, error_code: error_code.to_owned(), dead }
    }

    fn elsewhere(&self) -> Decision {
        let mut attempts = self.job.attempts.clone();
        attempts.push(self.attempt.clone());
        match next_provider(&attempts, self.providers) {
            Some(_) if self.now < self.begin_by => Decision::Retry { delay_ms: 0 },
            Some(_) => self.fail("expired", None),
            None => self.fail(self.error_code(), Some(DeadReason::Refused)),
        }
    }

    fn again(&self) -> Decision {
        if self.charged() >= self.retry.max_attempts {
            return self.fail("attempts_spent", Some(DeadReason::AttemptsSpent));
        }
        let delay = delay(self.charged().max(1), self.retry, self.chance, self.retry_after);
        self.in_time(delay, |delay_ms| Decision::Retry { delay_ms })
    }

    /// Each time that it is too fast it waits longer: a notice may wait a day, and takes its attempts along. Only what the
    /// provider asks for ends it: our own delay is as long as its time allows.
    fn snooze(&self) -> Decision {
        let ours = delay(self.job.attempt, self.retry, self.chance, patience(self.job.snoozed));
        let left = self.begin_by.saturating_sub(self.now).saturating_sub(1);
        let left = Duration::from_millis(u64::try_from(left).unwrap_or(0));
        let longest = Rung::all().map(Rung::delay).take_while(|delay| *delay <= left).last();
        let ours = if ours > left { longest.unwrap_or(ours) } else { ours };
        let theirs = self.retry_after.map(|wish| delay(1, self.retry, self.chance, Some(wish)));
        self.in_time(ours.max(theirs.unwrap_or_default()), |delay_ms| Decision::Snooze { delay_ms })
    }

    fn after_unknown(&self) -> Decision {
        let allowed = match self.job.lane {
            Lane::Code => self.retry.unknown_codes,
            Lane::Notice => self.retry.unknown_notices,
        };
        if self.job.unknowns() >= allowed {
            return self.fail(self.error_code(), None);
        }
        self.again()
    }

    /// A delay that ends when no call may begin any more is the end: the text would come too late to be used.
    fn in_time(&self, delay: Duration, then: impl FnOnce(u64) -> Decision) -> Decision {
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        if self.now.saturating_add_unsigned(delay_ms) >= self.begin_by {
            return self.fail("expired", None);
        }
        then(delay_ms)
    }
}

/// What a provider that goes on saying that it is too fast is left alone for at least, beside the schedule of retries.
fn patience(snoozed: u32) -> Option<Duration> {
    let minutes = snoozed.checked_sub(PATIENT_AFTER)?.saturating_add(1);
    Some(Duration::from_mins(minutes.into()).min(LONGEST_SNOOZE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{attempt, job};

    /// What connecting takes at the most.
    const REACH: i64 = 100;

    fn decided(job: &Job, outcome: Outcome, now: i64) -> Decision {
        let providers = ["a".to_owned(), "b".to_owned()];
        let made = attempt(job.attempt, "a", outcome);
        decide(&Situation {
            job,
            attempt: &made,
            retry_after: None,
            providers: &providers,
            begin_by: job.deadline - REACH,
            retry: &Retry::default(),
            now,
            chance: 0.0,
        })
    }

    fn fail(status: RowStatus, code: &str, dead: Option<DeadReason>) -> Decision {
        Decision::Fail { status, error_code: code.to_owned(), dead }
    }

    #[test]
    fn each_outcome_has_its_decision() {
        use DeadReason::{AttemptsSpent, Refused};
        use RowStatus::{Failed, Unknown};
        let code = job(Lane::Code, &[]);
        let notice = job(Lane::Notice, &[]);
        let spent = job(Lane::Code, &[Outcome::Later, Outcome::Later, Outcome::Later]);
        let snoozed = Job { snoozed: 1, ..spent.clone() };
        let lost_before = job(Lane::Code, &[Outcome::Unknown]);
        let b_refused = {
            let mut job = job(Lane::Code, &[Outcome::RefusedHere]);
            job.attempts[0].provider = "b".to_owned();
            job
        };
        let cases = [
            (&code, Outcome::Accepted, Decision::Done),
            (&code, Outcome::Refused, fail(Failed, "word", Some(Refused))),
            (&code, Outcome::RefusedHere, Decision::Retry { delay_ms: 0 }),
            (&b_refused, Outcome::RefusedHere, fail(Failed, "word", Some(Refused))),
            (&code, Outcome::Later, Decision::Retry { delay_ms: 1000 }),
            (&spent, Outcome::Later, fail(Failed, "attempts_spent", Some(AttemptsSpent))),
            (&snoozed, Outcome::Later, Decision::Retry { delay_ms: 2000 }),
            (&code, Outcome::TooFast, Decision::Snooze { delay_ms: 1000 }),
            (&spent, Outcome::TooFast, Decision::Snooze { delay_ms: 4000 }),
            (&code, Outcome::Unknown, Decision::Retry { delay_ms: 1000 }),
            (&notice, Outcome::Unknown, fail(Unknown, "word", None)),
            (&lost_before, Outcome::Unknown, fail(Unknown, "word", None)),
            (&lost_before, Outcome::Refused, fail(Unknown, "word", Some(Refused))),
            (&lost_before, Outcome::Accepted, Decision::Done),
        ];
        for (job, outcome, decision) in cases {
            assert_eq!(decided(job, outcome, 0), decision, "{outcome:?} {:?}", job.attempts);
        }
    }

    #[test]
    fn a_provider_that_stays_too_fast_is_asked_ever_more_seldom() {
        let mut notice = Job { deadline: 86_400_000, ..job(Lane::Notice, &[]) };
        let (mut now, mut delays) = (0, Vec::new());
        while let Decision::Snooze { delay_ms } = decided(&notice, Outcome::TooFast, now) {
            now += i64::try_from(delay_ms).unwrap();
            delays.push(delay_ms / 1000);
            notice.attempt += 1;
            notice.snoozed += 1;
        }
        assert_eq!(delays[..5], [1, 1, 2, 4, 8], "the least within the jitter");
        let most = delays.iter().position(|delay| *delay == 600).unwrap();
        assert!(delays[..most].is_sorted(), "{delays:?}");
        assert_eq!(delays.iter().max(), Some(&600));
        assert!(delays.last() < Some(&64), "what is left at the end is used: {delays:?}");
        assert!(delays.len() < 200, "{} attempts travel with the job", delays.len());
    }

    #[test]
    fn our_own_patience_ends_no_message_that_has_time_left() {
        let mut code = job(Lane::Code, &[]);
        (code.deadline, code.attempt, code.snoozed) = (40_000 + REACH, 5, 4);
        assert_eq!(
            decided(&code, Outcome::TooFast, 15_000),
            Decision::Snooze { delay_ms: 8_000 },
            "16 s, less a half by chance"
        );
        (code.attempt, code.snoozed) = (8, 7);
        let shortened = Decision::Snooze { delay_ms: 16_000 };
        assert_eq!(decided(&code, Outcome::TooFast, 20_000), shortened);
        assert_eq!(decided(&code, Outcome::TooFast, 38_998), Decision::Snooze { delay_ms: 1000 });
        let expired = fail(RowStatus::Failed, "expired", None);
        assert_eq!(decided(&code, Outcome::TooFast, 39_000), expired);
    }

    #[test]
    fn nothing_is_tried_that_could_come_past_its_deadline() {
        let code = job(Lane::Code, &[]);
        let begin_by = code.deadline - REACH;
        let expired = fail(RowStatus::Failed, "expired", None);
        for outcome in [Outcome::Later, Outcome::TooFast] {
            assert_eq!(decided(&code, outcome, begin_by - 1000), expired);
            assert_ne!(decided(&code, outcome, begin_by - 1001), expired);
        }
        assert_eq!(decided(&code, Outcome::RefusedHere, begin_by), expired);
        assert_ne!(decided(&code, Outcome::RefusedHere, begin_by - 1), expired);
        assert_eq!(
            decided(&code, Outcome::Unknown, begin_by - 1000),
            fail(RowStatus::Unknown, "expired", None)
        );
    }

    #[test]
    fn providers_take_turns_and_refusers_are_passed_over() {
        let providers = ["a", "b", "c"].map(str::to_owned);
        let after = |tries: &[(&str, Outcome)]| {
            let tries: Vec<_> =
                (1..).zip(tries).map(|(number, (name, o))| attempt(number, name, *o)).collect();
            next_provider(&tries, &providers).map(str::to_owned)
        };
        assert_eq!(after(&[]).as_deref(), Some("a"));
        assert_eq!(after(&[("a", Outcome::Later)]).as_deref(), Some("b"));
        assert_eq!(after(&[("c", Outcome::Later)]).as_deref(), Some("a"));
        let refused = Outcome::RefusedHere;
        assert_eq!(after(&[("b", refused), ("a", Outcome::Later)]).as_deref(), Some("c"));
        assert_eq!(after(&[("a", refused), ("b", refused), ("c", refused)]), None);
        assert_eq!(after(&[("gone", Outcome::Later)]).as_deref(), Some("a"));
    }

    #[test]
    fn a_lost_answer_makes_the_end_unknown() {
        let lost = job(Lane::Code, &[Outcome::Unknown]);
        assert_eq!(end(&lost, "expired", None), fail(RowStatus::Unknown, "expired", None));
        assert_eq!(end(&lost, "superseded", None), fail(RowStatus::Failed, "superseded", None));
        assert_eq!(
            end(&job(Lane::Code, &[]), "expired", None),
            fail(RowStatus::Failed, "expired", None)
        );
    }
}
