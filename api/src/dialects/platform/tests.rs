//! Every row and message of the platform dialect's accounts, as its clients meet them.

use axum::body::Body;
use axum::http::{Method, Request};
use postrider_common::database::account::Role;
use serde_json::{Value, json};

use super::super::testing::Client;
use crate::auth::token::Grant;
use crate::http::body::LARGEST;
use crate::testing::{Answer, TestApp, ask};

const SHOP: &str =
    "username=shop&password=correct+horse&email=shop@example.com&security_question=pet%3F+Rex";
const LOGIN: &str = "/api/login?username=shop&password=correct+horse";

fn refused(status: u16, message: &str) -> (u16, Value) {
    (status, json!({"success": false, "message": message}))
}

async fn get(test: &TestApp, path: &str) -> (u16, Value) {
    Client::default().get(test, path).await
}

/// Registers; gives the token.
async fn shop(test: &TestApp) -> String {
    let (status, body) = get(test, &format!("/api/register?{SHOP}")).await;
    assert_eq!(status, 201, "{body}");
    body["user"]["token"].as_str().unwrap().to_owned()
}

async fn post(test: &TestApp, path: &str, content_type: &str, body: &str) -> Answer {
    let request = Request::post(path).header("content-type", content_type);
    let request = request.body(Body::from(body.to_owned())).unwrap();
    ask(crate::routes::router::app(test.app.clone()), request).await
}

fn told(answer: Answer) -> (u16, Value) {
    (answer.status.as_u16(), answer.body)
}

#[tokio::test]
async fn an_account_registers_and_logs_in() {
    let test = TestApp::start(&[]).await;
    let (status, body) = get(&test, &format!("/api/register?{SHOP}")).await;
    let (id, token) = (body["user"]["id"].clone(), body["user"]["token"].clone());
    let user = json!({
        "id": id, "username": "shop", "email": "shop@example.com", "balance": 0.0, "token": token
    });
    let expected = json!({"success": true, "message": "用户注册成功", "user": user});
    assert_eq!((status, body), (201, expected));
    let answer = Client::default().ask(&test, Method::GET, LOGIN, "").await;
    assert_eq!(answer.headers["cache-control"], "no-store");
    let (status, body) = told(answer);
    let user = json!({
        "id": id, "username": "shop", "email": "shop@example.com", "balance": 0.0,
        "token": body["user"]["token"]
    });
    let expected = json!({"success": true, "message": "登录成功", "user": user});
    assert_eq!((status, &body), (200, &expected));
    for token in [&token, &body["user"]["token"]] {
        let path = format!("/api/balance?token={}", token.as_str().unwrap());
        let balance = json!({
            "success": true, "message": "余额查询成功", "username": "shop", "balance": 0.0
        });
        assert_eq!(get(&test, &path).await, (200, balance));
    }
    let wrong = refused(401, "用户名或密码错误");
    assert_eq!(get(&test, "/api/login?username=shop&password=x").await, wrong);
    assert_eq!(get(&test, "/api/login?username=nobody&password=x").await, wrong);
}

#[tokio::test]
async fn a_name_and_an_address_are_registered_once() {
    let test = TestApp::start(&[]).await;
    shop(&test).await;
    let path = format!("/api/register?{SHOP}");
    assert_eq!(get(&test, &path).await, refused(400, "用户名已存在"));
    let path = path.replace("username=shop", "username=other");
    assert_eq!(get(&test, &path).await, refused(400, "邮箱已存在"));
}

#[tokio::test]
async fn registration_may_be_closed() {
    let test = TestApp::start(&[("POSTRIDER_ACCOUNTS__REGISTRATION", "closed")]).await;
    let path = format!("/api/register?{SHOP}");
    assert_eq!(get(&test, &path).await, refused(403, "注册已关闭"));
}

