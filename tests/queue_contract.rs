//! What every queue must do, asserted alike on RabbitMQ and on SQLite.

mod rabbitmq;
mod silence;

use std::time::{Duration, Instant};

use futures::FutureExt as _;
use postrider_common::model::job::Lane;
use postrider_common::queue::rabbitmq::RabbitQueue;
use postrider_common::queue::sqlite::SqliteQueue;
use postrider_common::queue::{
    Consumer, Delivery, Depth, Destination, Outgoing, Published, Queue, Rung, Source,
};
use postrider_common::sqlite::Sqlite;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::harness::services::{self, Vhost};

/// Long enough for a busy machine; nothing waits for it that goes well.
const PATIENCE: Duration = Duration::from_secs(20);

/// An empty broker of one test's own; any number of queues can be opened at it, one after the other.
enum Broker {
    Rabbit(Vhost),
    Sqlite { sqlite: Sqlite, _folder: TempDir },
}

impl Broker {
    async fn rabbitmq() -> Self {
        Self::Rabbit(services::rabbitmq().await)
    }

    async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sqlite = Sqlite::open(&folder.path().join("postrider.db")).await.unwrap();
        let table = include_str!("../migrations/sqlite/0003_queue.sql");
        sqlx::raw_sql(table).execute(&mut sqlite.connect().await.unwrap()).await.unwrap();
        Self::Sqlite { sqlite, _folder: folder }
    }

    async fn open(&self) -> Queue {
        match self {
            Self::Rabbit(vhost) => open_at(vhost).await,
            Self::Sqlite { sqlite, .. } => {
                Queue::Sqlite(SqliteQueue::start(sqlite.clone()).await.unwrap())
            }
        }
    }
}

async fn open_at(vhost: &Vhost) -> Queue {
    // Long, so that a slow machine doesn't make an unknown of what is confirmed.
    let queue = Queue::Rabbit(RabbitQueue::start(&vhost.url().into(), PATIENCE));
    eventually("the queue is reachable", async || queue.ping().await.is_ok()).await;
    queue
}

/// Waits until it is so.
async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let asked = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

fn consume(queue: &Queue, source: Source, prefetch: u16) -> Consumer {
    queue.consume(source, prefetch, CancellationToken::new())
}

async fn publish(queue: &Queue, to: Destination, body: &str) {
    let message = Outgoing { id: format!("id of {body}"), body: body.into(), trace: None };
    assert_eq!(queue.publish(to, message).await, Published::Confirmed, "{body}");
}

async fn next(consumer: &mut Consumer) -> Delivery {
    let next = tokio::time::timeout(PATIENCE, consumer.next()).await;
    next.expect("a delivery in time").expect("the consumer goes on")
}

/// Takes the next delivery, which must be this one.
async fn take(consumer: &mut Consumer, body: &str) -> Delivery {
    let delivery = next(consumer).await;
    assert_eq!(String::from_utf8_lossy(&delivery.body), body);
    delivery
}

async fn depth(queue: &Queue, name: &str) -> Depth {
    let depths = queue.depths().await.unwrap();
    depths.into_iter().find(|depth| depth.queue == name).expect(name)
}

/// Waits until the queue's length, as the broker counts it, is this.
async fn eventually_ready(queue: &Queue, name: &str, ready: u64) {
    let what = format!("{name} holds {ready}");
    eventually(&what, async || depth(queue, name).await.ready == ready).await;
}

const CODE: Destination = Destination::Lane(Lane::Code);
const CODES: Source = Source::Lane(Lane::Code);

async fn a_message_is_delivered_once_and_acked_away(broker: Broker) {
    let queue = broker.open().await;
    publish(&queue, CODE, "one").await;
    let mut codes = consume(&queue, CODES, 10);
    let one = take(&mut codes, "one").await;
    assert!(!one.redelivered);
    assert_eq!(one.routing_key, "code");
    assert!(one.receipt.ack(false).await);
    assert!(!one.receipt.ack(false).await, "acked already");
    queue.close().await;

    let queue = broker.open().await;
    eventually_ready(&queue, "sms.code", 0).await;
    publish(&queue, CODE, "two").await;
    take(&mut consume(&queue, CODES, 10), "two").await;
    queue.close().await;
}

