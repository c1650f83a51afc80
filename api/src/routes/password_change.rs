//! `PUT /v1/accounts/me/password`: a new password ends every token that was issued before it, on every replica.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use postrider_common::database::account::Account;
use secrecy::SecretString;
use utoipa::ToSchema;

use crate::auth::account_change::change;
use crate::auth::caller::{Caller, LoggedIn};
use crate::auth::login_limits::Try;
use crate::auth::passwords;
use crate::http::body::Body;
use crate::http::client_ip::ClientIp;
use crate::http::problem::{Code, Problem};
use crate::openapi::problems;
use crate::server::state::AppState;

/// A change of password, as the body says it.
#[derive(Debug, ToSchema)]
pub struct ChangePassword {
    #[schema(min_length = 1, max_length = 256, format = Password)]
    pub old_password: String,
    /// 8 characters to 256 bytes
    #[schema(min_length = 8, max_length = 256, format = Password)]
    pub new_password: String,
    /// Needed where the account has one
    #[schema(min_length = 1, max_length = 256, format = Password)]
    pub security_answer: Option<String>,
}

/// Change the password
///
/// Every token that was issued before is dead at once, on every replica, also the one that this is called with. API
/// keys stay. Failed tries are limited as those of log-ins are, and apart from them.
#[utoipa::path(
    put, path = "/v1/accounts/me/password", tag = "accounts", operation_id = "change_password",
    security(("bearer" = [])),
    request_body(content = ChangePassword, example = json!({
        "old_password": "correct horse battery", "new_password": "staple of another", "security_answer": "Rex"
    })),
    responses((status = 204, description = "The password is the new one")),
    extensions(("x-problems" = json!(problems(&[&[
        Code::PasswordWrong, Code::SecurityAnswerWrong, Code::LoginLimited, Code::Overloaded,
    ]])))),
)]
pub async fn put(
    State(app): State<AppState>,
    caller: Caller<LoggedIn>,
    peer: ClientIp,
    Body { mut fields, .. }: Body,
) -> Result<StatusCode, Problem> {
    let old = fields.secret("old_password", passwords::LONGEST);
    let new = fields.secret("new_password", passwords::LONGEST);
    let answer = fields.optional_text("security_answer", passwords::LONGEST).unwrap_or_default();
    fields.done()?;
    let who = Who::LoggedIn(caller.account());
    change_password(&app, who, old, new, &answer, peer.address()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whose password is changed.
#[derive(Debug, Clone, Copy)]
pub enum Who<'a> {
    /// Who asks is logged in.
    LoggedIn(&'a Account),
    /// Anybody, who says the name and the old password: that is a log-in, and counts as one.
    Named(&'a str),
}

/// Changes a password, whichever wire format asks. Where the account has a security answer it must be given too. Refuses
/// with `fields_invalid`, `password_wrong` (also for an account that isn't there), `security_answer_wrong` and
/// `login_limited`. API keys stay.
pub async fn change_password(
    app: &AppState,
    who: Who<'_>,
    old: SecretString,
    new: SecretString,
    answer: &str,
    ip: Option<IpAddr>,
) -> Result<(), Problem> {
    if let Some(problem) = passwords::problem(&new) {
        return Err(Problem::field(Code::FieldsInvalid, "new_password", "length", problem));
    }
    let limited = |problem: &Problem| app.refusals.note_login(problem, None, ip);
    let (username, tried) = match who {
        Who::LoggedIn(account) => {
            (account.username.as_str(), Try::own_password(app, account.id, ip).await)
        }
        Who::Named(name) => (name.trim(), Try::log_in(app, name.trim(), ip).await),
    };
    let tried = tried.inspect_err(limited)?;
    let at = tried.at();
    match decide(app, username, old, new, answer, at).await {
        Ok(Decided::Changed) => {
            tried.give_back(app).await;
            Ok(())
        }
        Ok(Decided::Refused(code, account_id)) => {
            let problem = tried.failed(code);
            app.refusals.note_login(&problem, account_id, ip);
            Err(problem)
        }
        Err(problem) => {
            tried.give_back(app).await;
            Err(problem)
        }
    }
}

enum Decided {
    Changed,
    Refused(Code, Option<i64>),
}

async fn decide(
    app: &AppState,
    username: &str,
    old: SecretString,
    new: SecretString,
    answer: &str,
    at: i64,
) -> Result<Decided, Problem> {
    let known = app.database.credentials(username).await?;
    let account_id = known.as_ref().map(|known| known.account_id);
    let hashes = known.map(|known| (known.password_hash, known.security_answer_hash));
    let (old_hash, answer_hash) = hashes.unwrap_or_default();
    // Both are looked at in any case, so that time tells nothing.
    let right = app.passwords.verify(old, old_hash.clone()).await?;
    let has_answer = answer_hash.is_some();
    let answered = app.passwords.verify(passwords::answer(answer), answer_hash).await?;
    let (Some(id), Some(old_hash), true) = (account_id, old_hash, right) else {
        return Ok(Decided::Refused(Code::PasswordWrong, account_id));
    };
    if has_answer && !answered {
        return Ok(Decided::Refused(Code::SecurityAnswerWrong, account_id));
    }
    let new_hash = app.passwords.hash(new).await?;
    let replacing = replace(Arc::clone(app), id, old_hash, new_hash, at);
    if change(&app.accounts, id, replacing).await? {
        tracing::info!(account.id = id, "the password was changed");
        return Ok(Decided::Changed);
    }
    // Somebody else was faster: the old password is one no more.
    Ok(Decided::Refused(Code::PasswordWrong, account_id))
}

async fn replace(
    app: AppState,
    account_id: i64,
    old: SecretString,
    new: SecretString,
    at: i64,
) -> Result<bool, Problem> {
    if !app.database.set_password(account_id, Some(&old), &new, at).await? {
        return Ok(false);
    }
    // Whoever logged in with the old password while it was being replaced has a token from after `at`, and from before
    // now.
    app.database.revoke_all(account_id, app.now().await?).await?;
    Ok(true)
}

#[cfg(test)]
mod tests;
