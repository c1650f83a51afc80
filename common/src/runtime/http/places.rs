//! Places for connections, so many at a time, and which of them are idle.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The places of a listener.
#[derive(Debug)]
pub(super) struct Places {
    permits: Arc<Semaphore>,
    count: u32,
    /// Those that may be taken from an idle connection.
    evictable: Mutex<Vec<Weak<Activity>>>,
}

/// A connection's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    activity: Arc<Activity>,
    _permit: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct Activity {
    /// `None` while a request is answered.
    idle_since: Mutex<Option<Instant>>,
    evicted: CancellationToken,
}

impl Places {
    pub(super) fn new(count: u32) -> Self {
        let permits = Arc::new(Semaphore::new(count as usize));
        Self { permits, count, evictable: Mutex::default() }
    }

    /// Waits for a place to be free. (`None` never comes: nobody closes the semaphore.)
    pub(super) async fn free(&self) -> Option<Place> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok()?;
        let idle_since = Mutex::new(Some(Instant::now()));
        let activity = Arc::new(Activity { idle_since, evicted: CancellationToken::new() });
        Some(Place { activity, _permit: permit })
    }

    /// As [`Places::free`], but where no place is free ends the connection that has been idle for the longest. The place
    /// is itself one that may be taken so.
    pub(super) async fn take_from_idle(&self) -> Option<Place> {
        if self.permits.available_permits() == 0 {
            self.evict_idlest();
        }
        let place = self.free().await?;
        let mut evictable = self.evictable.lock().unwrap_or_else(PoisonError::into_inner);
        evictable.retain(|activity| activity.strong_count() > 0);
        evictable.push(Arc::downgrade(&place.activity));
        Some(place)
    }

    /// Waits for every connection to end.
    pub(super) async fn all_free(&self) {
        drop(self.permits.acquire_many(self.count).await);
    }

    fn evict_idlest(&self) {
        let evictable = self.evictable.lock().unwrap_or_else(PoisonError::into_inner);
        let held = evictable.iter().filter_map(Weak::upgrade);
        let idle = held.filter_map(|activity| Some((activity.idle_since()?, activity)));
        if let Some((_, idlest)) = idle.min_by_key(|(since, _)| *since) {
            idlest.evicted.cancel();
        }
    }
}

impl Place {
    /// Runs a request, while which the connection isn't idle.
    pub(super) fn busy_while<F: Future>(
        &self,
        answer: F,
    ) -> impl Future<Output = F::Output> + use<F> {
        let activity = Arc::clone(&self.activity);
        async move {
            activity.set_idle_since(None);
            let answer = answer.await;
            activity.set_idle_since(Some(Instant::now()));
            answer
        }
    }

    /// Waits for somebody else to need the place of this idle connection.
    pub(super) async fn evicted(&self) {
        self.activity.evicted.cancelled().await;
    }
}

impl Activity {
    fn idle_since(&self) -> Option<Instant> {
        *self.idle_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_idle_since(&self, since: Option<Instant>) {
        *self.idle_since.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }
}
