//! The distributed form: the real binaries on real services, with a provider that does as it is told.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use crate::harness::processes::{Client, Process, Settings, api_command, settings, token};
use crate::harness::provider::{Behaviour, Handed, Provider};
use crate::harness::proxy::Proxy;
use crate::harness::services::{self, MariaDbServer, PostgresServer, RabbitNode, Redis};
use crate::harness::{PATIENCE, eventually};

pub(super) struct Distributed {
    pub(super) api: Process,
    pub(super) worker: Process,
    pub(super) client: Client,
    pub(super) provider: Provider,
    pub(super) database: String,
    pub(super) settings: Settings,
    pub(super) redis: Redis,
    pub(super) rabbit: Option<RabbitNode>,
    pub(super) postgres: Option<PostgresServer>,
    _mariadb: Option<MariaDbServer>,
    /// The wires of the API and of the worker to the broker.
    pub(super) api_wire: Proxy,
    pub(super) worker_wire: Proxy,
}

/// What a test has for itself, so that it can be killed.
#[derive(Default)]
pub(super) struct Alone {
    pub(super) rabbit: bool,
    pub(super) postgres: bool,
    /// In place of PostgreSQL.
    pub(super) mariadb: bool,
    /// Settings beside the usual ones.
    pub(super) more: Vec<(&'static str, &'static str)>,
}

