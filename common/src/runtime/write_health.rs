//! Whether a part takes writes now: known from real calls, and from a probe where there were none lately.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

/// Age up to which a result stands: so often a part is probed at the most, by however many readers.
const MAX_RESULT_AGE: Duration = Duration::from_secs(1);
/// Longest probe: whoever asks for readiness waits for a second or so.
const PROBE_TIMEOUT: Duration = Duration::from_millis(900);

/// The latest result of a part's writes.
#[derive(Debug)]
pub struct WriteHealth<E> {
    part: &'static str,
    latest: Mutex<Latest<E>>,
    /// Held by the one probe under way: others wait for its result.
    probing: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Latest<E> {
    result: Option<(Instant, Result<(), E>)>,
    /// Whether the log was told that the part is down.
    logged_down: bool,
}

impl<E: Clone + fmt::Display> WriteHealth<E> {
    /// `part` is its name in the log.
    #[must_use]
    pub fn new(part: &'static str) -> Self {
        let latest = Mutex::new(Latest { result: None, logged_down: false });
        Self { part, latest, probing: tokio::sync::Mutex::new(()) }
    }

    /// Takes the result of a real write into account.
    pub fn record(&self, result: Result<(), E>) {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).result =
            Some((Instant::now(), result));
    }

    /// Gives the latest result, or that of `probe` where the latest is too old. `late` is the error of a probe that
    /// doesn't end in time.
    ///
    /// # Errors
    /// The part took no write.
    pub async fn check(
        &self,
        probe: impl Future<Output = Result<(), E>>,
        late: impl FnOnce() -> E,
    ) -> Result<(), E> {
        if let Some(result) = self.fresh() {
            return result;
        }
        let _one_at_a_time = self.probing.lock().await;
        if let Some(result) = self.fresh() {
            return result;
        }
        let result = timeout(PROBE_TIMEOUT, probe).await.unwrap_or_else(|_elapsed| Err(late()));
        self.record(result.clone());
        self.log(&result);
        result
    }

    fn fresh(&self) -> Option<Result<(), E>> {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, result) = latest.result.as_ref()?;
        (at.elapsed() < MAX_RESULT_AGE).then(|| result.clone())
    }

    fn log(&self, result: &Result<(), E>) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let was_down = std::mem::replace(&mut latest.logged_down, result.is_err());
        drop(latest);
        match result {
            Err(error) if !was_down => tracing::warn!(part = self.part, %error, "takes no writes"),
            Ok(()) if was_down => tracing::info!(part = self.part, "takes writes again"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::join_all;
    use tokio::time::{advance, pause};

    use super::*;

    async fn check(
        health: &WriteHealth<&'static str>,
        probes: &AtomicUsize,
        result: Result<(), &'static str>,
    ) -> Result<(), &'static str> {
        let probe = async {
            probes.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(10)).await;
            result
        };
        health.check(probe, || "late").await
    }

    #[tokio::test]
    async fn many_readers_share_a_probe_and_its_result_for_a_second() {
        pause();
        let (health, probes) = (WriteHealth::new("store"), AtomicUsize::new(0));
        let all = join_all((0..50).map(|_| check(&health, &probes, Err("full")))).await;
        assert!(all.iter().all(|result| *result == Err("full")));
        advance(Duration::from_millis(980)).await;
        assert_eq!(check(&health, &probes, Ok(())).await, Err("full"));
        assert_eq!(probes.load(Ordering::Relaxed), 1);
        advance(Duration::from_millis(20)).await;
        assert_eq!(check(&health, &probes, Ok(())).await, Ok(()));
        assert_eq!(probes.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_real_call_counts_as_a_probe_does() {
        pause();
        let (health, probes) = (WriteHealth::new("store"), AtomicUsize::new(0));
        health.record(Err("unavailable"));
        assert_eq!(check(&health, &probes, Ok(())).await, Err("unavailable"));
        health.record(Ok(()));
        assert_eq!(check(&health, &probes, Err("no")).await, Ok(()));
        assert_eq!(probes.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_probe_that_hangs_is_a_failure_and_is_not_waited_for_twice() {
        pause();
        let (health, begun) = (WriteHealth::new("store"), Instant::now());
        let hang = || health.check(std::future::pending(), || "late");
        assert_eq!(tokio::join!(hang(), hang()), (Err("late"), Err("late")));
        assert!(begun.elapsed() < PROBE_TIMEOUT * 2);
    }
}
