//! How `sms_log` and `sms_attempt` are written and read.

use std::collections::{HashMap, HashSet};

use sea_query::{Expr, ExprTrait as _, InsertStatement, OnConflict, Order, Query, SelectStatement};

use super::engine::Write;
use super::sms_log::{Cursor, Filter, Record, Row, RowStatus};
use super::{Database, DatabaseError, cut};
use crate::ids::{MessageId, VerificationId};
use crate::job::{Attempt, Lane, Outcome};
use crate::store::MessageStatus;

/// Rows in one statement: their binds stay below every engine's bound (32,766 of SQLite).
const ROWS_AT_ONCE: usize = 1000;

const COLUMNS: [&str; 20] = [
    "id",
    "account_id",
    "verification_id",
    "key_id",
    "type",
    "phone_number",
    "code",
    "purpose",
    "template_code",
    "client_ip",
    "provider",
    "provider_message_id",
    "attempts",
    "error_code",
    "error_message",
    "response",
    "create_time",
    "update_time",
    "verify_time",
    // Last, because MySQL assigns in this order and the others' conditions look at it.
    "status",
];
const ATTEMPT_COLUMNS: [&str; 9] = [
    "message_id",
    "number",
    "provider",
    "outcome",
    "at",
    "duration_ms",
    "provider_message_id",
    "error_code",
    "error_message",
];

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
    attempts: i32,
    status: i32,
    error_code: Option<String>,
    error_message: Option<String>,
    response: Option<String>,
    create_time: i64,
    update_time: i64,
    verify_time: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct AttemptRead {
    number: i32,
    provider: String,
    outcome: String,
    at: i64,
    duration_ms: i64,
    provider_message_id: Option<String>,
    error_code: Option<String>,
    error_message: Option<String>,
}

#[derive(sqlx::FromRow)]
struct VerificationOfRow {
    verification_id: Option<String>,
}

impl Database {
    /// Writes records, all in one transaction. A row that is there already stays, unless it goes from failed or
    /// unknown to sent; attempts and dead letters that are there already stay.
    pub async fn record(&self, records: &[Record]) -> Result<(), DatabaseError> {
        let rows = one_of_each(records);
        let attempts: Vec<(MessageId, &Attempt)> = records
            .iter()
            .filter_map(|record| record.row.as_ref().map(|row| (row.id, &record.attempts)))
            .flat_map(|(id, attempts)| attempts.iter().map(move |attempt| (id, attempt)))
            .collect();
        let mut writes = Vec::new();
        for chunk in rows.chunks(ROWS_AT_ONCE) {
            writes.push(Write::Insert(insert_rows(chunk, self.is_mysql())?));
        }
        for chunk in attempts.chunks(ROWS_AT_ONCE) {
            writes.push(Write::Insert(insert_attempts(chunk)?));
        }
        for dead in records.iter().filter_map(|record| record.dead_letter.as_ref()) {
            writes.push(Write::Insert(super::dead_letter::insert(dead)?));
        }
        self.write(&writes).await.map(drop)
    }

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

    /// A page of an account's rows, newest first, at most `limit`.
    pub async fn messages(
        &self,
        account_id: i64,
        filter: &Filter,
        after: Option<Cursor>,
        limit: u64,
    ) -> Result<Vec<Row>, DatabaseError> {
        let mut select = select_rows();
        select
            .and_where(Expr::col("account_id").eq(account_id))
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
            .and_where_option(after.map(|cursor| {
                let earlier = Expr::col("create_time").lt(cursor.create_time);
                let same = Expr::col("create_time").eq(cursor.create_time);
                earlier.or(same.and(Expr::col("id").lt(cursor.id.to_string())))
            }))
            .order_by("create_time", Order::Desc)
            .order_by("id", Order::Desc)
            .limit(limit);
        self.rows(&select).await
    }

    /// Sets `verify_time` of every row of these verifications where it isn't set. Gives the verifications that
    /// no row was found of (yet).
    pub async fn set_verified(
        &self,
        approved: &[(VerificationId, i64)],
    ) -> Result<Vec<VerificationId>, DatabaseError> {
        let writes: Vec<Write> = approved
            .iter()
            .map(|(id, at)| {
                let mut update = Query::update();
                update
                    .table("sms_log")
                    .value("verify_time", *at)
                    .and_where(Expr::col("verification_id").eq(id.to_string()))
                    .and_where(Expr::col("verify_time").is_null());
                Write::Update(update)
            })
            .collect();
        self.write(&writes).await?;
        let mut select = Query::select();
        select.distinct().column("verification_id").from("sms_log").and_where(
            Expr::col("verification_id").is_in(approved.iter().map(|(id, _)| id.to_string())),
        );
        let found: Vec<VerificationOfRow> = self.fetch(&select).await?;
        let found: HashSet<String> =
            found.into_iter().filter_map(|row| row.verification_id).collect();
        Ok(approved
            .iter()
            .map(|(id, _)| *id)
            .filter(|id| !found.contains(&id.to_string()))
            .collect())
    }

