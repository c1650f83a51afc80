//! Writes down what came of messages, in batches that grow with the load, and then has their jobs acked. While the
//! database is away rows wait in the queue `sms.rows`, so that sends don't stop for it.

use std::time::Duration;

use futures::future::join_all;
use postrider_common::database::dead_letter::{DeadReason, NewDeadLetter};
use postrider_common::database::sms_log::Record;
use postrider_common::database::{Database, DatabaseError};
use postrider_common::ids::MessageId;
use postrider_common::job::Lane;
use postrider_common::queue::{Destination, Outgoing, Published, Queue, Receipt};
use postrider_common::secret::{KeyRing, OpenError, SealedFor};
use postrider_common::store::Store;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::acks::Acks;
use crate::send::wall_clock;

/// What sealed rows are bound to.
const BOUND_TO: &[u8] = b"sms.rows";
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
    pub(crate) database: Database,
    pub(crate) queue: Queue,
    pub(crate) store: Store,
    pub(crate) keys: KeyRing,
    pub(crate) acks: Acks,
    pub(crate) batch: usize,
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
        let mut kept = Vec::new();
        let mut away_until = Instant::now();
        while waiting.recv_many(&mut batch, self.batch).await > 0 {
            let (records, receipts): (Vec<_>, Vec<_>) =
                batch.drain(..).map(|finished| (finished.record, finished.receipt)).unzip();
            // The database and the store work at the same time.
            tokio::join!(self.keep(&records, &mut away_until), self.archive(&kept));
            for receipt in receipts {
                self.acks.finished(receipt).await;
            }
            kept = ids(&records);
            if waiting.is_empty() {
                self.archive(&std::mem::take(&mut kept)).await;
            }
        }
    }

    /// Returns once every record is in the database, or on the broker's disk.
    async fn keep(&self, records: &[Record], away_until: &mut Instant) {
        if matches!(self.queue, Queue::Sqlite(_)) {
            return self.keep_trying(records).await;
        }
        if Instant::now() >= *away_until {
            let Err(error) = self.write_soon(records).await else { return };
            tracing::warn!(%error, rows = records.len(), "rows go to sms.rows until the database is back");
            *away_until = Instant::now() + AWAY;
        }
        join_all(records.iter().map(|record| self.set_aside(record))).await;
    }

    async fn write_soon(&self, records: &[Record]) -> Result<(), DatabaseError> {
        let written = tokio::time::timeout(WRITE, write(&self.database, records)).await;
        written.unwrap_or_else(|_elapsed| {
            Err(DatabaseError::Unavailable(format!("no answer within {WRITE:?}")))
        })
    }

    /// Embedded, where jobs and rows are in one file: without it there is nothing to go on with.
    async fn keep_trying(&self, records: &[Record]) {
        let Err(error) = write(&self.database, records).await else { return };
        tracing::error!(%error, rows = records.len(), "rows wait for the database");
        while write(&self.database, records).await.is_err() {
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Neither may answer for a while: then it goes to whichever does first.
    async fn set_aside(&self, record: &Record) {
        loop {
            let message =
                Outgoing { id: id_of(record), body: seal(&self.keys, record), trace: None };
            match self.queue.publish(Destination::Rows, message).await {
                Published::Confirmed => return,
                Published::Failed(why) | Published::Unknown(why) => {
                    tracing::debug!(%why, "neither database nor queue takes a row; it is held");
                    tokio::time::sleep(PAUSE).await;
                }
            }
            if self.write_soon(std::slice::from_ref(record)).await.is_ok() {
                return;
            }
        }
    }

    async fn archive(&self, kept: &[MessageId]) {
        if let Err(error) = self.store.archive(kept).await {
            tracing::debug!(%error, "states of finished messages stay until they expire");
        }
    }
}

/// The messages whose end they are.
fn ids(records: &[Record]) -> Vec<MessageId> {
    records.iter().filter_map(|record| record.row.as_ref().map(|row| row.id)).collect()
}

/// Writes records. One that the database refuses for good is written without its texts; one that is
/// refused even so is logged, since nothing more can be done for it.
///
/// # Errors
/// The database can't be reached: nothing is lost, and all of it may be written again.
pub(crate) async fn write(database: &Database, records: &[Record]) -> Result<(), DatabaseError> {
    let refusal = match database.record(records).await {
        Ok(()) => return counted(records),
        Err(DatabaseError::Unavailable(why)) => return Err(DatabaseError::Unavailable(why)),
        Err(refusal) => refusal,
    };
    tracing::error!(error = %refusal, rows = records.len(), "the database refused rows; they are written one by one");
    for record in records {
        match database.record(std::slice::from_ref(record)).await {
            Ok(()) => {}
            Err(DatabaseError::Unavailable(why)) => return Err(DatabaseError::Unavailable(why)),
            Err(DatabaseError::Refused(_)) => write_bare(database, record).await?,
        }
    }
    counted(records)
}

async fn write_bare(database: &Database, record: &Record) -> Result<(), DatabaseError> {
    let mut bare = record.clone();
    if let Some(row) = &mut bare.row {
        (row.response, row.error_message, row.provider_message_id) = (None, None, None);
    }
    for attempt in &mut bare.attempts {
        (attempt.error_message, attempt.provider_message_id) = (None, None);
    }
    match database.record(&[bare]).await {
        Err(DatabaseError::Refused(why)) => {
            tracing::error!(message.id = %id_of(record), %why, "a row could not be written at all");
            Ok(())
        }
        other => other,
    }
}

#[expect(clippy::unnecessary_wraps, reason = "ends every way that succeeds")]
fn counted(records: &[Record]) -> Result<(), DatabaseError> {
    metrics::counter!("sms_rows_written_total").increment(records.len() as u64);
    Ok(())
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

/// A record as it waits in `sms.rows`: sealed, since it holds a phone number.
fn seal(keys: &KeyRing, record: &Record) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "numbers and strings always serialise")]
    let plain = serde_json::to_vec(record).expect("a record serialises");
    keys.seal(SealedFor::Queue, &plain, BOUND_TO).into_bytes()
}

/// Opens what waited in `sms.rows`.
pub(crate) fn open(keys: &KeyRing, body: &[u8]) -> Result<Record, OpenError> {
    let sealed = std::str::from_utf8(body).map_err(|_| OpenError::Broken)?;
    let plain = keys.open(SealedFor::Queue, sealed, BOUND_TO)?;
    serde_json::from_slice(&plain).map_err(|_| OpenError::Broken)
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
