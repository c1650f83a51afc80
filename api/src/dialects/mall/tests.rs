//! Every row and message of the mall dialect, as its clients meet them.

use std::time::Duration;

use axum::http::Method;
use postrider_common::database::account::Role;
use postrider_common::model::address;
use postrider_common::store::BanSubject;
use serde_json::{Value, json};

use super::super::testing::Client;
use crate::auth::token::Grant;
use crate::http::body::LARGEST;
use crate::testing::TestApp;

const PHONE: &str = "13800138000";
const REGISTER: &str = r#"{"phoneNumber":"13800138000","purpose":"register"}"#;

fn said(code: u16, text: &str) -> (u16, Value) {
    (200, json!({"code": code, "message": text, "data": null}))
}

fn said_under_sms(code: u16, text: &str) -> (u16, Value) {
    (200, json!({"code": code, "msg": text, "data": null}))
}

fn to(phone: &str) -> Value {
    json!({"phoneNumber": phone, "purpose": "register"})
}

async fn shop(test: &TestApp) -> Client {
    Client::with_token(&test.token("shop", &Grant::USUAL).await)
}

#[tokio::test]
async fn a_code_is_sent_and_verified_once() {
    let test = TestApp::start(&[]).await;
    let shop = shop(&test).await;
    assert_eq!(shop.post(&test, "/send", REGISTER).await, said(200, "验证码发送成功"));
    let code = test.code("shop", "register", "+8613800138000").await;
    assert_eq!(code.len(), 6);
    let right = json!({"phoneNumber": PHONE, "code": code, "purpose": "register"});
    let wrong = json!({"phoneNumber": PHONE, "code": "x", "purpose": "register"});
    let no = said(500, "验证码错误或已过期");
    assert_eq!(shop.post(&test, "/verify", &wrong).await, no);
    assert_eq!(shop.post(&test, "/verify", &right).await, said(200, "验证码正确"));
    assert_eq!(shop.post(&test, "/verify", &right).await, no, "it was used");

    assert_eq!(
        shop.post(
            &test,
            "/verify",
            json!({"phoneNumber": "13900139000", "code": "1", "purpose": "register"})
        )
        .await,
        no,
        "never sent"
    );
    assert_eq!(shop.post(&test, "/send", to("13900139000")).await.1["code"], 200);
    let code = test.code("shop", "register", "+8613900139000").await;
    test.pass(Duration::from_mins(3)).await;
    let late = json!({"phoneNumber": "13900139000", "code": code, "purpose": "register"});
    assert_eq!(shop.post(&test, "/verify", late).await, no, "it expired");
}

#[tokio::test]
async fn under_sms_the_text_is_in_msg() {
    let test = TestApp::start(&[]).await;
    let shop = shop(&test).await;
    let nobody = Client::default();
    let health = nobody.get(&test, "/sms/health").await;
    assert_eq!(health, said_under_sms(200, "SMS服务运行正常"));
    assert_eq!(
        shop.post(&test, "/sms/send", REGISTER).await,
        said_under_sms(200, "验证码发送成功")
    );
    assert_eq!(
        shop.post(&test, "/sms/send", REGISTER).await,
        said_under_sms(429, "发送过于频繁，请稍后再试")
    );
    let code = test.code("shop", "register", "+8613800138000").await;
    let right = json!({"phoneNumber": PHONE, "code": code, "purpose": "register"});
    assert_eq!(shop.post(&test, "/sms/verify", &right).await, said_under_sms(200, "验证码正确"));
    assert_eq!(
        shop.post(&test, "/sms/verify", &right).await,
        said_under_sms(500, "验证码错误或已过期")
    );
    let (status, body) = nobody.post(&test, "/sms/send", REGISTER).await;
    assert_eq!(status, 401);
    assert_eq!(body, json!({"code": 401, "msg": "未授权，请提供有效的token", "data": null}));
    for path in ["/sms", "/sms/", "/sms/nowhere", "/sms/send/more"] {
        assert_eq!(shop.post(&test, path, REGISTER).await, said_under_sms(404, "接口不存在"));
    }
    assert_eq!(shop.post(&test, "/sms/health", "{}").await, said_under_sms(405, "请求方法不支持"));
}

