//! The job: what the API puts on the queue for a worker. Its handler is in `worker`.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::model::ids::{MessageId, VerificationId};
use crate::model::owner::Owner;
use crate::model::phone::PhoneNumber;
use crate::model::template::Params;
use crate::secrets::{KeyId, KeyRing, OpenError, SealedFor};

/// The wire name of this shape. A change that old workers can't read gets a new one; a decoder for the
/// old one stays until no queue can hold it.
pub const WIRE_NAME: &str = "sms.1";

/// The two kinds of message, each with a work queue and consumers of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    Code,
    Notice,
}

impl Lane {
    pub const ALL: [Self; 2] = [Self::Code, Self::Notice];

    /// `code` or `notice`: the routing key, the metric label, the word in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Notice => "notice",
        }
    }

    /// The work queue.
    #[must_use]
    pub fn queue(self) -> &'static str {
        match self {
            Self::Code => "sms.code",
            Self::Notice => "sms.notice",
        }
    }

    /// `sms_log.type`: 1 a code, 2 a notice.
    #[must_use]
    pub fn row_type(self) -> i32 {
        match self {
            Self::Code => 1,
            Self::Notice => 2,
        }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Attempts that travel with a job; of those before there is a count.
pub const MAX_KEPT_ATTEMPTS: usize = 20;

/// One message on its way. Times are unix milliseconds of the store's clock. Nothing in it is secret but
/// what is in `sealed`: no phone number and no code is ever in a queue in the clear.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// [`WIRE_NAME`].
    pub v: String,
    pub message_id: MessageId,
    pub account_id: i64,
    /// Sent with a test key: the worker hands it to the sandbox, whatever providers there are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub test: bool,
    pub lane: Lane,
    /// What it is for; of a notice empty where nobody said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub purpose: String,
    /// A name in `[templates]`, or a provider's own template code where `raw_template` says so.
    pub template: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub raw_template: bool,
    /// Only for codes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<JobVerification>,
    /// The key that derives the code and opens `sealed`.
    pub key_id: KeyId,
    pub accepted_at: i64,
    /// Not handed to a provider from this time on.
    pub deadline: i64,
    /// The store's epoch when the message was accepted: where it is another now, the store lost its data.
    pub epoch: String,
    /// Raised by a replay of a dead letter; claims of an older one are void.
    #[serde(default)]
    pub generation: u32,
    /// Counts deliveries to a provider from 1, also those that a snooze makes free.
    pub attempt: u32,
    /// How many of the attempts are free: they didn't reach a provider, or it takes nothing from us at the moment.
    #[serde(default)]
    pub snoozed: u32,
    /// Milliseconds still to wait, where one retry queue couldn't hold it long enough.
    #[serde(default)]
    pub wait_ms: u64,
    /// Providers that the next attempt passes over: tried since the message last waited, or asked to be left alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<TriedProvider>,
    /// The last attempts, at most [`MAX_KEPT_ATTEMPTS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// The attempts before those.
    #[serde(default, skip_serializing_if = "EarlierAttempts::is_empty")]
    pub earlier: EarlierAttempts,
    /// [`Contents`], sealed for the queue and bound to the message's id.
    pub sealed: String,
}

/// What a worker needs to make the code, and the store to have the verification back if it lost it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobVerification {
    pub id: VerificationId,
    pub digits: u8,
    pub ttl_ms: i64,
    /// When its first message was accepted.
    pub first_at: i64,
    pub expires_at: i64,
    /// How many messages of it were accepted, this one included.
    pub sends: u32,
    pub max_attempts: u32,
    pub remember_ms: i64,
}

/// A provider that a message isn't handed to now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriedProvider {
    pub provider: String,
    /// When it may be asked again, as it said itself, store's clock; 0 where it said nothing.
    #[serde(default)]
    pub again_at: i64,
}

/// The attempts that no longer travel with their job, counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarlierAttempts {
    pub count: u32,
    /// Attempts whose answer was lost.
    #[serde(default)]
    pub unknowns: u32,
    /// Providers that can never take the message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused_by: Vec<String>,
}

impl EarlierAttempts {
    fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn add(&mut self, attempt: Attempt) {
        self.count = self.count.saturating_add(1);
        self.unknowns += u32::from(attempt.outcome == Outcome::Unknown);
        if attempt.refused_for_good() && !self.refused_by.contains(&attempt.provider) {
            self.refused_by.push(attempt.provider);
        }
    }
}

/// One try at one provider: a row of `sms_attempt`, an entry of the message's timeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// The name in `[providers]`.
    pub provider: String,
    pub outcome: Outcome,
    /// Of a refusal, whether it was about this message or about our account at the provider.
    #[serde(default, skip_serializing_if = "AnswerScope::is_message")]
    pub scope: AnswerScope,
    /// When the provider was called, store's clock.
    pub at: i64,
    pub duration_ms: i64,
    /// As the provider gave it, with what must not be kept redacted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_message_id: Option<String>,
    /// A keyed hash of the id where it is redacted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_message_hash: Option<String>,
    /// The provider's own word for it, or ours (`timeout`, `connect`) where no answer came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
}

