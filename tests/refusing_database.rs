//! A database that refuses writes, in whatever way: rows wait, or are dead letters where their own data is at fault.

use postrider_common::database::Database;
use postrider_common::database::dead_letter::NewDeadLetter;
use postrider_common::database::sms_log::{Row, RowStatus};
use postrider_common::sqlite::Sqlite;
use secrecy::SecretString;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, MySqlConnection, PgConnection, SqliteConnection};

use crate::distributed::{Alone, Distributed, id_of, phone, start};
use crate::harness::eventually;
use crate::harness::processes::{Client, Process, Settings, settings, token};
use crate::harness::services;

/// The constraint's name is in the dead letter's cause.
const NOT_THE_THIRD: &str =
    "ALTER TABLE sms_log ADD CONSTRAINT not_the_third CHECK (phone_number <> '+8613800000003')";

fn tables(url: &str) -> Database {
    Database::new(&SecretString::from(url), 2).unwrap()
}

async fn on_postgres(url: &str, statements: &[&str]) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    for sql in statements {
        let sql = AssertSqlSafe((*sql).to_owned());
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    }
}

async fn on_mysql(url: &str, statements: &[&str]) {
    let mut connection = MySqlConnection::connect(url).await.unwrap();
    for sql in statements {
        let sql = AssertSqlSafe((*sql).to_owned());
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    }
}

async fn rows_once_written(database: &Database, accepted: &[String]) -> Vec<Row> {
    eventually("every row to be written", || async {
        let mut rows = Vec::new();
        for id in accepted {
            rows.extend(database.message(id.parse().unwrap()).await.ok()?);
        }
        (rows.len() == accepted.len()).then_some(rows)
    })
    .await
}

async fn dead_letter_of(database: &Database, id: &str) -> NewDeadLetter {
    eventually("the dead letter", || async {
        let letters = database.dead_letters(None, 100).await.ok()?;
        letters.into_iter().find(|letter| letter.message_id.is_some_and(|of| of.to_string() == id))
    })
    .await
}

async fn accept(client: &Client, phones: impl IntoIterator<Item = usize>) -> Vec<String> {
    let mut accepted = Vec::new();
    for n in phones {
        let (status, body) = client.send_code(&phone(n)).await;
        assert_eq!(status, 202, "{body}");
        accepted.push(id_of(&body));
    }
    accepted
}

async fn rows_wait(it: &Distributed) {
    eventually("rows to wait", || async {
        it.worker.output().contains("rows go to sms.rows").then_some(())
    })
    .await;
}

#[tokio::test]
async fn rows_wait_while_postgres_allows_no_connections() {
    let it = start(Alone { postgres: true, ..Alone::default() }).await;
    let mut accepted = accept(&it.client, 0..2).await;
    it.rows_of(&accepted).await;
    let other = it.database.trim_end_matches("/postgres").to_owned() + "/template1";
    let close = [
        "ALTER DATABASE postgres ALLOW_CONNECTIONS false",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'postgres'",
    ];
    on_postgres(&other, &close).await;
    accepted.extend(it.send_on(2..6).await);
    rows_wait(&it).await;
    let (status, ready) = it.client.get("/readyz").await;
    assert_eq!((status, &ready["database"]), (200, &json!("down")), "{ready}");
    on_postgres(&other, &["ALTER DATABASE postgres ALLOW_CONNECTIONS true"]).await;
    let rows = it.rows_of(&accepted).await;
    assert_eq!(rows.len(), accepted.len());
    assert!(rows.iter().all(|(_, status)| *status == 1), "{rows:?}");
}

