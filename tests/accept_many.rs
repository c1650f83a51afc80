//! Guard and enqueue of many messages at once: what each item is told, and what is counted and queued for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use postrider_common::accept::{AcceptError, AcceptManyAnswer, Acceptor, MakeJobs};
use postrider_common::database::Database;
use postrider_common::model::ids::MessageId;
use postrider_common::model::job::{EarlierAttempts, Job, Lane, WIRE_NAME};
use postrider_common::model::limits::Scope;
use postrider_common::queue::rabbitmq::RabbitQueue;
use postrider_common::queue::sqlite::SqliteQueue;
use postrider_common::queue::{Queue, Source};
use postrider_common::secrets::KeyId;
use postrider_common::sqlite::Sqlite;
use postrider_common::store::redis::RedisStore;
use postrider_common::store::sqlite::SqliteStore;
use postrider_common::store::{
    About, AccountCheck, Admit, AdmitAnswer, AdmitMany, BanCheck, Idempotency, LimitCheck,
    MOST_AT_ONCE, Store, StoreError, rank,
};
use tokio_util::sync::CancellationToken;

use crate::harness::eventually;
use crate::harness::proxy::Proxy;
use crate::harness::services::{self, Redis};

const ACCOUNT: AccountCheck = AccountCheck { id: 7, version: 1 };
const CONFIRM: Duration = Duration::from_secs(1);

struct Embedded {
    acceptor: Acceptor,
    store: Store,
    queue: Queue,
    sqlite: Sqlite,
    _folder: tempfile::TempDir,
}

async fn embedded() -> Embedded {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = Sqlite::open(&folder.path().join("test.db")).await.unwrap();
    Database::sqlite(sqlite.clone()).migrate().await.unwrap();
    let store = Store::Sqlite(SqliteStore::new(sqlite.clone()));
    store.set_account_version(ACCOUNT.id, ACCOUNT.version).await.unwrap();
    let queue = SqliteQueue::start(sqlite.clone()).await.unwrap();
    let acceptor = Acceptor::embedded(sqlite.clone(), queue.clone());
    Embedded { acceptor, store, queue: Queue::Sqlite(queue), sqlite, _folder: folder }
}

struct Distributed {
    acceptor: Acceptor,
    store: Store,
    queue: Queue,
    wire: Proxy,
    _redis: Redis,
}

async fn distributed() -> Distributed {
    let redis = services::redis().await;
    let store = Store::Redis(RedisStore::new(&redis.url().into()).unwrap());
    store.restore(Vec::new()).await.unwrap();
    store.set_account_version(ACCOUNT.id, ACCOUNT.version).await.unwrap();
    let (wire, url) = Proxy::before(&services::rabbitmq().await.url()).await;
    let queue = Queue::Rabbit(RabbitQueue::start(&url.into(), CONFIRM));
    let acceptor = Acceptor::distributed(store.clone(), queue.clone());
    let it = Distributed { acceptor, store, queue, wire, _redis: redis };
    it.connected().await;
    it
}

impl Distributed {
    async fn connected(&self) {
        eventually("the queue to answer", async || self.queue.depths().await.ok()).await;
    }
}

/// A notice to each phone, each with a key of its own, at most `of_account` in all.
fn batch(phones: impl IntoIterator<Item = usize>, of_account: u32) -> AdmitMany {
    let items = phones.into_iter().map(|phone| Admit {
        now: None,
        account: ACCOUNT,
        owner: ACCOUNT.id,
        message_id: MessageId::generate(),
        lane: Lane::Notice,
        idempotency: Some(keyed(&format!("item {phone}"))),
        subject: format!("notice/{phone}"),
        limits: vec![LimitCheck {
            key: "account".to_owned(),
            scope: Scope::Account,
            quota: of_account,
            window_ms: 3_600_000,
            rank: rank::ACCOUNT,
            phone: None,
        }],
        ban_check: BanCheck::default(),
        strikes: Vec::new(),
        verification: None,
        known_keys: Vec::new(),
        ttl_ms: 86_400_000,
        confirmed: false,
        about: About {
            phone: "+86138****0000".to_owned(),
            purpose: String::new(),
            template: format!("to {phone}"),
            client_ip: None,
        },
    });
    AdmitMany { now: None, account: ACCOUNT, batch: Some(keyed("batch")), items: items.collect() }
}

