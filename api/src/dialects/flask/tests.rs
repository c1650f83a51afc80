//! Every row and message of the flask dialect, as its clients meet them.

use std::time::Duration;

use axum::http::Method;
use postrider_common::model::address;
use postrider_common::model::job::{Contents, Job, Lane};
use postrider_common::model::template::Params;
use postrider_common::queue::Source;
use postrider_common::store::BanSubject;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::super::testing::Client;
use super::{NOTICE, SEND, VERIFY};
use crate::auth::token::Grant;
use crate::http::body::LARGEST;
use crate::testing::TestApp;

const PHONE: &str = "13800138000";
const E164: &str = "+8613800138000";
const LOGIN: &str = r#"{"phone":"13800138000","channel":"login"}"#;

fn said(code: u16, message: &str) -> (u16, Value) {
    (200, json!({"code": code, "message": message, "data": {}}))
}

fn failed() -> (u16, Value) {
    said(400, "短信发送失败")
}

fn sent() -> (u16, Value) {
    said(200, "请求成功!")
}

fn check(code: &str) -> Value {
    json!({"phone": PHONE, "channel": "login", "code": code})
}

async fn shop(test: &TestApp) -> Client {
    Client::with_token(&test.token("shop", &Grant::USUAL).await)
}

#[tokio::test]
async fn a_check_tells_apart_whatever_may_be_wrong() {
    let test = TestApp::start(&[]).await;
    let shop = shop(&test).await;
    let not_sent = said(406, "该手机未发送过验证码");
    assert_eq!(shop.post(&test, VERIFY, check("1234")).await, not_sent);
    assert_eq!(shop.post(&test, SEND, LOGIN).await, sent());
    let code = test.code("shop", "flask/login", E164).await;
    assert_eq!(code.len(), 4);
    assert_eq!(shop.post(&test, VERIFY, check("x")).await, said(405, "验证码错误"));
    assert_eq!(shop.post(&test, VERIFY, check(&code)).await, said(200, "验证成功"));
    let used = said(401, "验证码已被验证过了,请勿重复使用");
    assert_eq!(shop.post(&test, VERIFY, check(&code)).await, used);
    assert_eq!(shop.post(&test, VERIFY, check("x")).await, said(405, "验证码错误"));
    test.pass(Duration::from_mins(5)).await;
    let expired = said(401, "验证码已过期");
    assert_eq!(shop.post(&test, VERIFY, check(&code)).await, expired);
    test.pass(Duration::from_hours(24) - Duration::from_secs(5)).await;
    assert_eq!(shop.post(&test, VERIFY, check("x")).await, expired, "remembered for a day");
    test.pass(Duration::from_secs(5)).await;
    assert_eq!(shop.post(&test, VERIFY, check(&code)).await, not_sent);
}

#[tokio::test]
async fn attempts_that_are_spent_are_a_wrong_code() {
    let test = TestApp::start(&[]).await;
    let shop = shop(&test).await;
    shop.post(&test, SEND, LOGIN).await;
    for _ in 0..12 {
        let wrong = check("x").to_string();
        let answer = shop.ask(&test, Method::POST, VERIFY, wrong).await;
        assert_eq!((answer.status.as_u16(), answer.body), said(405, "验证码错误"));
        assert!(!answer.headers.contains_key("retry-after"));
    }
    let code = test.code("shop", "flask/login", E164).await;
    assert_eq!(shop.post(&test, VERIFY, check(&code)).await, said(405, "验证码错误"));
}

#[tokio::test]
async fn a_channel_has_a_minute_an_hour_and_a_day_of_its_own() {
    let test = TestApp::start(&[]).await;
    let shop = shop(&test).await;
    let minute = said(401, "短信1分钟之内已经发送过,请稍后再试");
    let hour = said(402, "短信1小时之内已经发送过5条,超出上限,请稍后再试");
    let day = said(403, "短信1天之内已经发送过10条,超出上限,请稍后再试");
    for round in 1..=10 {
        assert_eq!(shop.post(&test, SEND, LOGIN).await, sent(), "{round}");
        assert_eq!(shop.post(&test, SEND, LOGIN).await, minute, "{round}");
        test.pass(Duration::from_mins(1)).await;
        if round == 5 {
            assert_eq!(shop.post(&test, SEND, LOGIN).await, hour);
            test.pass(Duration::from_hours(1)).await;
        }
    }
    test.pass(Duration::from_hours(1)).await;
    assert_eq!(shop.post(&test, SEND, LOGIN).await, day);
    test.pass(Duration::from_hours(22)).await;
    assert_eq!(shop.post(&test, SEND, LOGIN).await, sent());
}

