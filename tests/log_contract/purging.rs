//! What is old goes, batch by batch; what is younger stays.

use postrider_common::database::Database;
use postrider_common::database::blacklist::{BanKind, BlacklistEntry};
use postrider_common::database::purge::{Kept, Purged};
use postrider_common::database::refusal::Refusal;
use postrider_common::database::sms_log::Record;
use postrider_common::model::job::Outcome;

use super::{attempt, dead_letter, failed, record, row};

/// What is older goes.
const BEFORE: i64 = 10_000;

/// The same text on every engine.
async fn execute(database: &Database, sql: String) {
    let sql = sqlx::AssertSqlSafe(sql);
    match database {
        Database::Sqlite(sqlite) => {
            let mut connection = sqlite.connect().await.unwrap();
            sqlx::query(sql).execute(&mut connection).await.map(drop).unwrap();
        }
        Database::Postgres(pool) => sqlx::query(sql).execute(pool).await.map(drop).unwrap(),
        Database::Mysql(pool) => sqlx::query(sql).execute(pool).await.map(drop).unwrap(),
    }
}

async fn rows(database: &Database, table: &str) -> i64 {
    let sql = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
    match database {
        Database::Sqlite(sqlite) => sqlx::query_scalar(sql).fetch_one(sqlite.readers()).await,
        Database::Postgres(pool) => sqlx::query_scalar(sql).fetch_one(pool).await,
        Database::Mysql(pool) => sqlx::query_scalar(sql).fetch_one(pool).await,
    }
    .unwrap()
}

/// Many of one time, so that batches end amid them.
fn old_time(n: i64) -> i64 {
    n / 600
}

fn tried(create_time: i64) -> Record {
    let attempts = vec![attempt(1, Outcome::Later), attempt(2, Outcome::Accepted)];
    Record { attempts, ..record(row(create_time)) }
}

pub(super) async fn old_messages_go_with_their_attempts_and_younger_ones_stay(database: Database) {
    let old: Vec<_> = (0..2500).map(|n| tried(old_time(n))).collect();
    let last = tried(BEFORE - 1);
    let young = [tried(BEFORE), tried(BEFORE + 1)];
    for records in [&old[..], std::slice::from_ref(&last), &young] {
        database.record(records).await.unwrap();
    }
    let purged = Purged { rows: 2501, attempts: 5002 };
    assert_eq!(database.purge(Kept::Messages, BEFORE, true).await.unwrap(), purged);
    assert_eq!(rows(&database, "sms_log").await, 2503, "a dry run deletes nothing");
    assert_eq!(database.purge(Kept::Messages, BEFORE, false).await.unwrap(), purged);
    assert_eq!(rows(&database, "sms_log").await, 2);
    assert_eq!(rows(&database, "sms_attempt").await, 4);
    for record in &young {
        let row = record.row.as_ref().unwrap();
        assert_eq!(database.message(row.id).await.unwrap().as_ref(), Some(row));
        assert_eq!(database.attempts(row.id).await.unwrap(), record.attempts);
    }
    let again = database.purge(Kept::Messages, BEFORE, false).await.unwrap();
    assert_eq!(again, Purged::default());
}

pub(super) async fn dead_letters_go_when_they_are_old_or_were_sent_since(database: Database) {
    let dead_of = |record: Record, id: &str, create_time| {
        let mut dead = dead_letter(id, create_time);
        dead.message_id = record.row.as_ref().map(|row| row.id);
        Record { dead_letter: Some(dead), ..record }
    };
    let undecodable = |id: &str, create_time| Record {
        row: None,
        attempts: Vec::new(),
        dead_letter: Some(dead_letter(id, create_time)),
    };
    let records = [
        dead_of(record(failed(1, "attempts_spent")), "old", BEFORE - 1),
        undecodable("old and unreadable", 5),
        dead_of(record(row(BEFORE + 5)), "young and sent since", BEFORE + 5),
        dead_of(record(failed(BEFORE + 6, "attempts_spent")), "young", BEFORE + 6),
        undecodable("young and unreadable", BEFORE + 7),
    ];
    database.record(&records).await.unwrap();
    let dry = database.purge(Kept::DeadLetters, BEFORE, true).await.unwrap();
    let purged = database.purge(Kept::DeadLetters, BEFORE, false).await.unwrap();
    assert_eq!((dry.rows, purged.rows), (3, 3));
    let left = database.dead_letters(None, 10).await.unwrap();
    let left: Vec<_> = left.iter().map(|dead| dead.id.as_str()).collect();
    assert_eq!(left, ["young and unreadable", "young"]);
    assert_eq!(rows(&database, "sms_log").await, 3, "their messages stay");
}

