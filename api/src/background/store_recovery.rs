//! Gives a store that lost its data its bans back, once at a time; until then nothing is admitted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use postrider_common::database::Database;
use postrider_common::restore_bans;
use postrider_common::store::{Store, StoreError};

use crate::http::problem::{Code, Problem};

/// Notices a store without data, and fills it. Clones share one recovery.
#[derive(Debug, Clone)]
pub struct StoreRecovery {
    store: Store,
    database: Database,
    /// Whether a recovery is under way.
    pub running: Arc<AtomicBool>,
}

impl StoreRecovery {
    #[must_use]
    pub fn new(store: Store, database: Database) -> Self {
        Self { store, database, running: Arc::default() }
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
            if let Err(error) = restore_bans::restore(&this.store, &this.database).await {
                tracing::error!(%error, "the store lost its data and has no bans yet");
            }
            this.running.store(false, Ordering::Release);
        });
    }
}
