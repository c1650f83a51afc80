//! Bans, their end, their pages, and those that come by themselves.

use super::*;
use crate::auth::token::Grant;
use crate::testing::{Answer, TestApp};
use postrider_common::store::{BanCheck, Explain};
use serde_json::json;

const PATH: &str = "/v1/blacklist";
const SEND: &str = "/v1/verifications";

async fn send(test: &TestApp, token: &str, phone: &str, ip: &str) -> Answer {
    let body = json!({"phone": phone, "purpose": "login", "client_ip": ip});
    test.post(SEND, token, body.to_string()).await
}

#[tokio::test]
async fn a_ban_works_at_once_and_so_does_its_end() {
    let test = TestApp::start(&[]).await;
    let admin = test.token("ops", &[Grant::Admin]).await;
    let shop = test.token("shop", &[Grant::Send, Grant::OnBehalf]).await;
    for (kind, value, shown, refusal) in [
        ("phone", "13800138000", "+86138****8000", "phone_blocked"),
        ("phone_prefix", "+861380013", "+861380013", "phone_blocked"),
        ("ip", "::ffff:203.0.113.7", "203.0.113.7", "ip_blocked"),
        ("cidr", "203.0.113.9/24", "203.0.113.0/24", "ip_blocked"),
    ] {
        let ban = json!({"kind": kind, "value": value, "reason": "abuse"}).to_string();
        let added = test.post(PATH, &admin, ban.clone()).await;
        assert_eq!(added.status, StatusCode::CREATED, "{}", added.body);
        assert_eq!(added.body["value"], shown);
        assert_eq!(added.body["created_by"], "ops");
        let refused = send(&test, &shop, "13800138000", "203.0.113.7").await;
        assert_eq!(refused.problem(), (403, refusal));
        let listed = test.get(PATH, &admin).await;
        assert_eq!(listed.body["items"][0]["value"], shown);
        assert_eq!(
            test.delete_with(PATH, &admin, ban.clone()).await.status,
            StatusCode::NO_CONTENT
        );
        assert_eq!(test.delete_with(PATH, &admin, ban).await.problem(), (404, "not_blacklisted"));
    }
    let sent = send(&test, &shop, "13800138000", "203.0.113.7").await;
    assert_eq!(sent.status, StatusCode::ACCEPTED);
    assert_eq!(test.get(PATH, &admin).await.body["items"], json!([]));
    let changes = test.get("/v1/blacklist/changes?limit=3", &admin).await.body;
    let said: Vec<_> = changes["items"].as_array().unwrap().iter().map(|c| &c["action"]).collect();
    assert_eq!(said, ["lifted", "banned", "lifted"]);
    let next = changes["next_cursor"].as_str().unwrap();
    let rest = test.get(&format!("/v1/blacklist/changes?cursor={next}"), &admin).await.body;
    assert_eq!(rest["items"].as_array().unwrap().len(), 5);
    assert_eq!(rest["next_cursor"], json!(null));
}

