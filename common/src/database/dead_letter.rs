//! `dead_letter`: what couldn't be sent and why, with the job, sealed, so that it can be replayed.

use serde::{Deserialize, Serialize};

use crate::ids::MessageId;
use crate::job::{Attempt, Lane};

/// A dead letter as the worker writes it. Its id is derived from what it is of, so that writing it twice
/// keeps one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewDeadLetter {
    /// The message's id and generation, or a hash of the bytes that nobody could decode.
    pub id: String,
    pub message_id: Option<MessageId>,
    pub lane: Option<Lane>,
    pub reason: DeadReason,
    /// In words, with nothing secret in it.
    pub detail: String,
    pub attempts: Vec<Attempt>,
    /// The job (or the bytes), sealed with the log key and bound to `id`.
    pub job: String,
    pub create_time: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadReason {
    /// No decoder takes it.
    Undecodable,
    /// Its handler panicked.
    Panicked,
    /// Claimed again and again without reaching a provider.
    NeverReached,
    /// Every attempt was used.
    AttemptsSpent,
    /// A provider refused it for good.
    Refused,
    /// The broker gave it up.
    DeliveryLimit,
}

use super::{Database, DatabaseError};

impl Database {
    /// Dead letters, newest first, at most `limit`.
    pub async fn dead_letters(
        &self,
        _after: Option<(i64, String)>,
        _limit: u64,
    ) -> Result<Vec<NewDeadLetter>, DatabaseError> {
        unimplemented!()
    }
}
