//! What a scenario plays on: private services, the real processes, the fake provider.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use postrider_common::model::job::Lane;
use postrider_common::queue::rabbitmq::RabbitQueue;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use std::time::Duration;

use crate::generator::{Plan, Request};
use crate::harness::services::{self, PostgresServer, RabbitNode, Redis};
use crate::harness::{eventually, ports};
use crate::latency::{self, Latency};
use crate::load::{clear, progress};
use crate::process::{Process, Settings, command, ourselves};
use crate::provider::{Arrivals, Calls, Manner};

/// What every run sets beside the defaults; it is printed with the figures.
pub(crate) const SETTINGS: [(&str, &str); 25] = [
    ("POSTRIDER_SECRET", "a-secret-of-the-bench-of-more-than-32-bytes"),
    ("POSTRIDER_PROVIDERS__MAIN__KIND", "aliyun"),
    ("POSTRIDER_PROVIDERS__MAIN__ACCESS_KEY_ID", "id"),
    ("POSTRIDER_PROVIDERS__MAIN__ACCESS_KEY_SECRET", "secret"),
    ("POSTRIDER_TEMPLATES__VERIFY__TEXT", "{sign}: {code}, {minutes} min"),
    ("POSTRIDER_TEMPLATES__VERIFY__SIGN", "Shop"),
    ("POSTRIDER_TEMPLATES__VERIFY__ALIYUN", "SMS_CODE"),
    ("POSTRIDER_TEMPLATES__PARCEL__TEXT", "{sign}: parcel {number}"),
    ("POSTRIDER_TEMPLATES__PARCEL__SIGN", "Shop"),
    ("POSTRIDER_TEMPLATES__PARCEL__ALIYUN", "SMS_NOTICE"),
    // Every scope has a limit to be looked at and counted; those that a bench would reach are out of its reach.
    ("POSTRIDER_LIMITS__CODE__PHONE", "1/60s"),
    ("POSTRIDER_LIMITS__CODE__PHONE_PURPOSE", "5/1h"),
    ("POSTRIDER_LIMITS__CODE__PHONE_ALL", "30/1d"),
    ("POSTRIDER_LIMITS__CODE__IP", "20/60s"),
    ("POSTRIDER_LIMITS__CODE__ACCOUNT", "100000000/1h"),
    ("POSTRIDER_LIMITS__CODE__PREFIX", "1000000/1h"),
    ("POSTRIDER_LIMITS__CODE__GLOBAL", "100000000/60s"),
    // A notice costs the same whatever its phone got before.
    ("POSTRIDER_LIMITS__NOTICE__PHONE", ""),
    // As long as a code may live: a backlog that is measured must not expire.
    ("POSTRIDER_CODE__TTL", "10m"),
    ("POSTRIDER_QUEUE__MAX_READY", "100000000"),
    ("POSTRIDER_WORKER__CODE_CONCURRENCY", "1000"),
    ("POSTRIDER_WORKER__NOTICE_CONCURRENCY", "1000"),
    ("POSTRIDER_ACCOUNTS__LOGIN_LIMITS__ACCOUNT_IP", "1000000/10m"),
    ("POSTRIDER_ACCOUNTS__LOGIN_LIMITS__ACCOUNT", "1000000/10m"),
    ("POSTRIDER_ACCOUNTS__LOGIN_LIMITS__IP", "1000000/10m"),
];

/// Keys that are in Redis before: more than 2^22, so that its table has room for four million more, of 580,000 messages.
pub(crate) const OTHER_KEYS: usize = 4_300_000;
const OTHERS_AT_ONCE: usize = 20_000;

/// The services of the distributed form.
#[derive(Debug)]
pub(crate) struct Services {
    pub(crate) rabbit: RabbitNode,
    pub(crate) redis: Redis,
    pub(crate) postgres: PostgresServer,
}

#[derive(Debug)]
pub(crate) struct Stage {
    settings: Settings,
    /// None where it is embedded.
    pub(crate) services: Option<Services>,
    pub(crate) api: Process,
    address: String,
    token: String,
    provider: Provider,
    pub(crate) workers: Vec<Worker>,
    /// The next phone's number.
    phones: u64,
}

