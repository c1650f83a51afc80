//! What a process that is asked to stop finishes, and what it gives back.

use std::time::Duration;

use crate::distributed::{Alone, id_of, phone, start};
use crate::harness::eventually;
use crate::harness::processes::{Client, Process, token};
use crate::harness::provider::Behaviour;

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
}
