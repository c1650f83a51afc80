//! What the store is asked and what it answers: the JSON that both backends read and write.
//!
//! Every request may carry `now` (unix milliseconds): tests step the clock with it, everybody else leaves
//! it out and the store's own clock counts. Every answer is `{"ok": ...}`, or `{"lost": true}` where
//! the store has no epoch: it lost its data, and nothing may be decided before bans are back.

mod batch;
mod take;

use serde::{Deserialize, Serialize};

pub use self::batch::*;
pub use self::take::*;

use crate::ids::{MessageId, VerificationId};
use crate::job::{JobVerification, Lane};
use crate::limits::Scope;
use crate::secret::KeyId;

/// The name of an operation: of its Lua script and of its SQL text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    Admit,
    AdmitMany,
    Withdraw,
    Confirm,
    Doubt,
    Read,
    Settle,
    Verification,
    Message,
    Claim,
    Calling,
    Resolve,
    Archive,
    AccountVersion,
    Ban,
    Epoch,
    Restore,
    LaneCounts,
    OldestAge,
    SandboxPut,
    SandboxList,
    Explain,
    Take,
    GiveBack,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Envelope<T> {
    Lost {
        #[expect(dead_code, reason = "tells the two shapes apart")]
        lost: bool,
    },
    Ok {
        ok: T,
    },
}

// ---- the guard of a send

/// Asks whether one message may be accepted.
#[derive(Debug, Clone, Serialize)]
pub struct Admit {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<i64>,
    pub account: AccountCheck,
    /// Whose the message is: the account's id, or a negative one that stands for something of its own.
    pub owner: i64,
    /// The id that the message gets if it is new. Never one that another message has: only a repeat, which its
    /// idempotency key tells, may name it again.
    pub message_id: MessageId,
    pub lane: Lane,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency: Option<Idempotency>,
    /// What makes two requests without a key the same: account, purpose and phone of a code; account, phone
    /// and a fingerprint of a notice. While a message of it is in doubt, a repeat publishes it again.
    pub subject: String,
    /// In the order in which they are looked at.
    pub limits: Vec<LimitCheck>,
    pub ban_check: BanCheck,
    /// What a refusal for its phone's, its address's or its prefix's sake counts against, unless a ban hits it already.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub strikes: Vec<Strike>,
    /// Only for codes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification: Option<NewVerification>,
    /// How long a notice may wait; a code's deadline comes from its verification.
    pub ttl_ms: i64,
    /// Whether guard and enqueue are one transaction, so that what is admitted is queued.
    pub confirmed: bool,
    /// What GET shows of the message until its row exists; the store doesn't look into it.
    pub about: About,
}

/// The record of the caller as this process knows it.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct AccountCheck {
    pub id: i64,
    pub version: i64,
}

#[derive(Debug, Clone, Serialize)]
pub struct Idempotency {
    /// Account, path and a hash of the caller's key: the store's key.
    pub key: String,
    /// Of the body, one for each master secret, the current one's first.
    pub fingerprints: Vec<String>,
}

/// One limit: at most `quota` entries under `key` within `window_ms`.
#[derive(Debug, Clone, Serialize)]
pub struct LimitCheck {
    pub key: String,
    pub scope: Scope,
    pub quota: u32,
    pub window_ms: i64,
    /// Where in the order of refusals it stands: see [`rank`]. Never falls along the list.
    pub rank: u8,
    /// Whether its entry is given back when the message ends unsent: the phone scopes.
    pub refund: bool,
}

/// The order of refusals: limits by scope, with `max_sends` and the bans between.
pub mod rank {
    pub const PHONE: u8 = 1;
    pub const MAX_SENDS: u8 = 2;
    pub const IP: u8 = 3;
    pub const BANS: u8 = 4;
    pub const ACCOUNT: u8 = 5;
    pub const PREFIX: u8 = 6;
    pub const GLOBAL: u8 = 7;
}

/// What is looked for among the bans.
#[derive(Debug, Clone, Serialize)]
pub struct BanCheck {
    /// E.164, if the request names a phone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// The address as 128 characters `0` and `1` (IPv4 as its IPv4-mapped IPv6 address).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_bits: Option<String>,
}