#[tokio::test]
async fn pages_of_bans_give_each_once() {
    let test = TestApp::start(&[]).await;
    let admin = test.token("ops", &[Grant::Admin]).await;
    for last in 0..7 {
        let ban = json!({"kind": "ip", "value": format!("203.0.113.{last}"), "reason": "x"});
        assert_eq!(test.post(PATH, &admin, ban.to_string()).await.status, StatusCode::CREATED);
    }
    let (mut seen, mut path) = (Vec::new(), format!("{PATH}?limit=3&kind=ip"));
    loop {
        let page = test.get(&path, &admin).await.body;
        seen.extend(page["items"].as_array().unwrap().iter().map(|ban| ban["value"].clone()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        path = format!("{PATH}?limit=3&kind=ip&cursor={next}");
    }
    let all: Vec<_> = (0..7).map(|last| json!(format!("203.0.113.{last}"))).collect();
    assert_eq!(seen, all);
}

#[tokio::test]
async fn what_cannot_be_banned_is_named() {
    let safe = ("POSTRIDER_BANS__SAFE_PHONES", "+8613800138001");
    let test = TestApp::start(&[safe]).await;
    let admin = test.token("ops", &[Grant::Admin]).await;
    for (body, code) in [
        (json!({"kind": "phone", "value": "13800138001", "reason": "x"}), "safe_listed"),
        (json!({"kind": "ip", "value": "127.0.0.1", "reason": "x"}), "safe_listed"),
        (json!({"kind": "cidr", "value": "127.0.0.0/9", "reason": "x"}), "safe_listed"),
        (json!({"kind": "ip", "value": "203.0.113.7"}), "fields_invalid"),
        (json!({"kind": "phone", "value": "nonsense"}), "fields_invalid"),
        (json!({"kind": "name", "value": "x"}), "fields_invalid"),
        (json!({"kind": "ip"}), "fields_invalid"),
        (json!({"value": "203.0.113.7"}), "fields_invalid"),
        (
            json!({"kind": "ip", "value": "203.0.113.7", "until": "2020-01-01T00:00:00Z"}),
            "fields_invalid",
        ),
    ] {
        let answer = test.post(PATH, &admin, body.to_string()).await;
        assert_eq!(answer.problem(), (422, code), "{body}");
        assert!(!answer.body.to_string().contains("nonsense"), "{}", answer.body);
    }
}

#[tokio::test]
async fn wide_bans_need_force_which_is_recorded() {
    let test = TestApp::start(&[]).await;
    let admin = test.token("ops", &[Grant::Admin]).await;
    for (kind, value, shown) in [
        ("cidr", "0.0.0.0/0", "0.0.0.0/0"),
        ("cidr", "32.0.0.0/7", "32.0.0.0/7"),
        ("cidr", "::/0", "::/0"),
        ("cidr", "2000::/3", "2000::/3"),
        ("cidr", "2400::/15", "2400::/15"),
        ("cidr", "::ffff:0:0/96", "0.0.0.0/0"),
        ("cidr", "::ffff:20.0.0.0/103", "20.0.0.0/7"),
        ("cidr", "::ffff:0:0/90", "::ffc0:0:0/90"),
        ("cidr", "::/80", "::/80"),
        ("cidr", "64:ff9b::/96", "0.0.0.0/0"),
        ("phone_prefix", "+8", "+8"),
        ("phone_prefix", "+86", "+86"),
        ("phone_prefix", "+861", "+861"),
        ("phone_prefix", "+8613", "+8613"),
        ("phone_prefix", "+1", "+1"),
        ("phone_prefix", "+141", "+141"),
        ("phone_prefix", "+35", "+35"),
        ("phone_prefix", "+85291", "+85291"),
    ] {
        let ban = json!({"kind": kind, "value": value, "reason": "x"});
        let refused = test.post(PATH, &admin, ban.to_string()).await;
        assert_eq!(refused.problem(), (422, "ban_too_wide"), "{value}");
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(detail.contains(r#""force": true"#), "{detail}");
        let mut forced = ban.clone();
        forced["force"] = json!(false);
        assert_eq!(test.post(PATH, &admin, forced.to_string()).await.problem().0, 422, "{value}");
        assert_eq!(test.get(PATH, &admin).await.body["items"], json!([]), "{value}");
        forced["force"] = json!(true);
        let made = test.post(PATH, &admin, forced.to_string()).await;
        assert_eq!((made.status, &made.body["value"]), (StatusCode::CREATED, &json!(shown)));
        assert_eq!(test.delete_with(PATH, &admin, ban.to_string()).await.status, 204, "{value}");
        let changes = test.get("/v1/blacklist/changes?limit=2", &admin).await.body["items"].clone();
        let told = |n: usize| (changes[n]["action"].clone(), changes[n]["forced"].clone());
        assert_eq!(told(0), (json!("lifted"), json!(false)));
        assert_eq!(told(1), (json!("banned"), json!(true)), "{value}");
    }
    for (kind, value) in [
        ("cidr", "10.0.0.0/8"),
        ("cidr", "::ffff:20.0.0.0/104"),
        ("cidr", "64:ff9b::1400:0/104"),
        ("cidr", "2400::/16"),
        ("ip", "0.0.0.0"),
        ("ip", "::"),
        ("phone_prefix", "+86138"),
        ("phone_prefix", "+1415"),
        ("phone_prefix", "+852912"),
    ] {
        let ban = json!({"kind": kind, "value": value, "reason": "x", "force": true});
        let made = test.post(PATH, &admin, ban.to_string()).await;
        assert_eq!(made.status, StatusCode::CREATED, "{value}: {}", made.body);
        let changes = test.get("/v1/blacklist/changes?limit=1", &admin).await.body["items"].clone();
        assert_eq!(changes[0]["forced"], json!(false), "{value} needs no force");
    }
    // Its addresses count as IPv4: it would ban none of them.
    let nat64 = json!({"kind": "cidr", "value": "64:ff9b::/64", "reason": "x", "force": true});
    let refused = test.post(PATH, &admin, nat64.to_string()).await;
    assert_eq!(refused.problem(), (422, "fields_invalid"));
}

#[tokio::test]
async fn only_an_operator_may() {
    let test = TestApp::start(&[]).await;
    let shop = test.token("shop", &Grant::USUAL).await;
    let ban = json!({"kind": "ip", "value": "203.0.113.7"}).to_string();
    assert_eq!(test.get(PATH, &shop).await.problem(), (403, "scope_missing"));
    assert_eq!(test.get("/v1/blacklist/changes", &shop).await.problem(), (403, "scope_missing"));
    assert_eq!(test.post(PATH, &shop, ban.clone()).await.problem(), (403, "scope_missing"));
    assert_eq!(test.delete_with(PATH, &shop, ban).await.problem(), (403, "scope_missing"));
    assert_eq!(test.post("/v1/explain", &shop, "{}").await.problem(), (403, "scope_missing"));
}

#[tokio::test]
async fn a_store_that_lost_its_data_is_filled_from_the_table() {
    let test = TestApp::start(&[]).await;
    let admin = test.token("ops", &[Grant::Admin]).await;
    let shop = test.token("shop", &[Grant::Send]).await;
    let ban = json!({"kind": "phone", "value": "13800138000", "reason": "x"}).to_string();
    let earlier = json!({"kind": "phone", "value": "13800138002", "reason": "x"}).to_string();
    assert_eq!(test.post(PATH, &admin, earlier).await.status, StatusCode::CREATED);
    test.break_store().await;
    assert_eq!(test.post(PATH, &admin, ban).await.status, StatusCode::CREATED);
    for phone in ["13800138000", "13800138002"] {
        let body = json!({"phone": phone, "purpose": "login"}).to_string();
        assert_eq!(test.post(SEND, &shop, body).await.problem(), (403, "phone_blocked"));
    }
}

#[tokio::test]
async fn a_ban_is_enforced_though_its_caller_goes_away() {
    let test = TestApp::start(&[]).await;
    let shop = test.token("shop", &[Grant::Send]).await;
    let entry = BlacklistEntry {
        kind: BanKind::Phone,
        value: "+8613800138000".to_owned(),
        reason: "x".to_owned(),
        created_by: "ops".to_owned(),
        until: None,
        create_time: unix_ms(),
    };
    let setting = {
        let (app, entry) = (Arc::clone(&test.app), entry.clone());
        async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            set(&app.database, &app.store, &entry, false).await
        }
    };
    let asking = change(&test.app, entry.kind, &entry.value, setting);
    assert!(tokio::time::timeout(Duration::from_millis(20), asking).await.is_err());
    while test.app.store.explain(&explain_phone()).await.unwrap().bans.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let body = json!({"phone": "13800138000", "purpose": "login"}).to_string();
    assert_eq!(test.post(SEND, &shop, body).await.problem(), (403, "phone_blocked"));
    let body = json!({"phone": "13800138001", "purpose": "login"}).to_string();
    assert_eq!(test.post(SEND, &shop, body).await.status, StatusCode::ACCEPTED);
}

fn explain_phone() -> Explain {
    let ban_check = BanCheck { phone: Some("+8613800138000".to_owned()), ..BanCheck::default() };
    Explain { now: None, limits: Vec::new(), ban_check }
}

#[tokio::test]
async fn a_ban_that_the_store_was_not_told_of_is_enforced_once_it_is_back() {
    let test = TestApp::start(&[]).await;
    let admin = test.token("ops", &[Grant::Admin]).await;
    let shop = test.token("shop", &[Grant::Send]).await;
    test.post(SEND, &shop, r#"{"phone":"13800138001","purpose":"login"}"#).await;
    test.run("ALTER TABLE store_ban RENAME TO gone").await;
    let ban = json!({"kind": "phone", "value": "13800138000", "reason": "x"}).to_string();
    assert_eq!(test.post(PATH, &admin, ban).await.problem(), (503, "store_unavailable"));
    test.run("ALTER TABLE gone RENAME TO store_ban").await;
    let body = r#"{"phone":"13800138000","purpose":"login"}"#;
    let explain = json!({"phone": "13800138000", "purpose": "login"}).to_string();
    while test.post("/v1/explain", &admin, explain.clone()).await.body["bans"] == json!([]) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(test.post(SEND, &shop, body).await.problem(), (403, "phone_blocked"));
}
