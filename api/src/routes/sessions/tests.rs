//! Who logs in and who doesn't, and that nobody learns more than that.

use super::*;
use std::time::{Duration, Instant};

use axum::http::Method;
use futures::future::join_all;
use postrider_common::database::account::Role;
use serde_json::{Value, json};

use crate::http::clock::unix_ms;
use crate::testing::{Answer, TestApp};

const HERE: &str = "203.0.113.7";

async fn shop(test: &TestApp) -> i64 {
    let typed = json!({
        "username": "shop", "password": "correct horse", "email": "shop@example.com",
        "security_question": "pet?", "security_answer": "Rex"
    });
    let made = test.call(Method::POST, "/v1/accounts", "", "198.51.100.1", &typed).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    made.body["id"].as_i64().unwrap()
}

async fn try_log_in(test: &TestApp, username: &str, password: &str, ip: &str) -> Answer {
    let body = json!({ "username": username, "password": password });
    test.call(Method::POST, "/v1/sessions", "", ip, &body).await
}

/// What of an answer a caller can tell from another.
fn told(answer: &Answer) -> (u16, Vec<(String, String)>, Value) {
    let mut body = answer.body.clone();
    body.as_object_mut().unwrap().remove("request_id");
    let headers = answer.headers.iter().filter(|(name, _)| *name != "x-request-id");
    let headers =
        headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    (answer.status.as_u16(), headers.collect(), body)
}

#[tokio::test]
async fn who_logs_in_has_a_token_with_all_that_the_account_may() {
    let test = TestApp::start(&[("POSTRIDER_ACCOUNTS__SESSION_TTL", "1h")]).await;
    let id = shop(&test).await;
    let answer = try_log_in(&test, " shop ", "correct horse", HERE).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    assert_eq!(answer.headers["cache-control"], "no-store");
    let token = answer.body["token"].as_str().unwrap();
    let claims = token::verify(&test.app.keys, token, unix_ms()).unwrap();
    assert_eq!(claims.account_id(), Some(id));
    assert!(claims.grants(Grant::Send) && claims.grants(Grant::Numbers));
    assert!(!claims.grants(Grant::Admin) && !claims.grants(Grant::OnBehalf));
    let ends =
        crate::http::clock::parse_rfc3339(answer.body["expires_at"].as_str().unwrap()).unwrap();
    let left = ends - crate::http::clock::unix_ms();
    assert!((3_590_000..=3_600_000).contains(&left), "{left}");
    assert_eq!(test.get("/v1/accounts/me", token).await.body["id"], id);

    test.app.database.ensure_account("shop", Role::Admin, 0).await.unwrap();
    test.app.database.set_grants(id, None, Some(true), 0).await.unwrap();
    let answer = try_log_in(&test, "shop", "correct horse", HERE).await;
    let claims =
        token::verify(&test.app.keys, answer.body["token"].as_str().unwrap(), unix_ms()).unwrap();
    assert!(claims.grants(Grant::Admin) && claims.grants(Grant::OnBehalf));
}

#[tokio::test]
async fn nothing_tells_whether_there_is_such_an_account() {
    let test = TestApp::start(&[("POSTRIDER_ACCOUNTS__LOGIN_LIMITS__ACCOUNT", "10/10m")]).await;
    shop(&test).await;
    test.app.database.ensure_account("keys-only", Role::Account, 0).await.unwrap();
    let wrong = try_log_in(&test, "shop", "wrong horse", "203.0.113.1").await;
    assert_eq!(wrong.problem(), (401, "credentials_invalid"));
    for (name, ip) in [
        ("keys-only", "203.0.113.2"),
        ("nobody", "203.0.113.3"),
        ("no\0body", "203.0.113.4"),
        ("Shop", "203.0.113.5"),
    ] {
        let other = try_log_in(&test, name, "wrong horse", ip).await;
        let (mut expected, found) = (told(&wrong), told(&other));
        if name == "Shop" {
            // Names that differ in their case alone count as one.
            expected.1 = found.1.clone();
        }
        assert_eq!(found, expected, "{name:?}");
    }
    // Nor whether it is limited.
    let mut limited = Vec::new();
    for name in ["shop", "keys-only", "nobody"] {
        for n in 0..12 {
            limited.push(try_log_in(&test, name, "wrong horse", &format!("198.51.100.{n}")).await);
        }
    }
    let words: Vec<_> = limited.iter().map(|answer| answer.problem().1.to_owned()).collect();
    assert_eq!(words[0..12].iter().filter(|word| *word == "login_limited").count(), 4);
    assert_eq!(words[12..24], words[24..36], "an account without a password and none");
}

