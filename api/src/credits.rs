//! `POST /v1/accounts/{id}/credits`: money for an account, entered once for an `Idempotency-Key`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use postrider_common::database::ledger::{
    Credited, LedgerEntry, MOST_BALANCE, NewCredit, REFERENCE,
};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;
use uuid::{Builder, Uuid};

use crate::accounts::{not_found, read_id};
use crate::app::{App, Shared};
use crate::caller::Admin;
use crate::clock::{rfc3339, unix_ms};
use crate::idempotency::IdempotencyKey;
use crate::json::Body;
use crate::openapi::problems;
use crate::problem::{Code, Problem};

/// An entry of the ledger; amounts are minor units.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LedgerEntry)]
pub struct Entered {
    #[schema(format = "uuid")]
    id: String,
    amount: i64,
    /// After it.
    balance: i64,
    /// ISO 4217's letters
    currency: String,
    #[schema(format = DateTime)]
    created_at: String,
}

/// A credit, as the body says it.
#[derive(Debug, ToSchema)]
#[schema(as = CreditAccount)]
pub struct Credit {
    /// In minor units of the currency
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64, example = 100_000)]
    pub amount: i64,
    /// The payer's or the operator's own words for it
    #[schema(min_length = 1, max_length = 128, example = "invoice 2026-117")]
    pub reference: Option<String>,
}

/// Credit an account
///
/// Enters money in the account's ledger. With an `Idempotency-Key` once for good: a repeat is answered with the same
/// entry, whenever it comes.
#[utoipa::path(
    post, path = "/v1/accounts/{id}/credits", tag = "accounts", operation_id = "credit_account",
    security(("bearer" = ["admin"])), params(("id" = String, Path, description = "The account's id"), IdempotencyKey),
    request_body(content = Credit, example = json!({"amount": 100_000, "reference": "invoice 2026-117"})),
    responses((status = 201, description = "The entry", body = Entered, example = json!({
        "id": "8f7b3c1e-52f0-8c3e-9d5b-6f1d2a7c4e13", "amount": 100_000, "balance": 100_000, "currency": "CNY",
        "created_at": "2026-11-21T03:12:24.123Z"
    }))),
    extensions(("x-problems" = json!(problems(&[&[Code::AccountNotFound, Code::BalanceTooHigh]])))),
)]
pub async fn post(
    State(app): State<Shared>,
    admin: Admin,
    Path(id): Path<String>,
    key: IdempotencyKey,
    Body { mut fields, .. }: Body,
) -> Result<(StatusCode, Json<Entered>), Problem> {
    let id = read_id(&id)?;
    if !fields.has("amount") {
        fields.note("amount", "missing", "is needed");
    }
    let amount = fields.optional_number("amount", 1..=MOST_BALANCE).unwrap_or_default();
    let reference = fields.optional_text("reference", REFERENCE).unwrap_or_default();
    fields.done()?;
    let by = &admin.account().username;
    let entry = credit(&app, id, amount, &reference, by, key.text()).await?;
    let currency = app.settings.accounts.currency.clone();
    let LedgerEntry { id, amount, balance, .. } = entry;
    let created_at = rfc3339(entry.create_time);
    Ok((StatusCode::CREATED, Json(Entered { id, amount, balance, currency, created_at })))
}

/// Credits an account, whichever wire format asks: `amount` minor units, above 0. With a key once, and a repeat gives
/// the same entry. Refuses with `account_not_found`, `balance_too_high`, `idempotency_key_reused`.
pub async fn credit(
    app: &App,
    account_id: i64,
    amount: i64,
    reference: &str,
    by: &str,
    key: Option<&str>,
) -> Result<LedgerEntry, Problem> {
    let new = NewCredit {
        id: key.map_or_else(Uuid::now_v7, |key| entry_id(account_id, key)),
        account_id,
        amount,
        reference: reference.to_owned(),
        created_by: by.to_owned(),
        create_time: unix_ms(),
    };
    match app.database.credit(&new).await? {
        Credited::Entered(entry) if is_of(&entry, &new) => {
            tracing::info!(
                account.id = account_id,
                ledger_entry.id = entry.id,
                by,
                "an account was credited"
            );
            Ok(entry)
        }
        Credited::Entered(_) => Err(Problem::new(Code::IdempotencyKeyReused)),
        Credited::TooMuch => Err(Problem::new(Code::BalanceTooHigh)),
        Credited::AccountNotFound => Err(not_found()),
    }
}

/// The entry of an account and a key, as a UUID of version 8: what is entered under one key has one id.
fn entry_id(account_id: i64, key: &str) -> Uuid {
    let hash = Sha256::digest(format!("credit|{account_id}|{key}"));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    Builder::from_custom_bytes(bytes).into_uuid()
}

fn is_of(entry: &LedgerEntry, new: &NewCredit) -> bool {
    entry.account_id == new.account_id
        && entry.amount == new.amount
        && entry.reference == new.reference
}
