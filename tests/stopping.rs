//! What a process that is asked to stop finishes, and what it gives back.

use std::time::Duration;

use crate::distributed::{Alone, id_of, phone, start};
use crate::harness::eventually;
use crate::harness::processes::{Client, Process, token};
use crate::harness::provider::Behaviour;
use crate::harness::services;

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
    for process in [&it.worker, &it.api] {
        let log = process.output();
        assert!(!log.contains("\"level\":\"ERROR\""), "{log}");
    }
}

/// Lines of a log that tell of the broker, or come from its client.
fn of_broker(log: &str) -> Vec<&str> {
    let tells = |line: &&str| line.contains("broker") || line.contains("\"target\":\"lapin");
    log.lines().filter(tells).collect()
}

#[tokio::test]
async fn a_broker_that_refuses_is_logged_when_it_begins_and_when_it_ends() {
    let it = start(Alone::default()).await;
    let vhost = services::rabbitmq_missing();
    let mut settings = it.settings.clone();
    settings.insert("AMQP_URL".to_owned(), vhost.url());
    let missing = [Process::api(settings.clone()), Process::worker(settings.clone())];
    settings.insert("AMQP_URL".to_owned(), vhost.url().replace("guest:guest", "guest:wrong"));
    let refused = [Process::api(settings.clone()), Process::worker(settings)];
    let all = || missing.iter().chain(&refused);
    eventually("all to have tried", async || {
        let has_tried =
            |process: &Process| process.output().contains("no connection to the broker");
        all().all(has_tried).then_some(())
    })
    .await;
    // Some ten tries of each.
    tokio::time::sleep(Duration::from_secs(3)).await;
    for process in all() {
        let log = process.output();
        // One for each connection.
        assert!(of_broker(&log).len() <= 2, "{:#?}", of_broker(&log));
    }
    vhost.create().await;
    eventually("those whose virtual host is there to be connected", async || {
        let is_connected = |process: &Process| process.output().contains("connected to the broker");
        missing.iter().all(is_connected).then_some(())
    })
    .await;
}
