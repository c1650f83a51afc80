//! Each phone's fate, repeats, and what is wrong with a list.

use super::*;
use crate::auth::token::Grant;
use crate::testing::{Answer, TestApp};
use axum::http::Request;
use serde_json::Value;
use std::sync::Arc;

const TEMPLATES: (&str, &str) =
    ("POSTRIDER_TEMPLATES__SHIPPED__TEXT", "[{sign}] {order} is on its way");

fn body(phones: &[String]) -> Value {
    json!({"template": "shipped", "params": {"order": "7"}, "phones": phones})
}

fn phones(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("138001{n:05}")).collect()
}

async fn post(test: &TestApp, token: &str, key: Option<&str>, body: &Value) -> Answer {
    let mut request = Request::post("/v1/notices")
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json");
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    let router = crate::routes::router::app(Arc::clone(&test.app));
    crate::testing::ask(router, request.body(body.to_string().into()).unwrap()).await
}

fn ids(answer: &Answer) -> Vec<&str> {
    let accepted = answer.body["accepted"].as_array().unwrap();
    accepted.iter().map(|message| message["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_thousand_phones_are_queued_once_each() {
    let test = TestApp::start(&[TEMPLATES]).await;
    let token = test.token("shop", &[Grant::Send]).await;
    let sent = post(&test, &token, Some("campaign"), &body(&phones(MOST_PHONES))).await;
    assert_eq!(sent.status, StatusCode::ACCEPTED, "{}", sent.body);
    assert_eq!(sent.body["accepted"][7]["phone"], "13800100007");
    assert_eq!(sent.body["rejected"], json!([]));
    let again = post(&test, &token, Some("campaign"), &body(&phones(MOST_PHONES))).await;
    assert_eq!(ids(&again), ids(&sent), "a repeat is the same messages");
    let distinct: HashSet<_> = ids(&sent).into_iter().collect();
    assert_eq!(distinct.len(), MOST_PHONES);
    let depths = test.app.queue.depths().await.unwrap();
    let ready = depths.iter().find(|depth| depth.queue == Lane::Notice.queue()).unwrap().ready;
    assert_eq!(ready, 1000, "and nothing is queued twice");

    let other = post(&test, &token, Some("campaign"), &body(&phones(2))).await;
    assert_eq!(other.problem(), (422, "idempotency_key_reused"));
    let stranger = test.token("stranger", &[Grant::Send]).await;
    let foreign = post(&test, &stranger, Some("campaign"), &body(&phones(2))).await;
    assert_eq!(foreign.status, StatusCode::ACCEPTED, "a key is its account's own");
    assert!(!ids(&sent).contains(&ids(&foreign)[0]));
}

#[tokio::test]
async fn each_phone_has_its_own_fate() {
    let limit = ("POSTRIDER_LIMITS__NOTICE__ACCOUNT", "3/60s");
    let test = TestApp::start(&[TEMPLATES, limit]).await;
    let admin = test.token("ops", &[Grant::Admin]).await;
    let ban = json!({"kind": "phone", "value": "13800100001", "reason": "x"});
    test.post("/v1/blacklist", &admin, ban.to_string()).await;
    let token = test.token("shop", &[Grant::Send]).await;
    let mut asked = phones(6);
    asked.extend(["12".to_owned(), "+14155552671".to_owned()]);
    let sent = post(&test, &token, None, &body(&asked)).await;
    assert_eq!(sent.status, StatusCode::ACCEPTED);
    assert!(sent.headers["ratelimit"].to_str().unwrap().starts_with("\"account-60s\""));
    assert_eq!(ids(&sent).len(), 3);
    let rejected = |phone: &str, code: &str| json!({"phone": phone, "code": code});
    assert_eq!(
        sent.body["rejected"],
        json!([
            rejected("13800100001", "phone_blocked"),
            rejected("13800100004", "account_limited"),
            rejected("13800100005", "account_limited"),
            rejected("12", "phone_invalid"),
            rejected("+14155552671", "country_not_allowed"),
        ])
    );
    let id = ids(&sent)[0].to_owned();
    let reader = test.token("shop", &[Grant::Read]).await;
    let message = test.get(&format!("/v1/messages/{id}"), &reader).await;
    assert_eq!(message.body["phone"], "+86138****0000");
}

#[tokio::test]
async fn where_none_is_accepted_the_first_refusal_is_the_answer() {
    let limit = ("POSTRIDER_LIMITS__NOTICE__PHONE", "1/60s");
    let test = TestApp::start(&[TEMPLATES, limit]).await;
    let token = test.token("shop", &[Grant::Send]).await;
    assert_eq!(post(&test, &token, None, &body(&phones(2))).await.status, 202);
    let refused = post(&test, &token, None, &body(&phones(2))).await;
    assert_eq!(refused.problem(), (429, "phone_limited"));
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(refused.body["rejected"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn what_is_wrong_with_the_list_is_named() {
    let test = TestApp::start(&[TEMPLATES]).await;
    let token = test.token("shop", &[Grant::Send]).await;
    let twice = ["13800138000".to_owned(), "+86 138 0013 8000".to_owned()];
    let wrong = post(&test, &token, None, &body(&twice)).await;
    assert_eq!(wrong.problem(), (422, "fields_invalid"));
    assert_eq!(wrong.body["errors"][0]["field"], "phones[1]");
    for phones in [json!([]), json!("13800138000"), json!([1]), json!(phones(1001))] {
        let body = json!({"template": "shipped", "params": {"order": "7"}, "phones": phones});
        let wrong = post(&test, &token, None, &body).await;
        assert_eq!(wrong.problem(), (422, "fields_invalid"));
        assert_eq!(wrong.body["errors"][0]["field"], "phones");
    }
    let both = json!({"template": "shipped", "phone": "13800138000", "phones": ["13800138000"]});
    let wrong = post(&test, &token, None, &both).await;
    assert_eq!(wrong.problem(), (422, "fields_invalid"));
    let error =
        json!({"field": "phone", "code": "conflict", "detail": "give either `phone` or `phones`"});
    assert_eq!(wrong.body["errors"], json!([error]));
}

#[tokio::test]
async fn a_body_of_256_kib_is_read_here_and_nowhere_else() {
    let test = TestApp::start(&[TEMPLATES]).await;
    let token = test.token("shop", &[Grant::Send]).await;
    let padded = |size: usize| format!("{}{}", body(&phones(1)), " ".repeat(size));
    let large = test.post("/v1/notices", &token, padded(255 * 1024)).await;
    assert_eq!(large.status, StatusCode::ACCEPTED, "{}", large.body);
    let too_large = test.post("/v1/notices", &token, padded(256 * 1024)).await;
    assert_eq!(too_large.problem(), (413, "body_too_large"));
    let elsewhere = test.post("/v1/verifications", &token, padded(16 * 1024)).await;
    assert_eq!(elsewhere.problem(), (413, "body_too_large"));
}

#[tokio::test]
async fn a_repeat_after_the_store_lost_its_data_has_the_same_ids() {
    let request = Idempotency { key: "idem:7".to_owned(), fingerprints: Vec::new() };
    let phone = PhoneNumber::from_e164("+8613800138000").unwrap();
    let other = PhoneNumber::from_e164("+8613800138001").unwrap();
    let (first, kept) = of_phone(Some(&request), &phone);
    assert_eq!(of_phone(Some(&request), &phone).0, first);
    assert_ne!(of_phone(Some(&request), &other).0, first);
    assert_ne!(kept.unwrap().key, request.key, "the whole request's entry is another");
    assert_ne!(of_phone(None, &phone).0, of_phone(None, &phone).0);
}
