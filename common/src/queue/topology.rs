//! What the service needs at the broker, declared in one function; each option that isn't the default has its
//! reason.

use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ErrorKind, ExchangeKind};

use super::{Rung, Source};
use crate::model::job::Lane;

/// Direct; the routing key is the lane.
pub(super) const WORK: &str = "sms.work";
/// The queue of probes: a confirmed publish to it says that the broker takes messages. Of the same kind as the lanes, so
/// that what keeps those from confirming keeps it too.
pub(super) const PROBE: &str = "sms.probe";
/// Life of a probe's message, in milliseconds.
const PROBE_TTL_MS: i32 = 1000;
const DEAD: &str = "sms.dead";
const UNROUTED: &str = "sms.unrouted";

/// How often the broker hands a job out before it gives up on it. Only a backstop: every lost connection counts
/// for all that was prefetched, so poison is decided by our own claims.
const DELIVERIES: i32 = 100;
/// For queues that must never give up: `RabbitMQ` 4 throws away after 20 deliveries where nothing is said, and
/// 3.x takes no -1 for "never".
const NO_LIMIT: i32 = 1_000_000_000;

/// Declares everything. It may be run at any time, by any number of processes.
pub(super) async fn declare(connection: &Connection) -> Result<(), lapin::Error> {
    let mut broker = Broker { connection, channel: connection.create_channel().await? };

    broker.exchange(UNROUTED, ExchangeKind::Fanout, &[]).await?;
    broker.exchange(DEAD, ExchangeKind::Fanout, &[]).await?;
    // What no queue is bound for is kept and alarmed. Not `mandatory`: with many publishes in flight the
    // client may take a return for another message's.
    let unrouted = [("alternate-exchange", text(UNROUTED))];
    broker.exchange(WORK, ExchangeKind::Direct, &unrouted).await?;

    for source in [Source::Unrouted, Source::Dead, Source::Rows] {
        broker.queue(source.queue(), &[("x-delivery-limit", NO_LIMIT.into())]).await?;
    }
    broker.bind(Source::Unrouted.queue(), UNROUTED, "").await?;
    broker.bind(Source::Dead.queue(), DEAD, "").await?;

    // Nobody takes from it: it holds one message, and that not for long.
    let probe = [("x-max-length", 1.into()), ("x-message-ttl", PROBE_TTL_MS.into())];
    broker.queue(PROBE, &probe).await?;

    for lane in Lane::ALL {
        let [strategy, overflow] = at_least_once();
        let limit = ("x-delivery-limit", DELIVERIES.into());
        let dead = ("x-dead-letter-exchange", text(DEAD));
        broker.queue(lane.queue(), &[limit, dead, strategy, overflow]).await?;
        broker.bind(lane.queue(), WORK, lane.as_str()).await?;
    }

    for rung in Rung::all() {
        // One queue a delay: a message's own expiration does nothing while it stands behind a longer one.
        let ttl = ("x-message-ttl", milliseconds(rung.delay()));
        // No x-dead-letter-routing-key: the lane stays what it was. The exchange is a fanout for the same
        // reason: the message carries the lane as its key, not the queue's name.
        let back = ("x-dead-letter-exchange", text(WORK));
        let [strategy, overflow] = at_least_once();
        let name = rung.queue();
        broker.exchange(&name, ExchangeKind::Fanout, &unrouted).await?;
        broker.queue(&name, &[ttl, back, strategy, overflow]).await?;
        broker.bind(&name, &name, "").await?;
    }
    Ok(())
}

/// A dead-lettered message leaves its queue when the next has it on disk: the default may lose it on the way.
/// The broker allows that only where a full queue refuses publishes instead of dropping its head; none has a
/// maximal length, because a full queue would stop the dead-lettering into it, unseen.
fn at_least_once() -> [(&'static str, AMQPValue); 2] {
    [("x-dead-letter-strategy", text("at-least-once")), ("x-overflow", text("reject-publish"))]
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

fn milliseconds(delay: Duration) -> AMQPValue {
    i32::try_from(delay.as_millis()).unwrap_or(i32::MAX).into()
}

struct Broker<'a> {
    connection: &'a Connection,
    channel: Channel,
}

impl Broker<'_> {
    async fn exchange(
        &mut self,
        name: &str,
        kind: ExchangeKind,
        arguments: &[(&str, AMQPValue)],
    ) -> Result<(), lapin::Error> {
        let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
        let declared = self.channel.exchange_declare(
            name.into(),
            kind.clone(),
            options,
            table(arguments, None),
        );
        let Err(error) = declared.await else { return Ok(()) };
        self.after_refusal(error, name).await?;
        let options = ExchangeDeclareOptions { passive: true, ..options };
        self.channel.exchange_declare(name.into(), kind, options, FieldTable::default()).await
    }

    async fn queue(
        &mut self,
        name: &str,
        arguments: &[(&str, AMQPValue)],
    ) -> Result<(), lapin::Error> {
        let options = QueueDeclareOptions::durable();
        // Replicated, and on disk before a publish is confirmed.
        let arguments = table(arguments, Some(("x-queue-type", text("quorum"))));
        let declared = self.channel.queue_declare(name.into(), options, arguments).await;
        let Err(error) = declared else { return Ok(()) };
        self.after_refusal(error, name).await?;
        let options = QueueDeclareOptions { passive: true, ..options };
        self.channel.queue_declare(name.into(), options, FieldTable::default()).await.map(drop)
    }

    async fn bind(&self, queue: &str, exchange: &str, key: &str) -> Result<(), lapin::Error> {
        let options = QueueBindOptions::default();
        let arguments = FieldTable::default();
        self.channel.queue_bind(queue.into(), exchange.into(), key.into(), options, arguments).await
    }

    /// 406 says that it exists with other arguments, and has closed the channel: what exists is used, on a new
    /// channel. To stop here would stop every process for a setting that an operator may have changed on
    /// purpose.
    async fn after_refusal(&mut self, error: lapin::Error, name: &str) -> Result<(), lapin::Error> {
        if !is_soft(&error, &AMQPSoftError::PRECONDITIONFAILED) {
            return Err(error);
        }
        tracing::error!(
            queue.name = name, %error,
            "it exists at the broker with other arguments and is used as it is: a message in it may be late \
             or lost where it should not be; delete it when it is empty, and it is declared anew"
        );
        self.channel = self.connection.create_channel().await?;
        Ok(())
    }
}

fn table(arguments: &[(&str, AMQPValue)], and: Option<(&str, AMQPValue)>) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in arguments.iter().cloned().chain(and) {
        table.insert(name.into(), value);
    }
    table
}

/// Whether the broker closed a channel with this code.
pub(super) fn is_soft(error: &lapin::Error, code: &AMQPSoftError) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(error) if *error.kind() == AMQPErrorKind::Soft(code.clone()))
}
