//! Who may register, and what nobody but an admin sees and grants.

use super::*;
use axum::http::Method;
use futures::future::join_all;
use postrider_common::database::account::Role;
use serde_json::{Value, json};

use crate::auth::token::Grant;
use crate::testing::{Answer, TestApp};

const ACCOUNTS: &str = "/v1/accounts";
const HERE: &str = "203.0.113.7";
const UNLIMITED: (&str, &str) = ("POSTRIDER_ACCOUNTS__LOGIN_LIMITS__IP", "");

fn typed(username: &str, email: &str) -> Value {
    json!({
        "username": username, "password": "correct horse", "email": email,
        "security_question": "第一只宠物？", "security_answer": "Rex",
    })
}

async fn post(test: &TestApp, token: &str, body: &Value) -> Answer {
    test.call(Method::POST, ACCOUNTS, token, HERE, body).await
}

#[tokio::test]
async fn who_registers_has_an_account_of_its_own() {
    let test = TestApp::start(&[]).await;
    let made = post(&test, "", &typed(" 商店 ", "Shop@Example.com")).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let mut body = made.body.clone();
    let id = body["id"].take().as_i64().unwrap();
    assert!(
        crate::http::clock::parse_rfc3339(body["created_at"].take().as_str().unwrap()).is_some()
    );
    assert_eq!(
        body,
        json!({
            "id": null, "username": "商店", "email": "shop@example.com",
            "balance": { "amount": 0, "currency": "CNY" },
            "role": "account", "may_send": true, "on_behalf": false, "created_at": null,
        })
    );
    let log_in = json!({ "username": "商店", "password": "correct horse" });
    let session = test.call(Method::POST, "/v1/sessions", "", HERE, &log_in).await;
    let token = session.body["token"].as_str().unwrap();
    assert_eq!(test.get("/v1/accounts/me", token).await.body, made.body);
    let code = r#"{"phone":"13800138000","purpose":"login"}"#;
    let sent = test.post("/v1/verifications", token, code).await;
    assert_eq!(sent.status, StatusCode::ACCEPTED, "embedded it may send at once");
    let admin = test.token("ops", &[Grant::Admin]).await;
    assert_eq!(test.get(&format!("{ACCOUNTS}/{id}"), &admin).await.body, made.body);

    let same_name = post(&test, "", &typed("商店", "other@example.com")).await;
    assert_eq!(same_name.problem(), (409, "username_taken"));
    let same_email = post(&test, "", &typed("other", "SHOP@example.com")).await;
    assert_eq!(same_email.problem(), (409, "email_taken"));
    let of_command = post(&test, "", &typed("ops", "ops@example.com")).await;
    assert_eq!(of_command.problem(), (409, "username_taken"));
}

#[tokio::test]
async fn names_every_wrong_field_of_a_registration() {
    let test = TestApp::start(&[]).await;
    let body = json!({
        "username": "no spaces", "password": "short", "email": "nowhere", "security_question": "", "more": 1,
    });
    let refused = post(&test, "", &body).await;
    assert_eq!(refused.problem(), (422, "fields_invalid"));
    let errors = refused.body["errors"].as_array().unwrap();
    let mut named: Vec<_> = errors
        .iter()
        .map(|e| format!("{} {}", e["field"].as_str().unwrap(), e["code"].as_str().unwrap()))
        .collect();
    named.sort();
    let expected = [
        "email format",
        "more unknown",
        "password length",
        "security_answer missing",
        "security_question length",
        "username format",
    ];
    assert_eq!(named, expected);
}