#[tokio::test]
async fn time_does_not_tell_whether_there_is_such_an_account() {
    let unlimited = [
        ("POSTRIDER_ACCOUNTS__LOGIN_LIMITS__ACCOUNT_IP", ""),
        ("POSTRIDER_ACCOUNTS__LOGIN_LIMITS__ACCOUNT", ""),
        ("POSTRIDER_ACCOUNTS__LOGIN_LIMITS__IP", ""),
    ];
    let test = TestApp::start(&unlimited).await;
    shop(&test).await;
    test.app.database.ensure_account("keys-only", Role::Account, 0).await.unwrap();
    let wrong = async |name| {
        let begun = Instant::now();
        let answer = try_log_in(&test, name, "wrong horse", HERE).await;
        assert_eq!(answer.problem(), (401, "credentials_invalid"));
        begun.elapsed().as_secs_f64()
    };
    for other in ["nobody", "keys-only"] {
        // What else the machine does weighs on a pair alike, and on some pairs more than on others: a difference that
        // is there shows each time, one that is chance does not.
        let mut seen = Vec::new();
        for _ in 0..4 {
            let mut ratios = Vec::new();
            for _ in 0..15 {
                ratios.push(wrong("shop").await / wrong(other).await);
            }
            ratios.sort_by(f64::total_cmp);
            seen.push(ratios[7]);
            if (1.0 / 1.5..1.5).contains(&ratios[7]) {
                break;
            }
        }
        assert!((1.0 / 1.5..1.5).contains(seen.last().unwrap()), "{other}: {seen:?}");
    }
}

