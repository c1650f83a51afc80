//! The distributed form: the real binaries on real services, with a provider that does as it is told.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use tokio_util::sync::CancellationToken;

use crate::harness::processes::{Client, Process, Settings, api_command, settings, token};
use crate::harness::provider::{Behaviour, Provider};
use crate::harness::proxy::Proxy;
use crate::harness::services::{self, PostgresServer, RabbitNode, Redis};
use crate::harness::{PATIENCE, eventually};

pub(super) struct Distributed {
    pub(super) api: Process,
    pub(super) worker: Process,
    pub(super) client: Client,
    pub(super) provider: Provider,
    pub(super) database: String,
    pub(super) settings: Settings,
    pub(super) redis: Redis,
    rabbit: Option<RabbitNode>,
    postgres: Option<PostgresServer>,
    /// The wires of the API and of the worker to the broker.
    api_wire: Proxy,
    worker_wire: Proxy,
}

/// What a test has for itself, so that it can be killed.
#[derive(Default)]
pub(super) struct Alone {
    pub(super) rabbit: bool,
    pub(super) postgres: bool,
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
    let database = match &postgres {
        Some(server) => server.url(),
        None => services::postgres().await.url().to_owned(),
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
        api_wire,
        worker_wire,
    }
}

impl Distributed {
    /// Statuses and codes of every row.
    async fn rows(&self) -> Vec<(String, i32)> {
        let mut connection = PgConnection::connect(&self.database).await.unwrap();
        sqlx::query_as("SELECT id, status FROM sms_log").fetch_all(&mut connection).await.unwrap()
    }

