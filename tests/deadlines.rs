//! What runs out of time: a code that is too late to be used, a connection that never comes.

use std::time::{Duration, Instant};

use crate::distributed::{Alone, Distributed, id_of, phone, start};
use crate::harness::door::Door;
use crate::harness::eventually;
use crate::harness::processes::{Client, Process};
use crate::harness::proxy::Proxy;

/// A code that was accepted while no worker ran and that none gets hold of until [`Held::release`].
struct Held {
    id: String,
    accepted: Instant,
    claim: String,
    redis: redis::aio::MultiplexedConnection,
    _api: Process,
}

impl Held {
    /// Of an API of its own, with these settings beside the usual ones; the worker is then started with them too.
    async fn accepted(it: &mut Distributed, more: &[(&str, &str)]) -> Self {
        it.worker.kill();
        let mut settings = it.settings.clone();
        settings.extend(more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        let mut api = Process::api(settings.clone());
        let client = Client::new(api.url().await, it.client.token.clone());
        let id = eventually("the code to be accepted", || async {
            let (status, body) = client.send_code(&phone(1)).await;
            (status == 202).then(|| id_of(&body))
        })
        .await;
        let accepted = Instant::now();
        let redis = redis::Client::open(it.redis.url()).unwrap();
        let mut redis = redis.get_multiplexed_async_connection().await.unwrap();
        // A claim of another type: the worker gets no answer until it is gone.
        let claim = format!("claim:{id}");
        redis::cmd("LPUSH").arg(&claim).arg("held").exec_async(&mut redis).await.unwrap();
        it.worker = Process::worker(settings);
        Self { id, accepted, claim, redis, _api: api }
    }

    /// Once the worker has asked and so long after the code was accepted.
    async fn release(&self, after: Duration) {
        eventually("its time to come while the worker asks", || async {
            let mut asks = self.redis.clone();
            let errors: String =
                redis::cmd("INFO").arg("errorstats").query_async(&mut asks).await.unwrap();
            (self.accepted.elapsed() > after && errors.contains("WRONGTYPE")).then_some(())
        })
        .await;
        redis::cmd("DEL").arg(&self.claim).exec_async(&mut self.redis.clone()).await.unwrap();
    }
}

#[tokio::test]
async fn a_code_that_the_store_held_up_until_its_deadline_is_not_sent() {
    let mut it = start(Alone::default()).await;
    // It may be handed over for 2 s.
    let held = Held::accepted(&mut it, &[("POSTRIDER_CODE__TTL", "3s")]).await;
    held.release(Duration::from_millis(2_100)).await;
    let rows = it.rows_of(std::slice::from_ref(&held.id)).await;
    assert_eq!(rows, [(held.id.clone(), 0)]);
    assert_eq!(it.provider.handed_for(&held.id).len(), 0, "it would come too late to be used");
}

/// A provider that is slow to let us in: the last look at the clock is before that.
#[tokio::test]
async fn a_code_whose_connection_would_come_after_its_deadline_is_not_sent() {
    let more = vec![("POSTRIDER_PROVIDERS__MAIN__READ_TIMEOUT", "5s")];
    let mut it = start(Alone { more, ..Alone::default() }).await;
    let door = Door::shut().await;
    // It may be handed over for 7.3 s. The worker asks again within a second of 4.5; of who begins to connect then the try
    // 3 s later is after that, and before the time-out.
    let settings = [
        ("POSTRIDER_CODE__TTL", "11s"),
        ("POSTRIDER_PROVIDERS__MAIN__CONNECT_TIMEOUT", "3500ms"),
        ("POSTRIDER_PROVIDERS__MAIN__ENDPOINT", &door.url),
    ];
    let held = Held::accepted(&mut it, &settings).await;
    held.release(Duration::from_millis(4_500)).await;
    assert!(held.accepted.elapsed() < Duration::from_secs(6), "this machine is too slow to tell");
    eventually("the deadline", || async {
        (held.accepted.elapsed() > Duration::from_millis(7_400)).then_some(())
    })
    .await;
    door.open(it.provider.port());
    let rows = it.rows_of(std::slice::from_ref(&held.id)).await;
    assert_eq!(it.provider.handed_for(&held.id).len(), 0, "it would come too late to be used");
    assert_eq!(rows, [(held.id.clone(), 0)]);
}

/// The store says in time that the provider may be called, and is heard too late.
#[tokio::test]
async fn a_code_whose_claim_is_answered_too_late_is_not_sent() {
    let mut it = start(Alone::default()).await;
    // It may be handed over for 667 ms, and a call begin in the first 367 of them. The claim comes to Redis after 200 at
    // the least, and its answer back after 400.
    let (wire, redis) = Proxy::before(&it.redis.url()).await;
    let mut settings = it.settings.clone();
    settings.extend(
        [
            ("REDIS_URL", redis.as_str()),
            ("POSTRIDER_CODE__TTL", "1s"),
            ("POSTRIDER_PROVIDERS__MAIN__CONNECT_TIMEOUT", "300ms"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    it.worker.kill();
    it.worker = Process::worker(settings.clone());
    settings.insert("REDIS_URL".to_owned(), it.redis.url());
    let mut api = Process::api(settings);
    let client = Client::new(api.url().await, it.client.token.clone());
    // Some first, so that every connection is there.
    for n in 1..20 {
        let sent = eventually("a code to be accepted", || async {
            let (status, body) = client.send_code(&phone(n)).await;
            (status == 202).then(|| id_of(&body))
        })
        .await;
        it.rows_of(&[sent]).await;
    }
    wire.delay(Duration::from_millis(200));
    let (status, sent) = client.send_code(&phone(0)).await;
    assert_eq!(status, 202, "{sent}");
    let rows = it.rows_of(&[id_of(&sent)]).await;
    assert!(rows.contains(&(id_of(&sent), 0)), "{rows:?}");
    assert_eq!(it.provider.handed_for(&id_of(&sent)).len(), 0, "it could come too late");
}

/// Nothing was handed over then, whichever of the two time-outs is the longer.
#[tokio::test]
async fn a_connection_that_never_comes_leaves_nothing_unknown() {
    // It may be handed over for 4 s.
    let more = vec![("POSTRIDER_CODE__TTL", "6s")];
    let mut it = start(Alone { more, ..Alone::default() }).await;
    let door = Door::shut().await;
    let mut settings = it.settings.clone();
    settings.extend(
        [
            ("POSTRIDER_PROVIDERS__MAIN__ENDPOINT", door.url.as_str()),
            ("POSTRIDER_PROVIDERS__MAIN__READ_TIMEOUT", "500ms"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    it.worker.kill();
    it.worker = Process::worker(settings);
    let (status, sent) = it.client.send_code(&phone(1)).await;
    assert_eq!(status, 202, "{sent}");
    let rows = it.rows_of(&[id_of(&sent)]).await;
    assert_eq!(rows, [(id_of(&sent), 0)]);
}