#[tokio::test]
async fn fifty_wrong_tries_at_once_are_no_more_than_the_limit() {
    let test = TestApp::start(&[("POSTRIDER_ACCOUNTS__LOGIN_LIMITS__ACCOUNT", "10/10m")]).await;
    let id = shop(&test).await;
    let tries = (0..50).map(|n| {
        let ip = format!("198.51.100.{n}");
        let test = &test;
        async move { try_log_in(test, "shop", "wrong horse", &ip).await }
    });
    let answers = join_all(tries).await;
    let wrong = answers.iter().filter(|answer| answer.status == StatusCode::UNAUTHORIZED);
    assert_eq!(wrong.count(), 10);
    let limited: Vec<_> =
        answers.iter().filter(|answer| answer.status != StatusCode::UNAUTHORIZED).collect();
    assert_eq!(limited.len(), 40);
    for answer in limited {
        assert_eq!(answer.problem(), (429, "login_limited"));
        let wait: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((590..=600).contains(&wait), "{wait}");
        assert!(
            answer.headers["ratelimit-policy"]
                .to_str()
                .unwrap()
                .contains(r#""account-600s";q=10;w=600"#)
        );
        assert!(answer.headers["ratelimit"].to_str().unwrap().contains(r#""account-600s";r=0;t="#));
    }
    // The right password is refused too, until the window has passed: it would be a try like any other.
    assert_eq!(
        try_log_in(&test, "shop", "correct horse", HERE).await.problem(),
        (429, "login_limited")
    );

    let rows = async |account| loop {
        let rows = test.app.database.refusals(account, 100).await.unwrap();
        let times: i64 = rows.iter().map(|row| row.times).sum();
        assert!(account.is_some() || rows.len() <= 10, "one a batch: {rows:?}");
        if times == if account.is_some() { 10 } else { 41 } {
            return rows;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    for (account, rule) in [(Some(id), "credentials_invalid"), (None, "login_limited")] {
        for row in rows(account).await {
            assert_eq!((row.kind.as_str(), row.rule.as_str()), ("login", rule));
            // What is limited is only counted: whoever may ask without a token doesn't fill the table.
            assert_eq!(row.client_ip.is_some() && row.request_id.is_some(), account.is_some());
            assert!(!format!("{row:?}").contains("shop"), "what was typed is kept nowhere");
        }
    }
}

#[tokio::test]
async fn failures_from_one_address_lock_nobody_out_from_another() {
    let test = TestApp::start(&[("POSTRIDER_ACCOUNTS__LOGIN_LIMITS__IP", "")]).await;
    shop(&test).await;
    for attacker in 1..=9 {
        let ip = format!("198.51.100.{attacker}");
        for n in 0..11 {
            let expected =
                if n < 10 { (401, "credentials_invalid") } else { (429, "login_limited") };
            let failed = try_log_in(&test, "shop", "wrong horse", &ip).await;
            assert_eq!(failed.problem(), expected, "{attacker}, {n}");
        }
        let limited = try_log_in(&test, "shop", "correct horse", &ip).await;
        assert_eq!(limited.problem(), (429, "login_limited"));
        let policy = limited.headers["ratelimit-policy"].to_str().unwrap();
        assert_eq!(policy, r#""account-ip-600s";q=10;w=600, "account-3600s";q=100;w=3600"#);
        let wait: u64 = limited.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=600).contains(&wait), "{wait}");
        let owner = try_log_in(&test, "shop", "correct horse", HERE).await;
        assert_eq!(owner.status, StatusCode::CREATED, "{attacker}");
    }
    // A hundred an hour from anywhere is the most that one name is worth.
    for attacker in 0..10 {
        let ip = format!("198.51.101.{attacker}");
        let failed = try_log_in(&test, "shop", "wrong horse", &ip).await;
        assert_eq!(failed.problem(), (401, "credentials_invalid"));
    }
    let owner = try_log_in(&test, "shop", "correct horse", HERE).await;
    assert_eq!(owner.problem(), (429, "login_limited"));
    let wait: u64 = owner.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((3000..=3600).contains(&wait), "{wait}");
}

#[tokio::test]
async fn right_log_ins_count_for_nothing() {
    let test = TestApp::start(&[
        ("POSTRIDER_ACCOUNTS__LOGIN_LIMITS__ACCOUNT", "3/10m"),
        ("POSTRIDER_ACCOUNTS__LOGIN_LIMITS__IP", "3/10m"),
    ])
    .await;
    shop(&test).await;
    for _ in 0..2 {
        assert_eq!(try_log_in(&test, "shop", "wrong horse", HERE).await.problem().0, 401);
    }
    for _ in 0..5 {
        let right = try_log_in(&test, "shop", "correct horse", HERE).await;
        assert_eq!(right.status, StatusCode::CREATED);
    }
    assert_eq!(try_log_in(&test, "shop", "wrong horse", HERE).await.problem().0, 401);
    assert_eq!(try_log_in(&test, "shop", "correct horse", HERE).await.problem().0, 429);
}

#[tokio::test]
async fn an_address_is_limited_whatever_the_name_and_v6_by_its_network() {
    let test = TestApp::start(&[("POSTRIDER_ACCOUNTS__LOGIN_LIMITS__IP", "3/10m")]).await;
    for n in 0..3 {
        let ip = format!("2001:db8:1:2::{n}");
        let answer = try_log_in(&test, &format!("name{n}"), "wrong horse", &ip).await;
        assert_eq!(answer.problem(), (401, "credentials_invalid"));
    }
    let limited = try_log_in(&test, "name4", "wrong horse", "2001:db8:1:2:ffff::1").await;
    assert_eq!(limited.problem(), (429, "login_limited"));
    assert!(limited.headers["ratelimit-policy"].to_str().unwrap().starts_with(r#""ip-600s";q=3"#));
    let other = try_log_in(&test, "name4", "wrong horse", "2001:db8:1:3::1").await;
    assert_eq!(other.problem(), (401, "credentials_invalid"));
}

#[tokio::test]
async fn white_space_and_case_make_no_other_name_of_it() {
    let test = TestApp::start(&[("POSTRIDER_ACCOUNTS__LOGIN_LIMITS__ACCOUNT", "5/10m")]).await;
    let names = ["shop", "Shop", " shop", "shop ", " SHOP\u{3000}", "shop"];
    for (n, name) in names.iter().enumerate() {
        let answer = try_log_in(&test, name, "wrong horse", &format!("198.51.100.{n}")).await;
        let expected = if n < 5 { (401, "credentials_invalid") } else { (429, "login_limited") };
        assert_eq!(answer.problem(), expected, "{name:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_flood_of_log_ins_is_bounded_and_holds_up_no_send() {
    let unlimited = [
        ("POSTRIDER_ACCOUNTS__LOGIN_LIMITS__ACCOUNT_IP", ""),
        ("POSTRIDER_ACCOUNTS__LOGIN_LIMITS__ACCOUNT", ""),
        ("POSTRIDER_ACCOUNTS__LOGIN_LIMITS__IP", ""),
        ("POSTRIDER_SERVER__REQUEST_TIMEOUT", "120s"),
    ];
    let test = TestApp::start(&unlimited).await;
    let token = test.token("shop", &Grant::USUAL).await;
    let flood = async {
        let tries = (0..400).map(|_| try_log_in(&test, "nobody", "wrong horse", HERE));
        join_all(tries).await
    };
    let sends = async {
        let mut took = Vec::new();
        for n in 0..20 {
            let body = json!({ "phone": format!("138000000{n:02}"), "purpose": "login" });
            let begun = Instant::now();
            let answer = test.call(Method::POST, "/v1/verifications", &token, HERE, &body).await;
            took.push(begun.elapsed());
            assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.body);
        }
        took.sort();
        took[took.len() / 2]
    };
    let (answers, usual) = tokio::join!(flood, sends);
    let (overloaded, tried): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| answer.status == StatusCode::SERVICE_UNAVAILABLE);
    assert!(!overloaded.is_empty() && !tried.is_empty());
    assert!(overloaded.iter().all(|answer| answer.problem() == (503, "overloaded")));
    assert!(tried.iter().all(|answer| answer.problem() == (401, "credentials_invalid")));
    assert_eq!(overloaded[0].headers["retry-after"], "1");
    // Hashed where requests are served, each send would wait for hashes before it.
    assert!(usual < Duration::from_secs(1), "{usual:?}");
}

#[tokio::test]
async fn a_log_in_that_would_find_no_place_asks_neither_store_nor_database() {
    let test = TestApp::start(&[]).await;
    test.app.passwords.take_every_place();
    test.break_store().await;
    let answer = try_log_in(&test, "shop", "correct horse", HERE).await;
    assert_eq!(answer.problem(), (503, "overloaded"));
}

#[tokio::test]
async fn a_flood_that_finds_no_place_is_not_counted() {
    let test = TestApp::start(&[]).await;
    test.run("ALTER TABLE account RENAME TO gone").await;
    for _ in 0..12 {
        let answer = try_log_in(&test, "shop", "correct horse", HERE).await;
        assert_eq!(answer.problem(), (503, "database_unavailable"));
    }
    test.run("ALTER TABLE gone RENAME TO account").await;
    shop(&test).await;
    let right = try_log_in(&test, "shop", "correct horse", HERE).await;
    assert_eq!(right.status, StatusCode::CREATED, "what we failed at counts for nobody");
}

#[tokio::test]
async fn a_body_that_is_no_log_in_is_named() {
    let test = TestApp::start(&[]).await;
    for (body, field) in [
        (json!({ "username": "shop" }), "password"),
        (json!({ "password": "correct horse" }), "username"),
        (json!({ "username": "shop", "password": "x".repeat(257) }), "password"),
        (
            json!({ "username": "shop", "password": "correct horse", "client_ip": HERE }),
            "client_ip",
        ),
    ] {
        let answer = test.call(Method::POST, "/v1/sessions", "", HERE, &body).await;
        assert_eq!(answer.problem(), (422, "fields_invalid"));
        assert_eq!(answer.body["errors"][0]["field"], field);
        assert!(!answer.body.to_string().contains("correct horse"));
    }
}
