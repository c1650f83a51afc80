//! What follows from an attempt: one pure function of the job, the answer, the schedule, the time and chance.

use std::time::Duration;

use postrider_common::config::Retry;
use postrider_common::database::dead_letter::DeadReason;
use postrider_common::database::sms_log::RowStatus;
use postrider_common::model::job::{AnswerScope, Attempt, Job, Lane, Outcome, TriedProvider};
use postrider_common::queue::Rung;
use serde::{Deserialize, Serialize};

use crate::delay::delay;

/// Longest back-off of a message that waits for a provider to recover, whatever `[retry] max` says.
const MAX_FREE_BACKOFF: Duration = Duration::from_mins(1);

/// How an attempt ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Decision {
    /// Sent.
    Done,
    /// Another attempt, after the delay; 0 is at once.
    Retry {
        delay_ms: u64,
        /// Providers that the next attempt passes over.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tried: Vec<TriedProvider>,
    },
    /// The same, and this attempt is free.
    Snooze {
        delay_ms: u64,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tried: Vec<TriedProvider>,
    },
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
    /// Whether an untried provider is asked without a delay although the attempt counts.
    pub try_next_now: bool,
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
    use AnswerScope::{Message, Provider};
    match (situation.attempt.outcome, situation.attempt.scope) {
        (Outcome::Accepted, _) => Decision::Done,
        (Outcome::Refused, _) => situation.fail(situation.error_code(), Some(DeadReason::Refused)),
        (Outcome::RefusedHere, Message) => situation.refused_for_good(),
        (Outcome::RefusedHere, Provider) | (Outcome::TooFast | Outcome::Unreachable, _) => {
            situation.next_or_wait()
        }
        (Outcome::Later, _) => situation.later(),
        (Outcome::Unknown, _) => situation.after_unknown(),
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

/// Returns the provider of the next attempt: the one after the last attempt's, round and round, past those that can
/// never take this message and, while there is another, past those that aren't to be asked now. `None` where all
/// refused it.
#[must_use]
pub(crate) fn next_provider<'a>(job: &Job, providers: &'a [String]) -> Option<&'a str> {
    let last = job.attempts.last().map(|attempt| attempt.provider.as_str());
    let mut left = after(last, providers).filter(|name| !job.was_refused_by(name));
    let first = left.next()?;
    let untried = |name: &&str| !is_tried(&job.tried, name);
    Some(std::iter::once(first).chain(left).find(untried).unwrap_or(first))
}

/// All providers, from the one after `last` on.
fn after<'a>(last: Option<&str>, providers: &'a [String]) -> impl Iterator<Item = &'a str> {
    let last = last.and_then(|last| providers.iter().position(|name| name == last));
    let start = last.map_or(0, |place| place + 1);
    let (before, after) = providers.split_at(start.min(providers.len()));
    after.iter().chain(before).map(String::as_str)
}