#[tokio::test]
async fn rows_wait_while_mariadb_is_read_only() {
    let it = start(Alone { mariadb: true, ..Alone::default() }).await;
    let database = tables(&it.database);
    let mut accepted = accept(&it.client, 0..1).await;
    rows_once_written(&database, &accepted).await;
    let url = it.database.replace("mariadb://", "mysql://");
    let others =
        "SELECT group_concat('KILL ', id SEPARATOR ';') FROM information_schema.processlist
                  WHERE id <> connection_id() AND command <> 'Daemon' AND user = 'root'";
    // Connections that are open keep what they began with.
    let mut connection = MySqlConnection::connect(&url).await.unwrap();
    on_mysql(&url, &["SET GLOBAL tx_read_only = 1"]).await;
    let kill: Option<String> = sqlx::query_scalar(others).fetch_one(&mut connection).await.unwrap();
    for kill in kill.unwrap_or_default().split(';') {
        // One may have ended by itself.
        drop(sqlx::raw_sql(AssertSqlSafe(kill.to_owned())).execute(&mut connection).await);
    }
    accepted.extend(it.send_on(1..5).await);
    rows_wait(&it).await;
    sqlx::raw_sql("SET GLOBAL tx_read_only = 0").execute(&mut connection).await.unwrap();
    let others: Option<String> =
        sqlx::query_scalar(others).fetch_one(&mut connection).await.unwrap();
    for kill in others.unwrap_or_default().split(';') {
        drop(sqlx::raw_sql(AssertSqlSafe(kill.to_owned())).execute(&mut connection).await);
    }
    let rows = rows_once_written(&tables(&it.database), &accepted).await;
    assert!(rows.iter().all(|row| row.status == RowStatus::Sent), "{rows:?}");
    assert!(tables(&it.database).dead_letters(None, 10).await.unwrap().is_empty());
}

/// Accepts six messages while no worker runs, so that their rows come in one batch.
async fn six_in_a_batch(it: &mut Distributed) -> Vec<String> {
    it.stop_worker().await;
    let accepted = accept(&it.client, 0..6).await;
    it.worker.start();
    accepted
}

#[tokio::test]
async fn a_row_that_a_constraint_refuses_is_a_dead_letter_and_the_others_are_written() {
    let mut it = start(Alone::default()).await;
    on_postgres(&it.database, &[NOT_THE_THIRD]).await;
    let mut accepted = six_in_a_batch(&mut it).await;
    let bad = accepted.remove(3);
    it.rows_of(&accepted).await;
    let letter = dead_letter_of(&tables(&it.database), &bad).await;
    assert_eq!(json!(letter.reason), "row_refused");
    assert!(
        letter.detail.contains("23514") && letter.detail.contains("not_the_third"),
        "{letter:?}"
    );
    assert!(!letter.detail.contains("13800000003"), "{letter:?}");
    eventually("the message to be kept nowhere but in the dead letter", || async {
        let (status, message) = it.client.get(&format!("/v1/messages/{bad}")).await;
        ((status, &message["code"]) == (503, &json!("database_unavailable"))).then_some(())
    })
    .await;
}

#[tokio::test]
async fn many_rows_that_fail_in_an_unknown_way_block_no_other() {
    let limits = vec![
        ("POSTRIDER_LIMITS__CODE__IP", "1000/60s"),
        ("POSTRIDER_LIMITS__CODE__ACCOUNT", "1000/60s"),
    ];
    let mut it = start(Alone { more: limits, ..Alone::default() }).await;
    let trigger = "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS
                   $$ BEGIN RAISE EXCEPTION 'not yet'; END $$;
                   CREATE TRIGGER no BEFORE INSERT ON sms_log FOR EACH ROW
                   WHEN (NEW.phone_number LIKE '+86138000000%') EXECUTE FUNCTION no()";
    on_postgres(&it.database, &[trigger]).await;
    it.stop_worker().await;
    let bad = accept(&it.client, 0..40).await;
    let good = accept(&it.client, 100..103).await;
    it.worker.start();
    it.rows_of(&good).await;
    on_postgres(&it.database, &["DROP TRIGGER no ON sms_log"]).await;
    it.rows_of(&bad).await;
}

