//! What only a broker can do to us: other arguments, cut connections, deleted queues, messages without a queue.

use std::collections::HashSet;
use std::time::Duration;

use lapin::options::{
    BasicGetOptions, BasicPublishOptions, BasicRejectOptions, ExchangeDeclareOptions,
    ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use postrider_common::queue::rabbitmq::RabbitQueue;
use postrider_common::queue::{Outgoing, Published, Queue, Source};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    CODE, CODES, PATIENCE, consume, depth, eventually, eventually_ready, open_at, publish, take,
};
use crate::harness::services::{self, Vhost};

/// A client beside ours.
async fn channel(vhost: &Vhost) -> (Connection, Channel) {
    let properties = ConnectionProperties::default();
    let connection = Connection::connect(&vhost.url(), properties).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

/// The broker's own list of this vhost's connections, by name.
async fn connections(vhost: &Vhost) -> Vec<String> {
    let (base, user, password, name) = vhost.management();
    let url = format!("{base}/api/vhosts/{name}/connections");
    let client = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
    let answer = client.get(url).basic_auth(user, Some(password)).send().await.unwrap();
    let list: Vec<serde_json::Value> = answer.json().await.unwrap();
    list.iter().filter_map(|c| c["name"].as_str().map(str::to_owned)).collect()
}

/// Cuts connections at the broker's side.
async fn cut(vhost: &Vhost, connections: &[String]) {
    let (base, user, password, _) = vhost.management();
    let client = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
    for name in connections {
        let mut url = reqwest::Url::parse(&format!("{base}/api/connections/")).unwrap();
        url.path_segments_mut().unwrap().pop_if_empty().push(name);
        let answer = client.delete(url).basic_auth(&user, Some(&password)).send().await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_declared_otherwise_is_used_as_it_is() {
    let vhost = services::rabbitmq().await;
    let (_connection, other) = channel(&vhost).await;
    let options = QueueDeclareOptions::durable();
    other.queue_declare("sms.code".into(), options, FieldTable::default()).await.unwrap();
    let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
    let direct = ExchangeKind::Direct;
    other
        .exchange_declare("sms.dead".into(), direct, options, FieldTable::default())
        .await
        .unwrap();

    let queue = open_at(&vhost).await;
    publish(&queue, CODE, "one").await;
    take(&mut consume(&queue, CODES, 1), "one").await;
    queue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_processes_may_start_at_once() {
    let vhost = services::rabbitmq().await;
    let queues = futures::future::join_all((0..4).map(|_| open_at(&vhost))).await;
    for queue in queues {
        publish(&queue, CODE, "one").await;
        queue.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_queue_is_bound_for_is_kept() {
    let vhost = services::rabbitmq().await;
    let (_connection, other) = channel(&vhost).await;
    let queue = open_at(&vhost).await;
    let options = BasicPublishOptions::default();
    let properties = BasicProperties::default();
    let lane = "a lane of a newer version".into();
    other.basic_publish("sms.work".into(), lane, options, b"lost?", properties).await.unwrap();

    let unrouted = take(&mut consume(&queue, Source::Unrouted, 1), "lost?").await;
    assert_eq!(unrouted.routing_key, "a lane of a newer version");
    assert!(unrouted.receipt.ack(false).await);
    eventually_ready(&queue, "sms.unrouted", 0).await;
    queue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_gives_up_on_is_kept() {
    let vhost = services::rabbitmq().await;
    let (_connection, other) = channel(&vhost).await;
    let queue = open_at(&vhost).await;
    publish(&queue, CODE, "poison").await;
    let got = other.basic_get("sms.code".into(), BasicGetOptions::default()).await.unwrap();
    let poison = got.expect("what was confirmed is there").delivery;
    assert!(poison.acker.reject(BasicRejectOptions { requeue: false }).await.unwrap());
    let mut dead = consume(&queue, Source::Dead, 1);
    let poison = take(&mut dead, "poison").await;
    assert_eq!(poison.routing_key, "code");
    queue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_queue_is_declared_again_and_consumed_again() {
    let vhost = services::rabbitmq().await;
    let (_connection, other) = channel(&vhost).await;
    let queue = open_at(&vhost).await;
    let mut codes = consume(&queue, CODES, 10);
    publish(&queue, CODE, "one").await;
    assert!(take(&mut codes, "one").await.receipt.ack(false).await);
    let options = QueueDeleteOptions::default();
    other.queue_delete("sms.code".into(), options).await.unwrap();

    eventually("it is consumed again", async || {
        let depths = queue.depths().await.unwrap();
        depths.iter().any(|depth| depth.queue == "sms.code" && depth.consumers == 1)
    })
    .await;
    publish(&queue, CODE, "two").await;
    assert!(take(&mut codes, "two").await.receipt.ack(false).await);
    queue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_exchange_is_declared_again() {
    let vhost = services::rabbitmq().await;
    let (_connection, other) = channel(&vhost).await;
    let queue = open_at(&vhost).await;
    let options = ExchangeDeleteOptions::default();
    other.exchange_delete("sms.work".into(), options).await.unwrap();
    eventually("it is published again", async || {
        let message = Outgoing { id: "1".to_owned(), body: b"one".to_vec(), trace: None };
        queue.publish(CODE, message).await;
        // What came between the exchange and its binding is confirmed, but unrouted.
        depth(&queue, "sms.code").await.ready > 0
    })
    .await;
    take(&mut consume(&queue, CODES, 10), "one").await;
    queue.close().await;
}

/// Publishes one after another until `stop`; gives those that were confirmed.
async fn publish_until(stop: CancellationToken, queue: Queue) -> HashSet<Vec<u8>> {
    let mut confirmed = HashSet::new();
    for number in 0_u32.. {
        if stop.is_cancelled() {
            break;
        }
        let body = number.to_string().into_bytes();
        let message = Outgoing { id: number.to_string(), body: body.clone(), trace: None };
        if queue.publish(CODE, message).await == Published::Confirmed {
            confirmed.insert(body);
        } else {
            // Fails at once while there is no connection.
            tokio::task::yield_now().await;
        }
    }
    confirmed
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_confirmed_is_lost_when_connections_are_cut() {
    const CUTS: usize = 3;
    let vhost = services::rabbitmq().await;
    let queue = open_at(&vhost).await;
    let mut codes = consume(&queue, CODES, 50);
    let stop = CancellationToken::new();
    let publisher = tokio::spawn(publish_until(stop.clone(), queue.clone()));

    let cutter = async {
        let mut done = HashSet::new();
        for _ in 0..CUTS {
            let mut fresh = Vec::new();
            eventually("both connections are there", async || {
                fresh = connections(&vhost).await;
                fresh.retain(|name| !done.contains(name));
                fresh.len() == 2
            })
            .await;
            cut(&vhost, &fresh).await;
            done.extend(fresh);
        }
        stop.cancel();
        publisher.await.unwrap()
    };
    let (taken, mut arrived) = mpsc::unbounded_channel();
    let consumer = tokio::spawn(async move {
        while let Some(delivery) = codes.next().await {
            delivery.receipt.ack(false).await;
            taken.send(delivery.body).unwrap();
        }
    });
    let mut missing = cutter.await;
    assert!(!missing.is_empty());
    while !missing.is_empty() {
        let body = tokio::time::timeout(PATIENCE, arrived.recv()).await;
        missing.remove(&body.expect("a delivery in time").expect("the consumer goes on"));
    }
    drop(arrived);
    consumer.abort();
    queue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_broker_a_publish_fails_at_once() {
    let url = "amqp://guest:guest@127.0.0.1:1/%2f".to_owned();
    let queue = Queue::Rabbit(RabbitQueue::start(&url.into(), Duration::from_mins(1)));
    let message = Outgoing { id: "1".to_owned(), body: b"one".to_vec(), trace: None };
    let published = tokio::time::timeout(PATIENCE, queue.publish(CODE, message)).await;
    assert!(matches!(published, Ok(Published::Failed(_))), "{published:?}");
    assert!(queue.ping().await.is_err());
    assert!(queue.depths().await.is_err());
    queue.close().await;
}
