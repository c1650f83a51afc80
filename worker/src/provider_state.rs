//! Conditions of providers, as this worker's calls show them: logged when they begin and end, and the metric
//! `sms_provider_up`.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use postrider_common::model::job::{AnswerScope, Attempt, Outcome};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A condition ends with a good answer that no bad one follows for so long: a provider that throttles lets some
/// messages through all the while.
const QUIET: Duration = Duration::from_secs(5);
/// The same of an account that is rejected: messages with the sign or template that it has not approved are tried again every
/// minute, while all others are sent.
const QUIET_REJECTION: Duration = Duration::from_mins(2);
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Error code of a call for which this process had no file descriptor left.
const NO_DESCRIPTOR: &str = "no_descriptor";

/// Reason why a provider takes no messages from this worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Condition {
    Unreachable,
    Throttling,
    /// Credentials, balance, sign, template, clock.
    RejectsUs,
    /// This worker's own fault.
    NoDescriptor,
}

impl Condition {
    const ALL: [Self; 4] =
        [Self::Unreachable, Self::Throttling, Self::RejectsUs, Self::NoDescriptor];

    /// The condition that an attempt shows; `None` where it says nothing against the provider.
    fn shown_by(attempt: &Attempt) -> Option<Self> {
        match (attempt.outcome, attempt.scope) {
            (Outcome::Unreachable, _) if attempt.error_code.as_deref() == Some(NO_DESCRIPTOR) => {
                Some(Self::NoDescriptor)
            }
            (Outcome::Unreachable, _) => Some(Self::Unreachable),
            (Outcome::TooFast, AnswerScope::Provider) => Some(Self::Throttling),
            (Outcome::RefusedHere, AnswerScope::Provider) => Some(Self::RejectsUs),
            _ => None,
        }
    }

    /// Whether an attempt shows that this condition doesn't hold.
    fn is_disproved_by(self, attempt: &Attempt) -> bool {
        if attempt.outcome == Outcome::Unreachable {
            return false;
        }
        let reached = matches!(self, Self::Unreachable | Self::NoDescriptor);
        let judged = match attempt.outcome {
            Outcome::Accepted | Outcome::Refused => true,
            Outcome::RefusedHere | Outcome::TooFast => attempt.scope == AnswerScope::Message,
            Outcome::Later | Outcome::Unreachable | Outcome::Unknown => false,
        };
        reached || judged
    }

    /// How long no bad answer may come for it to be over.
    fn quiet(self) -> Duration {
        if self == Self::RejectsUs { QUIET_REJECTION } else { QUIET }
    }

    fn log_begin(self, provider: &str, attempt: &Attempt) {
        let code = attempt.error_code.as_deref().unwrap_or_default();
        let cause = attempt.error_message.as_deref().unwrap_or_default();
        match self {
            Self::Unreachable => {
                tracing::warn!(
                    provider.name = provider,
                    error.code = code,
                    cause,
                    "provider is unreachable: messages wait"
                );
            }
            Self::Throttling => {
                tracing::warn!(
                    provider.name = provider,
                    error.code = code,
                    cause,
                    "provider is throttling: messages wait"
                );
            }
            Self::RejectsUs => {
                tracing::error!(
                    provider.name = provider,
                    error.code = code,
                    cause,
                    "provider rejects our account: check its credentials, balance, sign, templates and this machine's clock"
                );
            }
            Self::NoDescriptor => {
                tracing::warn!(
                    provider.name = provider,
                    cause,
                    "this worker has no file descriptor left to call its provider: raise its limit (ulimit -n)"
                );
            }
        }
    }

    fn log_end(self, provider: &str) {
        let message = match self {
            Self::Unreachable => "provider is reachable again",
            Self::Throttling => "provider is no longer throttling",
            Self::RejectsUs => "provider accepts our account again",
            Self::NoDescriptor => "this worker has file descriptors for its provider again",
        };
        tracing::info!(provider.name = provider, "{message}");
    }
}

