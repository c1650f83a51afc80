//! Starts the consumers, runs until it is told to stop, and then finishes what it began.

use std::sync::Arc;

use postrider_common::config::Settings;
use postrider_common::database::Database;
use postrider_common::model::job::Lane;
use postrider_common::queue::{Queue, Source};
use postrider_common::secrets::KeyRing;
use postrider_common::store::Store;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::acks::Acks;
use crate::drains::{self, WaitingRows};
use crate::missing_keys::MissingKeys;
use crate::pace::{Codes, Pace};
use crate::provider::Providers;
use crate::provider_state::ProviderStates;
use crate::recorder::{Recorder, RecorderParts};
use crate::rows::Rows;
use crate::send::Sender;

/// Unacked dead letters and strays at a time.
const FEW: u16 = 8;

/// What a worker is made of.
#[derive(Debug, Clone)]
pub struct WorkerParts {
    pub store: Store,
    pub queue: Queue,
    pub database: Database,
    pub keys: KeyRing,
    pub settings: Settings,
    /// In the order in which they are tried.
    pub providers: Providers,
    pub key_missing: Arc<MissingKeys>,
}

/// Works until `stop`, then takes nothing more, finishes what is in flight within `[worker] grace`, and gives the rest
/// back to the queue, which it closes.
pub async fn run(parts: WorkerParts, stop: CancellationToken) {
    let (acks, acking) = Acks::start();
    let (recorder, recording) = Recorder::start(RecorderParts {
        rows: Rows { database: parts.database.clone(), keys: parts.keys.clone() },
        queue: parts.queue.clone(),
        store: parts.store.clone(),
        acks: acks.clone(),
        batch: parts.settings.worker.row_batch,
    });
    let (queue, grace) = (parts.queue.clone(), parts.settings.worker.grace);
    let tasks = TaskTracker::new();
    drain(&parts, &recorder, &acks, &tasks, &stop);
    let provider_states = Arc::new(ProviderStates::new(parts.providers.live_names()));
    let watched = provider_states.clone();
    let until = stop.clone();
    tasks.spawn(async move { watched.watch(until).await });
    let sender = Arc::new(sender(parts, recorder, acks, provider_states));
    let codes = Arc::new(Codes::new());
    for lane in sender.settings.worker.lanes.clone() {
        tasks.spawn(consume(sender.clone(), lane, codes.clone(), stop.clone(), tasks.clone()));
    }
    drop(sender);
    tracing::info!("the worker takes jobs");

    stop.cancelled().await;
    tasks.close();
    let finished = async {
        tasks.wait().await;
        // Every handle is gone with the tasks: both end once they have done what waits.
        let _both = tokio::join!(recording, acking);
    };
    if tokio::time::timeout(grace, finished).await.is_err() {
        tracing::warn!(
            jobs = tasks.len(),
            "the grace period is over; what isn't finished is given back"
        );
    }
    queue.close().await;
    tracing::info!("the worker has stopped");
}

fn sender(
    parts: WorkerParts,
    recorder: Recorder,
    acks: Acks,
    provider_states: Arc<ProviderStates>,
) -> Sender {
    let WorkerParts { store, queue, database, keys, settings, providers, key_missing } = parts;
    Sender {
        store,
        queue,
        database,
        keys,
        settings,
        providers,
        provider_states,
        recorder,
        acks,
        key_missing,
    }
}

fn drain(
    parts: &WorkerParts,
    recorder: &Recorder,
    acks: &Acks,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) {
    let consume = |source, prefetch| parts.queue.consume(source, prefetch, stop.clone());
    let (keys, queue) = (parts.keys.clone(), parts.queue.clone());
    let waiting = WaitingRows {
        rows: Rows { database: parts.database.clone(), keys: keys.clone() },
        queue: queue.clone(),
        store: parts.store.clone(),
        acks: acks.clone(),
        key_missing: parts.key_missing.clone(),
    };
    tasks.spawn(drains::rows(waiting, stop.clone()));
    tasks.spawn(drains::dead(consume(Source::Dead, FEW), keys, recorder.clone()));
    tasks.spawn(drains::unrouted(consume(Source::Unrouted, FEW), queue, acks.clone()));
}

/// A task for each delivery, as many at a time as the prefetch lets through; of those, as many at their
/// provider as the lane's concurrency.
async fn consume(
    sender: Arc<Sender>,
    lane: Lane,
    codes: Arc<Codes>,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    let concurrency = sender.settings.worker.concurrency(lane);
    let slots = Arc::new(Semaphore::new(usize::from(concurrency)));
    // More would strand codes behind a hanging provider while other replicas have nothing to do.
    let prefetch = concurrency.saturating_mul(2);
    let mut deliveries = sender.queue.consume(Source::Lane(lane), prefetch, stop.clone());
    let mut pace = Pace::new(sender.settings.worker.notices_beside_codes);
    while let Some(delivery) = deliveries.next().await {
        match lane {
            Lane::Code => codes.seen(Instant::now()),
            Lane::Notice => tokio::select! {
                // Its task gives it back.
                () = stop.cancelled() => {}
                () = pace.turn(&codes) => {}
            },
        }
        let (sender, slots, stop) = (sender.clone(), slots.clone(), stop.clone());
        tasks.spawn(async move {
            // Until its turn a delivery is no more than its bytes: half of all that are prefetched wait for it.
            let slot = tokio::select! {
                biased;
                // What isn't begun goes back: begun now, it might be cut off in its call.
                () = stop.cancelled() => return delivery.receipt.give_back().await,
                slot = slots.clone().acquire_owned() => slot.ok(),
            };
            Box::pin(sender.handle(delivery, lane, &slots, slot)).await;
        });
    }
}
