//! `dead_letter`: what couldn't be sent and why, with the job, sealed, so that it can be replayed.

use sea_query::{Expr, ExprTrait as _, InsertStatement, OnConflict, Order, Query};
use serde::{Deserialize, Serialize};

use super::error::{refused, unreadable};
use super::statement::before;
use super::text::{WORDS, cut};
use super::{Database, DatabaseError};
use crate::model::ids::MessageId;
use crate::model::job::{Attempt, Lane};

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
    /// No worker had its secret before its deadline.
    KeyMissing,
    /// The database refused its row: `job` holds the row, not a job.
    RowRefused,
}

const COLUMNS: [&str; 8] =
    ["id", "message_id", "lane", "reason", "detail", "attempts", "job", "create_time"];

#[derive(sqlx::FromRow)]
struct DeadLetterRead {
    id: String,
    message_id: Option<String>,
    lane: Option<String>,
    reason: String,
    detail: String,
    attempts: String,
    job: String,
    create_time: i64,
}

/// The id of the dead letter that holds a message's row.
#[must_use]
pub fn refused_row_id(message: MessageId) -> String {
    format!("{message}.row")
}

impl Database {
    /// Returns whether a dead letter holds the message's row, which the table refused.
    pub async fn has_refused_row(&self, message: MessageId) -> Result<bool, DatabaseError> {
        let mut select = Query::select();
        select
            .columns(COLUMNS)
            .from("dead_letter")
            .and_where(Expr::col("id").eq(refused_row_id(message)));
        Ok(!self.fetch::<DeadLetterRead>(&select).await?.is_empty())
    }

    /// Dead letters, newest first, at most `limit`, from after (`create_time`, `id`).
    pub async fn dead_letters(
        &self,
        after: Option<(i64, String)>,
        limit: u64,
    ) -> Result<Vec<NewDeadLetter>, DatabaseError> {
        let mut select = Query::select();
        select
            .columns(COLUMNS)
            .from("dead_letter")
            .and_where_option(after.map(|(time, id)| before(time, &id)))
            .order_by("create_time", Order::Desc)
            .order_by("id", Order::Desc)
            .limit(limit);
        self.fetch::<DeadLetterRead>(&select).await?.into_iter().map(DeadLetterRead::read).collect()
    }
}

pub(super) fn insert(dead: &NewDeadLetter) -> Result<InsertStatement, DatabaseError> {
    let mut insert = Query::insert();
    insert.into_table("dead_letter").columns(COLUMNS);
    let values: [Expr; 8] = [
        dead.id.clone().into(),
        dead.message_id.map(|id| id.to_string()).into(),
        dead.lane.map(Lane::as_str).into(),
        word(&dead.reason)?.into(),
        cut(&dead.detail, WORDS).into(),
        serde_json::to_string(&dead.attempts).map_err(refused)?.into(),
        dead.job.clone().into(),
        dead.create_time.into(),
    ];
    insert.values(values).map_err(refused)?;
    insert.on_conflict(OnConflict::column("id").do_nothing_on(["id"]).to_owned());
    Ok(insert)
}

impl DeadLetterRead {
    fn read(self) -> Result<NewDeadLetter, DatabaseError> {
        Ok(NewDeadLetter {
            id: self.id,
            message_id: self.message_id.map(|id| id.parse()).transpose().map_err(unreadable)?,
            lane: self
                .lane
                .as_deref()
                .and_then(|name| Lane::ALL.into_iter().find(|l| l.as_str() == name)),
            reason: serde_json::from_value(self.reason.into()).map_err(unreadable)?,
            detail: self.detail,
            attempts: serde_json::from_str(&self.attempts).map_err(unreadable)?,
            job: self.job,
            create_time: self.create_time,
        })
    }
}

/// A value of a closed set as its one word.
fn word(value: &impl Serialize) -> Result<String, DatabaseError> {
    match serde_json::to_value(value).map_err(refused)? {
        serde_json::Value::String(word) => Ok(word),
        other => Err(refused(other)),
    }
}
