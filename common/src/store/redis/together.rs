//! What is asked of one script at the same time goes to Redis as one call of it: each call costs more than the keys that
//! it looks at.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, oneshot};

use super::{Calls, RedisStore};
use crate::model::job::Lane;
use crate::store::{Operation, StoreError};

/// How much of Redis's time what is asked for a lane may take in a row.
#[derive(Debug, Clone, Copy)]
struct Share {
    /// Requests in one call at the most: so long Redis does nothing else.
    at_once: usize,
    /// Calls of a script under way.
    under_way: usize,
}

/// Some 8 ms of sends. While Redis works on one call the next gathers, so that nobody waits for company.
const CODES: Share = Share { at_once: 64, under_way: 2 };
/// A backlog of notices must leave gaps: what is asked for a code waits for no more than one such call of each script.
const NOTICES: Share = Share { at_once: 16, under_way: 1 };
/// Requests waiting for a call; more wait for a place.
const WAITING: usize = 1024;

/// A request that waits for its answer.
struct Asked {
    request: Vec<u8>,
    reply: oneshot::Sender<Result<Vec<u8>, StoreError>>,
}

/// Where requests for one script and lane are put.
#[derive(Clone)]
pub(super) struct Together {
    requests: mpsc::Sender<Asked>,
}

impl Together {
    /// Starts the task that makes the calls on this runtime. It ends with the last handle.
    pub(super) fn start(calls: Calls, operation: Operation, lane: Lane) -> Self {
        let (requests, asked) = mpsc::channel(WAITING);
        let share = match lane {
            Lane::Code => CODES,
            Lane::Notice => NOTICES,
        };
        tokio::spawn(pump(calls, operation, share, asked));
        Self { requests }
    }

    pub(super) async fn ask(&self, request: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        let gone = || StoreError::Unavailable("the store's task has ended".to_owned());
        let (reply, answer) = oneshot::channel();
        self.requests.send(Asked { request, reply }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

async fn pump(calls: Calls, operation: Operation, share: Share, mut asked: mpsc::Receiver<Asked>) {
    let places = Arc::new(Semaphore::new(share.under_way));
    loop {
        let mut batch = Vec::new();
        if asked.recv_many(&mut batch, share.at_once).await == 0 {
            return;
        }
        let Ok(place) = places.clone().acquire_owned().await else { return };
        // More may have come while there was no place.
        while batch.len() < share.at_once {
            let Ok(one) = asked.try_recv() else { break };
            batch.push(one);
        }
        // Who went away must not be counted.
        batch.retain(|asked| !asked.reply.is_closed());
        if batch.is_empty() {
            continue;
        }
        let calls = calls.clone();
        tokio::spawn(async move {
            answer(&calls, operation, batch).await;
            drop(place);
        });
    }
}

async fn answer(calls: &Calls, operation: Operation, batch: Vec<Asked>) {
    let (requests, replies): (Vec<_>, Vec<_>) =
        batch.into_iter().map(|asked| (asked.request, asked.reply)).unzip();
    let answers = calls.call(operation, &requests).await;
    let mut answers = answers.map(Vec::into_iter);
    for reply in replies {
        let answer = match &mut answers {
            Ok(answers) => answers.next().ok_or_else(RedisStore::answered_too_little),
            Err(error) => Err(error.clone()),
        };
        // A caller that went away doesn't need it.
        drop(reply.send(answer));
    }
}