#[tokio::test]
async fn what_can_not_be_registered_is_told() {
    let test = TestApp::start(&[]).await;
    for (field, with, message) in [
        ("username=shop", "username=a+b", "用户名格式不正确"),
        ("password=correct+horse", "password=short", "密码至少8个字符，最多256字节"),
        ("email=shop@example.com", "email=shop", "邮箱格式不正确"),
        ("pet%3F+Rex", "pet+Rex", "密保问题格式应为：问题? 答案"),
        ("pet%3F+Rex", "pet%3F+", "密保问题格式应为：问题? 答案"),
        ("username=shop", "username=", "缺少必要的参数：username"),
        ("username=shop&", "", "缺少必要的参数：username"),
        ("password=correct+horse&", "", "缺少必要的参数：password"),
        ("email=shop@example.com&", "", "缺少必要的参数：email"),
        ("&security_question=pet%3F+Rex", "", "缺少必要的参数：security_question"),
    ] {
        let path = format!("/api/register?{}", SHOP.replace(field, with));
        assert_eq!(get(&test, &path).await, refused(400, message), "{path}");
    }
}

#[tokio::test]
async fn the_answer_is_what_follows_the_first_question_mark() {
    let test = TestApp::start(&[]).await;
    for (name, security, answer) in
        [("a", "宠物？旺财？", "旺财？"), ("b", "pet? Rex?", "rex?"), ("c", "？x", "X")]
    {
        let body = json!({
            "username": name, "password": "correct horse", "email": format!("{name}@example.com"),
            "security_question": security
        });
        let made = post(&test, "/api/register", "application/json", &body.to_string()).await;
        assert_eq!(made.status, 201, "{}", made.body);
        let body = json!({
            "username": name, "old_password": "correct horse", "new_password": "battery staple",
            "security_answer": answer
        });
        let changed =
            post(&test, "/api/change_password", "application/json", &body.to_string()).await;
        assert_eq!(changed.status, 200, "{security}: {}", changed.body);
    }
}

