//! Log-out: `DELETE /v1/sessions/current` kills the token that it is called with, `DELETE /v1/accounts/{id}/sessions`
//! every token of an account. The table first, then the store, which every replica asks with each request.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;

use crate::auth::account_change::change;
use crate::auth::caller::{Admin, Caller, LoggedIn};
use crate::http::clock::unix_ms;
use crate::http::problem::{Code, Problem};
use crate::openapi::problems;
use crate::server::state::AppState;

/// Log out
///
/// The token that this is called with is dead at once, on every replica. Where the store can't be told the answer is
/// 503, and the same again works.
#[utoipa::path(
    delete, path = "/v1/sessions/current", tag = "accounts", operation_id = "log_out", security(("bearer" = [])),
    responses((status = 204, description = "The token is dead")),
)]
pub async fn this_session(
    State(app): State<AppState>,
    caller: Caller<LoggedIn>,
) -> Result<StatusCode, Problem> {
    let token = caller.token()?;
    let Some(jti) = &token.jti else {
        let detail = "a token without a `jti` ends by itself, or with all others of its account";
        return Err(Problem::new(Code::SessionNeeded).detail(detail));
    };
    let revoking = {
        let (app, id) = (Arc::clone(&app), caller.account_id());
        let (jti, dead_at) = (jti.to_owned(), token.dead_at);
        async move { Ok(app.database.revoke(&jti, id, dead_at, unix_ms()).await?) }
    };
    // The store is told also where it was revoked already: it may not have been told that time.
    change(&app.accounts, caller.account_id(), revoking).await?;
    tracing::info!(account.id = caller.account_id(), "logged out");
    Ok(StatusCode::NO_CONTENT)
}

/// End every session of an account
///
/// Every token of the account is dead at once, on every replica. API keys stay.
#[utoipa::path(
    delete, path = "/v1/accounts/{id}/sessions", tag = "accounts", operation_id = "end_sessions",
    security(("bearer" = ["admin"])), params(("id" = String, Path, description = "The account's id")),
    responses((status = 204, description = "Its tokens are dead")),
    extensions(("x-problems" = json!(problems(&[&[Code::AccountNotFound]])))),
)]
pub async fn every_session(
    State(app): State<AppState>,
    admin: Admin,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let not_found = || Problem::new(Code::AccountNotFound);
    let id: i64 = id.parse().map_err(|_| not_found())?;
    let revoking = {
        let app = Arc::clone(&app);
        async move { Ok(app.database.revoke_all(id, app.now().await?).await?) }
    };
    if change(&app.accounts, id, revoking).await?.is_none() {
        return Err(not_found());
    }
    tracing::info!(account.id = id, by = admin.account_id(), "every session was ended");
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::token::Grant;
    use crate::auth::verify_token::verify_any;
    use crate::testing::TestApp;

    const CURRENT: &str = "/v1/sessions/current";
    const SEND: &str = "/v1/verifications";
    const CODE: &str = r#"{"phone":"13800138000","purpose":"login"}"#;

    #[tokio::test]
    async fn a_logged_out_token_is_dead_and_others_live() {
        let test = TestApp::start(&[]).await;
        let token = test.token("shop", &Grant::USUAL).await;
        let other = test.token("shop", &Grant::USUAL).await;
        assert_eq!(test.delete(CURRENT, &token).await.status, StatusCode::NO_CONTENT);
        for path in ["/v1/messages", "/sandbox/messages"] {
            assert_eq!(test.get(path, &token).await.problem(), (401, "token_invalid"));
        }
        assert_eq!(test.post(SEND, &token, CODE).await.problem(), (401, "token_invalid"));
        assert_eq!(test.delete(CURRENT, &token).await.problem(), (401, "token_invalid"));
        assert_eq!(test.get("/v1/messages", &other).await.status, StatusCode::OK);
        assert_eq!(test.post(SEND, &other, CODE).await.status, StatusCode::ACCEPTED);
    }

    #[tokio::test]
    async fn a_log_out_that_the_store_was_not_told_of_is_not_answered_and_works_again() {
        let test = TestApp::start(&[]).await;
        let token = test.token("shop", &Grant::USUAL).await;
        assert_eq!(test.get("/v1/messages", &token).await.status, StatusCode::OK);
        let account = test.app.database.account_by_name("shop").await.unwrap().unwrap();
        let verified = verify_any(&test.app.keys, None, &token, unix_ms()).await.unwrap();
        let jti = verified.jti.unwrap();
        // The table knows, the store doesn't: as if it had been unreachable just then.
        let revoked = test.app.database.revoke(&jti, account.id, verified.dead_at, 0).await;
        assert_eq!(revoked.unwrap(), Some(account.version + 1));
        assert_eq!(test.app.store.account_version(account.id).await.unwrap(), Some(1));
        assert_eq!(test.delete(CURRENT, &token).await.status, StatusCode::NO_CONTENT);
        assert_eq!(test.app.store.account_version(account.id).await.unwrap(), Some(2));
        assert_eq!(test.get("/v1/messages", &token).await.problem(), (401, "token_invalid"));

        let token = test.token("shop", &Grant::USUAL).await;
        test.run("ALTER TABLE store_epoch RENAME TO gone").await;
        assert_eq!(test.delete(CURRENT, &token).await.problem(), (503, "store_unavailable"));
        test.run("ALTER TABLE gone RENAME TO store_epoch").await;
        assert_eq!(test.delete(CURRENT, &token).await.status, StatusCode::NO_CONTENT);
    }

    #[tokio::test]
    async fn an_operator_ends_every_session_of_an_account() {
        let test = TestApp::start(&[]).await;
        let admin = test.token("ops", &[Grant::Admin]).await;
        let tokens =
            [test.token("shop", &Grant::USUAL).await, test.token("shop", &Grant::USUAL).await];
        let account = test.app.database.account_by_name("shop").await.unwrap().unwrap();
        let path = format!("/v1/accounts/{}/sessions", account.id);
        assert_eq!(test.delete(&path, &tokens[0]).await.problem(), (403, "scope_missing"));
        assert_eq!(test.delete(&path, &admin).await.status, StatusCode::NO_CONTENT);
        for token in &tokens {
            assert_eq!(test.get("/v1/messages", token).await.problem(), (401, "token_invalid"));
        }
        assert_eq!(test.get("/v1/queues", &admin).await.status, StatusCode::OK);
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        let new = test.token("shop", &Grant::USUAL).await;
        assert_eq!(test.get("/v1/messages", &new).await.status, StatusCode::OK);
        for unknown in ["/v1/accounts/1/sessions", "/v1/accounts/x/sessions"] {
            assert_eq!(test.delete(unknown, &admin).await.problem(), (404, "account_not_found"));
        }
    }
}
