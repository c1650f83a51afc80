//! What holds for every dialect: who is let in without a token, and that whatever breaks is told in its own words.

mod arbitrary;

use axum::body::to_bytes;
use axum::http::Method;
use axum::routing::get;

use postrider_common::database::account::Role;

use serde_json::{Value, json};

use super::testing::Client;
use super::*;
use crate::testing::{TestApp, ask_undescribed};
use crate::token::Grant;

/// What each takes, and what it ignores.
const BODY: &str = r#"{"phoneNumber":"13800138000","purpose":"register","phone":"13800138000","channel":"register"}"#;

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
    ] {
        for handler in [
            get(async || -> StatusCode { panic!("broken") }),
            get(std::future::pending::<StatusCode>),
        ] {
            let routes = speaking(Router::new().route(path, handler), &test.app, say);
            let request = Client::default().request(Method::GET, path);
            let request = request.body(axum::body::Body::empty()).unwrap();
            let answer = ask_undescribed(routes.with_state(test.app.clone()), request).await;
            assert_eq!((answer.status.as_u16(), answer.body), expected);
        }
    }
}

/// Whatever goes wrong is told in words that the description has, and as it has them.
#[tokio::test]
async fn every_problem_is_a_row_of_the_description() {
    let paths = crate::openapi::document()["paths"].as_object().unwrap();
    let mut asked = 0;
    for (path, operation) in paths.iter().flat_map(|(path, item)| {
        item.as_object().unwrap().values().map(move |operation| (path, operation))
    }) {
        let say: Say = match operation["x-dialect"].as_str() {
            Some("mall") => mall::say,
            Some("flask") => flask::say,
            Some(other) => panic!("{other}"),
            None => continue,
        };
        // Nothing is beside these two.
        let alone = ["/send", "/verify"].contains(&path.as_str());
        // What anybody may ask for, without a body and a store, fails in no other way.
        let codes: &[Code] = if operation["security"].is_null() {
            &[Code::NotFound, Code::MethodNotAllowed]
        } else {
            Code::ALL
        };
        for code in codes.iter().filter(|code| !(alone && **code == Code::NotFound)) {
            let answer = say(path, &Problem::new(*code));
            let place =
                format!("/responses/{}/content/application~1json", answer.status().as_u16());
            let described = operation.pointer(&place).unwrap()["examples"].as_object().unwrap();
            let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
            let body: Value = serde_json::from_slice(&body).unwrap();
            let is_there = described.values().any(|example| example["value"] == body);
            assert!(is_there, "{path} says {body}");
            asked += 1;
        }
    }
    assert!(asked > 7 * 50);
}
