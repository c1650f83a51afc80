//! What the tests run against: real services and real processes, private to this test run, ended by process id when it
//! ends, however it ends.

#![expect(
    unreachable_pub,
    reason = "nothing is outside of a test binary: pub is for its other modules"
)]

#[path = "../api/src/testing/conformance.rs"]
mod conformance;
#[cfg(test)]
pub mod door;
pub mod guardian;
mod itself;
pub mod ports;
pub mod processes;
pub mod provider;
pub mod proxy;
pub mod services;

use std::time::{Duration, Instant};

/// The longest that anything in a test may take to come about.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Looks again and again until there is what is waited for. Panics with its name after [`PATIENCE`].
pub async fn eventually<T, F>(what: &str, mut look: impl FnMut() -> F) -> T
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
pub fn eventually_blocking<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
