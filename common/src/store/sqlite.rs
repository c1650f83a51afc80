//! The store on SQLite: one text of SQL an operation, each run by the writer in its next group commit. The
//! readable model of what Redis must do.

use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;

use super::{AdmitAnswer, AdmitMany, AdmitManyAnswer, Operation, StoreError, read_answer};
use crate::sqlite::{Sqlite, SqliteError};

/// Temporary tables and views that the texts use; run once on the writer's connection.
pub(crate) const SESSION: &str = include_str!("sql/session.sql");

#[derive(Debug, Clone)]
pub struct SqliteStore {
    sqlite: Sqlite,
}

impl SqliteStore {
    #[must_use]
    pub fn new(sqlite: Sqlite) -> Self {
        Self { sqlite }
    }

    /// Deletes what nobody asks for any more, besides bans.
    pub(super) async fn purge(&self) -> Result<(), StoreError> {
        let purged = self.sqlite.write(|connection| {
            Box::pin(async move {
                let now = "SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER)";
                let now: i64 = sqlx::query_scalar(now).fetch_one(&mut *connection).await?;
                let purge = sqlx::query(include_str!("sql/purge.sql")).bind(now);
                purge.execute(connection).await.map(drop)
            })
        });
        purged.await.map_err(|error| StoreError::Unavailable(error.to_string()))
    }

    pub(super) async fn call(
        &self,
        operation: Operation,
        request: &str,
    ) -> Result<String, StoreError> {
        let answer = if reads_only(operation) {
            let query = sqlx::query_scalar(text(operation)).bind(request.to_owned());
            query.fetch_one(self.sqlite.readers()).await.map_err(SqliteError::from)
        } else {
            let request = request.to_owned();
            let run = self.sqlite.write(move |connection| {
                let request = request.clone();
                Box::pin(async move { Self::run(connection, operation, request).await })
            });
            run.await
        };
        answer.map_err(|error| StoreError::Unavailable(error.to_string()))
    }

    pub(super) async fn admit_many(
        &self,
        request: &AdmitMany,
    ) -> Result<AdmitManyAnswer, StoreError> {
        let request = request.clone();
        let decided = self.sqlite.write(move |connection| {
            let request = request.clone();
            Box::pin(async move { Self::decide_many(connection, request).await })
        });
        decided.await.map_err(|error| StoreError::Unavailable(error.to_string()))?
    }

    /// Decides about many messages within the caller's transaction, one by one. Where that fails midway the error is
    /// the outer one, so that nothing is kept of it.
    pub(crate) async fn decide_many(
        connection: &mut SqliteConnection,
        mut request: AdmitMany,
    ) -> Result<Result<AdmitManyAnswer, StoreError>, sqlx::Error> {
        let items = std::mem::take(&mut request.items);
        let begun = Self::run(connection, Operation::AdmitMany, encode(&request)?).await?;
        let now = match read_answer(&begun) {
            Ok(Beginning::Begun { now }) => now,
            Ok(Beginning::StaleAccount) => return Ok(Ok(AdmitManyAnswer::StaleAccount)),
            Ok(Beginning::KeyReused) => return Ok(Ok(AdmitManyAnswer::KeyReused)),
            Err(error) => return Ok(Err(error)),
        };
        let mut answers = Vec::with_capacity(items.len());
        for mut item in items {
            item.now = Some(now);
            let answer = Self::run(connection, Operation::Admit, encode(&item)?).await?;
            answers.push(read_answer(&answer).map_err(|e| sqlx::Error::Decode(e.into()))?);
        }
        if answers.iter().any(AdmitAnswer::stands) {
            request.now = Some(now);
            let keep = sqlx::query(include_str!("sql/keep_batch.sql")).bind(encode(&request)?);
            keep.execute(connection).await?;
        }
        Ok(Ok(AdmitManyAnswer::Decided { answers }))
    }

    /// Runs an operation within the caller's transaction, on the writer's connection.
    pub(crate) async fn run(
        connection: &mut SqliteConnection,
        operation: Operation,
        request: String,
    ) -> Result<String, sqlx::Error> {
        sqlx::query_scalar(text(operation)).bind(request).fetch_one(connection).await
    }
}

/// What is decided about a batch as a whole.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Beginning {
    StaleAccount,
    KeyReused,
    Begun { now: i64 },
}

fn encode<T: Serialize>(request: &T) -> Result<String, sqlx::Error> {
    serde_json::to_string(request).map_err(|error| sqlx::Error::Encode(error.into()))
}

fn reads_only(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::Read
            | Operation::Verification
            | Operation::Message
            | Operation::Epoch
            | Operation::LaneCounts
            | Operation::OldestAge
            | Operation::SandboxList
    )
}

/// The text of an operation: `?1` is the request, the only row it gives is the answer.
fn text(operation: Operation) -> &'static str {
    match operation {
        Operation::Admit => concat!(include_str!("sql/ask.sql"), include_str!("sql/admit.sql")),
        Operation::AdmitMany => include_str!("sql/admit_many.sql"),
        Operation::Withdraw => include_str!("sql/withdraw.sql"),
        Operation::Confirm => include_str!("sql/confirm.sql"),
        Operation::Doubt => include_str!("sql/doubt.sql"),
        Operation::Read => include_str!("sql/read.sql"),
        Operation::Settle => concat!(include_str!("sql/ask.sql"), include_str!("sql/settle.sql")),
        Operation::Verification => include_str!("sql/verification.sql"),
        Operation::Message => include_str!("sql/message.sql"),
        Operation::Claim => include_str!("sql/claim.sql"),
        Operation::Resolve => include_str!("sql/resolve.sql"),
        Operation::Archive => include_str!("sql/archive.sql"),
        Operation::AccountVersion => include_str!("sql/account_version.sql"),
        Operation::Ban => include_str!("sql/ban.sql"),
        Operation::SweepBans => include_str!("sql/sweep_bans.sql"),
        Operation::Epoch => include_str!("sql/epoch.sql"),
        Operation::Restore => include_str!("sql/restore.sql"),
        Operation::LaneCounts => include_str!("sql/lane_counts.sql"),
        Operation::OldestAge => include_str!("sql/oldest_age.sql"),
        Operation::SandboxPut => include_str!("sql/sandbox_put.sql"),
        Operation::SandboxList => include_str!("sql/sandbox_list.sql"),
        Operation::Explain => concat!(include_str!("sql/ask.sql"), include_str!("sql/explain.sql")),
        Operation::Take => concat!(include_str!("sql/ask.sql"), include_str!("sql/take.sql")),
        Operation::GiveBack => include_str!("sql/untake.sql"),
    }
}
