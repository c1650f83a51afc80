//! Secrets that one process has and another lacks.

use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use crate::distributed::{Alone, Distributed, id_of, phone, start};
use crate::harness::eventually;
use crate::harness::ports::free_port;
use crate::harness::processes::{Client, Process, Settings, token};

/// The one that [`start`] gives to API and worker.
const OLD: &str = "a-secret-of-the-tests-of-more-than-32-bytes";
const NEW: &str = "another-secret-of-more-than-32-bytes-for-it";

fn with_secret(settings: &Settings, secret: &str) -> Settings {
    let mut settings = settings.clone();
    settings.insert("POSTRIDER_SECRET".to_owned(), secret.to_owned());
    settings
}

impl Distributed {
    /// Restarts the worker with this secret alone; gives the address of its metrics listener.
    fn worker_with_secret(&mut self, secret: &str) -> String {
        let port = free_port();
        let mut settings = with_secret(&self.settings, secret);
        settings.insert("POSTRIDER_METRICS__LISTEN".to_owned(), format!("127.0.0.1:{port}"));
        self.worker.kill();
        self.worker = Process::worker(settings);
        format!("http://127.0.0.1:{port}")
    }

    /// Restarts the API with these secrets; gives a caller of the same account.
    async fn api_with_secret(&mut self, secret: &str) -> Client {
        let settings = with_secret(&self.settings, secret);
        self.api.kill();
        self.api = Process::api(settings.clone());
        let client = Client::new(self.api.url().await, token(&settings, &["--account", "shop"]));
        eventually("the API to be ready", || async {
            (client.get("/readyz").await.0 == 200).then_some(())
        })
        .await;
        client
    }

    /// Error codes and phones of the rows, and reasons of dead letters, of a message.
    async fn written(&self, id: &str) -> (Vec<(String, String)>, Vec<String>) {
        let mut connection = PgConnection::connect(&self.database).await.unwrap();
        let rows = "SELECT coalesce(error_code, ''), phone_number FROM sms_log WHERE id = $1";
        let rows = sqlx::query_as(rows).bind(id).fetch_all(&mut connection).await.unwrap();
        let dead = "SELECT reason FROM dead_letter WHERE message_id = $1";
        let dead = sqlx::query_scalar(dead).bind(id).fetch_all(&mut connection).await.unwrap();
        (rows, dead)
    }
}

fn code(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["code"].as_str().unwrap_or_default())
}

async fn readiness(worker: &str) -> Option<(u16, Value)> {
    let answer = reqwest::get(format!("{worker}/readyz")).await.ok()?;
    Some((answer.status().as_u16(), answer.json().await.ok()?))
}

#[tokio::test]
async fn a_job_whose_secret_is_gone_ends_with_its_deadline() {
    // It may be handed over for 12 s.
    let more = vec![("POSTRIDER_CODE__TTL", "18s")];
    let mut it = start(Alone { more, ..Alone::default() }).await;
    let worker = it.worker_with_secret(NEW);
    let (status, sent) = it.client.send_code(&phone(1)).await;
    assert_eq!(status, 202, "{sent}");
    let (status, ready) = eventually("the worker to say that it lacks a key", || async {
        readiness(&worker).await.filter(|(_, ready)| ready["keys"] == "missing")
    })
    .await;
    assert_eq!(status, 503, "{ready}");
    let id = id_of(&sent);
    let (rows, dead) = eventually("its row", || async {
        let written = it.written(&id).await;
        (!written.0.is_empty()).then_some(written)
    })
    .await;
    assert_eq!(rows, [("key_missing".to_owned(), String::new())]);
    assert_eq!(dead, ["key_missing"]);
    let (_, message) = it.client.get(&format!("/v1/messages/{id}")).await;
    assert_eq!(message["status"], "failed", "{message}");
    assert_eq!(it.provider.handed().len(), 0);
    eventually("the worker to be ready", || async {
        readiness(&worker).await.filter(|(status, _)| *status == 200)
    })
    .await;
    let output = it.worker.output();
    let errors = output.lines().filter(|line| line.contains("\"ERROR\"")).count();
    assert_eq!(errors, 1, "not one for each time that it came: {output}");
    // Its phone's window was given back.
    let (status, again) = it.client.send_code(&phone(1)).await;
    assert_eq!(status, 202, "{again}");
}

