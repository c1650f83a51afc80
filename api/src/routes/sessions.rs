//! Log-in: `POST /v1/sessions`. Nothing in an answer, its time or what it counts against tells whether there is an
//! account of a name, or whether it has a password.

use std::net::IpAddr;

use axum::Json;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderName, StatusCode};
use postrider_common::database::account::Account;
use secrecy::SecretString;
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::login_limits::Try;
use crate::auth::passwords;
use crate::auth::token::{self, Grant};
use crate::http::body::Body;
use crate::http::client_ip::ClientIp;
use crate::http::clock::{as_ms, rfc3339};
use crate::http::problem::{Code, Problem};
use crate::openapi::problems;
use crate::server::state::AppState;

/// The longest user name that is looked at, in bytes: no account has a longer one.
pub const LONGEST_NAME: usize = 512;

/// Who logs in, as the body says it.
#[derive(Debug, ToSchema)]
pub struct LogIn {
    /// Space at its ends doesn't count
    #[schema(min_length = 1, max_length = 512, example = "shop")]
    pub username: String,
    #[schema(min_length = 1, max_length = 256, format = Password)]
    pub password: String,
}

/// A log-in.
#[derive(Debug, Serialize, ToSchema)]
pub struct Session {
    /// To be sent as `Authorization: Bearer`
    token: String,
    #[schema(format = DateTime)]
    expires_at: String,
}

/// Log in
///
/// A token with all that the account may do. A failed log-in counts for the user name, for the address, and for the two
/// together; nothing tells whether there is such an account.
#[utoipa::path(
    post, path = "/v1/sessions", tag = "accounts", operation_id = "log_in",
    request_body(content = LogIn, example = json!({"username": "shop", "password": "correct horse battery"})),
    responses((status = 201, description = "Logged in", body = Session, example = json!(
        {"token": "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl", "expires_at": "2026-11-22T03:12:24.000Z"}
    ))),
    extensions(("x-problems" = json!(problems(&[&[
        Code::CredentialsInvalid, Code::LoginLimited, Code::Overloaded, Code::StoreUnavailable,
        Code::DatabaseUnavailable,
    ]])))),
)]
pub async fn create(
    State(app): State<AppState>,
    peer: ClientIp,
    Body { mut fields, .. }: Body,
) -> Result<(StatusCode, [(HeaderName, &'static str); 1], Json<Session>), Problem> {
    let username = fields.text("username", LONGEST_NAME);
    let password = fields.secret("password", passwords::LONGEST);
    fields.done()?;
    let (_, token, expires_at) = log_in(&app, &username, password, peer.address()).await?;
    let session = Session { token, expires_at: rfc3339(expires_at) };
    Ok((StatusCode::CREATED, [(CACHE_CONTROL, "no-store")], Json(session)))
}

/// Logs in, whichever wire format asks: the account, a token with all that it may do, and when that ends (unix
/// milliseconds). Refuses with `credentials_invalid` and `login_limited`.
pub async fn log_in(
    app: &AppState,
    username: &str,
    password: SecretString,
    ip: Option<IpAddr>,
) -> Result<(Account, String, i64), Problem> {
    let username = username.trim();
    let limited = |problem: &Problem| app.refusals.note_login(problem, None, ip);
    let tried = Try::log_in(app, username, ip).await.inspect_err(limited)?;
    let at = tried.at();
    match check(app, username, password).await {
        Ok((_, Some(account))) => {
            tried.give_back(app).await;
            session(app, account, at)
        }
        Ok((account_id, None)) => {
            let problem = tried.failed(Code::CredentialsInvalid);
            app.refusals.note_login(&problem, account_id, ip);
            Err(problem)
        }
        Err(problem) => {
            tried.give_back(app).await;
            Err(problem)
        }
    }
}

/// The id of the account of this name, and the account if the password is its own.
async fn check(
    app: &AppState,
    username: &str,
    password: SecretString,
) -> Result<(Option<i64>, Option<Account>), Problem> {
    let known = app.database.credentials(username).await?;
    let id = known.as_ref().map(|known| known.account_id);
    let hash = known.and_then(|known| known.password_hash);
    let right = app.passwords.verify(password, hash).await?;
    let account = match id {
        Some(id) if right => app.database.account(id).await?,
        _ => None,
    };
    Ok((id, account))
}

/// A token from `at` on. That is before the password was looked at, so that a change of password that came between
/// ends it too.
pub fn session(
    app: &AppState,
    account: Account,
    at: i64,
) -> Result<(Account, String, i64), Problem> {
    let ttl = as_ms(app.settings.accounts.session_ttl);
    let token = token::issue(&app.keys, account.id, &Grant::of(&account), at, ttl);
    let token = token.map_err(|error| Problem::new(Code::Internal).because(&error))?;
    tracing::info!(account.id = account.id, "logged in");
    // A token's times are whole seconds.
    Ok((account, token, (at + ttl) / 1000 * 1000))
}

#[cfg(test)]
mod tests;