    /// Sends a code to each of these, and waits until the provider has them; gives their ids.
    async fn send_on(&self, phones: std::ops::Range<usize>) -> Vec<String> {
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
    async fn stop_worker(&mut self) {
        self.worker.signal("TERM");
        assert_eq!(self.worker.ended().await, Some(0), "{}", self.worker.output());
    }

    async fn worker_says(&self, words: &str) {
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
async fn a_worker_killed_three_times_amid_a_thousand_jobs_loses_and_doubles_nothing() {
    let mut it = start(Alone::default()).await;
    it.provider.always(Behaviour::AcceptAfter(Duration::from_millis(150)));
    let phones: Vec<String> = (0..1000).map(phone).collect();
    let sends = phones.iter().map(|phone| it.client.send_code(phone));
    let sends: Vec<_> = futures::stream::iter(sends).buffered(64).collect().await;
    let accepted: Vec<String> = sends.iter().map(|(_, body)| id_of(body)).collect();
    for share in [100, 350, 600] {
        let provider = it.provider.clone();
        eventually("some to be handed over", || async {
            (provider.handed().len() >= share).then_some(())
        })
        .await;
        it.worker.kill();
        it.worker.start();
    }
    let rows = it.rows_of(&accepted).await;
    assert_eq!(rows.len(), 1000, "a row for each and none besides");
    for id in &accepted {
        let handed = it.provider.handed_for(id);
        assert!(!handed.is_empty());
        // All but the last call were cut off: their answers hadn't arrived.
        assert!(handed.len() <= 3, "{} times", handed.len());
        assert!(
            handed.windows(2).all(|pair| pair[0].params == pair[1].params),
            "a re-send is the same code"
        );
    }
    let doubled = accepted.iter().filter(|id| it.provider.handed_for(id).len() > 1).count();
    assert!(
        doubled <= 3 * 256,
        "{doubled} were handed twice, more than were at the provider at the kills"
    );
}

// Several threads: the wires and the callers go on while the broker's start is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn every_202_ends_in_a_row_though_the_broker_is_killed() {
    let mut it = start(Alone { rabbit: true, ..Alone::default() }).await;
    let accepted: Arc<Mutex<Vec<String>>> = Arc::default();
    let stop = CancellationToken::new();
    // Eight callers, each one request after another, over all of it.
    let callers: Vec<_> = (0..8)
        .map(|caller| {
            let (client, accepted, stop) = (it.client.clone(), accepted.clone(), stop.clone());
            tokio::spawn(async move {
                for n in 0..100_000 {
                    if stop.is_cancelled() {
                        return;
                    }
                    let begun = Instant::now();
                    let (status, body) = client.send_code(&phone(caller * 100_000 + n)).await;
                    assert!(status == 202 || status == 503, "{status} {body}");
                    assert!(
                        begun.elapsed() < Duration::from_secs(3),
                        "{status} after {:?}",
                        begun.elapsed()
                    );
                    if status == 202 {
                        accepted.lock().unwrap().push(id_of(&body));
                    }
                }
            })
        })
        .collect();
    let reached = async |count: usize| {
        let enough = || async { (accepted.lock().unwrap().len() >= count).then_some(()) };
        eventually("the API to accept", enough).await;
    };
    reached(200).await;
    it.rabbit.as_mut().unwrap().kill();
    let begun = Instant::now();
    let (status, body) = it.client.send_code(&phone(9_000_000)).await;
    assert!(
        status == 503 && begun.elapsed() < Duration::from_secs(2),
        "{status} {body} {:?}",
        begun.elapsed()
    );
    it.rabbit.as_mut().unwrap().start();
    let before = accepted.lock().unwrap().len();
    reached(before + 100).await;
    stop.cancel();
    for caller in callers {
        caller.await.unwrap();
    }
    let accepted = accepted.lock().unwrap().clone();
    it.rows_of(&accepted).await;
}

#[tokio::test]
async fn a_redis_that_is_killed_or_emptied_lets_nothing_through_unguarded() {
    let mut it = start(Alone::default()).await;
    let banned = api_command(&it.settings).args(["ban", "phone", "13700137000"]).output().unwrap();
    assert!(banned.status.success(), "{}", String::from_utf8_lossy(&banned.stderr));
    let mut accepted = vec![id_of(&it.client.send_code(&phone(1)).await.1)];
    it.redis.kill();
    let begun = Instant::now();
    let (status, body) = it.client.send_code(&phone(2)).await;
    assert!(status == 503 && begun.elapsed() < Duration::from_secs(2), "{status} {body}");
    it.redis.start();
    let send = |n| {
        let client = it.client.clone();
        async move {
            let (status, body) = client.send_code(&phone(n)).await;
            (status == 202).then(|| id_of(&body))
        }
    };
    accepted.push(eventually("the API to accept again", || send(3)).await);
    it.rows_of(&accepted).await;
    let before: usize = it.provider.handed().len();

    it.redis.empty().await;
    let refused = eventually("the ban to be back", || async {
        let (status, body) = it.client.send_code("13700137000").await;
        assert_ne!(status, 202, "a banned phone was let through: {body}");
        (status == 403).then_some(body)
    });
    assert_eq!(refused.await["code"], "phone_blocked");
    assert_eq!(it.provider.handed().len(), before, "nothing is texted again");
    let id = eventually("the API to accept again", || send(4)).await;
    it.rows_of(&[id]).await;
}

#[tokio::test]
async fn a_code_whose_verification_redis_lost_arrives_and_is_approved() {
    let mut it = start(Alone::default()).await;
    // Not redelivered later: no worker has ever had it.
    it.worker.kill();
    let (status, sent) = it.client.send_code(&phone(1)).await;
    assert_eq!(status, 202, "{sent}");
    it.redis.empty().await;
    let (status, body) = it.client.check(&phone(1), "000000").await;
    assert!(status == 404 || status == 503, "nothing is known of it: {status} {body}");
    it.worker.start();
    it.client.message_once(&id_of(&sent), "sent").await;
    let handed = it.provider.handed_for(&id_of(&sent));
    assert_eq!(handed.len(), 1);
    let code = handed[0].code().unwrap();
    let wrong = if code == "000000" { "111111" } else { "000000" };
    let (status, body) = it.client.check(&phone(1), wrong).await;
    assert_eq!((status, &body["attempts_left"]), (422, &json!(4)), "{body}");
    // By phone and purpose: API and worker give a verification the same name.
    let (status, body) = it.client.check(&phone(1), &code).await;
    assert_eq!((status, &body["status"]), (200, &json!("approved")), "{body}");
    assert_eq!(body["id"], sent["id"], "it is the one that the 202 named");
    let (status, body) = it.client.check(&phone(1), &code).await;
    assert_eq!((status, &body["code"]), (409, &json!("already_used")), "{body}");
}

#[tokio::test]
async fn sends_go_on_while_the_database_is_down_and_their_rows_follow() {
    let mut it = start(Alone { postgres: true, ..Alone::default() }).await;
    let mut accepted = vec![id_of(&it.client.send_code(&phone(1)).await.1)];
    it.rows_of(&accepted).await;
    it.postgres.as_mut().unwrap().kill();
    accepted.extend(it.send_on(2..100).await);
    it.postgres.as_mut().unwrap().start();
    let connected = || async { PgConnection::connect(&it.database).await.ok().map(drop) };
    eventually("PostgreSQL to answer", connected).await;
    let rows = it.rows_of(&accepted).await;
    assert_eq!(rows.len(), accepted.len());
    assert!(rows.iter().all(|(_, status)| *status == 1));
}

#[tokio::test]
async fn a_database_that_hangs_holds_up_no_send() {
    // So few at a time that one batch that waits would be seen.
    let few =
        vec![("POSTRIDER_WORKER__CODE_CONCURRENCY", "2"), ("POSTRIDER_WORKER__ROW_BATCH", "2")];
    let it = start(Alone { postgres: true, more: few, ..Alone::default() }).await;
    let mut accepted = vec![id_of(&it.client.send_code(&phone(1)).await.1)];
    it.rows_of(&accepted).await;
    let mut connection = PgConnection::connect(&it.database).await.unwrap();
    let mut lock = connection.begin().await.unwrap();
    sqlx::query("LOCK TABLE sms_log IN ACCESS EXCLUSIVE MODE").execute(&mut *lock).await.unwrap();
    accepted.extend(it.send_on(2..40).await);
    lock.rollback().await.unwrap();
    let rows = it.rows_of(&accepted).await;
    assert!(rows.iter().all(|(_, status)| *status == 1), "{rows:?}");
}

#[tokio::test]
async fn a_row_that_waits_is_left_to_a_worker_that_has_its_key() {
    let mut it = start(Alone { postgres: true, ..Alone::default() }).await;
    let sent = id_of(&it.client.send_code(&phone(1)).await.1);
    it.rows_of(&[sent]).await;
    // As while secrets are rotated: this worker has both, and seals with the new one.
    let old = it.settings["POSTRIDER_SECRET"].clone();
    let mut both = it.settings.clone();
    both.insert(
        "POSTRIDER_SECRET".to_owned(),
        format!("a-new-secret-of-more-than-32-bytes-x,{old}"),
    );
    it.stop_worker().await;
    it.worker = Process::worker(both.clone());
    it.postgres.as_mut().unwrap().kill();
    let (status, sent) = it.client.send_code(&phone(2)).await;
    assert_eq!(status, 202, "{sent}");
    it.worker_says("rows go to sms.rows").await;
    it.stop_worker().await;
    // One that has only the old secret can't open the row.
    it.worker = Process::worker(it.settings.clone());
    it.postgres.as_mut().unwrap().start();
    it.worker_says("a row's key is not among POSTRIDER_SECRET").await;
    it.stop_worker().await;
    it.worker = Process::worker(both);
    let rows = it.rows_of(&[id_of(&sent)]).await;
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|(_, status)| *status == 1), "{rows:?}");
}

