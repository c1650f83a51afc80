//! Ready means that a message could be accepted, or sent, now.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::distributed::{Alone, Distributed, start};
use crate::harness::eventually;
use crate::harness::processes::{Client, Process};

/// A silent connection is given up after two heartbeats, which are 10 s apart.
const BEFORE_HEARTBEATS_TELL: Duration = Duration::from_secs(15);

/// What `/readyz` of the API and of a worker answer.
struct Probes {
    urls: [String; 2],
    http: reqwest::Client,
    worker: Process,
}

impl Probes {
    fn new(it: &Distributed) -> Self {
        Self::of(it, it.client.url.clone())
    }

    /// Of this API, and of a worker that is started for it.
    fn of(it: &Distributed, api: String) -> Self {
        let (worker, url) = Process::watched_worker(it.settings.clone());
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { urls: [api, url], http, worker }
    }

    async fn answers(&self) -> Vec<(u16, Value)> {
        let mut answers = Vec::new();
        for url in &self.urls {
            let Ok(answer) = self.http.get(format!("{url}/readyz")).send().await else { continue };
            answers.push((answer.status().as_u16(), answer.json().await.unwrap()));
        }
        answers
    }

    /// Waits until both answer so.
    async fn eventually(&self, what: &str, status: u16, part: &str, word: &str) -> Vec<Value> {
        let is_so = |answers: &[(u16, Value)]| {
            let so = |(s, body): &(u16, Value)| *s == status && body[part] == json!(word);
            answers.len() == 2 && answers.iter().all(so)
        };
        eventually(what, async || {
            let answers = self.answers().await;
            is_so(&answers).then(|| answers.into_iter().map(|(_, body)| body).collect())
        })
        .await
    }
}

#[tokio::test]
async fn unready_while_redis_takes_no_writes() {
    let it = start(Alone::default()).await;
    let probes = Probes::new(&it);
    probes.eventually("both to be ready", 200, "store", "up").await;
    // Limits with entries to clean up: a write that Redis takes also while it is full.
    assert_eq!(it.client.send_code("13800138001").await.0, 202);
    for (begin, end) in [
        ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
        // A primary that was demoted: it answers reads as before.
        ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"),
    ] {
        it.redis.command(begin).await;
        let (status, body) = it.client.send_code("13800138000").await;
        assert_eq!((status, &body["code"]), (503, &json!("store_unavailable")), "{body}");
        let (status, body) = it.client.send_code("13800138001").await;
        assert_eq!((status, &body["code"]), (503, &json!("store_unavailable")), "{body}");
        probes.eventually(begin, 503, "store", "down").await;
        it.redis.command(end).await;
        probes.eventually(end, 200, "store", "up").await;
    }
    assert_eq!(it.client.send_code("13800138000").await.0, 202);
}

#[tokio::test]
async fn unready_while_the_broker_confirms_nothing() {
    let it = start(Alone::default()).await;
    let probes = Probes::new(&it);
    probes.eventually("both to be ready", 200, "queue", "up").await;
    // The connections stay up, and what is published is lost on the way.
    it.api_wire.swallow();
    it.worker_wire.swallow();
    let begun = Instant::now();
    probes.eventually("both to be unready", 503, "queue", "down").await;
    assert!(begun.elapsed() < BEFORE_HEARTBEATS_TELL, "{:?}", begun.elapsed());
    it.api_wire.pass();
    it.worker_wire.pass();
    probes.eventually("both to be ready again", 200, "queue", "up").await;
}

#[tokio::test]
async fn unready_where_redis_may_evict_keys() {
    let it = start(Alone::default()).await;
    it.redis.command("CONFIG SET maxmemory 1gb").await;
    it.redis.command("CONFIG SET maxmemory-policy allkeys-lru").await;
    // What is there already looks once a minute.
    let mut api = Process::api(it.settings.clone());
    let url = api.url().await;
    let probes = Probes::of(&it, url);
    for body in probes.eventually("both to be unready", 503, "store", "unfit").await {
        let reason = body["reason"].as_str().unwrap();
        assert!(reason.contains("maxmemory-policy") && reason.contains("allkeys-lru"), "{body}");
    }
    for process in [&api, &probes.worker] {
        let log = process.output();
        assert!(log.contains("maxmemory-policy is allkeys-lru"), "{log}");
        assert!(!log.contains("append-only"), "{log}");
    }

    let mut allowed = it.settings.clone();
    allowed.insert("POSTRIDER_STORE__ALLOW_EVICTION".to_owned(), "true".to_owned());
    it.redis.command("CONFIG SET appendonly no").await;
    let mut api = Process::api(allowed);
    let client = Client::new(api.url().await, String::new());
    eventually("it to be ready", async || (client.get("/readyz").await.0 == 200).then_some(()))
        .await;
    let log = api.output();
    assert_eq!(log.matches("no append-only file").count(), 1, "{log}");
}

#[tokio::test]
async fn says_which_settings_redis_does_not_tell() {
    let it = start(Alone::default()).await;
    it.redis.command("ACL SETUSER limited on >secret ~* +@all -info -config").await;
    let mut limited = it.settings.clone();
    let redis = it.redis.url().replace("redis://", "redis://limited:secret@");
    limited.insert("REDIS_URL".to_owned(), redis);
    let mut api = Process::api(limited);
    let client = Client::new(api.url().await, String::new());
    eventually("it to be ready", async || (client.get("/readyz").await.0 == 200).then_some(()))
        .await;
    let log = api.output();
    let line = log.lines().find(|line| line.contains("were not checked")).unwrap();
    for setting in ["maxmemory-policy", "appendonly", "role"] {
        assert!(line.contains(setting), "{line}");
    }
}
