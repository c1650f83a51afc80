//! Gives a store that lost its data its bans back, once at a time; until then nothing is admitted.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use postrider_common::restore_bans;

use crate::server::state::Shared;

/// Starts it unless it is under way. What fails is tried again by whoever meets the loss next.
pub fn in_background(app: &Shared) {
    if app.restoring.swap(true, Ordering::AcqRel) {
        return;
    }
    let app = Arc::clone(app);
    tokio::spawn(async move {
        if let Err(error) = restore_bans::restore(&app.store, &app.database).await {
            tracing::error!(%error, "the store lost its data and has no bans yet");
        }
        app.restoring.store(false, Ordering::Release);
    });
}
