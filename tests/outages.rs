//! What is killed, cut off or hangs while messages are on their way, and what becomes of these.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use tokio_util::sync::CancellationToken;

use crate::distributed::{Alone, id_of, phone, start};
use crate::harness::processes::{Client, Process, api_command, token};
use crate::harness::provider::Behaviour;
use crate::harness::{PATIENCE, eventually};

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
