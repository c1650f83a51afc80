//! Writes into `sms_log` when a code was approved: in batches, off the answer's path, and again later where the
//! message has no row yet.

use std::time::Duration;

use postrider_common::database::Database;
use postrider_common::model::ids::VerificationId;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Approvals kept in memory at the most, whether new or waiting for their row. What finds no place goes
/// unwritten here; a worker that writes the row later asks the store when it was approved.
const MOST: usize = 8192;
const AT_ONCE: usize = 500;
const EVERY: Duration = Duration::from_millis(500);
/// Waits between tries double from here ...
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// ... and end here: no row will come that isn't there by then.
const LAST_WAIT: Duration = Duration::from_mins(10);

/// Takes note of approvals.
#[derive(Debug, Clone)]
pub struct Verified(mpsc::Sender<(VerificationId, i64)>);

impl Verified {
    /// Starts the writer. It ends, after one last try, when the last handle is gone.
    pub fn start(database: Database) -> (Self, JoinHandle<()>) {
        let (sender, receiver) = mpsc::channel(MOST);
        (Self(sender), tokio::spawn(write(database, receiver)))
    }

    /// Never waits.
    pub fn note(&self, id: VerificationId, at: i64) {
        if self.0.try_send((id, at)).is_err() {
            tracing::warn!(verification.id = %id, "too many approvals wait to be written");
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    id: VerificationId,
    at: i64,
    due: Instant,
    wait: Duration,
}

async fn write(database: Database, mut noted: mpsc::Receiver<(VerificationId, i64)>) {
    let mut waiting: Vec<Waiting> = Vec::new();
    let mut open = true;
    while open {
        tokio::time::sleep(EVERY).await;
        open = take(&mut noted, &mut waiting);
        let now = Instant::now();
        let (due, later): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|w| w.due <= now || !open);
        waiting = later;
        for batch in due.chunks(AT_ONCE) {
            let unwritten = write_batch(&database, batch).await;
            waiting.extend(unwritten.into_iter().filter_map(|w| put_off(w, now)));
        }
        let excess = waiting.len().saturating_sub(MOST);
        waiting.drain(..excess);
    }
}

/// Takes what was noted meanwhile; `false` once nobody can note anything any more.
fn take(noted: &mut mpsc::Receiver<(VerificationId, i64)>, waiting: &mut Vec<Waiting>) -> bool {
    loop {
        match noted.try_recv() {
            Ok((id, at)) => {
                waiting.push(Waiting { id, at, due: Instant::now(), wait: FIRST_WAIT });
            }
            Err(mpsc::error::TryRecvError::Empty) => return true,
            Err(mpsc::error::TryRecvError::Disconnected) => return false,
        }
    }
}

async fn write_batch(database: &Database, batch: &[Waiting]) -> Vec<Waiting> {
    let approved: Vec<_> = batch.iter().map(|w| (w.id, w.at)).collect();
    match database.set_verified(&approved).await {
        Ok(without_row) => batch.iter().filter(|w| without_row.contains(&w.id)).copied().collect(),
        Err(error) => {
            tracing::warn!(%error, count = batch.len(), "approvals are not written yet");
            batch.to_vec()
        }
    }
}

fn put_off(waiting: Waiting, now: Instant) -> Option<Waiting> {
    let wait = waiting.wait * 2;
    (wait <= LAST_WAIT).then(|| Waiting { due: now + waiting.wait, wait, ..waiting })
}
