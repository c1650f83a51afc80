//! How often failures in a row are logged: tries are many.

use std::time::Duration;

use tokio::time::Instant;

const LOG_INTERVAL: Duration = Duration::from_mins(1);

/// One outage after the other, as the log is told of them: when one begins, once a minute, and when it ends.
#[derive(Debug, Default)]
pub struct OutageLog {
    logged_at: Option<Instant>,
}

impl OutageLog {
    /// Takes note of a failure; returns whether it is to be logged.
    pub fn is_due(&mut self) -> bool {
        let due = self.logged_at.is_none_or(|at| at.elapsed() >= LOG_INTERVAL);
        if due {
            self.logged_at = Some(Instant::now());
        }
        due
    }

    /// Takes note of a success; returns whether it ends an outage.
    pub fn end(&mut self) -> bool {
        self.logged_at.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, pause};

    use super::*;

    #[tokio::test]
    async fn logs_when_an_outage_begins_once_a_minute_and_when_it_ends() {
        pause();
        let mut log = OutageLog::default();
        assert!(!log.end());
        let mut logged = 0;
        for _ in 0..5 * 150 {
            logged += usize::from(log.is_due());
            advance(Duration::from_millis(200)).await;
        }
        assert_eq!(logged, 3, "in two and a half minutes");
        assert!(log.end() && !log.end());
        assert!(log.is_due(), "the next outage");
    }
}
