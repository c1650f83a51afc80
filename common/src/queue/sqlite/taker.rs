//! One consumer: takes what its prefetch has room for, and sleeps until something is put or comes due.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::acks::{Session, SqliteAcker};
use super::{GIVE_BACK, Wake, execute};
use crate::model::job::Lane;
use crate::queue::{Acker, Delivery, Receipt};
use crate::sqlite::{Sqlite, SqliteError};

/// How long it sleeps: at the most, because a command beside this process may put something and wakes nobody; at
/// the least, because what is due may have been taken by another consumer.
const LONGEST: Duration = Duration::from_secs(1);
const SHORTEST: Duration = Duration::from_millis(10);

const TAKE: &str = "UPDATE queue_job SET taken = 1, rung = NULL, deliveries = deliveries + 1
    WHERE id IN (SELECT id FROM queue_job WHERE queue = ?1 AND taken = 0
                 AND available_at <= CAST(unixepoch('subsec') * 1000 AS INTEGER)
                 ORDER BY available_at, id LIMIT ?2)
    RETURNING id, deliveries, trace, body";
/// In how many milliseconds the first comes due.
const DUE: &str = "SELECT min(available_at) - CAST(unixepoch('subsec') * 1000 AS INTEGER)
    FROM queue_job WHERE queue = ?1 AND taken = 0";

/// A row of the table.
#[derive(sqlx::FromRow)]
struct Taken {
    id: i64,
    deliveries: i64,
    trace: Option<String>,
    body: Vec<u8>,
}

pub(super) struct Taker {
    pub(super) sqlite: Sqlite,
    pub(super) queue: &'static str,
    pub(super) prefetch: usize,
    pub(super) wake: Arc<Wake>,
    pub(super) session: Arc<Session>,
    pub(super) handed: mpsc::Sender<Delivery>,
    /// Its owner wants no more.
    pub(super) stop: CancellationToken,
    /// The whole queue is closed.
    pub(super) closed: CancellationToken,
}

impl Taker {
    pub(super) async fn run(self) {
        self.wake.consumers.fetch_add(1, Ordering::Relaxed);
        let (mut tag, mut failing) = (0, false);
        while let Some(room) = self.room().await {
            let taken = match self.take(room).await {
                Ok(taken) => taken,
                Err(error) => {
                    self.log(&error, std::mem::replace(&mut failing, true));
                    self.rest().await;
                    continue;
                }
            };
            failing = false;
            if taken.is_empty() {
                self.sleep().await;
                continue;
            }
            let mut taken = taken.into_iter();
            while let Some(row) = taken.next() {
                let Some(place) = self.place().await else {
                    self.give_back([row].into_iter().chain(taken)).await;
                    break;
                };
                tag += 1;
                place.send(self.hand_out(tag, row));
            }
        }
        self.wake.consumers.fetch_sub(1, Ordering::Relaxed);
        self.session.stopped.store(true, Ordering::SeqCst);
    }

    async fn ended(&self) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.closed.cancelled() => {}
            () = self.handed.closed() => {}
        }
    }

    fn has_ended(&self) -> bool {
        self.stop.is_cancelled() || self.closed.is_cancelled() || self.handed.is_closed()
    }

    /// Waits until there is room, and says for how many; `None` at the end.
    async fn room(&self) -> Option<usize> {
        while !self.has_ended() {
            match self.prefetch.saturating_sub(self.session.held()) {
                0 => tokio::select! {
                    () = self.ended() => {}
                    () = self.session.freed.notified() => {}
                },
                room => return Some(room),
            }
        }
        None
    }

    /// Oldest first. It runs to its end, whoever stops meanwhile: what is taken is known.
    async fn take(&self, room: usize) -> Result<Vec<Taken>, SqliteError> {
        let queue = self.queue;
        let room = i64::try_from(room).unwrap_or(i64::MAX);
        let take = self.sqlite.write(move |connection| {
            Box::pin(async move {
                let take = sqlx::query_as::<_, Taken>(TAKE).bind(queue).bind(room);
                let mut taken = take.fetch_all(connection).await?;
                // RETURNING keeps no order.
                taken.sort_unstable_by_key(|row| row.id);
                Ok(taken)
            })
        });
        take.await
    }

    async fn place(&self) -> Option<mpsc::Permit<'_, Delivery>> {
        tokio::select! {
            biased;
            () = self.ended() => None,
            place = self.handed.reserve() => place.ok(),
        }
    }

    fn hand_out(&self, tag: u64, row: Taken) -> Delivery {
        self.session.hand_out(tag, row.id);
        let acker = Acker::Sqlite(SqliteAcker(self.session.clone()));
        Delivery {
            body: row.body,
            redelivered: row.deliveries > 1,
            trace: row.trace,
            routing_key: routing_key(self.queue).to_owned(),
            receipt: Receipt { session: self.session.number, tag, acker },
        }
    }

    async fn give_back(&self, rows: impl Iterator<Item = Taken>) {
        let ids = rows.map(|row| row.id).collect();
        if let Err(error) = execute(&self.sqlite, GIVE_BACK, Some(ids)).await {
            tracing::warn!(%error, "what was taken is given back when the queue is closed");
        }
        // Another consumer may have room for them.
        self.wake.put.notify_one();
    }

    /// Once an outage: tries are many.
    fn log(&self, error: &SqliteError, again: bool) {
        if again {
            tracing::debug!(%error, queue = self.queue, "still nothing could be taken");
        } else {
            tracing::warn!(%error, queue = self.queue, "nothing could be taken; trying on");
        }
    }

    /// Waits after a failure, whatever is put meanwhile.
    async fn rest(&self) {
        tokio::select! {
            () = self.ended() => {}
            () = tokio::time::sleep(LONGEST) => {}
        }
    }

    async fn sleep(&self) {
        let due = sqlx::query_scalar::<_, Option<i64>>(DUE).bind(self.queue);
        let due = due.fetch_one(self.sqlite.readers()).await.ok().flatten();
        let due = due.map(|due| Duration::from_millis(due.max(0).unsigned_abs()));
        let due = due.map_or(LONGEST, |due| due.clamp(SHORTEST, LONGEST));
        tokio::select! {
            () = self.ended() => {}
            () = self.wake.put.notified() => {}
            () = tokio::time::sleep(due) => {}
        }
    }
}

/// As on RabbitMQ: a lane's own, and for what goes past the work exchange the queue's name.
fn routing_key(queue: &'static str) -> &'static str {
    let lane = Lane::ALL.into_iter().find(|lane| lane.queue() == queue);
    lane.map_or(queue, Lane::as_str)
}
