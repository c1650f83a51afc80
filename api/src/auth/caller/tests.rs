use super::*;
use axum::http::HeaderValue;

use postrider_common::store::AskedAt;

use crate::testing::TestApp;

const ANYWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

async fn caller<P: Policy>(test: &TestApp, token: &str) -> Result<Caller<P>, Code> {
    authenticate(&test.app, token, ANYWHERE).await.map_err(|problem| problem.code)
}

#[tokio::test]
async fn acting_on_behalf_takes_the_scope_and_the_grant() {
    let test = TestApp::start(&[]).await;
    let both = test.token("shop", &[Grant::Read, Grant::OnBehalf]).await;
    assert!(caller::<Reads>(&test, &both).await.unwrap().on_behalf());
    let without_scope = test.token("shop", &[Grant::Read]).await;
    assert!(!caller::<Reads>(&test, &without_scope).await.unwrap().on_behalf());
    let other = test.app.database.ensure_account("other", Role::Account, 0).await.unwrap();
    let grants = [Grant::Read, Grant::OnBehalf];
    let pretender =
        crate::auth::token::issue(&test.app.keys, other.id, &grants, unix_ms(), 60_000).unwrap();
    assert!(!caller::<Reads>(&test, &pretender).await.unwrap().on_behalf());
    test.app.database.grant_on_behalf(other.id, 0).await.unwrap();
    test.app.accounts.load(other.id).await.unwrap();
    assert!(caller::<Reads>(&test, &pretender).await.unwrap().on_behalf());
}

#[tokio::test]
async fn who_is_trusted_without_a_token_may_do_the_usual_and_no_more() {
    let test = TestApp::start(&[]).await;
    test.token("ops", &[Grant::Admin, Grant::OnBehalf]).await;
    let trusted = on_trust::<Sends>(&test.app, "ops").await.unwrap();
    assert_eq!(trusted.account().username, "ops");
    assert!(!trusted.is_admin() && !trusted.on_behalf() && !trusted.owner().is_test());
    assert!(on_trust::<Verifies>(&test.app, "ops").await.is_ok());
    assert!(on_trust::<Reads>(&test.app, "ops").await.is_ok());
    let code = |problem: Problem| problem.code;
    let admin = on_trust::<Administers>(&test.app, "ops").await.map_err(code);
    assert_eq!(admin.unwrap_err(), Code::ScopeMissing);
    let logged_in = on_trust::<LoggedIn>(&test.app, "ops").await.map_err(code);
    assert_eq!(logged_in.unwrap_err(), Code::SessionNeeded);
    let nobody = on_trust::<Sends>(&test.app, "nobody").await.map_err(code);
    assert_eq!(nobody.unwrap_err(), Code::TokenMissing);
}

#[tokio::test]
async fn a_token_without_scopes_is_logged_in_and_may_do_nothing_else() {
    let test = TestApp::start(&[]).await;
    let token = test.token("shop", &[]).await;
    assert!(caller::<LoggedIn>(&test, &token).await.is_ok());
    assert_eq!(caller::<Reads>(&test, &token).await.unwrap_err(), Code::ScopeMissing);
}

#[test]
fn a_bearer_token_is_found_in_any_case() {
    let found = |text: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static(text));
        bearer(&headers).map(str::to_owned).map_err(|problem| problem.code)
    };
    assert_eq!(found("Bearer abc").as_deref(), Ok("abc"));
    assert_eq!(found("bearer abc").as_deref(), Ok("abc"));
    assert_eq!(found("Basic abc"), Err(Code::TokenMissing));
    assert_eq!(found("abc"), Err(Code::TokenMissing));
    assert!(bearer(&HeaderMap::new()).is_err());
    let mut twice = HeaderMap::new();
    twice.append(AUTHORIZATION, HeaderValue::from_static("Bearer abc"));
    twice.append(AUTHORIZATION, HeaderValue::from_static("Bearer abc"));
    assert_eq!(bearer(&twice).unwrap_err().code, Code::TokenInvalid);
}

/// Changes an account as another replica does: its row, then the store.
async fn change_elsewhere(test: &TestApp, account: &str, sql: &'static str) {
    test.run(sql).await;
    let account = test.app.database.account_by_name(account).await.unwrap().unwrap();
    let version = account.version;
    test.app.store.set_account_version(account.id, version).await.unwrap();
}

const MAY_SEND: &str =
    "UPDATE account SET may_send = 1, version = version + 1 WHERE username = 'shop'";
const MAY_NOT_SEND: &str =
    "UPDATE account SET may_send = 0, version = version + 1 WHERE username = 'shop'";