#[derive(Debug)]
pub(crate) struct Provider {
    _process: Process,
    pub(crate) address: String,
}

/// A worker and its numbers.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) process: Process,
    metrics: SocketAddr,
}

/// The queues of either form.
#[derive(Debug, Clone)]
pub(crate) enum Queues {
    Rabbit(RabbitQueue),
    /// The data directory.
    Embedded(PathBuf),
    /// The URL of the usual service's Redis.
    Usual(String),
}

impl Queues {
    /// Jobs ready in both lanes; none where that can't be seen.
    pub(crate) async fn ready(&self) -> Option<u64> {
        match self {
            Self::Rabbit(queue) => {
                let code = queue.ready(Lane::Code).await.ok()?;
                Some(code + queue.ready(Lane::Notice).await.ok()?)
            }
            Self::Embedded(folder) => {
                let file = SqliteConnectOptions::new().filename(folder.join("postrider.db"));
                let mut database = file.read_only(true).connect().await.ok()?;
                let ready = "SELECT count(*) FROM queue_job WHERE taken = 0 AND rung IS NULL";
                let ready: i64 = sqlx::query_scalar(ready).fetch_one(&mut database).await.ok()?;
                database.close().await.ok()?;
                u64::try_from(ready).ok()
            }
            Self::Usual(url) => {
                let client = redis::Client::open(url.as_str()).ok()?;
                let mut redis = client.get_multiplexed_async_connection().await.ok()?;
                redis::cmd("LLEN").arg("bull:sms:wait").query_async(&mut redis).await.ok()
            }
        }
    }
}

impl Stage {
    /// The distributed form, without a worker. `more` is set beside [`SETTINGS`].
    pub(crate) async fn distributed(manner: Manner, more: &[(&str, &str)]) -> anyhow::Result<Self> {
        let services = Services {
            rabbit: services::rabbitmq_alone().await,
            redis: services::redis().await,
            postgres: PostgresServer::with(&[]),
        };
        age(&services.redis).await?;
        let urls = [
            ("AMQP_URL", services.rabbit.url()),
            ("REDIS_URL", services.redis.url()),
            ("DATABASE_URL", services.postgres.url()),
        ];
        let mut settings = settings(more);
        settings.extend(urls.map(|(name, url)| (name.to_owned(), url)));
        let migrated = command("postrider-api", &settings)?.arg("migrate").output()?;
        ensure!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
        Self::start(manner, settings, Some(services)).await
    }

    /// The embedded form: the worker is in the API's process.
    pub(crate) async fn embedded(manner: Manner, more: &[(&str, &str)]) -> anyhow::Result<Self> {
        let mut settings = settings(more);
        let folder: PathBuf = services::new_folder("data");
        settings.insert("POSTRIDER_DATA_DIR".to_owned(), folder.display().to_string());
        Self::start(manner, settings, None).await
    }

    async fn start(
        manner: Manner,
        mut settings: Settings,
        services: Option<Services>,
    ) -> anyhow::Result<Self> {
        let provider = Provider::start(manner).await?;
        settings.extend([provider.setting()]);
        let mut its = settings.clone();
        its.insert("POSTRIDER_LISTEN".to_owned(), "127.0.0.1:0".to_owned());
        let mut api = Process::start("postrider-api", command("postrider-api", &its)?)?;
        let address = api.address_after("listening on http://").await;
        let ready = async || {
            let answer = client().get(format!("http://{address}/readyz")).send().await.ok()?;
            answer.status().is_success().then_some(())
        };
        eventually("the API to be ready", ready).await;
        let token = token(&settings)?;
        let workers = Vec::new();
        Ok(Self { settings, services, api, address, token, provider, workers, phones: 0 })
    }

