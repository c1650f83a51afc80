//! A database without its tables, reported once when a process starts.

use std::time::Duration;

use super::{Database, DatabaseError};

/// Pause after a database that doesn't answer.
const RETRY_DELAY: Duration = Duration::from_secs(1);

impl Database {
    /// Logs once where the database lacks tables, as soon as it answers.
    pub async fn report_missing_tables(self) {
        while let Err(error) = self.ping().await {
            if matches!(error, DatabaseError::TablesMissing(_)) {
                tracing::error!(
                    "the database has no tables, or not all of them: run postrider-api migrate"
                );
                return;
            }
            tokio::time::sleep(RETRY_DELAY).await;
        }
    }
}
