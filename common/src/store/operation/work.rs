//! What a worker asks: the claim of a job, the call of a provider, what came of it.

use serde::{Deserialize, Serialize};

use super::MessageStatus;
use crate::model::ids::{MessageId, VerificationId};
use crate::model::job::{Attempt, JobVerification, Lane};
use crate::secrets::KeyId;

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
    /// No attempt of the message can have been carried: a later message of its verification takes its place.
    pub supersedable: bool,
    /// Puts the verification back where the store lost it; only for codes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification: Option<ClaimVerification>,
    /// What follows at once where the claim is granted. Without it the provider isn't called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<Call>,
}

/// A call of a provider, written down with the claim for whoever finds it interrupted.
#[derive(Debug, Clone, Serialize)]
pub struct Call {
    pub provider: String,
    /// From then on it isn't begun any more: it could reach the provider after the job's deadline.
    pub begin_by: i64,
}

#[derive(Debug, Clone)]
pub struct ClaimVerification {
    pub subject: String,
    pub account_id: i64,
    pub purpose: String,
    pub key_id: KeyId,
    pub max_sends: u32,
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
    /// Ours: the attempt was never begun, or its worker died before the provider was called. The [`Call`], if there is
    /// one, is to be made now.
    Granted,
    /// Ours, and too late for the [`Call`].
    Expired,
    /// Ours: the verification was approved meanwhile, or a later message of it goes on in this one's place, so the message
    /// is to be dropped as superseded.
    Superseded,
    /// Ours, taken over from a worker that died while it called the provider, or just before: the answer is lost.
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
    #[serde(serialize_with = "super::short::whole")]
    pub attempts: Vec<Attempt>,
    /// The message's verification, for when it was approved; only of codes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification: Option<VerificationId>,
    /// Whether the message ends here: it counts as done in its lane.
    pub finished: bool,
    /// Whether its phone windows are given back: it ended unsent with no unknown attempt.
    pub refund: bool,
    pub lane: Lane,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ResolveAnswer {
    /// Written. `approved_at`: when the verification was approved, if it was.
    Written {
        #[serde(default)]
        approved_at: Option<i64>,
    },
    /// Another result of this attempt was there first: go by it.
    Already { resolution: String },
    /// A later attempt or generation is under way: drop this one.
    Stale,
}
