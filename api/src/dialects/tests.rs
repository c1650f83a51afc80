//! What holds for every dialect: who is let in without a token, and that whatever breaks is told in its own words.

mod arbitrary;

use axum::body::to_bytes;
use axum::http::Method;
use axum::routing::get;

use postrider_common::database::account::Role;

use serde_json::{Value, json};

use super::testing::Client;
use super::*;
use crate::auth::token::Grant;
use crate::testing::{TestApp, ask_undescribed};

/// What each takes, and what it ignores.
const BODY: &str = r#"{"phoneNumber":"13800138000","purpose":"register","phone":"13800138000","channel":"register"}"#;

const SORRY: &str = "服务暂时不可用，请稍后再试";

/// A way into each dialect, and the purpose of what is sent there.
const WAYS: [(&str, &str, &str); 2] = [
    ("mall", "/send", "register"),
    ("flask", "/sms_message/getVerificationCode", "flask/register"),
];

fn trusting(dialect: &str, account: &str) -> [(String, String); 3] {
    let dialect = dialect.to_uppercase();
    [
        (format!("POSTRIDER_DIALECTS__{dialect}__ANONYMOUS__ACCOUNT"), account.to_owned()),
        (
            format!("POSTRIDER_DIALECTS__{dialect}__ANONYMOUS__FROM"),
            "10.1.0.0/16,::1/128".to_owned(),
        ),
        ("POSTRIDER_SERVER__TRUSTED_PROXIES".to_owned(), "10.9.0.0/16".to_owned()),
    ]
}

async fn start(variables: &[(String, String)]) -> TestApp {
    let variables: Vec<_> = variables.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    TestApp::start(&variables).await
}

#[tokio::test]
async fn without_a_token_only_the_networks_that_are_trusted_get_in() {
    for (dialect, path, purpose) in WAYS {
        let test = start(&trusting(dialect, "shop")).await;
        let token = test.token("shop", &Grant::USUAL).await;
        let through = |peer, forwarded_for| Client { token: None, peer, forwarded_for };
        for (client, status) in [
            (Client::from("10.1.2.3"), 200),
            (Client::from("::1"), 200),
            (Client::from("::ffff:10.1.2.3"), 200),
            (through(Some("10.9.0.1"), Some("10.1.2.3")), 200),
            (Client::from("10.2.0.1"), 401),
            (Client::default(), 401),
            (Client::from("10.9.0.1"), 401),
            (through(Some("10.9.0.1"), Some("203.0.113.7")), 401),
            (through(Some("203.0.113.7"), Some("10.1.2.3")), 401),
            (Client { token: Some("nonsense".to_owned()), ..Client::from("10.1.2.3") }, 401),
            (Client { token: Some(token), ..Client::from("203.0.113.7") }, 200),
        ] {
            let answer = client.post(&test, path, BODY).await;
            assert_eq!(answer.0, status, "{dialect} {:?} {:?}", client.peer, client.forwarded_for);
        }
        let sent = test.code("shop", purpose, "+8613800138000").await;
        assert!(!sent.is_empty(), "it counts for the account that is named");
    }
}

#[tokio::test]
async fn an_account_that_is_trusted_and_not_there_lets_nobody_in() {
    for (dialect, path, _) in WAYS {
        let test = start(&trusting(dialect, "nobody")).await;
        assert_eq!(Client::from("10.1.2.3").post(&test, path, BODY).await.0, 401);
        let account = test.app.database.ensure_account("nobody", Role::Account, 0).await.unwrap();
        assert!(account.may_send);
        assert_eq!(Client::from("10.1.2.3").post(&test, path, BODY).await.0, 200, "made meanwhile");
    }
}

#[tokio::test]
async fn the_platform_dialect_asks_who_is_not_trusted_for_a_token() {
    let test = start(&trusting("platform", "shop")).await;
    let token = test.token("shop", &Grant::USUAL).await;
    let told = |message: &str| json!({"success": false, "message": message});
    let (inside, outside) = (Client::from("10.1.2.3"), Client::from("10.2.0.1"));
    let (status, body) = inside.get(&test, "/api/balance").await;
    assert_eq!((status, &body["username"]), (200, &json!("shop")));
    let missing = (400, told("缺少必要的参数：token"));
    assert_eq!(outside.get(&test, "/api/balance").await, missing);
    let recharge = inside.get(&test, "/api/recharge?amount=1").await;
    assert_eq!(recharge, (403, told("没有权限")), "it takes a log-in");
    let wrong = inside.get(&test, "/api/balance?token=nonsense").await;
    assert_eq!(wrong, (401, told("无效的token，请重新登录")));
    let right = outside.get(&test, &format!("/api/balance?token={token}")).await;
    assert_eq!(right.0, 200);
}

