//! What is told, and that nothing is counted for it.

use crate::auth::token::Grant;
use crate::testing::TestApp;
use serde_json::{Value, json};

const PHONE: &str = "13800138000";

async fn explained(test: &TestApp, body: Value) -> Value {
    let admin = test.token("ops", &[Grant::Admin]).await;
    let answer = test.post("/v1/explain", &admin, body.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

#[tokio::test]
async fn it_says_what_was_used_and_what_would_refuse() {
    let test = TestApp::start(&[]).await;
    let shop = test.token("shop", &[Grant::Send]).await;
    let id = test.app.database.account_by_name("shop").await.unwrap().unwrap().id;
    let asked = json!({"phone": PHONE, "purpose": "login", "account_id": id});
    let before = explained(&test, asked.clone()).await;
    assert_eq!(before["requests"][0]["outcome"], "admitted");
    assert_eq!(before["verification"], Value::Null);
    assert_eq!(before["requests"][1]["outcome"], "verification_not_found");
    assert_eq!(before["requests"][0]["providers"], json!(["sandbox"]));

    let body = json!({"phone": PHONE, "purpose": "login"}).to_string();
    assert_eq!(test.post("/v1/verifications", &shop, body.clone()).await.status, 202);
    let after = explained(&test, asked.clone()).await;
    assert_eq!(after, explained(&test, asked).await, "asking counts nothing");
    assert_eq!(after["phone"], "+86138****8000");
    assert_eq!(after["account"]["username"], "shop");
    let code = &after["requests"][0];
    assert_eq!((&code["kind"], &code["outcome"]), (&json!("code"), &json!("phone_limited")));
    assert_eq!(code["limits"][0]["policy"], "phone-60s");
    assert_eq!(
        (&code["limits"][0]["used"], &code["limits"][0]["remaining"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(code["template"], "verify");
    assert_eq!(after["verification"]["status"], "pending");
    assert_eq!(after["verification"]["sends"], 1);
    assert_eq!(after["requests"][1]["kind"], "check");
    assert_eq!(after["requests"][1]["outcome"], "admitted");
    assert_eq!(test.post("/v1/verifications", &shop, body).await.problem().0, 429);
}

#[tokio::test]
async fn bans_are_told_with_their_reasons() {
    let test = TestApp::start(&[]).await;
    let admin = test.token("ops", &[Grant::Admin]).await;
    let ban = json!({"kind": "cidr", "value": "203.0.113.0/24", "reason": "a farm"});
    test.post("/v1/blacklist", &admin, ban.to_string()).await;
    let asked = json!({"phone": PHONE, "client_ip": "203.0.113.7", "purpose": "login"});
    let told = explained(&test, asked).await;
    assert_eq!(told["bans"][0]["reason"], "a farm");
    assert_eq!(told["requests"][0]["outcome"], "ip_blocked");
}

#[tokio::test]
async fn what_refuses_at_once_is_told_first() {
    let test = TestApp::start(&[]).await;
    let abroad = json!({"phone": "+14155552671", "purpose": "login"});
    let told = explained(&test, abroad).await;
    assert_eq!(told["requests"][0]["outcome"], "country_not_allowed");
    assert_eq!(told["requests"][1]["outcome"], "verification_not_found", "a check sends nothing");
}

#[tokio::test]
async fn nonsense_is_refused() {
    let test = TestApp::start(&[]).await;
    let admin = test.token("ops", &[Grant::Admin]).await;
    for (body, code) in [
        (json!({}), "fields_invalid"),
        (json!({"purpose": "login", "template": "x"}), "fields_invalid"),
        (json!({"purpose": "login", "account_id": 1}), "fields_invalid"),
        (json!({"purpose": "Not This"}), "purpose_invalid"),
        (json!({"template": "unknown"}), "template_unknown"),
        (json!({"purpose": "login", "phone": "12"}), "phone_invalid"),
    ] {
        let answer = test.post("/v1/explain", &admin, body.to_string()).await;
        assert_eq!(answer.problem(), (422, code), "{body}");
    }
}

#[tokio::test]
async fn a_check_that_even_the_right_code_fails_is_told() {
    let test = TestApp::start(&[]).await;
    let shop = test.token("shop", &[Grant::Send, Grant::Verify]).await;
    let id = test.app.database.account_by_name("shop").await.unwrap().unwrap().id;
    let body = json!({"phone": PHONE, "purpose": "login"}).to_string();
    assert_eq!(test.post("/v1/verifications", &shop, body).await.status, 202);
    let wrong = json!({"phone": PHONE, "purpose": "login", "code": "x"}).to_string();
    for _ in 0..5 {
        test.post("/v1/verifications/check", &shop, wrong.clone()).await;
    }
    let asked = json!({"phone": PHONE, "purpose": "login", "account_id": id});
    let told = explained(&test, asked).await;
    assert_eq!(told["verification"]["status"], "exhausted");
    assert_eq!(told["requests"][1]["outcome"], "too_many_attempts");
}

#[tokio::test]
async fn a_purpose_that_only_a_dialect_takes_is_explained() {
    let test = TestApp::start(&[]).await;
    let asked = json!({"phone": PHONE, "purpose": "pay"});
    assert_eq!(explained(&test, asked.clone()).await["requests"][0]["outcome"], "admitted");
    let test = TestApp::start(&[("POSTRIDER_DIALECTS__ENABLED", "flask")]).await;
    let admin = test.token("ops", &[Grant::Admin]).await;
    let refused = test.post("/v1/explain", &admin, asked.to_string()).await;
    assert_eq!(refused.problem(), (422, "purpose_invalid"));
}
