//! What a new password ends, and what stands in its way.

use super::*;
use std::time::Duration;

use axum::http::Method;
use futures::future::join_all;
use serde_json::json;

use crate::auth::registration::{NewAccount, Typed, create};
use crate::auth::token::Grant;
use crate::routes::sessions::log_in;
use crate::testing::{Answer, TestApp};

const UNLIMITED: [(&str, &str); 2] = [
    ("POSTRIDER_ACCOUNTS__LOGIN_LIMITS__ACCOUNT", ""),
    ("POSTRIDER_ACCOUNTS__LOGIN_LIMITS__IP", ""),
];
const OLD: &str = "correct horse";
const NEW: &str = "battery staple";

async fn start(variables: &[(&str, &str)]) -> (TestApp, i64) {
    let test = TestApp::start(variables).await;
    let typed = Typed {
        username: "shop".to_owned(),
        password: OLD.into(),
        email: "shop@example.com".to_owned(),
        security_question: "pet?".to_owned(),
        security_answer: "Mr. Whiskers".into(),
    };
    let account = create(&test.app, NewAccount::read(typed).unwrap()).await.unwrap();
    (test, account.id)
}

async fn token(test: &TestApp, password: &str) -> Result<String, Code> {
    let session = log_in(&test.app, "shop", password.into(), None).await;
    session.map(|(_, token, _)| token).map_err(|problem| problem.code)
}

async fn put(test: &TestApp, token: &str, old: &str, new: &str, answer: &str) -> Answer {
    let body = json!({ "old_password": old, "new_password": new, "security_answer": answer });
    test.call(Method::PUT, "/v1/accounts/me/password", token, "203.0.113.7", &body).await
}

async fn lives(test: &TestApp, token: &str) -> bool {
    let answer = test.get("/v1/accounts/me", token).await;
    assert!([200, 401].contains(&answer.status.as_u16()), "{}", answer.body);
    answer.status == StatusCode::OK
}

#[tokio::test]
async fn a_new_password_ends_every_older_token() {
    let (test, _) = start(&[]).await;
    let tokens = [token(&test, OLD).await.unwrap(), token(&test, OLD).await.unwrap()];
    // This process knows the account, as others do.
    assert!(lives(&test, &tokens[0]).await && lives(&test, &tokens[1]).await);
    let changed = put(&test, &tokens[0], OLD, NEW, " mr. WHISKERS ").await;
    assert_eq!(changed.status, StatusCode::NO_CONTENT, "{}", changed.body);
    for token in &tokens {
        assert!(!lives(&test, token).await);
        let code = r#"{"phone":"13800138000","purpose":"login"}"#;
        let sent = test.post("/v1/verifications", token, code).await;
        assert_eq!(sent.problem(), (401, "token_invalid"));
    }
    assert_eq!(token(&test, OLD).await, Err(Code::CredentialsInvalid));
    let new = token(&test, NEW).await.unwrap();
    assert!(lives(&test, &new).await);
}