#[tokio::test]
async fn a_worker_that_stops_begins_nothing_more() {
    let one_at_a_time = ("POSTRIDER_WORKER__CODE_CONCURRENCY", "1");
    let mut it = start(Alone { more: vec![one_at_a_time], ..Alone::default() }).await;
    let ops = token(&it.settings, &["--account", "ops", "--admin"]);
    let ops = Client::new(it.client.url.clone(), ops);
    it.provider.always(Behaviour::AcceptAfter(Duration::from_millis(800)));
    let mut sent = vec![id_of(&it.client.send_code(&phone(1)).await.1)];
    let provider = it.provider.clone();
    eventually("the provider to be called", || async {
        (!provider.handed().is_empty()).then_some(())
    })
    .await;
    // It has the second one already, which waits for its turn.
    sent.push(id_of(&it.client.send_code(&phone(2)).await.1));
    eventually("the worker to have both", || async {
        let (_, queues) = ops.get("/v1/queues").await;
        let queues = queues["queues"].as_array().unwrap().clone();
        let lane = queues.into_iter().find(|queue| queue["name"] == "sms.code").unwrap();
        (lane["ready"] == 0).then_some(())
    })
    .await;
    it.stop_worker().await;
    assert_eq!(provider.handed().len(), 1, "what wasn't begun went back");
    it.worker = Process::worker(it.settings.clone());
    let rows = it.rows_of(&sent).await;
    assert!(rows.iter().all(|(_, status)| *status == 1), "{rows:?}");
    assert_eq!(provider.handed().len(), 2, "each once");
}

