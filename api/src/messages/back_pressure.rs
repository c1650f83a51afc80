//! Back-pressure: samples how much waits in each lane and beside them, and has new messages refused where it is too much. A
//! queue that can't be asked changes nothing: whether it takes messages is the publish's to find out.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use postrider_common::model::job::Lane;
use postrider_common::queue::{Depth, Queue, Source};
use postrider_common::store::Store;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::background::store_recovery::StoreRecovery;
use crate::http::problem::{Code, Problem};

const EVERY: Duration = Duration::from_secs(1);
/// The longest that one look may take: another one is due.
const PATIENCE: Duration = Duration::from_secs(2);
/// How the retry queues' names begin.
const RETRY_QUEUES: &str = "sms.retry.";

#[derive(Debug)]
pub struct BackPressure {
    queue: Queue,
    store: Store,
    recovery: StoreRecovery,
    /// Jobs of a lane, with what waits beside them, from which on it takes no more.
    max_ready: u64,
    code: AtomicBool,
    notice: AtomicBool,
    /// Rows wait for the database, as far as is known.
    rows_wait: AtomicBool,
}

/// Jobs and rows beside the lanes, which count towards each lane: a retry queue holds both lanes' jobs, and what the store
/// keeps of a message stays until its row is written.
struct Waiting {
    retries: u64,
    rows: u64,
}

impl BackPressure {
    #[must_use]
    pub fn new(queue: Queue, store: Store, recovery: StoreRecovery, max_ready: u64) -> Self {
        Self {
            queue,
            store,
            recovery,
            max_ready,
            code: AtomicBool::default(),
            notice: AtomicBool::default(),
            rows_wait: AtomicBool::default(),
        }
    }

    /// Refuses while `lane` holds too much.
    pub fn check(&self, lane: Lane) -> Result<(), Problem> {
        if self.of(lane).load(Ordering::Relaxed) {
            return Err(Problem::new(Code::Overloaded));
        }
        Ok(())
    }

    /// Returns whether rows may wait for the database: a message without a row may then have ended.
    pub fn rows_may_wait(&self) -> bool {
        self.rows_wait.load(Ordering::Relaxed)
    }

    /// Looks every second until `stop`, and sets the queues' gauges.
    pub async fn watch(&self, stop: CancellationToken) {
        let mut seconds = tokio::time::interval(EVERY);
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = seconds.tick() => {}
            }
            if tokio::time::timeout(PATIENCE, self.look()).await.is_err() {
                tracing::debug!("the queue didn't say in time how much waits in it");
            }
        }
    }

    async fn look(&self) {
        if let Err(error) = self.store.epoch().await {
            // A store that is new or lost its data is given its bans, before anybody asks it for more.
            drop(self.recovery.store_failed(&error));
        }
        let Ok(depths) = self.queue.depths().await else {
            // Rows may wait in it.
            return self.rows_wait.store(true, Ordering::Relaxed);
        };
        let waiting = Waiting::from_depths(&depths);
        self.rows_wait.store(waiting.rows > 0, Ordering::Relaxed);
        for lane in Lane::ALL {
            let Some(ready) = ready(&depths, lane.queue()) else { continue };
            let backlog = ready + waiting.retries + waiting.rows;
            let too_much = backlog >= self.max_ready;
            if self.of(lane).swap(too_much, Ordering::Relaxed) != too_much {
                tracing::warn!(
                    lane = lane.as_str(),
                    ready,
                    retries = waiting.retries,
                    rows = waiting.rows,
                    overloaded = too_much,
                    "back-pressure changed"
                );
            }
            if let Ok(age) = self.store.oldest_age(lane, ready).await {
                metrics::gauge!("sms_queue_oldest_age_seconds", "lane" => lane.as_str())
                    .set(age.as_secs_f64());
            }
        }
        for depth in depths {
            metrics::gauge!("sms_queue_ready", "queue" => depth.queue.clone())
                .set(gauge(depth.ready));
            metrics::gauge!("sms_queue_consumers", "queue" => depth.queue)
                .set(gauge(depth.consumers));
        }
    }

    fn of(&self, lane: Lane) -> &AtomicBool {
        match lane {
            Lane::Code => &self.code,
            Lane::Notice => &self.notice,
        }
    }
}

fn ready(depths: &[Depth], queue: &str) -> Option<u64> {
    depths.iter().find(|depth| depth.queue == queue).map(|depth| depth.ready)
}

impl Waiting {
    fn from_depths(depths: &[Depth]) -> Self {
        let is_retry = |depth: &&Depth| depth.queue.starts_with(RETRY_QUEUES);
        Self {
            retries: depths.iter().filter(is_retry).map(|depth| depth.ready).sum(),
            rows: ready(depths, Source::Rows.queue()).unwrap_or(0),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; depths stay far below 2^52")]
fn gauge(count: u64) -> f64 {
    count as f64
}
