//! The queue as a table of the embedded database: taken in batches, acked in batches, woken within the process.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::SqliteConnection;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    Acker, Consumer, Delivery, Depth, Destination, Outgoing, Published, QueueError, Receipt, Rung,
    Source,
};
use crate::job::Lane;
use crate::sqlite::{Sqlite, SqliteError};

/// How long a consumer sleeps at the most before it looks for retries that came due.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// Acks that wait for the next delete.
const ACKS: usize = 4096;

const GIVE_BACK_ALL: &str = "UPDATE queue_job SET taken = 0 WHERE taken = 1";
const DELETE: &str = "DELETE FROM queue_job WHERE id IN (SELECT value FROM json_each(?1))";
const DEPTHS: &str = "SELECT coalesce(rung, queue), count(*) FROM (
    SELECT queue, CASE WHEN available_at > CAST(unixepoch('subsec') * 1000 AS INTEGER) THEN rung END AS rung
    FROM queue_job WHERE taken = 0) GROUP BY 1";
const READY: &str = "SELECT count(*) FROM queue_job WHERE queue = ?1 AND taken = 0
    AND available_at <= CAST(unixepoch('subsec') * 1000 AS INTEGER)";
const ENQUEUE: &str = "INSERT INTO queue_job (queue, rung, message_id, trace, body, available_at)
    VALUES (?1, ?2, ?3, ?4, ?5, CAST(unixepoch('subsec') * 1000 AS INTEGER) + ?6)";
const TAKE: &str = "UPDATE queue_job SET taken = 1, rung = NULL, deliveries = deliveries + 1
    WHERE id IN (SELECT id FROM queue_job WHERE queue = ?1 AND taken = 0
                 AND available_at <= CAST(unixepoch('subsec') * 1000 AS INTEGER)
                 ORDER BY available_at, id LIMIT ?2)
    RETURNING id, deliveries, trace, body";

type Taken = (i64, i64, Option<String>, Vec<u8>);

#[derive(Clone)]
pub struct SqliteQueue {
    shared: Arc<Shared>,
}

struct Shared {
    sqlite: Sqlite,
    wake: HashMap<&'static str, Notify>,
    consumers: HashMap<&'static str, AtomicUsize>,
    acks: mpsc::Sender<Ack>,
    sessions: AtomicU64,
    closed: CancellationToken,
}

/// Rows to delete, and who waits for it.
struct Ack {
    ids: Vec<i64>,
    done: oneshot::Sender<bool>,
}

/// What a consumer took and nobody acked yet, by tag.
type Unacked = Mutex<BTreeMap<u64, i64>>;

#[derive(Clone)]
pub(super) struct SqliteAcker {
    acks: mpsc::Sender<Ack>,
    unacked: Arc<Unacked>,
    freed: Arc<Notify>,
}

impl fmt::Debug for SqliteQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SqliteQueue")
    }
}

impl SqliteAcker {
    pub(super) async fn ack(&self, tag: u64, multiple: bool) -> bool {
        let ids: Vec<i64> = {
            let mut unacked = self.unacked.lock().unwrap_or_else(PoisonError::into_inner);
            if multiple {
                let later = unacked.split_off(&(tag + 1));
                std::mem::replace(&mut *unacked, later).into_values().collect()
            } else {
                unacked.remove(&tag).into_iter().collect()
            }
        };
        if ids.is_empty() {
            return false;
        }
        self.freed.notify_one();
        let (done, deleted) = oneshot::channel();
        self.acks.send(Ack { ids, done }).await.is_ok() && deleted.await.unwrap_or(false)
    }
}

