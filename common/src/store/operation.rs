//! What the store is asked and what it answers: the shapes that both backends read and write, `SQLite` as JSON and Redis
//! as `MessagePack`, where what is used as a whole or all the time has a shorter form (`short.rs`).
//!
//! Every request may carry `now` (unix milliseconds): tests step the clock with it, everybody else leaves
//! it out and the store's own clock counts. In JSON every answer is `{"ok": ...}`, or `{"lost": true}` where
//! the store has no epoch: it lost its data, and nothing may be decided before bans are back.

mod batch;
mod check;
pub(super) mod short;
mod take;
mod work;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use self::batch::*;
pub use self::check::*;
pub use self::take::*;
pub use self::work::*;

use crate::model::ids::{MessageId, VerificationId};
use crate::model::job::{JobVerification, Lane};
use crate::model::limits::Scope;
use crate::secrets::KeyId;

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
    Resolve,
    Archive,
    AccountVersion,
    Ban,
    SweepBans,
    Epoch,
    Probe,
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

/// The current epoch, and the store's clock in unix milliseconds.
#[derive(Debug, Deserialize)]
pub(super) struct EpochAnswer {
    pub epoch: String,
    pub now: i64,
}

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
    #[serde(serialize_with = "short::listed")]
    pub limits: Vec<LimitCheck>,
    pub ban_check: BanCheck,
    /// What a refusal for its phone's, its address's or its prefix's sake counts against, unless a ban hits it already.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "short::whole")]
    pub strikes: Vec<Strike>,
    /// Only for codes.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "short::looked_at")]
    pub verification: Option<NewVerification>,
    /// The secrets that the caller's process has: a code of another isn't sent again. Only for codes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub known_keys: Vec<KeyId>,
    /// How long a notice may wait; a code's deadline comes from its verification.
    pub ttl_ms: i64,
    /// Whether guard and enqueue are one transaction, so that what is admitted is queued.
    pub confirmed: bool,
    /// What GET shows of the message until its row exists; the store doesn't look into it.
    #[serde(serialize_with = "short::whole")]
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
    /// Only of the phone scopes: the key under which those of this phone are kept together. Their entries are given back
    /// when the message ends unsent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
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
#[derive(Debug, Clone, Default, Serialize)]
pub struct BanCheck {
    /// E.164, if the request names a phone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// The address as 128 characters `0` and `1` (IPv4 as its IPv4-mapped IPv6 address).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_bits: Option<String>,
    /// Only of a check: see [`BanSubject::AccountPhone`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_phone: Option<String>,
}

/// A window of refusals or failures: the one that makes `threshold` of them within `window_ms` bans the subject
/// for `ban_ms`, never for less than it is banned already, and empties the window. Where it needs `accounts`, further
/// failures keep the window at its newest `threshold` until there are enough of them.
#[derive(Debug, Clone, Serialize)]
pub struct Strike {
    pub key: String,
    /// From 1 to 1,000.
    pub threshold: u32,
    pub window_ms: i64,
    pub ban_ms: i64,
    pub subject: BanSubject,
    /// Names what counts once within the window, at its latest time. `None`: each refusal or failure counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accounts: Option<StrikeAccounts>,
}

/// The accounts whose failures a ban needs beside the threshold.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct StrikeAccounts {
    /// The account of this failure.
    pub account_id: i64,
    /// Distinct accounts within the window, at least 1.
    pub min: u32,
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

/// What GET shows of a message: its phone masked, its purpose or template; and whom it was counted for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    pub phone: String,
    pub purpose: String,
    pub template: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ip: Option<IpAddr>,
}

/// What the guard says, in the order in which it is looked at.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AdmitAnswer {
    /// The account's record is newer than the caller's, or unknown to the store: load it and ask once more.
    StaleAccount,
    /// The idempotency key was used with another body, or with one whose fingerprint is none of the request's.
    KeyReused {
        #[serde(default)]
        fingerprint: Option<String>,
    },
    /// The message would belong to a verification whose code none of the caller's secrets derives.
    KeyMissing { key_id: KeyId },
    /// The first request with this key isn't answered yet; after `wait_ms` a repeat takes over.
    InFlight { wait_ms: i64 },
    /// The first request with this key was accepted: the same answer again, nothing counted.
    Replayed(Accepted),
    /// `limits[index]` is used up; one passes after `wait_ms`. `struck`: the bans that this refusal made.
    Limited {
        index: usize,
        wait_ms: i64,
        #[serde(default, deserialize_with = "short::states")]
        limits: Vec<LimitState>,
        #[serde(default)]
        struck: Vec<Ban>,
    },
    /// The verification was sent as often as it may be; it expires after `wait_ms`.
    MaxSends {
        wait_ms: i64,
        #[serde(default, deserialize_with = "short::states")]
        limits: Vec<LimitState>,
        #[serde(default)]
        struck: Vec<Ban>,
    },
    Banned {
        what: Banned,
        until: i64,
        #[serde(default, deserialize_with = "short::states")]
        limits: Vec<LimitState>,
    },
    /// Counted and written down: publish it. `again`: an earlier request's message, whose publish was in
    /// doubt; nothing was counted and its ids and times are those of that request.
    Admitted {
        message: Accepted,
        again: bool,
        #[serde(default, deserialize_with = "short::states")]
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
    /// The address that it was counted for: of a repeated request the first one's.
    #[serde(default)]
    pub client_ip: Option<IpAddr>,
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
    /// Checks of a phone by one account, as [`account_phone`](crate::store::account_phone) writes it.
    AccountPhone(String),
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
pub(super) struct SweepBans {
    /// What the last sweep gave; `0` to begin.
    pub(super) cursor: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) now: Option<i64>,
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
