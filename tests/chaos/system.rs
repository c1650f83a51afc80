//! The distributed form with a wire between every two of its parts, and whatever a plan does to it.

use std::time::Duration;

use super::evidence::{Limit, Rules};
use super::plan::{NODES, PROVIDERS, PURPOSES, Program, REFUSED, REPLICAS, Service, Wire};
use crate::harness::eventually;
use crate::harness::ports::free_port;
use crate::harness::processes::{Client, Process, Settings, api_command, settings, token};
use crate::harness::provider::{Behaviour, Provider};
use crate::harness::proxy::Proxy;
use crate::harness::services::{self, PostgresServer, RabbitNode, RedisServers};
use postrider_common::model::job::Lane;
use postrider_common::model::limits::Scope;

pub const SECRET: &str = "a-secret-of-the-tests-of-more-than-32-bytes";
pub const READ_TIMEOUT: Duration = Duration::from_secs(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
pub const LATENCY: Duration = Duration::from_millis(20);
const MAX_READY: &str = "300";

/// What of the services there is more than one of.
#[derive(Debug, Clone, Copy)]
pub enum Form {
    Plain,
    RabbitCluster,
    RedisSentinel,
}

/// What a plan's `outside` befalls.
pub struct Outside {
    /// One, or a cluster.
    pub rabbits: Vec<RabbitNode>,
    /// Leads programs to a node that is up.
    pub balancer: Proxy,
    pub redis: RedisServers,
    /// Leads programs to the Redis that is the primary.
    pub redis_balancer: Proxy,
    pub primary: usize,
    /// What a replica had heard when it began to lag.
    pub heard: Option<u64>,
    pub postgres: PostgresServer,
    pub providers: Vec<Provider>,
}

/// What a plan's `inside` befalls.
pub struct Inside {
    pub apis: Vec<Process>,
    pub workers: Vec<Process>,
    pub wires: Vec<(Wire, Proxy)>,
}

/// How it is reached.
#[derive(Debug, Clone)]
pub struct Addresses {
    pub clients: Vec<Client>,
    /// The same, as an admin.
    pub admins: Vec<Client>,
    /// Where each program says whether it is ready, past every wire.
    pub ready: Vec<(String, String)>,
    pub database: String,
    pub amqp: String,
    pub management: String,
}

pub struct System {
    pub outside: Outside,
    pub inside: Inside,
    pub addresses: Addresses,
}

pub fn rules() -> Rules {
    let limit =
        |lane, scope, quota, seconds: i64| Limit { lane, scope, quota, window_ms: seconds * 1_000 };
    let handed_over = |(purpose, lives): (&str, Duration)| {
        let lives = i64::try_from(lives.as_millis()).unwrap();
        (purpose.to_owned(), lives - lives / 3)
    };
    Rules {
        limits: vec![
            limit(Lane::Code, Scope::Phone, 2, 6),
            limit(Lane::Code, Scope::PhonePurpose, 3, 20),
            limit(Lane::Code, Scope::PhoneAll, 4, 15),
            limit(Lane::Code, Scope::Ip, 6, 5),
            limit(Lane::Code, Scope::Account, 60, 4),
            limit(Lane::Code, Scope::Prefix, 36, 2),
            limit(Lane::Code, Scope::Global, 86, 6),
            limit(Lane::Notice, Scope::Phone, 3, 8),
            limit(Lane::Notice, Scope::PhoneAll, 5, 20),
            limit(Lane::Notice, Scope::Account, 1_000, 8),
        ],
        code_lives_ms: PURPOSES.into_iter().map(handed_over).collect(),
        max_attempts: 5,
        read_timeout_ms: i64::try_from(READ_TIMEOUT.as_millis()).unwrap(),
        recovery_ms: 30_000,
    }
}

fn common_settings(database: &str) -> Settings {
    let mut settings = settings(&[
        ("DATABASE_URL", database),
        ("POSTRIDER_SECRET", SECRET),
        ("POSTRIDER_QUEUE__MAX_READY", MAX_READY),
        ("POSTRIDER_RETRY__MAX", "4s"),
        ("POSTRIDER_WORKER__CODE_CONCURRENCY", "32"),
        ("POSTRIDER_WORKER__NOTICE_CONCURRENCY", "32"),
        ("POSTRIDER_BANS__THRESHOLD", "0"),
        ("POSTRIDER_LIMITS__CHECK__PHONE", ""),
        ("POSTRIDER_LIMITS__CHECK__IP", ""),
        ("POSTRIDER_TEMPLATES__VERIFY__TEXT", "{sign}: {code}, {minutes} min"),
        ("POSTRIDER_TEMPLATES__VERIFY__SIGN", "Shop"),
        ("POSTRIDER_TEMPLATES__VERIFY__ALIYUN", "SMS_1"),
        ("POSTRIDER_TEMPLATES__PARCEL__TEXT", "{sign}: parcel {number}"),
        ("POSTRIDER_TEMPLATES__PARCEL__SIGN", "Shop"),
        ("POSTRIDER_TEMPLATES__PARCEL__ALIYUN", "SMS_2"),
    ]);
    for (purpose, lives) in PURPOSES {
        let ttl = format!("POSTRIDER_PURPOSES__{}__TTL", purpose.to_uppercase());
        settings.insert(ttl, format!("{}s", lives.as_secs()));
    }
    for limit in rules().limits {
        let scope = limit.scope.policy().to_uppercase().replace('-', "_");
        let lane = limit.lane.as_str().to_uppercase();
        let value = format!("{}/{}s", limit.quota, limit.window_ms / 1_000);
        settings.insert(format!("POSTRIDER_LIMITS__{lane}__{scope}"), value);
    }
    settings
}

impl Outside {
    fn amqp(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.balancer.port())
    }

    fn redis_url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.redis_balancer.port())
    }
}

