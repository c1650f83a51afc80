//! Keeps one connection to the broker up. lapin's own recovery stays off: it can hang for good, without a word.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties, Event};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::publisher::Pool;
use super::{QueueError, topology};
use crate::runtime::outage_log::OutageLog;

/// Between two tries.
pub(super) const AGAIN: Duration = Duration::from_millis(200);
/// TCP, TLS and the AMQP handshake.
const CONNECT: Duration = Duration::from_secs(5);
/// All declarations; where the broker itself has just started, each waits for an election.
const DECLARE: Duration = Duration::from_secs(30);
/// One answer of the broker, where there is nothing to wait for but the network.
const ANSWER: Duration = Duration::from_secs(5);
/// How long the broker has to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);
/// A peer that is silent for twice as long is gone, where TCP doesn't say so.
const HEARTBEAT_SECONDS: u16 = 10;
/// The longest frame, in bytes. lapin holds 64 frames' worth of buffers for each connection; with the broker's own 128 KiB
/// those are 8 MiB. A longer job is more frames.
const FRAME_MAX: u32 = 16 * 1024;
/// How often the connection's state is looked at, should its last event be missed.
const LOOK: Duration = Duration::from_millis(250);

/// What a connection is for: under a memory alarm the broker stops to read from those that publish, and acks must
/// still pass.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    Publish,
    Consume,
}

/// The connection that is up now, if one is.
pub(super) type Up = watch::Receiver<Option<Arc<Link>>>;

/// One connection, from its handshake to its loss.
pub(super) struct Link {
    connection: Connection,
    /// Ended by whoever finds that it answers no more.
    condemned: CancellationToken,
    pub(super) pool: Pool,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link(usable: {})", self.usable())
    }
}

impl Link {
    pub(super) fn usable(&self) -> bool {
        self.connection.status().connected() && !self.condemned.is_cancelled()
    }

    /// Whether a memory or disk alarm keeps the broker from taking anything.
    pub(super) fn blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    pub(super) async fn channel(&self) -> Result<Channel, QueueError> {
        self.answer(self.connection.create_channel()).await
    }

    /// Declares again what someone has deleted.
    pub(super) async fn declare(&self) -> Result<(), QueueError> {
        let declared = timeout(DECLARE, topology::declare(&self.connection));
        declared.await.map_err(unavailable)?.map_err(unavailable)
    }

    /// Waits for an answer, for a while. A connection that gives none is replaced: TCP may take minutes to
    /// notice that its peer is gone.
    pub(super) async fn answer<T>(
        &self,
        asked: impl Future<Output = Result<T, lapin::Error>>,
    ) -> Result<T, QueueError> {
        let answered = timeout(ANSWER, asked).await;
        // Under an alarm a connection is silent and well.
        if answered.is_err() && !self.blocked() {
            self.condemn();
        }
        answered.map_err(unavailable)?.map_err(unavailable)
    }

    pub(super) fn condemn(&self) {
        self.condemned.cancel();
    }

    async fn open(url: &SecretString, purpose: Purpose) -> Result<Arc<Self>, QueueError> {
        let connecting = Connection::connect_uri(uri(url)?, properties(purpose));
        let connection = timeout(CONNECT, connecting).await.map_err(unavailable)?;
        let link = Arc::new(Self {
            connection: connection.map_err(unavailable)?,
            condemned: CancellationToken::new(),
            pool: Pool::default(),
        });
        link.declare().await?;
        if matches!(purpose, Purpose::Publish) {
            Pool::fill(&link).await?;
        }
        Ok(link)
    }

    /// Ends when the connection is of no more use; gives what was heard of the cause.
    async fn ended(&self) -> String {
        let mut why = "it gave no answer in time".to_owned();
        let mut events = Box::pin(self.connection.events_listener());
        let mut look = tokio::time::interval(LOOK);
        while self.usable() {
            tokio::select! {
                () = self.condemned.cancelled() => return why,
                _ = look.tick() => {}
                event = events.next() => match event {
                    Some(Event::ConnectionBlocked(reason)) => {
                        tracing::error!(reason, "the broker takes nothing more: it has raised an alarm");
                    }
                    Some(Event::ConnectionUnblocked) => tracing::warn!("the broker's alarm is over"),
                    Some(Event::Error(error)) => why = error.to_string(),
                    Some(_) => {}
                    // No event can follow; the state is still looked at.
                    None => tokio::time::sleep(LOOK).await,
                },
            }
        }
        why
    }

    /// Closes it, and so gives back what was delivered over it and not acked.
    async fn close(&self) {
        let goodbye = timeout(GOODBYE, self.connection.close(200, "OK".into())).await;
        if !matches!(goodbye, Ok(Ok(()))) {
            tracing::debug!("a connection to the broker ended without a goodbye");
        }
    }
}

/// Keeps a connection up until `closed`, and shows the current one.
pub(super) async fn keep_up(
    url: SecretString,
    purpose: Purpose,
    closed: CancellationToken,
    current: watch::Sender<Option<Arc<Link>>>,
) {
    let mut outage = OutageLog::default();
    loop {
        let opened = tokio::select! {
            () = closed.cancelled() => return,
            opened = Link::open(&url, purpose) => opened,
        };
        match opened {
            Ok(link) => {
                let again = outage.end();
                tracing::info!(?purpose, again, "connected to the broker");
                current.send_replace(Some(link.clone()));
                tokio::select! {
                    () = closed.cancelled() => {}
                    why = link.ended() => {
                        tracing::warn!(?purpose, error = why, "lost the connection to the broker");
                    }
                }
                current.send_replace(None);
                link.close().await;
            }
            Err(error) if outage.is_due() => {
                tracing::warn!(%error, ?purpose, "no connection to the broker; trying on");
            }
            Err(error) => tracing::debug!(%error, ?purpose, "still no connection to the broker"),
        }
        tokio::select! {
            () = closed.cancelled() => return,
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

fn uri(url: &SecretString) -> Result<AMQPUri, QueueError> {
    // The parser's own message isn't shown: it may quote the password.
    let parsed = url.expose_secret().parse::<AMQPUri>();
    let mut uri =
        parsed.map_err(|_| QueueError::Unavailable("AMQP_URL is not an amqp:// URL".to_owned()))?;
    uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
    uri.query.frame_max.get_or_insert(FRAME_MAX);
    let connect = u64::try_from(CONNECT.as_millis()).unwrap_or(u64::MAX);
    uri.query.connection_timeout.get_or_insert(connect);
    Ok(uri)
}

fn properties(purpose: Purpose) -> ConnectionProperties {
    let name = match purpose {
        Purpose::Publish => "postrider publishes",
        Purpose::Consume => "postrider consumes",
    };
    ConnectionProperties::default().with_connection_name(name.into())
}

pub(super) fn unavailable(error: impl fmt::Display) -> QueueError {
    QueueError::Unavailable(error.to_string())
}
