//! The queue on RabbitMQ: two supervised connections, confirmed publishes, consumers that subscribe again.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::protocol::AMQPSoftError;
use lapin::types::FieldTable;
use secrecy::SecretString;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

pub(super) use super::consumer::RabbitAcker;
use super::consumer::Subscriber;
use super::publisher::Address;
use super::supervisor::{Link, Purpose, Up, keep_up, unavailable};
use super::{
    Consumer, Depth, Destination, Outgoing, Published, QueueError, Rung, Source, publisher,
    topology,
};
use crate::model::job::Lane;
use crate::runtime::write_health::WriteHealth;

/// How long a question for every queue's length may take.
const DEPTHS: Duration = Duration::from_millis(1500);
/// Longest wait for the confirm of a probe: shorter than the probe itself may take.
const PROBE_CONFIRM_TIMEOUT: Duration = Duration::from_millis(800);
/// How long [`RabbitQueue::close`] may take.
const CLOSE: Duration = Duration::from_secs(3);

/// A handle; clones share the connections, which end with the last of them.
#[derive(Clone)]
pub struct RabbitQueue {
    shared: Arc<Shared>,
}

struct Shared {
    url: SecretString,
    confirm_timeout: Duration,
    publishing: Up,
    /// Opened by the first consumer: a process that only publishes needs none.
    consuming: OnceLock<Up>,
    health: WriteHealth<QueueError>,
    closed: CancellationToken,
    connections: TaskTracker,
    _closes_with_the_last_handle: DropGuard,
}

impl fmt::Debug for RabbitQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RabbitQueue")
    }
}

impl RabbitQueue {
    /// Starts the supervisor and returns at once; until it has a connection, publishes fail and
    /// consumers wait.
    #[must_use]
    pub fn start(url: &SecretString, confirm_timeout: Duration) -> Self {
        let closed = CancellationToken::new();
        let connections = TaskTracker::new();
        let shared = Shared {
            url: url.clone(),
            confirm_timeout,
            publishing: supervise(url, Purpose::Publish, &closed, &connections),
            consuming: OnceLock::new(),
            health: WriteHealth::new("queue"),
            _closes_with_the_last_handle: closed.clone().drop_guard(),
            closed,
            connections,
        };
        Self { shared: Arc::new(shared) }
    }

    pub async fn publish(&self, to: Destination, message: Outgoing) -> Published {
        let published =
            self.publish_to(Address::from(to), self.shared.confirm_timeout, message).await;
        self.shared.health.record(confirmed(&published));
        published
    }

    async fn publish_to(&self, to: Address, limit: Duration, message: Outgoing) -> Published {
        let link = self.shared.publishing.borrow().clone();
        publisher::publish(link, limit, to, &message).await
    }

    /// A broker in alarm, or without a quorum, confirms nothing, so that only a publish can tell.
    pub async fn check_writes(&self) -> Result<(), QueueError> {
        self.ping()?;
        let probe = async {
            let message = Outgoing { id: "probe".to_owned(), body: Vec::new(), trace: None };
            let limit = self.shared.confirm_timeout.min(PROBE_CONFIRM_TIMEOUT);
            confirmed(&self.publish_to(Address::probe(), limit, message).await)
        };
        self.shared.health.check(probe, || unavailable("no answer in time")).await
    }

    pub fn consume(&self, source: Source, prefetch: u16, stop: CancellationToken) -> Consumer {
        let Shared { url, closed, connections, consuming, .. } = &*self.shared;
        let up = consuming.get_or_init(|| supervise(url, Purpose::Consume, closed, connections));
        // One place: what isn't taken by our reader yet can still be given back when it stops.
        let (handed, deliveries) = mpsc::channel(1);
        let subscriber =
            Subscriber { source, prefetch, up: up.clone(), handed, stop, closed: closed.clone() };
        tokio::spawn(subscriber.run());
        Consumer { deliveries }
    }

    pub async fn depths(&self) -> Result<Vec<Depth>, QueueError> {
        let lanes = Lane::ALL.map(|lane| lane.queue().to_owned());
        let others = [Source::Rows, Source::Dead, Source::Unrouted].map(|s| s.queue().to_owned());
        let queues = lanes.into_iter().chain(Rung::all().map(Rung::queue)).chain(others);
        self.ask(queues.collect()).await
    }

    /// One lane's ready jobs: a lighter question than that for all lengths.
    pub async fn ready(&self, lane: Lane) -> Result<u64, QueueError> {
        let depths = self.ask(vec![lane.queue().to_owned()]).await?;
        let depth = depths.first().ok_or_else(|| unavailable("the lane's queue is gone"))?;
        Ok(depth.ready)
    }

    pub fn ping(&self) -> Result<(), QueueError> {
        if self.link()?.blocked() {
            return Err(unavailable("the broker has raised an alarm"));
        }
        Ok(())
    }

    pub async fn close(&self) {
        self.shared.closed.cancel();
        self.shared.connections.close();
        if timeout(CLOSE, self.shared.connections.wait()).await.is_err() {
            tracing::warn!("the connections to the broker are left to end with the process");
        }
    }

    fn link(&self) -> Result<Arc<Link>, QueueError> {
        let link = self.shared.publishing.borrow().clone().filter(|link| link.usable());
        link.ok_or_else(|| unavailable("there is no connection to the broker"))
    }

    /// Declares each queue passively, which answers with its length; a queue that doesn't exist is left out.
    async fn ask(&self, queues: Vec<String>) -> Result<Vec<Depth>, QueueError> {
        let link = self.link()?;
        let asked = async {
            let mut depths = Vec::with_capacity(queues.len());
            // A channel of its own: a queue that isn't there closes it.
            let mut channel = link.channel().await?;
            for queue in queues {
                match length(&channel, &queue).await {
                    Ok((ready, consumers)) => depths.push(Depth { queue, ready, consumers }),
                    Err(error) if topology::is_soft(&error, &AMQPSoftError::NOTFOUND) => {
                        channel = link.channel().await?;
                    }
                    Err(error) => return Err(unavailable(error)),
                }
            }
            Ok(depths)
        };
        timeout(DEPTHS, asked).await.map_err(unavailable)?
    }
}

fn confirmed(published: &Published) -> Result<(), QueueError> {
    match published {
        Published::Confirmed => Ok(()),
        Published::Failed(why) | Published::Unknown(why) => Err(unavailable(why)),
    }
}

/// Ready messages and consumers.
async fn length(channel: &Channel, queue: &str) -> Result<(u64, u64), lapin::Error> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
    let queue = channel.queue_declare(queue.into(), options, FieldTable::default()).await?;
    Ok((queue.message_count().into(), queue.consumer_count().into()))
}

fn supervise(
    url: &SecretString,
    purpose: Purpose,
    closed: &CancellationToken,
    connections: &TaskTracker,
) -> Up {
    let (current, up) = watch::channel(None);
    connections.spawn(keep_up(url.clone(), purpose, closed.clone(), current));
    up
}
