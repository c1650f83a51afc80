//! Many messages asked for at once.

use serde::{Deserialize, Serialize};

use super::{AccountCheck, Admit, AdmitAnswer, Idempotency};
use crate::store::StoreError;

/// Asks whether each of many messages may be accepted, in one atomic step.
#[derive(Debug, Clone, Serialize)]
pub struct AdmitMany {
    /// Counts for the items too, whatever theirs say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<i64>,
    pub account: AccountCheck,
    /// Of the request as a whole. Its key is none of the items' own, which answer a repeat one by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<Idempotency>,
    /// At most [`MOST_AT_ONCE`].
    pub items: Vec<Admit>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AdmitManyAnswer {
    /// The account's record is newer than the caller's, or unknown to the store: load it and ask once more.
    StaleAccount,
    /// The batch's key was used with another body; see [`AdmitAnswer::KeyReused`].
    KeyReused {
        #[serde(default)]
        fingerprint: Option<String>,
    },
    /// One answer an item, in their order; each was decided seeing what those before it counted.
    Decided {
        #[serde(default)]
        answers: Vec<AdmitAnswer>,
    },
}

/// Messages asked for at once, so that no script holds up the store for long.
pub const MOST_AT_ONCE: usize = 50;

impl AdmitMany {
    pub(crate) fn check_size(&self) -> Result<(), StoreError> {
        if self.items.len() <= MOST_AT_ONCE {
            return Ok(());
        }
        Err(StoreError::Broken(format!("asked for more than {MOST_AT_ONCE} messages at once")))
    }
}

impl AdmitAnswer {
    /// Whether there is a message by now, so that the key of the batch that it is of must be kept.
    pub(in crate::store) fn stands(&self) -> bool {
        matches!(self, Self::Admitted { .. } | Self::Replayed(_))
    }
}
