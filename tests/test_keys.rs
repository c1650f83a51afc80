//! A test key never reaches a provider, and what it sends lives apart.

use serde_json::{Value, json};

use crate::distributed::{Alone, Distributed, start};
use crate::harness::processes::Client;

const FIXED: &str = "123456";

impl Distributed {
    /// A caller of the same account, with a new API key.
    async fn with_key(&self, test: bool) -> Client {
        let body = json!({"name": "a key", "scopes": ["send", "verify", "read"], "test": test});
        let (status, made) = self.client.post("/v1/api-keys", &body).await;
        assert_eq!(status, 201, "{made}");
        let key = made["key"].as_str().unwrap();
        assert!(key.starts_with(if test { "pk_test_" } else { "pk_live_" }), "{made}");
        Client::new(self.client.url.clone(), key.to_owned())
    }
}

fn word(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["code"].as_str().unwrap_or_default())
}

async fn sent(client: &Client, phone: &str) -> String {
    let (status, sent) = client.send_code(phone).await;
    assert_eq!(status, 202, "{sent}");
    sent["message_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_a_test_key_sends_reaches_the_sandbox_and_no_provider() {
    let it = start(Alone::default()).await;
    let (live, test) = (it.with_key(false).await, it.with_key(true).await);
    let of_test = sent(&test, "13800138000").await;
    // The limit of one a minute is the live number's own: neither counts for the other.
    let of_live = sent(&live, "13800138000").await;
    let notice =
        json!({"template": "parcel", "params": {"number": "7"}, "phones": ["13800138001"]});
    let (status, notice) = test.post("/v1/notices", &notice).await;
    assert_eq!(status, 202, "{notice}");
    let notice = notice["accepted"][0]["id"].as_str().unwrap();

    let message = test.message_once(&of_test, "sent").await;
    assert_eq!((&message["test"], &message["provider"]), (&json!(true), &json!("test")));
    test.message_once(notice, "sent").await;
    let message = live.message_once(&of_live, "sent").await;
    assert_eq!((&message["test"], &message["provider"]), (&json!(false), &json!("main")));
    let handed: Vec<_> = it.provider.handed().into_iter().map(|call| call.out_id).collect();
    assert_eq!(handed, [of_live.as_str()], "the provider saw the live one alone");
    assert_eq!(test.sandbox_code(&of_test).await, FIXED);

    // Neither sees what is the other's, though they are one account's.
    assert_eq!(live.get(&format!("/v1/messages/{of_test}")).await.0, 404);
    assert_eq!(test.get(&format!("/v1/messages/{of_live}")).await.0, 404);
    for (client, theirs) in [(&live, &of_live), (&test, &of_test)] {
        let (_, list) = client.get("/v1/messages?phone=13800138000").await;
        let ids: Vec<_> = list["messages"].as_array().unwrap().iter().map(|m| &m["id"]).collect();
        assert_eq!(ids, [&json!(theirs)]);
    }
}

#[tokio::test]
async fn the_fixed_code_approves_no_live_verification() {
    let it = start(Alone::default()).await;
    let (live, test) = (it.with_key(false).await, it.with_key(true).await);
    let phone = "13800138000";
    let (_, of_live) = live.send_code(phone).await;
    assert_eq!(word(&test.check(phone, FIXED).await), (404, "verification_not_found"));
    let by_id = json!({"id": of_live["id"], "code": FIXED});
    let answer = test.post("/v1/verifications/check", &by_id).await;
    assert_eq!(word(&answer), (404, "verification_not_found"));

    sent(&test, phone).await;
    live.message_once(of_live["message_id"].as_str().unwrap(), "sent").await;
    let params = it.provider.handed_for(of_live["message_id"].as_str().unwrap())[0].params.clone();
    let code: Value = serde_json::from_str(&params).unwrap();
    let code = code["code"].as_str().unwrap();
    if code != FIXED {
        assert_eq!(word(&live.check(phone, FIXED).await), (422, "code_mismatch"));
        assert_eq!(word(&test.check(phone, code).await), (422, "code_mismatch"));
    }
    assert_eq!(test.check(phone, FIXED).await.0, 200);
    assert_eq!(live.check(phone, code).await.0, 200, "and the test's approval didn't use it");
}

#[tokio::test]
async fn magic_numbers_give_each_outcome() {
    let it = start(Alone::default()).await;
    let test = it.with_key(true).await;
    for (phone, status) in [
        ("13800000001", "failed"),
        ("13800000002", "unknown"),
        ("13800000003", "sent"),
        ("13800000004", "retrying"),
    ] {
        let id = sent(&test, phone).await;
        let message = test.message_once(&id, status).await;
        assert_eq!(message["test"], json!(true), "{message}");
    }
    assert_eq!(it.provider.handed().len(), 0);
}

#[tokio::test]
async fn test_keys_have_small_limits_of_their_own() {
    let it = start(Alone::default()).await;
    let (live, test) = (it.with_key(false).await, it.with_key(true).await);
    let mut refused = None;
    for n in 0..61 {
        let answer = test.send_code(&format!("1380013{n:04}")).await;
        if answer.0 != 202 {
            refused = Some((n, word(&answer).1.to_owned()));
            break;
        }
    }
    assert_eq!(refused, Some((60, "account_limited".to_owned())));
    sent(&live, "13800139999").await;
}