impl SqliteQueue {
    /// Takes over the table: what an earlier process had taken and not acked is ready again, as redelivered.
    pub async fn start(sqlite: Sqlite) -> Result<Self, QueueError> {
        execute(&sqlite, GIVE_BACK_ALL, None).await.map_err(unavailable)?;
        let names = || [Lane::Code.queue(), Lane::Notice.queue(), Source::Rows.queue()];
        let (acks, waiting) = mpsc::channel(ACKS);
        tokio::spawn(delete_acked(sqlite.clone(), waiting));
        let shared = Shared {
            sqlite,
            wake: names().map(|name| (name, Notify::new())).into(),
            consumers: names().map(|name| (name, AtomicUsize::new(0))).into(),
            acks,
            sessions: AtomicU64::new(1),
            closed: CancellationToken::new(),
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
                self.wake_queue(queue);
                Published::Confirmed
            }
            Err(error) => Published::Failed(error.to_string()),
        }
    }

    /// Puts a message into its lane within the caller's transaction; [`SqliteQueue::wake`] after the commit.
    pub async fn enqueue(
        connection: &mut SqliteConnection,
        lane: Lane,
        message: &Outgoing,
    ) -> Result<(), sqlx::Error> {
        put(connection, lane.queue(), None, message).await
    }

    /// Tells the lane's consumers that there is something new.
    pub fn wake(&self, lane: Lane) {
        self.wake_queue(lane.queue());
    }

    fn wake_queue(&self, queue: &'static str) {
        if let Some(notify) = self.shared.wake.get(queue) {
            notify.notify_one();
        }
    }

    /// Nothing is ever dead or unrouted here: those consumers only wait for their end.
    pub fn consume(&self, source: Source, prefetch: u16, stop: CancellationToken) -> Consumer {
        let (handed, deliveries) = mpsc::channel(usize::from(prefetch.max(1)));
        if matches!(source, Source::Lane(_) | Source::Rows) {
            let taker = Taker::new(self.shared.clone(), source, prefetch);
            tokio::spawn(async move {
                let closed = taker.shared.closed.clone();
                tokio::select! {
                    () = taker.run(&handed) => {}
                    () = stop.cancelled() => {}
                    () = closed.cancelled() => {}
                }
            });
        } else {
            tokio::spawn(async move {
                stop.cancelled().await;
                drop(handed);
            });
        }
        Consumer { deliveries }
    }

    /// Every queue with anything in it, and the lanes.
    pub async fn depths(&self) -> Result<Vec<Depth>, QueueError> {
        let rows: Vec<(String, i64)> = sqlx::query_as(DEPTHS)
            .fetch_all(self.shared.sqlite.readers())
            .await
            .map_err(unavailable)?;
        let counted: HashMap<String, i64> = rows.into_iter().collect();
        let fixed =
            [Source::Lane(Lane::Code), Source::Lane(Lane::Notice), Source::Rows].map(Source::queue);
        let names = fixed.into_iter().map(str::to_owned).chain(Rung::all().map(Rung::queue));
        Ok(names
            .map(|queue| {
                let ready = counted.get(&queue).map_or(0, |count| count.unsigned_abs());
                let consumers = self.shared.consumers.get(queue.as_str());
                let consumers = consumers.map_or(0, |count| count.load(Ordering::Relaxed));
                Depth { queue, ready, consumers: consumers as u64 }
            })
            .collect())
    }

    pub async fn ready(&self, lane: Lane) -> Result<u64, QueueError> {
        let count = sqlx::query_scalar::<_, i64>(READY).bind(lane.queue());
        let count = count.fetch_one(self.shared.sqlite.readers()).await.map_err(unavailable)?;
        Ok(count.unsigned_abs())
    }

    pub async fn ping(&self) -> Result<(), QueueError> {
        let one = sqlx::query("SELECT 1").fetch_one(self.shared.sqlite.readers());
        one.await.map(drop).map_err(unavailable)
    }

    /// Stops every consumer and gives back what is taken.
    pub async fn close(&self) {
        self.shared.closed.cancel();
        if let Err(error) = execute(&self.shared.sqlite, GIVE_BACK_ALL, None).await {
            tracing::warn!(%error, "what was taken is given back at the next start");
        }
    }
}