async fn what_is_not_acked_goes_back_when_the_queue_is_closed(broker: Broker) {
    let queue = broker.open().await;
    for body in ["one", "two"] {
        publish(&queue, CODE, body).await;
    }
    let mut codes = consume(&queue, CODES, 10);
    assert!(take(&mut codes, "one").await.receipt.ack(false).await);
    let two = take(&mut codes, "two").await;
    queue.close().await;
    assert!(!two.receipt.ack(false).await, "its session is over");

    let queue = broker.open().await;
    let two = take(&mut consume(&queue, CODES, 10), "two").await;
    assert!(two.redelivered);
    assert!(two.receipt.ack(false).await);
    eventually_ready(&queue, "sms.code", 0).await;
    queue.close().await;
}

async fn prefetch_bounds_what_is_handed_out(broker: Broker) {
    let queue = broker.open().await;
    for body in ["one", "two", "three"] {
        publish(&queue, CODE, body).await;
    }
    let mut codes = consume(&queue, CODES, 2);
    let one = take(&mut codes, "one").await;
    let _two = take(&mut codes, "two").await;
    eventually_ready(&queue, "sms.code", 1).await;
    assert!(codes.next().now_or_never().is_none());

    assert!(one.receipt.ack(false).await);
    take(&mut codes, "three").await;
    queue.close().await;
}

async fn a_retry_comes_back_on_its_lane_after_its_delay(broker: Broker) {
    let queue = broker.open().await;
    let rung = Rung::at_least(Duration::from_secs(1));
    let published = Instant::now();
    publish(&queue, Destination::Retry(Lane::Notice, rung), "again").await;
    eventually_ready(&queue, "sms.retry.1", 1).await;
    assert_eq!(depth(&queue, "sms.notice").await.ready, 0);

    let mut notices = consume(&queue, Source::Lane(Lane::Notice), 10);
    let again = take(&mut notices, "again").await;
    // Queues count whole milliseconds, so a part of one may be cut off.
    assert!(published.elapsed() + Duration::from_millis(1) >= rung.delay());
    assert!(!again.redelivered, "it is a new attempt");
    assert_eq!(again.routing_key, "notice");
    assert!(again.receipt.ack(false).await);
    eventually_ready(&queue, "sms.retry.1", 0).await;
    queue.close().await;
}

async fn a_multiple_ack_covers_all_up_to_it(broker: Broker) {
    let queue = broker.open().await;
    for body in ["one", "two", "three", "four"] {
        publish(&queue, CODE, body).await;
    }
    let mut codes = consume(&queue, CODES, 10);
    let one = take(&mut codes, "one").await;
    let two = take(&mut codes, "two").await;
    let three = take(&mut codes, "three").await;
    let four = take(&mut codes, "four").await;
    assert_eq!(one.receipt.session, four.receipt.session);
    assert_eq!([1, 2, 3, 4], [&one, &two, &three, &four].map(|delivery| delivery.receipt.tag));
    assert!(two.receipt.ack(false).await);
    assert!(three.receipt.ack(true).await);
    assert!(!one.receipt.ack(false).await, "covered");
    queue.close().await;

    let queue = broker.open().await;
    let four = take(&mut consume(&queue, CODES, 10), "four").await;
    assert!(four.receipt.ack(true).await);
    eventually_ready(&queue, "sms.code", 0).await;
    queue.close().await;
}

async fn lanes_are_separate(broker: Broker) {
    let queue = broker.open().await;
    publish(&queue, CODE, "a code").await;
    publish(&queue, Destination::Lane(Lane::Notice), "a notice").await;
    publish(&queue, Destination::Rows, "rows").await;
    take(&mut consume(&queue, Source::Lane(Lane::Notice), 1), "a notice").await;
    take(&mut consume(&queue, CODES, 1), "a code").await;
    let rows = take(&mut consume(&queue, Source::Rows, 1), "rows").await;
    assert_eq!(rows.routing_key, "sms.rows");
    queue.close().await;
}

async fn a_stopped_consumer_ends_and_leaves_the_rest_to_others(broker: Broker) {
    let queue = broker.open().await;
    let stop = CancellationToken::new();
    let mut stopping = queue.consume(CODES, 1, stop.clone());
    publish(&queue, CODE, "one").await;
    let one = take(&mut stopping, "one").await;
    stop.cancel();
    let end = tokio::time::timeout(PATIENCE, stopping.next()).await;
    assert!(end.expect("an end in time").is_none());

    publish(&queue, CODE, "two").await;
    take(&mut consume(&queue, CODES, 10), "two").await;
    assert!(one.receipt.ack(false).await, "what was handed out is still its own");
    queue.close().await;
}

