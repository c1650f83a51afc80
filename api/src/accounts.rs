//! Accounts over HTTP: registering, one's own, and what an admin sees and grants.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use postrider_common::database::account::Account;
use serde::Serialize;

use crate::account_change::change;
use crate::app::{App, Shared};
use crate::caller::{Admin, Caller, Reads};
use crate::client_ip::ClientIp;
use crate::clock::{rfc3339, unix_ms};
use crate::json::{Body, Fields};
use crate::passwords;
use crate::problem::{Code, Problem};
use crate::registration::{NewAccount, Typed, create, is_open, register};
use crate::sessions::LONGEST_NAME;

/// An account as its owner and an admin see it.
#[derive(Debug, Serialize)]
pub struct Shown {
    id: i64,
    username: String,
    /// Null for an account that an operator's command made.
    email: Option<String>,
    balance: Money,
    role: &'static str,
    may_send: bool,
    on_behalf: bool,
    created_at: String,
}

/// In minor units of the currency.
#[derive(Debug, Serialize)]
pub struct Money {
    amount: i64,
    currency: String,
}

#[derive(Debug, Serialize)]
pub struct Found {
    accounts: Vec<Shown>,
}

impl Shown {
    fn of(app: &App, account: Account) -> Self {
        let currency = app.settings.accounts.currency.clone();
        Self {
            id: account.id,
            username: account.username,
            email: account.email,
            balance: Money { amount: account.balance, currency },
            role: account.role.as_str(),
            may_send: account.may_send,
            on_behalf: account.on_behalf,
            created_at: rfc3339(account.create_time),
        }
    }
}

/// `POST /v1/accounts`: anybody where registration is open, else an admin.
pub async fn post(
    State(app): State<Shared>,
    admin: Result<Admin, Problem>,
    peer: ClientIp,
    Body { mut fields, .. }: Body,
) -> Result<(StatusCode, Json<Shown>), Problem> {
    let by_admin = match admin {
        Ok(_) => true,
        Err(_) if is_open(&app) => false,
        Err(problem) => return Err(closed_to(problem)),
    };
    let typed = Typed {
        username: fields.text("username", LONGEST_NAME),
        password: fields.secret("password", passwords::LONGEST),
        email: fields.text("email", 256),
        security_question: fields.text("security_question", passwords::LONGEST),
        security_answer: fields.secret("security_answer", passwords::LONGEST),
    };
    fields.done()?;
    let new = NewAccount::read(typed)?;
    let made = if by_admin {
        create(&app, new).await?
    } else {
        register(&app, new, peer.address()).await?
    };
    Ok((StatusCode::CREATED, Json(Shown::of(&app, made))))
}

/// What is said to whoever is no admin where only one makes accounts: what is wrong with the token, if there is one.
fn closed_to(problem: Problem) -> Problem {
    match problem.code {
        Code::TokenMissing | Code::ScopeMissing => Problem::new(Code::RegistrationClosed),
        _ => problem,
    }
}

/// `GET /v1/accounts/me`
pub async fn me(State(app): State<Shared>, caller: Caller<Reads>) -> Result<Json<Shown>, Problem> {
    found(&app, caller.account_id()).await
}

/// `GET /v1/accounts?username=`: the account of this name, or none.
pub async fn list(
    State(app): State<Shared>,
    _: Admin,
    query: Result<Query<BTreeMap<String, String>>, QueryRejection>,
) -> Result<Json<Found>, Problem> {
    let Query(query) = query.map_err(|_| Problem::new(Code::RequestMalformed))?;
    let members = query.into_iter().map(|(name, text)| (name, text.into())).collect();
    let mut fields = Fields::new(members);
    let username = fields.text("username", LONGEST_NAME);
    fields.done()?;
    let account = app.database.account_by_name(&username).await?;
    Ok(Json(Found {
        accounts: account.map(|account| Shown::of(&app, account)).into_iter().collect(),
    }))
}

/// `GET /v1/accounts/{id}`
pub async fn show(
    State(app): State<Shared>,
    _: Admin,
    Path(id): Path<String>,
) -> Result<Json<Shown>, Problem> {
    found(&app, read_id(&id)?).await
}

/// `PATCH /v1/accounts/{id}`: what an account may do, from its next request on.
pub async fn patch(
    State(app): State<Shared>,
    admin: Admin,
    Path(id): Path<String>,
    Body { mut fields, .. }: Body,
) -> Result<Json<Shown>, Problem> {
    let id = read_id(&id)?;
    let (may_send, on_behalf) =
        (fields.optional_flag("may_send"), fields.optional_flag("on_behalf"));
    if may_send.is_none() && on_behalf.is_none() {
        fields.note("may_send", "missing", "or `on_behalf` is needed");
    }
    fields.done()?;
    let setting = {
        let app = Arc::clone(&app);
        async move { Ok(app.database.set_grants(id, may_send, on_behalf, unix_ms()).await?) }
    };
    let account = change(&app, id, setting).await?.ok_or_else(not_found)?;
    tracing::info!(
        account.id = id,
        by = admin.account_id(),
        may_send,
        on_behalf,
        "an account's grants were set"
    );
    Ok(Json(Shown::of(&app, account)))
}

/// An account's id in a path.
pub fn read_id(text: &str) -> Result<i64, Problem> {
    text.parse().map_err(|_| not_found())
}

pub fn not_found() -> Problem {
    Problem::new(Code::AccountNotFound)
}

async fn found(app: &App, id: i64) -> Result<Json<Shown>, Problem> {
    let account = app.database.account(id).await?.ok_or_else(not_found)?;
    Ok(Json(Shown::of(app, account)))
}

#[cfg(test)]
mod tests;