pub(super) async fn start(alone: Alone) -> Distributed {
    let (redis, provider) = (services::redis().await, Provider::start().await);
    let rabbit = if alone.rabbit { Some(services::rabbitmq_alone().await) } else { None };
    let postgres = if alone.postgres { Some(services::postgres_alone().await) } else { None };
    let amqp = match &rabbit {
        Some(node) => node.url(),
        None => services::rabbitmq().await.url(),
    };
    let mariadb = if alone.mariadb { Some(services::mariadb_alone().await) } else { None };
    let (mariadb, database) = match (mariadb, &postgres) {
        (Some((server, database)), _) => (Some(server), database.url().to_owned()),
        (None, Some(server)) => (None, server.url()),
        (None, None) => (None, services::postgres().await.url().to_owned()),
    };
    let (api_wire, api_amqp) = Proxy::before(&amqp).await;
    let (worker_wire, worker_amqp) = Proxy::before(&amqp).await;
    let mut settings = settings(&[
        ("AMQP_URL", &api_amqp),
        ("REDIS_URL", &redis.url()),
        ("DATABASE_URL", &database),
        ("POSTRIDER_SECRET", "a-secret-of-the-tests-of-more-than-32-bytes"),
        ("POSTRIDER_PROVIDERS__MAIN__KIND", "aliyun"),
        ("POSTRIDER_PROVIDERS__MAIN__ACCESS_KEY_ID", "id"),
        ("POSTRIDER_PROVIDERS__MAIN__ACCESS_KEY_SECRET", "secret"),
        ("POSTRIDER_PROVIDERS__MAIN__ENDPOINT", &provider.url),
        ("POSTRIDER_PROVIDERS__MAIN__CONNECT_TIMEOUT", "1s"),
        ("POSTRIDER_PROVIDERS__MAIN__READ_TIMEOUT", "1s"),
        ("POSTRIDER_TEMPLATES__VERIFY__TEXT", "{sign}: {code}, {minutes} min"),
        ("POSTRIDER_TEMPLATES__VERIFY__SIGN", "Shop"),
        ("POSTRIDER_TEMPLATES__VERIFY__ALIYUN", "SMS_1"),
        ("POSTRIDER_TEMPLATES__PARCEL__TEXT", "{sign}: parcel {number}"),
        ("POSTRIDER_TEMPLATES__PARCEL__SIGN", "Shop"),
        ("POSTRIDER_TEMPLATES__PARCEL__ALIYUN", "SMS_2"),
        ("POSTRIDER_LIMITS__CODE__IP", "100000/60s"),
        ("POSTRIDER_LIMITS__CODE__GLOBAL", "100000/60s"),
    ]);
    settings.extend(alone.more.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
    let migrate = || async {
        api_command(&settings).arg("migrate").output().unwrap().status.success().then_some(())
    };
    eventually("the migrations to be applied", migrate).await;
    let mut api = Process::api(settings.clone());
    settings.insert("AMQP_URL".to_owned(), worker_amqp);
    let worker = Process::worker(settings.clone());
    let client = Client::new(api.url().await, token(&settings, &["--account", "shop"]));
    eventually("the API to be ready", || async {
        (client.get("/readyz").await.0 == 200).then_some(())
    })
    .await;
    Distributed {
        api,
        worker,
        client,
        provider,
        database,
        settings,
        redis,
        rabbit,
        postgres,
        _mariadb: mariadb,
        api_wire,
        worker_wire,
    }
}

impl Distributed {
    /// Statuses and codes of every row.
    pub(super) async fn rows(&self) -> Vec<(String, i32)> {
        let mut connection = PgConnection::connect(&self.database).await.unwrap();
        sqlx::query_as("SELECT id, status FROM sms_log").fetch_all(&mut connection).await.unwrap()
    }

    /// Sends a code to each of these, and waits until the provider has them; gives their ids.
    pub(super) async fn send_on(&self, phones: std::ops::Range<usize>) -> Vec<String> {
        let mut accepted = Vec::new();
        for n in phones {
            let (status, body) = self.client.send_code(&phone(n)).await;
            assert_eq!(status, 202, "{body}");
            accepted.push(id_of(&body));
        }
        eventually("all to be handed over", || async {
            let handed = self.provider.handed();
            accepted.iter().all(|id| handed.iter().any(|call| call.out_id == *id)).then_some(())
        })
        .await;
        accepted
    }

    /// Stops the worker as an operator would; it ends well.
    pub(super) async fn stop_worker(&mut self) {
        self.worker.signal("TERM");
        assert_eq!(self.worker.ended().await, Some(0), "{}", self.worker.output());
    }

    pub(super) async fn worker_says(&self, words: &str) {
        let says = || async { self.worker.output().contains(words).then_some(()) };
        eventually(words, says).await;
    }

    pub(super) async fn rows_of(&self, accepted: &[String]) -> Vec<(String, i32)> {
        eventually(&format!("{} rows", accepted.len()), || async {
            let rows = self.rows().await;
            accepted.iter().all(|id| rows.iter().any(|(row, _)| row == id)).then_some(rows)
        })
        .await
    }
}

pub(super) fn phone(n: usize) -> String {
    format!("138{n:08}")
}

pub(super) fn id_of(body: &Value) -> String {
    body["message_id"].as_str().unwrap_or_else(|| panic!("no message id in {body}")).to_owned()
}

/// The ids of what an answer to notices says was accepted.
fn ids_of(body: &Value) -> Vec<String> {
    let accepted = body["accepted"].as_array().unwrap();
    accepted.iter().map(|message| message["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_code_goes_all_the_way_and_is_verified() {
    let it = start(Alone::default()).await;
    let (status, sent) = it.client.send_code("13800138000").await;
    assert_eq!(status, 202, "{sent}");
    let message = it.client.message_once(&id_of(&sent), "sent").await;
    assert_eq!(
        (&message["provider"], &message["attempts"]),
        (&json!("main"), &json!(1)),
        "{message}"
    );
    let handed = it.provider.handed_for(&id_of(&sent));
    assert_eq!((handed.len(), handed[0].phone.as_str()), (1, "13800138000"));
    let params: Value = serde_json::from_str(&handed[0].params).unwrap();
    let code = params["code"].as_str().unwrap();
    let (status, body) = it.client.check("13800138000", code).await;
    assert_eq!((status, &body["status"]), (200, &json!("approved")), "{body}");
    eventually("verify_time", || async {
        let (_, row) = it.client.get(&format!("/v1/messages/{}", id_of(&sent))).await;
        row["verified_at"].is_string().then_some(())
    })
    .await;
    let admin =
        Client::new(it.client.url.clone(), token(&it.settings, &["--account", "root", "--admin"]));
    let (status, queues) = admin.get("/v1/queues").await;
    let code_lane = queues["queues"]
        .as_array()
        .unwrap()
        .iter()
        .find(|q| q["name"] == "sms.code")
        .unwrap()
        .clone();
    assert_eq!(
        (status, &code_lane["ready"], &code_lane["consumers"]),
        (200, &json!(0), &json!(1)),
        "{queues}"
    );
}

#[tokio::test]
async fn try_later_twice_and_then_accepted_is_one_sms_in_three_attempts() {
    let it = start(Alone::default()).await;
    let later = Behaviour::Say(200, "isp.SYSTEM_ERROR");
    it.provider.next(&[later.clone(), later, Behaviour::Accept]);
    let (_, sent) = it.client.send_code("13800138000").await;
    let message = it.client.message_once(&id_of(&sent), "sent").await;
    assert_eq!(message["attempts"], 3, "{message}");
    let handed = it.provider.handed_for(&id_of(&sent));
    assert_eq!(handed.iter().filter(|call| call.carried).count(), 1);
    // The first delay is 1 s, the second 1 to 3 s.
    let gaps: Vec<_> = handed.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    assert!(
        gaps.iter().all(|gap| (Duration::from_millis(900)..Duration::from_secs(6)).contains(gap)),
        "{gaps:?}"
    );
    let codes: Vec<_> = handed.iter().map(|call| &call.params).collect();
    assert!(codes.windows(2).all(|pair| pair[0] == pair[1]), "every attempt carries the same code");
}

#[tokio::test]
async fn a_lost_answer_sends_a_code_once_more_and_a_notice_not() {
    let it = start(Alone::default()).await;
    it.provider.always(Behaviour::Hang);
    let (_, sent) = it.client.send_code("13800138000").await;
    let notice =
        json!({ "template": "parcel", "params": { "number": "7" }, "phone": "13900139000" });
    let (status, accepted) = it.client.post("/v1/notices", &notice).await;
    assert_eq!(status, 202, "{accepted}");
    let notice_id = accepted["id"].as_str().unwrap();
    it.client.message_once(&id_of(&sent), "unknown").await;
    it.client.message_once(notice_id, "unknown").await;
    let codes = it.provider.handed_for(&id_of(&sent));
    assert_eq!(codes.len(), 2);
    assert_eq!(codes[0].params, codes[1].params, "it is the same code");
    assert_eq!(it.provider.handed_for(notice_id).len(), 1);
}

#[tokio::test]
async fn a_notice_to_many_reaches_each_of_them_once() {
    let it = start(Alone::default()).await;
    let phones: Vec<_> = (0..120).map(phone).collect();
    let body = json!({"template": "parcel", "params": {"number": "7"}, "phones": phones});
    let (status, first) = it.client.try_post("/v1/notices", "campaign", &body).await.unwrap();
    assert_eq!((status, &first["rejected"]), (202, &json!([])), "{first}");
    let (_, again) = it.client.try_post("/v1/notices", "campaign", &body).await.unwrap();
    assert_eq!(again, first, "a repeat is the same messages");
    let rows = it.rows_of(&ids_of(&first)).await;
    assert_eq!(rows.len(), 120);
    assert!(rows.iter().all(|(_, status)| *status == 1));
    let mut handed: Vec<_> = it.provider.handed().into_iter().map(|call| call.phone).collect();
    handed.sort();
    assert_eq!(handed, phones);
}

/// Sends codes, ten a second.
async fn send_codes_on(client: Client) {
    for n in 0.. {
        let (status, body) = client.send_code(&phone(n)).await;
        assert_eq!(status, 202, "{body}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What the provider was handed after its first `from` calls, once `count` codes are among that.
async fn handed_from(provider: &Provider, from: usize, count: usize) -> Vec<Handed> {
    eventually("codes to flow", || async {
        let since = provider.handed().split_off(from);
        let codes = since.iter().filter(|call| call.template.0 == "SMS_1").count();
        (codes >= count).then_some(since)
    })
    .await
}

#[tokio::test]
async fn notices_keep_to_their_pace_while_codes_flow_and_not_after() {
    let a_second = ("POSTRIDER_WORKER__NOTICES_BESIDE_CODES", "1");
    let it = start(Alone { more: vec![a_second], ..Alone::default() }).await;
    let codes = tokio::spawn(send_codes_on(it.client.clone()));
    handed_from(&it.provider, 0, 3).await;
    let (mut sent, begun) = (Vec::new(), Instant::now());
    // A machine that holds up the codes themselves for nearly a second lets notices go: then once more.
    for round in 1.. {
        assert!(begun.elapsed() < PATIENCE, "codes never flowed for three seconds");
        let from = it.provider.handed().len();
        let phones: Vec<_> = (0..120).map(|n| phone(round * 10_000 + n)).collect();
        let body = json!({"template": "parcel", "params": {"number": "7"}, "phones": phones});
        let (status, notices) = it.client.try_post("/v1/notices", "", &body).await.unwrap();
        assert_eq!(status, 202, "{notices}");
        sent.extend(ids_of(&notices));
        let calls = handed_from(&it.provider, from, 30).await;
        let (codes, notices): (Vec<_>, Vec<_>) =
            calls.iter().partition(|call| call.template.0 == "SMS_1");
        let longest = codes.windows(2).map(|pair| pair[1].at - pair[0].at).max().unwrap();
        if longest < Duration::from_millis(700) {
            let time = calls[calls.len() - 1].at - calls[0].at;
            let most = usize::try_from(time.as_secs()).unwrap() + 2;
            assert!((1..=most).contains(&notices.len()), "{} in {time:?}", notices.len());
            break;
        }
    }
    codes.abort();
    // At a notice a second these would take two minutes, which is longer than anything is waited for.
    it.rows_of(&sent).await;
}