async fn what_is_given_back_is_ready_and_comes_again(broker: Broker) {
    let queue = broker.open().await;
    for body in ["one", "two"] {
        publish(&queue, Destination::Rows, body).await;
    }
    let stop = CancellationToken::new();
    let mut rows = queue.consume(Source::Rows, 10, stop.clone());
    let one = take(&mut rows, "one").await;
    eventually_ready(&queue, "sms.rows", 0).await;
    stop.cancel();
    while let Some(rest) = rows.next().await {
        rest.receipt.give_back().await;
    }
    one.receipt.give_back().await;
    eventually_ready(&queue, "sms.rows", 2).await;
    eventually("the session to be over", async || one.receipt.is_over()).await;
    let mut rows = consume(&queue, Source::Rows, 10);
    let again = [rows.next().await.unwrap(), rows.next().await.unwrap()];
    let mut bodies = again.each_ref().map(|delivery| delivery.body.clone());
    bodies.sort();
    assert_eq!(bodies, [b"one".to_vec(), b"two".to_vec()]);
    queue.close().await;
}

async fn depths_count_what_is_ready_and_who_consumes(broker: Broker) {
    let queue = broker.open().await;
    for body in ["one", "two", "three"] {
        publish(&queue, CODE, body).await;
    }
    eventually_ready(&queue, "sms.code", 3).await;
    assert_eq!(depth(&queue, "sms.code").await.consumers, 0);
    let names: Vec<String> = queue.depths().await.unwrap().into_iter().map(|d| d.queue).collect();
    let rungs = Rung::all().map(Rung::queue);
    let others =
        ["sms.code", "sms.notice", "sms.rows", "sms.dead", "sms.unrouted"].map(str::to_owned);
    for name in rungs.chain(others) {
        assert!(names.contains(&name), "{name} among {names:?}");
    }

    let mut codes = consume(&queue, CODES, 1);
    take(&mut codes, "one").await;
    eventually_ready(&queue, "sms.code", 2).await;
    assert_eq!(depth(&queue, "sms.code").await.consumers, 1);
    queue.close().await;
}

async fn the_trace_travels(broker: Broker) {
    let queue = broker.open().await;
    let trace = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned());
    let rung = Rung::at_least(Duration::from_secs(1));
    for to in [CODE, Destination::Retry(Lane::Code, rung)] {
        let message = Outgoing { id: "1".to_owned(), body: b"{}".to_vec(), trace: trace.clone() };
        assert_eq!(queue.publish(to, message).await, Published::Confirmed);
    }
    let mut codes = consume(&queue, CODES, 10);
    assert_eq!(next(&mut codes).await.trace, trace);
    assert_eq!(next(&mut codes).await.trace, trace);
    queue.close().await;
}

async fn many_published_at_once_all_arrive(broker: Broker) {
    const MANY: usize = 1_000;
    let queue = broker.open().await;
    let publishes = (0..MANY).map(|n| {
        let queue = queue.clone();
        tokio::spawn(async move { publish(&queue, CODE, &n.to_string()).await })
    });
    futures::future::try_join_all(publishes).await.unwrap();
    let mut codes = consume(&queue, CODES, 100);
    let mut arrived = std::collections::HashSet::new();
    for _ in 0..MANY {
        let delivery = next(&mut codes).await;
        assert!(delivery.receipt.ack(false).await);
        assert!(arrived.insert(delivery.body));
    }
    eventually_ready(&queue, "sms.code", 0).await;
    queue.close().await;
}

async fn after_close_nothing_is_handed_out(broker: Broker) {
    let queue = broker.open().await;
    let mut codes = consume(&queue, CODES, 10);
    let other = queue.clone();
    queue.close().await;
    let end = tokio::time::timeout(PATIENCE, codes.next()).await;
    assert!(end.expect("an end in time").is_none());
    other.close().await;
}

macro_rules! contract {
    ($($case:ident)*) => {
        mod on_sqlite {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $case() {
                    super::$case(super::Broker::sqlite().await).await;
                }
            )*
        }
        mod on_rabbitmq {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $case() {
                    super::$case(super::Broker::rabbitmq().await).await;
                }
            )*
        }
    };
}

contract! {
    a_message_is_delivered_once_and_acked_away
    what_is_not_acked_goes_back_when_the_queue_is_closed
    prefetch_bounds_what_is_handed_out
    a_retry_comes_back_on_its_lane_after_its_delay
    a_multiple_ack_covers_all_up_to_it
    lanes_are_separate
    a_stopped_consumer_ends_and_leaves_the_rest_to_others
    what_is_given_back_is_ready_and_comes_again
    depths_count_what_is_ready_and_who_consumes
    the_trace_travels
    many_published_at_once_all_arrive
    after_close_nothing_is_handed_out
}
