//! One database, whichever engine it is.

use crate::sqlite::Sqlite;
use secrecy::SecretString;

#[derive(Debug, Clone)]
pub enum Database {
    Sqlite(Sqlite),
    Postgres(sqlx::PgPool),
    Mysql(sqlx::MySqlPool),
}

/// Why nothing was read or written.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// It may work later: keep what was to be written, and try again.
    #[error("the database can't be reached: {0}")]
    Unavailable(String),
    /// It will not work later either.
    #[error("the database refused: {0}")]
    Refused(String),
}

impl Database {
    /// Makes the pool without connecting; `postgres://`, `mysql://` or `mariadb://`.
    pub fn new(_url: &SecretString, _max_connections: u32) -> Result<Self, DatabaseError> {
        unimplemented!()
    }
    #[must_use]
    pub fn sqlite(sqlite: Sqlite) -> Self {
        Self::Sqlite(sqlite)
    }
    /// Applies the migrations that aren't applied yet.
    pub async fn migrate(&self) -> Result<(), DatabaseError> {
        unimplemented!()
    }
    /// Answers if every migration of this binary is applied.
    pub async fn ping(&self) -> Result<(), DatabaseError> {
        unimplemented!()
    }
}
