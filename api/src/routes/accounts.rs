//! Accounts over HTTP: registering, one's own, and what an admin sees and grants.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use postrider_common::database::account::{Account, Role};
use serde::Serialize;
use utoipa::openapi::schema::Object;
use utoipa::{IntoParams, ToSchema};

use crate::auth::account_change::change;
use crate::auth::caller::{Admin, Caller, Reads};
use crate::auth::passwords;
use crate::auth::registration::{NewAccount, Typed, create, is_open, register};
use crate::http::body::{Body, Fields};
use crate::http::client_ip::ClientIp;
use crate::http::clock::{rfc3339, unix_ms};
use crate::http::problem::{Code, Problem};
use crate::openapi::problems;
use crate::openapi::schemas::one_of;
use crate::routes::sessions::LONGEST_NAME;
use crate::server::state::{App, AppState};

/// An account as its owner and an admin see it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Account)]
pub struct Shown {
    id: i64,
    username: String,
    /// Null for an account that an operator's command made.
    #[schema(required)]
    email: Option<String>,
    balance: Money,
    #[schema(schema_with = roles)]
    role: &'static str,
    may_send: bool,
    on_behalf: bool,
    #[schema(format = DateTime)]
    created_at: String,
}

fn roles() -> Object {
    one_of(&[Role::Account, Role::Admin].map(Role::as_str))
}

/// In minor units of the currency.
#[derive(Debug, Serialize, ToSchema)]
pub struct Money {
    amount: i64,
    /// ISO 4217's letters
    currency: String,
}

/// The account of a name, or none.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FoundAccounts)]
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

/// Whom to make an account for, as the body says it.
#[derive(Debug, ToSchema)]
pub struct CreateAccount {
    /// 1 to 64 letters (Latin, Chinese, Japanese, Korean), digits and `_.@-`; space at its ends doesn't count
    #[schema(min_length = 1, max_length = 512, example = "shop")]
    pub username: String,
    /// 8 characters to 256 bytes
    #[schema(min_length = 8, max_length = 256, format = Password)]
    pub password: String,
    #[schema(min_length = 1, max_length = 256, example = "shop@example.com")]
    pub email: String,
    /// Up to 256 bytes
    #[schema(min_length = 1, max_length = 256)]
    pub security_question: String,
    /// Up to 256 bytes; space at its ends doesn't count
    #[schema(min_length = 1, max_length = 256, format = Password)]
    pub security_answer: String,
}

/// What an account may do, as the body says it: at least one of the two.
#[derive(Debug, ToSchema)]
#[schema(as = SetGrants)]
pub struct Grants {
    /// To send codes and notices
    pub may_send: Option<bool>,
    /// To be given the scope `on_behalf`
    pub on_behalf: Option<bool>,
}

/// Whose account is looked for.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct WantedAccount {
    #[param(min_length = 1, max_length = 512, example = "shop")]
    pub username: String,
}

/// An account as the description shows one.
fn example() -> serde_json::Value {
    serde_json::json!({
        "id": 52_290_417_731_662_i64, "username": "shop", "email": "shop@example.com",
        "balance": {"amount": 100_000, "currency": "CNY"}, "role": "account", "may_send": true, "on_behalf": false,
        "created_at": "2026-11-21T03:12:24.123Z"
    })
}

/// Make an account
///
/// Anybody does where registration is open (`[accounts] registration`), else an admin. Embedded it may send at once,
/// otherwise once an admin says so. Registrations from one address are limited as its failed log-ins are.
#[utoipa::path(
    post, path = "/v1/accounts", tag = "accounts", operation_id = "create_account",
    security(("bearer" = ["admin"]), ()),
    request_body(content = CreateAccount, example = json!({
        "username": "shop", "password": "correct horse battery", "email": "shop@example.com",
        "security_question": "The name of your first pet?", "security_answer": "Rex"
    })),
    responses((status = 201, description = "The account", body = Shown, example = json!(example()))),
    extensions(("x-problems" = json!(problems(&[&[
        Code::RegistrationClosed, Code::UsernameTaken, Code::EmailTaken, Code::IpLimited, Code::Overloaded,
    ]])))),
)]
pub async fn post(
    State(app): State<AppState>,
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
    let new = NewAccount::read_with(typed, fields)?;
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

/// Show one's own account
///
/// The account that calls, with its balance.
#[utoipa::path(
    get, path = "/v1/accounts/me", tag = "accounts", operation_id = "show_own_account",
    security(("bearer" = ["read"])),
    responses((status = 200, description = "The account", body = Shown, example = json!(example()))),
    extensions(("x-problems" = json!(problems(&[&[Code::AccountNotFound]])))),
)]
pub async fn me(
    State(app): State<AppState>,
    caller: Caller<Reads>,
) -> Result<Json<Shown>, Problem> {
    found(&app, caller.account_id()).await
}

/// Find an account
///
/// The account of this user name, or none.
#[utoipa::path(
    get, path = "/v1/accounts", tag = "accounts", operation_id = "find_account",
    security(("bearer" = ["admin"])), params(WantedAccount),
    responses((status = 200, description = "One account or none", body = Found, example = json!(
        {"accounts": [example()]}
    ))),
)]
pub async fn list(
    State(app): State<AppState>,
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

/// Show an account
#[utoipa::path(
    get, path = "/v1/accounts/{id}", tag = "accounts", operation_id = "show_account",
    security(("bearer" = ["admin"])), params(("id" = String, Path, description = "The account's id")),
    responses((status = 200, description = "The account", body = Shown, example = json!(example()))),
    extensions(("x-problems" = json!(problems(&[&[Code::AccountNotFound]])))),
)]
pub async fn show(
    State(app): State<AppState>,
    _: Admin,
    Path(id): Path<String>,
) -> Result<Json<Shown>, Problem> {
    found(&app, read_id(&id)?).await
}

/// Set what an account may do
///
/// It works from the account's next request on. What isn't said stays. Where the store can't be told the answer is 503,
/// and the change is done all the same.
#[utoipa::path(
    patch, path = "/v1/accounts/{id}", tag = "accounts", operation_id = "set_grants",
    security(("bearer" = ["admin"])), params(("id" = String, Path, description = "The account's id")),
    request_body(content = Grants, example = json!({"may_send": true})),
    responses((status = 200, description = "The account as it is now", body = Shown, example = json!(example()))),
    extensions(("x-problems" = json!(problems(&[&[Code::AccountNotFound]])))),
)]
pub async fn patch(
    State(app): State<AppState>,
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
    let account = change(&app.accounts, id, setting).await?.ok_or_else(not_found)?;
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