#[tokio::test]
async fn a_changed_password_ends_older_tokens() {
    let test = TestApp::start(&[]).await;
    let token = shop(&test).await;
    let change = |old: &str, new: &str, answer: &str| {
        format!(
            "/api/change_password?username=shop&old_password={old}&new_password={new}&security_answer={answer}"
        )
    };
    for (path, expected) in [
        (change("x", "battery+staple", "Rex"), refused(401, "用户名或旧密码错误")),
        (
            change("correct+horse", "battery+staple", "Rex").replace("=shop", "=nobody"),
            refused(401, "用户名或旧密码错误"),
        ),
        (change("correct+horse", "battery+staple", "x"), refused(400, "密保问题答案不正确")),
        (change("correct+horse", "short", "Rex"), refused(400, "密码至少8个字符，最多256字节")),
        (change("", "battery+staple", "Rex"), refused(400, "缺少必要的参数：old_password")),
        (change("correct+horse", "", "Rex"), refused(400, "缺少必要的参数：new_password")),
        (
            change("correct+horse", "battery+staple", ""),
            refused(400, "缺少必要的参数：security_answer"),
        ),
        ("/api/change_password".to_owned(), refused(400, "缺少必要的参数：username")),
    ] {
        assert_eq!(get(&test, &path).await, expected, "{path}");
    }
    let changed = json!({"success": true, "message": "密码修改成功，请重新登录获取新token"});
    let path = change("correct+horse", "battery+staple", "Rex");
    assert_eq!(get(&test, &path).await, (200, changed));
    let balance = format!("/api/balance?token={token}");
    assert_eq!(get(&test, &balance).await, refused(401, "无效的token，请重新登录"));
    assert_eq!(get(&test, LOGIN).await, refused(401, "用户名或密码错误"));
    let (status, _) = get(&test, "/api/login?username=shop&password=battery+staple").await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn a_token_is_missing_wrong_or_old() {
    let test = TestApp::start(&[]).await;
    let id = test.app.database.ensure_account("shop", Role::Account, 0).await.unwrap().id;
    let old = crate::auth::token::issue(&test.app.keys, id, &Grant::USUAL, 1_000_000, 1).unwrap();
    for path in ["/api/balance", "/api/recharge"] {
        let with = |token: &str| format!("{path}?amount=1&token={token}");
        assert_eq!(get(&test, path).await, refused(400, "缺少必要的参数：token"));
        assert_eq!(get(&test, &with("")).await, refused(400, "缺少必要的参数：token"));
        assert_eq!(get(&test, &with("x")).await, refused(401, "无效的token，请重新登录"));
        assert_eq!(get(&test, &with(&old)).await, refused(401, "token已过期，请重新登录"));
        let shown = Client::with_token("x").get(&test, path).await;
        assert_eq!(shown, refused(401, "无效的token，请重新登录"));
    }
    let token = test.token("shop", &Grant::USUAL).await;
    let shown = Client::with_token(&token).get(&test, "/api/balance").await;
    assert_eq!((shown.0, &shown.1["username"]), (200, &json!("shop")));
}

#[tokio::test]
async fn an_account_is_recharged_to_the_last_fen() {
    let test = TestApp::start(&[]).await;
    let token = shop(&test).await;
    let recharge = |amount: &str| format!("/api/recharge?token={token}&amount={amount}");
    for (amount, balance) in [("0.1", "0.1"), ("0.2", "0.3"), ("1.15", "1.45"), ("100", "101.45")] {
        let path = recharge(amount);
        let request = Request::get(path).body(Body::empty()).unwrap();
        let router = crate::routes::router::app(test.app.clone());
        let answer = tower::ServiceExt::oneshot(router, request).await.unwrap();
        let bytes = axum::body::to_bytes(answer.into_body(), 1000).await.unwrap();
        let expected = format!(
            r#"{{"success":true,"message":"充值成功","username":"shop","balance":{balance}}}"#
        );
        assert_eq!(String::from_utf8(bytes.to_vec()).unwrap(), expected);
    }
    for (amount, message) in [
        ("x", "充值金额必须是有效的数字"),
        ("1.001", "充值金额必须是有效的数字"),
        ("0", "充值金额必须大于0"),
        ("-1", "充值金额必须大于0"),
        ("", "缺少必要的参数：amount"),
        ("99999999999999999999", "余额超出上限"),
        ("90071992547409.91", "余额超出上限"),
    ] {
        assert_eq!(get(&test, &recharge(amount)).await, refused(400, message), "{amount}");
    }
    let body = json!({"token": token}).to_string().replace('}', r#","amount":4.35}"#);
    let answer = post(&test, "/api/recharge", "application/json", &body).await;
    assert_eq!(answer.body["balance"], 105.8);
    let me = test.get("/v1/accounts/me", &token).await;
    assert_eq!(me.body["balance"]["amount"], 10_580);
}

#[tokio::test]
async fn only_an_admin_is_recharged_where_accounts_may_not_do_it_themselves() {
    let own = ("POSTRIDER_DIALECTS__PLATFORM__SELF_RECHARGE", "false");
    let test = TestApp::start(&[own]).await;
    let token = shop(&test).await;
    let path = |token: &str| format!("/api/recharge?token={token}&amount=1");
    assert_eq!(get(&test, &path(&token)).await, refused(403, "没有权限"));
    let admin = test.token("ops", &[Grant::Admin]).await;
    let (status, body) = get(&test, &path(&admin)).await;
    assert_eq!((status, &body["username"], &body["balance"]), (200, &json!("ops"), &json!(1.0)));
}

#[tokio::test]
async fn parameters_come_in_a_query_a_form_or_json() {
    let test = TestApp::start(&[]).await;
    shop(&test).await;
    let form = "application/x-www-form-urlencoded; charset=utf-8";
    let body = "username=shop&password=correct+horse&extra=1&username=other";
    assert_eq!(post(&test, "/api/login", form, body).await.status, 200, "the first one counts");
    let path = format!("{LOGIN}&username=other&password=x");
    assert_eq!(get(&test, &path).await.0, 200, "the first one counts");
    let body = json!({"username": "shop", "password": "correct horse", "extra": [1]}).to_string();
    assert_eq!(post(&test, "/api/login", "application/json", &body).await.status, 200);
    let both = post(&test, "/api/login?username=shop", form, "password=correct+horse").await;
    assert_eq!(both.status, 200);
    assert_eq!(post(&test, LOGIN, "", "").await.status, 200);

    let malformed = refused(400, "请求格式不正确");
    for body in ["{", "[]", "7"] {
        assert_eq!(told(post(&test, LOGIN, "application/json", body).await), malformed);
    }
    let xml = post(&test, LOGIN, "text/xml", "<a/>").await;
    assert_eq!(told(xml), refused(415, "请求格式不正确"));
    let large = post(&test, LOGIN, form, &"x".repeat(LARGEST + 1)).await;
    assert_eq!(told(large), refused(413, "请求格式不正确"));
}

#[tokio::test]
async fn failed_log_ins_are_limited() {
    let test = TestApp::start(&[("POSTRIDER_ACCOUNTS__LOGIN_LIMITS__ACCOUNT", "1/10m")]).await;
    let wrong = "/api/login?username=shop&password=x";
    assert_eq!(get(&test, wrong).await.0, 401);
    assert_eq!(get(&test, wrong).await, refused(429, "失败次数过多，请稍后再试"));
    let answer = Client::default().ask(&test, Method::GET, wrong, "").await;
    assert!(answer.headers.contains_key("retry-after"));
    let test = TestApp::start(&[("POSTRIDER_ACCOUNTS__LOGIN_LIMITS__IP", "1/10m")]).await;
    let somebody = Client::from("203.0.113.7");
    let path = format!("/api/register?{SHOP}");
    assert_eq!(somebody.get(&test, &path).await.0, 201);
    assert_eq!(somebody.get(&test, &path).await, refused(429, "请求过于频繁，请稍后再试"));
}

#[tokio::test]
async fn whether_it_is_there_is_told() {
    let test = TestApp::start(&[]).await;
    for path in ["/api", "/api/", "/api/test"] {
        assert_eq!(get(&test, path).await, (200, json!({"message": "API 连接成功"})));
        assert_eq!(told(post(&test, path, "", "").await).0, 200);
    }
    for path in ["/api/nowhere", "/api/get_phone", "/api/login/more", "/api/search_projects"] {
        assert_eq!(get(&test, path).await, refused(404, "接口不存在"), "{path}");
    }
    let put = Client::default().ask(&test, Method::PUT, "/api/login", "").await;
    assert_eq!(told(put), refused(405, "请求方法不支持"));
}

#[tokio::test]
async fn a_failure_of_ours_is_told_without_its_cause() {
    let test = TestApp::start(&[]).await;
    let token = shop(&test).await;
    test.break_store().await;
    test.run("ALTER TABLE account RENAME TO gone").await;
    let (status, body) = get(&test, &format!("/api/balance?token={token}")).await;
    assert_eq!((status, body), refused(503, "服务暂时不可用，请稍后再试"));
    let (status, body) = get(&test, LOGIN).await;
    assert_eq!((status, body), refused(503, "服务暂时不可用，请稍后再试"));
}

#[tokio::test]
async fn statuses_have_the_headers_that_http_wants_with_them() {
    let test = TestApp::start(&[]).await;
    shop(&test).await;
    let changed = "/api/change_password?username=shop&old_password=wrong+horse\
                   &new_password=correct+horses&security_answer=Rex";
    let wrong = Client::default().ask(&test, Method::GET, changed, "").await;
    assert_eq!(
        (wrong.status.as_u16(), &wrong.headers["www-authenticate"]),
        (401, &"Bearer".parse().unwrap())
    );
    let missing = Client::default().ask(&test, Method::GET, "/api/balance", "").await;
    assert_eq!((missing.status.as_u16(), missing.headers.get("www-authenticate")), (400, None));
    let put = Client::default().ask(&test, Method::PUT, "/api/login", "").await;
    assert_eq!(
        (put.status.as_u16(), &put.headers["allow"]),
        (405, &"GET,HEAD,POST".parse().unwrap())
    );
}

#[tokio::test]
async fn nobody_registers_as_more_than_an_account() {
    let test = TestApp::start(&[]).await;
    let path = format!("/api/register?{SHOP}&role=admin&balance=999&on_behalf=1&id=1");
    assert_eq!(get(&test, &path).await.0, 201);
    let account = test.app.database.account_by_name("shop").await.unwrap().unwrap();
    assert_eq!((account.role, account.balance, account.on_behalf), (Role::Account, 0, false));
    assert_ne!(account.id, 1);
}