#[tokio::test]
async fn a_row_that_fails_in_an_unknown_way_waits_and_the_others_are_written() {
    let mut it = start(Alone::default()).await;
    let trigger = "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS
                   $$ BEGIN RAISE EXCEPTION 'not yet' USING ERRCODE = 'PR001'; END $$;
                   CREATE TRIGGER no BEFORE INSERT ON sms_log FOR EACH ROW
                   WHEN (NEW.phone_number = '+8613800000003') EXECUTE FUNCTION no()";
    on_postgres(&it.database, &[trigger]).await;
    let mut accepted = six_in_a_batch(&mut it).await;
    let bad = accepted.remove(3);
    it.rows_of(&accepted).await;
    let database = tables(&it.database);
    assert!(database.message(bad.parse().unwrap()).await.unwrap().is_none());
    let (status, message) = it.client.get(&format!("/v1/messages/{bad}")).await;
    assert_eq!((status, &message["status"]), (200, &json!("sent")), "{message}");
    on_postgres(&it.database, &["DROP TRIGGER no ON sms_log"]).await;
    it.rows_of(&[bad]).await;
    assert!(database.dead_letters(None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_dead_letter_that_cannot_be_written_is_parked() {
    let mut it = start(Alone::default()).await;
    let no_letters = "ALTER TABLE dead_letter ADD CONSTRAINT none CHECK (reason = 'none')";
    on_postgres(&it.database, &[NOT_THE_THIRD, no_letters]).await;
    let mut accepted = six_in_a_batch(&mut it).await;
    let bad = accepted.remove(3);
    it.rows_of(&accepted).await;
    // It survives the worker, since it is at the broker.
    it.worker_says("a dead letter can't be written").await;
    it.stop_worker().await;
    on_postgres(&it.database, &["ALTER TABLE dead_letter DROP CONSTRAINT none"]).await;
    it.worker.start();
    let letter = dead_letter_of(&tables(&it.database), &bad).await;
    assert_eq!(json!(letter.reason), "row_refused");
}

struct Embedded {
    process: Process,
    client: Client,
    database: Database,
    file: String,
}

async fn start_embedded() -> Embedded {
    let data = services::new_folder("embedded");
    let mut settings: Settings = settings(&[("POSTRIDER_LIMITS__CODE__IP", "1000/60s")]);
    settings.insert("POSTRIDER_DATA_DIR".to_owned(), data.display().to_string());
    let mut process = Process::api(settings.clone());
    let client = Client::new(process.url().await, token(&settings, &["--account", "shop"]));
    let path = data.join("postrider.db");
    let database = Database::sqlite(Sqlite::open(&path).await.unwrap());
    Embedded { process, client, database, file: format!("sqlite://{}", path.display()) }
}

async fn on_sqlite(file: &str, sql: &'static str) {
    let mut connection = SqliteConnection::connect(file).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
}

#[tokio::test]
async fn embedded_a_row_that_is_refused_is_a_dead_letter_and_blocks_no_other() {
    let it = start_embedded().await;
    let refuse =
        "CREATE TRIGGER no BEFORE INSERT ON sms_log WHEN NEW.phone_number = '+8613800000003'
                  BEGIN SELECT RAISE(ABORT, 'not this one'); END";
    on_sqlite(&it.file, refuse).await;
    let mut accepted = accept(&it.client, 0..6).await;
    let bad = accepted.remove(3);
    rows_once_written(&it.database, &accepted).await;
    let letter = dead_letter_of(&it.database, &bad).await;
    assert_eq!(json!(letter.reason), "row_refused");
    assert!(letter.detail.contains("not this one"), "{letter:?}");
}

#[tokio::test]
async fn embedded_a_row_that_fails_in_an_unknown_way_waits_and_blocks_no_other() {
    let mut it = start_embedded().await;
    // An integer overflow: an error of no class that says anything of the data.
    let fail = "CREATE TRIGGER no BEFORE INSERT ON sms_log WHEN NEW.phone_number = '+8613800000003'
                BEGIN SELECT abs(-9223372036854775807 - 1); END";
    on_sqlite(&it.file, fail).await;
    let mut accepted = accept(&it.client, 0..6).await;
    let bad = accepted.remove(3);
    rows_once_written(&it.database, &accepted).await;
    it.process.signal("TERM");
    assert_eq!(it.process.ended().await, Some(0), "{}", it.process.output());
    on_sqlite(&it.file, "DROP TRIGGER no").await;
    it.process.start();
    rows_once_written(&it.database, &[bad]).await;
    assert!(it.database.dead_letters(None, 10).await.unwrap().is_empty());
}
