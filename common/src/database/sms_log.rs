//! `sms_log`, one row a message, and `sms_attempt`, one row a try: written in batches, read in pages.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::ids::{MessageId, VerificationId};
use crate::model::job::{Attempt, Lane};
use crate::model::owner::Owner;
use crate::model::phone::PhoneNumber;
use crate::store::MessageStatus;

/// What a worker writes of one message, all of it in one transaction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// `None` for a dead letter that couldn't be decoded: it has no id.
    pub row: Option<Row>,
    pub attempts: Vec<Attempt>,
    pub dead_letter: Option<super::dead_letter::NewDeadLetter>,
}

/// One row of `sms_log`. Times are unix milliseconds.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub id: MessageId,
    pub account_id: i64,
    pub verification_id: Option<VerificationId>,
    pub key_id: String,
    pub lane: Lane,
    /// E.164.
    pub phone_number: String,
    /// Sealed with the log key, bound to `id`; `None` where `store_encrypted` is off, and for notices.
    pub code: Option<String>,
    pub purpose: Option<String>,
    pub template_code: String,
    pub client_ip: Option<String>,
    pub provider: Option<String>,
    pub provider_message_id: Option<String>,
    /// A keyed hash of the id where it is redacted, for receipts to be matched by.
    #[serde(default)]
    pub provider_message_hash: Option<String>,
    /// How many tries there were.
    pub attempts: u32,
    pub status: RowStatus,
    /// Why it wasn't sent: `expired`, `superseded`, `attempts_spent`, `poison`, or the provider's word.
    pub error_code: Option<String>,
    pub error_message: Option<String>,
    /// The provider's last answer, at most 1 KiB, with the code blotted out.
    pub response: Option<String>,
    pub create_time: i64,
    pub update_time: i64,
    pub verify_time: Option<i64>,
    /// Of a test key: it was never handed to a provider.
    #[serde(default)]
    pub test: bool,
    /// The message's deadline. No column: it goes by while the row waits to be written.
    #[serde(default)]
    pub deadline: i64,
}

/// `sms_log.status`. It may go from 0 or 2 to 1, never back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowStatus {
    Failed = 0,
    Sent = 1,
    Unknown = 2,
}

impl Row {
    #[must_use]
    pub fn owner(&self) -> Owner {
        Owner::new(self.account_id, self.test)
    }

    /// The message's state as the API says it.
    #[must_use]
    pub fn message_status(&self) -> MessageStatus {
        match (self.status, self.error_code.as_deref()) {
            (RowStatus::Sent, _) => MessageStatus::Sent,
            (RowStatus::Unknown, _) => MessageStatus::Unknown,
            (RowStatus::Failed, Some("expired")) => MessageStatus::Expired,
            (RowStatus::Failed, Some("superseded")) => MessageStatus::Superseded,
            (RowStatus::Failed, Some("poison")) => MessageStatus::Poison,
            (RowStatus::Failed, _) => MessageStatus::Failed,
        }
    }

    /// The phone as it may be shown.
    #[must_use]
    pub fn masked_phone(&self) -> String {
        PhoneNumber::from_e164(&self.phone_number)
            .map_or_else(|_| "****".to_owned(), |p| p.masked())
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row")
            .field("id", &self.id)
            .field("phone_number", &self.masked_phone())
            .field("status", &self.status)
            .field("error_code", &self.error_code)
            .finish_non_exhaustive()
    }
}

/// Which rows of an account are listed, newest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    /// E.164.
    pub phone: Option<String>,
    pub status: Option<MessageStatus>,
    pub lane: Option<Lane>,
    pub purpose: Option<String>,
    /// `create_time` from here on.
    pub from: Option<i64>,
    /// `create_time` before here.
    pub to: Option<i64>,
}

/// Where a page ended: the next begins just before this row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    pub create_time: i64,
    pub id: MessageId,
}
