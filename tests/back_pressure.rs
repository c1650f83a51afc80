//! What waits anywhere is counted, and new messages are refused where it is too much.

use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};

use crate::distributed::{Alone, id_of, phone, start};
use crate::harness::processes::{Client, Process, settings, token};
use crate::harness::provider::Behaviour;
use crate::harness::{PATIENCE, eventually, services};

const FEW: (&str, &str) = ("POSTRIDER_QUEUE__MAX_READY", "4");

const NO_ROWS: &str = "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'not yet' USING ERRCODE = 'PR001'; END $$;
    CREATE TRIGGER no BEFORE INSERT ON sms_log FOR EACH ROW EXECUTE FUNCTION no()";

async fn on_postgres(url: &str, sql: &'static str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
}

async fn on_sqlite(file: &str, sql: &str) {
    let mut connection = SqliteConnection::connect(file).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
}

/// Sends codes, each to another phone, until one is answered so; gives what was accepted before.
async fn send_until(client: &Client, from: usize, status: u16, code: Option<&str>) -> Vec<String> {
    let (mut accepted, begun) = (Vec::new(), Instant::now());
    for n in from.. {
        let (answered, body) = client.send_code(&phone(n)).await;
        if answered == 202 {
            accepted.push(id_of(&body));
        }
        if answered == status && body["code"].as_str() == code {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{answered} {body}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    accepted
}

#[tokio::test]
async fn rows_that_wait_hold_up_new_messages_and_are_not_called_unknown() {
    let it = start(Alone { more: vec![FEW], ..Alone::default() }).await;
    on_postgres(&it.database, NO_ROWS).await;
    let accepted = send_until(&it.client, 0, 503, Some("overloaded")).await;
    assert!(accepted.len() >= 4, "{accepted:?}");
    let notice = json!({ "phone": phone(1), "template": "parcel", "params": { "number": "1" } });
    let (status, body) = it.client.post("/v1/notices", &notice).await;
    assert_eq!((status, &body["code"]), (503, &json!("overloaded")), "{body}");

    let shown = it.client.message_once(&accepted[0], "sent").await;
    assert_eq!(shown["attempts"], 1, "{shown}");
    it.redis.empty().await;
    let path = format!("/v1/messages/{}", accepted[0]);
    eventually("the row to be waited for", || async {
        let (status, body) = it.client.get(&path).await;
        assert_eq!(status, 503, "{body}");
        (body["code"] == "database_unavailable").then_some(())
    })
    .await;

    on_postgres(&it.database, "DROP TRIGGER no ON sms_log").await;
    it.rows_of(&accepted).await;
    assert_eq!(it.client.message_once(&accepted[0], "sent").await["attempts"], 1);
    send_until(&it.client, 1000, 202, None).await;
    let unknown = "/v1/messages/0198c9a1-52f0-7c3e-9d5b-6f1d2a7c4e12";
    eventually("no row to wait", || async {
        (it.client.get(unknown).await.0 == 404).then_some(())
    })
    .await;
}

#[tokio::test]
async fn retries_that_wait_hold_up_new_messages() {
    let it = start(Alone { more: vec![FEW], ..Alone::default() }).await;
    it.provider.always(Behaviour::Say(200, "isp.SYSTEM_ERROR"));
    send_until(&it.client, 0, 503, Some("overloaded")).await;
    it.provider.always(Behaviour::Accept);
    send_until(&it.client, 1000, 202, None).await;
}

#[tokio::test]
async fn embedded_rows_that_wait_hold_up_new_messages() {
    let data = services::new_folder("embedded");
    let mut settings = settings(&[FEW, ("POSTRIDER_LIMITS__CODE__IP", "1000/60s")]);
    settings.insert("POSTRIDER_DATA_DIR".to_owned(), data.display().to_string());
    let mut process = Process::api(settings.clone());
    let client = Client::new(process.url().await, token(&settings, &["--account", "shop"]));
    let file = format!("sqlite://{}", data.join("postrider.db").display());
    let fail = "CREATE TRIGGER no BEFORE INSERT ON sms_log
                BEGIN SELECT abs(-9223372036854775807 - 1); END";
    on_sqlite(&file, fail).await;
    let accepted = send_until(&client, 0, 503, Some("overloaded")).await;
    assert_eq!(client.message_once(&accepted[0], "sent").await["attempts"], 1);
    on_sqlite(&file, "DROP TRIGGER no").await;
    send_until(&client, 1000, 202, None).await;
    for id in &accepted {
        client.message_once(id, "sent").await;
    }
}