#[tokio::test]
async fn nobody_gives_himself_more_than_an_account() {
    let test = TestApp::start(&[]).await;
    for (field, value) in [
        ("role", json!("admin")),
        ("balance", json!(1_000_000)),
        ("may_send", json!(true)),
        ("on_behalf", json!(true)),
        ("id", json!(7)),
        ("tokens_valid_from", json!(0)),
    ] {
        let mut body = typed("shop", "shop@example.com");
        body[field] = value;
        let refused = post(&test, "", &body).await;
        assert_eq!(refused.problem(), (422, "fields_invalid"));
        assert_eq!(refused.body["errors"][0]["field"], field);
    }
    assert_eq!(test.app.database.account_by_name("shop").await.unwrap(), None);
}

#[tokio::test]
async fn where_registration_is_closed_an_admin_makes_accounts() {
    let test = TestApp::start(&[("POSTRIDER_ACCOUNTS__REGISTRATION", "closed")]).await;
    let body = typed("shop", "shop@example.com");
    assert_eq!(post(&test, "", &body).await.problem(), (403, "registration_closed"));
    let usual = test.token("other", &Grant::USUAL).await;
    assert_eq!(post(&test, &usual, &body).await.problem(), (403, "registration_closed"));
    assert_eq!(post(&test, "nonsense", &body).await.problem(), (401, "token_invalid"));
    let admin = test.token("ops", &[Grant::Admin]).await;
    assert_eq!(post(&test, &admin, &body).await.status, StatusCode::CREATED);
    let refused = NewAccount::read(Typed {
        username: "other".to_owned(),
        password: "correct horse".into(),
        email: "other@example.com".to_owned(),
        security_question: "pet?".to_owned(),
        security_answer: "Rex".into(),
    });
    let refused = register(&test.app, refused.unwrap(), None).await;
    assert_eq!(refused.unwrap_err().code, Code::RegistrationClosed);
}

#[tokio::test]
async fn a_hundred_registrations_of_one_name_at_once_make_one() {
    let patient = ("POSTRIDER_SERVER__REQUEST_TIMEOUT", "120s");
    let test = TestApp::start(&[UNLIMITED, patient]).await;
    let bodies: Vec<_> = (0..100).map(|n| typed("shop", &format!("shop{n}@example.com"))).collect();
    let answers = join_all(bodies.iter().map(|body| post(&test, "", body))).await;
    let made = answers.iter().filter(|answer| answer.status == StatusCode::CREATED);
    assert_eq!(made.count(), 1);
    for answer in answers.iter().filter(|answer| answer.status != StatusCode::CREATED) {
        let problem = answer.problem();
        assert!([(409, "username_taken"), (503, "overloaded")].contains(&problem), "{problem:?}");
    }
}

#[tokio::test]
async fn registrations_from_an_address_are_limited_and_an_admins_are_not() {
    let test = TestApp::start(&[("POSTRIDER_ACCOUNTS__LOGIN_LIMITS__IP", "2/10m")]).await;
    for n in 0..2 {
        let made = post(&test, "", &typed(&format!("a{n}"), &format!("a{n}@b.cn"))).await;
        assert_eq!(made.status, StatusCode::CREATED);
    }
    let limited = post(&test, "", &typed("a2", "a2@b.cn")).await;
    assert_eq!(limited.problem(), (429, "ip_limited"));
    assert!(limited.headers.contains_key("retry-after"));
    assert!(limited.headers.contains_key("ratelimit-policy"));
    let log_in = json!({ "username": "a0", "password": "correct horse" });
    let session = test.call(Method::POST, "/v1/sessions", "", HERE, &log_in).await;
    assert_eq!(session.status, StatusCode::CREATED, "log-ins are counted apart");
    let admin = test.token("ops", &[Grant::Admin]).await;
    for n in 3..6 {
        let made = post(&test, &admin, &typed(&format!("a{n}"), &format!("a{n}@b.cn"))).await;
        assert_eq!(made.status, StatusCode::CREATED);
    }
}

