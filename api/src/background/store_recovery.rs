//! Gives a store that lost its data its bans back, once at a time; until then nothing is admitted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use postrider_common::database::{Database, DatabaseError};
use postrider_common::restore_bans::{self, RestoreError};
use postrider_common::runtime::outage_log::OutageLog;
use postrider_common::store::{Store, StoreError};

use crate::http::problem::{Code, Problem};

/// Notices a store without data, and fills it. Clones share one recovery.
#[derive(Debug, Clone)]
pub struct StoreRecovery {
    store: Store,
    database: Database,
    /// Whether a recovery is under way.
    pub running: Arc<AtomicBool>,
    outage: Arc<Mutex<OutageLog>>,
}

impl StoreRecovery {
    #[must_use]
    pub fn new(store: Store, database: Database) -> Self {
        Self { store, database, running: Arc::default(), outage: Arc::default() }
    }

    /// The answer to a request whose call of the store failed. A store that lost its data is given its bans back meanwhile.
    pub fn store_failed(&self, error: &StoreError) -> Problem {
        if matches!(error, StoreError::Lost) {
            self.start();
        }
        Problem::new(Code::StoreUnavailable).because(error)
    }

    /// Starts a recovery unless one is under way. One that fails is tried again by whoever notices the loss next.
    fn start(&self) {
        if self.running.swap(true, Ordering::AcqRel) {
            return;
        }
        let this = self.clone();
        tokio::spawn(async move {
            let restored = restore_bans::restore(&this.store, &this.database).await;
            this.log(restored.err().as_ref());
            this.running.store(false, Ordering::Release);
        });
    }

    fn log(&self, error: Option<&RestoreError>) {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        match error {
            None => drop(outage.end()),
            // Reported once when the process starts.
            Some(RestoreError::Database(DatabaseError::TablesMissing(_))) => {}
            Some(error) if outage.is_due() => {
                tracing::error!(%error, "the store lost its data and has no bans yet");
            }
            Some(error) => tracing::debug!(%error, "the store still has no bans"),
        }
    }
}
