//! What happens when the store lost its data: nothing is admitted until the bans are back.

use crate::database::{Database, DatabaseError};
use crate::store::{Store, StoreError};

/// Why the store is still without an epoch.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Loads the bans from their table and gives them to a store that lost its data, with a new epoch. Safe
/// to be done by several processes at once: the first one's epoch stands.
///
/// Bans that are over by the store's clock are taken along; the store itself doesn't enforce those.
pub async fn restore(store: &Store, database: &Database) -> Result<(), RestoreError> {
    let bans = database.bans(0).await?;
    let bans: Vec<_> =
        bans.iter().filter_map(crate::database::blacklist::BlacklistEntry::ban).collect();
    let count = bans.len();
    store.restore(bans).await?;
    tracing::warn!(
        bans = count,
        "the store had no epoch: it was new, or lost its data; bans are loaded"
    );
    Ok(())
}
