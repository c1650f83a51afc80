//! The queue as a table of the embedded database: taken in batches, acked in batches, woken within the process.

mod acks;
mod taker;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use serde::Serialize;
use sqlx::SqliteConnection;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::acks::Acks;
pub(super) use self::acks::SqliteAcker;
use self::taker::Taker;
use super::{Consumer, Depth, Destination, Outgoing, Published, QueueError, Rung, Source};
use crate::model::ids::MessageId;
use crate::model::job::{Job, Lane};
use crate::sqlite::{Sqlite, SqliteError};

const GIVE_BACK: &str =
    "UPDATE queue_job SET taken = 0 WHERE id IN (SELECT value FROM json_each(?1))";
const GIVE_BACK_ALL: &str = "UPDATE queue_job SET taken = 0 WHERE taken = 1";
/// A retry that came due is its lane's.
const DEPTHS: &str = "SELECT coalesce(rung, queue), count(*) FROM (
    SELECT queue, CASE WHEN available_at > CAST(unixepoch('subsec') * 1000 AS INTEGER) THEN rung END AS rung
    FROM queue_job WHERE taken = 0) GROUP BY 1";
const PUT: &str = "INSERT INTO queue_job (queue, rung, message_id, trace, body, available_at)
    VALUES (?1, ?2, ?3, ?4, ?5, CAST(unixepoch('subsec') * 1000 AS INTEGER) + ?6)";

const SOURCES: [Source; 5] = [
    Source::Lane(Lane::Code),
    Source::Lane(Lane::Notice),
    Source::Rows,
    Source::Dead,
    Source::Unrouted,
];

/// A handle; clones share consumers and wakes.
#[derive(Clone)]
pub struct SqliteQueue {
    shared: Arc<Shared>,
}

struct Shared {
    sqlite: Sqlite,
    /// By queue.
    wakes: HashMap<&'static str, Arc<Wake>>,
    acks: Acks,
    sessions: AtomicU64,
    closed: CancellationToken,
    /// Consumers, and acks on their way: they end before everything is given back.
    running: TaskTracker,
}

/// The view that puts jobs into their lanes; [`SqliteQueue::wake`] after the commit.
pub(crate) const ENQUEUE: &str = "enqueue";

/// What that view is asked.
pub(crate) fn enqueue_request(job: &Job, trace: Option<&str>) -> Result<String, sqlx::Error> {
    let body = String::from_utf8(job.encode()).map_err(|e| sqlx::Error::Encode(e.into()))?;
    let request = Enqueue { queue: job.lane.queue(), message_id: job.message_id, trace, body };
    serde_json::to_string(&request).map_err(|e| sqlx::Error::Encode(e.into()))
}

#[derive(Serialize)]
struct Enqueue<'a> {
    queue: &'static str,
    message_id: MessageId,
    trace: Option<&'a str>,
    body: String,
}

/// Tells a queue's consumers that there is something new.
#[derive(Default)]
struct Wake {
    put: Notify,
    consumers: AtomicUsize,
}

impl fmt::Debug for SqliteQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SqliteQueue")
    }
}