/// When a condition was last shown, and last disproved.
#[derive(Debug, Clone, Copy)]
struct Seen {
    bad: Instant,
    good: Option<Instant>,
}

/// The conditions that hold at one provider.
#[derive(Debug, Default)]
struct State(BTreeMap<Condition, Seen>);

impl State {
    /// Takes an attempt into account. Returns the condition that begins with it.
    fn observe(&mut self, attempt: &Attempt, now: Instant) -> Option<Condition> {
        for (condition, seen) in &mut self.0 {
            if condition.is_disproved_by(attempt) {
                seen.good = Some(now);
            }
        }
        let shown = Condition::shown_by(attempt)?;
        let before = self.0.insert(shown, Seen { bad: now, good: None });
        before.is_none().then_some(shown)
    }

    /// Ends the conditions that were disproved and not shown again, and returns them.
    fn end(&mut self, now: Instant) -> Vec<Condition> {
        let is_over = |condition: &Condition| {
            self.0.get(condition).is_some_and(|seen| {
                seen.good.is_some() && now.duration_since(seen.bad) >= condition.quiet()
            })
        };
        let over: Vec<_> = Condition::ALL.into_iter().filter(is_over).collect();
        self.0.retain(|condition, _| !over.contains(condition));
        over
    }

    /// Returns whether the provider takes messages. Lacks of this worker say nothing about it, and one that rejects some
    /// messages' sign or template takes the others.
    fn is_up(&self) -> bool {
        self.0.iter().all(|(condition, seen)| match condition {
            Condition::NoDescriptor => true,
            Condition::RejectsUs => seen.good.is_some(),
            Condition::Unreachable | Condition::Throttling => false,
        })
    }
}

/// The states of the providers that this worker was started with.
#[derive(Debug)]
pub(crate) struct ProviderStates(Mutex<BTreeMap<String, State>>);

impl ProviderStates {
    pub(crate) fn new(names: &[String]) -> Self {
        for name in names {
            set_up(name, true);
        }
        let states = names.iter().map(|name| (name.clone(), State::default()));
        Self(Mutex::new(states.collect()))
    }

    /// Takes an attempt into account; one of a provider that isn't known is passed over.
    pub(crate) fn observe(&self, attempt: &Attempt) {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(state) = states.get_mut(&attempt.provider) else { return };
        let was_up = state.is_up();
        let begun = state.observe(attempt, Instant::now());
        if state.is_up() != was_up {
            set_up(&attempt.provider, !was_up);
        }
        if let Some(begun) = begun {
            begun.log_begin(&attempt.provider, attempt);
        }
    }

    /// Ends conditions until `stop`.
    pub(crate) async fn watch(&self, stop: CancellationToken) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        while stop.run_until_cancelled(looks.tick()).await.is_some() {
            let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            for (name, state) in states.iter_mut() {
                for ended in state.end(Instant::now()) {
                    set_up(name, state.is_up());
                    ended.log_end(name);
                }
            }
        }
    }
}