fn keyed(key: &str) -> Idempotency {
    Idempotency { key: key.to_owned(), fingerprints: vec!["body".to_owned()] }
}

/// Says in its template which item it is of.
fn make_job() -> MakeJobs {
    Arc::new(|place, accepted| Job {
        v: WIRE_NAME.to_owned(),
        message_id: accepted.message_id,
        account_id: ACCOUNT.id,
        test: false,
        lane: Lane::Notice,
        purpose: String::new(),
        template: format!("item {place}"),
        raw_template: false,
        verification: None,
        key_id: KeyId::from("0a0b0c0d"),
        accepted_at: accepted.accepted_at,
        deadline: accepted.deadline,
        epoch: accepted.epoch.clone(),
        generation: 0,
        attempt: 1,
        snoozed: 0,
        wait_ms: 0,
        tried: Vec::new(),
        attempts: Vec::new(),
        earlier: EarlierAttempts::default(),
        sealed: "sealed".to_owned(),
    })
}

type Outcomes = Vec<Result<AdmitAnswer, AcceptError>>;

async fn accept(acceptor: &Acceptor, request: AdmitMany) -> Outcomes {
    match acceptor.accept_many(request, None, make_job()).await.unwrap() {
        AcceptManyAnswer::Decided(outcomes) => outcomes,
        other => panic!("not decided: {other:?}"),
    }
}

fn words(outcomes: &Outcomes) -> Vec<&'static str> {
    let word = |outcome: &Result<AdmitAnswer, AcceptError>| match outcome {
        Ok(AdmitAnswer::Admitted { again: false, .. }) => "admitted",
        Ok(AdmitAnswer::Admitted { .. }) => "again",
        Ok(AdmitAnswer::Replayed(_)) => "replayed",
        Ok(AdmitAnswer::Limited { .. }) => "limited",
        Err(AcceptError::NotQueued(_)) => "not queued",
        Err(AcceptError::OutcomeUnknown(_)) => "unknown",
        other => panic!("{other:?}"),
    };
    outcomes.iter().map(word).collect()
}

fn ids(outcomes: &Outcomes) -> Vec<MessageId> {
    let id = |outcome: &Result<AdmitAnswer, AcceptError>| match outcome {
        Ok(AdmitAnswer::Admitted { message, .. } | AdmitAnswer::Replayed(message)) => {
            Some(message.message_id)
        }
        _ => None,
    };
    outcomes.iter().filter_map(id).collect()
}

/// Takes this many jobs off the notices' lane; gives their ids and templates, in the order of items.
async fn queued(queue: &Queue, count: usize) -> Vec<(MessageId, String)> {
    let stop = CancellationToken::new();
    let mut notices = queue.consume(Source::Lane(Lane::Notice), 200, stop.clone());
    let mut jobs = Vec::with_capacity(count);
    for _ in 0..count {
        let next = tokio::time::timeout(Duration::from_secs(20), notices.next()).await;
        let delivery = next.expect("a job in time").unwrap();
        let job = Job::decode(&delivery.body).unwrap();
        assert!(delivery.receipt.ack(false).await);
        jobs.push((job.message_id, job.template));
    }
    let more = tokio::time::timeout(Duration::from_millis(200), notices.next()).await;
    assert!(more.is_err(), "more than {count} were queued");
    stop.cancel();
    jobs.sort_by_key(|(_, template)| template["item ".len()..].parse::<usize>().unwrap());
    jobs
}

