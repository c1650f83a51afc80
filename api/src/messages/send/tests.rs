//! How many notices a phone gets, and of which templates.

use std::time::Duration;

use serde_json::{Value, json};

use crate::auth::token::Grant;
use crate::testing::{Answer, TestApp};

const SHIPPED: (&str, &str) = ("POSTRIDER_TEMPLATES__SHIPPED__TEXT", "[{sign}] on its way");
const ARRIVED: (&str, &str) = ("POSTRIDER_TEMPLATES__ARRIVED__TEXT", "[{sign}] has arrived");
const PHONE: &str = "13800138000";

async fn send(test: &TestApp, token: &str, template: &str, phone: &str) -> Answer {
    let body = json!({"template": template, "params": {}, "phone": phone});
    test.post("/v1/notices", token, body.to_string()).await
}

#[tokio::test]
async fn sends_five_notices_an_hour_and_twenty_a_day_to_a_phone() {
    let test = TestApp::start(&[SHIPPED, ARRIVED]).await;
    let token = test.token("shop", &[Grant::Send]).await;
    for _hour in 0..4 {
        for n in 0..5 {
            let template = ["shipped", "arrived"][n % 2];
            let sent = send(&test, &token, template, PHONE).await;
            assert_eq!(sent.status, 202, "{}", sent.body);
        }
        for template in ["shipped", "arrived"] {
            let refused = send(&test, &token, template, PHONE).await;
            assert_eq!(refused.problem(), (429, "phone_limited"));
            assert!(
                refused.headers["ratelimit"].to_str().unwrap().starts_with("\"phone-3600s\";r=0")
            );
        }
        test.pass(Duration::from_hours(1)).await;
    }
    assert_eq!(send(&test, &token, "shipped", PHONE).await.problem(), (429, "phone_limited"));
    assert_eq!(send(&test, &token, "shipped", "13900139000").await.status, 202, "another phone");
    let other = test.token("other", &[Grant::Send]).await;
    assert_eq!(send(&test, &other, "shipped", PHONE).await.status, 202, "another account");
    test.pass(Duration::from_hours(21)).await;
    assert_eq!(send(&test, &token, "shipped", PHONE).await.status, 202, "a day later");
}

#[tokio::test]
async fn counts_the_limits_of_a_template_apart() {
    let own = ("POSTRIDER_TEMPLATES__SHIPPED__LIMITS__PHONE", "2/1d");
    let of_all = ("POSTRIDER_TEMPLATES__ARRIVED__LIMITS__ACCOUNT", "4/1d");
    let test = TestApp::start(&[SHIPPED, ARRIVED, own, of_all]).await;
    let token = test.token("shop", &[Grant::Send]).await;
    for _ in 0..2 {
        assert_eq!(send(&test, &token, "shipped", PHONE).await.status, 202);
    }
    let refused = send(&test, &token, "shipped", PHONE).await;
    assert_eq!(refused.problem(), (429, "phone_limited"));
    let policy = refused.headers["ratelimit"].to_str().unwrap();
    assert!(policy.contains("\"template-phone-86400s\";r=0"), "{policy}");
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(send(&test, &token, "arrived", PHONE).await.status.as_u16());
    }
    assert_eq!(statuses, [202, 202, 202, 429], "both templates count towards the phone's five");
    assert_eq!(send(&test, &token, "arrived", "13900139000").await.status, 202);
    let refused = send(&test, &token, "arrived", "13900139001").await;
    assert_eq!(refused.problem(), (429, "account_limited"));

    let admin = test.token("ops", &[Grant::Admin]).await;
    let account = test.app.database.account_by_name("shop").await.unwrap().unwrap().id;
    let asked = json!({"phone": PHONE, "template": "shipped", "account_id": account});
    let explained = test.post("/v1/explain", &admin, asked.to_string()).await.body;
    let shown = |limit: &Value| format!("{} {}", limit["policy"].as_str().unwrap(), limit["used"]);
    let limits = &explained["requests"][0]["limits"];
    let used: Vec<_> = limits.as_array().unwrap().iter().map(shown).collect();
    assert_eq!(used, ["phone-3600s 5", "phone-86400s 5", "template-phone-86400s 2"]);
}

#[tokio::test]
async fn refuses_a_template_of_codes_as_a_notice() {
    let settings = [
        SHIPPED,
        ("POSTRIDER_TEMPLATES__PAYMENT__TEXT", "[{sign}] {code}"),
        ("POSTRIDER_PURPOSES__PAY__TEMPLATE", "payment"),
    ];
    let test = TestApp::start(&settings).await;
    let token = test.token("shop", &[Grant::Send]).await;
    let params = json!({"code": "123456", "minutes": "3"});
    for template in ["verify", "payment"] {
        for to in [json!({"phone": PHONE}), json!({"phones": [PHONE]})] {
            let mut body = json!({"template": template, "params": params});
            body.as_object_mut().unwrap().extend(to.as_object().unwrap().clone());
            let refused = test.post("/v1/notices", &token, body.to_string()).await;
            assert_eq!(refused.problem(), (422, "template_unknown"), "{template}");
            assert_eq!(refused.body["errors"][0]["code"], "for_codes");
        }
    }
    let code = r#"{"phone":"13800138000","purpose":"pay"}"#;
    assert_eq!(test.post("/v1/verifications", &token, code).await.status, 202, "codes use it");
}
