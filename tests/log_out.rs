//! A log-out, and an API key's end, at one replica is one at all of them, at once and for good: two real API processes on
//! real services.

use serde_json::json;

use crate::harness::eventually;
use crate::harness::processes::{Client, Process, Settings, api_command, settings, token};
use crate::harness::services::{self, Redis};

pub(super) struct Replicas {
    pub(super) one: Client,
    pub(super) other: Client,
    pub(super) settings: Settings,
    pub(super) redis: Redis,
    pub(super) processes: [Process; 2],
}

pub(super) async fn start() -> Replicas {
    let redis = services::redis().await;
    let settings = settings(&[
        ("AMQP_URL", &services::rabbitmq().await.url()),
        ("REDIS_URL", &redis.url()),
        ("DATABASE_URL", services::postgres().await.url()),
        ("POSTRIDER_SECRET", "a-secret-of-the-tests-of-more-than-32-bytes"),
        ("POSTRIDER_SANDBOX", "1"),
    ]);
    assert!(api_command(&settings).arg("migrate").output().unwrap().status.success());
    let mut processes = [Process::api(settings.clone()), Process::api(settings.clone())];
    let token = token(&settings, &["--account", "shop"]);
    let [one, other] = &mut processes;
    let (one, other) =
        (Client::new(one.url().await, token.clone()), Client::new(other.url().await, token));
    for client in [&one, &other] {
        eventually("the API to be ready", || async {
            (client.get("/readyz").await.0 == 200).then_some(())
        })
        .await;
    }
    Replicas { one, other, settings, redis, processes }
}

/// What a read and a send answer: status and, of a refusal, its word.
pub(super) async fn read_and_send(client: &Client, phone: &str) -> [(u16, String); 2] {
    let word = |(status, body): (u16, serde_json::Value)| {
        (status, body["code"].as_str().unwrap_or_default().to_owned())
    };
    [word(client.get("/v1/messages").await), word(client.send_code(phone).await)]
}

#[tokio::test]
async fn a_token_logged_out_at_one_replica_is_refused_by_the_other_at_once_and_for_good() {
    let it = start().await;
    let fine = [(200, String::new()), (202, String::new())];
    let refused = [(401, "token_invalid".to_owned()), (401, "token_invalid".to_owned())];
    // Both know the account by now, and neither needs the table for it.
    assert_eq!(read_and_send(&it.one, "13800138000").await, fine);
    assert_eq!(read_and_send(&it.other, "13800138001").await, fine);
    assert_eq!(it.one.delete("/v1/sessions/current").await.0, 204);
    assert_eq!(read_and_send(&it.other, "13800138002").await, refused);
    assert_eq!(read_and_send(&it.one, "13800138002").await, refused);

    // A process that never heard of it, and a Redis that lost everything.
    let mut third = Process::api(it.settings.clone());
    let third_client = Client::new(third.url().await, it.one.token.clone());
    it.redis.empty().await;
    for client in [&it.one, &it.other, &third_client] {
        let said = eventually("an answer that isn't 503", || async {
            let said = read_and_send(client, "13800138002").await;
            assert!(said.iter().all(|(status, _)| [401, 503].contains(status)), "{said:?}");
            (!said.iter().any(|(status, _)| *status == 503)).then_some(said)
        });
        assert_eq!(said.await, refused);
    }

    let shop = Client::new(it.one.url.clone(), token(&it.settings, &["--account", "shop"]));
    assert_eq!(read_and_send(&shop, "13800138003").await, fine, "other tokens live");
    let other = Client::new(it.other.url.clone(), shop.token.clone());
    assert_eq!(read_and_send(&other, "13800138004").await, fine);
    let admin = token(&it.settings, &["--account", "root", "--admin"]);
    let admin = Client::new(it.one.url.clone(), admin);
    let path = format!("/v1/accounts/{}/sessions", account_of(&shop.token));
    assert_eq!(admin.delete(&path).await.0, 204);
    assert_eq!(read_and_send(&other, "13800138005").await, refused);
    assert_eq!(admin.get("/v1/queues").await.0, 200);
}

#[tokio::test]
async fn a_key_made_or_deleted_at_one_replica_is_so_at_the_other_at_once() {
    let it = start().await;
    // The other one knows the account from before the key.
    assert_eq!(it.other.get("/v1/messages").await.0, 200);
    let asked = json!({ "name": "shop", "scopes": ["send", "read"] });
    let (status, made) = it.one.post("/v1/api-keys", &asked).await;
    assert_eq!(status, 201, "{made}");
    let key = made["key"].as_str().unwrap();
    let with_key = Client::new(it.other.url.clone(), key.to_owned());
    let said = read_and_send(&with_key, "13800138000").await;
    assert_eq!(said, [(200, String::new()), (202, String::new())]);
    let path = format!("/v1/api-keys/{}", made["id"].as_str().unwrap());
    assert_eq!(it.one.delete(&path).await.0, 204);
    let refused = (401, "token_invalid".to_owned());
    let said = read_and_send(&with_key, "13800138001").await;
    assert_eq!(said, [refused.clone(), refused]);
    let logs = it.processes.iter().map(Process::output).collect::<String>();
    assert!(!logs.contains(&key[..20]), "no log holds a key");
}

/// The account that a token names.
fn account_of(token: &str) -> String {
    let claims = jsonwebtoken::dangerous::insecure_decode::<serde_json::Value>(token).unwrap();
    claims.claims["sub"].as_str().unwrap().to_owned()
}
