//! How `sms_log` and `sms_attempt` are written: batches in one transaction, and the times of checks.

use std::collections::{BTreeMap, HashSet};

use sea_query::{
    CaseStatement, Expr, ExprTrait as _, Func, InsertStatement, OnConflict, Query, UpdateStatement,
};

use super::error::refused;
use super::sms_log::{Record, Row, RowStatus};
use super::statement::Write;
use super::text::{WORDS, cut, cut_characters, cut_option};
use super::{Database, DatabaseError};
use crate::model::ids::{MessageId, VerificationId};
use crate::model::job::Attempt;

/// Rows in one statement: their binds stay below every engine's bound (32,766 of SQLite).
const ROWS_AT_ONCE: usize = 1000;

/// As the table has them.
pub(super) const COLUMNS: [&str; 22] = [
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
    "provider_message_hash",
    "attempts",
    "status",
    "error_code",
    "error_message",
    "response",
    "create_time",
    "update_time",
    "verify_time",
    "test",
];

/// What of a row changes when it goes from failed or unknown to sent: how it was sent, not what it is.
const RAISED: [&str; 11] = [
    "key_id",
    "code",
    "provider",
    "provider_message_id",
    "provider_message_hash",
    "attempts",
    "error_code",
    "error_message",
    "response",
    "update_time",
    // Last: MySQL assigns in this order, and the others' conditions look at it.
    "status",
];

/// As the table has them.
pub(super) const ATTEMPT_COLUMNS: [&str; 10] = [
    "message_id",
    "number",
    "provider",
    "outcome",
    "at",
    "duration_ms",
    "provider_message_id",
    "provider_message_hash",
    "error_code",
    "error_message",
];

#[derive(sqlx::FromRow)]
struct VerificationOfRow {
    verification_id: Option<String>,
}