pub(super) async fn refusals_changes_of_bans_and_revocations_go(database: Database) {
    let refusal = |create_time: i64| Refusal {
        owner: None,
        kind: "code".to_owned(),
        rule: "ip_limited".to_owned(),
        policy: None,
        phone_number: None,
        purpose: None,
        template_code: None,
        client_ip: None,
        request_id: None,
        times: 1,
        create_time,
    };
    let mut refusals: Vec<_> = (0..1200).map(|n| refusal(old_time(n))).collect();
    refusals.extend([refusal(BEFORE), refusal(BEFORE + 1)]);
    database.record_refusals(&refusals).await.unwrap();
    for (id, time) in [("a", BEFORE - 1), ("b", BEFORE)] {
        let columns = "id, action, kind, value, reason, changed_by, create_time";
        let change = format!("'{id}', 'banned', 'phone', '+8613800138000', '', 'root', {time}");
        let insert = format!("INSERT INTO sms_blacklist_change ({columns}) VALUES ({change})");
        execute(&database, insert).await;
        let columns = "jti, account_id, expires_at, create_time";
        let insert = format!("INSERT INTO revocation ({columns}) VALUES ('{id}', 7, {time}, 1)");
        execute(&database, insert).await;
    }
    let purge = async |what| database.purge(what, BEFORE, false).await.unwrap().rows;
    assert_eq!(purge(Kept::Refusals).await, 1200);
    assert_eq!(purge(Kept::BlacklistChanges).await, 1);
    assert_eq!(purge(Kept::Revocations).await, 1, "by when it expires, not by when it was made");
    assert_eq!(database.refusals(None, 10).await.unwrap().len(), 2);
    for table in ["sms_blacklist_change", "revocation"] {
        assert_eq!(rows(&database, table).await, 1, "{table}");
    }
}

pub(super) async fn bans_that_ended_go_and_those_in_force_stay(database: Database) {
    let entry = |kind, value: &str, until| BlacklistEntry {
        kind,
        value: value.to_owned(),
        reason: String::new(),
        created_by: "ops".to_owned(),
        until,
        create_time: 1,
    };
    for (kind, value, until) in [
        (BanKind::Ip, "203.0.113.1", Some(BEFORE - 1)),
        (BanKind::Ip, "203.0.113.2", Some(BEFORE)),
        (BanKind::Ip, "203.0.113.3", None),
        // The same text as one that ended, of another kind.
        (BanKind::PhonePrefix, "203.0.113.1", None),
    ] {
        database.ban(&entry(kind, value, until), false).await.unwrap();
    }
    assert_eq!(database.purge(Kept::EndedBans, BEFORE, true).await.unwrap().rows, 1);
    assert_eq!(database.purge(Kept::EndedBans, BEFORE, false).await.unwrap().rows, 1);
    let left = database.bans(0).await.unwrap();
    assert_eq!(left.len(), 3);
    assert!(left.iter().all(|ban| ban.until.is_none_or(|until| until >= BEFORE)));
}

pub(super) async fn a_purge_that_is_cut_off_goes_on_later_and_writers_go_on_beside_it(
    database: Database,
) {
    let old: Vec<_> = (0..5000).map(|n| tried(old_time(n))).collect();
    for records in old.chunks(1000) {
        database.record(records).await.unwrap();
    }
    // Cut off once a batch is gone.
    let purge = database.purge(Kept::Messages, BEFORE, false);
    let a_batch_is_gone = async {
        while rows(&database, "sms_log").await == 5000 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        purged = purge => panic!("it ended: {purged:?}"),
        () = a_batch_is_gone => {}
    }
    let writes = async {
        for n in 0..50 {
            let records: Vec<_> = (0..10).map(|m| tried(BEFORE + n * 10 + m)).collect();
            database.record(&records).await.unwrap();
        }
    };
    let (purged, ()) = tokio::join!(database.purge(Kept::Messages, BEFORE, false), writes);
    let purged = purged.unwrap();
    assert!((1..5000).contains(&purged.rows) && purged.attempts == purged.rows * 2, "{purged:?}");
    assert_eq!(rows(&database, "sms_log").await, 500);
    assert_eq!(rows(&database, "sms_attempt").await, 1000, "no try is left without its message");
}