/// Starts everything, each connection over a wire of its own.
pub async fn start(form: Form) -> System {
    let nodes = if matches!(form, Form::RabbitCluster) { NODES } else { 1 };
    let rabbits = services::rabbitmq_cluster(nodes).await;
    let redis = match form {
        Form::RedisSentinel => services::redis_with_sentinel().await,
        _ => services::redis_unwatched().await,
    };
    let postgres = services::postgres_alone().await;
    let mut providers = Vec::new();
    for _ in 0..PROVIDERS {
        let provider = Provider::start().await;
        provider.always(Behaviour::AcceptAfter(LATENCY));
        provider.always_where(REFUSED, Behaviour::Say(200, "isv.MOBILE_NUMBER_ILLEGAL"));
        providers.push(provider);
    }
    let balancer = Proxy::to(rabbits[0].port()).await;
    let redis_balancer = Proxy::to(redis.servers[0].port()).await;
    let outside = Outside {
        redis_balancer,
        primary: 0,
        heard: None,
        rabbits,
        balancer,
        redis,
        postgres,
        providers,
    };
    let database = outside.postgres.url();
    let mut direct = common_settings(&database);
    direct.insert("AMQP_URL".to_owned(), outside.amqp());
    direct.insert("REDIS_URL".to_owned(), outside.redis_url());
    for (place, provider) in outside.providers.iter().enumerate() {
        direct.extend(provider_settings(place, &provider.url));
    }
    let migrated = || async {
        api_command(&direct).arg("migrate").output().unwrap().status.success().then_some(())
    };
    eventually("the migrations to be applied", migrated).await;
    let caller = token(&direct, &["--account", "shop", "--scope", "on_behalf"]);
    let admin = token(&direct, &["--account", "ops", "--admin"]);

    let mut wires = Vec::new();
    let (mut apis, mut workers, mut ready) = (vec![], vec![], vec![]);
    let (mut clients, mut admins) = (vec![], vec![]);
    for n in 0..REPLICAS {
        let (mut settings, port) =
            (over_wires(Program::Api(n), &outside, &mut wires).await, free_port());
        settings.insert("POSTRIDER_LISTEN".to_owned(), format!("127.0.0.1:{port}"));
        settings.extend(provider_settings(0, "http://127.0.0.1:1/"));
        apis.push(Process::api(settings));
        let url = format!("http://127.0.0.1:{port}");
        ready.push((format!("API {n}"), url.clone()));
        let (wire, url) = Proxy::before(&url).await;
        wires.push((Wire::FromCallers(n), wire));
        let client = |token: &str| Client::new(url.trim_end_matches('/').into(), token.to_owned());
        clients.push(client(&caller));
        admins.push(client(&admin));
    }
    for n in 0..REPLICAS {
        let (mut settings, port) =
            (over_wires(Program::Worker(n), &outside, &mut wires).await, free_port());
        settings.insert("POSTRIDER_METRICS__LISTEN".to_owned(), format!("127.0.0.1:{port}"));
        for (place, provider) in outside.providers.iter().enumerate() {
            let (wire, url) = Proxy::before(&provider.url).await;
            wires.push((Wire::ToProviders(n), wire));
            settings.extend(provider_settings(place, &url));
        }
        workers.push(Process::worker(settings));
        ready.push((format!("worker {n}"), format!("http://127.0.0.1:{port}")));
    }
    let addresses = Addresses {
        clients,
        admins,
        ready,
        amqp: outside.amqp(),
        management: outside.rabbits[0].management(),
        database,
    };
    for (name, url) in &addresses.ready {
        eventually(&format!("{name} to be ready"), async || is_ready(url).await.then_some(()))
            .await;
    }
    if nodes > 1 {
        let replicated = async || is_replicated(&addresses.management, nodes).await.then_some(());
        eventually("every lane to be on every node", replicated).await;
    }
    System { outside, inside: Inside { apis, workers, wires }, addresses }
}