    /// One more worker, with settings of its own.
    pub(crate) fn add_worker(&mut self, more: &[(&str, &str)]) -> anyhow::Result<()> {
        let metrics = SocketAddr::from(([127, 0, 0, 1], ports::free_port()));
        let mut settings = self.settings.clone();
        settings.insert("POSTRIDER_METRICS__LISTEN".to_owned(), metrics.to_string());
        settings.extend(pairs(more));
        let command = command("postrider-worker", &settings)?;
        let process = Process::start("postrider-worker", command)?;
        self.workers.push(Worker { process, metrics });
        Ok(())
    }

    /// Another provider, for the workers that are started from now on.
    pub(crate) async fn change_provider(&mut self, manner: Manner) -> anyhow::Result<()> {
        self.provider = Provider::start(manner).await?;
        self.settings.extend([self.provider.setting()]);
        Ok(())
    }

    /// A plan for so many seconds at this rate, with phones that nobody had before.
    pub(crate) fn plan(&mut self, request: Request, rate: Option<f64>, seconds: f64) -> Plan {
        Plan::new((&self.address, &self.token), request, rate, seconds, &mut self.phones)
    }

    /// A plan for this many requests, as fast as they are taken.
    pub(crate) fn plan_of(&mut self, request: Request, count: u64) -> Plan {
        let mut plan = self.plan(request, None, 0.0);
        let phones = if request == Request::Notices { 1000 } else { 1 };
        if phones > 1 {
            plan.first = self.phones / phones + 1;
            plan.connections = 8;
        }
        self.phones = plan.first * phones + count * phones;
        Plan { seconds: 3600.0, count: Some(count), ..plan }
    }

    /// What the provider was handed since it was last asked.
    pub(crate) async fn calls(&self) -> anyhow::Result<Calls> {
        let answer = client().get(format!("http://{}/calls", self.provider.address)).send().await?;
        Ok(answer.json().await?)
    }

    /// How long messages that came to the provider since it was last asked took from their acceptance to their first call:
    /// from the store's decision, which their rows hold, all of them written by now.
    pub(crate) async fn since_accepted(&self) -> anyhow::Result<Latency> {
        let address = &self.provider.address;
        let answer = client().get(format!("http://{address}/arrivals")).send().await?;
        let arrivals: Arrivals = answer.json().await?;
        let rows: Vec<(String, i64)> = sqlx::query_as("SELECT id, create_time FROM sms_log")
            .fetch_all(&mut self.database().await?)
            .await?;
        let accepted: HashMap<String, i64> = rows.into_iter().collect();
        let (mut times, mut seen) = (latency::histogram(), HashSet::new());
        // Of a message that was tried again the first call counts.
        for (message, arrived) in arrivals.into_iter().filter(|(id, _)| seen.insert(*id)) {
            let accepted = accepted.get(&message.to_string()).context("a message without a row")?;
            let took = Duration::from_millis((arrived - accepted).max(0).unsigned_abs());
            latency::record(&mut times, took);
        }
        Ok(Latency::of(&times))
    }

    /// Rows that all workers have written; none while one of them doesn't answer.
    pub(crate) async fn rows(&self) -> Option<u64> {
        let mut rows = 0;
        for worker in &self.workers {
            rows += worker.counter("sms_rows_written_total").await?;
        }
        Some(rows)
    }

    /// The queues as the bench looks into them.
    pub(crate) fn queues(&self) -> Queues {
        match &self.services {
            Some(services) => {
                let url = services.rabbit.url().into();
                Queues::Rabbit(RabbitQueue::start(&url, Duration::from_secs(5)))
            }
            None => Queues::Embedded(self.settings["POSTRIDER_DATA_DIR"].clone().into()),
        }
    }

    pub(crate) async fn database(&self) -> anyhow::Result<PgConnection> {
        let services = self.services.as_ref().context("it is embedded")?;
        Ok(PgConnection::connect(&services.postgres.url()).await?)
    }

    /// A command of the API with this stage's settings.
    pub(crate) fn api_command(&self) -> anyhow::Result<std::process::Command> {
        command("postrider-api", &self.settings)
    }

