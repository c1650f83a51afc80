//! Ready means that a message could be accepted, or sent, now.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::distributed::{Alone, Distributed, start};
use crate::harness::eventually;
use crate::harness::processes::Process;

/// A silent connection is given up after two heartbeats, which are 10 s apart.
const BEFORE_HEARTBEATS_TELL: Duration = Duration::from_secs(15);

/// What `/readyz` of the API and of a worker answer.
struct Probes {
    urls: [String; 2],
    http: reqwest::Client,
    _worker: Process,
}

impl Probes {
    fn new(it: &Distributed) -> Self {
        let (worker, url) = Process::watched_worker(it.settings.clone());
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { urls: [it.client.url.clone(), url], http, _worker: worker }
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
    for (begin, end) in [
        ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
        // A primary that was demoted: it answers reads as before.
        ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"),
    ] {
        it.redis.command(begin).await;
        let (status, body) = it.client.send_code("13800138000").await;
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