#[tokio::test]
async fn what_is_wrong_is_told_and_limited_apart_from_log_ins() {
    let (test, id) = start(&[("POSTRIDER_ACCOUNTS__LOGIN_LIMITS__ACCOUNT", "3/10m")]).await;
    let session = token(&test, OLD).await.unwrap();
    let short = put(&test, &session, OLD, "short", "Mr. Whiskers").await;
    assert_eq!(short.problem(), (422, "fields_invalid"));
    assert_eq!(short.body["errors"][0]["field"], "new_password");
    let wrong = put(&test, &session, "wrong horse", NEW, "Mr. Whiskers").await;
    assert_eq!(wrong.problem(), (422, "password_wrong"));
    let wrong = put(&test, &session, OLD, NEW, "Rex").await;
    assert_eq!(wrong.problem(), (422, "security_answer_wrong"));
    let body = json!({ "old_password": OLD, "new_password": NEW });
    let path = "/v1/accounts/me/password";
    let unanswered = test.call(Method::PUT, path, &session, "203.0.113.7", &body).await;
    assert_eq!(unanswered.problem(), (422, "security_answer_wrong"));
    let limited = put(&test, &session, OLD, NEW, "Mr. Whiskers").await;
    assert_eq!(limited.problem(), (429, "login_limited"));
    assert!(token(&test, OLD).await.is_ok(), "a log-in is another thing");
    assert!(lives(&test, &session).await);
    let rules: Vec<String> = loop {
        let rows = test.app.database.refusals(Some(id), 10).await.unwrap();
        if rows.len() == 3 {
            break rows.into_iter().map(|row| format!("{} {}", row.kind, row.rule)).collect();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(rules.contains(&"login password_wrong".to_owned()), "{rules:?}");
    assert!(rules.contains(&"login security_answer_wrong".to_owned()), "{rules:?}");
}

#[tokio::test]
async fn who_has_no_password_or_is_not_there_has_none_to_change() {
    let (test, _) = start(&[]).await;
    let keys_only = test.token("keys-only", &Grant::USUAL).await;
    let refused = put(&test, &keys_only, OLD, NEW, "any").await;
    assert_eq!(refused.problem(), (422, "password_wrong"));
    let nobody =
        change_password(&test.app, Who::Named("nobody"), OLD.into(), NEW.into(), "", None).await;
    assert_eq!(nobody.unwrap_err().code, Code::PasswordWrong);
    assert_eq!(put(&test, "", OLD, NEW, "any").await.problem(), (401, "token_missing"));
}

#[tokio::test]
async fn of_changes_at_once_one_is_made() {
    let (test, _) = start(&UNLIMITED).await;
    let news: Vec<_> = (0..10).map(|n| format!("battery staple {n}")).collect();
    let changes = news.iter().map(|new| {
        change_password(
            &test.app,
            Who::Named("shop"),
            OLD.into(),
            new.as_str().into(),
            "mr. whiskers",
            None,
        )
    });
    let made: Vec<_> = join_all(changes).await.into_iter().map(|c| c.map_err(|p| p.code)).collect();
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 1, "{made:?}");
    assert!(made.iter().all(|made| matches!(made, Ok(()) | Err(Code::PasswordWrong))));
    for (new, made) in news.iter().zip(&made) {
        assert_eq!(token(&test, new).await.is_ok(), made.is_ok());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_log_in_with_the_old_password_outlives_the_change() {
    let (test, _) = start(&UNLIMITED).await;
    let change = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        change_password(&test.app, Who::Named("shop"), OLD.into(), NEW.into(), "mr. whiskers", None)
            .await
    };
    let (first, second, third, changed) =
        tokio::join!(log_ins(&test), log_ins(&test), log_ins(&test), change);
    changed.unwrap();
    let tokens: Vec<_> = [first, second, third].concat();
    assert!(!tokens.is_empty());
    for token in tokens {
        assert!(!lives(&test, &token).await);
    }
}

/// On and on, until the old password is one no more.
async fn log_ins(test: &TestApp) -> Vec<String> {
    let mut tokens = Vec::new();
    while let Ok(token) = token(test, OLD).await {
        tokens.push(token);
    }
    tokens
}

#[tokio::test]
async fn a_change_that_the_store_was_not_told_of_is_told_once_it_is_back() {
    let (test, id) = start(&[]).await;
    let session = token(&test, OLD).await.unwrap();
    assert!(lives(&test, &session).await);
    let refuse =
        "CREATE TRIGGER gone BEFORE INSERT ON store_account BEGIN SELECT RAISE(ABORT, 'gone'); END";
    test.run(refuse).await;
    let refused = change_password(
        &test.app,
        Who::Named("shop"),
        OLD.into(),
        NEW.into(),
        "mr. whiskers",
        None,
    )
    .await;
    assert_eq!(refused.unwrap_err().code, Code::StoreUnavailable);
    test.run("ALTER TABLE store_epoch RENAME TO away").await;
    assert_eq!(test.get("/v1/accounts/me", &session).await.problem(), (503, "store_unavailable"));
    test.run("ALTER TABLE away RENAME TO store_epoch").await;
    test.run("DROP TRIGGER gone").await;
    let version = test.app.database.account(id).await.unwrap().unwrap().version;
    while test.app.store.account_version(id).await.unwrap() != Some(version) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!lives(&test, &session).await);
    assert!(token(&test, NEW).await.is_ok());
}

#[tokio::test]
async fn who_fails_log_ins_in_its_name_keeps_nobody_from_a_new_password() {
    let (test, _) = start(&[]).await;
    let owner = token(&test, OLD).await.unwrap();
    while token(&test, "wrong").await != Err(Code::LoginLimited) {}
    let changed = put(&test, &owner, OLD, NEW, "Mr. Whiskers").await;
    assert_eq!(changed.status, StatusCode::NO_CONTENT, "{}", changed.body);
}
