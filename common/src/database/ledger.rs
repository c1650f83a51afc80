//! `ledger_entry`: every movement of money of an account, with the balance after it.

use sea_query::{Expr, ExprTrait as _, Query};
use uuid::Uuid;

use super::error::refused;
use super::statement::Write;
use super::text::{cut, cut_characters};
use super::{Database, DatabaseError};

/// The highest balance, in minor units: what every JSON number holds exactly (RFC 8259, section 6).
pub const MOST_BALANCE: i64 = (1 << 53) - 1;

/// The column's width, in characters.
pub const REFERENCE: usize = 128;

const COLUMNS: [&str; 8] =
    ["id", "account_id", "kind", "amount", "balance", "reference", "created_by", "create_time"];

const CREDIT: &str = "credit";

/// Money for an account.
#[derive(Debug, Clone)]
pub struct NewCredit {
    /// Of the entry: what has the same id is the same credit.
    pub id: Uuid,
    pub account_id: i64,
    /// Above 0, at most [`MOST_BALANCE`], in minor units.
    pub amount: i64,
    /// The payer's or the operator's own words for it.
    pub reference: String,
    pub created_by: String,
    /// Unix milliseconds.
    pub create_time: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerEntry {
    pub id: String,
    pub account_id: i64,
    /// Minor units.
    pub amount: i64,
    /// After it.
    pub balance: i64,
    pub reference: String,
    pub create_time: i64,
}

/// What came of a credit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credited {
    /// It was entered, now or before; what was entered before may say something else.
    Entered(LedgerEntry),
    /// The balance would be above [`MOST_BALANCE`].
    TooMuch,
    AccountNotFound,
}

#[derive(sqlx::FromRow)]
struct EntryRead {
    id: String,
    account_id: i64,
    amount: i64,
    balance: i64,
    reference: String,
    create_time: i64,
}

impl Database {
    /// Raises a balance and enters it in the ledger, both or neither, and once for an id.
    pub async fn credit(&self, credit: &NewCredit) -> Result<Credited, DatabaseError> {
        if !(1..=MOST_BALANCE).contains(&credit.amount) {
            return Err(refused("an amount is above 0"));
        }
        if let Some(entry) = self.ledger_entry(credit.id).await? {
            return Ok(Credited::Entered(entry));
        }
        // The update comes first: it holds the account's row, so that the entry's balance is the one after it.
        let writes = [Write::Update(raise(credit)), Write::Insert(enter(credit)?)];
        let written = self.write_whole(&writes).await;
        // An id that was entered meanwhile undid all of it, with an error.
        match (self.ledger_entry(credit.id).await?, written) {
            (Some(entry), _) => Ok(Credited::Entered(entry)),
            (None, Err(error)) => Err(error),
            (None, Ok(_)) if self.account(credit.account_id).await?.is_some() => {
                Ok(Credited::TooMuch)
            }
            (None, Ok(_)) => Ok(Credited::AccountNotFound),
        }
    }

    async fn ledger_entry(&self, id: Uuid) -> Result<Option<LedgerEntry>, DatabaseError> {
        let mut select = Query::select();
        select.columns(COLUMNS).from("ledger_entry").and_where(Expr::col("id").eq(id.to_string()));
        let read = self.fetch::<EntryRead>(&select).await?.into_iter().next();
        Ok(read.map(|read| LedgerEntry {
            id: read.id,
            account_id: read.account_id,
            amount: read.amount,
            balance: read.balance,
            reference: read.reference,
            create_time: read.create_time,
        }))
    }
}

fn raise(credit: &NewCredit) -> sea_query::UpdateStatement {
    let mut raise = Query::update();
    raise
        .table("account")
        .value("balance", Expr::col("balance").add(credit.amount))
        .value("update_time", credit.create_time)
        .and_where(Expr::col("id").eq(credit.account_id))
        .and_where(Expr::col("balance").lte(MOST_BALANCE - credit.amount));
    raise
}

fn enter(credit: &NewCredit) -> Result<sea_query::InsertStatement, DatabaseError> {
    let mut entry = Query::select();
    entry
        .expr(Expr::val(credit.id.to_string()))
        .column("id")
        .expr(Expr::val(CREDIT))
        .expr(Expr::val(credit.amount))
        .column("balance")
        .expr(Expr::val(cut_characters(&credit.reference, REFERENCE)))
        .expr(Expr::val(cut(&credit.created_by, 128)))
        .expr(Expr::val(credit.create_time))
        .from("account")
        .and_where(Expr::col("id").eq(credit.account_id));
    let mut insert = Query::insert();
    insert.into_table("ledger_entry").columns(COLUMNS).select_from(entry).map_err(refused)?;
    Ok(insert)
}
