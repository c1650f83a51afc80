//! What the parts can do at most on this machine at this moment: raw confirmed publish, raw consume, and round trips of
//! the guard's own script, each against the services of the same run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use postrider_common::model::ids::{MessageId, VerificationId};
use postrider_common::model::job::Lane;
use postrider_common::model::limits::Scope;
use postrider_common::secrets::KeyId;
use postrider_common::store::redis::RedisStore;
use postrider_common::store::{
    About, AccountCheck, Admit, AdmitAnswer, BanCheck, LimitCheck, NewVerification, Store, rank,
};
use serde::Serialize;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::harness::services::new_folder;
use crate::load::{clear, progress};
use crate::stage::Services;

const QUEUE: &str = "bench.floor";
/// As large as a job of a code.
const BODY: [u8; 700] = [b'x'; 700];
const CHANNELS: usize = 4;
const IN_FLIGHT: usize = 256;
/// The prefetch that consumed fastest; of 50, 250 and 1000.
const PREFETCH: u16 = 250;
const PERSISTENT: u8 = 2;
const HOUR_MS: i64 = 3_600_000;

/// Each a second.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Floors {
    /// Confirmed publishes to a quorum queue: one connection, 4 channels, 256 in flight on each.
    pub(crate) publish: f64,
    /// Deliveries of a quorum queue to one consumer, each acked.
    pub(crate) consume: f64,
    /// The guard's script, all its limits, 256 calls in flight through the service's own client, each of a new phone.
    pub(crate) guard: f64,
}

impl Floors {
    /// `seconds` for each of them.
    pub(crate) async fn measure(services: &Services, seconds: f64) -> anyhow::Result<Self> {
        let time = Duration::from_secs_f64(seconds);
        progress("floors: publish, consume, guard");
        let url = services.rabbit.url();
        let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
        let publish = publish(&connection, time).await?;
        let consume = consume(&url, time).await?;
        delete(&connection).await?;
        // Channels that are closing by themselves make it complain.
        let _closed = connection.close(200, "OK".into()).await;
        let guard = guard(&services.redis.url(), time).await?;
        clear();
        Ok(Self { publish, consume, guard })
    }
}

