//! Acks of one process, collected: many rows are deleted by one statement.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{GIVE_BACK, execute};
use crate::sqlite::Sqlite;

/// Acks that wait for the next delete.
const WAITING: usize = 4096;
/// Pause before a delete is tried again.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
const DELETE: &str = "DELETE FROM queue_job WHERE id IN (SELECT value FROM json_each(?1))";

#[derive(Clone)]
pub(super) struct Acks {
    sqlite: Sqlite,
    waiting: mpsc::Sender<Ack>,
    closed: CancellationToken,
    running: TaskTracker,
}

/// Rows to delete, and who waits for it.
struct Ack {
    ids: Vec<i64>,
    done: oneshot::Sender<bool>,
}

/// What one consumer was handed.
pub(super) struct Session {
    pub(super) number: u64,
    /// Rows that nobody acked yet, by tag.
    unacked: Mutex<BTreeMap<u64, i64>>,
    /// Told of every ack.
    pub(super) freed: Notify,
    /// Nothing more will be handed out.
    pub(super) stopped: AtomicBool,
    acks: Acks,
}

/// Acks what its session was handed.
#[derive(Clone)]
pub(in crate::queue) struct SqliteAcker(pub(super) Arc<Session>);

impl Acks {
    pub(super) fn start(sqlite: Sqlite, closed: CancellationToken, running: TaskTracker) -> Self {
        let (waiting, acks) = mpsc::channel(WAITING);
        tokio::spawn(delete(sqlite.clone(), acks, closed.clone()));
        Self { sqlite, waiting, closed, running }
    }

    pub(super) fn session(&self, number: u64) -> Arc<Session> {
        let (unacked, freed) = (Mutex::default(), Notify::new());
        let stopped = AtomicBool::new(false);
        Arc::new(Session { number, unacked, freed, stopped, acks: self.clone() })
    }

    /// `false` where it wasn't deleted: it will be handed out again.
    async fn ack(&self, ids: Vec<i64>) -> bool {
        // Before the look at `closed`: who closes then waits for this ack, or this ack sees it.
        let _running = self.running.token();
        if self.closed.is_cancelled() {
            return false;
        }
        let (done, deleted) = oneshot::channel();
        self.waiting.send(Ack { ids, done }).await.is_ok() && deleted.await.unwrap_or(false)
    }
}

impl Session {
    pub(super) fn hand_out(&self, tag: u64, id: i64) {
        self.unacked.lock().unwrap_or_else(PoisonError::into_inner).insert(tag, id);
    }

    /// How many are handed out.
    pub(super) fn held(&self) -> usize {
        self.unacked.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn take_back(&self, tag: u64, multiple: bool) -> Vec<i64> {
        let mut unacked = self.unacked.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(id) = unacked.remove(&tag) else { return Vec::new() };
        if !multiple {
            return vec![id];
        }
        let later = unacked.split_off(&tag);
        std::mem::replace(&mut *unacked, later).into_values().chain([id]).collect()
    }
}

impl SqliteAcker {
    pub(in crate::queue) async fn ack(&self, tag: u64, multiple: bool) -> bool {
        let Self(session) = self;
        let ids = session.take_back(tag, multiple);
        if ids.is_empty() {
            return false;
        }
        session.freed.notify_one();
        session.acks.ack(ids).await
    }

    /// Makes a row ready again; it is tried until it is written, or everything is given back.
    pub(in crate::queue) async fn give_back(&self, tag: u64) {
        let Self(session) = self;
        let Acks { sqlite, closed, .. } = &session.acks;
        let ids = session.take_back(tag, false);
        while !ids.is_empty() && !closed.is_cancelled() {
            match execute(sqlite, GIVE_BACK, Some(ids.clone())).await {
                Ok(()) => break,
                Err(error) => {
                    tracing::debug!(%error, "a row can't be given back yet");
                    closed.run_until_cancelled(tokio::time::sleep(RETRY_INTERVAL)).await;
                }
            }
        }
        session.freed.notify_one();
    }

    pub(in crate::queue) fn is_over(&self) -> bool {
        let Self(session) = self;
        session.stopped.load(Ordering::SeqCst) && session.held() == 0
    }
}

async fn delete(sqlite: Sqlite, mut waiting: mpsc::Receiver<Ack>, closed: CancellationToken) {
    let mut acks = Vec::with_capacity(WAITING);
    while waiting.recv_many(&mut acks, WAITING).await > 0 {
        let ids: Vec<i64> = acks.iter().flat_map(|ack| ack.ids.iter().copied()).collect();
        let deleted = delete_until_closed(&sqlite, &ids, &closed).await;
        for ack in acks.drain(..) {
            let _whoever_went_away_needs_no_answer = ack.done.send(deleted);
        }
    }
}

/// Deletes rows, trying on while the file takes no writes: nothing would hand them out again before the next start.
async fn delete_until_closed(sqlite: &Sqlite, ids: &[i64], closed: &CancellationToken) -> bool {
    while let Err(error) = execute(sqlite, DELETE, Some(ids.to_vec())).await {
        if closed.is_cancelled() {
            tracing::warn!(%error, "acked messages stay in the queue; their claims drop them");
            return false;
        }
        tracing::debug!(%error, "acked messages stay in the queue for now");
        let _closed_or_time_to_try = timeout(RETRY_INTERVAL, closed.cancelled()).await;
    }
    true
}
