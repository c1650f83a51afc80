//! How `sms_log` and `sms_attempt` are read: one message, its tries, pages of an account.

use sea_query::{Expr, ExprTrait as _, Order, Query, SelectStatement};

use super::error::unreadable;
use super::sms_log::{Cursor, Filter, Row, RowStatus};
use super::sms_log_write::{ATTEMPT_COLUMNS, COLUMNS};
use super::statement::before;
use super::{Database, DatabaseError};
use crate::model::ids::MessageId;
use crate::model::job::{AnswerScope, Attempt, Lane, Outcome};
use crate::model::owner::Owner;
use crate::store::MessageStatus;

#[derive(sqlx::FromRow)]
struct RowRead {
    id: String,
    account_id: i64,
    verification_id: Option<String>,
    key_id: String,
    r#type: i32,
    phone_number: String,
    code: Option<String>,
    purpose: Option<String>,
    template_code: String,
    client_ip: Option<String>,
    provider: Option<String>,
    provider_message_id: Option<String>,
    provider_message_hash: Option<String>,
    attempts: i32,
    status: i32,
    error_code: Option<String>,
    error_message: Option<String>,
    response: Option<String>,
    create_time: i64,
    update_time: i64,
    verify_time: Option<i64>,
    test: i32,
}

#[derive(sqlx::FromRow)]
struct AttemptRead {
    number: i32,
    provider: String,
    outcome: String,
    at: i64,
    duration_ms: i64,
    provider_message_id: Option<String>,
    provider_message_hash: Option<String>,
    error_code: Option<String>,
    error_message: Option<String>,
}

impl Database {
    pub async fn message(&self, id: MessageId) -> Result<Option<Row>, DatabaseError> {
        let rows = self.rows(select_rows().and_where(Expr::col("id").eq(id.to_string()))).await?;
        Ok(rows.into_iter().next())
    }

    /// The attempts of a message, by number.
    pub async fn attempts(&self, id: MessageId) -> Result<Vec<Attempt>, DatabaseError> {
        let mut select = Query::select();
        select
            .columns(ATTEMPT_COLUMNS)
            .from("sms_attempt")
            .and_where(Expr::col("message_id").eq(id.to_string()))
            .order_by("number", Order::Asc);
        self.fetch::<AttemptRead>(&select).await?.into_iter().map(AttemptRead::read).collect()
    }

    /// A page of an owner's rows, newest first, at most `limit`.
    pub async fn messages(
        &self,
        owner: Owner,
        filter: &Filter,
        after: Option<Cursor>,
        limit: u64,
    ) -> Result<Vec<Row>, DatabaseError> {
        // One phone's messages are few: no index but theirs should look as good to a planner that doesn't know the table,
        // and that of account, test and time would, if it could use both.
        let test = match filter.phone {
            Some(_) => Expr::col("test").add(0),
            None => Expr::col("test"),
        };
        let mut select = select_rows();
        select
            .and_where(Expr::col("account_id").eq(owner.account_id()))
            .and_where(test.eq(i32::from(owner.is_test())))
            .and_where_option(
                filter.phone.as_ref().map(|phone| Expr::col("phone_number").eq(phone)),
            )
            .and_where_option(filter.lane.map(|lane| Expr::col("type").eq(lane.row_type())))
            .and_where_option(
                filter.purpose.as_ref().map(|purpose| Expr::col("purpose").eq(purpose)),
            )
            .and_where_option(filter.from.map(|from| Expr::col("create_time").gte(from)))
            .and_where_option(filter.to.map(|to| Expr::col("create_time").lt(to)))
            .and_where_option(filter.status.map(has_status))
            .and_where_option(
                after.map(|cursor| before(cursor.create_time, &cursor.id.to_string())),
            )
            .order_by("create_time", Order::Desc)
            .order_by("id", Order::Desc)
            .limit(limit);
        self.rows(&select).await
    }

    async fn rows(&self, select: &SelectStatement) -> Result<Vec<Row>, DatabaseError> {
        self.fetch::<RowRead>(select).await?.into_iter().map(RowRead::read).collect()
    }
}

fn select_rows() -> SelectStatement {
    let mut select = Query::select();
    select.columns(COLUMNS).from("sms_log");
    select
}

fn has_status(status: MessageStatus) -> Expr {
    let row = |status: RowStatus| Expr::col("status").eq(status as i32);
    let failed = |why: &str| row(RowStatus::Failed).and(Expr::col("error_code").eq(why));
    match status {
        MessageStatus::Sent => row(RowStatus::Sent),
        MessageStatus::Unknown => row(RowStatus::Unknown),
        MessageStatus::Expired => failed("expired"),
        MessageStatus::Superseded => failed("superseded"),
        MessageStatus::Poison => failed("poison"),
        MessageStatus::Failed => {
            let named = Expr::col("error_code").is_in(["expired", "superseded", "poison"]);
            row(RowStatus::Failed).and(Expr::col("error_code").is_null().or(named.not()))
        }
        // On its way, or not yet to be had: no row says so.
        MessageStatus::Accepted
        | MessageStatus::Sending
        | MessageStatus::Retrying
        | MessageStatus::Delivered => Expr::val(1).eq(0),
    }
}

impl RowRead {
    fn read(self) -> Result<Row, DatabaseError> {
        Ok(Row {
            id: self.id.parse().map_err(unreadable)?,
            account_id: self.account_id,
            verification_id: self
                .verification_id
                .map(|id| id.parse())
                .transpose()
                .map_err(unreadable)?,
            key_id: self.key_id,
            lane: if self.r#type == Lane::Code.row_type() { Lane::Code } else { Lane::Notice },
            phone_number: self.phone_number,
            code: self.code,
            purpose: self.purpose,
            template_code: self.template_code,
            client_ip: self.client_ip,
            provider: self.provider,
            provider_message_id: self.provider_message_id,
            provider_message_hash: self.provider_message_hash,
            attempts: self.attempts.unsigned_abs(),
            status: match self.status {
                0 => RowStatus::Failed,
                1 => RowStatus::Sent,
                _ => RowStatus::Unknown,
            },
            error_code: self.error_code,
            error_message: self.error_message,
            response: self.response,
            create_time: self.create_time,
            update_time: self.update_time,
            verify_time: self.verify_time,
            test: self.test != 0,
            deadline: 0,
        })
    }
}

impl AttemptRead {
    fn read(self) -> Result<Attempt, DatabaseError> {
        let outcome = serde_json::Value::from(self.outcome);
        let outcome: Outcome = serde_json::from_value(outcome).map_err(unreadable)?;
        Ok(Attempt {
            number: self.number.unsigned_abs(),
            provider: self.provider,
            outcome,
            // Only the worker asks, before the row exists.
            scope: AnswerScope::Message,
            at: self.at,
            duration_ms: self.duration_ms,
            provider_message_id: self.provider_message_id,
            provider_message_hash: self.provider_message_hash,
            error_code: self.error_code,
            error_message: self.error_message,
        })
    }
}
