//! The queue on RabbitMQ.

use super::{Consumer, Delivery, Depth, Destination, Outgoing, Published, QueueError, Source};
use crate::job::Lane;
use secrecy::SecretString;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

#[derive(Debug, Clone)]
pub struct RabbitQueue {}
#[derive(Clone)]
pub(super) struct RabbitAcker {}

impl RabbitAcker {
    pub(super) async fn ack(&self, _tag: u64, _multiple: bool) -> bool {
        unimplemented!()
    }
}

impl RabbitQueue {
    /// Starts the supervisor and returns at once; until it has a connection, publishes fail and
    /// consumers wait.
    #[must_use]
    pub fn start(_url: &SecretString, _confirm_timeout: Duration) -> Self {
        unimplemented!()
    }
    pub async fn publish(&self, _to: Destination, _message: Outgoing) -> Published {
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
    pub fn ping(&self) -> Result<(), QueueError> {
        unimplemented!()
    }
    pub async fn close(&self) {}
}
#[allow(dead_code)]
fn used(_: Delivery) {}
