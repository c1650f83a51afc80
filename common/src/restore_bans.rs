//! What happens when the store lost its data: nothing is admitted until the bans are back.

use crate::database::{Database, DatabaseError};
use crate::runtime::clock::unix_ms;
use crate::store::{Store, StoreError};

/// How far this machine's clock may be ahead of the store's, in milliseconds.
const SLACK_MS: i64 = 60_000;

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
/// Bans that are over for more than a minute are left out; the store itself doesn't enforce those that just ended.
pub async fn restore(store: &Store, database: &Database) -> Result<(), RestoreError> {
    let bans = database.bans(unix_ms().saturating_sub(SLACK_MS)).await?;
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
