//! Poison among good jobs: it ends as a dead letter, and hurts nobody else.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use postrider_common::config::{self, Settings};
use postrider_common::database::Database;
use postrider_common::database::dead_letter::DeadReason;
use postrider_common::model::ids::MessageId;
use postrider_common::model::job::{Contents, EarlierAttempts, Job, Lane, Outcome, WIRE_NAME};
use postrider_common::model::phone::PhoneNumber;
use postrider_common::queue::rabbitmq::RabbitQueue;
use postrider_common::queue::{Destination, Outgoing, Published, Queue};
use postrider_common::secrets::KeyRing;
use postrider_common::store::redis::RedisStore;
use postrider_common::store::{MessageStatus, Store};
use postrider_worker::provider::{Answer, NamedProvider, Provider, Providers, Sms};
use postrider_worker::{WorkerParts, run};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::harness::{eventually, services};

const PANICS: &str = "+8613900000000";

/// Takes every SMS but one, which it panics at.
struct Touchy;

impl Provider for Touchy {
    fn send<'a>(&'a self, sms: &'a Sms, _begin_by: Instant) -> BoxFuture<'a, Answer> {
        Box::pin(async move {
            assert_ne!(sms.phone.as_e164(), PANICS, "this one is poison");
            Answer::of(Outcome::Accepted, "")
        })
    }
}

fn job(keys: &KeyRing, phone: &str) -> Job {
    let message_id = MessageId::generate();
    let phone = PhoneNumber::from_e164(phone).unwrap();
    let contents =
        Contents { phone, params: [("number".to_owned(), "7".to_owned())].into(), client_ip: None };
    Job {
        v: WIRE_NAME.to_owned(),
        message_id,
        account_id: 7,
        test: false,
        lane: Lane::Notice,
        purpose: String::new(),
        template: "parcel".to_owned(),
        raw_template: false,
        verification: None,
        key_id: keys.current().id.clone(),
        accepted_at: 1,
        deadline: i64::MAX / 4,
        epoch: String::new(),
        generation: 0,
        attempt: 1,
        snoozed: 0,
        wait_ms: 0,
        tried: Vec::new(),
        attempts: Vec::new(),
        earlier: EarlierAttempts::default(),
        sealed: contents.seal(keys, message_id),
    }
}

#[tokio::test]
async fn two_poisoned_jobs_among_255_good_ones_are_two_dead_letters_and_one_row() {
    let (redis, vhost, postgres) =
        (services::redis().await, services::rabbitmq().await, services::postgres().await);
    let store = Store::Redis(RedisStore::new(&redis.url().into()).unwrap());
    store.restore(Vec::new()).await.unwrap();
    let queue = Queue::Rabbit(RabbitQueue::start(&vhost.url().into(), Duration::from_secs(5)));
    let database = Database::new(&postgres.url().into(), 4).unwrap();
    database.migrate().await.unwrap();
    let keys: KeyRing = "a-secret-of-the-tests-of-more-than-32-bytes".parse().unwrap();
    let mut settings = Settings::default();
    let template =
        config::Template { text: "parcel {number}".to_owned(), ..config::Template::default() };
    settings.templates.insert("parcel".to_owned(), template);
    let touchy = NamedProvider {
        name: "touchy".to_owned(),
        provider: Arc::new(Touchy),
        reach: Duration::ZERO,
        longest: Duration::from_secs(1),
        retry: None,
    };
    let parts = WorkerParts {
        store,
        queue: queue.clone(),
        database: database.clone(),
        keys: keys.clone(),
        settings,
        providers: Providers::new(vec![touchy.clone()], touchy),
        key_missing: Arc::default(),
    };
    let stop = CancellationToken::new();
    let worker = tokio::spawn(run(parts, stop.clone()));

    let good: Vec<Job> = (0..255).map(|n| job(&keys, &format!("+86138{n:08}"))).collect();
    let poison = job(&keys, PANICS);
    let publish = async |body: Vec<u8>| {
        let message = Outgoing { id: "test".to_owned(), body, trace: None };
        eventually("a publish to be confirmed", || async {
            let published = queue.publish(Destination::Lane(Lane::Notice), message.clone()).await;
            (published == Published::Confirmed).then_some(())
        })
        .await;
    };
    for (n, good) in good.iter().enumerate() {
        match n {
            50 => publish(b"\xff no job at all".to_vec()).await,
            100 => publish(poison.encode()).await,
            _ => {}
        }
        publish(good.encode()).await;
    }
    for job in good.iter().chain([&poison]) {
        let row =
            eventually("a row", || async { database.message(job.message_id).await.unwrap() }).await;
        // The provider had been called when the handler panicked: nobody knows what it did.
        let status = if job.message_id == poison.message_id {
            MessageStatus::Unknown
        } else {
            MessageStatus::Sent
        };
        assert_eq!(row.message_status(), status);
    }
    let dead = eventually("both dead letters", || async {
        let dead = database.dead_letters(None, 10).await.unwrap();
        (dead.len() == 2).then_some(dead)
    });
    let mut reasons: Vec<_> =
        dead.await.into_iter().map(|dead| (dead.reason, dead.message_id)).collect();
    reasons.sort_by_key(|(_, message)| message.is_some());
    assert_eq!(
        reasons,
        [(DeadReason::Undecodable, None), (DeadReason::Panicked, Some(poison.message_id))]
    );
    stop.cancel();
    worker.await.unwrap();
}
