//! Wires one process together and runs it until it is told to stop. Embedded, the worker is started beside the
//! API: the same two parts in one process.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use postrider_common::accept::Acceptor;
use postrider_common::config::{Backends, Config};
use postrider_common::database::Database;
use postrider_common::model::phone;
use postrider_common::queue::Queue;
use postrider_common::queue::rabbitmq::RabbitQueue;
use postrider_common::queue::sqlite::SqliteQueue;
use postrider_common::runtime::http::{self, Bounds};
use postrider_common::runtime::{shutdown, telemetry};
use postrider_common::store::Store;
use postrider_common::store::sqlite::SqliteStore;
use postrider_worker::{WorkerParts, provider};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::auth::accounts::AccountCache;
use crate::auth::identity_provider::IdentityProvider;
use crate::auth::passwords::Passwords;
use crate::background::approvals::Verified;
use crate::background::automatic_bans::AutomaticBans;
use crate::background::key_uses::KeyUses;
use crate::background::refusals::Refusals;
use crate::background::store_recovery::StoreRecovery;
use crate::messages::back_pressure::BackPressure;
use crate::routes::router;
use crate::server::data_lock::DataLock;
use crate::server::state::{App, AppState};
use crate::server::{backends, welcome};

/// What a process is made of, besides the API itself.
struct Parts {
    acceptor: Acceptor,
    store: Store,
    queue: Queue,
    database: Database,
    /// Embedded only: the worker, what cleans up, and the lock on the data.
    worker: Option<JoinHandle<()>>,
    _lock: Option<DataLock>,
}

/// What takes note of things that are written off the answer's path.
struct Notes {
    verified: Verified,
    refusals: Refusals,
    key_uses: KeyUses,
    automatic_bans: AutomaticBans,
}

impl Notes {
    /// With the writers, which end once nobody can take note any more.
    fn start(config: &Config, parts: &Parts) -> (Self, [JoinHandle<()>; 4]) {
        let (database, store) = (parts.database.clone(), parts.store.clone());
        let permanent = config.settings.bans.auto_permanent;
        let (verified, approvals) = Verified::start(database.clone());
        let (refusals, refused) = Refusals::start(database.clone());
        let (key_uses, used) = KeyUses::start(database.clone());
        let (automatic_bans, banned) = AutomaticBans::start(database, store, permanent);
        let writing = [approvals, refused, used, banned];
        (Self { verified, refusals, key_uses, automatic_bans }, writing)
    }
}

/// Serves until `SIGTERM` or `SIGINT`.
pub async fn serve(config: Config) -> anyhow::Result<()> {
    config.warn();
    let stop = shutdown::signalled()?;
    let worker_stop = CancellationToken::new();
    let parts = match &config.backends {
        Backends::Embedded { .. } => embedded(&config, &worker_stop).await?,
        Backends::Distributed { .. } => distributed(&config).await?,
    };
    let (kept, purge_stop) = (parts.store.clone(), worker_stop.clone());
    tokio::spawn(async move { purge_stop.run_until_cancelled(kept.purge()).await });
    let (watched, watch_stop) = (parts.store.clone(), worker_stop.clone());
    let allow_eviction = config.settings.store.allow_eviction;
    tokio::spawn(async move {
        watch_stop.run_until_cancelled(watched.watch_server(allow_eviction)).await
    });
    let (notes, writing) = Notes::start(&config, &parts);
    let app = app(&config, &parts, notes)?;
    let (pressure, watch_stop) = (Arc::clone(&app.pressure), stop.clone());
    let background = tokio::spawn(async move { pressure.watch(watch_stop).await });

    phone::read_plans();
    let listener = http::listen(config.settings.server.listen);
    let listener =
        listener.with_context(|| format!("[server] listen {}", config.settings.server.listen))?;
    welcome::say(&config, &parts.database, listener.local_addr()?).await?;
    // As long as a request may take at all.
    let grace = config.settings.server.request_timeout + Duration::from_secs(1);
    let operations = operations(&config, &app, &stop, grace)?;
    let bounds = Bounds::of_callers(&config.settings.server);
    http::serve(listener, router::app(Arc::clone(&app)), bounds, stop.clone(), grace).await;

    tracing::info!("stopping");
    stop.cancel();
    operations.await?;
    background.await?;
    worker_stop.cancel();
    match parts.worker {
        // It closes the queue once it has given back what it took.
        Some(worker) => worker.await.context("the worker")?,
        None => parts.queue.close().await,
    }
    drop(app);
    // A request that was cut off may still hold on to it.
    if tokio::time::timeout(grace, futures::future::join_all(writing)).await.is_err() {
        tracing::warn!("some approvals, refusals, uses of keys or bans are not written");
    }
    Ok(())
}

