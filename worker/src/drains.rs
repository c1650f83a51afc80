//! What ended beside the lanes: rows that waited for the database, jobs that the broker gave up, messages that the
//! work exchange had no queue for.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use postrider_common::database::DatabaseError;
use postrider_common::database::dead_letter::DeadReason;
use postrider_common::database::sms_log::Record;
use postrider_common::model::job::{Contents, Job, Lane};
use postrider_common::queue::{
    Consumer, Delivery, Destination, Outgoing, Published, Queue, Source,
};
use postrider_common::secrets::{KeyRing, OpenError};
use postrider_common::store::Store;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::acks::Acks;
use crate::decision::end;
use crate::missing_keys::MissingKeys;
use crate::recorder::{self, Recorder, dead_bytes};
use crate::resolution::Resolution;
use crate::rows::{Rows, WaitLog};
use crate::send::wall_clock;
use crate::waiting_row;

/// Rows taken at once from `sms.rows`.
const ROWS: u16 = 500;
const PAUSE: Duration = Duration::from_millis(500);
/// Longest time between two tries at a database that takes no row.
const MAX_PAUSE: Duration = Duration::from_secs(8);
/// How long rows are gathered for one insert.
const GATHER: Duration = Duration::from_millis(20);

/// What [`rows`] works with.
pub(crate) struct WaitingRows {
    pub(crate) rows: Rows,
    pub(crate) queue: Queue,
    pub(crate) store: Store,
    pub(crate) acks: Acks,
    pub(crate) key_missing: Arc<MissingKeys>,
}

/// Writes the rows that waited, and acks them, until `stop`. While the database takes none they wait at the queue, where
/// other workers find them and their number is seen.
pub(crate) async fn rows(parts: WaitingRows, stop: CancellationToken) {
    let mut log = WaitLog::default();
    let mut pause = PAUSE;
    while !stop.is_cancelled() {
        let subscription = stop.child_token();
        let mut waiting = parts.queue.consume(Source::Rows, ROWS, subscription.clone());
        while let Some(first) = waiting.next().await {
            let batch = gather(first, &mut waiting).await;
            match parts.drain(batch, &mut log).await {
                Drained::Some => pause = PAUSE,
                Drained::Nothing(batch) => {
                    subscription.cancel();
                    give_back(batch, &mut waiting).await;
                }
            }
        }
        let paused = sleep(pause);
        pause = MAX_PAUSE.min(pause * 2);
        stop.run_until_cancelled(paused).await;
    }
}

/// They come one at a time, however many there are.
async fn gather(first: Delivery, waiting: &mut Consumer) -> Vec<Delivery> {
    let mut batch = vec![first];
    let gathered = Instant::now() + GATHER;
    while batch.len() < usize::from(ROWS) {
        let Ok(Some(next)) = timeout_at(gathered, waiting.next()).await else { break };
        batch.push(next);
    }
    batch
}

async fn give_back(batch: Vec<Delivery>, rest: &mut Consumer) {
    join_all(batch.iter().map(|delivery| delivery.receipt.give_back())).await;
    while let Some(delivery) = rest.next().await {
        delivery.receipt.give_back().await;
    }
}

/// The result of a batch.
enum Drained {
    Some,
    /// Nothing was written; with what isn't acked.
    Nothing(Vec<Delivery>),
}

impl WaitingRows {
    async fn drain(&self, batch: Vec<Delivery>, log: &mut WaitLog) -> Drained {
        let (mut records, mut places, mut foreign) = (Vec::new(), Vec::new(), Vec::new());
        for (place, delivery) in batch.iter().enumerate() {
            match self.open(delivery) {
                Some(opened) => {
                    places.extend(opened.iter().map(|_| place));
                    records.extend(opened);
                }
                None => foreign.push(delivery.body.clone()),
            }
        }
        let written = self.rows.write(&records).await;
        log.note(&written, "rows wait for the database");
        let done = records.len() - written.waiting.len();
        // A database that is away is asked again later; rows that fail alone must not stand before others.
        let is_away = matches!(written.error, Some(DatabaseError::Unavailable(_)));
        if done == 0 && foreign.is_empty() && is_away {
            return Drained::Nothing(batch);
        }
        if done > 0 {
            tracing::info!(rows = done, "rows that waited for the database are written");
        }
        recorder::archive(&self.store, &written.committed).await;
        // To the end of the queue: what goes on waiting holds up nothing behind it.
        let again: BTreeSet<usize> =
            written.waiting.iter().filter_map(|place| places.get(*place).copied()).collect();
        let again = again.into_iter().filter_map(|place| batch.get(place));
        put_back(&self.queue, again.map(|delivery| delivery.body.clone()).collect()).await;
        pass_on(&self.queue, foreign).await;
        for delivery in batch {
            self.acks.finished(delivery.receipt).await;
        }
        if done == 0 { Drained::Nothing(Vec::new()) } else { Drained::Some }
    }

    /// The records of a delivery: one, or what is left of one whose key was missing until its deadline. `None` where it
    /// waits for another worker, which may have its key.
    fn open(&self, delivery: &Delivery) -> Option<Vec<Record>> {
        let keys = &self.rows.keys;
        match waiting_row::open(keys, &delivery.body) {
            Ok(record) => Some(vec![record]),
            Err(OpenError::UnknownKey(key)) => {
                let left = waiting_row::without_secret(keys, &delivery.body, wall_clock());
                if left.is_none() {
                    let message = "a row's key is not among POSTRIDER_SECRET: it waits for a worker that has it";
                    self.key_missing.log(&key, message);
                }
                left
            }
            Err(OpenError::Broken) => {
                let why = "a row that waited for the database, and can't be opened";
                Some(vec![dead_bytes(keys, &delivery.body, None, DeadReason::Undecodable, why)])
            }
        }
    }
}

/// Puts rows back that another worker can open, not in a hurry: where there is none they come straight back.
async fn pass_on(queue: &Queue, rows: Vec<Vec<u8>>) {
    if !rows.is_empty() {
        sleep(PAUSE).await;
    }
    put_back(queue, rows).await;
}

async fn put_back(queue: &Queue, rows: Vec<Vec<u8>>) {
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