#[tokio::test]
async fn without_a_valid_token_it_is_401() {
    let test = TestApp::start(&[]).await;
    let expired = {
        let account = test.app.database.ensure_account("old", Role::Account, 0);
        let id = account.await.unwrap().id;
        crate::auth::token::issue(&test.app.keys, id, &Grant::USUAL, 1_000_000, 1).unwrap()
    };
    let no = json!({"code": 401, "message": "未授权，请提供有效的token", "data": null});
    for client in [Client::default(), Client::with_token("nonsense"), Client::with_token(&expired)]
    {
        for path in ["/send", "/verify"] {
            assert_eq!(client.post(&test, path, REGISTER).await, (401, no.clone()));
        }
    }
    let answer = Client::default().ask(&test, Method::POST, "/send", REGISTER).await;
    assert_eq!(answer.headers["www-authenticate"], "Bearer");
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said() {
    let test = TestApp::start(&[]).await;
    let shop = shop(&test).await;
    for (body, code, text) in [
        ("{", 400, "请求格式不正确"),
        ("[]", 400, "请求格式不正确"),
        ("{}", 400, "参数不完整：phoneNumber"),
        (r#"{"purpose":"register"}"#, 400, "参数不完整：phoneNumber"),
        (r#"{"phoneNumber":" ","purpose":"register"}"#, 400, "参数不完整：phoneNumber"),
        (r#"{"phoneNumber":"13800138000"}"#, 400, "参数不完整：purpose"),
        (r#"{"phoneNumber":"138","purpose":""}"#, 400, "参数不完整：purpose"),
        (r#"{"phoneNumber":"13800138000","purpose":null}"#, 400, "参数不完整：purpose"),
        (r#"{"phoneNumber":"13800138000","purpose":"a\u0000b"}"#, 400, "请求格式不正确"),
        (r#"{"phoneNumber":"12800138000","purpose":"register"}"#, 400, "手机号格式不正确"),
        (r#"{"phoneNumber":"1380013800","purpose":"register"}"#, 400, "手机号格式不正确"),
        (r#"{"phoneNumber":"138001380001","purpose":"register"}"#, 400, "手机号格式不正确"),
        (r#"{"phoneNumber":"+8613800138000","purpose":"register"}"#, 400, "手机号格式不正确"),
        (
            r#"{"phoneNumber":"１３８００１３８０００","purpose":"register"}"#,
            400,
            "手机号格式不正确",
        ),
    ] {
        assert_eq!(shop.post(&test, "/send", body).await, said(code, text), "{body}");
        let checked = shop.post(&test, "/verify", body).await;
        assert_eq!(checked, said(500, "验证码错误或已过期"), "{body}");
    }
    let long = json!({"phoneNumber": PHONE, "purpose": "x".repeat(65)});
    assert_eq!(shop.post(&test, "/send", long).await, said(400, "请求格式不正确"));
    let large = format!("{{\"phoneNumber\":\"{}\"}}", "1".repeat(LARGEST));
    assert_eq!(shop.post(&test, "/send", large).await, said(400, "请求格式不正确"));
    for path in ["/send", "/verify"] {
        assert_eq!(shop.get(&test, path).await, said(405, "请求方法不支持"));
    }
    let untyped = shop.request(Method::POST, "/send").body(REGISTER.into()).unwrap();
    let untyped = crate::testing::ask(crate::routes::router::app(test.app.clone()), untyped).await;
    assert_eq!(untyped.body["message"], "请求格式不正确");
}

#[tokio::test]
async fn numbers_and_further_fields_are_taken_as_this_system_took_them() {
    let test = TestApp::start(&[]).await;
    let shop = shop(&test).await;
    let body = json!({"phoneNumber": 13_800_138_000_u64, "purpose": "register", "appId": "x"});
    assert_eq!(shop.post(&test, "/send", body).await, said(200, "验证码发送成功"));
}

#[tokio::test]
async fn a_phone_is_sent_to_once_a_minute() {
    let test = TestApp::start(&[]).await;
    let shop = shop(&test).await;
    assert_eq!(shop.post(&test, "/send", REGISTER).await.1["code"], 200);
    test.pass(Duration::from_secs(58)).await;
    let other = json!({"phoneNumber": PHONE, "purpose": "login"});
    let often = said(429, "发送过于频繁，请稍后再试");
    assert_eq!(shop.post(&test, "/send", REGISTER).await, often);
    assert_eq!(shop.post(&test, "/send", other).await, often, "for whatever purpose");
    test.pass(Duration::from_secs(2)).await;
    assert_eq!(shop.post(&test, "/send", REGISTER).await, said(200, "验证码发送成功"));
    let answer = shop.ask(&test, Method::POST, "/send", REGISTER).await;
    assert!(!answer.headers.contains_key("retry-after"), "beside a 200 it would make no sense");
}

#[tokio::test]
async fn an_address_sends_twenty_a_minute() {
    let test = TestApp::start(&[("POSTRIDER_SERVER__TRUSTED_PROXIES", "10.0.0.0/8")]).await;
    let token = Some(test.token("shop", &Grant::USUAL).await);
    let user = |forwarded_for| Client {
        token: token.clone(),
        peer: Some("10.0.0.1"),
        forwarded_for: Some(forwarded_for),
    };
    let often = said(429, "当前IP请求过于频繁，请稍后再试");
    for last in 0..20 {
        let sent =
            user("203.0.113.7").post(&test, "/send", to(&format!("138001380{last:02}"))).await;
        assert_eq!(sent, said(200, "验证码发送成功"));
    }
    assert_eq!(user("203.0.113.7").post(&test, "/send", to("13900139000")).await, often);
    let other = user("203.0.113.8").post(&test, "/send", to("13900139000")).await;
    assert_eq!(other, said(200, "验证码发送成功"));

    // Who speaks for many users and names none isn't limited by its own address.
    let grants = [Grant::Send, Grant::Verify, Grant::OnBehalf];
    let token = Some(test.token("back-end", &grants).await);
    let bare = Client { token: token.clone(), peer: Some("203.0.113.7"), forwarded_for: None };
    assert_eq!(bare.post(&test, "/send", to("13900139001")).await, said(200, "验证码发送成功"));
    let said_by_proxy =
        Client { token, peer: Some("10.0.0.1"), forwarded_for: Some("203.0.113.7") };
    assert_eq!(said_by_proxy.post(&test, "/send", to("13900139002")).await, often);
}

#[tokio::test]
async fn limits_that_are_not_the_users_are_told_as_load() {
    for (limit, value) in [
        ("POSTRIDER_LIMITS__CODE__GLOBAL", "1/60s"),
        ("POSTRIDER_LIMITS__CODE__ACCOUNT", "1/60s"),
        ("POSTRIDER_LIMITS__CODE__PREFIX", "1/60s"),
    ] {
        let test = TestApp::start(&[(limit, value)]).await;
        let shop = shop(&test).await;
        assert_eq!(shop.post(&test, "/send", REGISTER).await.1["code"], 200);
        let busy = shop.post(&test, "/send", to("13800138001")).await;
        assert_eq!(busy, said(429, "系统繁忙，请稍后再试"), "{limit}");
    }
}

#[tokio::test]
async fn what_is_banned_is_told_so_in_one_way() {
    let test = TestApp::start(&[]).await;
    let mut shop = shop(&test).await;
    shop.peer = Some("203.0.113.7");
    let no = said(403, "请求已被限制，请稍后再试");
    test.ban(BanSubject::Phone("+8613800138000".to_owned())).await;
    assert_eq!(shop.post(&test, "/send", REGISTER).await, no);
    test.ban(BanSubject::Network(address::bits("203.0.113.7".parse().unwrap()))).await;
    assert_eq!(shop.post(&test, "/send", to("13900139000")).await, no);
    let reader = Client::with_token(&test.token("reader", &[Grant::Read]).await);
    assert_eq!(reader.post(&test, "/send", REGISTER).await, no);
}

#[tokio::test]
async fn attempts_that_are_spent_are_no_news() {
    let test = TestApp::start(&[]).await;
    let shop = shop(&test).await;
    shop.post(&test, "/send", REGISTER).await;
    let no = said(500, "验证码错误或已过期");
    for _ in 0..12 {
        let wrong = json!({"phoneNumber": PHONE, "code": "x", "purpose": "register"});
        let answer = shop.ask(&test, Method::POST, "/verify", wrong.to_string()).await;
        assert_eq!((answer.status.as_u16(), answer.body), no);
        assert!(
            !answer.headers.contains_key("retry-after")
                && !answer.headers.contains_key("ratelimit")
        );
    }
    let code = test.code("shop", "register", "+8613800138000").await;
    let right = json!({"phoneNumber": PHONE, "code": code, "purpose": "register"});
    assert_eq!(shop.post(&test, "/verify", right).await, no);
}

#[tokio::test]
async fn what_we_can_not_do_is_a_failed_send() {
    let test = TestApp::start(&[]).await;
    let shop = shop(&test).await;
    test.break_store().await;
    assert_eq!(shop.post(&test, "/send", REGISTER).await, said(500, "验证码发送失败"));
    let check = json!({"phoneNumber": PHONE, "code": "1", "purpose": "register"});
    assert_eq!(shop.post(&test, "/verify", check).await, said(500, "验证码错误或已过期"));
    let test = TestApp::start(&[("POSTRIDER_SERVER__COUNTRIES", "US")]).await;
    let shop = self::shop(&test).await;
    assert_eq!(shop.post(&test, "/send", REGISTER).await, said(500, "验证码发送失败"));
}

#[tokio::test]
async fn a_purpose_is_v1s_where_it_can_be_and_any_is_taken() {
    let test = TestApp::start(&[]).await;
    let shop = shop(&test).await;
    let token = shop.token.clone().unwrap();
    shop.post(&test, "/send", REGISTER).await;
    let code = test.code("shop", "register", "+8613800138000").await;
    let check = json!({"phone": PHONE, "purpose": "register", "code": code}).to_string();
    let answer = test.post("/v1/verifications/check", &token, check).await;
    assert_eq!(answer.body["status"], "approved");

    let bind = json!({"phoneNumber": "13900139000", "purpose": "绑定手机"});
    assert_eq!(shop.post(&test, "/send", &bind).await, said(200, "验证码发送成功"));
    let code = test.code("shop", "mall/绑定手机", "+8613900139000").await;
    let check = json!({"phoneNumber": "13900139000", "purpose": "绑定手机", "code": code});
    assert_eq!(shop.post(&test, "/verify", check).await, said(200, "验证码正确"));
    let unlisted = json!({"phoneNumber": "13700137000", "purpose": "bind_phone"});
    assert_eq!(shop.post(&test, "/send", unlisted).await, said(200, "验证码发送成功"));
    assert_eq!(test.code("shop", "bind_phone", "+8613700137000").await.len(), 6);
}
