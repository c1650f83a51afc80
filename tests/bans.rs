//! A ban at one replica is one at all of them, at once, and also after Redis lost its data.

use serde_json::{Value, json};

use crate::harness::eventually;
use crate::harness::processes::{Client, token};
use crate::log_out::{Replicas, start};

const PATH: &str = "/v1/blacklist";

async fn word(client: &Client, phone: &str, ip: &str) -> (u16, String) {
    let body = json!({"phone": phone, "purpose": "login", "client_ip": ip});
    let (status, body) = client.post("/v1/verifications", &body).await;
    (status, body["code"].as_str().unwrap_or_default().to_owned())
}

/// The same callers at both replicas: a back end and an operator.
fn callers(it: &Replicas) -> [(Client, Client); 2] {
    let back_end = token(&it.settings, &["--account", "back-end", "--scope", "on_behalf"]);
    let ops = token(&it.settings, &["--account", "ops", "--admin"]);
    [&it.one, &it.other].map(|replica| {
        let of = |token: &String| Client::new(replica.url.clone(), token.clone());
        (of(&back_end), of(&ops))
    })
}

fn blocked(what: &str) -> (u16, String) {
    (403, format!("{what}_blocked"))
}

#[tokio::test]
async fn a_ban_and_its_end_work_at_once_on_every_replica() {
    let it = start().await;
    let [(one, ops), (other, other_ops)] = callers(&it);
    let (phone, ip) = ("13800138000", "203.0.113.7");
    for (ban, what) in [
        (json!({"kind": "phone", "value": phone, "reason": "x"}), "phone"),
        (json!({"kind": "cidr", "value": "203.0.113.0/24", "reason": "x"}), "ip"),
    ] {
        assert_eq!(ops.post(PATH, &ban).await.0, 201);
        assert_eq!(word(&other, phone, ip).await, blocked(what));
        assert_eq!(word(&one, phone, ip).await, blocked(what));
        it.redis.empty().await;
        let refused = eventually("Redis to have its bans again", || async {
            let answer = word(&other, phone, ip).await;
            assert_ne!(answer.0, 202, "nobody gets through before they are back");
            (answer.0 != 503).then_some(answer)
        })
        .await;
        assert_eq!(refused, blocked(what));
        assert_eq!(other_ops.delete_with(PATH, &ban).await.0, 204);
    }
    assert_eq!(word(&one, phone, ip).await.0, 202);
    let (_, changes) = other_ops.get("/v1/blacklist/changes").await;
    let actions: Vec<&Value> =
        changes["items"].as_array().unwrap().iter().map(|change| &change["action"]).collect();
    assert_eq!(actions, ["lifted", "banned", "lifted", "banned"]);
}

#[tokio::test]
async fn failures_at_either_replica_add_up_to_one_ban_that_redis_cannot_lose() {
    let it = start().await;
    let [(one, ops), (other, _)] = callers(&it);
    let ip = "203.0.113.7";
    let phone = |n: u32| format!("1380013{n:04}");
    for n in 0..10 {
        let (replica, another) = if n % 2 == 0 { (&one, &other) } else { (&other, &one) };
        assert_eq!(word(replica, &phone(n), "203.0.113.9").await.0, 202);
        for replica in [replica, another] {
            let refused = word(replica, &phone(0), ip).await;
            assert_eq!(refused, (429, "phone_limited".to_owned()), "one phone counts once");
        }
        if n < 9 {
            assert_eq!(word(another, &phone(n), ip).await, (429, "phone_limited".to_owned()));
        }
    }
    assert_eq!(word(&one, &phone(9), ip).await, (429, "phone_limited".to_owned()), "the tenth");
    assert_eq!(word(&one, "13800139001", ip).await, blocked("ip"));
    assert_eq!(word(&other, "13800139001", ip).await, blocked("ip"));
    eventually("the ban to be in the table", || async {
        let (_, list) = ops.get(PATH).await;
        (list["items"][0]["value"] == ip).then_some(())
    })
    .await;
    it.redis.empty().await;
    let refused = eventually("Redis to have its bans again", || async {
        let answer = word(&other, "13800139001", ip).await;
        (answer.0 != 503).then_some(answer)
    })
    .await;
    assert_eq!(refused, blocked("ip"));
    let elsewhere = word(&other, "13800139001", "203.0.113.8").await;
    assert_eq!(elsewhere.0, 202, "no phone was banned with it");
}
