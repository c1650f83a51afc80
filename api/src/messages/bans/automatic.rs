//! Automatic bans, from the requests that fail to the requests that are refused.

use serde_json::{Value, json};

use crate::auth::token::Grant;
use crate::testing::{Answer, TestApp};

const PHONE: &str = "13800138000";
const IP: &str = "203.0.113.7";

async fn start() -> TestApp {
    let limits = ("POSTRIDER_LIMITS__CODE__IP", "1000/60s");
    TestApp::start(&[("POSTRIDER_BANS__THRESHOLD", "4"), limits]).await
}

/// A back end that names its users' addresses.
async fn back_end(test: &TestApp, name: &str) -> String {
    test.token(name, &[Grant::Send, Grant::Verify, Grant::OnBehalf]).await
}

async fn send(test: &TestApp, token: &str, phone: &str, ip: &str) -> Answer {
    let body = json!({"phone": phone, "purpose": "login", "client_ip": ip});
    test.post("/v1/verifications", token, body.to_string()).await
}

/// Has a code sent, and checks a wrong one this many times, each from an address of its own.
async fn fail_checks(test: &TestApp, token: &str, times: u8) {
    assert_eq!(send(test, token, PHONE, "198.51.100.1").await.status, 202);
    for last in 1..=times {
        let failed = check(test, token, &format!("198.51.100.{last}")).await;
        assert_eq!(failed.problem(), (422, "code_mismatch"));
    }
}

async fn check(test: &TestApp, token: &str, ip: &str) -> Answer {
    let body = json!({"phone": PHONE, "purpose": "login", "code": "x", "client_ip": ip});
    test.post("/v1/verifications/check", token, body.to_string()).await
}

