//! Classes of answers: each provider's table maps its error codes to one, and the class says what follows.

use std::time::Duration;

use postrider_common::model::job::{AnswerScope, Outcome};

use super::Answer;

/// A limit of a minute for one number is over by then.
const MINUTE: Duration = Duration::from_mins(1);

/// The meaning of an error code or of a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Accepted,
    /// Number, text or parameters are wrong at any provider.
    Refused,
    /// The provider's own limit for this number, or a country it doesn't reach.
    NotHere,
    /// The provider's own limit for this number, of a minute.
    MinuteLimit,
    /// Credentials, balance, sign, template, clock, endpoint: an operator can fix them.
    Account,
    /// The provider throttles us.
    Throttled,
    /// Not carried, for a reason that passes.
    Later,
    /// An error code that no table lists: not carried, for a reason that nobody knows.
    Unlisted,
    /// It may have been carried.
    Unknown,
}

impl Class {
    fn outcome(self) -> Outcome {
        match self {
            Self::Accepted => Outcome::Accepted,
            Self::Refused => Outcome::Refused,
            Self::NotHere | Self::Account => Outcome::RefusedHere,
            Self::MinuteLimit | Self::Throttled => Outcome::TooFast,
            Self::Later | Self::Unlisted => Outcome::Later,
            Self::Unknown => Outcome::Unknown,
        }
    }

    fn scope(self) -> AnswerScope {
        match self {
            Self::Account | Self::Throttled => AnswerScope::Provider,
            _ => AnswerScope::Message,
        }
    }

    /// An answer of this class; `error_code` isn't kept of one that accepts.
    pub(super) fn answer(self, error_code: &str) -> Answer {
        let mut answer = Answer::of(self.outcome(), error_code);
        answer.scope = self.scope();
        answer.try_next_now = self == Self::Unlisted;
        answer.retry_after = (self == Self::MinuteLimit).then_some(MINUTE);
        answer
    }
}
