//! The queue as a table of the embedded database.

use super::{Consumer, Depth, Destination, Outgoing, Published, QueueError, Source};
use crate::job::Lane;
use crate::sqlite::Sqlite;
use sqlx::SqliteConnection;
use tokio_util::sync::CancellationToken;

#[derive(Debug, Clone)]
pub struct SqliteQueue {}
#[derive(Clone)]
pub(super) struct SqliteAcker {}

impl SqliteAcker {
    pub(super) async fn ack(&self, _tag: u64, _multiple: bool) -> bool {
        unimplemented!()
    }
}

impl SqliteQueue {
    /// Takes over the table: what an earlier process had taken and not acked is ready again, as redelivered.
    pub async fn start(_sqlite: Sqlite) -> Result<Self, QueueError> {
        unimplemented!()
    }
    pub async fn publish(&self, _to: Destination, _message: Outgoing) -> Published {
        unimplemented!()
    }
    /// Puts a message into its lane within the caller's transaction; [`SqliteQueue::wake`] after the commit.
    pub async fn enqueue(
        _connection: &mut SqliteConnection,
        _lane: Lane,
        _message: &Outgoing,
    ) -> Result<(), sqlx::Error> {
        unimplemented!()
    }
    /// Tells the lane's consumers that there is something new.
    pub fn wake(&self, _lane: Lane) {
        unimplemented!()
    }
    pub fn consume(&self, _source: Source, _prefetch: u16, _stop: CancellationToken) -> Consumer {
        unimplemented!()
    }
    pub async fn depths(&self) -> Result<Vec<Depth>, QueueError> {
        unimplemented!()
    }
    pub async fn ready(&self, _lane: Lane) -> Result<u64, QueueError> {
        unimplemented!()
    }
    pub async fn ping(&self) -> Result<(), QueueError> {
        unimplemented!()
    }
    pub async fn close(&self) {}
}
