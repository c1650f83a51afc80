//! What a key may do, where from and how long; and who may make one.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use postrider_common::database::account::Role;
use serde_json::{Value, json};

use super::*;
use crate::auth::token::issue;
use crate::testing::{Answer, TestApp, ask};

const KEYS: &str = "/v1/api-keys";
const SEND: &str = "/v1/verifications";
const CODE: &str = r#"{"phone":"13800138000","purpose":"login"}"#;
const ALL: [Grant; 4] = [Grant::Send, Grant::Verify, Grant::Read, Grant::Numbers];

async fn made(test: &TestApp, token: &str, body: Value) -> Value {
    let answer = test.post(KEYS, token, body.to_string()).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    assert_eq!(answer.headers["cache-control"], "no-store");
    answer.body
}

async fn key(test: &TestApp, token: &str, body: Value) -> String {
    made(test, token, body).await["key"].as_str().unwrap().to_owned()
}

async fn refused(test: &TestApp, token: &str, body: Value) -> (u16, String) {
    let answer = test.post(KEYS, token, body.to_string()).await;
    let (status, word) = answer.problem();
    (status, word.to_owned())
}

/// A read from an address, over what proxies it says.
async fn read_from(test: &TestApp, key: &str, peer: &str, forwarded: &str) -> Answer {
    let peer: SocketAddr = format!("{peer}:4711").parse().unwrap();
    let request = Request::get("/v1/messages")
        .header("authorization", format!("Bearer {key}"))
        .header("x-forwarded-for", forwarded)
        .extension(ConnectInfo(peer));
    ask(crate::routes::router::app(test.app.clone()), request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn a_key_does_what_its_scopes_say() {
    let test = TestApp::start(&[]).await;
    let token = test.token("shop", &ALL).await;
    let reader = key(&test, &token, json!({"name": "dashboard", "scopes": ["read"]})).await;
    assert!(reader.starts_with("pk_live_") && reader.len() == 51, "{reader}");
    assert_eq!(test.get("/v1/messages", &reader).await.status, StatusCode::OK);
    assert_eq!(test.post(SEND, &reader, CODE).await.problem(), (403, "scope_missing"));
    let sender = key(&test, &token, json!({"name": "shop", "scopes": ["send", "send"]})).await;
    assert_eq!(test.post(SEND, &sender, CODE).await.status, StatusCode::ACCEPTED);
    assert_eq!(test.get("/v1/messages", &sender).await.problem(), (403, "scope_missing"));
    // Nobody logged in with it.
    for answer in
        [test.get(KEYS, &sender).await, test.delete("/v1/sessions/current", &sender).await]
    {
        assert_eq!(answer.problem(), (403, "session_needed"));
    }
    let body = json!({"name": "x", "scopes": ["send"]});
    assert_eq!(refused(&test, &sender, body).await, (403, "session_needed".to_owned()));
    let mut wrong = sender.clone();
    wrong.replace_range(50.., if sender.ends_with('A') { "B" } else { "A" });
    for wrong in [wrong.as_str(), &sender[..50], "pk_live_", &sender.replace("live", "test")] {
        assert_eq!(test.get("/v1/messages", wrong).await.problem(), (401, "token_invalid"));
    }
}

#[tokio::test]
async fn a_list_shows_what_a_key_is_and_never_the_key() {
    let test = TestApp::start(&[]).await;
    let token = test.token("shop", &ALL).await;
    let asked = json!({
        "name": "后台", "scopes": ["send", "read"], "networks": ["10.1.2.3/8", "2001:db8::1"],
        "expires_at": "2999-01-01T00:00:00Z",
    });
    let answer = made(&test, &token, asked).await;
    let listed = test.get(KEYS, &token).await.body;
    let mut expected = answer.clone();
    let key = expected.as_object_mut().unwrap().remove("key").unwrap();
    assert_eq!(listed, json!({"items": [expected]}));
    assert_eq!(answer["hint"], key.as_str().unwrap()[..12]);
    assert_eq!(answer["networks"], json!(["10.0.0.0/8", "2001:db8::1/128"]));
    assert_eq!(answer["expires_at"], "2999-01-01T00:00:00.000Z");
    assert_eq!((&answer["test"], &answer["last_used"]), (&json!(false), &Value::Null));
    assert!(!listed.to_string().contains(&key.as_str().unwrap()[..16]));
    let account = test.app.database.account_by_name("shop").await.unwrap().unwrap();
    assert!(!format!("{account:?}").contains(&key.as_str().unwrap()[..16]), "nor does the table");
}

#[tokio::test]
async fn a_key_ends_when_it_says_and_when_it_is_deleted() {
    let test = TestApp::start(&[]).await;
    let token = test.token("shop", &ALL).await;
    let until = rfc3339(unix_ms() + 3000);
    let body = json!({"name": "short", "scopes": ["read"], "expires_at": until});
    let short = key(&test, &token, body).await;
    let body = json!({"name": "long", "scopes": ["read", "send"]});
    let long = made(&test, &token, body).await;
    let (long, id) = (long["key"].as_str().unwrap(), long["id"].as_str().unwrap());
    assert_eq!(test.get("/v1/messages", &short).await.status, StatusCode::OK);
    let ended = loop {
        let answer = test.get("/v1/messages", &short).await;
        if answer.status != StatusCode::OK {
            break answer;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    assert_eq!(ended.problem(), (401, "token_expired"));

    assert_eq!(test.get("/v1/messages", long).await.status, StatusCode::OK);
    let other = test.token("other", &ALL).await;
    let path = format!("{KEYS}/{id}");
    assert_eq!(test.delete(&path, &other).await.problem(), (404, "api_key_not_found"));
    assert_eq!(test.get(KEYS, &other).await.body, json!({"items": []}));
    assert_eq!(test.get("/v1/messages", long).await.status, StatusCode::OK, "it isn't theirs");
    assert_eq!(test.delete(&path, &token).await.status, StatusCode::NO_CONTENT);
    assert_eq!(test.get("/v1/messages", long).await.problem(), (401, "token_invalid"));
    assert_eq!(test.post(SEND, long, CODE).await.problem(), (401, "token_invalid"));
    assert_eq!(test.delete(&path, &token).await.problem(), (404, "api_key_not_found"));
    assert_eq!(test.delete("/v1/api-keys/x", &token).await.problem().0, 404);
    assert_eq!(test.get(KEYS, &token).await.body["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_key_deleted_by_another_process_is_dead_with_the_next_request() {
    let test = TestApp::start(&[]).await;
    let token = test.token("shop", &ALL).await;
    let made = made(&test, &token, json!({"name": "x", "scopes": ["read", "send"]})).await;
    let (key, id) = (made["key"].as_str().unwrap(), made["id"].as_str().unwrap());
    assert_eq!(test.get("/v1/messages", key).await.status, StatusCode::OK);
    let app = &test.app;
    let account = app.database.account_by_name("shop").await.unwrap().unwrap();
    assert!(app.database.delete_api_key(account.id, id, 0).await.unwrap());
    app.store.set_account_version(account.id, account.version + 1).await.unwrap();
    assert_eq!(test.post(SEND, key, CODE).await.problem(), (401, "token_invalid"));
    assert_eq!(test.get("/v1/messages", key).await.problem(), (401, "token_invalid"));
}

#[tokio::test]
async fn a_key_is_good_only_from_its_networks() {
    let test = TestApp::start(&[("POSTRIDER_SERVER__TRUSTED_PROXIES", "10.0.0.0/8")]).await;
    let token = test.token("shop", &ALL).await;
    let body = json!({"name": "x", "scopes": ["read"], "networks": ["203.0.113.0/24"]});
    let key = key(&test, &token, body).await;
    let (inside, outside) = ("203.0.113.7", "198.51.100.7");
    for (peer, forwarded, fine) in [
        (inside, "", true),
        (outside, "", false),
        // A proxy of ours is believed, and only the address that it saw itself.
        ("10.0.0.1", inside, true),
        ("10.0.0.1", outside, false),
        ("10.0.0.1", "203.0.113.7, 198.51.100.7", false),
        // Nobody else is.
        (outside, inside, false),
        (inside, outside, true),
    ] {
        let answer = read_from(&test, &key, peer, forwarded).await;
        if fine {
            assert_eq!(answer.status, StatusCode::OK, "{peer} {forwarded}");
        } else {
            assert_eq!(answer.problem(), (403, "address_not_allowed"), "{peer} {forwarded}");
        }
    }
    let unknown = test.get("/v1/messages", &key).await;
    assert_eq!(unknown.problem(), (403, "address_not_allowed"), "an address that isn't known");
}

#[tokio::test]
async fn nobody_gives_a_key_more_than_they_have() {
    let test = TestApp::start(&[]).await;
    let lacking = (403, "scope_missing".to_owned());
    let reader = test.token("shop", &[Grant::Read]).await;
    let ask = |scope: &str| json!({"name": "x", "scopes": ["read", scope]});
    for scope in ["send", "numbers", "on_behalf", "admin"] {
        assert_eq!(refused(&test, &reader, ask(scope)).await, lacking, "{scope}");
    }
    // Scopes that the token claims and the account hasn't.
    let id = test.app.database.account_by_name("shop").await.unwrap().unwrap().id;
    let grants = [Grant::Read, Grant::OnBehalf, Grant::Admin];
    let pretender = issue(&test.app.keys, id, &grants, unix_ms(), 60_000).unwrap();
    for scope in ["on_behalf", "admin"] {
        assert_eq!(refused(&test, &pretender, ask(scope)).await, lacking, "{scope}");
    }
    let admin = test.token("ops", &[Grant::Read, Grant::Admin, Grant::OnBehalf]).await;
    let operator = key(&test, &admin, ask("admin")).await;
    assert_eq!(test.get("/v1/queues", &operator).await.status, StatusCode::OK);
    key(&test, &admin, ask("on_behalf")).await;
}

#[tokio::test]
async fn wrong_fields_are_named() {
    let test = TestApp::start(&[]).await;
    let token = test.token("ops", &[Grant::Read, Grant::Admin]).await;
    for (field, value) in [
        ("name", json!("")),
        ("name", json!(" x")),
        ("name", json!("x".repeat(129))),
        ("scopes", json!([])),
        ("scopes", json!(["fly"])),
        ("scopes", json!("read")),
        ("scopes", Value::Null),
        ("test", json!("yes")),
        ("networks", json!(["nowhere"])),
        ("networks", json!(vec!["10.0.0.0/8"; 21])),
        ("expires_at", json!("2001-01-01T00:00:00Z")),
        ("expires_at", json!(7)),
        ("colour", json!("red")),
    ] {
        let mut body = json!({"name": "x", "scopes": ["read"]});
        body[field] = value;
        let answer = test.post(KEYS, &token, body.to_string()).await;
        assert_eq!(answer.problem(), (422, "fields_invalid"), "{body}");
        let errors = answer.body["errors"].as_array().unwrap();
        assert!(errors.len() == 1 && errors[0]["field"] == field, "{body} {errors:?}");
    }
    let test_admin = json!({"name": "x", "scopes": ["admin"], "test": true});
    assert_eq!(refused(&test, &token, test_admin).await, (422, "fields_invalid".to_owned()));
}

#[tokio::test]
async fn what_a_test_key_sends_is_the_test_owners() {
    let test = TestApp::start(&[]).await;
    let token = test.token("shop", &ALL).await;
    let body = json!({"name": "ci", "scopes": ["send", "read", "verify"], "test": true});
    let made = made(&test, &token, body).await;
    let key = made["key"].as_str().unwrap();
    assert!(key.starts_with("pk_test_") && made["test"] == true, "{made}");
    let sent = test.post(SEND, key, CODE).await;
    assert_eq!(sent.status, StatusCode::ACCEPTED, "{}", sent.body);
    let path = format!("/v1/messages/{}", sent.body["message_id"].as_str().unwrap());
    assert_eq!(test.get(&path, key).await.body["test"], true);
    assert_eq!(test.get(&path, &token).await.problem(), (404, "message_not_found"));
    // The phone's own limit isn't touched by it.
    let live = test.post(SEND, &token, CODE).await;
    assert_eq!(live.status, StatusCode::ACCEPTED, "{}", live.body);
    let path = format!("/v1/messages/{}", live.body["message_id"].as_str().unwrap());
    assert_eq!(test.get(&path, key).await.problem(), (404, "message_not_found"));
}

#[tokio::test]
async fn an_account_has_a_hundred_keys_at_the_most() {
    let test = TestApp::start(&[]).await;
    let token = test.token("shop", &ALL).await;
    let body = json!({"name": "x", "scopes": ["read"]}).to_string();
    let asked = (0..MOST + 3).map(|_| test.post(KEYS, &token, body.clone()));
    let answers = futures::future::join_all(asked).await;
    let made = answers.iter().filter(|answer| answer.status == StatusCode::CREATED).count();
    assert_eq!(i64::try_from(made), Ok(MOST));
    assert_eq!(refused(&test, &token, json!({"name": "x", "scopes": ["read"]})).await.0, 409);
    let account = test.app.database.ensure_account("shop", Role::Account, 0).await.unwrap();
    assert_eq!(account.api_keys.len(), made);
}

#[tokio::test]
async fn a_use_is_noted_and_written_when_the_process_stops() {
    let test = TestApp::start(&[]).await;
    let token = test.token("shop", &ALL).await;
    let key = key(&test, &token, json!({"name": "x", "scopes": ["read"]})).await;
    let before = unix_ms();
    assert_eq!(test.get("/v1/messages", &key).await.status, StatusCode::OK);
    let (uses, writing) = crate::background::key_uses::KeyUses::start(test.app.database.clone());
    let account = test.app.database.account_by_name("shop").await.unwrap().unwrap();
    let noted = test.app.key_uses.waiting();
    assert_eq!(noted.len(), 1);
    assert!(noted[0].0 == account.api_keys[0].id && noted[0].1 >= before, "{noted:?}");
    uses.note(&noted[0].0, noted[0].1);
    drop(uses);
    writing.await.unwrap();
    let listed = test.get(KEYS, &token).await.body;
    assert_eq!(listed["items"][0]["last_used"], rfc3339(noted[0].1));
    let after = test.app.database.account_by_name("shop").await.unwrap().unwrap();
    assert_eq!(after.version, account.version, "a use is no change of the account");
}