#[tokio::test]
async fn a_confirm_that_never_comes_is_said_and_the_same_request_sends_the_same_message() {
    let it = start(Alone::default()).await;
    // Whatever is cached on the way is cached by this one.
    let (status, body) = it.client.send_code(&phone(1)).await;
    assert_eq!(status, 202, "{body}");
    it.api_wire.swallow();
    let ask = json!({ "phone": phone(2), "purpose": "login" });
    let begun = Instant::now();
    let (status, body) = it.client.try_post("/v1/verifications", "once", &ask).await.unwrap();
    assert_eq!((status, &body["code"]), (503, &json!("outcome_unknown")), "{body}");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    // What was kept back arrives now: the first copy may be sent before the repeat is. Without the key, that would
    // be another request.
    it.api_wire.pass();
    let sent = eventually("the repeat to be accepted", || async {
        let (status, body) = it.client.try_post("/v1/verifications", "once", &ask).await.unwrap();
        (status == 202).then_some(body)
    })
    .await;
    it.client.message_once(&id_of(&sent), "sent").await;
    let (status, body) = it.client.post("/v1/verifications", &ask).await;
    assert_eq!(
        (status, &body["code"]),
        (429, &json!("phone_limited")),
        "it was counted once: {body}"
    );
    let handed: Vec<_> =
        it.provider.handed().into_iter().filter(|call| call.phone == phone(2)).collect();
    assert_eq!(handed.len(), 1, "both copies are the same message: one is dropped: {handed:?}");
    assert_eq!(handed[0].out_id, id_of(&sent));
}

#[tokio::test]
async fn a_message_in_doubt_keeps_the_address_that_it_was_counted_for() {
    let it = start(Alone::default()).await;
    let token = token(&it.settings, &["--account", "shop", "--scope", "on_behalf"]);
    let client = Client::new(it.client.url.clone(), token);
    let ask = |of: usize, address: &str| json!({ "phone": phone(of), "purpose": "login", "client_ip": address });
    let (status, body) = client.post("/v1/verifications", &ask(1, "203.0.113.1")).await;
    assert_eq!(status, 202, "{body}");
    it.api_wire.swallow();
    let begun = Instant::now();
    let (status, body) = client.post("/v1/verifications", &ask(2, "203.0.113.2")).await;
    assert_eq!((status, &body["code"]), (503, &json!("outcome_unknown")), "{body}");
    // What was kept back is gone, so that somebody else's requests are what brings the message onto the queue.
    it.api_wire.refuse();
    it.api_wire.pass();
    let mut connection = PgConnection::connect(&it.database).await.unwrap();
    let address: Option<String> = loop {
        client.post("/v1/verifications", &ask(2, "203.0.113.3")).await;
        let row = sqlx::query_scalar("SELECT client_ip FROM sms_log WHERE phone_number = $1");
        let row = row.bind("+8613800000002").fetch_optional(&mut connection).await.unwrap();
        if let Some(address) = row {
            break address;
        }
        assert!(begun.elapsed() < PATIENCE, "it never reaches the queue");
    };
    assert_eq!(address.as_deref(), Some("203.0.113.2"), "the limit of the other has no entry");
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
    let ids: Vec<_> = first["accepted"].as_array().unwrap().iter().map(|m| &m["id"]).collect();
    let ids: Vec<_> = ids.into_iter().map(|id| id.as_str().unwrap().to_owned()).collect();
    let rows = it.rows_of(&ids).await;
    assert_eq!(rows.len(), 120);
    assert!(rows.iter().all(|(_, status)| *status == 1));
    let mut handed: Vec<_> = it.provider.handed().into_iter().map(|call| call.phone).collect();
    handed.sort();
    assert_eq!(handed, phones);
}

#[tokio::test]
async fn a_worker_cut_off_from_the_broker_amid_its_calls_texts_nobody_twice() {
    let it = start(Alone::default()).await;
    it.provider.always(Behaviour::AcceptAfter(Duration::from_millis(400)));
    let mut accepted = Vec::new();
    for n in 0..50 {
        accepted.push(id_of(&it.client.send_code(&phone(n)).await.1));
    }
    let provider = it.provider.clone();
    eventually("calls to be under way", || async { (provider.handed().len() >= 20).then_some(()) })
        .await;
    it.worker_wire.cut();
    let rows = it.rows_of(&accepted).await;
    assert_eq!(rows.len(), accepted.len());
    for id in &accepted {
        assert_eq!(it.provider.handed_for(id).len(), 1, "{id} was handed over more than once");
    }
}

#[tokio::test]
async fn asked_to_stop_a_process_finishes_and_exits_0() {
    let mut it = start(Alone::default()).await;
    it.provider.always(Behaviour::AcceptAfter(Duration::from_millis(300)));
    let (_, sent) = it.client.send_code("13800138000").await;
    let provider = it.provider.clone();
    eventually("the provider to be called", || async {
        (!provider.handed().is_empty()).then_some(())
    })
    .await;
    it.worker.signal("TERM");
    assert_eq!(it.worker.ended().await, Some(0), "{}", it.worker.output());
    let rows = it.rows_of(&[id_of(&sent)]).await;
    assert_eq!(rows[0].1, 1, "what was in flight is finished");
    it.api.signal("TERM");
    assert_eq!(it.api.ended().await, Some(0), "{}", it.api.output());
}
