//! Jobs and rows under a secret that this worker lacks: when it isn't ready for their sake, and how often it says so.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use postrider_common::secrets::KeyId;
use tokio::time::Instant;

/// A job that waits comes to one worker or another every few seconds: one that wasn't seen for so long is elsewhere.
const SEEN_FOR: Duration = Duration::from_mins(1);
/// Between two lines about missing keys.
const LOG_INTERVAL: Duration = Duration::from_mins(1);

/// The secrets that were missing of late.
#[derive(Debug, Default)]
pub struct MissingKeys(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Until when a job under a missing key counts as waiting.
    waiting_until: Option<Instant>,
    logged_at: Option<Instant>,
}

impl MissingKeys {
    /// Returns whether a job waits that could still be sent, were its secret here.
    pub fn keep_jobs_waiting(&self) -> bool {
        self.state().waiting_until.is_some_and(|until| Instant::now() < until)
    }

    /// Takes note of a job that can be sent for so long.
    pub(crate) fn observe_job(&self, key: &KeyId, left: Duration) {
        let until = Instant::now() + left.min(SEEN_FOR);
        let mut state = self.state();
        state.waiting_until = state.waiting_until.max(Some(until));
        drop(state);
        self.log(
            key,
            "a job's key is not among POSTRIDER_SECRET: it waits for a worker that has it",
        );
    }

    /// Logs that a key is missing, once a minute at the most.
    pub(crate) fn log(&self, key: &KeyId, message: &'static str) {
        let mut state = self.state();
        if state.logged_at.is_some_and(|at| at.elapsed() < LOG_INTERVAL) {
            return;
        }
        state.logged_at = Some(Instant::now());
        drop(state);
        tracing::error!(key.id = %key, "{message}");
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_worker_is_unready_only_while_a_job_waits_that_could_be_sent() {
        let (missing, key) = (MissingKeys::default(), KeyId::from("00000000"));
        assert!(!missing.keep_jobs_waiting());
        missing.log(&key, "a row's key is missing");
        assert!(!missing.keep_jobs_waiting(), "a row was sent");
        missing.observe_job(&key, Duration::from_secs(5));
        assert!(missing.keep_jobs_waiting());
        tokio::time::advance(Duration::from_secs(6)).await;
        assert!(!missing.keep_jobs_waiting(), "it is too late to send it");
        missing.observe_job(&key, Duration::from_hours(24));
        missing.observe_job(&key, Duration::from_secs(1));
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(missing.keep_jobs_waiting());
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(!missing.keep_jobs_waiting(), "another worker has it");
    }
}
