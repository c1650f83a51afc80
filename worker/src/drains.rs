//! What ended beside the lanes: rows that waited for the database, jobs that the broker gave up, messages that the
//! work exchange had no queue for.

use std::sync::Arc;
use std::time::Duration;

use postrider_common::database::Database;
use postrider_common::database::dead_letter::DeadReason;
use postrider_common::database::sms_log::Record;
use postrider_common::job::{Contents, Job, Lane};
use postrider_common::queue::{Consumer, Delivery, Destination, Outgoing, Published, Queue};
use postrider_common::secret::{KeyRing, OpenError};
use tokio::time::{Instant, sleep, timeout_at};

use crate::acks::Acks;
use crate::decision::end;
use crate::missing_keys::MissingKeys;
use crate::recorder::{self, Recorder, dead_bytes};
use crate::resolution::Resolution;

/// Rows taken at once from `sms.rows`.
pub(crate) const ROWS: u16 = 500;
const PAUSE: Duration = Duration::from_millis(500);
/// How long rows are gathered for one insert.
const GATHER: Duration = Duration::from_millis(20);

/// What [`rows`] works with.
pub(crate) struct WaitingRows {
    pub(crate) database: Database,
    pub(crate) queue: Queue,
    pub(crate) keys: KeyRing,
    pub(crate) acks: Acks,
    pub(crate) key_missing: Arc<MissingKeys>,
}

/// Writes the rows that waited, and acks them. While the database is away it holds what it has.
pub(crate) async fn rows(mut waiting: Consumer, parts: WaitingRows) {
    while let Some(first) = waiting.next().await {
        let mut batch = vec![first];
        // They come one at a time, however many there are.
        let gathered = Instant::now() + GATHER;
        while batch.len() < usize::from(ROWS) {
            let Ok(Some(next)) = timeout_at(gathered, waiting.next()).await else { break };
            batch.push(next);
        }
        let (mut records, mut foreign) = (Vec::new(), Vec::new());
        for delivery in &batch {
            match recorder::open(&parts.keys, &delivery.body) {
                Ok(record) => records.push(record),
                Err(OpenError::UnknownKey(key)) => {
                    let message = "a row's key is not among POSTRIDER_SECRET: it waits for a worker that has it";
                    parts.key_missing.log(&key, message);
                    foreign.push(delivery.body.clone());
                }
                Err(OpenError::Broken) => {
                    let why = "a row that waited for the database, and can't be opened";
                    let (reason, body) = (DeadReason::Undecodable, &delivery.body);
                    records.push(dead_bytes(&parts.keys, body, None, reason, why));
                }
            }
        }
        if !records.is_empty() {
            write(&parts.database, &records).await;
        }
        pass_on(&parts.queue, foreign).await;
        for delivery in batch {
            parts.acks.finished(delivery.receipt).await;
        }
    }
}

async fn write(database: &Database, records: &[Record]) {
    while let Err(error) = recorder::write(database, records).await {
        tracing::debug!(%error, rows = records.len(), "rows wait for the database");
        sleep(PAUSE).await;
    }
    tracing::info!(rows = records.len(), "rows that waited for the database are written");
}

/// Puts rows back that another worker can open, not in a hurry: where there is none they come straight back.
async fn pass_on(queue: &Queue, rows: Vec<Vec<u8>>) {
    if !rows.is_empty() {
        sleep(PAUSE).await;
    }
    for body in rows {
        let message = Outgoing { id: String::new(), body, trace: None };
        while queue.publish(Destination::Rows, message.clone()).await != Published::Confirmed {
            sleep(PAUSE).await;
        }
    }
}

/// Takes in what the broker gave up: a dead letter, and the row that is still owed.
pub(crate) async fn dead(mut given_up: Consumer, keys: KeyRing, recorder: Recorder) {
    while let Some(delivery) = given_up.next().await {
        let record = dead_record(&delivery, &keys);
        tracing::error!(reason = "delivery_limit", "the broker gave a job up: it is a dead letter");
        recorder.finish(|| record, delivery.receipt).await;
    }
}

fn dead_record(delivery: &Delivery, keys: &KeyRing) -> Record {
    if let Ok(job) = Job::decode(&delivery.body) {
        let contents = Contents::open(keys, job.message_id, &job.sealed).ok();
        let decision = end(&job, "poison", Some(DeadReason::DeliveryLimit));
        let resolution =
            Resolution { attempt: None, response: None, decision, at: job.accepted_at };
        return resolution.record(&job, contents.as_ref(), None, keys, None);
    }
    let (lane, reason) = (lane_of(&delivery.routing_key), DeadReason::DeliveryLimit);
    let why = "the broker handed it out too often, and it can't be decoded";
    dead_bytes(keys, &delivery.body, lane, reason, why)
}

/// Puts unrouted messages back into their lane: a binding was missing, which the supervisor's next declare mends.
pub(crate) async fn unrouted(mut strays: Consumer, queue: Queue, acks: Acks) {
    while let Some(delivery) = strays.next().await {
        let lane = Job::decode(&delivery.body)
            .map(|job| job.lane)
            .ok()
            .or_else(|| lane_of(&delivery.routing_key));
        tracing::error!(routing_key = %delivery.routing_key, "the work exchange had no queue for a message; it is put back");
        metrics::counter!("sms_unrouted_total").increment(1);
        // One at a time and not in a hurry: where the binding is still missing it comes straight back.
        sleep(PAUSE).await;
        let message = Outgoing { id: String::new(), body: delivery.body, trace: delivery.trace };
        let to = Destination::Lane(lane.unwrap_or(Lane::Notice));
        while queue.publish(to, message.clone()).await != Published::Confirmed {
            sleep(PAUSE).await;
        }
        acks.finished(delivery.receipt).await;
    }
}

fn lane_of(routing_key: &str) -> Option<Lane> {
    Lane::ALL.into_iter().find(|lane| lane.as_str() == routing_key)
}
