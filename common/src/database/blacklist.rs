//! `sms_blacklist`: the bans. The table is the truth; the store enforces what is in it.

use crate::store::BanSubject;

/// One ban as an operator says it: `phone +8613800138000`, `ip 203.0.113.7`, `cidr 203.0.113.0/24`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlacklistEntry {
    pub kind: BanKind,
    /// In its one written form: E.164, an address, a network.
    pub value: String,
    pub reason: String,
    /// Who set it.
    pub created_by: String,
    /// Unix milliseconds; `None` for good.
    pub until: Option<i64>,
    pub create_time: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BanKind {
    Phone,
    PhonePrefix,
    Ip,
    Cidr,
}

impl BlacklistEntry {
    /// What the store looks up for it.
    #[must_use]
    pub fn subject(&self) -> Option<BanSubject> {
        None
    }
}

use super::{Database, DatabaseError};

impl Database {
    /// Adds a ban, or replaces the one on the same kind and value.
    pub async fn ban(&self, _entry: &BlacklistEntry) -> Result<(), DatabaseError> {
        unimplemented!()
    }
    /// Lifts a ban; `false` where there was none.
    pub async fn unban(&self, _kind: BanKind, _value: &str) -> Result<bool, DatabaseError> {
        unimplemented!()
    }
    /// Every ban in force at `now`.
    pub async fn bans(&self, _now: i64) -> Result<Vec<BlacklistEntry>, DatabaseError> {
        unimplemented!()
    }
}