async fn publish(connection: &Connection, time: Duration) -> anyhow::Result<f64> {
    let channel = connection.create_channel().await?;
    let mut quorum = FieldTable::default();
    quorum.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    channel.queue_declare(QUEUE.into(), QueueDeclareOptions::durable(), quorum).await?;
    let (begun, done) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..CHANNELS {
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        for _ in 0..IN_FLIGHT {
            tasks.spawn(publish_until(channel.clone(), begun, time, done.clone()));
        }
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(done.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64())
}

async fn publish_until(
    channel: Channel,
    begun: Instant,
    time: Duration,
    done: Arc<AtomicU64>,
) -> Result<(), lapin::Error> {
    let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
    while begun.elapsed() < time {
        let options = BasicPublishOptions::default();
        let publish =
            channel.basic_publish("".into(), QUEUE.into(), options, &BODY, properties.clone());
        publish.await?.await?;
        done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Consumes what [`publish`] left, over a connection of its own: to end a consumer amid deliveries confuses its client.
async fn consume(url: &str, time: Duration) -> anyhow::Result<f64> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    let (queue, options) = (QUEUE.into(), BasicConsumeOptions::default());
    let consumed = channel.basic_consume(queue, "".into(), options, FieldTable::default());
    let mut deliveries = consumed.await?;
    let (mut begun, mut last, mut count) = (Instant::now(), Instant::now(), 0_u64);
    // Empty before its time is over: what was consumed by then counts.
    while let Ok(Some(delivery)) =
        tokio::time::timeout(Duration::from_millis(500), deliveries.next()).await
    {
        let delivery = delivery?;
        if count == 0 {
            begun = Instant::now();
        }
        delivery.ack(BasicAckOptions::default()).await?;
        (last, count) = (Instant::now(), count + 1);
        if begun.elapsed() > time {
            break;
        }
    }
    // Acks still on their way make it complain.
    let _closed = connection.close(200, "OK".into()).await;
    Ok(count as f64 / last.duration_since(begun).as_secs_f64())
}

async fn delete(connection: &Connection) -> anyhow::Result<()> {
    let channel = connection.create_channel().await?;
    channel.queue_delete(QUEUE.into(), QueueDeleteOptions::default()).await?;
    Ok(())
}

/// Of an account of its own, whose limits are apart from those of the run.
async fn guard(redis: &str, time: Duration) -> anyhow::Result<f64> {
    const ACCOUNT: AccountCheck = AccountCheck { id: 4_611_686_018_427_387_904 >> 10, version: 1 };
    let store = Store::Redis(RedisStore::new(&redis.to_owned().into())?);
    store.set_account_version(ACCOUNT.id, ACCOUNT.version).await?;
    let (begun, done) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..IN_FLIGHT {
        let (store, done) = (store.clone(), done.clone());
        tasks.spawn(async move {
            while begun.elapsed() < time {
                let number = done.fetch_add(1, Ordering::Relaxed);
                let answer = store.admit(&admit(ACCOUNT, number)).await?;
                anyhow::ensure!(matches!(answer, AdmitAnswer::Admitted { .. }), "{answer:?}");
            }
            Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(done.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64())
}

/// Commits a second of one row of 700 bytes each to SQLite as the embedded form has it, one after the other: what would
/// bound it if it committed each request by itself.
pub(crate) async fn commits(seconds: f64) -> anyhow::Result<f64> {
    progress("floor: commits");
    let options = SqliteConnectOptions::new()
        .filename(new_folder("floor").join("floor.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let mut database = options.connect().await?;
    sqlx::query("CREATE TABLE floor (body BLOB)").execute(&mut database).await?;
    let (begun, mut done) = (Instant::now(), 0_u64);
    while begun.elapsed().as_secs_f64() < seconds {
        let insert = sqlx::query("INSERT INTO floor VALUES (?)").bind(BODY.as_slice());
        insert.execute(&mut database).await?;
        done += 1;
    }
    let rate = done as f64 / begun.elapsed().as_secs_f64();
    database.close().await?;
    clear();
    Ok(rate)
}

/// What the API asks for a code, with the limits of [`crate::stage::SETTINGS`].
fn admit(account: AccountCheck, number: u64) -> Admit {
    let phone = format!("+86199{:08}", number.wrapping_mul(7_919) % 100_000_000);
    let message_id = MessageId::generate();
    let limits = [
        (Scope::Phone, format!("{}:{phone}", account.id), 1, 60_000, rank::PHONE),
        (Scope::PhonePurpose, format!("{}:{phone}:login", account.id), 5, HOUR_MS, rank::PHONE),
        (Scope::PhoneAll, phone.clone(), 30, 24 * HOUR_MS, rank::PHONE),
        (Scope::Ip, format!("11.0.{}", number % (1 << 20)), 20, 60_000, rank::IP),
        (Scope::Account, account.id.to_string(), 100_000_000, HOUR_MS, rank::ACCOUNT),
        (Scope::Prefix, phone[..phone.len() - 4].to_owned(), 1_000_000, HOUR_MS, rank::PREFIX),
        (Scope::Global, "bench".to_owned(), 100_000_000, 60_000, rank::GLOBAL),
    ];
    let limit = |(scope, subject, quota, window_ms, rank): (Scope, String, u32, i64, u8)| {
        let key = format!("limit:code:{}:{subject}:{quota}/{window_ms}", scope.policy());
        let phone = scope.is_phone().then(|| format!("limit:code:{phone}"));
        LimitCheck { key, scope, quota, window_ms, rank, phone }
    };
    Admit {
        now: None,
        account,
        owner: account.id,
        message_id,
        lane: Lane::Code,
        idempotency: None,
        subject: format!("code:{}:login:{phone}", account.id),
        limits: limits.map(limit).into(),
        ban_check: BanCheck {
            phone: Some(phone.clone()),
            ip_bits: Some("01".repeat(64)),
            account_phone: None,
        },
        strikes: Vec::new(),
        verification: Some(NewVerification {
            id: VerificationId::generate(),
            subject: format!("code:{}:login:{phone}", account.id),
            account_id: account.id,
            purpose: "login".to_owned(),
            key_id: KeyId::from("0a0b0c0d"),
            digits: 6,
            ttl_ms: 600_000,
            max_attempts: 5,
            max_sends: 5,
            remember_ms: 1_200_000,
        }),
        known_keys: vec![KeyId::from("0a0b0c0d")],
        ttl_ms: 600_000,
        confirmed: false,
        about: About {
            phone: "+86199****0000".to_owned(),
            purpose: "login".to_owned(),
            template: "verify".to_owned(),
            client_ip: None,
        },
    }
}