fn provider_settings(place: usize, url: &str) -> Settings {
    let name = format!("POSTRIDER_PROVIDERS__P{place}");
    let pairs = [
        ("KIND", "aliyun".to_owned()),
        ("ORDER", (place + 1).to_string()),
        ("ACCESS_KEY_ID", "id".to_owned()),
        ("ACCESS_KEY_SECRET", "secret".to_owned()),
        ("ENDPOINT", url.to_owned()),
        ("CONNECT_TIMEOUT", format!("{}s", CONNECT_TIMEOUT.as_secs())),
        ("READ_TIMEOUT", format!("{}s", READ_TIMEOUT.as_secs())),
    ];
    pairs.into_iter().map(|(key, value)| (format!("{name}__{key}"), value)).collect()
}

/// A program's settings, with wires of its own to each service.
async fn over_wires(
    program: Program,
    outside: &Outside,
    wires: &mut Vec<(Wire, Proxy)>,
) -> Settings {
    let mut settings = common_settings(&outside.postgres.url());
    for (service, name, url) in [
        (Service::RabbitMq, "AMQP_URL", outside.amqp()),
        (Service::Redis, "REDIS_URL", outside.redis_url()),
        (Service::PostgreSql, "DATABASE_URL", outside.postgres.url()),
    ] {
        let (wire, url) = Proxy::before(&url).await;
        wires.push((Wire::ToService(program, service), wire));
        settings.insert(name.to_owned(), url);
    }
    settings
}

/// Whether a program says that it serves.
pub async fn is_ready(url: &str) -> bool {
    let client =
        reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build().unwrap();
    client.get(format!("{url}/readyz")).send().await.is_ok_and(|answer| answer.status() == 200)
}

/// Whether the lanes have a replica on each of so many nodes.
async fn is_replicated(management: &str, nodes: usize) -> bool {
    let client =
        reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build().unwrap();
    let Ok(answer) = client.get(format!("{management}/api/queues")).send().await else {
        return false;
    };
    let queues: Vec<serde_json::Value> = answer.json().await.unwrap_or_default();
    Lane::ALL.iter().all(|lane| {
        let queue = queues.iter().find(|queue| queue["name"] == lane.queue());
        queue.and_then(|queue| queue["members"].as_array()).is_some_and(|on| on.len() == nodes)
    })
}
