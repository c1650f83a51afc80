//! Whatever is sent, the answer is no failure of ours and has the dialect's shape.

use axum::http::{Method, Uri};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};

use super::super::testing::Client;
use crate::auth::token::Grant;
use crate::testing::{Answer, TestApp};

/// What a field may hold: what it should, or anything.
fn value() -> impl Strategy<Value = Value> {
    let right = select(&["13800138000", "123456", "register", "verify", "{\"a\":1}"][..]);
    let leaf = prop_oneof![
        3 => right.prop_map(|text| json!(text)),
        2 => any::<String>().prop_map(|text| json!(text)),
        1 => any::<i64>().prop_map(|number| json!(number)),
        1 => any::<f64>().prop_map(|number| json!(number)),
        1 => any::<bool>().prop_map(|truth| json!(truth)),
        1 => Just(Value::Null),
    ];
    leaf.prop_recursive(2, 8, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    const NAMES: &[&str] = &[
        "phoneNumber",
        "phone",
        "purpose",
        "channel",
        "code",
        "template_code",
        "template_param",
        "username",
        "password",
        "email",
        "security_question",
        "token",
        "amount",
        "x",
    ];
    let object = prop::collection::hash_map(select(NAMES).prop_map(str::to_owned), value(), 0..14);
    prop_oneof![
        6 => object.prop_map(|members| json!(members).to_string().into_bytes()),
        1 => value().prop_map(|value| value.to_string().into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..64),
    ]
}

/// Paths as they are, and others under the same prefixes.
fn path(known: &'static [&'static str], prefix: &'static str) -> impl Strategy<Value = String> {
    let other = "[a-zA-Z0-9%._~/?&=-]{0,20}".prop_map(move |rest| format!("{prefix}/{rest}"));
    prop_oneof![6 => select(known).prop_map(str::to_owned), 1 => other]
}

fn method() -> impl Strategy<Value = Method> {
    prop_oneof![8 => Just(Method::POST), 1 => Just(Method::GET), 1 => Just(Method::PUT)]
}

fn whatever_is_sent(
    paths: impl Strategy<Value = String>,
    shaped: fn(&str, &Answer) -> bool,
    variables: &[(&str, &str)],
    cases: u32,
) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let test = runtime.block_on(TestApp::start(variables));
    let client = Client::with_token(&runtime.block_on(test.token("shop", &Grant::USUAL)));
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let answered =
        TestRunner::new(config).run(&(method(), paths, body()), |(method, path, body)| {
            prop_assume!(path.parse::<Uri>().is_ok());
            let answer = runtime.block_on(client.ask(&test, method, &path, body));
            prop_assert!(shaped(&path, &answer), "{path}: {} {}", answer.status, answer.body);
            Ok(())
        });
    answered.unwrap();
}

/// Whether these are all members of a body.
fn members(answer: &Answer, names: &[&str]) -> bool {
    let body = answer.body.as_object();
    body.is_some_and(|body| {
        body.len() == names.len() && names.iter().all(|n| body.contains_key(*n))
    })
}

#[test]
fn the_mall_dialect_answers_200_with_a_code() {
    const PATHS: &[&str] = &["/send", "/verify", "/sms/send", "/sms/verify", "/sms/health"];
    let shaped = |path: &str, answer: &Answer| {
        let text = if path.starts_with("/sms") { "msg" } else { "message" };
        answer.status == 200
            && members(answer, &["code", text, "data"])
            && (answer.body["code"] == 200) == answer.body[text].as_str().is_some_and(is_success)
    };
    whatever_is_sent(path(PATHS, "/sms"), shaped, &[], 512);
}

fn is_success(text: &str) -> bool {
    ["验证码发送成功", "验证码正确", "SMS服务运行正常"].contains(&text)
}

#[test]
fn the_flask_dialect_answers_200_with_a_code() {
    const PATHS: &[&str] = &[
        "/sms_message/getVerificationCode",
        "/sms_message/verify_code",
        "/sms_message/sendNotice",
    ];
    let shaped = |_: &str, answer: &Answer| {
        answer.status == 200
            && members(answer, &["code", "message", "data"])
            && answer.body["data"] == json!({})
    };
    let raw = [("POSTRIDER_DIALECTS__FLASK__ALLOW_RAW_TEMPLATES", "true")];
    whatever_is_sent(path(PATHS, "/sms_message"), shaped, &raw, 512);
}

#[test]
fn the_platform_dialect_says_whether_it_succeeded() {
    const PATHS: &[&str] = &[
        "/api/register",
        "/api/login",
        "/api/balance",
        "/api/recharge",
        "/api/change_password",
        "/api/test",
        "/api",
    ];
    let shaped = |path: &str, answer: &Answer| {
        let hello =
            ["/api", "/api/", "/api/test"].contains(&path.split('?').next().unwrap_or(path));
        let failed = members(answer, &["success", "message"]) && answer.body["success"] == false;
        match answer.status.as_u16() {
            200 | 201 if hello => members(answer, &["message"]),
            200 | 201 => answer.body["success"] == true,
            400..=499 => failed,
            _ => false,
        }
    };
    let query = prop::collection::vec(
        (select(&["token", "amount", "username", "password", "x"][..]), "[ -~]{0,12}"),
        0..5,
    );
    let encoded = |(path, query): (String, Vec<(&str, String)>)| {
        let mut text = url::form_urlencoded::Serializer::new(path + "?");
        text.extend_pairs(query).finish()
    };
    let paths = (path(PATHS, "/api"), query).prop_map(encoded);
    whatever_is_sent(paths, shaped, &[], 256);
}
