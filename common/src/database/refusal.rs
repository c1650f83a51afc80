//! `sms_refusal`: what was refused, to whom and by which rule, and checks that failed.

use sea_query::{Expr, ExprTrait as _, Order, Query};
use uuid::Uuid;

use super::error::refused;
use super::statement::Write;
use super::text::{cut_characters, cut_option};
use super::{Database, DatabaseError};
use crate::model::owner::Owner;

/// Rows in one statement: their binds stay below every engine's bound (32,766 of `SQLite`).
const ROWS_AT_ONCE: usize = 1000;

const COLUMNS: [&str; 13] = [
    "id",
    "account_id",
    "test",
    "kind",
    "rule",
    "policy",
    "phone_number",
    "purpose",
    "template_code",
    "client_ip",
    "request_id",
    "times",
    "create_time",
];

/// One refusal; or many alike, as `times` says, of which a flood left only the count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// `None`: nobody was known yet.
    pub owner: Option<Owner>,
    /// `code`, `notice`, `check`, `login`, `registration`; `access` where a caller may not do at all what it asked for.
    pub kind: String,
    /// The answer's stable word: `phone_limited`, `code_mismatch`.
    pub rule: String,
    /// The limit's name, where one refused: `phone-60s`.
    pub policy: Option<String>,
    /// Masked.
    pub phone_number: Option<String>,
    pub purpose: Option<String>,
    pub template_code: Option<String>,
    pub client_ip: Option<String>,
    pub request_id: Option<String>,
    pub times: i64,
    /// Unix milliseconds.
    pub create_time: i64,
}

#[derive(sqlx::FromRow)]
struct RefusalRead {
    account_id: Option<i64>,
    test: i32,
    kind: String,
    rule: String,
    policy: Option<String>,
    phone_number: Option<String>,
    purpose: Option<String>,
    template_code: Option<String>,
    client_ip: Option<String>,
    request_id: Option<String>,
    times: i64,
    create_time: i64,
}

impl Database {
    /// Writes refusals, all in one transaction.
    pub async fn record_refusals(&self, refusals: &[Refusal]) -> Result<(), DatabaseError> {
        let mut writes = Vec::new();
        for rows in refusals.chunks(ROWS_AT_ONCE) {
            let mut insert = Query::insert();
            insert.into_table("sms_refusal").columns(COLUMNS);
            for row in rows {
                insert.values(values(row)).map_err(refused)?;
            }
            writes.push(Write::Insert(insert));
        }
        self.write(&writes).await.map(drop)
    }

    /// An account's refusals, newest first, at most `limit`; with `None` those where nobody was known.
    pub async fn refusals(
        &self,
        account_id: Option<i64>,
        limit: u64,
    ) -> Result<Vec<Refusal>, DatabaseError> {
        let whose = Expr::col("account_id");
        let mut select = Query::select();
        select
            .columns(COLUMNS)
            .from("sms_refusal")
            .and_where(account_id.map_or(whose.clone().is_null(), |id| whose.eq(id)))
            .order_by("create_time", Order::Desc)
            .order_by("id", Order::Desc)
            .limit(limit);
        let rows = self.fetch::<RefusalRead>(&select).await?;
        Ok(rows.into_iter().map(RefusalRead::read).collect())
    }
}

fn values(row: &Refusal) -> [Expr; 13] {
    [
        Uuid::now_v7().to_string().into(),
        row.owner.map(Owner::account_id).into(),
        i32::from(row.owner.is_some_and(Owner::is_test)).into(),
        row.kind.clone().into(),
        row.rule.clone().into(),
        cut_option(row.policy.as_deref(), 64).into(),
        row.phone_number.clone().into(),
        row.purpose.as_deref().map(|purpose| cut_characters(purpose, 320)).into(),
        cut_option(row.template_code.as_deref(), 128).into(),
        row.client_ip.clone().into(),
        cut_option(row.request_id.as_deref(), 128).into(),
        row.times.into(),
        row.create_time.into(),
    ]
}

impl RefusalRead {
    fn read(self) -> Refusal {
        Refusal {
            owner: self.account_id.map(|id| Owner::new(id, self.test != 0)),
            kind: self.kind,
            rule: self.rule,
            policy: self.policy,
            phone_number: self.phone_number,
            purpose: self.purpose,
            template_code: self.template_code,
            client_ip: self.client_ip,
            request_id: self.request_id,
            times: self.times,
            create_time: self.create_time,
        }
    }
}