fn to_channel(channel: &Value) -> Value {
    json!({"phone": PHONE, "channel": channel})
}

#[tokio::test]
async fn limits_a_phone_over_all_channels() {
    let test = TestApp::start(&[]).await;
    let shop = shop(&test).await;
    let hour = said(402, "短信1小时之内已经发送过5条,超出上限,请稍后再试");
    let day = said(403, "短信1天之内已经发送过10条,超出上限,请稍后再试");
    let mut passed = 0;
    for channel in 0..200 {
        if shop.post(&test, SEND, to_channel(&json!(channel))).await == sent() {
            passed += 1;
        }
    }
    assert_eq!(passed, 5);
    assert_eq!(shop.post(&test, SEND, to_channel(&json!("one more"))).await, hour);
    let v1 = r#"{"phone":"13800138000","purpose":"login"}"#;
    let v1 = test.post("/v1/verifications", shop.token.as_deref().unwrap(), v1).await;
    assert_eq!(v1.status, 202, "v1 counts apart");
    test.pass(Duration::from_hours(1)).await;
    for channel in 200..205 {
        assert_eq!(shop.post(&test, SEND, to_channel(&json!(channel))).await, sent());
    }
    assert_eq!(shop.post(&test, SEND, to_channel(&json!("one more"))).await, hour);
    test.pass(Duration::from_hours(1)).await;
    assert_eq!(shop.post(&test, SEND, to_channel(&json!("one more"))).await, day);
    let other = json!({"phone": "13900139000", "channel": "0"});
    assert_eq!(shop.post(&test, SEND, other).await, sent(), "another phone");
}

#[tokio::test]
async fn its_own_windows_replace_the_bound_on_sends() {
    let settings = [
        ("POSTRIDER_CODE__MAX_SENDS", "1"),
        ("POSTRIDER_DIALECTS__FLASK__PHONE_PURPOSE", "8/1h"),
        ("POSTRIDER_DIALECTS__FLASK__PHONE", ""),
    ];
    let test = TestApp::start(&settings).await;
    let shop = shop(&test).await;
    for _ in 0..8 {
        assert_eq!(shop.post(&test, SEND, LOGIN).await, sent());
    }
    let hour = said(402, "短信1小时之内已经发送过5条,超出上限,请稍后再试");
    assert_eq!(shop.post(&test, SEND, LOGIN).await, hour);
}

#[tokio::test]
async fn a_channel_is_trimmed_and_normalised() {
    let test = TestApp::start(&[]).await;
    let shop = shop(&test).await;
    let minute = said(401, "短信1分钟之内已经发送过,请稍后再试");
    assert_eq!(shop.post(&test, SEND, to_channel(&json!("caf\u{e9}"))).await, sent());
    for same in [" caf\u{e9}", "caf\u{e9}\u{3000}", "cafe\u{301}"] {
        assert_eq!(shop.post(&test, SEND, to_channel(&json!(same))).await, minute, "{same}");
    }
    let code = test.code("shop", "flask/caf\u{e9}", E164).await;
    let checked = json!({"phone": PHONE, "channel": "cafe\u{301} ", "code": code});
    assert_eq!(shop.post(&test, VERIFY, checked).await, said(200, "验证成功"));
}

#[tokio::test]
async fn refuses_a_channel_that_is_neither_text_nor_whole_number() {
    let test = with_templates(&[]).await;
    let shop = shop(&test).await;
    for channel in [json!(1.5), json!(true), json!(["x"]), json!({"a": 1}), json!(false)] {
        assert_eq!(shop.post(&test, SEND, to_channel(&channel)).await, failed(), "{channel}");
        let mut body = check("1234");
        body["channel"] = channel.clone();
        let malformed = said(400, "请求格式不正确");
        assert_eq!(shop.post(&test, VERIFY, body).await, malformed, "{channel}");
        let mut body = parcel("bare", &json!({}));
        body["channel"] = channel;
        assert_eq!(shop.post(&test, NOTICE, body).await, failed());
    }
    assert_eq!(shop.post(&test, SEND, to_channel(&json!(-7))).await, sent());
    assert_eq!(test.code("shop", "flask/-7", E164).await.len(), 4);
}

