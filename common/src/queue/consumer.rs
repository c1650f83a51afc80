//! Takes messages from one source, and subscribes again on every new connection.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::{FutureExt as _, StreamExt as _};
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, message};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::publisher::TRACEPARENT;
use super::supervisor::{AGAIN, Link, Up, unavailable};
use super::{Acker, Delivery, QueueError, Receipt, Source};
use crate::runtime::outage_log::OutageLog;

static SESSIONS: AtomicU64 = AtomicU64::new(1);

/// One channel with one subscription.
struct Session {
    number: u64,
    channel: Channel,
    /// Tags that were handed out and neither acked nor given back.
    unacked: Mutex<BTreeSet<u64>>,
    /// Nothing more will be handed out.
    stopped: AtomicBool,
}

#[derive(Clone)]
pub(super) struct RabbitAcker(Arc<Session>);

impl RabbitAcker {
    pub(super) async fn ack(&self, tag: u64, multiple: bool) -> bool {
        let Self(session) = self;
        let mut ack = pin!(session.channel.basic_ack(tag, BasicAckOptions { multiple }));
        // The first poll queues the frame. Under the lock, so that no ack for a tag leaves after one that
        // covered it: the broker closes the channel over an ack of what is acked.
        let first_poll = {
            let mut unacked = session.unacked.lock().unwrap_or_else(PoisonError::into_inner);
            if !unacked.remove(&tag) {
                return false;
            }
            if multiple {
                *unacked = unacked.split_off(&tag);
            }
            ack.as_mut().now_or_never()
        };
        let sent = match first_poll {
            Some(sent) => sent,
            None => ack.await,
        };
        let acked = sent.is_ok() && !self.is_over();
        session.close_once_done().await;
        acked
    }

    pub(super) async fn give_back(&self, tag: u64) {
        let Self(session) = self;
        let ours = session.unacked.lock().unwrap_or_else(PoisonError::into_inner).remove(&tag);
        if ours {
            give_back(session, tag).await;
        }
        session.close_once_done().await;
    }

    pub(super) fn is_over(&self) -> bool {
        !self.0.channel.status().connected()
    }
}

/// What a consumer's task needs.
pub(super) struct Subscriber {
    pub(super) source: Source,
    pub(super) prefetch: u16,
    pub(super) up: Up,
    pub(super) handed: mpsc::Sender<Delivery>,
    /// Its owner wants no more.
    pub(super) stop: CancellationToken,
    /// The whole queue is closed.
    pub(super) closed: CancellationToken,
}

impl Subscriber {
    pub(super) async fn run(mut self) {
        let mut outage = OutageLog::default();
        while let Some(link) = self.link().await {
            match self.take_from(&link, &mut outage).await {
                Ok(()) => return,
                Err(error) if outage.is_due() => {
                    tracing::warn!(%error, source = ?self.source, "deliveries ended; subscribing again");
                }
                Err(error) => {
                    tracing::debug!(%error, source = ?self.source, "still no deliveries");
                }
            }
            if link.usable() {
                // The connection is well, so the queue may be gone.
                if let Err(error) = link.declare().await {
                    tracing::debug!(%error, "nothing could be declared");
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn ended(&self) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.closed.cancelled() => {}
            () = self.handed.closed() => {}
        }
    }

    /// The next usable connection; `None` at the end.
    async fn link(&mut self) -> Option<Arc<Link>> {
        let mut up = self.up.clone();
        let usable = |link: &Option<Arc<Link>>| link.as_ref().is_some_and(|link| link.usable());
        tokio::select! {
            biased;
            () = self.ended() => None,
            link = up.wait_for(usable) => link.ok().and_then(|link| link.clone()),
        }
    }

    /// Hands on what comes over this connection; an error where it ends before we do.
    async fn take_from(&self, link: &Link, outage: &mut OutageLog) -> Result<(), QueueError> {
        let channel = link.channel().await?;
        let qos = channel.basic_qos(self.prefetch.max(1), BasicQosOptions::default());
        link.answer(qos).await?;
        let queue = self.source.queue();
        let subscribed = channel.basic_consume(
            queue.into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        );
        let mut deliveries = link.answer(subscribed).await?;
        if outage.end() {
            tracing::info!(source = ?self.source, "subscribed again");
        }
        let number = SESSIONS.fetch_add(1, Ordering::Relaxed);
        let (unacked, stopped) = (Mutex::default(), AtomicBool::new(false));
        let session = Arc::new(Session { number, channel, unacked, stopped });
        loop {
            let delivery = tokio::select! {
                biased;
                () = self.ended() => break,
                delivery = deliveries.next() => delivery,
            };
            let delivery = delivery
                .ok_or_else(|| unavailable("the broker cancelled the consumer"))?
                .map_err(unavailable)?;
            // A place first: a delivery is either handed on or still among those to give back.
            let Some(place) = self.place().await else {
                give_back(&session, delivery.delivery_tag).await;
                break;
            };
            place.send(session.clone().hand_out(delivery));
        }
        let cancel = session.channel.basic_cancel(deliveries.tag(), BasicCancelOptions::default());
        if link.answer(cancel).await.is_ok() {
            // What came and wasn't handed on goes to others now, not when this process has finished the rest.
            while let Some(Ok(delivery)) = deliveries.next().await {
                give_back(&session, delivery.delivery_tag).await;
            }
        }
        session.stopped.store(true, Ordering::SeqCst);
        session.close_once_done().await;
        Ok(())
    }

    async fn place(&self) -> Option<mpsc::Permit<'_, Delivery>> {
        tokio::select! {
            biased;
            () = self.ended() => None,
            place = self.handed.reserve() => place.ok(),
        }
    }
}

async fn give_back(session: &Session, tag: u64) {
    let options = BasicNackOptions { requeue: true, multiple: false };
    if let Err(error) = session.channel.basic_nack(tag, options).await {
        tracing::debug!(%error, "it goes back with its channel");
    }
}

impl Session {
    /// Closes a channel that nothing more will come or be acked on: a broker allows so many of one connection.
    async fn close_once_done(&self) {
        let done = self.stopped.load(Ordering::SeqCst)
            && self.unacked.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        // Of many at once, the first closes it.
        if done && self.channel.status().connected() {
            drop(self.channel.close(200, "done".into()).await);
        }
    }

    fn hand_out(self: Arc<Self>, delivery: message::Delivery) -> Delivery {
        let tag = delivery.delivery_tag;
        self.unacked.lock().unwrap_or_else(PoisonError::into_inner).insert(tag);
        let headers = delivery.properties.headers().as_ref();
        Delivery {
            redelivered: delivery.redelivered || headers.is_some_and(was_delivered),
            trace: headers.and_then(trace),
            // Kept by dead-lettering and by the alternate exchange alike.
            routing_key: delivery.routing_key.to_string(),
            body: delivery.data,
            receipt: Receipt { session: self.number, tag, acker: Acker::Rabbit(RabbitAcker(self)) },
        }
    }
}

fn was_delivered(headers: &FieldTable) -> bool {
    let count = headers.inner().get("x-delivery-count").and_then(AMQPValue::as_long_long_int);
    count.is_some_and(|count| count > 0)
}

fn trace(headers: &FieldTable) -> Option<String> {
    match headers.inner().get(TRACEPARENT)? {
        AMQPValue::LongString(trace) => Some(trace.to_string()),
        _ => None,
    }
}
