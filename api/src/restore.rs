//! Gives a store that lost its data its bans back, once at a time; until then nothing is admitted.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use postrider_common::database::blacklist::BlacklistEntry;
use postrider_common::database::{Database, DatabaseError};
use postrider_common::store::{Store, StoreError};

use crate::app::{App, Shared};
use crate::clock::unix_ms;

#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Starts [`restore`] unless it is under way. What fails is tried again by whoever meets the loss next.
pub fn in_background(app: &Shared) {
    if app.restoring.swap(true, Ordering::AcqRel) {
        return;
    }
    let app: Arc<App> = Arc::clone(app);
    tokio::spawn(async move {
        match restore(&app.store, &app.database).await {
            Ok(()) => tracing::warn!("the store had lost its data: bans are loaded again"),
            Err(error) => tracing::error!(%error, "the store lost its data and has no bans yet"),
        }
        app.restoring.store(false, Ordering::Release);
    });
}

/// Loads every ban in force from its table, and gives the store a new epoch together with them.
pub async fn restore(store: &Store, database: &Database) -> Result<(), RestoreError> {
    let bans = database.bans(unix_ms()).await?;
    store.restore(bans.iter().filter_map(BlacklistEntry::ban).collect()).await?;
    Ok(())
}
