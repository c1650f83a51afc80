//! Writes into `api_key` when keys were last used: every minute, off the answer's path.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use postrider_common::database::Database;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Keys whose use waits to be written at the most; what finds no place is not written.
const MOST: usize = 10_000;
const AT_ONCE: usize = 500;
const EVERY: Duration = Duration::from_mins(1);

/// Takes note of uses.
#[derive(Debug, Clone)]
pub struct KeyUses {
    noted: Arc<Noted>,
    /// Closes with the last handle.
    _open: mpsc::Sender<()>,
}

/// The latest use of each key, in unix milliseconds, by the key's id.
#[derive(Debug, Default)]
struct Noted(Mutex<HashMap<String, i64>>);

impl KeyUses {
    /// Starts the writer. It ends, after one last try, when the last handle is gone.
    pub fn start(database: Database) -> (Self, JoinHandle<()>) {
        let (open, closed) = mpsc::channel(1);
        let noted = Arc::<Noted>::default();
        let writing = tokio::spawn(write(database, Arc::clone(&noted), closed));
        (Self { noted, _open: open }, writing)
    }

    /// Never waits.
    pub fn note(&self, id: &str, at: i64) {
        self.noted.put(id, at);
    }

    #[cfg(test)]
    pub(crate) fn waiting(&self) -> Vec<(String, i64)> {
        self.noted.take()
    }
}

impl Noted {
    fn put(&self, id: &str, at: i64) {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(latest) = uses.get_mut(id) {
            *latest = at.max(*latest);
        } else if uses.len() < MOST {
            uses.insert(id.to_owned(), at);
        }
    }

    fn take(&self) -> Vec<(String, i64)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
            .into_iter()
            .collect()
    }
}

async fn write(database: Database, noted: Arc<Noted>, mut closed: mpsc::Receiver<()>) {
    let mut open = true;
    while open {
        open = tokio::time::timeout(EVERY, closed.recv()).await.is_err();
        for batch in noted.take().chunks(AT_ONCE) {
            if let Err(error) = database.set_last_used(batch).await {
                tracing::warn!(%error, count = batch.len(), "uses of API keys are not written yet");
                for (id, at) in batch {
                    noted.put(id, *at);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_use_of_each_key_is_kept_and_no_more_than_fit() {
        let noted = Noted::default();
        for (id, at) in [("a", 5), ("a", 9), ("a", 7), ("b", 1)] {
            noted.put(id, at);
        }
        let mut taken = noted.take();
        taken.sort();
        assert_eq!(taken, [("a".to_owned(), 9), ("b".to_owned(), 1)]);
        for n in 0..=MOST {
            noted.put(&n.to_string(), 1);
        }
        assert_eq!(noted.take().len(), MOST);
        assert!(noted.take().is_empty());
    }
}
