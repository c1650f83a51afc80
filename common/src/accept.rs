//! Guard and enqueue: the only place that knows whether they are one transaction.

mod many;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

pub use self::many::{AcceptManyAnswer, MakeJobs};
use crate::ids::MessageId;
use crate::job::Job;
use crate::queue::sqlite::SqliteQueue;
use crate::queue::{Destination, Outgoing, Published, Queue};
use crate::sqlite::Sqlite;
use crate::store::sqlite::SqliteStore;
use crate::store::{Accepted, Admit, AdmitAnswer, Operation, Store, StoreError, read_answer};

/// Confirmed messages waiting to be marked so; what finds no place stays unmarked (see [`Store::confirm`]).
const UNMARKED: usize = 8192;
/// Messages marked in one call.
const MARKED_AT_ONCE: usize = 256;
/// How long a mark waits for others to join it.
const MARK_DELAY: Duration = Duration::from_millis(5);

/// Accepts messages: asks the guard, publishes what it admits, and says whether it is kept.
#[derive(Debug, Clone)]
pub enum Acceptor {
    /// Guard and enqueue are one transaction.
    Embedded { sqlite: Sqlite, queue: SqliteQueue },
    /// The guard counts, then the broker confirms; what lies between is told apart below.
    Distributed { store: Store, queue: Queue, confirmed: mpsc::Sender<MessageId> },
}

/// Why a message was neither accepted nor refused. What was counted is said with each.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// Nothing is known to be counted.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It surely isn't in the queue; what was counted is given back.
    #[error("the queue took nothing: {0}")]
    NotQueued(String),
    /// It may be in the queue: the counts stand, and the same request again publishes the same message.
    #[error("the queue didn't confirm: {0}")]
    OutcomeUnknown(String),
}

/// Makes the job of an admitted message.
pub type MakeJob = Arc<dyn Fn(&Accepted) -> Job + Send + Sync>;

impl Acceptor {
    #[must_use]
    pub fn embedded(sqlite: Sqlite, queue: SqliteQueue) -> Self {
        Self::Embedded { sqlite, queue }
    }

    /// Starts the task that marks confirmed messages on this runtime.
    #[must_use]
    pub fn distributed(store: Store, queue: Queue) -> Self {
        let (confirmed, waiting) = mpsc::channel(UNMARKED);
        tokio::spawn(mark_confirmed(store.clone(), waiting));
        Self::Distributed { store, queue, confirmed }
    }

    /// Decides about one message and, where it is admitted, puts it on the queue: when this gives
    /// `Admitted`, it is on disk.
    pub async fn accept(
        &self,
        mut request: Admit,
        trace: Option<String>,
        make_job: MakeJob,
    ) -> Result<AdmitAnswer, AcceptError> {
        match self {
            Self::Embedded { sqlite, queue } => {
                request.confirmed = true;
                accept_in_one_transaction(sqlite, queue, &request, trace, make_job).await
            }
            Self::Distributed { store, queue, confirmed } => {
                let answer = store.admit(&request).await?;
                if let AdmitAnswer::Admitted { message, .. } = &answer {
                    publish(store, queue, confirmed, &make_job(message), trace).await?;
                }
                Ok(answer)
            }
        }
    }
}

async fn publish(
    store: &Store,
    queue: &Queue,
    confirmed: &mpsc::Sender<MessageId>,
    job: &Job,
    trace: Option<String>,
) -> Result<(), AcceptError> {
    let id = job.message_id;
    let message = Outgoing { id: id.to_string(), body: job.encode(), trace };
    match queue.publish(Destination::Lane(job.lane), message).await {
        Published::Confirmed => {
            // A full channel loses the mark alone; the claim drops what is published twice for it.
            let _unmarked_if_full = confirmed.try_send(id);
            Ok(())
        }
        Published::Failed(why) => {
            if let Err(error) = store.withdraw(id).await {
                tracing::warn!(message.id = %id, %error, "an admission could not be withdrawn: its counts stand");
            }
            Err(AcceptError::NotQueued(why))
        }
        Published::Unknown(why) => {
            if let Err(error) = store.doubt(id).await {
                tracing::warn!(message.id = %id, %error, "a doubt could not be written: a repeat waits 30 s");
            }
            Err(AcceptError::OutcomeUnknown(why))
        }
    }
}

async fn accept_in_one_transaction(
    sqlite: &Sqlite,
    queue: &SqliteQueue,
    request: &Admit,
    trace: Option<String>,
    make_job: MakeJob,
) -> Result<AdmitAnswer, AcceptError> {
    let unreadable = |error: serde_json::Error| StoreError::Broken(error.to_string());
    let lane = request.lane;
    let request = serde_json::to_string(request).map_err(unreadable)?;
    let accepted = sqlite.write(move |connection| {
        let (request, trace, make_job) = (request.clone(), trace.clone(), make_job.clone());
        Box::pin(async move {
            let answer = SqliteStore::run(connection, Operation::Admit, request).await?;
            let answer = read_answer(&answer);
            if let Ok(AdmitAnswer::Admitted { message, .. }) = &answer {
                let job = make_job(message);
                let message =
                    Outgoing { id: job.message_id.to_string(), body: job.encode(), trace };
                SqliteQueue::enqueue(connection, lane, &message).await?;
            }
            Ok(answer)
        })
    });
    let answer = accepted.await.map_err(|error| StoreError::Unavailable(error.to_string()))?;
    queue.wake(lane);
    Ok(answer?)
}

async fn mark_confirmed(store: Store, mut waiting: mpsc::Receiver<MessageId>) {
    let mut batch = Vec::with_capacity(MARKED_AT_ONCE);
    while waiting.recv_many(&mut batch, MARKED_AT_ONCE).await > 0 {
        if let Err(error) = store.confirm(&batch).await {
            tracing::debug!(%error, count = batch.len(), "confirmed messages stay unmarked");
        }
        batch.clear();
        tokio::time::sleep(MARK_DELAY).await;
    }
}
