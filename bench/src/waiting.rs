//! Waits for what takes its time to come about: the start of a service.

use std::time::{Duration, Instant};

/// The longest that anything may take to start.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Looks again and again until there is what is waited for. Panics with its name after [`PATIENCE`].
pub(crate) async fn eventually<T, F>(what: &str, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The same for code that isn't async: the start of a service.
pub(crate) fn eventually_blocking<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