    /// Asks the API with the bench's token; the status, once the whole answer is there.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<u16> {
        let request = client().get(format!("http://{}{path}", self.address));
        let answer = request.bearer_auth(&self.token).send().await?;
        let status = answer.status().as_u16();
        answer.bytes().await?;
        Ok(status)
    }
}

impl Provider {
    pub(crate) async fn start(manner: Manner) -> anyhow::Result<Self> {
        let mut process = ourselves(&[
            "provider".to_owned(),
            format!("--latency-ms={}", manner.latency_ms),
            format!("--errors={}", manner.errors),
            format!("--lost={}", manner.lost),
        ])?;
        let address = process.address_after("listening on ").await;
        Ok(Self { _process: process, address })
    }

    fn setting(&self) -> (String, String) {
        let name = "POSTRIDER_PROVIDERS__MAIN__ENDPOINT".to_owned();
        (name, format!("http://{}/", self.address))
    }
}

impl Worker {
    /// The sum of a counter's values; none while the worker doesn't answer.
    async fn counter(&self, name: &str) -> Option<u64> {
        let answer = client().get(format!("http://{}/metrics", self.metrics)).send().await.ok()?;
        let text = answer.text().await.ok()?;
        let values = text.lines().filter(|line| line.starts_with(name));
        Some(values.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum())
    }
}

/// Gives Redis the keys of one that has been at work for a while. From none it would double its table five times in a run
/// of a minute, and work at half its speed for the seconds that each doubling takes; later that is rare.
pub(crate) async fn age(redis: &Redis) -> anyhow::Result<()> {
    let client = redis::Client::open(redis.url())?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let fill =
        "for key = ARGV[1], ARGV[2] do redis.call('SET', 'other:' .. key, '', 'EX', 86400) end";
    // Each look moves a part of what the last doubling left to move.
    let settle = "for key = ARGV[1], ARGV[2] do redis.call('EXISTS', 'other:' .. key) end";
    // Without them its file would reach the size of a rewrite within a run.
    append_only(&mut connection, "no").await?;
    for script in [fill, settle].map(redis::Script::new) {
        for from in (0..OTHER_KEYS).step_by(OTHERS_AT_ONCE) {
            progress(&format!("other keys of Redis: {from}"));
            let mut some = script.arg(from);
            some.arg(from + OTHERS_AT_ONCE - 1).invoke_async::<()>(&mut connection).await?;
        }
    }
    append_only(&mut connection, "yes").await?;
    let written = async || {
        let mut info = redis::cmd("INFO");
        let info: String =
            info.arg("persistence").query_async(&mut connection.clone()).await.ok()?;
        let busy = ["aof_rewrite_in_progress:1", "aof_rewrite_scheduled:1", "aof_enabled:0"];
        (!busy.iter().any(|word| info.contains(word))).then_some(())
    };
    eventually("Redis to have its file", written).await;
    clear();
    Ok(())
}

async fn append_only(
    connection: &mut redis::aio::MultiplexedConnection,
    value: &str,
) -> anyhow::Result<()> {
    let mut set = redis::cmd("CONFIG");
    Ok(set.arg("SET").arg("appendonly").arg(value).query_async(connection).await?)
}

fn settings(more: &[(&str, &str)]) -> Settings {
    pairs(&SETTINGS).chain(pairs(more)).collect()
}

fn pairs<'a>(list: &'a [(&'a str, &'a str)]) -> impl Iterator<Item = (String, String)> + 'a {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
}

/// A token that may say whose address a request comes from, as back ends do.
fn token(settings: &Settings) -> anyhow::Result<String> {
    let mut token = command("postrider-api", settings)?;
    let output = token.args(["token", "--account", "shop", "--scope", "on_behalf"]).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().last().context("no token was printed")?.to_owned())
}

fn client() -> &'static reqwest::Client {
    static CLIENT: std::sync::OnceLock<reqwest::Client> = std::sync::OnceLock::new();
    CLIENT.get_or_init(|| {
        let timeout = Duration::from_secs(30);
        reqwest::Client::builder().no_proxy().timeout(timeout).build().unwrap()
    })
}