#[tokio::test]
async fn an_operator_sees_why_a_channel_is_refused() {
    let test = TestApp::start(&[]).await;
    let shop = shop(&test).await;
    assert_eq!(shop.post(&test, SEND, LOGIN).await, sent());
    let account = test.app.database.account_by_name("shop").await.unwrap().unwrap().id;
    let asked = json!({"phone": PHONE, "purpose": "flask/login", "account_id": account});
    let admin = test.token("ops", &[Grant::Admin]).await;
    let explained = test.post("/v1/explain", &admin, asked.to_string()).await.body;
    let code = &explained["requests"][0];
    assert_eq!((&code["kind"], &code["outcome"]), (&json!("code"), &json!("phone_limited")));
    let used: Vec<_> = code["limits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| format!("{} {}/{}", l["policy"].as_str().unwrap(), l["used"], l["quota"]))
        .collect();
    assert_eq!(
        used[..5],
        [
            "phone-purpose-60s 1/1",
            "phone-3600s 1/5",
            "phone-purpose-3600s 1/5",
            "phone-86400s 1/10",
            "phone-purpose-86400s 1/10"
        ]
    );
}

#[tokio::test]
async fn a_channel_is_any_text_and_may_be_missing() {
    let test = TestApp::start(&[]).await;
    let shop = shop(&test).await;
    for (phone, channel) in [
        ("13800138001", json!(null)),
        ("13800138002", json!("")),
        ("13800138003", json!("登录 Log-In/1:2")),
        ("13800138004", json!("登".repeat(255))),
        ("13800138005", json!(7)),
    ] {
        let body = json!({"phone": phone, "channel": channel, "extra": [1]});
        assert_eq!(shop.post(&test, SEND, body).await, sent(), "{channel}");
        let name = match &channel {
            Value::String(name) => name.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        let code = test.code("shop", &format!("flask/{name}"), &format!("+86{phone}")).await;
        let body = json!({"phone": phone, "channel": channel, "code": code});
        assert_eq!(shop.post(&test, VERIFY, body).await, said(200, "验证成功"));
    }
    assert_eq!(shop.post(&test, SEND, json!({"phone": PHONE})).await, sent());
    assert_eq!(test.code("shop", "flask/", E164).await.len(), 4);
    for channel in ["登".repeat(256), "a\0b".to_owned()] {
        let body = json!({"phone": PHONE, "channel": channel});
        assert_eq!(shop.post(&test, SEND, body).await, failed());
    }
}

#[tokio::test]
async fn the_code_is_told_where_echo_is_on() {
    let test = TestApp::start(&[("POSTRIDER_CODE__ECHO", "true")]).await;
    let shop = shop(&test).await;
    let (status, body) = shop.post(&test, SEND, LOGIN).await;
    let code = test.code("shop", "flask/login", E164).await;
    assert_eq!((status, body), (200, json!({"code": 200, "message": "请求成功!", "data": code})));
    // A number loses no digit where it begins with none.
    if !code.starts_with('0') {
        let number: u64 = code.parse().unwrap();
        let body = json!({"phone": 13_800_138_000_u64, "channel": "login", "code": number});
        assert_eq!(shop.post(&test, VERIFY, body).await, said(200, "验证成功"));
    }
}

#[tokio::test]
async fn any_other_refusal_of_a_send_is_one_message() {
    let test = TestApp::start(&[("POSTRIDER_LIMITS__CODE__GLOBAL", "1/60s")]).await;
    let mut shop = shop(&test).await;
    shop.peer = Some("203.0.113.7");
    for body in
        ["{", "[]", "{}", r#"{"phone":""}"#, r#"{"phone":"123"}"#, r#"{"phone":"+14155552671"}"#]
    {
        assert_eq!(shop.post(&test, SEND, body).await, failed(), "{body}");
    }
    let large = format!("{{\"phone\":\"{}\"}}", "1".repeat(LARGEST));
    assert_eq!(shop.post(&test, SEND, large).await, failed());
    assert_eq!(shop.post(&test, SEND, LOGIN).await, sent());
    assert_eq!(shop.post(&test, SEND, r#"{"phone":"13900139000"}"#).await, failed(), "in all");
    test.ban(BanSubject::Network(address::bits("203.0.113.7".parse().unwrap()))).await;
    assert_eq!(shop.post(&test, SEND, r#"{"phone":"13900139000"}"#).await, failed(), "banned");
    let banned = said(405, "验证码错误");
    assert_eq!(shop.post(&test, VERIFY, check("1234")).await, banned);
    let reader = Client::with_token(&test.token("reader", &[Grant::Read]).await);
    assert_eq!(reader.post(&test, SEND, LOGIN).await, failed());
    assert_eq!(reader.post(&test, VERIFY, check("1234")).await, said(405, "验证码错误"));
    test.break_store().await;
    assert_eq!(shop.post(&test, SEND, LOGIN).await, failed());
}

#[tokio::test]
async fn other_limits_of_the_phone_are_no_windows_of_this_system() {
    let test = TestApp::start(&[("POSTRIDER_LIMITS__CODE__PHONE_ALL", "1/30s")]).await;
    let shop = shop(&test).await;
    assert_eq!(shop.post(&test, SEND, LOGIN).await, sent());
    let other = json!({"phone": PHONE, "channel": "register"});
    assert_eq!(shop.post(&test, SEND, other).await, failed());
}

#[tokio::test]
async fn any_error_is_200_with_400_and_its_text() {
    let test = TestApp::start(&[]).await;
    let shop = shop(&test).await;
    for path in
        ["/sms_message", "/sms_message/", "/sms_message/getverificationcode", "/sms_message/a/b"]
    {
        assert_eq!(shop.post(&test, path, LOGIN).await, said(400, "接口不存在"), "{path}");
        assert_eq!(shop.get(&test, path).await, said(400, "接口不存在"), "{path}");
    }
    for path in [SEND, VERIFY, NOTICE] {
        assert_eq!(shop.get(&test, path).await, said(400, "请求方法不支持"));
    }
    for (body, expected) in [
        ("{", said(400, "请求格式不正确")),
        ("[]", said(400, "请求格式不正确")),
        ("{}", said(400, "参数不完整：phone")),
        (r#"{"phone":"13800138000","code":""}"#, said(400, "参数不完整：code")),
        (r#"{"phone":"13800138000","code":[1]}"#, said(400, "参数不完整：code")),
        (r#"{"phone":"123","code":"1234"}"#, said(406, "该手机未发送过验证码")),
    ] {
        assert_eq!(shop.post(&test, VERIFY, body).await, expected, "{body}");
    }
}

#[tokio::test]
async fn without_a_valid_token_it_is_401() {
    let test = TestApp::start(&[]).await;
    let body = json!({"code": 401, "message": "未授权，请提供有效的token", "data": {}});
    for client in [Client::default(), Client::with_token("nonsense")] {
        for path in [SEND, VERIFY, NOTICE] {
            assert_eq!(client.post(&test, path, LOGIN).await, (401, body.clone()));
        }
    }
}

/// A service with a template that has text, and one that only the provider knows the text of.
async fn with_templates(more: &[(&str, &str)]) -> TestApp {
    let templates = [
        ("POSTRIDER_TEMPLATES__PARCEL__TEXT", "【{sign}】{name}，{count}件"),
        ("POSTRIDER_TEMPLATES__PARCEL__ALIYUN", "SMS_1001"),
        ("POSTRIDER_TEMPLATES__BARE__ALIYUN", "SMS_1002"),
    ];
    TestApp::start(&[&templates, more].concat()).await
}

fn parcel(template: &str, params: &Value) -> Value {
    json!({"phone": PHONE, "channel": "c", "template_code": template, "template_param": params})
}

#[tokio::test]
async fn a_notice_takes_its_parameters_as_an_object_or_a_text() {
    let test = with_templates(&[]).await;
    let shop = shop(&test).await;
    for (template, params) in [
        ("parcel", json!({"name": "张三", "count": 3})),
        ("SMS_1001", json!({"name": "张三", "count": "3"})),
        ("SMS_1001", json!(r#"{"name":"张三","count":3}"#)),
        ("bare", json!("{}")),
        ("SMS_1002", json!({})),
        ("SMS_1002", json!("")),
        ("SMS_1002", json!(null)),
        ("SMS_1002", json!({"any": true})),
    ] {
        assert_eq!(shop.post(&test, NOTICE, parcel(template, &params)).await, sent(), "{template}");
    }
    let least = json!({"phone": PHONE, "template_code": "bare"});
    assert_eq!(shop.post(&test, NOTICE, least).await, sent());
    let messages = test.get("/v1/messages", shop.token.as_deref().unwrap()).await;
    assert_eq!(messages.status, 200, "{}", messages.body);
}

#[tokio::test]
async fn a_notice_that_does_not_fit_is_not_sent() {
    let test = with_templates(&[]).await;
    let shop = shop(&test).await;
    for (template, params) in [
        ("SMS_1001", json!({})),
        ("SMS_1001", json!({"name": "张三"})),
        ("SMS_1001", json!({"name": "张三", "count": "3", "more": "x"})),
        ("SMS_1001", json!({"name": ["张三"], "count": "3"})),
        ("SMS_1001", json!("not json")),
        ("SMS_1001", json!("[]")),
        ("SMS_1001", json!(7)),
        ("SMS_9999", json!({})),
        ("", json!({})),
    ] {
        assert_eq!(
            shop.post(&test, NOTICE, parcel(template, &params)).await,
            failed(),
            "{template}"
        );
    }
    let no_phone = json!({"template_code": "bare"});
    assert_eq!(shop.post(&test, NOTICE, no_phone).await, failed());
    assert_eq!(shop.post(&test, NOTICE, "{").await, failed());
}

#[tokio::test]
async fn a_code_of_the_providers_own_goes_out_where_that_is_allowed() {
    let allowed = [("POSTRIDER_DIALECTS__FLASK__ALLOW_RAW_TEMPLATES", "true")];
    let test = with_templates(&allowed).await;
    let shop = shop(&test).await;
    let params = json!({"any": "x"});
    assert_eq!(shop.post(&test, NOTICE, parcel("SMS_9999", &params)).await, sent());
    for code in ["S".repeat(129), "a\0b".to_owned()] {
        assert_eq!(shop.post(&test, NOTICE, parcel(&code, &params)).await, failed());
    }
    let still_checked = shop.post(&test, NOTICE, parcel("parcel", &params)).await;
    assert_eq!(still_checked, failed());
}

/// The parameters of the notice that waits in the queue.
async fn queued_params(test: &TestApp) -> Params {
    let stop = CancellationToken::new();
    let mut jobs = test.app.queue.consume(Source::Lane(Lane::Notice), 1, stop.clone());
    let delivery = jobs.next().await.unwrap();
    let job = Job::decode(&delivery.body).unwrap();
    let contents = Contents::open(&test.app.keys, job.message_id, &job.sealed).unwrap();
    assert!(delivery.receipt.ack(false).await);
    contents.params
}

#[tokio::test]
async fn numbers_in_parameters_keep_their_digits() {
    let test = with_templates(&[]).await;
    let shop = shop(&test).await;
    let members = r#"{"a": 1.10, "b": 1e3, "c": 12345678901234567890123, "d": -0, "e": true, "f": "x\u00e9"}"#;
    let as_text = serde_json::to_string(members).unwrap();
    for param in [members, as_text.as_str()] {
        let body =
            format!(r#"{{"phone":"13800138000","template_code":"bare","template_param":{param}}}"#);
        assert_eq!(shop.post(&test, NOTICE, body).await, sent());
        let params = queued_params(&test).await;
        let expected = [
            ("a", "1.10"),
            ("b", "1e3"),
            ("c", "12345678901234567890123"),
            ("d", "-0"),
            ("e", "true"),
            ("f", "xé"),
        ];
        for (name, value) in expected {
            assert_eq!(params[name], value);
        }
    }
}

#[tokio::test]
async fn refuses_a_template_of_codes_as_a_notice() {
    let raw = ("POSTRIDER_DIALECTS__FLASK__ALLOW_RAW_TEMPLATES", "true");
    let code = ("POSTRIDER_TEMPLATES__VERIFY__ALIYUN", "SMS_77");
    let alias = ("POSTRIDER_TEMPLATES__ALIAS__ALIYUN", "SMS_77");
    let test = with_templates(&[raw, code, alias]).await;
    let shop = shop(&test).await;
    let params = json!({"code": "123456", "minutes": "3"});
    for template in ["verify", "SMS_77", "sms_77", " SMS_77 ", "alias"] {
        let body = parcel(template, &params);
        assert_eq!(shop.post(&test, NOTICE, body).await, failed(), "{template}");
    }
    assert_eq!(shop.post(&test, NOTICE, parcel("SMS_78", &params)).await, sent());
}

#[tokio::test]
async fn notices_of_this_system_have_no_limit_of_the_phone() {
    let test = with_templates(&[]).await;
    let shop = shop(&test).await;
    for _ in 0..30 {
        assert_eq!(shop.post(&test, NOTICE, parcel("bare", &json!({}))).await, sent());
    }
}