#[tokio::test]
async fn who_is_no_admin_sees_and_grants_nothing() {
    let test = TestApp::start(&[]).await;
    let token = test.token("shop", &[Grant::Send, Grant::Verify, Grant::Read]).await;
    let id = test.app.database.account_by_name("shop").await.unwrap().unwrap().id;
    let one = format!("{ACCOUNTS}/{id}");
    let refused = (403, "scope_missing");
    assert_eq!(test.get(&one, &token).await.problem(), refused);
    assert_eq!(test.get("/v1/accounts?username=shop", &token).await.problem(), refused);
    let grants = json!({ "on_behalf": true });
    let patched = test.call(Method::PATCH, &one, &token, HERE, &grants).await;
    assert_eq!(patched.problem(), refused);
    let money = json!({ "amount": 100 });
    let credited = test.call(Method::POST, &format!("{one}/credits"), &token, HERE, &money).await;
    assert_eq!(credited.problem(), refused);
    let sender = test.token("shop", &[Grant::Send]).await;
    assert_eq!(test.get("/v1/accounts/me", &sender).await.problem(), refused);
    assert_eq!(test.get("/v1/accounts/me", "").await.problem().0, 401);
    let account = test.app.database.account(id).await.unwrap().unwrap();
    assert_eq!((account.version, account.balance), (1, 0));
}

#[tokio::test]
async fn a_grant_counts_from_the_next_request_on() {
    const CODE: &str = r#"{"phone":"13800138000","purpose":"login"}"#;
    let test = TestApp::start(&[]).await;
    let admin = test.token("ops", &[Grant::Admin]).await;
    let token = test.token("shop", &Grant::USUAL).await;
    assert_eq!(test.post("/v1/verifications", &token, CODE).await.status, StatusCode::ACCEPTED);
    let found = test.get("/v1/accounts?username=shop", &admin).await;
    let id = found.body["accounts"][0]["id"].as_i64().unwrap();
    let path = format!("{ACCOUNTS}/{id}");
    let set = async |body: Value| test.call(Method::PATCH, &path, &admin, HERE, &body).await;
    let without = set(json!({ "may_send": false })).await;
    assert_eq!((without.status, &without.body["may_send"]), (StatusCode::OK, &json!(false)));
    let refused = test.post("/v1/verifications", &token, CODE).await;
    assert_eq!(refused.problem(), (403, "sending_not_allowed"));
    let given = set(json!({ "may_send": true, "on_behalf": true })).await;
    assert_eq!(given.body["on_behalf"], true);
    let again = test.post("/v1/verifications", &token, CODE).await;
    assert_eq!(again.problem(), (429, "phone_limited"));
    assert_eq!(set(json!({})).await.problem(), (422, "fields_invalid"));
    assert_eq!(set(json!({ "may_send": 1 })).await.problem(), (422, "fields_invalid"));
    assert_eq!(set(json!({ "role": "admin" })).await.problem(), (422, "fields_invalid"));
    for unknown in ["/v1/accounts/1", "/v1/accounts/x", "/v1/accounts/99999999999999999999"] {
        let grants = json!({ "may_send": true });
        let patched = test.call(Method::PATCH, unknown, &admin, HERE, &grants).await;
        assert_eq!(patched.problem(), (404, "account_not_found"));
        assert_eq!(test.get(unknown, &admin).await.problem(), (404, "account_not_found"));
    }
    let account = test.app.database.account(id).await.unwrap().unwrap();
    assert_eq!(account.role, Role::Account);
}

#[tokio::test]
async fn an_account_is_found_only_by_its_whole_name() {
    let test = TestApp::start(&[]).await;
    let admin = test.token("ops", &[Grant::Admin]).await;
    for name in ["op", "Ops", "ops%20", "%00", "o%25"] {
        let found = test.get(&format!("/v1/accounts?username={name}"), &admin).await;
        assert_eq!((found.status, &found.body["accounts"]), (StatusCode::OK, &json!([])));
    }
    assert_eq!(test.get("/v1/accounts", &admin).await.problem(), (422, "fields_invalid"));
}