#[tokio::test]
async fn trust_in_one_dialect_is_none_in_the_others() {
    let test = start(&trusting("mall", "shop")).await;
    test.token("shop", &[]).await;
    let inside = Client::from("10.1.2.3");
    let v1 = inside.ask(&test, Method::POST, "/v1/verifications", "{}").await;
    assert_eq!(v1.problem(), (401, "token_missing"));
}

#[tokio::test]
async fn what_is_not_enabled_is_not_there() {
    let test = TestApp::start(&[("POSTRIDER_DIALECTS__ENABLED", "")]).await;
    let token = test.token("shop", &Grant::USUAL).await;
    for path in ["/send", "/verify", "/sms/send", "/sms_message/verify_code", "/api/test", "/api"] {
        assert_eq!(test.post(path, &token, BODY).await.problem(), (404, "not_found"));
        assert_eq!(test.get(path, &token).await.problem(), (404, "not_found"));
    }
    let test = TestApp::start(&[("POSTRIDER_DIALECTS__ENABLED", "flask")]).await;
    assert_eq!(test.post("/send", &token, BODY).await.problem(), (404, "not_found"));
}

#[tokio::test]
async fn a_panic_and_a_time_out_are_told_in_the_dialects_own_words() {
    let test = TestApp::start(&[("POSTRIDER_SERVER__REQUEST_TIMEOUT", "20ms")]).await;
    let flask = |message| json!({"code": 400, "message": message, "data": {}});
    for (say, path, expected) in [
        (
            mall::say as Say,
            "/sms/send",
            (200, json!({"code": 500, "msg": "验证码发送失败", "data": null})),
        ),
        (
            mall::say,
            "/verify",
            (200, json!({"code": 500, "message": "验证码错误或已过期", "data": null})),
        ),
        (flask::say, "/sms_message/sendNotice", (200, flask("短信发送失败"))),
        (flask::say, "/sms_message/verify_code", (200, flask("验证失败，请稍后再试"))),
        (platform::say, "/api/login", (500, json!({"success": false, "message": SORRY}))),
    ] {
        for handler in [
            get(async || -> StatusCode { panic!("broken") }),
            get(std::future::pending::<StatusCode>),
        ] {
            let routes = speaking(Router::new().route(path, handler), &test.app, say);
            let request = Client::default().request(Method::GET, path);
            let request = request.body(axum::body::Body::empty()).unwrap();
            let answer = ask_undescribed(routes.with_state(test.app.clone()), request).await;
            // What is a time-out is told from what is broken by its status alone, where there is one.
            let status = answer.status.as_u16();
            assert_eq!((if status == 503 { 500 } else { status }, answer.body), expected);
        }
    }
}

#[tokio::test]
async fn an_api_key_does_as_well_and_a_test_key_has_its_fixed_code() {
    let test = TestApp::start(&[("POSTRIDER_CODE__ECHO", "true")]).await;
    let token = test.token("shop", &Grant::USUAL).await;
    let key = async |more: serde_json::Value| {
        let mut asked = json!({"name": "k", "scopes": ["send", "verify", "read"]});
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = test.post("/v1/api-keys", &token, asked.to_string()).await;
        assert_eq!(made.status, 201, "{}", made.body);
        Client::with_token(made.body["key"].as_str().unwrap())
    };
    let trial = key(json!({"test": true})).await;
    let (_, sent) = trial.post(&test, "/sms_message/getVerificationCode", BODY).await;
    assert_eq!(sent, json!({"code": 200, "message": "请求成功!", "data": "1234"}));
    let check = json!({"phone": "13800138000", "channel": "register", "code": "1234"});
    let (_, checked) = trial.post(&test, "/sms_message/verify_code", &check).await;
    assert_eq!(checked["message"], "验证成功");
    assert_eq!(trial.post(&test, "/send", BODY).await.1["code"], 200);
    let check = json!({"phoneNumber": "13800138000", "purpose": "register", "code": "123456"});
    assert_eq!(trial.post(&test, "/verify", check).await.1["code"], 200);
    assert_eq!(trial.get(&test, "/api/balance").await.0, 200);
    let denied = (403, json!({"success": false, "message": "没有权限"}));
    assert_eq!(trial.get(&test, "/api/recharge?amount=1").await, denied, "it takes a log-in");

    let elsewhere = key(json!({"networks": ["192.0.2.0/24"]})).await;
    assert_eq!(elsewhere.post(&test, "/send", BODY).await.1["code"], 403);
    let (_, checked) = elsewhere.post(&test, "/sms_message/verify_code", BODY).await;
    assert_eq!(checked["code"], 405);
    assert_eq!(elsewhere.get(&test, "/api/balance").await, denied);
}

