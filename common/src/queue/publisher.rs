//! Publishes on confirm channels, with many messages in flight on each, and says what became of each.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation};
use tokio::time::timeout;

use super::supervisor::{AGAIN, Link};
use super::{Destination, Outgoing, Published, QueueError, Source, topology};

/// Channels of one connection: the broker works on each in a process of its own.
const CHANNELS: usize = 4;
const PERSISTENT: u8 = 2;
/// The header that carries the trace (W3C Trace Context).
pub(super) const TRACEPARENT: &str = "traceparent";

/// A connection's confirm channels, used in turn.
#[derive(Default)]
pub(super) struct Pool {
    channels: Mutex<Vec<Arc<ConfirmChannel>>>,
    turn: AtomicUsize,
}

struct ConfirmChannel {
    channel: Channel,
    /// Held while a publish is numbered and its frames are queued. lapin does these as two steps: two publishes
    /// that crossed between them would get each other's confirm.
    numbering: Mutex<()>,
}

impl Pool {
    /// Opens all of the link's channels.
    pub(super) async fn fill(link: &Arc<Link>) -> Result<(), QueueError> {
        for _ in 0..CHANNELS {
            Self::add(link).await?;
        }
        Ok(())
    }

    async fn add(link: &Arc<Link>) -> Result<(), QueueError> {
        let channel = link.channel().await?;
        link.answer(channel.confirm_select(ConfirmSelectOptions::default())).await?;
        let channel = Arc::new(ConfirmChannel { channel, numbering: Mutex::default() });
        link.pool.channels.lock().unwrap_or_else(PoisonError::into_inner).push(channel);
        Ok(())
    }

    fn next(&self) -> Option<Arc<ConfirmChannel>> {
        let channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        channels.get(turn % channels.len().max(1)).cloned()
    }

    /// Takes a channel out of use and opens another in its place. Publishes in flight on it still get their
    /// confirms; it closes with the last of them.
    fn replace(link: &Arc<Link>, channel: &Arc<ConfirmChannel>) {
        let mut channels = link.pool.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(place) = channels.iter().position(|other| Arc::ptr_eq(other, channel)) else {
            return;
        };
        channels.remove(place);
        drop(channels);
        let closed_by_broker = !channel.channel.status().connected();
        let link = link.clone();
        tokio::spawn(async move {
            // Under an alarm there is no answer to opening a channel either.
            while link.blocked() && link.usable() {
                tokio::time::sleep(AGAIN).await;
            }
            // A publish closes its channel where its exchange is gone.
            let ready = if closed_by_broker { link.declare().await } else { Ok(()) };
            let replaced = match ready {
                Ok(()) => Self::add(&link).await,
                error => error,
            };
            if let Err(error) = replaced {
                tracing::debug!(%error, "no channel in place of a retired one");
                link.condemn();
            }
        });
    }
}

/// Publishes one message and waits for its confirm, at most `limit`.
pub(super) async fn publish(
    link: Option<Arc<Link>>,
    limit: Duration,
    to: Address,
    message: &Outgoing,
) -> Published {
    let Some(link) = link.filter(|link| link.usable()) else {
        return Published::Failed("there is no connection to the broker".to_owned());
    };
    if link.blocked() {
        return Published::Failed("the broker takes nothing: it has raised an alarm".to_owned());
    }
    let Some(channel) = link.pool.next() else {
        return Published::Failed("no channel is open".to_owned());
    };
    let Ok(published) = timeout(limit, channel.publish(to, message)).await else {
        Pool::replace(&link, &channel);
        return Published::Unknown("no confirm came in time".to_owned());
    };
    if !channel.channel.status().connected() {
        Pool::replace(&link, &channel);
    }
    published
}

impl ConfirmChannel {
    async fn publish(&self, to: Address, message: &Outgoing) -> Published {
        let Address { exchange, routing_key } = to;
        let mut publish = pin!(self.channel.basic_publish(
            exchange.into(),
            routing_key.into(),
            BasicPublishOptions::default(),
            &message.body,
            properties(message),
        ));
        let first_poll = {
            let _numbering = self.numbering.lock().unwrap_or_else(PoisonError::into_inner);
            publish.as_mut().now_or_never()
        };
        let sent = match first_poll {
            Some(sent) => sent,
            None => publish.await,
        };
        match sent {
            // lapin says so only of a message whose last frame wasn't written.
            Err(error) => Published::Failed(error.to_string()),
            Ok(confirm) => match confirm.await {
                Ok(Confirmation::Ack(_)) => Published::Confirmed,
                Ok(Confirmation::Nack(_)) => {
                    Published::Failed("the broker refused the message".to_owned())
                }
                Ok(Confirmation::NotRequested) => {
                    Published::Unknown("the channel gives no confirms".to_owned())
                }
                Err(error) => Published::Unknown(error.to_string()),
            },
        }
    }
}

/// Exchange and routing key.
pub(super) struct Address {
    exchange: String,
    routing_key: &'static str,
}

impl Address {
    /// Of the queue that nobody takes from: see [`topology::PROBE`].
    pub(super) fn probe() -> Self {
        Self { exchange: String::new(), routing_key: topology::PROBE }
    }
}

impl From<Destination> for Address {
    fn from(to: Destination) -> Self {
        let (exchange, routing_key) = match to {
            Destination::Lane(lane) => (topology::WORK.to_owned(), lane.as_str()),
            Destination::Retry(lane, rung) => (rung.queue(), lane.as_str()),
            Destination::Rows => (String::new(), Source::Rows.queue()),
        };
        Self { exchange, routing_key }
    }
}

fn properties(message: &Outgoing) -> BasicProperties {
    let properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_content_type("application/json".into())
        .with_message_id(message.id.as_str().into());
    let Some(trace) = &message.trace else { return properties };
    let mut headers = FieldTable::default();
    headers.insert(TRACEPARENT.into(), AMQPValue::LongString(trace.as_str().into()));
    properties.with_headers(headers)
}
