//! `postrider-worker`: the worker of the distributed form, as many replicas as one likes.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;
use postrider_common::config::{self, Backends, Config, LogFormat};
use postrider_common::database::Database;
use postrider_common::queue::{Queue, rabbitmq::RabbitQueue};
use postrider_common::runtime::http::{self, Bounds};
use postrider_common::runtime::{shutdown, telemetry};
use postrider_common::store::{Store, redis::RedisStore};
use postrider_worker::cli::Cli;
use postrider_worker::{WorkerParts, health, provider, run};
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Names and values that aren't UTF-8 are none of ours.
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let mut config = match config::load(&variables.collect()) {
        Ok(config) => config,
        Err(error) => return shutdown::misconfigured(&error),
    };
    cli.apply(&mut config.settings);
    if matches!(config.backends, Backends::Embedded { .. }) {
        return shutdown::misconfigured(
            &"AMQP_URL, REDIS_URL and DATABASE_URL must be set; in the embedded form postrider-api runs a worker itself",
        );
    }
    shutdown::run(work(config))
}

async fn work(config: Config) -> anyhow::Result<()> {
    let log = &config.settings.log;
    telemetry::init_logs(log.format.unwrap_or(LogFormat::Json), &log.filter)?;
    config.warn();
    let Config { backends, keys, settings, .. } = config;
    let Backends::Distributed { amqp, redis, database } = backends else { return Ok(()) };
    let metrics = telemetry::init_metrics()?;
    let listener = settings.metrics.listen.map(|address| {
        http::listen(address).with_context(|| format!("[metrics] listen {address}"))
    });
    let listener = listener.transpose()?;
    let store = Store::Redis(RedisStore::new(&redis)?);
    let queue = Queue::Rabbit(RabbitQueue::start(&amqp, settings.queue.confirm_timeout));
    let database = Database::new(&database, settings.database.max_connections)?;
    tokio::spawn(database.clone().report_missing_tables());
    let (redis, allow_eviction) = (store.clone(), settings.store.allow_eviction);
    // It ends with the process.
    tokio::spawn(async move { redis.watch_server(allow_eviction).await });
    let providers = provider::from_settings(&settings, &store, &keys)?;
    let key_missing = Arc::default();
    let watched = health::Watched {
        store: store.clone(),
        queue: queue.clone(),
        database: database.clone(),
        metrics,
        key_missing: Arc::clone(&key_missing),
    };
    if let Some(listener) = listener {
        let bounds = Bounds::of_operators(&settings.server);
        // It answers for as long as the worker gives back what it took: nobody stops it before the process ends.
        let (router, never) = (health::app(watched), CancellationToken::new());
        tokio::spawn(http::serve(listener, router, bounds, never, Duration::ZERO));
    }
    run(
        WorkerParts { store, queue, database, keys, settings, providers, key_missing },
        shutdown::signalled()?,
    )
    .await;
    Ok(())
}
