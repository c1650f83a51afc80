//! Providers that throttle, refuse connections or refuse our account for a while: messages wait and are then sent.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::distributed::{Alone, Distributed, id_of, phone, start};
use crate::harness::eventually;
use crate::harness::ports::free_port;
use crate::harness::processes::Process;
use crate::harness::provider::{Behaviour, Provider};
use crate::harness::proxy::Proxy;

const THROTTLES: Behaviour = Behaviour::Say(400, "Throttling.User");

impl Distributed {
    async fn send_notice(&self, n: usize) -> String {
        let body = json!({"template": "parcel", "params": {"number": "7"}, "phone": phone(n)});
        let (status, accepted) = self.client.post("/v1/notices", &body).await;
        assert_eq!(status, 202, "{accepted}");
        accepted["id"].as_str().unwrap().to_owned()
    }

    /// Restarts the worker with these settings beside the usual ones, and an open metrics listener; gives its address.
    fn restart_worker(&mut self, more: &[(&str, &str)]) -> String {
        let port = free_port();
        let mut settings = self.settings.clone();
        settings.extend(more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        settings.insert("POSTRIDER_METRICS__LISTEN".to_owned(), format!("127.0.0.1:{port}"));
        self.worker.kill();
        self.worker = Process::worker(settings);
        format!("http://127.0.0.1:{port}")
    }

    fn lines_of(&self, words: &str) -> usize {
        self.worker.output().lines().filter(|line| line.contains(words)).count()
    }
}

/// Settings of a second provider.
fn second(endpoint: &str) -> [(&'static str, &str); 5] {
    [
        ("POSTRIDER_PROVIDERS__SECOND__KIND", "aliyun"),
        ("POSTRIDER_PROVIDERS__SECOND__ACCESS_KEY_ID", "id"),
        ("POSTRIDER_PROVIDERS__SECOND__ACCESS_KEY_SECRET", "secret"),
        ("POSTRIDER_PROVIDERS__SECOND__ENDPOINT", endpoint),
        ("POSTRIDER_PROVIDERS__SECOND__ORDER", "2"),
    ]
}

async fn metric(worker: &str, line: &str) {
    eventually(line, || async {
        let metrics = reqwest::get(format!("{worker}/metrics")).await.ok()?.text().await.ok()?;
        metrics.lines().any(|found| found == line).then_some(())
    })
    .await;
}

/// How often each attempt outcome occurs in a message's timeline.
fn outcomes(message: &Value) -> Vec<&str> {
    let events = message["timeline"].as_array().unwrap().iter();
    events.filter_map(|event| event["outcome"].as_str()).collect()
}

#[tokio::test]
async fn a_provider_that_throttles_for_some_seconds_fails_no_notice() {
    let more = vec![("POSTRIDER_RETRY__MAX_ATTEMPTS", "1")];
    let mut it = start(Alone { more, ..Alone::default() }).await;
    let worker = it.restart_worker(&[]);
    metric(&worker, "sms_provider_up{provider=\"main\"} 1").await;
    it.provider.always(THROTTLES);
    let mut sent = Vec::new();
    for n in 0..20 {
        sent.push(it.send_notice(n).await);
    }
    metric(&worker, "sms_provider_up{provider=\"main\"} 0").await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    it.provider.always(Behaviour::Accept);
    for id in &sent {
        let message = it.client.message_once(id, "sent").await;
        let outcomes = outcomes(&message);
        let (last, before) = outcomes.split_last().unwrap();
        assert!(*last == "accepted" && before.len() > 1, "{message}");
        assert!(before.iter().all(|outcome| *outcome == "too_fast"), "{message}");
    }
    metric(&worker, "sms_provider_up{provider=\"main\"} 1").await;
    assert_eq!(it.lines_of("provider is throttling"), 1, "{}", it.worker.output());
    assert_eq!(it.lines_of("provider is no longer throttling"), 1, "{}", it.worker.output());
}

#[tokio::test]
async fn a_provider_that_refuses_connections_for_some_seconds_fails_no_message() {
    let more = vec![("POSTRIDER_RETRY__MAX_ATTEMPTS", "1")];
    let mut it = start(Alone { more, ..Alone::default() }).await;
    let port = free_port();
    let endpoint = format!("http://127.0.0.1:{port}/");
    let worker = it.restart_worker(&[("POSTRIDER_PROVIDERS__MAIN__ENDPOINT", &endpoint)]);
    let (_, code) = it.client.send_code(&phone(1)).await;
    let sent = [id_of(&code), it.send_notice(2).await];
    metric(&worker, "sms_provider_up{provider=\"main\"} 0").await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    let _wire = Proxy::at(port, it.provider.port()).await;
    for id in &sent {
        let message = it.client.message_once(id, "sent").await;
        let outcomes = outcomes(&message);
        let (last, before) = outcomes.split_last().unwrap();
        assert!(*last == "accepted" && before.len() > 1, "{message}");
        assert!(before.iter().all(|outcome| *outcome == "unreachable"), "{message}");
    }
    metric(&worker, "sms_provider_up{provider=\"main\"} 1").await;
    assert_eq!(it.lines_of("provider is unreachable"), 1, "{}", it.worker.output());
    assert_eq!(it.lines_of("provider is reachable again"), 1, "{}", it.worker.output());
}

#[tokio::test]
async fn the_second_provider_is_tried_at_once_where_the_first_throttles() {
    let second = Provider::start().await;
    let more = vec![("POSTRIDER_RETRY__MAX_ATTEMPTS", "1")];
    let mut it = start(Alone { more, ..Alone::default() }).await;
    it.restart_worker(&self::second(&second.url));
    it.provider.always(THROTTLES);
    let (_, sent) = it.client.send_code(&phone(1)).await;
    let message = it.client.message_once(&id_of(&sent), "sent").await;
    assert_eq!(outcomes(&message), ["too_fast", "accepted"], "{message}");
    let calls = |provider: &Provider| provider.handed_for(&id_of(&sent));
    let gap = calls(&second)[0].at - calls(&it.provider)[0].at;
    assert!(gap < Duration::from_millis(800), "the first delay is 1 s, and this took {gap:?}");
}

/// An operator may fix it: tops up the balance, corrects a credential.
#[tokio::test]
async fn an_account_that_a_provider_refuses_for_some_seconds_fails_no_message() {
    let mut it = start(Alone::default()).await;
    let worker = it.restart_worker(&[]);
    it.provider.always(Behaviour::Say(200, "isv.AMOUNT_NOT_ENOUGH"));
    let (_, sent) = it.client.send_code(&phone(1)).await;
    eventually("some attempts", || async {
        (it.provider.handed_for(&id_of(&sent)).len() > 2).then_some(())
    })
    .await;
    metric(&worker, "sms_provider_up{provider=\"main\"} 0").await;
    it.provider.always(Behaviour::Accept);
    it.client.message_once(&id_of(&sent), "sent").await;
    metric(&worker, "sms_provider_up{provider=\"main\"} 1").await;
    let output = it.worker.output();
    let errors: Vec<_> = output.lines().filter(|line| line.contains("\"ERROR\"")).collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("provider rejects our account"), "{errors:?}");
}

#[tokio::test]
async fn a_user_who_asked_three_times_gets_one_text_when_the_provider_recovers() {
    let more = vec![
        ("POSTRIDER_LIMITS__CODE__PHONE", "1/1s"),
        ("POSTRIDER_LIMITS__CODE__PHONE_PURPOSE", "100/60s"),
        ("POSTRIDER_LIMITS__CODE__PHONE_ALL", "100/60s"),
        ("POSTRIDER_CODE__MAX_SENDS", "3"),
    ];
    let it = start(Alone { more, ..Alone::default() }).await;
    it.provider.always(THROTTLES);
    let mut sent = Vec::new();
    for _ in 0..3 {
        let id = eventually("a code to be accepted", || async {
            let (status, body) = it.client.send_code(&phone(1)).await;
            (status == 202).then(|| id_of(&body))
        })
        .await;
        eventually("its first attempt", || async {
            (!it.provider.handed_for(&id).is_empty()).then_some(())
        })
        .await;
        sent.push(id);
    }
    it.provider.always(Behaviour::Accept);
    let newest = sent.pop().unwrap();
    it.client.message_once(&newest, "sent").await;
    let rows = it.rows_of(&sent).await;
    assert_eq!(rows.len(), 3, "a row for each");
    for id in &sent {
        let message = it.client.message_once(id, "superseded").await;
        assert_eq!(message["error_code"], "superseded", "{message}");
    }
    let carried: Vec<_> = it.provider.handed().into_iter().filter(|call| call.carried).collect();
    assert_eq!(carried.len(), 1, "{carried:?}");
    assert_eq!(carried[0].out_id, newest);
    // One text came, of the three that a verification may have.
    eventually("another send to be accepted", || async {
        (it.client.send_code(&phone(1)).await.0 == 202).then_some(())
    })
    .await;
    let (status, body) = it.client.check(&phone(1), &carried[0].code().unwrap()).await;
    assert_eq!(status, 200, "{body}");
}

#[tokio::test]
async fn twenty_attempts_and_a_count_are_kept_of_many() {
    let more = vec![("POSTRIDER_RETRY__MAX", "1s"), ("POSTRIDER_RETRY__MAX_ATTEMPTS", "1")];
    let mut it = start(Alone { more, ..Alone::default() }).await;
    let endpoint = it.provider.url.clone();
    it.restart_worker(&second(&endpoint));
    it.provider.always(THROTTLES);
    let (id, begun) = (it.send_notice(1).await, Instant::now());
    eventually("more attempts than are kept", || async {
        (it.provider.handed_for(&id).len() > 23).then_some(())
    })
    .await;
    assert!(begun.elapsed() > Duration::from_secs(5), "it waits between rounds");
    it.provider.always(Behaviour::Accept);
    let message = it.client.message_once(&id, "sent").await;
    it.rows_of(std::slice::from_ref(&id)).await;
    let calls = it.provider.handed_for(&id).len();
    let (_, written) = it.client.get(&format!("/v1/messages/{id}")).await;
    for message in [message, written] {
        assert_eq!(message["attempts"], calls, "{message}");
        assert_eq!(outcomes(&message).len(), 20, "{message}");
    }
}

#[tokio::test]
async fn a_template_that_the_worker_lacks_is_an_error_in_its_log() {
    let mut it = start(Alone::default()).await;
    it.settings.remove("POSTRIDER_TEMPLATES__PARCEL__ALIYUN");
    let trial = [("POSTRIDER_PROVIDERS__TRIAL__KIND", "sandbox"), ("POSTRIDER_SANDBOX", "1")];
    it.restart_worker(&trial);
    let without_code = it.send_notice(1).await;
    it.client.message_once(&without_code, "sent").await;
    it.settings.retain(|name, _| !name.starts_with("POSTRIDER_TEMPLATES__PARCEL"));
    let error = |worker: &Process, words: &str| {
        let output = worker.output();
        output.lines().any(|line| line.contains("\"ERROR\"") && line.contains(words))
    };
    assert!(error(&it.worker, "a template has no code at a provider"), "{}", it.worker.output());
    it.restart_worker(&[]);
    let unknown = it.send_notice(2).await;
    it.rows_of(std::slice::from_ref(&unknown)).await;
    let message = it.client.message_once(&unknown, "failed").await;
    assert_eq!(message["error_code"], "template_unknown", "{message}");
    assert!(
        error(&it.worker, "a template that this worker doesn't know"),
        "{}",
        it.worker.output()
    );
}
