//! Guard and enqueue of many messages at once.

use std::sync::Arc;

use futures::future::join_all;

use super::{AcceptError, Acceptor, Publisher};
use crate::model::job::{Job, Lane};
use crate::queue::sqlite::{ENQUEUE, SqliteQueue, enqueue_request};
use crate::sqlite::{Sqlite, call_all};
use crate::store::sqlite::SqliteStore;
use crate::store::{Accepted, AdmitAnswer, AdmitMany, AdmitManyAnswer, StoreError, Timer};

/// Makes the job of an admitted message, given its place among the items.
pub type MakeJobs = Arc<dyn Fn(usize, &Accepted) -> Job + Send + Sync>;

/// What came of many messages.
#[derive(Debug)]
pub enum AcceptManyAnswer {
    /// The account's record is newer than the caller's, or unknown to the store: load it and ask once more.
    StaleAccount,
    /// The batch's key was used with another body; see [`AdmitAnswer::KeyReused`].
    KeyReused { fingerprint: Option<String> },
    /// One outcome an item, in their order. An item's error is [`AcceptError::NotQueued`] or
    /// [`AcceptError::OutcomeUnknown`]; the others stand.
    Decided(Vec<Result<AdmitAnswer, AcceptError>>),
}

impl Acceptor {
    /// Decides about many messages in one step and puts those on the queue that are admitted: an item that says
    /// `Admitted` is on disk. The error is of all of them: the store gave no answer.
    pub async fn accept_many(
        &self,
        mut request: AdmitMany,
        trace: Option<String>,
        make_job: MakeJobs,
    ) -> Result<AcceptManyAnswer, AcceptError> {
        let answer = match self {
            Self::Embedded { sqlite, queue } => {
                request.check_size()?;
                request.items.iter_mut().for_each(|item| item.confirmed = true);
                in_one_transaction(sqlite, queue, request, trace.clone(), make_job.clone()).await?
            }
            Self::Distributed { store, .. } => store.admit_many(&request).await?,
        };
        let answers = match answer {
            AdmitManyAnswer::StaleAccount => return Ok(AcceptManyAnswer::StaleAccount),
            AdmitManyAnswer::KeyReused { fingerprint } => {
                return Ok(AcceptManyAnswer::KeyReused { fingerprint });
            }
            AdmitManyAnswer::Decided { answers } => answers.into_iter().enumerate(),
        };
        // As many are in flight at once as a batch has items.
        let outcomes = join_all(answers.map(async |(place, answer)| {
            if let Self::Distributed { store, queue, confirmed } = self
                && let AdmitAnswer::Admitted { message, again, .. } = &answer
            {
                let publisher = Publisher { store, queue, confirmed };
                publisher.publish(&make_job(place, message), *again, trace.clone()).await?;
            }
            Ok(answer)
        }));
        Ok(AcceptManyAnswer::Decided(outcomes.await))
    }
}

async fn in_one_transaction(
    sqlite: &Sqlite,
    queue: &SqliteQueue,
    request: AdmitMany,
    trace: Option<String>,
    make_job: MakeJobs,
) -> Result<AdmitManyAnswer, AcceptError> {
    let lanes: Vec<Lane> = request.items.iter().map(|item| item.lane).collect();
    let _timer = Timer::start("admit_many", None);
    let accepted = sqlite.write(move |connection| {
        let (request, trace, make_job) = (request.clone(), trace.clone(), make_job.clone());
        Box::pin(async move {
            let answer = SqliteStore::decide_many(connection, request).await?;
            let Ok(AdmitManyAnswer::Decided { answers }) = &answer else { return Ok(answer) };
            let mut requests = Vec::new();
            for (place, answer) in answers.iter().enumerate() {
                if let AdmitAnswer::Admitted { message, .. } = answer {
                    let job = make_job(place, message);
                    requests.push(enqueue_request(&job, trace.as_deref())?);
                }
            }
            let requests: Vec<&str> = requests.iter().map(String::as_str).collect();
            call_all(connection, ENQUEUE, &requests).await?;
            Ok(answer)
        })
    });
    let answer = accepted.await.map_err(|error| StoreError::Unavailable(error.to_string()))?;
    Lane::ALL.into_iter().filter(|lane| lanes.contains(lane)).for_each(|lane| queue.wake(lane));
    Ok(answer?)
}