/// A window of refusals or failures: the one that makes `threshold` of them within `window_ms` bans the subject
/// for `ban_ms`, never for less than it is banned already, and empties the window.
#[derive(Debug, Clone, Serialize)]
pub struct Strike {
    pub key: String,
    /// From 1 to 1,000.
    pub threshold: u32,
    pub window_ms: i64,
    pub ban_ms: i64,
    pub subject: BanSubject,
}

/// The verification that a send of a code starts, where none lives that it belongs to.
#[derive(Debug, Clone, Serialize)]
pub struct NewVerification {
    pub id: VerificationId,
    /// Account, purpose and phone.
    pub subject: String,
    pub account_id: i64,
    pub purpose: String,
    pub key_id: KeyId,
    pub digits: u8,
    pub ttl_ms: i64,
    pub max_attempts: u32,
    pub max_sends: u32,
    pub remember_ms: i64,
}

/// What GET shows of a message: its phone masked, its purpose or template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    pub phone: String,
    pub purpose: String,
    pub template: String,
}

/// What the guard says, in the order in which it is looked at.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AdmitAnswer {
    /// The account's record is newer than the caller's, or unknown to the store: load it and ask once more.
    StaleAccount,
    /// The idempotency key was used with another body.
    KeyReused,
    /// The first request with this key isn't answered yet; after `wait_ms` a repeat takes over.
    InFlight { wait_ms: i64 },
    /// The first request with this key was accepted: the same answer again, nothing counted.
    Replayed(Accepted),
    /// `limits[index]` is used up; one passes after `wait_ms`. `struck`: the bans that this refusal made.
    Limited {
        index: usize,
        wait_ms: i64,
        #[serde(default)]
        limits: Vec<LimitState>,
        #[serde(default)]
        struck: Vec<Ban>,
    },
    /// The verification was sent as often as it may be; it expires after `wait_ms`.
    MaxSends {
        wait_ms: i64,
        #[serde(default)]
        limits: Vec<LimitState>,
        #[serde(default)]
        struck: Vec<Ban>,
    },
    Banned {
        what: Banned,
        until: i64,
        #[serde(default)]
        limits: Vec<LimitState>,
    },
    /// Counted and written down: publish it. `again`: an earlier request's message, whose publish was in
    /// doubt; nothing was counted and its ids and times are those of that request.
    Admitted {
        message: Accepted,
        again: bool,
        #[serde(default)]
        limits: Vec<LimitState>,
    },
}

/// A message as it was accepted. Times are unix milliseconds of the store's clock.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Accepted {
    pub message_id: MessageId,
    pub accepted_at: i64,
    pub deadline: i64,
    pub epoch: String,
    /// When the same phone may be sent to again, as far as the phone's limits say.
    pub resend_at: i64,
    #[serde(default)]
    pub verification: Option<AcceptedVerification>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct AcceptedVerification {
    pub key_id: KeyId,
    #[serde(flatten)]
    pub job: JobVerification,
}

/// One limit after the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct LimitState {
    pub remaining: u32,
    /// Milliseconds until one more passes; 0 where one would pass now.
    pub wait_ms: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Banned {
    Phone,
    Ip,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Messages {
    messages: Vec<MessageId>,
}

impl Messages {
    pub(super) fn one(id: MessageId) -> Self {
        Self { messages: vec![id] }
    }

    pub(super) fn many(ids: &[MessageId]) -> Self {
        Self { messages: ids.to_vec() }
    }
}

// ---- checks

/// Which verification a check is about.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// The latest of account, purpose and phone.
    Subject(String),
    Id(VerificationId),
}

#[derive(Debug, Clone, Serialize)]
pub struct Read {
    pub account_id: i64,
    pub which: Which,
}

/// What a code is derived from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Live {
    pub id: VerificationId,
    pub key_id: KeyId,
    pub digits: u8,
}

