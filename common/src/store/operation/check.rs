//! Checks, and what GET shows of verifications and messages.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    About, AccountCheck, Ban, BanCheck, Banned, Idempotency, LimitCheck, LimitState, Strike,
};
use crate::model::ids::VerificationId;
use crate::model::job::{Attempt, Lane};
use crate::secrets::KeyId;

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

/// What a code is derived from, and whose it is.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct Live {
    pub id: VerificationId,
    pub key_id: KeyId,
    pub digits: u8,
    /// As [`verification_subject`](crate::store::verification_subject) made it; `Debug` doesn't show it.
    pub subject: String,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Settles a check whose code was compared.
#[derive(Debug, Clone, Serialize)]
pub struct Settle {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<i64>,
    pub account: AccountCheck,
    /// Whose verification it must be; see [`Admit::owner`](super::Admit::owner).
    pub owner: i64,
    pub which: Which,
    /// What [`Store::read`](crate::store::Store::read) gave, if anything.
    pub read: Option<VerificationId>,
    /// Whether the code was that of `read`.
    pub right: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency: Option<Idempotency>,
    /// Of failed checks: a failure adds an entry to each, a right code to none.
    #[serde(serialize_with = "super::short::listed")]
    pub limits: Vec<LimitCheck>,
    pub ban_check: BanCheck,
    /// Subjects that a wrong code counts against, for a spent verification too. One for nothing that lives counts against
    /// networks alone.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "super::short::whole")]
    pub strikes: Vec<Strike>,
}

/// What came of a check, in the order in which it is looked at. `struck`: the bans that this failure made.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SettleAnswer {
    StaleAccount,
    /// See [`AdmitAnswer::KeyReused`](super::AdmitAnswer::KeyReused).
    KeyReused {
        #[serde(default)]
        fingerprint: Option<String>,
    },
    /// Another verification is live by now: read and compare once more.
    Changed,
    Limited {
        index: usize,
        wait_ms: i64,
        #[serde(default, deserialize_with = "super::short::states")]
        limits: Vec<LimitState>,
    },
    Banned {
        what: Banned,
        until: i64,
        #[serde(default, deserialize_with = "super::short::states")]
        limits: Vec<LimitState>,
    },
    /// Nothing was ever sent, or it is forgotten, or it is another owner's.
    NotSent {
        #[serde(default, deserialize_with = "super::short::states")]
        limits: Vec<LimitState>,
        #[serde(default)]
        struck: Vec<Ban>,
    },
    Expired {
        #[serde(default, deserialize_with = "super::short::states")]
        limits: Vec<LimitState>,
        #[serde(default)]
        struck: Vec<Ban>,
    },
    /// The attempts are spent; the verification expires after `wait_ms`.
    Spent {
        wait_ms: i64,
        #[serde(default, deserialize_with = "super::short::states")]
        limits: Vec<LimitState>,
        #[serde(default)]
        struck: Vec<Ban>,
    },
    Mismatch {
        attempts_left: u32,
        #[serde(default, deserialize_with = "super::short::states")]
        limits: Vec<LimitState>,
        #[serde(default)]
        struck: Vec<Ban>,
    },
    /// The right code, again.
    Used {
        id: VerificationId,
        #[serde(default, deserialize_with = "super::short::states")]
        limits: Vec<LimitState>,
    },
    /// Approved now; `first` is false where an idempotent repeat is answered again.
    Approved {
        id: VerificationId,
        at: i64,
        first: bool,
        #[serde(default, deserialize_with = "super::short::states")]
        limits: Vec<LimitState>,
    },
}

#[derive(Debug, Clone, Serialize)]
pub(in crate::store) struct VerificationRead {
    pub(in crate::store) id: VerificationId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::store) now: Option<i64>,
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
    pub attempts: Vec<Attempt>,
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
