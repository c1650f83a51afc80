//! The queue between API and worker. Two backends: RabbitMQ, and a table of the embedded database; one contract
//! suite runs over both.

mod consumer;
mod publisher;
pub mod rabbitmq;
pub mod rung;
pub mod sqlite;
mod supervisor;
mod topology;

use std::fmt;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use crate::model::job::Lane;
pub use rung::Rung;

/// The queue as this process uses it.
#[derive(Debug, Clone)]
pub enum Queue {
    Rabbit(rabbitmq::RabbitQueue),
    Sqlite(sqlite::SqliteQueue),
}

/// Where a message is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// A lane's work queue.
    Lane(Lane),
    /// A lane's work queue, after the rung's delay.
    Retry(Lane, Rung),
    /// Rows that the database couldn't take yet.
    Rows,
}

impl Destination {
    fn word(self) -> &'static str {
        match self {
            Self::Lane(lane) => lane.as_str(),
            Self::Retry(..) => "retry",
            Self::Rows => "rows",
        }
    }
}

/// Where messages are taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    Lane(Lane),
    Rows,
    /// What the broker itself gave up on.
    Dead,
    /// What the work exchange had no queue for.
    Unrouted,
}

impl Source {
    /// The queue's name at the broker.
    #[must_use]
    pub fn queue(self) -> &'static str {
        match self {
            Self::Lane(lane) => lane.queue(),
            Self::Rows => "sms.rows",
            Self::Dead => "sms.dead",
            Self::Unrouted => "sms.unrouted",
        }
    }
}

/// What is published. `id` is the message's id: whoever takes it may meet it twice.
#[derive(Debug, Clone)]
pub struct Outgoing {
    pub id: String,
    pub body: Vec<u8>,
    /// W3C `traceparent`, handed on unchanged.
    pub trace: Option<String>,
}

/// What is known of a publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Published {
    /// It is on disk.
    Confirmed,
    /// It surely isn't in the queue.
    Failed(String),
    /// No confirm came: it may be in the queue.
    Unknown(String),
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum QueueError {
    #[error("the queue can't be reached: {0}")]
    Unavailable(String),
}

/// One message as it was handed to us, to be acked once.
#[derive(Debug)]
pub struct Delivery {
    pub body: Vec<u8>,
    /// Whether it may have been handed out before.
    pub redelivered: bool,
    pub trace: Option<String>,
    /// The routing key it carries: for an unrouted or dead message, the lane it was meant for.
    pub routing_key: String,
    pub receipt: Receipt,
}

/// What a delivery is acked with. Tags count up from 1 within a session; a session is one channel's life.
#[derive(Clone)]
pub struct Receipt {
    pub session: u64,
    pub tag: u64,
    acker: Acker,
}

#[derive(Clone)]
enum Acker {
    Rabbit(rabbitmq::RabbitAcker),
    Sqlite(sqlite::SqliteAcker),
}

impl Receipt {
    /// The receipt of another delivery of the same session.
    #[must_use]
    pub fn with_tag(&self, tag: u64) -> Self {
        Self { tag, ..self.clone() }
    }

    /// Acks this delivery; with `multiple`, every unacked one of the session up to it. `false`: the session is
    /// over, and what was unacked will be handed out again.
    pub async fn ack(&self, multiple: bool) -> bool {
        match &self.acker {
            Acker::Rabbit(acker) => acker.ack(self.tag, multiple).await,
            Acker::Sqlite(acker) => acker.ack(self.tag, multiple).await,
        }
    }

    /// Gives this delivery back, for a consumer to take at once.
    pub async fn give_back(&self) {
        match &self.acker {
            Acker::Rabbit(acker) => acker.give_back(self.tag).await,
            Acker::Sqlite(acker) => acker.give_back(self.tag).await,
        }
    }

    /// Whether its session is over: nothing of it can be acked any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        match &self.acker {
            Acker::Rabbit(acker) => acker.is_over(),
            Acker::Sqlite(acker) => acker.is_over(),
        }
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receipt({}:{})", self.session, self.tag)
    }
}

/// Deliveries from one source, across reconnects.
#[derive(Debug)]
pub struct Consumer {
    deliveries: tokio::sync::mpsc::Receiver<Delivery>,
}

impl Consumer {
    /// The next delivery; `None` once the consumer was stopped. What was handed out and isn't acked stays
    /// ours until [`Queue::close`], and goes back then.
    pub async fn next(&mut self) -> Option<Delivery> {
        self.deliveries.recv().await
    }
}

/// One queue's length, as the broker counts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Depth {
    /// `sms.code`, `sms.retry.8`, `sms.dead` ...
    pub queue: String,
    pub ready: u64,
    pub consumers: u64,
}

impl Queue {
    /// Publishes, and waits for the confirm (at most `[queue] confirm_timeout`).
    pub async fn publish(&self, to: Destination, message: Outgoing) -> Published {
        let began = Instant::now();
        let published = match self {
            Self::Rabbit(queue) => queue.publish(to, message).await,
            Self::Sqlite(queue) => queue.publish(to, message).await,
        };
        // One that fails at once, for there is no connection, would make an outage look fast.
        if published == Published::Confirmed {
            metrics::histogram!("sms_publish_duration_seconds", "to" => to.word())
                .record(began.elapsed().as_secs_f64());
        }
        published
    }

    /// Starts to take messages, at most `prefetch` unacked at a time, until `stop`.
    #[must_use]
    pub fn consume(&self, source: Source, prefetch: u16, stop: CancellationToken) -> Consumer {
        match self {
            Self::Rabbit(queue) => queue.consume(source, prefetch, stop),
            Self::Sqlite(queue) => queue.consume(source, prefetch, stop),
        }
    }

    /// Every queue's length: lanes, rungs, rows, dead, unrouted.
    pub async fn depths(&self) -> Result<Vec<Depth>, QueueError> {
        match self {
            Self::Rabbit(queue) => queue.depths().await,
            Self::Sqlite(queue) => queue.depths().await,
        }
    }

    /// Whether a publish could be tried now: there is a connection, and no alarm is known.
    pub async fn ping(&self) -> Result<(), QueueError> {
        match self {
            Self::Rabbit(queue) => queue.ping(),
            Self::Sqlite(queue) => queue.ping().await,
        }
    }

    /// Whether a publish would be confirmed now: known from real ones or a probe of the last second.
    pub async fn check_writes(&self) -> Result<(), QueueError> {
        match self {
            Self::Rabbit(queue) => queue.check_writes().await,
            Self::Sqlite(queue) => queue.check_writes().await,
        }
    }

    /// Gives back what was taken and not acked, and ends the connection.
    pub async fn close(&self) {
        match self {
            Self::Rabbit(queue) => queue.close().await,
            Self::Sqlite(queue) => queue.close().await,
        }
    }
}
