//! Guard and enqueue: the only place that knows whether they are one transaction.

mod many;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

pub use self::many::{AcceptManyAnswer, MakeJobs};
use crate::model::ids::MessageId;
use crate::model::job::Job;
use crate::queue::sqlite::{ENQUEUE, SqliteQueue, enqueue_request};
use crate::queue::{Destination, Outgoing, Published, Queue};
use crate::sqlite::{Call, Sqlite};
use crate::store::{Accepted, Admit, AdmitAnswer, Store, StoreError, Timer, read_answer};

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
                if let AdmitAnswer::Admitted { message, again, .. } = &answer {
                    let publisher = Publisher { store, queue, confirmed };
                    publisher.publish(&make_job(message), *again, trace).await?;
                }
                Ok(answer)
            }
        }
    }
}

/// What a publish of the distributed form works with.
#[derive(Clone, Copy)]
struct Publisher<'a> {
    store: &'a Store,
    queue: &'a Queue,
    confirmed: &'a mpsc::Sender<MessageId>,
}

impl Publisher<'_> {
    /// `again`: an earlier publish of the message is in doubt, so that it may be queued whatever becomes of this one.
    async fn publish(
        self,
        job: &Job,
        again: bool,
        trace: Option<String>,
    ) -> Result<(), AcceptError> {
        let id = job.message_id;
        let message = Outgoing { id: id.to_string(), body: job.encode(), trace };
        match self.queue.publish(Destination::Lane(job.lane), message).await {
            Published::Confirmed => {
                // A full channel loses the mark alone; the claim drops what is published twice for it.
                let _unmarked_if_full = self.confirmed.try_send(id);
                Ok(())
            }
            Published::Failed(why) if !again => {
                self.withdraw(id).await;
                Err(AcceptError::NotQueued(why))
            }
            Published::Failed(why) | Published::Unknown(why) => {
                self.doubt(id).await;
                Err(AcceptError::OutcomeUnknown(why))
            }
        }
    }

    async fn withdraw(self, id: MessageId) {
        if let Err(error) = self.store.withdraw(id).await {
            tracing::warn!(message.id = %id, %error, "an admission could not be withdrawn: its counts stand");
        }
    }

    async fn doubt(self, id: MessageId) {
        if let Err(error) = self.store.doubt(id).await {
            tracing::warn!(message.id = %id, %error, "a doubt could not be written: a repeat waits 30 s");
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
    let call = Call { view: "admit", request };
    let accepted = sqlite.call(call, move |answer| {
        let answer = read_answer(&answer);
        let enqueue = match &answer {
            Ok(AdmitAnswer::Admitted { message, .. }) => {
                let request = enqueue_request(&make_job(message), trace.as_deref())?;
                Some(Call { view: ENQUEUE, request })
            }
            _ => None,
        };
        Ok((answer, enqueue))
    });
    let _timer = Timer::start("admit", Some(lane));
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
