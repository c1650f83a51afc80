//! A network that swallows everything: nothing is closed, nothing is answered.

use std::time::{Duration, Instant};

use postrider_common::queue::rabbitmq::RabbitQueue;
use postrider_common::queue::{Outgoing, Published, Queue};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::{CODE, CODES, consume, eventually, next, open_at, publish, take};
use crate::harness::services;

/// Between us and the broker; connections made before [`Line::silence`] say nothing any more, for ever.
struct Line {
    port: u16,
    silent: watch::Sender<u32>,
}

impl Line {
    async fn to(broker: &str) -> Self {
        let broker = broker.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (silent, times) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((ours, _)) = listener.accept().await {
                let theirs = TcpStream::connect(&broker).await.unwrap();
                tokio::spawn(carry(ours, theirs, times.clone()));
            }
        });
        Self { port, silent }
    }

    fn silence(&self) {
        self.silent.send_modify(|times| *times += 1);
    }
}

async fn carry(mut ours: TcpStream, mut theirs: TcpStream, mut times: watch::Receiver<u32>) {
    times.mark_unchanged();
    let silenced = tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut ours, &mut theirs) => false,
        changed = times.changed() => changed.is_ok(),
    };
    if silenced {
        // Both ends stay open.
        std::future::pending::<()>().await;
    }
}

fn message(body: &str) -> Outgoing {
    Outgoing { id: body.to_owned(), body: body.into(), trace: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirm_that_never_comes_is_unknown_and_the_connection_is_replaced() {
    const LIMIT: Duration = Duration::from_secs(2);
    let vhost = services::rabbitmq().await;
    let mut url = reqwest::Url::parse(&vhost.url()).unwrap();
    let broker = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
    let line = Line::to(&broker).await;
    url.set_port(Some(line.port)).unwrap();
    let queue = Queue::Rabbit(RabbitQueue::start(&String::from(url).into(), LIMIT));
    eventually("the queue is reachable", async || queue.ping().await.is_ok()).await;
    publish(&queue, CODE, "one").await;

    line.silence();
    let asked = Instant::now();
    let published = queue.publish(CODE, message("two")).await;
    assert!(matches!(published, Published::Unknown(_)), "{published:?}");
    assert!(asked.elapsed() < LIMIT * 2);
    eventually("it is published again", async || {
        queue.publish(CODE, message("three")).await == Published::Confirmed
    })
    .await;

    let sound = open_at(&vhost).await;
    let mut codes = consume(&sound, CODES, 10);
    take(&mut codes, "one").await;
    // The line may have carried one more message before it fell silent: unknown is unknown.
    let mut last = next(&mut codes).await;
    if *last.body == *b"two" {
        last = next(&mut codes).await;
    }
    assert_eq!(*last.body, *b"three");
    queue.close().await;
    sound.close().await;
}