#[tokio::test]
async fn embedded_what_is_admitted_is_queued_and_a_repeat_is_told_the_same() {
    let it = embedded().await;
    let outcomes = accept(&it.acceptor, batch([1, 2, 3], 2)).await;
    assert_eq!(words(&outcomes), ["admitted", "admitted", "limited"]);
    let again = accept(&it.acceptor, batch([1, 2, 3], 3)).await;
    assert_eq!(
        words(&again),
        ["replayed", "replayed", "admitted"],
        "what was refused is asked anew"
    );
    assert_eq!(ids(&again)[..2], ids(&outcomes));
    let jobs: Vec<_> = queued(&it.queue, 3).await.into_iter().map(|(id, _)| id).collect();
    assert_eq!(jobs, ids(&again));
    let other = AdmitMany {
        batch: Some(Idempotency { fingerprints: vec!["other".to_owned()], ..keyed("batch") }),
        ..batch([4], 10)
    };
    let answer = it.acceptor.accept_many(other, None, make_job()).await.unwrap();
    assert!(matches!(answer, AcceptManyAnswer::KeyReused { .. }), "{answer:?}");
    let newer = AccountCheck { version: 2, ..ACCOUNT };
    let newer = AdmitMany { account: newer, ..batch([4], 10) };
    let answer = it.acceptor.accept_many(newer, None, make_job()).await.unwrap();
    assert!(matches!(answer, AcceptManyAnswer::StaleAccount), "{answer:?}");
}

#[tokio::test]
async fn embedded_a_batch_that_can_t_be_queued_counts_nothing() {
    let it = embedded().await;
    let run = |sql: &'static str| {
        it.sqlite.write(move |connection| {
            Box::pin(async move { sqlx::query(sql).execute(connection).await.map(drop) })
        })
    };
    let refuse =
        "CREATE TRIGGER full BEFORE INSERT ON queue_job BEGIN SELECT RAISE(ABORT, 'full'); END";
    run(refuse).await.unwrap();
    let asked = batch(0..MOST_AT_ONCE, 50);
    let refused = it.acceptor.accept_many(asked.clone(), None, make_job()).await;
    assert!(matches!(refused, Err(AcceptError::Store(StoreError::Unavailable(_)))), "{refused:?}");
    assert_eq!(it.store.message(asked.items[0].message_id).await.unwrap(), None);
    run("DROP TRIGGER full").await.unwrap();
    let outcomes = accept(&it.acceptor, asked).await;
    assert_eq!(words(&outcomes), ["admitted"; MOST_AT_ONCE]);
    assert_eq!(queued(&it.queue, MOST_AT_ONCE).await.len(), MOST_AT_ONCE);
    let too_many = it.acceptor.accept_many(batch(0..=MOST_AT_ONCE, 100), None, make_job()).await;
    assert!(matches!(too_many, Err(AcceptError::Store(StoreError::Broken(_)))), "{too_many:?}");
}

#[tokio::test]
async fn distributed_what_is_admitted_is_queued_and_a_repeat_is_told_the_same() {
    let it = distributed().await;
    let outcomes = accept(&it.acceptor, batch(0..50, 48)).await;
    assert_eq!(words(&outcomes), [["admitted"; 48].as_slice(), &["limited"; 2]].concat());
    let jobs = queued(&it.queue, 48).await;
    for (place, id) in ids(&outcomes).into_iter().enumerate() {
        assert_eq!(jobs[place], (id, format!("item {place}")), "each job is its item's");
    }
    let replayed = eventually("all to be marked as confirmed", async || {
        let outcomes = accept(&it.acceptor, batch(0..48, 48)).await;
        words(&outcomes).iter().all(|word| *word == "replayed").then_some(outcomes)
    });
    assert_eq!(ids(&replayed.await), ids(&outcomes));
}