impl Database {
    /// Writes records, all in one transaction. A row that is there already stays, unless it goes from failed or
    /// unknown to sent; attempts and dead letters that are there already stay.
    pub async fn record(&self, records: &[Record]) -> Result<(), DatabaseError> {
        let rows = one_of_each(records);
        let mut attempts: Vec<(MessageId, &Attempt)> = records
            .iter()
            .filter_map(|record| record.row.as_ref().map(|row| (row.id, &record.attempts)))
            .flat_map(|(id, attempts)| attempts.iter().map(move |attempt| (id, attempt)))
            .collect();
        // In one order, like the rows: two workers with the same ids wait for each other, and don't deadlock.
        attempts.sort_by_key(|(id, attempt)| (*id, attempt.number));
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

    /// Sets `verify_time` of every row of these verifications where it isn't set. Gives the verifications that
    /// no row was found of (yet).
    pub async fn set_verified(
        &self,
        approved: &[(VerificationId, i64)],
    ) -> Result<Vec<VerificationId>, DatabaseError> {
        let mut missing = Vec::new();
        for chunk in approved.chunks(ROWS_AT_ONCE) {
            // Looked for before the update: a row that comes between the two is said to be missing and is
            // asked for again; the other way round it would stay unverified for good.
            let mut select = Query::select();
            select.distinct().column("verification_id").from("sms_log").and_where(of_any(chunk));
            let found = self.fetch::<VerificationOfRow>(&select).await?;
            let found: HashSet<String> =
                found.into_iter().filter_map(|row| row.verification_id).collect();
            self.write(&[Write::Update(update_verified(chunk))]).await?;
            let ids = chunk.iter().map(|(id, _)| *id);
            missing.extend(ids.filter(|id| !found.contains(&id.to_string())));
        }
        Ok(missing)
    }
}

fn of_any(approved: &[(VerificationId, i64)]) -> Expr {
    Expr::col("verification_id").is_in(approved.iter().map(|(id, _)| id.to_string()))
}

fn update_verified(approved: &[(VerificationId, i64)]) -> UpdateStatement {
    let time = approved.iter().fold(CaseStatement::new(), |case, (id, at)| {
        case.case(Expr::col("verification_id").eq(id.to_string()), *at)
    });
    let mut update = Query::update();
    update
        .table("sms_log")
        .value("verify_time", time)
        .and_where(of_any(approved))
        .and_where(Expr::col("verify_time").is_null());
    update
}

/// Of rows with the same id one that says sent, else the first, since a statement may touch a row once; by id.
fn one_of_each(records: &[Record]) -> Vec<&Row> {
    let mut rows: BTreeMap<MessageId, &Row> = BTreeMap::new();
    for row in records.iter().filter_map(|record| record.row.as_ref()) {
        let kept = rows.entry(row.id).or_insert(row);
        if kept.status != RowStatus::Sent && row.status == RowStatus::Sent {
            *kept = row;
        }
    }
    rows.into_values().collect()
}

fn insert_rows(rows: &[&Row], mysql: bool) -> Result<InsertStatement, DatabaseError> {
    let mut insert = Query::insert();
    insert.into_table("sms_log").columns(COLUMNS);
    for row in rows {
        insert.values(values(row)).map_err(refused)?;
    }
    let mut conflict = OnConflict::column("id");
    if mysql {
        conflict.values(RAISED.map(|column| (column, raised_on_mysql(column))));
    } else {
        let raise = Expr::col(("sms_log", "status")).ne(RowStatus::Sent as i32);
        let raise = raise.and(Expr::col(("excluded", "status")).eq(RowStatus::Sent as i32));
        conflict.update_columns(RAISED).action_and_where(raise);
    }
    insert.on_conflict(conflict);
    Ok(insert)
}

/// `ON DUPLICATE KEY UPDATE` knows no condition: each column is set to what it is, or to what it becomes.
fn raised_on_mysql(column: &'static str) -> Expr {
    let new = |column: &'static str| Expr::from(Func::cust("VALUES").arg(Expr::col(column)));
    let raise = Expr::col("status").ne(RowStatus::Sent as i32);
    let raise = raise.and(new("status").eq(RowStatus::Sent as i32));
    CaseStatement::new().case(raise, new(column)).finally(Expr::col(column)).into()
}

fn values(row: &Row) -> [Expr; 22] {
    [
        row.id.to_string().into(),
        row.account_id.into(),
        row.verification_id.map(|id| id.to_string()).into(),
        row.key_id.clone().into(),
        row.lane.row_type().into(),
        row.phone_number.clone().into(),
        row.code.clone().into(),
        row.purpose.as_deref().map(|purpose| cut_characters(purpose, 320)).into(),
        cut(&row.template_code, 128).into(),
        row.client_ip.clone().into(),
        cut_option(row.provider.as_deref(), 64).into(),
        cut_option(row.provider_message_id.as_deref(), 128).into(),
        row.provider_message_hash.clone().into(),
        i32::try_from(row.attempts).unwrap_or(i32::MAX).into(),
        (row.status as i32).into(),
        cut_option(row.error_code.as_deref(), 128).into(),
        cut_option(row.error_message.as_deref(), WORDS).into(),
        cut_option(row.response.as_deref(), WORDS).into(),
        row.create_time.into(),
        row.update_time.into(),
        row.verify_time.into(),
        i32::from(row.test).into(),
    ]
}

fn insert_attempts(attempts: &[(MessageId, &Attempt)]) -> Result<InsertStatement, DatabaseError> {
    let mut insert = Query::insert();
    insert.into_table("sms_attempt").columns(ATTEMPT_COLUMNS);
    for (id, attempt) in attempts {
        let values: [Expr; 10] = [
            id.to_string().into(),
            i32::try_from(attempt.number).unwrap_or(i32::MAX).into(),
            cut(&attempt.provider, 64).into(),
            attempt.outcome.as_str().into(),
            attempt.at.into(),
            attempt.duration_ms.into(),
            cut_option(attempt.provider_message_id.as_deref(), 128).into(),
            attempt.provider_message_hash.clone().into(),
            cut_option(attempt.error_code.as_deref(), 128).into(),
            cut_option(attempt.error_message.as_deref(), WORDS).into(),
        ];
        insert.values(values).map_err(refused)?;
    }
    let keys = ["message_id", "number"];
    insert.on_conflict(OnConflict::columns(keys).do_nothing_on(keys).to_owned());
    Ok(insert)
}