#[tokio::test]
async fn an_api_without_an_old_secret_refuses_what_needs_it_and_stays_ready() {
    let mut it = start(Alone::default()).await;
    let body = json!({ "phone": phone(1), "purpose": "login" });
    let (status, sent) = it.client.try_post("/v1/verifications", "a-click", &body).await.unwrap();
    assert_eq!(status, 202, "{sent}");
    let notice = json!({"template": "parcel", "params": {"number": "7"}, "phones": [phone(2)]});
    let (status, first) = it.client.try_post("/v1/notices", "campaign", &notice).await.unwrap();
    assert_eq!(status, 202, "{first}");
    it.client.message_once(&id_of(&sent), "sent").await;
    let digits = it.provider.code_of(&id_of(&sent)).unwrap();

    let without = it.api_with_secret(NEW).await;
    let answer = without.check(&phone(1), &digits).await;
    assert_eq!(code(&answer), (503, "key_missing"), "a check");
    let answer = without.send_code(&phone(1)).await;
    assert_eq!(code(&answer), (503, "key_missing"), "a re-send");
    let answer = without.try_post("/v1/verifications", "a-click", &body).await.unwrap();
    assert_eq!(code(&answer), (503, "key_missing"), "a repeat");
    let answer = without.try_post("/v1/notices", "campaign", &notice).await.unwrap();
    assert_eq!(code(&answer), (503, "key_missing"), "a repeat of a notice to many");
    let (status, sent_anew) = without.send_code(&phone(3)).await;
    assert_eq!(status, 202, "what needs no old secret goes on: {sent_anew}");
    assert_eq!(without.get("/readyz").await.0, 200);
    let output = it.api.output();
    let errors = output.lines().filter(|line| line.contains("\"ERROR\"")).count();
    assert_eq!(errors, 4, "one for each request: {output}");
    assert!(output.contains("a secret that a request needs is not among POSTRIDER_SECRET"));

    let with_both = it.api_with_secret(&format!("{NEW},{OLD}")).await;
    let (status, repeated) =
        with_both.try_post("/v1/verifications", "a-click", &body).await.unwrap();
    assert_eq!((status, id_of(&repeated)), (202, id_of(&sent)));
    let (status, repeated) = with_both.try_post("/v1/notices", "campaign", &notice).await.unwrap();
    assert_eq!((status, repeated), (202, first));
    let other = json!({ "phone": phone(4), "purpose": "login" });
    let answer = with_both.try_post("/v1/verifications", "a-click", &other).await.unwrap();
    assert_eq!(code(&answer), (422, "idempotency_key_reused"));
    let (status, checked) = with_both.check(&phone(1), &digits).await;
    assert_eq!(status, 200, "{checked}");
}

/// Its message was sent; whether its row can be written depends on a secret that is gone.
#[tokio::test]
async fn a_row_whose_secret_is_gone_is_written_without_its_phone_after_the_deadline() {
    // It may be handed over for 30 s.
    let more = vec![("POSTRIDER_CODE__TTL", "45s")];
    let mut it = start(Alone { postgres: true, more, ..Alone::default() }).await;
    let worker = it.worker_with_secret(OLD);
    // From then on the API knows the account.
    it.send_on(2..3).await;
    it.postgres.as_mut().unwrap().kill();
    let (status, sent) = it.client.send_code(&phone(1)).await;
    assert_eq!(status, 202, "{sent}");
    let id = id_of(&sent);
    eventually("its row to be in sms.rows", || async {
        let metrics = reqwest::get(format!("{worker}/metrics")).await.ok()?.text().await.ok()?;
        metrics.contains("sms_publish_duration_seconds_count{to=\"rows\"}").then_some(())
    })
    .await;
    let worker = it.worker_with_secret(NEW);
    it.postgres.as_mut().unwrap().start();
    it.worker_says("a row's key is not among POSTRIDER_SECRET").await;
    eventually("the worker to be ready", || async {
        readiness(&worker).await.filter(|(status, _)| *status == 200)
    })
    .await;
    let (rows, dead) = eventually("its row", || async {
        let written = it.written(&id).await;
        (!written.0.is_empty()).then_some(written)
    })
    .await;
    assert_eq!(rows, [(String::new(), String::new())]);
    assert_eq!(dead, ["key_missing"]);
    let (_, message) = it.client.get(&format!("/v1/messages/{id}")).await;
    assert_eq!(message["status"], "sent", "{message}");
    assert_eq!(it.provider.handed_for(&id).len(), 1);
}