impl SqliteQueue {
    /// Takes over the table: what an earlier process had taken and not acked is ready again, as redelivered.
    pub async fn start(sqlite: Sqlite) -> Result<Self, QueueError> {
        execute(&sqlite, GIVE_BACK_ALL, None).await.map_err(unavailable)?;
        let closed = CancellationToken::new();
        let running = TaskTracker::new();
        let shared = Shared {
            wakes: SOURCES.map(|source| (source.queue(), Arc::default())).into(),
            acks: Acks::start(sqlite.clone(), closed.clone(), running.clone()),
            sqlite,
            sessions: AtomicU64::new(1),
            closed,
            running,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    pub async fn publish(&self, to: Destination, message: Outgoing) -> Published {
        let (queue, rung) = match to {
            Destination::Lane(lane) => (lane.queue(), None),
            Destination::Retry(lane, rung) => (lane.queue(), Some(rung)),
            Destination::Rows => (Source::Rows.queue(), None),
        };
        let inserted = self.shared.sqlite.write(move |connection| {
            let message = message.clone();
            Box::pin(async move { put(connection, queue, rung, &message).await })
        });
        match inserted.await {
            Ok(()) => {
                self.shared.wake(queue);
                Published::Confirmed
            }
            Err(error) => Published::Failed(error.to_string()),
        }
    }

    /// Tells the lane's consumers that there is something new.
    pub fn wake(&self, lane: Lane) {
        self.shared.wake(lane.queue());
    }

    /// Nothing is ever dead or unrouted here: those consumers only wait for their end.
    pub fn consume(&self, source: Source, prefetch: u16, stop: CancellationToken) -> Consumer {
        // One place: what isn't taken by our reader yet can still be given back when it stops.
        let (handed, deliveries) = mpsc::channel(1);
        let shared = &self.shared;
        let queue = source.queue();
        let taker = Taker {
            sqlite: shared.sqlite.clone(),
            queue,
            prefetch: usize::from(prefetch.max(1)),
            wake: shared.wakes.get(queue).cloned().unwrap_or_default(),
            session: shared.acks.session(shared.sessions.fetch_add(1, Ordering::Relaxed)),
            handed,
            stop,
            closed: shared.closed.clone(),
        };
        shared.running.spawn(taker.run());
        Consumer { deliveries }
    }

    pub async fn depths(&self) -> Result<Vec<Depth>, QueueError> {
        let counts = sqlx::query_as::<_, (String, i64)>(DEPTHS);
        let counts = counts.fetch_all(self.shared.sqlite.readers()).await.map_err(unavailable)?;
        let counts: HashMap<String, i64> = counts.into_iter().collect();
        let depth = |queue: String| {
            let ready = counts.get(&queue).map_or(0, |count| count.unsigned_abs());
            Depth { consumers: self.shared.consumers(&queue), queue, ready }
        };
        let sources = SOURCES.map(|source| source.queue().to_owned());
        Ok(sources.into_iter().chain(Rung::all().map(Rung::queue)).map(depth).collect())
    }

    pub async fn ping(&self) -> Result<(), QueueError> {
        let one = sqlx::query("SELECT 1").fetch_one(self.shared.sqlite.readers());
        one.await.map(drop).map_err(unavailable)
    }

    pub async fn check_writes(&self) -> Result<(), QueueError> {
        self.shared.sqlite.check_writes().await.map_err(unavailable)
    }

    /// Stops every consumer and gives back what is taken.
    pub async fn close(&self) {
        self.shared.closed.cancel();
        self.shared.running.close();
        self.shared.running.wait().await;
        if let Err(error) = execute(&self.shared.sqlite, GIVE_BACK_ALL, None).await {
            tracing::warn!(%error, "what was taken is given back at the next start");
        }
    }
}

impl Shared {
    fn wake(&self, queue: &str) {
        if let Some(wake) = self.wakes.get(queue) {
            wake.put.notify_one();
        }
    }

    fn consumers(&self, queue: &str) -> u64 {
        let consumers = self.wakes.get(queue).map(|wake| wake.consumers.load(Ordering::Relaxed));
        consumers.and_then(|count| u64::try_from(count).ok()).unwrap_or_default()
    }
}

async fn put(
    connection: &mut SqliteConnection,
    queue: &'static str,
    rung: Option<Rung>,
    message: &Outgoing,
) -> Result<(), sqlx::Error> {
    let delay = rung.map_or(Duration::ZERO, Rung::delay);
    sqlx::query(PUT)
        .bind(queue)
        .bind(rung.map(Rung::queue))
        .bind(&message.id)
        .bind(&message.trace)
        .bind(&message.body)
        .bind(i64::try_from(delay.as_millis()).unwrap_or(i64::MAX))
        .execute(connection)
        .await
        .map(drop)
}

/// Runs a statement; its one parameter is the rows it is for, as a JSON array.
async fn execute(
    sqlite: &Sqlite,
    sql: &'static str,
    ids: Option<Vec<i64>>,
) -> Result<(), SqliteError> {
    let ids = ids.map(|ids| serde_json::Value::from(ids).to_string());
    let executed = sqlite.write(move |connection| {
        let ids = ids.clone();
        Box::pin(async move {
            let query = sqlx::query(sql);
            let query = if let Some(ids) = ids { query.bind(ids) } else { query };
            query.execute(connection).await.map(drop)
        })
    });
    executed.await
}

fn unavailable(error: impl fmt::Display) -> QueueError {
    QueueError::Unavailable(error.to_string())
}