fn set_up(provider: &str, is_up: bool) {
    metrics::gauge!("sms_provider_up", "provider" => provider.to_owned()).set(if is_up {
        1.0
    } else {
        0.0
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::attempt;

    fn shows(outcome: Outcome, scope: AnswerScope) -> Attempt {
        Attempt { scope, ..attempt(1, "main", outcome) }
    }

    const UNREACHABLE: (Outcome, AnswerScope) = (Outcome::Unreachable, AnswerScope::Provider);
    const THROTTLES: (Outcome, AnswerScope) = (Outcome::TooFast, AnswerScope::Provider);
    const REJECTS: (Outcome, AnswerScope) = (Outcome::RefusedHere, AnswerScope::Provider);
    const ACCEPTS: (Outcome, AnswerScope) = (Outcome::Accepted, AnswerScope::Message);

    #[test]
    fn a_condition_begins_once_and_ends_once_after_a_quiet_time() {
        let (mut state, begin) = (State::default(), Instant::now());
        let see = |state: &mut State, (outcome, scope), seconds| {
            state.observe(&shows(outcome, scope), begin + Duration::from_secs(seconds))
        };
        assert_eq!(see(&mut state, THROTTLES, 0), Some(Condition::Throttling));
        assert!(!state.is_up());
        // Some get through all the while.
        for second in 1..60 {
            assert_eq!(see(&mut state, ACCEPTS, second), None);
            assert_eq!(see(&mut state, THROTTLES, second), None);
            assert_eq!(state.end(begin + Duration::from_secs(second)), []);
        }
        assert_eq!(state.end(begin + Duration::from_mins(10)), [], "nothing shows that it ended");
        assert_eq!(see(&mut state, ACCEPTS, 601), None);
        assert_eq!(state.end(begin + Duration::from_secs(601)), [Condition::Throttling]);
        assert!(state.is_up());
        assert_eq!(state.end(begin + Duration::from_secs(602)), []);
        assert_eq!(see(&mut state, THROTTLES, 603), Some(Condition::Throttling), "it begins anew");
    }

    #[test]
    fn one_template_that_is_rejected_again_and_again_is_reported_once_and_leaves_the_provider_up() {
        let (mut state, begin) = (State::default(), Instant::now());
        let mut reports = 0;
        for second in 0..600 {
            let now = begin + Duration::from_secs(second);
            let (outcome, scope) = if second % 64 == 0 { REJECTS } else { ACCEPTS };
            reports += usize::from(state.observe(&shows(outcome, scope), now).is_some());
            assert_eq!(state.is_up(), second % 64 != 0, "{second}");
            assert_eq!(state.end(now), [], "{second}");
        }
        assert_eq!(reports, 1);
        assert_eq!(state.end(begin + Duration::from_mins(15)), [Condition::RejectsUs]);
    }

    #[test]
    fn an_answer_ends_only_what_it_disproves() {
        use AnswerScope::{Message, Provider};
        let disproved = |outcome, scope| {
            let mut state = State::default();
            let begin = Instant::now();
            for (outcome, scope) in [UNREACHABLE, THROTTLES, REJECTS] {
                state.observe(&shows(outcome, scope), begin);
            }
            state.observe(&shows(outcome, scope), begin + Duration::from_secs(1));
            state.end(begin + QUIET_REJECTION)
        };
        let all = [Condition::Unreachable, Condition::Throttling, Condition::RejectsUs];
        for (outcome, scope) in [
            ACCEPTS,
            (Outcome::Refused, Message),
            (Outcome::RefusedHere, Message),
            (Outcome::TooFast, Message),
        ] {
            assert_eq!(disproved(outcome, scope), all, "{outcome:?}");
        }
        for (outcome, scope) in [(Outcome::Later, Message), (Outcome::Unknown, Message)] {
            assert_eq!(disproved(outcome, scope), all[..1], "{outcome:?}: it was reached");
        }
        assert_eq!(disproved(Outcome::Unreachable, Provider), []);
    }

    #[test]
    fn one_numbers_limit_and_our_own_lack_of_descriptors_leave_a_provider_up() {
        let (mut state, now) = (State::default(), Instant::now());
        for outcome in [Outcome::RefusedHere, Outcome::TooFast, Outcome::Later, Outcome::Unknown] {
            assert_eq!(state.observe(&shows(outcome, AnswerScope::Message), now), None);
        }
        let error_code = Some(NO_DESCRIPTOR.to_owned());
        let lacking = Attempt { error_code, ..shows(Outcome::Unreachable, AnswerScope::Provider) };
        assert_eq!(state.observe(&lacking, now), Some(Condition::NoDescriptor));
        assert!(state.is_up());
    }

    #[test]
    fn providers_that_are_not_known_are_not_remembered() {
        let states = ProviderStates::new(&["main".to_owned()]);
        for n in 0..100 {
            let (outcome, scope) = UNREACHABLE;
            let provider = format!("made up {n}");
            states.observe(&Attempt { provider, ..shows(outcome, scope) });
        }
        assert_eq!(states.0.lock().unwrap().len(), 1);
    }
}