    async fn rows(&self, select: &SelectStatement) -> Result<Vec<Row>, DatabaseError> {
        self.fetch::<RowRead>(select).await?.into_iter().map(RowRead::read).collect()
    }
}

/// Of rows with the same id the one that says sent, else the first: a statement may touch a row once.
fn one_of_each(records: &[Record]) -> Vec<&Row> {
    let mut places: HashMap<MessageId, usize> = HashMap::new();
    let mut rows: Vec<&Row> = Vec::with_capacity(records.len());
    for row in records.iter().filter_map(|record| record.row.as_ref()) {
        if let Some(place) = places.get(&row.id) {
            if row.status == RowStatus::Sent {
                rows[*place] = row;
            }
        } else {
            places.insert(row.id, rows.len());
            rows.push(row);
        }
    }
    rows
}

fn insert_rows(rows: &[&Row], mysql: bool) -> Result<InsertStatement, DatabaseError> {
    let mut insert = Query::insert();
    insert.into_table("sms_log").columns(COLUMNS);
    for row in rows {
        insert.values(values(row)).map_err(refused)?;
    }
    let mut conflict = OnConflict::column("id");
    let raised = COLUMNS.into_iter().filter(|column| *column != "id");
    if mysql {
        conflict.values(raised.map(|column| {
            let raise =
                format!("IF(status <> 1 AND VALUES(status) = 1, VALUES(`{column}`), `{column}`)");
            (column, Expr::cust(raise))
        }));
    } else {
        conflict
            .update_columns(raised)
            .action_and_where(Expr::cust("sms_log.status <> 1 AND excluded.status = 1"));
    }
    insert.on_conflict(conflict);
    Ok(insert)
}

fn values(row: &Row) -> [Expr; 20] {
    let text = |text: &Option<String>, most| text.as_deref().map(|text| cut(text, most));
    [
        row.id.to_string().into(),
        row.account_id.into(),
        row.verification_id.map(|id| id.to_string()).into(),
        row.key_id.clone().into(),
        row.lane.row_type().into(),
        row.phone_number.clone().into(),
        row.code.clone().into(),
        text(&row.purpose, 320).into(),
        cut(&row.template_code, 128).into(),
        row.client_ip.clone().into(),
        text(&row.provider, 64).into(),
        text(&row.provider_message_id, 128).into(),
        i32::try_from(row.attempts).unwrap_or(i32::MAX).into(),
        text(&row.error_code, 128).into(),
        text(&row.error_message, 1024).into(),
        text(&row.response, 1024).into(),
        row.create_time.into(),
        row.update_time.into(),
        row.verify_time.into(),
        (row.status as i32).into(),
    ]
}

fn insert_attempts(attempts: &[(MessageId, &Attempt)]) -> Result<InsertStatement, DatabaseError> {
    let mut insert = Query::insert();
    insert.into_table("sms_attempt").columns(ATTEMPT_COLUMNS);
    for (id, attempt) in attempts {
        let text = |text: &Option<String>, most| text.as_deref().map(|text| cut(text, most));
        let values: [Expr; 9] = [
            id.to_string().into(),
            i32::try_from(attempt.number).unwrap_or(i32::MAX).into(),
            cut(&attempt.provider, 64).into(),
            attempt.outcome.as_str().into(),
            attempt.at.into(),
            attempt.duration_ms.into(),
            text(&attempt.provider_message_id, 128).into(),
            text(&attempt.error_code, 128).into(),
            text(&attempt.error_message, 1024).into(),
        ];
        insert.values(values).map_err(refused)?;
    }
    let keys = ["message_id", "number"];
    insert.on_conflict(OnConflict::columns(keys).do_nothing_on(keys).to_owned());
    Ok(insert)
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
            id: self.id.trim_end().parse().map_err(refused)?,
            account_id: self.account_id,
            verification_id: self
                .verification_id
                .map(|id| id.parse())
                .transpose()
                .map_err(refused)?,
            key_id: self.key_id,
            lane: if self.r#type == Lane::Code.row_type() { Lane::Code } else { Lane::Notice },
            phone_number: self.phone_number,
            code: self.code,
            purpose: self.purpose,
            template_code: self.template_code,
            client_ip: self.client_ip,
            provider: self.provider,
            provider_message_id: self.provider_message_id,
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
        })
    }
}

impl AttemptRead {
    fn read(self) -> Result<Attempt, DatabaseError> {
        let outcome = serde_json::Value::from(self.outcome);
        let outcome: Outcome = serde_json::from_value(outcome).map_err(refused)?;
        Ok(Attempt {
            number: self.number.unsigned_abs(),
            provider: self.provider,
            outcome,
            at: self.at,
            duration_ms: self.duration_ms,
            provider_message_id: self.provider_message_id,
            error_code: self.error_code,
            error_message: self.error_message,
        })
    }
}

pub(super) fn refused(error: impl std::fmt::Display) -> DatabaseError {
    DatabaseError::Refused(error.to_string())
}