/// Every ban in the table, once there are this many.
async fn listed(test: &TestApp, many: usize) -> Vec<Value> {
    let admin = test.token("ops", &[Grant::Admin]).await;
    loop {
        let list = test.get("/v1/blacklist", &admin).await.body["items"].clone();
        let list = list.as_array().unwrap().clone();
        if list.len() >= many {
            return list;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn failed_checks_of_one_account_ban_the_phone_for_its_checks_alone() {
    let test = start().await;
    let shop = back_end(&test, "shop").await;
    fail_checks(&test, &shop, 4).await;
    assert_eq!(check(&test, &shop, IP).await.problem(), (403, "phone_blocked"));
    assert_eq!(send(&test, &shop, PHONE, IP).await.problem(), (429, "phone_limited"));
    let other = back_end(&test, "other").await;
    assert_eq!(send(&test, &other, PHONE, IP).await.status, 202);
    assert_eq!(check(&test, &other, IP).await.problem(), (422, "code_mismatch"));

    let bans = listed(&test, 1).await;
    let id = test.app.database.account_by_name("shop").await.unwrap().unwrap().id;
    assert_eq!(bans.len(), 1, "{bans:?}");
    assert_eq!(bans[0]["kind"], "account_phone");
    assert_eq!(bans[0]["value"], format!("{id}/+86138****8000"));
    assert_eq!(bans[0]["created_by"], "postrider");

    let admin = test.token("ops", &[Grant::Admin]).await;
    let asked = json!({"phone": PHONE, "purpose": "login", "account_id": id}).to_string();
    let told = test.post("/v1/explain", &admin, asked).await.body;
    assert_eq!(told["requests"][0]["outcome"], "phone_limited", "its sends aren't banned");
    assert_eq!(told["requests"][1]["outcome"], "phone_blocked");
    assert_eq!(told["bans"], json!(bans));
    let asked = json!({"phone": PHONE, "purpose": "login"}).to_string();
    assert_eq!(test.post("/v1/explain", &admin, asked).await.body["bans"], json!([]));

    test.break_store().await;
    assert_eq!(check(&test, &shop, IP).await.problem(), (403, "phone_blocked"), "loaded again");
    let ban = json!({"kind": "account_phone", "value": format!("{id}/{PHONE}")}).to_string();
    assert_eq!(test.delete_with("/v1/blacklist", &admin, ban.clone()).await.status, 204);
    assert_eq!(check(&test, &shop, IP).await.problem(), (422, "code_mismatch"));
    let again = test.delete_with("/v1/blacklist", &admin, ban).await;
    assert_eq!(again.problem(), (404, "not_blacklisted"));
}

#[tokio::test]
async fn failed_checks_of_three_accounts_ban_the_phone_for_everybody() {
    let test = start().await;
    let [first, second, third] =
        [back_end(&test, "a").await, back_end(&test, "b").await, back_end(&test, "c").await];
    fail_checks(&test, &first, 3).await;
    fail_checks(&test, &second, 3).await;
    let other = back_end(&test, "other").await;
    assert_eq!(send(&test, &other, PHONE, IP).await.status, 202, "six failures of two accounts");
    fail_checks(&test, &third, 1).await;
    assert_eq!(check(&test, &other, IP).await.problem(), (403, "phone_blocked"));
    let stranger = back_end(&test, "stranger").await;
    assert_eq!(send(&test, &stranger, PHONE, IP).await.problem(), (403, "phone_blocked"));
    let bans = listed(&test, 1).await;
    assert_eq!((bans.len(), &bans[0]["kind"]), (1, &json!("phone")), "{bans:?}");
}

#[tokio::test]
async fn checks_of_nothing_that_was_sent_count_against_no_phone() {
    let test = start().await;
    let shop = back_end(&test, "shop").await;
    for last in 1..=6 {
        let failed = check(&test, &shop, &format!("198.51.100.{last}")).await;
        assert_eq!(failed.problem(), (404, "verification_not_found"));
    }
    fail_checks(&test, &shop, 1).await;
}

#[tokio::test]
async fn test_keys_neither_make_nor_meet_a_ban_of_an_accounts_checks() {
    let test = start().await;
    let shop = back_end(&test, "shop").await;
    fail_checks(&test, &shop, 4).await;
    assert_eq!(check(&test, &shop, IP).await.problem(), (403, "phone_blocked"));
    let named = json!({"name": "test", "scopes": ["send", "verify"], "test": true}).to_string();
    let session = test.token("shop", &Grant::USUAL).await;
    let key = test.post("/v1/api-keys", &session, named).await.body["key"].clone();
    let body = json!({"phone": PHONE, "purpose": "login", "code": "x"}).to_string();
    for _ in 0..6 {
        let answer = test.post("/v1/verifications/check", key.as_str().unwrap(), body.clone());
        assert_eq!(answer.await.problem(), (404, "verification_not_found"));
    }
}

#[tokio::test]
async fn one_phones_refusals_count_once_against_its_address() {
    let test = start().await;
    let shop = back_end(&test, "shop").await;
    assert_eq!(send(&test, &shop, PHONE, IP).await.status, 202);
    for _ in 0..12 {
        assert_eq!(send(&test, &shop, PHONE, IP).await.problem(), (429, "phone_limited"));
    }
    for last in 1..=3 {
        let phone = format!("1380013800{last}");
        assert_eq!(send(&test, &shop, &phone, IP).await.status, 202, "{last}");
        assert_eq!(send(&test, &shop, &phone, IP).await.problem(), (429, "phone_limited"));
    }
    assert_eq!(send(&test, &shop, "13800138004", IP).await.problem(), (403, "ip_blocked"));
    assert_eq!(send(&test, &shop, "13800138004", "203.0.113.8").await.status, 202);
    let bans = listed(&test, 1).await;
    assert_eq!((&bans[0]["kind"], &bans[0]["value"]), (&json!("ip"), &json!(IP)));
}

#[tokio::test]
async fn a_nat64_address_counts_as_the_address_within_it() {
    let test = TestApp::start(&[("POSTRIDER_LIMITS__CODE__IP", "2/60s")]).await;
    let shop = back_end(&test, "shop").await;
    let within = "64:ff9b::cb00:7107";
    assert_eq!(send(&test, &shop, "13800138001", IP).await.status, 202);
    assert_eq!(send(&test, &shop, "13800138002", within).await.status, 202);
    assert_eq!(send(&test, &shop, "13800138003", within).await.problem(), (429, "ip_limited"));
    let neighbour = "64:ff9b::cb00:7108";
    assert_eq!(send(&test, &shop, "13800138003", neighbour).await.status, 202);
    let admin = test.token("ops", &[Grant::Admin]).await;
    let ban = json!({"kind": "ip", "value": within, "reason": "x"}).to_string();
    assert_eq!(test.post("/v1/blacklist", &admin, ban).await.body["value"], IP);
    assert_eq!(send(&test, &shop, "13800138004", IP).await.problem().1, "ip_limited");
    let asked = json!({"phone": PHONE, "purpose": "login", "client_ip": within}).to_string();
    let told = test.post("/v1/explain", &admin, asked).await.body;
    assert_eq!(told["bans"][0]["value"], IP);
}