fn is_tried(tried: &[TriedProvider], name: &str) -> bool {
    tried.iter().any(|tried| tried.provider == name)
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

    /// The providers that can still take this message.
    fn left(&self) -> impl Iterator<Item = &str> {
        self.providers.iter().map(String::as_str).filter(|name| {
            let refused = self.attempt.refused_for_good() && self.attempt.provider == *name;
            !refused && !self.job.was_refused_by(name)
        })
    }

    /// The providers tried since the message last waited, this attempt's included, and those that asked for more time.
    fn tried(&self) -> Vec<TriedProvider> {
        let provider = &self.attempt.provider;
        let again_at = self.retry_after.map_or(0, |wait| self.now + millis(wait));
        let others = self.job.tried.iter().filter(|tried| tried.provider != *provider).cloned();
        others.chain([TriedProvider { provider: provider.clone(), again_at }]).collect()
    }

    fn has_untried(&self, tried: &[TriedProvider]) -> bool {
        self.left().any(|name| !is_tried(tried, name))
    }

    /// This provider can never take the message: the next one at once, or with the others' next round.
    fn refused_for_good(&self) -> Decision {
        if self.left().next().is_none() {
            return self.fail(self.error_code(), Some(DeadReason::Refused));
        }
        let tried = self.tried();
        if self.has_untried(&tried) {
            return self.at_once(|| Decision::Retry { delay_ms: 0, tried });
        }
        self.wait(|delay_ms, tried| Decision::Retry { delay_ms, tried })
    }

    /// The attempt is free: the next provider at once; once all were tried, all of them again after a back-off.
    fn next_or_wait(&self) -> Decision {
        let tried = self.tried();
        if self.has_untried(&tried) {
            return self.at_once(|| Decision::Snooze { delay_ms: 0, tried });
        }
        self.wait(|delay_ms, tried| Decision::Snooze { delay_ms, tried })
    }

    fn later(&self) -> Decision {
        let tried = self.tried();
        let has_attempts_left = self.charged() < self.retry.max_attempts;
        if self.try_next_now && has_attempts_left && self.has_untried(&tried) {
            return self.at_once(|| Decision::Retry { delay_ms: 0, tried });
        }
        self.again()
    }

    fn again(&self) -> Decision {
        if self.charged() >= self.retry.max_attempts {
            return self.fail("attempts_spent", Some(DeadReason::AttemptsSpent));
        }
        let delay = delay(self.charged().max(1), self.retry, self.chance, self.retry_after);
        self.in_time(delay, |delay_ms, tried| Decision::Retry { delay_ms, tried })
    }

    fn at_once(&self, then: impl FnOnce() -> Decision) -> Decision {
        if self.now < self.begin_by { then() } else { self.fail("expired", None) }
    }

    /// Waits until a provider may be asked again. Only what providers ask for themselves ends a message: our own
    /// back-off is as long as its time allows.
    fn wait(&self, then: impl FnOnce(u64, Vec<TriedProvider>) -> Decision) -> Decision {
        let providers = u32::try_from(self.providers.len().max(1)).unwrap_or(u32::MAX);
        let rounds = self.job.attempt.div_ceil(providers);
        let retry = Retry { max: self.retry.max.min(MAX_FREE_BACKOFF), ..self.retry.clone() };
        let ours = delay(rounds, &retry, self.chance, None);
        let left = self.begin_by.saturating_sub(self.now).saturating_sub(1);
        let left = Duration::from_millis(u64::try_from(left).unwrap_or(0));
        let longest = Rung::all().map(Rung::delay).take_while(|delay| *delay <= left).last();
        let ours = if ours > left { longest.unwrap_or(ours) } else { ours };
        let theirs = delay(1, &retry, self.chance, Some(self.shortest_wish()));
        self.in_time(ours.max(theirs), then)
    }

    /// How long it takes until a provider that can still take the message asked for no more time.
    fn shortest_wish(&self) -> Duration {
        let tried = self.tried();
        let again_at = |name: &str| {
            tried.iter().find(|tried| tried.provider == name).map_or(0, |tried| tried.again_at)
        };
        let first = self.left().map(again_at).min().unwrap_or_default();
        Duration::from_millis(u64::try_from(first.saturating_sub(self.now)).unwrap_or(0))
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

    /// A delay that ends when no call may begin any more is the end: the text would come too late to be used. After it a
    /// new round begins, without the providers that asked for more time than that.
    fn in_time(
        &self,
        delay: Duration,
        then: impl FnOnce(u64, Vec<TriedProvider>) -> Decision,
    ) -> Decision {
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        let again_at = self.now.saturating_add_unsigned(delay_ms);
        if again_at >= self.begin_by {
            return self.fail("expired", None);
        }
        let tried = self.tried().into_iter().filter(|tried| tried.again_at > again_at);
        then(delay_ms, tried.collect())
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{attempt, job};

    /// What connecting takes at the most.
    const REACH: i64 = 100;

    /// An answer of provider `a`, about this message unless it says otherwise.
    #[derive(Clone, Copy)]
    struct Said {
        outcome: Outcome,
        scope: AnswerScope,
        try_next_now: bool,
        retry_after: Option<u64>,
    }

    fn said(outcome: Outcome) -> Said {
        Said { outcome, scope: AnswerScope::Message, try_next_now: false, retry_after: None }
    }

    const ABOUT_US: Said = Said {
        outcome: Outcome::RefusedHere,
        scope: AnswerScope::Provider,
        try_next_now: false,
        retry_after: None,
    };

    fn decided_about(job: &Job, provider: &str, said: Said, now: i64) -> Decision {
        let providers = ["a".to_owned(), "b".to_owned()];
        let made = Attempt { scope: said.scope, ..attempt(job.attempt, provider, said.outcome) };
        decide(&Situation {
            job,
            attempt: &made,
            retry_after: said.retry_after.map(Duration::from_secs),
            try_next_now: said.try_next_now,
            providers: &providers,
            begin_by: job.deadline - REACH,
            retry: &Retry::default(),
            now,
            chance: 0.0,
        })
    }

    fn decided(job: &Job, outcome: Outcome, now: i64) -> Decision {
        decided_about(job, "a", said(outcome), now)
    }

    fn fail(status: RowStatus, code: &str, dead: Option<DeadReason>) -> Decision {
        Decision::Fail { status, error_code: code.to_owned(), dead }
    }

    fn tried(providers: &[&str]) -> Vec<TriedProvider> {
        let again_at = 0;
        providers.iter().map(|p| TriedProvider { provider: (*p).to_owned(), again_at }).collect()
    }

    fn retry(delay_ms: u64, passed_over: &[&str]) -> Decision {
        Decision::Retry { delay_ms, tried: tried(passed_over) }
    }

    fn snooze(delay_ms: u64, passed_over: &[&str]) -> Decision {
        Decision::Snooze { delay_ms, tried: tried(passed_over) }
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
        let b_tried = Job { tried: tried(&["b"]), ..code.clone() };
        let cases = [
            (&code, Outcome::Accepted, Decision::Done),
            (&code, Outcome::Refused, fail(Failed, "word", Some(Refused))),
            (&code, Outcome::RefusedHere, retry(0, &["a"])),
            (&b_refused, Outcome::RefusedHere, fail(Failed, "word", Some(Refused))),
            (&b_tried, Outcome::RefusedHere, retry(1000, &[])),
            (&code, Outcome::Later, retry(1000, &[])),
            (&spent, Outcome::Later, fail(Failed, "attempts_spent", Some(AttemptsSpent))),
            (&snoozed, Outcome::Later, retry(2000, &[])),
            (&code, Outcome::TooFast, snooze(0, &["a"])),
            (&b_tried, Outcome::TooFast, snooze(1000, &[])),
            (&b_refused, Outcome::TooFast, snooze(1000, &[])),
            (&spent, Outcome::TooFast, snooze(0, &["a"])),
            (&code, Outcome::Unreachable, snooze(0, &["a"])),
            (&b_tried, Outcome::Unreachable, snooze(1000, &[])),
            (&code, Outcome::Unknown, retry(1000, &[])),
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
    fn a_refusal_of_our_account_waits_for_an_operator() {
        let code = job(Lane::Code, &[]);
        assert_eq!(decided_about(&code, "a", ABOUT_US, 0), snooze(0, &["a"]));
        let b_tried = Job { tried: tried(&["b"]), ..code.clone() };
        assert_eq!(decided_about(&b_tried, "a", ABOUT_US, 0), snooze(1000, &[]));
        let last = b_tried.deadline - REACH - 1;
        let expired = fail(RowStatus::Failed, "expired", None);
        assert_eq!(decided_about(&b_tried, "a", ABOUT_US, last), expired);
    }

    #[test]
    fn an_unlisted_error_counts_and_asks_an_untried_provider_at_once() {
        let unlisted = Said { try_next_now: true, ..said(Outcome::Later) };
        let code = job(Lane::Code, &[]);
        assert_eq!(decided_about(&code, "a", unlisted, 0), retry(0, &["a"]));
        let b_tried = Job { tried: tried(&["b"]), ..code.clone() };
        assert_eq!(decided_about(&b_tried, "a", unlisted, 0), retry(1000, &[]));
        let spent = Job { attempt: 4, ..code };
        let is_spent = fail(RowStatus::Failed, "attempts_spent", Some(DeadReason::AttemptsSpent));
        assert_eq!(decided_about(&spent, "a", unlisted, 0), is_spent);
    }

    #[test]
    fn a_provider_that_asks_for_time_is_passed_over_until_then() {
        let minute = Said { retry_after: Some(60), ..said(Outcome::TooFast) };
        let code = job(Lane::Code, &[]);
        let a_rests = vec![TriedProvider { provider: "a".to_owned(), again_at: 60_000 }];
        let at_once = Decision::Snooze { delay_ms: 0, tried: a_rests.clone() };
        assert_eq!(decided_about(&code, "a", minute, 0), at_once);
        // b can't be reached: it is asked again after a second, a not yet.
        let second = Job { attempt: 2, tried: a_rests.clone(), ..code.clone() };
        let b_again = Decision::Snooze { delay_ms: 1000, tried: a_rests };
        assert_eq!(decided_about(&second, "b", said(Outcome::Unreachable), 0), b_again);
        // b can never take it: a alone is left.
        let wait_for_a = retry(64_000, &[]);
        assert_eq!(decided_about(&second, "b", said(Outcome::RefusedHere), 0), wait_for_a);
        // Both ask for a minute.
        assert_eq!(decided_about(&second, "b", minute, 0), snooze(64_000, &[]));
    }

    /// The delays of a message whose only two providers never recover, in seconds.
    fn waits(mut job: Job) -> Vec<u64> {
        let (mut now, mut delays, mut turn) = (0, Vec::new(), ["a", "b"].iter().cycle());
        loop {
            let provider = turn.next().unwrap();
            match decided_about(&job, provider, said(Outcome::Unreachable), now) {
                Decision::Snooze { delay_ms, tried } => {
                    now += i64::try_from(delay_ms).unwrap();
                    (job.attempt, job.snoozed, job.tried) =
                        (job.attempt + 1, job.snoozed + 1, tried);
                    delays.extend((delay_ms > 0).then_some(delay_ms / 1000));
                }
                _ => return delays,
            }
        }
    }

    #[test]
    fn providers_that_stay_away_are_asked_every_minute_until_the_deadline() {
        let delays = waits(Job { deadline: 86_400_000, ..job(Lane::Notice, &[]) });
        assert_eq!(delays[..5], [1, 1, 2, 4, 8], "the least within the jitter");
        assert_eq!(delays.iter().max(), Some(&32), "the least around a minute");
        assert!(delays.iter().sum::<u64>() > 86_390, "what is left at the end is used");
        let delays = waits(Job { deadline: 40_000 + REACH, ..job(Lane::Code, &[]) });
        assert_eq!(delays.iter().sum::<u64>(), 39, "{delays:?}");
    }

    #[test]
    fn nothing_is_tried_that_could_come_past_its_deadline() {
        let code = job(Lane::Code, &[]);
        let begin_by = code.deadline - REACH;
        let expired = fail(RowStatus::Failed, "expired", None);
        let b_tried = Job { tried: tried(&["b"]), ..code.clone() };
        for outcome in [Outcome::Later, Outcome::TooFast, Outcome::Unreachable] {
            assert_eq!(decided(&b_tried, outcome, begin_by - 1000), expired);
            assert_ne!(decided(&b_tried, outcome, begin_by - 1001), expired);
        }
        for outcome in [Outcome::RefusedHere, Outcome::TooFast] {
            assert_eq!(decided(&code, outcome, begin_by), expired);
            assert_ne!(decided(&code, outcome, begin_by - 1), expired);
        }
        assert_eq!(
            decided(&code, Outcome::Unknown, begin_by - 1000),
            fail(RowStatus::Unknown, "expired", None)
        );
    }

    #[test]
    fn providers_take_turns_and_refusers_are_passed_over() {
        let providers = ["a", "b", "c"].map(str::to_owned);
        let next = |tries: &[(&str, Outcome)], passed_over: &[&str]| {
            let attempts =
                (1..).zip(tries).map(|(number, (name, o))| attempt(number, name, *o)).collect();
            let tried = tried(passed_over);
            let job = Job { attempts, tried, ..job(Lane::Code, &[]) };
            next_provider(&job, &providers).map(str::to_owned)
        };
        assert_eq!(next(&[], &[]).as_deref(), Some("a"));
        assert_eq!(next(&[("a", Outcome::Later)], &[]).as_deref(), Some("b"));
        assert_eq!(next(&[("c", Outcome::Later)], &[]).as_deref(), Some("a"));
        let refused = Outcome::RefusedHere;
        assert_eq!(next(&[("b", refused), ("a", Outcome::Later)], &[]).as_deref(), Some("c"));
        assert_eq!(next(&[("a", refused), ("b", refused), ("c", refused)], &[]), None);
        assert_eq!(next(&[("gone", Outcome::Later)], &[]).as_deref(), Some("a"));
        assert_eq!(next(&[("a", Outcome::TooFast)], &["a", "b"]).as_deref(), Some("c"));
        let all = next(&[("b", refused), ("a", Outcome::TooFast)], &["a", "b", "c"]);
        assert_eq!(all.as_deref(), Some("c"), "what is configured has changed");
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
