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

use crate::auth::caller::Admin;
use crate::http::body::Body;
use crate::http::clock::{rfc3339, unix_ms};
use crate::http::idempotency::IdempotencyKey;
use crate::http::problem::{Code, Problem};
use crate::openapi::problems;
use crate::routes::accounts::{not_found, read_id};
use crate::server::state::{App, AppState};

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
    State(app): State<AppState>,
    admin: Admin,
    Path(id): Path<String>,
    key: IdempotencyKey,
    Body { mut fields, .. }: Body,
) -> Result<(StatusCode, Json<Entered>), Problem> {
    let id = read_id(&id)?;
    let amount = fields.number("amount", 1..=MOST_BALANCE);
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

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::join_all;
    use postrider_common::database::account::Role;
    use serde_json::{Value, json};

    use crate::auth::token::Grant;
    use crate::testing::{Answer, TestApp, ask};

    struct Shop {
        test: TestApp,
        admin: String,
        id: i64,
    }

    async fn shop() -> Shop {
        let test = TestApp::start(&[]).await;
        let admin = test.token("ops", &[Grant::Admin]).await;
        let id = test.app.database.ensure_account("shop", Role::Account, 0).await.unwrap().id;
        Shop { test, admin, id }
    }

    impl Shop {
        async fn credit(&self, id: i64, key: &str, body: &Value) -> Answer {
            let request = axum::http::Request::post(format!("/v1/accounts/{id}/credits"))
                .header("authorization", format!("Bearer {}", self.admin))
                .header("content-type", "application/json");
            let request =
                if key.is_empty() { request } else { request.header("idempotency-key", key) };
            let request = request.body(axum::body::Body::from(body.to_string())).unwrap();
            ask(crate::routes::router::app(self.test.app.clone()), request).await
        }

        async fn balance(&self) -> i64 {
            self.test.app.database.account(self.id).await.unwrap().unwrap().balance
        }
    }

    #[tokio::test]
    async fn a_credit_raises_the_balance_once_for_a_key() {
        let shop = shop().await;
        let body = json!({ "amount": 1050, "reference": "发票 7" });
        let first = shop.credit(shop.id, "k1", &body).await;
        assert_eq!(first.status, StatusCode::CREATED, "{}", first.body);
        assert_eq!((&first.body["amount"], &first.body["balance"]), (&json!(1050), &json!(1050)));
        assert_eq!(first.body["currency"], "CNY");
        let id: Uuid = first.body["id"].as_str().unwrap().parse().unwrap();
        assert_eq!(id.get_version_num(), 8);
        shop.credit(shop.id, "k2", &json!({ "amount": 5 })).await;
        let again = shop.credit(shop.id, "\"k1\"", &body).await;
        assert_eq!((again.status, &again.body), (StatusCode::CREATED, &first.body));
        for other in [json!({ "amount": 1051, "reference": "发票 7" }), json!({ "amount": 1050 })]
        {
            let reused = shop.credit(shop.id, "k1", &other).await;
            assert_eq!(reused.problem(), (422, "idempotency_key_reused"));
        }
        assert_eq!(shop.balance().await, 1055);
        // Without a key, and for another account, it is another credit.
        shop.credit(shop.id, "", &body).await;
        shop.credit(shop.id, "", &body).await;
        assert_eq!(shop.balance().await, 1055 + 2100);
        let other = shop.test.app.database.ensure_account("other", Role::Account, 0).await.unwrap();
        let credited = shop.credit(other.id, "k1", &body).await;
        assert_eq!(
            (credited.status, &credited.body["balance"]),
            (StatusCode::CREATED, &json!(1050))
        );
    }

    #[tokio::test]
    async fn one_key_at_once_credits_once() {
        let shop = shop().await;
        let body = json!({ "amount": 700 });
        let answers = join_all((0..20).map(|_| shop.credit(shop.id, "k", &body))).await;
        assert!(answers.iter().all(|answer| answer.status == StatusCode::CREATED));
        assert!(answers.iter().all(|answer| answer.body == answers[0].body));
        assert_eq!(shop.balance().await, 700);
    }

    #[tokio::test]
    async fn what_is_no_amount_is_refused() {
        let shop = shop().await;
        for amount in [
            json!(0),
            json!(-1),
            json!(1.5),
            json!(1.0),
            json!("1"),
            json!(null),
            json!(1_i64 << 53),
            json!(true),
        ] {
            let refused = shop.credit(shop.id, "", &json!({ "amount": amount })).await;
            assert_eq!(refused.problem(), (422, "fields_invalid"), "{amount}");
        }
        for body in [
            json!({}),
            json!({ "amount": 1, "currency": "CNY" }),
            json!({ "amount": 1, "reference": "x".repeat(129) }),
        ] {
            assert_eq!(
                shop.credit(shop.id, "", &body).await.problem(),
                (422, "fields_invalid"),
                "{body}"
            );
        }
        let most = json!({ "amount": MOST_BALANCE });
        assert_eq!(shop.credit(shop.id, "", &most).await.status, StatusCode::CREATED);
        let more = shop.credit(shop.id, "", &json!({ "amount": 1 })).await;
        assert_eq!(more.problem(), (422, "balance_too_high"));
        assert_eq!(shop.balance().await, MOST_BALANCE);
        assert_eq!(shop.credit(1, "", &most).await.problem(), (404, "account_not_found"));
    }
}
