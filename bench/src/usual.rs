//! A service of this kind as one writes it in an afternoon, in `bench/usual`: its processes on a Redis of its own, set and
//! aged as that of the stage, and what they have carried.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::generator::{Plan, Request};
use crate::harness::eventually;
use crate::harness::services::{self, Redis};
use crate::process::Process;
use crate::provider::Manner;
use crate::stage::{Provider, Queues, age};

/// Processes of each kind.
pub(crate) const PROCESSES: usize = 4;
/// Calls at the provider of all workers together, as many as a worker of ours has.
const CONCURRENCY: usize = 1000;

#[derive(Debug)]
pub(crate) struct Usual {
    redis: Redis,
    /// Where its rows go; none: it writes none.
    database: Option<String>,
    provider: Provider,
    _api: Process,
    address: String,
    token: String,
    workers: Option<Process>,
    /// Jobs that were finished when the workers began.
    before: u64,
    /// The next phone's number.
    phones: u64,
}

impl Usual {
    /// Its API, without workers. Installs what it is made of where that isn't done.
    pub(crate) async fn start(manner: Manner, database: Option<String>) -> anyhow::Result<Self> {
        let folder = folder();
        let changed = |file: &str| folder.join(file).metadata()?.modified();
        // npm writes this one when it is done.
        let installed = changed("node_modules/.package-lock.json").ok();
        if installed < changed("package-lock.json").ok() {
            let mut install = Command::new("npm");
            install.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]);
            let output = install.current_dir(&folder).stdin(Stdio::null()).output();
            let output = output.context("npm, which comes with Node.js, is not installed")?;
            ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        let redis = services::redis().await;
        age(&redis).await?;
        let provider = Provider::start(manner).await?;
        let mut api = Process::start("usual-api", script("api.js", &redis))?;
        let address = api.address_after("listening on http://").await;
        let token = api.printed();
        let token = token.lines().find_map(|line| line.strip_prefix("token "));
        let token = token.context("no token was printed")?.to_owned();
        Ok(Self {
            redis,
            database,
            provider,
            _api: api,
            address,
            token,
            workers: None,
            before: 0,
            phones: 0,
        })
    }

    pub(crate) async fn start_workers(&mut self) -> anyhow::Result<()> {
        // Under load Redis may take longer to answer than its client waits.
        self.before = eventually("jobs to be counted", async || self.finished().await.ok()).await;
        let mut workers = script("worker.js", &self.redis);
        workers.env("PROVIDER_URL", format!("http://{}/", self.provider.address));
        workers.envs(self.database.iter().map(|url| ("DATABASE_URL", url)));
        workers.env("CONCURRENCY", (CONCURRENCY / PROCESSES).to_string());
        self.workers = Some(Process::start("usual-worker", workers)?);
        Ok(())
    }

    pub(crate) fn end_workers(&mut self) {
        self.workers = None;
    }

    /// Jobs that these workers have finished; none while Redis doesn't say.
    pub(crate) async fn rows(&self) -> Option<u64> {
        Some(self.finished().await.ok()? - self.before)
    }

    /// Its queue as the bench looks into it.
    pub(crate) fn queues(&self) -> Queues {
        Queues::Usual(self.redis.url())
    }

    async fn finished(&self) -> anyhow::Result<u64> {
        let client = redis::Client::open(self.redis.url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let mut count = redis::cmd("ZCARD");
        Ok(count.arg("bull:sms:completed").query_async(&mut connection).await?)
    }

    /// A plan for so many seconds at this rate, with phones that nobody had before.
    pub(crate) fn plan(&mut self, request: Request, rate: Option<f64>, seconds: f64) -> Plan {
        Plan::new((&self.address, &self.token), request, rate, seconds, &mut self.phones)
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("usual")
}

fn script(name: &str, redis: &Redis) -> Command {
    let mut command = Command::new("node");
    command.arg(folder().join(name)).stdin(Stdio::null());
    command.env("REDIS_URL", redis.url()).env("PROCESSES", PROCESSES.to_string());
    command.env("NODE_ENV", "production");
    command
}