impl Attempt {
    /// Returns whether its provider can never take this message, whatever an operator does.
    #[must_use]
    pub fn refused_for_good(&self) -> bool {
        self.outcome == Outcome::RefusedHere && self.scope == AnswerScope::Message
    }
}

/// What a provider's answer means (or its absence).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The provider took the message.
    Accepted,
    /// This request is wrong, at any provider: number, text, parameters, opted out.
    Refused,
    /// This provider won't: credentials, sign, template, balance, its own limits.
    RefusedHere,
    /// Not now: it was not carried and may be tried again.
    Later,
    /// Not now, and the attempt is free: the provider throttles us.
    TooFast,
    /// The call surely did not reach the provider (DNS, connect, TLS handshake, no descriptor): the attempt is free.
    Unreachable,
    /// The request left and its answer was lost: it may have been carried.
    Unknown,
}

impl Outcome {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::RefusedHere => "refused_here",
            Self::Later => "later",
            Self::TooFast => "too_fast",
            Self::Unreachable => "unreachable",
            Self::Unknown => "unknown",
        }
    }
}

/// The subject of a provider's answer that isn't an acceptance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerScope {
    /// This message alone: its number, its text, the provider's limit for its number.
    #[default]
    Message,
    /// Every message: credentials, balance, sign, template, clock, throttling. An operator or time can fix it.
    Provider,
}

impl AnswerScope {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
    fn is_message(&self) -> bool {
        *self == Self::Message
    }
}

/// What of a job is nobody's business but the worker's.
#[derive(Clone, PartialEq)]
pub struct Contents {
    pub phone: PhoneNumber,
    /// A notice's parameters; empty for a code.
    pub params: Params,
    pub client_ip: Option<IpAddr>,
}

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contents").field("phone", &self.phone).finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
struct ContentsWire {
    phone: String,
    #[serde(default, skip_serializing_if = "Params::is_empty")]
    params: Params,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_ip: Option<IpAddr>,
}

/// Why bytes are no job of ours, for good.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    #[error("not JSON of a job: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("the wire name is not {WIRE_NAME}")]
    OtherVersion,
}

impl Contents {
    #[must_use]
    pub fn seal(&self, keys: &KeyRing, message: MessageId) -> String {
        let wire = ContentsWire {
            phone: self.phone.as_e164().to_owned(),
            params: self.params.clone(),
            client_ip: self.client_ip,
        };
        #[expect(clippy::expect_used, reason = "strings always serialise")]
        let plain = serde_json::to_vec(&wire).expect("contents serialise");
        keys.seal(SealedFor::Queue, &plain, message.as_bytes())
    }

    /// Fails with [`OpenError::UnknownKey`] where this process lacks the key, with
    /// [`OpenError::Broken`] where the text is no contents of this message.
    pub fn open(keys: &KeyRing, message: MessageId, sealed: &str) -> Result<Self, OpenError> {
        let plain = keys.open(SealedFor::Queue, sealed, message.as_bytes())?;
        let wire: ContentsWire = serde_json::from_slice(&plain).map_err(|_| OpenError::Broken)?;
        let phone = PhoneNumber::from_e164(&wire.phone).map_err(|_| OpenError::Broken)?;
        Ok(Self { phone, params: wire.params, client_ip: wire.client_ip })
    }
}

impl Job {
    #[must_use]
    pub fn owner(&self) -> Owner {
        Owner::new(self.account_id, self.test)
    }

    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        #[expect(clippy::expect_used, reason = "numbers and strings always serialise")]
        serde_json::to_vec(self).expect("a job serialises")
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, JobError> {
        let job: Self = serde_json::from_slice(bytes)?;
        if job.v == WIRE_NAME { Ok(job) } else { Err(JobError::OtherVersion) }
    }

    /// Whether the answer of an earlier attempt was lost.
    #[must_use]
    pub fn has_unknown(&self) -> bool {
        self.unknowns() > 0
    }

    /// How many attempts' answers were lost.
    #[must_use]
    pub fn unknowns(&self) -> u32 {
        let kept = self.attempts.iter().filter(|a| a.outcome == Outcome::Unknown).count();
        self.earlier.unknowns.saturating_add(u32::try_from(kept).unwrap_or(u32::MAX))
    }

    /// How many attempts there were so far.
    #[must_use]
    pub fn attempts_made(&self) -> u32 {
        let kept = u32::try_from(self.attempts.len()).unwrap_or(u32::MAX);
        self.earlier.count.saturating_add(kept)
    }

    /// Returns whether this provider can never take the message.
    #[must_use]
    pub fn was_refused_by(&self, provider: &str) -> bool {
        self.earlier.refused_by.iter().any(|name| name == provider)
            || self.attempts.iter().any(|a| a.provider == provider && a.refused_for_good())
    }

    /// Adds an attempt; the oldest ones beyond [`MAX_KEPT_ATTEMPTS`] are only counted from then on.
    pub fn add_attempt(&mut self, attempt: Attempt) {
        self.attempts.push(attempt);
        let excess = self.attempts.len().saturating_sub(MAX_KEPT_ATTEMPTS);
        self.attempts.drain(..excess).for_each(|cut| self.earlier.add(cut));
    }
}

#[cfg(test)]
mod tests;