/// Settles a check whose code was compared.
#[derive(Debug, Clone, Serialize)]
pub struct Settle {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<i64>,
    pub account: AccountCheck,
    /// Whose verification it must be; see [`Admit::owner`].
    pub owner: i64,
    pub which: Which,
    /// What [`Store::read`](super::Store::read) gave, if anything.
    pub read: Option<VerificationId>,
    /// Whether the code was that of `read`.
    pub right: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency: Option<Idempotency>,
    /// Of failed checks: a failure adds an entry to each, a right code to none.
    pub limits: Vec<LimitCheck>,
    pub ban_check: BanCheck,
    /// What a wrong code, or one for nothing that lives, counts against; for a spent verification too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub strikes: Vec<Strike>,
}

/// What came of a check, in the order in which it is looked at. `struck`: the bans that this failure made.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SettleAnswer {
    StaleAccount,
    KeyReused,
    /// Another verification is live by now: read and compare once more.
    Changed,
    Limited {
        index: usize,
        wait_ms: i64,
        #[serde(default)]
        limits: Vec<LimitState>,
    },
    Banned {
        what: Banned,
        until: i64,
        #[serde(default)]
        limits: Vec<LimitState>,
    },
    /// Nothing was ever sent, or it is forgotten, or it is another owner's.
    NotSent {
        #[serde(default)]
        limits: Vec<LimitState>,
        #[serde(default)]
        struck: Vec<Ban>,
    },
    Expired {
        #[serde(default)]
        limits: Vec<LimitState>,
        #[serde(default)]
        struck: Vec<Ban>,
    },
    /// The attempts are spent; the verification expires after `wait_ms`.
    Spent {
        wait_ms: i64,
        #[serde(default)]
        limits: Vec<LimitState>,
        #[serde(default)]
        struck: Vec<Ban>,
    },
    Mismatch {
        attempts_left: u32,
        #[serde(default)]
        limits: Vec<LimitState>,
        #[serde(default)]
        struck: Vec<Ban>,
    },
    /// The right code, again.
    Used {
        id: VerificationId,
        #[serde(default)]
        limits: Vec<LimitState>,
    },
    /// Approved now; `first` is false where an idempotent repeat is answered again.
    Approved {
        id: VerificationId,
        at: i64,
        first: bool,
        #[serde(default)]
        limits: Vec<LimitState>,
    },
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct VerificationRead {
    pub(super) id: VerificationId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) now: Option<i64>,
}

/// What became of a verification.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct VerificationState {
    pub id: VerificationId,
    pub account_id: i64,
    pub purpose: String,
    pub status: VerificationStatus,
    pub first_at: i64,
    pub expires_at: i64,
    pub sends: u32,
    pub attempts_left: u32,
    #[serde(default)]
    pub approved_at: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerificationStatus {
    Pending,
    Approved,
    Expired,
    /// Its attempts are spent.
    Exhausted,
}

/// A message's state while the store has it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct MessageState {
    pub account_id: i64,
    pub lane: Lane,
    pub status: MessageStatus,
    pub accepted_at: i64,
    pub updated_at: i64,
    #[serde(default)]
    pub verification_id: Option<VerificationId>,
    pub about: About,
    /// The attempts so far, as the worker wrote them.
    #[serde(default)]
    pub attempts: Vec<crate::job::Attempt>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageStatus {
    Accepted,
    Sending,
    Retrying,
    Sent,
    Delivered,
    Failed,
    Expired,
    Superseded,
    Poison,
    Unknown,
}

// ---- the worker

/// Takes a job to work on. The claim is a lease on (message, generation, attempt), monotonic in both.
#[derive(Debug, Clone, Serialize)]
pub struct Claim {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<i64>,
    pub message_id: MessageId,
    pub generation: u32,
    pub attempt: u32,
    /// Tells this delivery from every other.
    pub owner: String,
    pub lease_ms: i64,
    /// The claim is kept until here and no shorter than its lease: the deadline and an hour.
    pub keep_until: i64,
    /// The epoch that the job was accepted in.
    pub epoch: String,
    pub redelivered: bool,
    /// From which claim on that never reached the provider the job is poison.
    pub max_claims: u32,
    /// Puts the verification back where the store lost it; only for codes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification: Option<ClaimVerification>,
}