#[tokio::test]
async fn a_right_granted_on_one_replica_counts_on_every_other_at_once() {
    let test = TestApp::start(&[]).await;
    let token = test.token("shop", &[Grant::Send, Grant::Verify, Grant::Read]).await;
    let account = test.app.database.account_by_name("shop").await.unwrap().unwrap();
    let all = [Grant::Send, Grant::Read, Grant::OnBehalf, Grant::Admin];
    let wide =
        crate::auth::token::issue(&test.app.keys, account.id, &all, unix_ms(), 60_000).unwrap();
    change_elsewhere(&test, "shop", MAY_NOT_SEND).await;
    // It remembers the account as it is before.
    let other = test.replica();
    assert_eq!(caller::<Sends>(&other, &token).await.unwrap_err(), Code::SendingNotAllowed);
    assert_eq!(caller::<Administers>(&other, &wide).await.unwrap_err(), Code::ScopeMissing);
    assert!(!caller::<Reads>(&other, &wide).await.unwrap().on_behalf());

    change_elsewhere(&test, "shop", MAY_SEND).await;
    assert!(caller::<Sends>(&other, &token).await.is_ok());
    let admin = "UPDATE account SET role = 'admin', version = version + 1 WHERE username = 'shop'";
    change_elsewhere(&test, "shop", admin).await;
    assert!(caller::<Administers>(&other, &wide).await.is_ok());
    let on_behalf =
        "UPDATE account SET on_behalf = 1, version = version + 1 WHERE username = 'shop'";
    change_elsewhere(&test, "shop", on_behalf).await;
    // Whose address counts is decided before the guard is asked.
    assert!(caller::<Sends>(&other, &wide).await.unwrap().on_behalf());
}

#[tokio::test]
async fn who_is_trusted_without_a_token_may_send_as_soon_as_another_replica_says_so() {
    let test = TestApp::start(&[]).await;
    test.token("shop", &[]).await;
    change_elsewhere(&test, "shop", MAY_NOT_SEND).await;
    let other = test.replica();
    let trusted = async || on_trust::<Sends>(&other.app, "shop").await.map_err(|p| p.code);
    assert_eq!(trusted().await.unwrap_err(), Code::SendingNotAllowed);
    change_elsewhere(&test, "shop", MAY_SEND).await;
    assert!(trusted().await.is_ok());
}

#[tokio::test]
async fn a_flood_of_refused_requests_asks_the_store_and_not_the_tables() {
    let test = TestApp::start(&[]).await;
    let token = test.token("shop", &[Grant::Send]).await;
    change_elsewhere(&test, "shop", MAY_NOT_SEND).await;
    assert_eq!(caller::<Sends>(&test, &token).await.unwrap_err(), Code::SendingNotAllowed);
    test.run("ALTER TABLE account RENAME TO gone").await;
    for _ in 0..100 {
        assert_eq!(caller::<Sends>(&test, &token).await.unwrap_err(), Code::SendingNotAllowed);
        assert_eq!(caller::<Reads>(&test, &token).await.unwrap_err(), Code::ScopeMissing);
    }
}

#[tokio::test]
async fn a_refusal_that_the_store_can_not_confirm_is_none() {
    let test = TestApp::start(&[]).await;
    let token = test.token("shop", &[Grant::Send]).await;
    change_elsewhere(&test, "shop", MAY_NOT_SEND).await;
    assert_eq!(caller::<Sends>(&test, &token).await.unwrap_err(), Code::SendingNotAllowed);
    test.run("ALTER TABLE store_account RENAME TO gone").await;
    assert_eq!(caller::<Sends>(&test, &token).await.unwrap_err(), Code::StoreUnavailable);
}

#[tokio::test]
async fn a_request_that_was_read_with_a_right_since_taken_away_is_to_be_asked_again() {
    let test = TestApp::start(&[]).await;
    let token = test.token("shop", &[Grant::Send, Grant::OnBehalf]).await;
    let ask = r#"{"phone":"13800138000","purpose":"login","client_ip":"203.0.113.7"}"#;
    assert_eq!(test.post("/v1/verifications", &token, ask).await.status, 202);
    let revoke = "UPDATE account SET on_behalf = 0, version = version + 1 WHERE username = 'shop'";
    change_elsewhere(&test, "shop", revoke).await;
    let ask = r#"{"phone":"13800138001","purpose":"login","client_ip":"203.0.113.7"}"#;
    let refused = test.post("/v1/verifications", &token, ask).await;
    assert_eq!(refused.problem(), (503, "store_unavailable"));
}

#[tokio::test]
async fn tokens_and_keys_are_checked_by_the_stores_clock() {
    let test = TestApp::start(&[]).await;
    let admin = test.token("shop", &[Grant::Read]).await;
    let soon = crate::http::clock::rfc3339(unix_ms() + 20_000);
    let ask = format!(r#"{{"name":"k","scopes":["read"],"expires_at":"{soon}"}}"#);
    let made = test.post("/v1/api-keys", &admin, ask).await;
    let key = made.body["key"].as_str().unwrap().to_owned();
    assert!(caller::<Reads>(&test, &key).await.is_ok());
    let account = test.app.database.account_by_name("shop").await.unwrap().unwrap();

    // This machine's clock is 40 s slow.
    let now = unix_ms() + 40_000;
    test.app.store.clock().observe(AskedAt::now(), now);
    let issue =
        |at| crate::auth::token::issue(&test.app.keys, account.id, &[Grant::Read], at, 60_000);
    assert!(caller::<Reads>(&test, &issue(now).unwrap()).await.is_ok());
    let over = issue(now - 61_000).unwrap();
    assert_eq!(caller::<Reads>(&test, &over).await.unwrap_err(), Code::TokenExpired);
    assert_eq!(caller::<Reads>(&test, &key).await.unwrap_err(), Code::TokenExpired);
}