/// One consumer: takes what its prefetch has room for, and sleeps until something is put.
struct Taker {
    shared: Arc<Shared>,
    queue: &'static str,
    prefetch: usize,
    session: u64,
    unacked: Arc<Unacked>,
    freed: Arc<Notify>,
}

impl Taker {
    fn new(shared: Arc<Shared>, source: Source, prefetch: u16) -> Self {
        let queue = source.queue();
        if let Some(count) = shared.consumers.get(queue) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        Self {
            session: shared.sessions.fetch_add(1, Ordering::Relaxed),
            queue,
            prefetch: usize::from(prefetch.max(1)),
            unacked: Arc::default(),
            freed: Arc::default(),
            shared,
        }
    }

    async fn run(&self, handed: &mpsc::Sender<Delivery>) {
        let mut tag = 0;
        let acker = Acker::Sqlite(SqliteAcker {
            acks: self.shared.acks.clone(),
            unacked: self.unacked.clone(),
            freed: self.freed.clone(),
        });
        loop {
            let taken = self.take().await;
            let idle = taken.is_empty();
            for (id, deliveries, trace, body) in taken {
                tag += 1;
                self.unacked.lock().unwrap_or_else(PoisonError::into_inner).insert(tag, id);
                let receipt = Receipt { session: self.session, tag, acker: acker.clone() };
                let delivery = Delivery {
                    body,
                    redelivered: deliveries > 1,
                    trace,
                    routing_key: self.queue.trim_start_matches("sms.").to_owned(),
                    receipt,
                };
                if handed.send(delivery).await.is_err() {
                    return;
                }
            }
            if idle {
                self.sleep().await;
            }
        }
    }

    /// As many as there is room for; none while there is no room.
    async fn take(&self) -> Vec<Taken> {
        let held = self.unacked.lock().unwrap_or_else(PoisonError::into_inner).len();
        let room = i64::try_from(self.prefetch.saturating_sub(held)).unwrap_or(i64::MAX);
        if room == 0 {
            return Vec::new();
        }
        let queue = self.queue;
        let take = self.shared.sqlite.write(move |connection| {
            Box::pin(async move {
                let mut taken: Vec<Taken> =
                    sqlx::query_as(TAKE).bind(queue).bind(room).fetch_all(connection).await?;
                taken.sort_unstable_by_key(|(id, ..)| *id);
                Ok(taken)
            })
        });
        take.await.unwrap_or_else(|error| {
            tracing::warn!(%error, queue, "nothing could be taken");
            Vec::new()
        })
    }

    async fn sleep(&self) {
        let put = self.shared.wake.get(self.queue);
        tokio::select! {
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            () = self.freed.notified() => {}
            () = async { match put {
                Some(notify) => notify.notified().await,
                None => std::future::pending().await,
            } } => {}
        }
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        if let Some(count) = self.shared.consumers.get(self.queue) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

async fn put(
    connection: &mut SqliteConnection,
    queue: &'static str,
    rung: Option<Rung>,
    message: &Outgoing,
) -> Result<(), sqlx::Error> {
    let delay = rung.map_or(Duration::ZERO, Rung::delay);
    sqlx::query(ENQUEUE)
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

/// Deletes what was acked, as much at once as waits.
async fn delete_acked(sqlite: Sqlite, mut waiting: mpsc::Receiver<Ack>) {
    let mut acks = Vec::with_capacity(ACKS);
    while waiting.recv_many(&mut acks, ACKS).await > 0 {
        let ids: Vec<i64> = acks.iter().flat_map(|ack| ack.ids.iter().copied()).collect();
        let deleted = execute(&sqlite, DELETE, Some(ids)).await;
        if let Err(error) = &deleted {
            tracing::warn!(%error, "acked messages stay in the queue; their claims drop them");
        }
        for ack in acks.drain(..) {
            // Whoever doesn't wait for it needn't be told.
            let _nobody_waits = ack.done.send(deleted.is_ok());
        }
    }
}

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
