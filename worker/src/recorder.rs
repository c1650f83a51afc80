//! Records the results of messages, in batches that grow with the load, and then has their jobs acked. What the database
//! doesn't take now waits in the queue `sms.rows`, so that sends don't stop for it.

use std::time::Duration;

use futures::future::join_all;
use postrider_common::database::DatabaseError;
use postrider_common::database::dead_letter::{DeadReason, NewDeadLetter};
use postrider_common::database::sms_log::Record;
use postrider_common::model::ids::MessageId;
use postrider_common::model::job::Lane;
use postrider_common::queue::{Destination, Outgoing, Published, Queue, Receipt};
use postrider_common::secrets::{KeyRing, SealedFor};
use postrider_common::store::Store;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::acks::Acks;
use crate::rows::{Rows, WaitLog, Written};
use crate::send::wall_clock;
use crate::waiting_row;

const PAUSE: Duration = Duration::from_millis(200);
/// A batch takes milliseconds. One that takes longer than this waits in the queue, and the jobs behind it don't wait.
const WRITE: Duration = Duration::from_secs(2);
/// For so long the database isn't asked again then: each time might cost as much.
const AWAY: Duration = Duration::from_secs(10);

/// A record, and the delivery to ack once it is kept.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) record: Record,
    pub(crate) receipt: Receipt,
}

/// Hands records to the task that writes them.
#[derive(Debug, Clone)]
pub(crate) struct Recorder(mpsc::Sender<Finished>);

/// What the task works with.
#[derive(Debug)]
pub(crate) struct RecorderParts {
    pub(crate) rows: Rows,
    pub(crate) queue: Queue,
    pub(crate) store: Store,
    pub(crate) acks: Acks,
    pub(crate) batch: usize,
}

/// Until when a database that took nothing isn't asked again.
#[derive(Debug)]
struct Away {
    until: Instant,
    log: WaitLog,
}

impl Default for Away {
    fn default() -> Self {
        Self { until: Instant::now(), log: WaitLog::default() }
    }
}

impl Recorder {
    /// Starts the task; it ends when the last handle is gone and everything is written.
    pub(crate) fn start(parts: RecorderParts) -> (Self, tokio::task::JoinHandle<()>) {
        let (sender, waiting) = mpsc::channel(parts.batch * 2);
        (Self(sender), tokio::spawn(parts.write_all(waiting)))
    }

    /// Has a record written, and its delivery acked after that. It is made once there is a place for it.
    pub(crate) async fn finish(&self, record: impl FnOnce() -> Record, receipt: Receipt) {
        // The task outlives every handle.
        let Ok(place) = self.0.reserve().await else { return };
        place.send(Finished { record: record(), receipt });
    }
}

impl RecorderParts {
    async fn write_all(self, mut waiting: mpsc::Receiver<Finished>) {
        let mut batch = Vec::with_capacity(self.batch);
        let mut committed = Vec::new();
        let mut database = Away::default();
        while waiting.recv_many(&mut batch, self.batch).await > 0 {
            let (records, receipts): (Vec<_>, Vec<_>) =
                batch.drain(..).map(|finished| (finished.record, finished.receipt)).unzip();
            // The database and the store work at the same time.
            let (written, ()) =
                tokio::join!(self.keep(&records, &mut database), self.archive(&committed));
            for receipt in receipts {
                self.acks.finished(receipt).await;
            }
            committed = written;
            if waiting.is_empty() {
                self.archive(&std::mem::take(&mut committed)).await;
            }
        }
    }

    /// Returns once every record is in the database or on the queue's disk. Gives the messages whose rows are committed:
    /// the store's record of any other is still needed.
    async fn keep(&self, records: &[Record], database: &mut Away) -> Vec<MessageId> {
        if Instant::now() < database.until {
            join_all(records.iter().map(|record| self.set_aside(record))).await;
            return Vec::new();
        }
        let written = self.write_soon(records).await;
        database.log.note(&written, "rows go to sms.rows until the database takes them");
        if !written.waiting.is_empty() && written.committed.is_empty() {
            database.until = Instant::now() + AWAY;
        }
        let waiting = written.waiting.iter().filter_map(|place| records.get(*place));
        join_all(waiting.map(|record| self.set_aside(record))).await;
        written.committed
    }

    async fn write_soon(&self, records: &[Record]) -> Written {
        let written = tokio::time::timeout(WRITE, self.rows.write(records)).await;
        written.unwrap_or_else(|_elapsed| {
            let why = format!("no answer within {WRITE:?}");
            Written::none(records.len(), DatabaseError::Unavailable(why))
        })
    }

    /// Neither may answer for a while: then it goes to whichever does first.
    async fn set_aside(&self, record: &Record) {
        loop {
            let body = waiting_row::seal(&self.rows.keys, record);
            let message = Outgoing { id: id_of(record), body, trace: None };
            match self.queue.publish(Destination::Rows, message).await {
                Published::Confirmed => return,
                Published::Failed(why) | Published::Unknown(why) => {
                    tracing::debug!(%why, "neither database nor queue takes a row; it is held");
                    tokio::time::sleep(PAUSE).await;
                }
            }
            if self.write_soon(std::slice::from_ref(record)).await.waiting.is_empty() {
                return;
            }
        }
    }

    async fn archive(&self, committed: &[MessageId]) {
        archive(&self.store, committed).await;
    }
}

/// Has the store forget what it keeps of messages until their rows are committed.
pub(crate) async fn archive(store: &Store, committed: &[MessageId]) {
    if let Err(error) = store.archive(committed).await {
        tracing::debug!(%error, "states of finished messages stay until they expire");
    }
}

fn id_of(record: &Record) -> String {
    let message = record.row.as_ref().map(|row| row.id.to_string());
    let dead = record.dead_letter.as_ref().map(|dead| dead.id.clone());
    message.or(dead).unwrap_or_default()
}

/// Bytes that nobody can read, kept as a dead letter, so that somebody can look at them. The same bytes are one.
pub(crate) fn dead_bytes(
    keys: &KeyRing,
    body: &[u8],
    lane: Option<Lane>,
    reason: DeadReason,
    why: &str,
) -> Record {
    let id = format!("sha256.{}", hex::encode(Sha256::digest(body)));
    tracing::error!(dead_letter.id = id, %why, "bytes that nobody can read are a dead letter");
    let dead_letter = NewDeadLetter {
        message_id: None,
        lane,
        reason,
        detail: why.to_owned(),
        attempts: Vec::new(),
        job: keys.seal(SealedFor::Log, body, id.as_bytes()),
        id,
        create_time: wall_clock(),
    };
    Record { row: None, attempts: Vec::new(), dead_letter: Some(dead_letter) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_are_one_dead_letter_of_now() {
        let keys: KeyRing = "a-secret-of-the-tests-of-more-than-32-bytes".parse().unwrap();
        let dead = || {
            let reason = DeadReason::DeliveryLimit;
            dead_bytes(&keys, b"no job", None, reason, "why").dead_letter.unwrap()
        };
        assert_eq!(dead().id, dead().id);
        assert!(dead().create_time > 1_700_000_000_000, "else a purge takes it away at once");
        assert!(!dead().job.contains("no job"), "it is sealed");
    }
}
