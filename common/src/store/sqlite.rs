//! The store on SQLite: one text of SQL an operation, the body of a trigger that the writer fires in its next group
//! commit. The readable model of what Redis must do.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;

use super::{
    AdmitAnswer, AdmitMany, AdmitManyAnswer, Operation, StoreClock, StoreError, read_answer,
};
use crate::sqlite::{Call, Sqlite, SqliteError, call_all};

/// The views whose triggers do what is asked, by the operation that they are for.
const WRITING: [(&str, &[&str]); 19] = [
    ("account_version", &[include_str!("sql/account_version.sql")]),
    ("admit", &[ASK, include_str!("sql/admit.sql")]),
    ("admit_many", &[include_str!("sql/admit_many.sql")]),
    ("archive", &[include_str!("sql/archive.sql")]),
    ("ban", &[include_str!("sql/ban.sql")]),
    ("claim", &[include_str!("sql/claim.sql")]),
    ("confirm", &[include_str!("sql/confirm.sql")]),
    ("doubt", &[include_str!("sql/doubt.sql")]),
    ("enqueue", &[include_str!("sql/enqueue.sql")]),
    ("explain", &[ASK, include_str!("sql/explain.sql")]),
    ("keep_batch", &[include_str!("sql/keep_batch.sql")]),
    ("resolve", &[include_str!("sql/resolve.sql")]),
    ("restore", &[include_str!("sql/restore.sql")]),
    ("sandbox_put", &[include_str!("sql/sandbox_put.sql")]),
    ("settle", &[ASK, include_str!("sql/settle.sql")]),
    ("sweep_bans", &[include_str!("sql/sweep_bans.sql")]),
    ("take", &[ASK, include_str!("sql/take.sql")]),
    ("untake", &[include_str!("sql/untake.sql")]),
    ("withdraw", &[include_str!("sql/withdraw.sql")]),
];
const ASK: &str = include_str!("sql/ask.sql");

/// What the writer's connection has beside the tables; run once on it. An operation that writes is a trigger on a view
/// of its name: rows put there are requests, so that one statement asks many.
pub(crate) fn session() -> String {
    let trigger = |(view, texts): (&str, &[&str])| {
        format!(
            "CREATE TEMP VIEW {view} AS SELECT NULL AS id, NULL AS request;
             CREATE TEMP TRIGGER {view} INSTEAD OF INSERT ON {view} BEGIN {} END;",
            texts.concat()
        )
    };
    let tables = include_str!("sql/session.sql").to_owned();
    [tables].into_iter().chain(WRITING.map(trigger)).collect::<Vec<_>>().join("\n")
}

#[derive(Debug, Clone)]
pub struct SqliteStore {
    sqlite: Sqlite,
    pub(super) clock: Arc<StoreClock>,
}

impl SqliteStore {
    #[must_use]
    pub fn new(sqlite: Sqlite) -> Self {
        Self { sqlite, clock: Arc::default() }
    }

    /// Whether the file takes writes now.
    pub(super) async fn check_writes(&self) -> Result<(), StoreError> {
        let checked = self.sqlite.check_writes().await;
        checked.map_err(|error| StoreError::Unavailable(error.to_string()))
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
        let answer = match text(operation) {
            Text::Read(sql) => {
                let query = sqlx::query_scalar(sql).bind(request.to_owned());
                query.fetch_one(self.sqlite.readers()).await.map_err(SqliteError::from)
            }
            Text::Write(view) => {
                let call = Call { view, request: request.to_owned() };
                self.sqlite.call(call, |answer| Ok((answer, None))).await
            }
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
        let begun = Self::ask(connection, "admit_many", &encode(&request)?).await?;
        let now = match read_answer(&begun) {
            Ok(Beginning::Begun { now }) => now,
            Ok(Beginning::StaleAccount) => return Ok(Ok(AdmitManyAnswer::StaleAccount)),
            Ok(Beginning::KeyReused { fingerprint }) => {
                return Ok(Ok(AdmitManyAnswer::KeyReused { fingerprint }));
            }
            Err(error) => return Ok(Err(error)),
        };
        let mut asked = Vec::with_capacity(items.len());
        for mut item in items {
            item.now = Some(now);
            asked.push(encode(&item)?);
        }
        let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
        let answers = call_all(connection, "admit", &asked).await?;
        let answers = answers.iter().map(|answer| read_answer(answer));
        let answers: Vec<AdmitAnswer> = answers
            .collect::<Result<_, _>>()
            .map_err(|error: StoreError| sqlx::Error::Decode(error.into()))?;
        if answers.iter().any(AdmitAnswer::stands) {
            request.now = Some(now);
            Self::ask(connection, "keep_batch", &encode(&request)?).await?;
        }
        Ok(Ok(AdmitManyAnswer::Decided { answers }))
    }

    async fn ask(
        connection: &mut SqliteConnection,
        view: &'static str,
        request: &str,
    ) -> Result<String, sqlx::Error> {
        call_all(connection, view, &[request]).await?.pop().ok_or(sqlx::Error::RowNotFound)
    }
}

/// What is decided about a batch as a whole.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Beginning {
    StaleAccount,
    KeyReused { fingerprint: Option<String> },
    Begun { now: i64 },
}

fn encode<T: Serialize>(request: &T) -> Result<String, sqlx::Error> {
    serde_json::to_string(request).map_err(|error| sqlx::Error::Encode(error.into()))
}

/// How an operation is asked.
enum Text {
    /// `?1` is the request, the only row it gives is the answer.
    Read(&'static str),
    /// By a row put into this view.
    Write(&'static str),
}

fn text(operation: Operation) -> Text {
    match operation {
        Operation::Admit => Text::Write("admit"),
        Operation::AdmitMany => Text::Write("admit_many"),
        Operation::Withdraw => Text::Write("withdraw"),
        Operation::Confirm => Text::Write("confirm"),
        Operation::Doubt => Text::Write("doubt"),
        Operation::Read => Text::Read(include_str!("sql/read.sql")),
        Operation::Settle => Text::Write("settle"),
        Operation::Verification => Text::Read(include_str!("sql/verification.sql")),
        Operation::Message => Text::Read(include_str!("sql/message.sql")),
        Operation::Claim => Text::Write("claim"),
        Operation::Resolve => Text::Write("resolve"),
        Operation::Archive => Text::Write("archive"),
        Operation::AccountVersion => Text::Write("account_version"),
        Operation::Ban => Text::Write("ban"),
        Operation::SweepBans => Text::Write("sweep_bans"),
        // A write of its own says whether the file takes any.
        Operation::Epoch | Operation::Probe => Text::Read(include_str!("sql/epoch.sql")),
        Operation::Restore => Text::Write("restore"),
        Operation::LaneCounts => Text::Read(include_str!("sql/lane_counts.sql")),
        Operation::OldestAge => Text::Read(include_str!("sql/oldest_age.sql")),
        Operation::SandboxPut => Text::Write("sandbox_put"),
        Operation::SandboxList => Text::Read(include_str!("sql/sandbox_list.sql")),
        Operation::Explain => Text::Write("explain"),
        Operation::Take => Text::Write("take"),
        Operation::GiveBack => Text::Write("untake"),
    }
}