/// What platform's accounts are refused for.
const OF_PLATFORM: &[Code] = &[
    Code::TokenMissing,
    Code::TokenInvalid,
    Code::TokenExpired,
    Code::CredentialsInvalid,
    Code::PasswordWrong,
    Code::SecurityAnswerWrong,
    Code::UsernameTaken,
    Code::EmailTaken,
    Code::BalanceTooHigh,
    Code::RegistrationClosed,
    Code::ScopeMissing,
    Code::SessionNeeded,
    Code::AddressNotAllowed,
    Code::LoginLimited,
    Code::IpLimited,
    Code::NotFound,
    Code::MethodNotAllowed,
    Code::BodyMalformed,
    Code::BodyTimeout,
    Code::BodyTooLarge,
    Code::ContentTypeUnsupported,
    Code::Internal,
    Code::StoreUnavailable,
    Code::DatabaseUnavailable,
    Code::RequestTimeout,
    Code::Overloaded,
];

/// Status and body of every example of the endpoints that a path's dialect says at it.
fn rows(dialect: &str, path: Option<&str>) -> Vec<(u16, Value)> {
    let paths = crate::openapi::document()["paths"].as_object().unwrap().iter();
    let wanted = paths.filter(|(one, _)| path.is_none_or(|path| *one == path));
    let operations = wanted.flat_map(|(_, item)| item.as_object().unwrap().values());
    let mut rows = Vec::new();
    for operation in operations.filter(|operation| operation["x-dialect"] == dialect) {
        for (status, answer) in operation["responses"].as_object().unwrap() {
            let examples = &answer["content"]["application/json"]["examples"];
            let examples = examples.as_object().unwrap().values();
            let status = status.parse().unwrap();
            rows.extend(examples.map(|example| (status, example["value"].clone())));
        }
    }
    rows
}

/// Whatever goes wrong is told in words that the description has, and as it has them.
#[tokio::test]
async fn every_problem_is_a_row_of_the_description() {
    let alone: Vec<_> = Code::ALL.iter().copied().filter(|c| *c != Code::NotFound).collect();
    for (dialect, path, say, codes) in [
        ("mall", Some("/send"), mall::say as Say, alone.as_slice()),
        ("mall", Some("/verify"), mall::say, alone.as_slice()),
        ("mall", Some("/sms/send"), mall::say, Code::ALL),
        ("mall", Some("/sms/verify"), mall::say, Code::ALL),
        ("mall", Some("/sms/health"), mall::say, &[Code::NotFound, Code::MethodNotAllowed]),
        ("flask", Some("/sms_message/getVerificationCode"), flask::say, Code::ALL),
        ("flask", Some("/sms_message/verify_code"), flask::say, Code::ALL),
        ("flask", Some("/sms_message/sendNotice"), flask::say, Code::ALL),
        ("platform", None, platform::say, OF_PLATFORM),
    ] {
        let rows = rows(dialect, path);
        for code in codes {
            let answer = say(path.unwrap_or("/api"), &Problem::new(*code));
            let status = answer.status().as_u16();
            let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
            let mut body: Value = serde_json::from_slice(&body).unwrap();
            if *code == Code::TokenMissing && dialect == "platform" {
                // The example names another parameter.
                body["message"] = "缺少必要的参数：username".into();
            }
            assert!(rows.contains(&(status, body.clone())), "{path:?} says {status} {body}");
        }
    }
}

#[tokio::test]
async fn what_is_refused_before_it_is_counted_is_written_down_too() {
    let test = TestApp::start(&[]).await;
    let token = test.token("shop", &Grant::USUAL).await;
    let client = Client::with_token(&token);
    for (path, body) in [
        ("/send", r#"{"phoneNumber":"12","purpose":"x"}"#),
        ("/verify", r#"{"phoneNumber":"12","purpose":"x","code":"1"}"#),
        ("/sms_message/getVerificationCode", r#"{"phone":"12"}"#),
        ("/sms_message/verify_code", r#"{"phone":"12","code":"1"}"#),
        ("/sms_message/sendNotice", r#"{"phone":"13800138000","template_code":"none"}"#),
    ] {
        client.post(&test, path, body).await;
    }
    let account = test.app.database.account_by_name("shop").await.unwrap().unwrap().id;
    let rows = loop {
        let rows = test.app.database.refusals(Some(account), 10).await.unwrap();
        if rows.len() == 5 {
            break rows;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    let mut said: Vec<_> = rows.iter().map(|r| format!("{} {}", r.kind, r.rule)).collect();
    said.sort();
    assert_eq!(
        said,
        [
            "check phone_invalid",
            "check phone_invalid",
            "code phone_invalid",
            "code phone_invalid",
            "notice template_unknown",
        ]
    );
}