#[derive(Debug, Clone, Serialize)]
pub struct ClaimVerification {
    pub subject: String,
    pub account_id: i64,
    pub purpose: String,
    pub key_id: KeyId,
    pub max_sends: u32,
    #[serde(flatten)]
    pub job: JobVerification,
}

/// What a claim met. `now` is the store's clock, for the deadline and the next delay.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ClaimAnswer {
    pub now: i64,
    #[serde(flatten)]
    pub claim: Claimed,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Claimed {
    /// Ours: the attempt was never begun, or its worker died before the provider was called.
    Granted,
    /// Ours: the verification was approved meanwhile, so the message is to be dropped as superseded.
    Superseded,
    /// Ours, taken over from a worker that died while it called the provider: the answer is lost.
    /// `called_at` is when the call began.
    Interrupted { called_at: i64, provider: String },
    /// Somebody works on it; ask again when this lease ends, or sooner.
    Busy { wait_ms: i64 },
    /// The attempt is over; `resolution` is what was written of it, empty once it is archived.
    Resolved { resolution: String },
    /// A later attempt or generation is under way: this copy is to be dropped.
    Stale,
    /// Claimed too often without reaching the provider.
    Poison,
    /// Redelivered, no claim, and accepted in another epoch: whether it was tried can't be known here.
    Unsure,
}

#[derive(Debug, Clone, Serialize)]
pub struct Calling {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<i64>,
    pub message_id: MessageId,
    pub generation: u32,
    pub attempt: u32,
    pub owner: String,
    pub lease_ms: i64,
    /// The provider about to be called, for whoever finds the call interrupted.
    pub provider: String,
}

/// Writes what came of an attempt.
#[derive(Debug, Clone, Serialize)]
pub struct Resolve {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<i64>,
    pub message_id: MessageId,
    pub generation: u32,
    pub attempt: u32,
    /// What the worker needs to finish the attempt if it dies now; the store doesn't look into it.
    pub resolution: String,
    /// The message's state from now on.
    pub status: MessageStatus,
    /// The timeline so far.
    pub attempts: Vec<crate::job::Attempt>,
    /// Whether the message ends here: it counts as done in its lane.
    pub finished: bool,
    /// Whether its phone windows are given back: it ended unsent with no unknown attempt.
    pub refund: bool,
    pub lane: Lane,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ResolveAnswer {
    /// Written. `approved_at`: when the message's verification was approved, if it was.
    Written {
        #[serde(default)]
        approved_at: Option<i64>,
    },
    /// Another result of this attempt was there first: go by it.
    Already { resolution: String },
    /// A later attempt or generation is under way: drop this one.
    Stale,
}

// ---- accounts, bans, counts, sandbox

#[derive(Debug, Clone, Serialize)]
pub(super) struct AccountVersion {
    pub(super) account_id: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<i64>,
}

/// What a ban is on, as the store looks it up.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", content = "value", rename_all = "snake_case")]
pub enum BanSubject {
    /// E.164, whole.
    Phone(String),
    /// The beginning of an E.164 number.
    PhonePrefix(String),
    /// The beginning of an address in bits (see [`BanCheck::ip_bits`]); all 128 for one address.
    Network(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    pub subject: BanSubject,
    /// Unix milliseconds; 0 for good.
    pub until: i64,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Bans {
    pub(super) add: Vec<Ban>,
    pub(super) remove: Vec<BanSubject>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Restore {
    pub(super) epoch: String,
    pub(super) bans: Vec<Ban>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct LaneRead {
    pub(super) lane: Lane,
    pub(super) ready: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) now: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct LaneCounts {
    pub accepted: u64,
    pub done: u64,
}

#[derive(Debug, Clone, Serialize)]
pub struct SandboxPut {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<i64>,
    pub account_id: i64,
    pub message_id: MessageId,
    /// What was handed over, sealed with the log key and bound to the message's id.
    pub sealed: String,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct SandboxList {
    pub(super) account_id: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) now: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct SandboxMessage {
    pub message_id: MessageId,
    pub at: i64,
    pub sealed: String,
}
