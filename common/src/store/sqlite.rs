//! The store on `SQLite`: one text of SQL an operation. The readable model of what Redis must do.

use super::{Operation, StoreError};
use crate::sqlite::Sqlite;
use sqlx::SqliteConnection;

#[derive(Debug, Clone)]
pub struct SqliteStore {}

impl SqliteStore {
    #[must_use]
    pub fn new(_sqlite: Sqlite) -> Self {
        unimplemented!()
    }
    pub(super) async fn call(
        &self,
        _operation: Operation,
        _request: &str,
    ) -> Result<String, StoreError> {
        unimplemented!()
    }
    /// Runs an operation within the caller's transaction.
    pub(crate) async fn run(
        _connection: &mut SqliteConnection,
        _operation: Operation,
        _request: &str,
    ) -> Result<String, sqlx::Error> {
        unimplemented!()
    }
}