async fn embedded(config: &Config, stop: &CancellationToken) -> anyhow::Result<Parts> {
    let Backends::Embedded { data_dir } = &config.backends else {
        return Err(anyhow!("not the embedded form"));
    };
    let lock = DataLock::take(data_dir)?;
    let sqlite = backends::open_embedded(data_dir).await?;
    let table = SqliteQueue::start(sqlite.clone()).await?;
    let database = Database::sqlite(sqlite.clone());
    let store = Store::Sqlite(SqliteStore::new(sqlite.clone()));
    let queue = Queue::Sqlite(table.clone());
    let worker = start_worker(config, &store, &queue, &database, stop)?;
    let acceptor = Acceptor::embedded(sqlite, table);
    Ok(Parts { acceptor, store, queue, database, worker: Some(worker), _lock: Some(lock) })
}

async fn distributed(config: &Config) -> anyhow::Result<Parts> {
    let Backends::Distributed { amqp, .. } = &config.backends else {
        return Err(anyhow!("not the distributed form"));
    };
    let (database, store) = backends::tables_and_store(config).await?;
    tokio::spawn(database.clone().report_missing_tables());
    let queue = Queue::Rabbit(RabbitQueue::start(amqp, config.settings.queue.confirm_timeout));
    let acceptor = Acceptor::distributed(store.clone(), queue.clone());
    Ok(Parts { acceptor, store, queue, database, worker: None, _lock: None })
}

/// Starts the worker in this process: the same one that `postrider-worker` runs.
fn start_worker(
    config: &Config,
    store: &Store,
    queue: &Queue,
    database: &Database,
    stop: &CancellationToken,
) -> anyhow::Result<JoinHandle<()>> {
    let (settings, keys) = (config.settings.clone(), config.keys.clone());
    let parts = WorkerParts {
        providers: provider::from_settings(&settings, store, &keys)?,
        store: store.clone(),
        queue: queue.clone(),
        database: database.clone(),
        key_missing: Arc::default(),
        keys,
        settings,
    };
    Ok(tokio::spawn(postrider_worker::run(parts, stop.clone())))
}

fn app(config: &Config, parts: &Parts, notes: Notes) -> anyhow::Result<AppState> {
    let settings = config.settings.clone();
    let Parts { store, queue, database, .. } = parts;
    let recovery = StoreRecovery::new(store.clone(), database.clone());
    Ok(Arc::new(App {
        phone_rules: settings.phone_rules().map_err(|problem| anyhow!(problem))?,
        keys: config.keys.clone(),
        identity_provider: IdentityProvider::load(&config.settings.jwt)?,
        acceptor: parts.acceptor.clone(),
        store: store.clone(),
        queue: queue.clone(),
        database: database.clone(),
        accounts: Arc::new(AccountCache::new(database.clone(), store.clone(), recovery.clone())),
        passwords: Passwords::new(),
        pressure: Arc::new(BackPressure::new(
            queue.clone(),
            store.clone(),
            recovery.clone(),
            settings.queue.max_ready,
        )),
        trusted_proxies: settings.server.trusted_proxies.as_slice().into(),
        verified: notes.verified,
        refusals: notes.refusals,
        key_uses: notes.key_uses,
        automatic_bans: notes.automatic_bans,
        metrics: telemetry::init_metrics()?,
        settings,
        recovery,
    }))
}

/// The listener for operators, where there is one.
fn operations(
    config: &Config,
    app: &AppState,
    stop: &CancellationToken,
    grace: Duration,
) -> anyhow::Result<JoinHandle<()>> {
    let Some(address) = config.settings.metrics.listen else {
        return Ok(tokio::spawn(async {}));
    };
    let listener = http::listen(address);
    let listener = listener.with_context(|| format!("[metrics] listen {address}"))?;
    tracing::info!(address = %listener.local_addr()?, "metrics are served");
    let (router, stop) = (router::operations(Arc::clone(app)), stop.clone());
    let bounds = Bounds::of_operators(&config.settings.server);
    Ok(tokio::spawn(http::serve(listener, router, bounds, stop, grace)))
}
