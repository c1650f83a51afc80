//! `account`: who calls the API.

/// One account. Every change of it raises `version`, which each request is checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub id: i64,
    pub username: String,
    pub role: Role,
    pub version: i64,
    /// Tokens issued before this time (unix milliseconds) are dead.
    pub tokens_valid_from: i64,
    /// Whether it may send.
    pub may_send: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Account,
    Admin,
}

use super::{Database, DatabaseError};

impl Database {
    pub async fn account(&self, _id: i64) -> Result<Option<Account>, DatabaseError> {
        unimplemented!()
    }
    pub async fn account_by_name(&self, _username: &str) -> Result<Option<Account>, DatabaseError> {
        unimplemented!()
    }
    /// The account of this name, made where there is none. With `role` Admin an existing account becomes
    /// one, and its version rises.
    pub async fn ensure_account(
        &self,
        _username: &str,
        _role: Role,
        _now: i64,
    ) -> Result<Account, DatabaseError> {
        unimplemented!()
    }
}