#[tokio::test]
async fn distributed_items_that_surely_weren_t_queued_are_withdrawn_and_the_others_stand() {
    let it = distributed().await;
    let first = accept(&it.acceptor, batch([1, 2], 4)).await;
    assert_eq!(words(&first), ["admitted"; 2]);
    for id in ids(&first) {
        it.store.confirm(&[id]).await.unwrap();
    }
    it.wire.refuse();
    eventually("the connection's end to be seen", async || {
        it.queue.ping().await.is_err().then_some(())
    })
    .await;
    let asked = batch(1..=5, 4);
    let outcomes = accept(&it.acceptor, asked.clone()).await;
    assert_eq!(words(&outcomes), ["replayed", "replayed", "not queued", "not queued", "limited"]);
    assert_eq!(ids(&outcomes), ids(&first));
    for item in &asked.items[2..] {
        assert_eq!(it.store.message(item.message_id).await.unwrap(), None, "nothing is left of it");
    }
    it.wire.pass();
    it.connected().await;
    let outcomes = accept(&it.acceptor, asked).await;
    assert_eq!(
        words(&outcomes),
        ["replayed", "replayed", "admitted", "admitted", "limited"],
        "what was counted was given back"
    );
    let jobs: Vec<_> = queued(&it.queue, 4).await.into_iter().map(|(id, _)| id).collect();
    assert!(ids(&outcomes).iter().all(|id| jobs.contains(id)), "{jobs:?}");
}

#[tokio::test]
async fn distributed_items_whose_confirm_never_came_are_in_doubt_and_a_repeat_queues_the_same() {
    let it = distributed().await;
    it.wire.swallow();
    let begun = Instant::now();
    let asked = batch(0..MOST_AT_ONCE, 50);
    let outcomes = accept(&it.acceptor, asked.clone()).await;
    assert_eq!(words(&outcomes), ["unknown"; MOST_AT_ONCE]);
    assert!(begun.elapsed() < CONFIRM * 10, "they wait together: {:?}", begun.elapsed());
    for item in &asked.items {
        assert!(it.store.message(item.message_id).await.unwrap().is_some(), "the counts stand");
    }
    it.wire.pass();
    it.connected().await;
    // The ids of this request are not those of the first: the first one's are published again.
    let repeated = accept(&it.acceptor, batch(0..MOST_AT_ONCE, 50)).await;
    assert_eq!(words(&repeated), ["again"; MOST_AT_ONCE], "and are counted once");
    let first: Vec<_> = asked.items.iter().map(|item| item.message_id).collect();
    assert_eq!(ids(&repeated), first);
    let limited = accept(&it.acceptor, AdmitMany { batch: None, ..batch([99], 50) }).await;
    assert_eq!(words(&limited), ["limited"]);
    // Whether the first copies arrived after all can't be known; what matters is that no other was queued.
    let stop = CancellationToken::new();
    let mut notices = it.queue.consume(Source::Lane(Lane::Notice), 200, stop);
    let mut seen = std::collections::HashSet::new();
    while seen.len() < MOST_AT_ONCE {
        let next = tokio::time::timeout(Duration::from_secs(20), notices.next()).await;
        let job = Job::decode(&next.expect("a job in time").unwrap().body).unwrap();
        assert!(first.contains(&job.message_id));
        seen.insert(job.message_id);
    }
}

#[tokio::test]
async fn distributed_a_message_in_doubt_stays_so_where_its_repeat_surely_was_not_queued() {
    let it = distributed().await;
    it.wire.swallow();
    let asked = batch([1], 50);
    assert_eq!(words(&accept(&it.acceptor, asked.clone()).await), ["unknown"]);
    it.wire.refuse();
    eventually("the connection's end to be seen", async || {
        it.queue.ping().await.is_err().then_some(())
    })
    .await;
    let repeated = accept(&it.acceptor, batch([1], 50)).await;
    assert_eq!(words(&repeated), ["unknown"], "the first copy may be queued all the same");
    it.wire.pass();
    it.connected().await;
    let repeated = accept(&it.acceptor, batch([1], 50)).await;
    assert_eq!(words(&repeated), ["again"]);
    assert_eq!(ids(&repeated), [asked.items[0].message_id], "nobody gets two messages for it");
}
