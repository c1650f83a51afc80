//! What is written stays, rises to sent where it may, and is never written twice.

use postrider_common::database::sms_log::{Record, Row, RowStatus};
use postrider_common::database::{Database, DatabaseError};
use postrider_common::model::ids::{MessageId, VerificationId};
use postrider_common::model::job::Outcome;

use super::{attempt, dead_letter, failed, record, row};

async fn stored(database: &Database, id: MessageId) -> Row {
    database.message(id).await.unwrap().unwrap()
}

pub(super) async fn a_record_is_read_back_as_it_was_written(database: Database) {
    let full = row(1000);
    let bare = Row {
        verification_id: None,
        code: None,
        purpose: None,
        client_ip: None,
        provider: None,
        provider_message_id: None,
        provider_message_hash: None,
        response: None,
        ..row(1001)
    };
    let tries = vec![attempt(1, Outcome::TooFast), attempt(2, Outcome::Accepted)];
    let dead = dead_letter("one", 5);
    let written = Record {
        row: Some(full.clone()),
        attempts: tries.clone(),
        dead_letter: Some(dead.clone()),
    };
    database.record(&[written.clone(), record(bare.clone())]).await.unwrap();
    database.record(&[written]).await.unwrap();

    assert_eq!(stored(&database, full.id).await, full);
    assert_eq!(stored(&database, bare.id).await, bare);
    assert_eq!(database.attempts(full.id).await.unwrap(), tries);
    assert_eq!(database.dead_letters(None, 10).await.unwrap(), [dead]);
    assert_eq!(database.message(MessageId::generate()).await.unwrap(), None);
    database.record(&[]).await.unwrap();
}

pub(super) async fn a_row_rises_to_sent_and_never_falls(database: Database) {
    for first in [RowStatus::Failed, RowStatus::Unknown] {
        let lost = Row { status: first, ..failed(1000, "timeout") };
        database.record(&[record(lost.clone())]).await.unwrap();
        let approved = [(lost.verification_id.unwrap(), 1500)];
        assert!(database.set_verified(&approved).await.unwrap().is_empty());

        // Failed and unknown don't replace each other; the first stays.
        let other = Row { status: RowStatus::Unknown, provider: None, ..lost.clone() };
        database.record(&[record(other)]).await.unwrap();
        let verified = Row { verify_time: Some(1500), ..lost.clone() };
        assert_eq!(stored(&database, lost.id).await, verified);

        let sent = Row {
            status: RowStatus::Sent,
            error_code: None,
            attempts: 3,
            provider: Some("second".to_owned()),
            create_time: 1234,
            update_time: 2000,
            ..lost.clone()
        };
        database.record(&[record(sent.clone())]).await.unwrap();
        let risen = Row { create_time: 1000, verify_time: Some(1500), ..sent };
        assert_eq!(stored(&database, lost.id).await, risen);

        database.record(&[record(lost)]).await.unwrap();
        assert_eq!(stored(&database, risen.id).await, risen);
    }
}

pub(super) async fn one_batch_may_hold_a_message_twice(database: Database) {
    let lost = failed(1000, "timeout");
    let sent = Row { status: RowStatus::Sent, error_code: None, ..lost.clone() };
    let batch = [&lost, &sent, &lost].map(|row| Record {
        row: Some(row.clone()),
        attempts: vec![attempt(1, Outcome::Unknown)],
        dead_letter: Some(dead_letter("same", 5)),
    });
    database.record(&batch).await.unwrap();
    assert_eq!(stored(&database, lost.id).await, sent);
    assert_eq!(database.attempts(lost.id).await.unwrap().len(), 1);
    assert_eq!(database.dead_letters(None, 10).await.unwrap().len(), 1);
}

pub(super) async fn a_batch_may_be_large(database: Database) {
    let rows: Vec<Row> = (0..2500).map(row).collect();
    let batch: Vec<Record> = rows
        .iter()
        .map(|row| Record {
            attempts: vec![attempt(1, Outcome::Later), attempt(2, Outcome::Accepted)],
            ..record(row.clone())
        })
        .collect();
    database.record(&batch).await.unwrap();
    for row in [&rows[0], &rows[1000], &rows[2499]] {
        assert_eq!(&stored(&database, row.id).await, row);
        assert_eq!(database.attempts(row.id).await.unwrap().len(), 2);
    }
    let approved: Vec<_> = rows.iter().map(|r| (r.verification_id.unwrap(), 9000)).collect();
    assert!(database.set_verified(&approved).await.unwrap().is_empty());
    assert_eq!(stored(&database, rows[2499].id).await.verify_time, Some(9000));
}

pub(super) async fn an_overlong_answer_is_cut(database: Database) {
    let long = |text: &str| Some(text.repeat(5000));
    let written = Row {
        purpose: long("购"),
        provider_message_id: long("x"),
        error_code: long("错"),
        error_message: long("误"),
        response: Some(format!("a\0{}", "应".repeat(5000))),
        ..failed(1000, "x")
    };
    let tries = vec![postrider_common::model::job::Attempt {
        error_message: long("误"),
        error_code: Some("a\0b".to_owned()),
        ..attempt(1, Outcome::Later)
    }];
    let batch = Record { row: Some(written.clone()), attempts: tries, dead_letter: None };
    database.record(&[batch]).await.unwrap();
    let kept = stored(&database, written.id).await;
    let response = kept.response.unwrap();
    assert!(response.len() <= 1024 && response.ends_with('应'), "{}", response.len());
    assert_eq!(kept.purpose.unwrap().chars().count(), 320);
    assert_eq!(database.attempts(written.id).await.unwrap().len(), 1);
}

pub(super) async fn a_batch_is_written_whole_or_not_at_all(database: Database) {
    let good = row(1000);
    // PostgreSQL takes no NUL, MariaDB no 65 characters; SQLite takes both.
    let bad = Row { key_id: format!("\0{}", "k".repeat(64)), ..row(1001) };
    match database.record(&[record(good.clone()), record(bad.clone())]).await {
        Ok(()) => assert_eq!(stored(&database, bad.id).await, bad),
        Err(DatabaseError::Refused(_)) => {
            assert_eq!(database.message(good.id).await.unwrap(), None);
            database.record(&[record(good.clone())]).await.unwrap();
        }
        Err(outage) => panic!("{outage}"),
    }
    assert_eq!(stored(&database, good.id).await, good);
}

pub(super) async fn writers_of_the_same_rows_do_not_fail(database: Database) {
    let rows: Vec<Row> = (0..200).map(|time| failed(time, "timeout")).collect();
    let batch = |status: RowStatus, reverse: bool| {
        let mut batch: Vec<Record> = rows
            .iter()
            .map(|row| Record {
                attempts: vec![attempt(1, Outcome::Unknown)],
                ..record(Row { status, ..row.clone() })
            })
            .collect();
        if reverse {
            batch.reverse();
        }
        batch
    };
    let batches = [
        batch(RowStatus::Failed, false),
        batch(RowStatus::Sent, true),
        batch(RowStatus::Unknown, false),
        batch(RowStatus::Sent, false),
    ];
    for written in futures::future::join_all(batches.iter().map(|b| database.record(b))).await {
        written.unwrap();
    }
    for row in &rows {
        assert_eq!(stored(&database, row.id).await.status, RowStatus::Sent);
    }
}

pub(super) async fn approvals_reach_the_rows_that_are_there(database: Database) {
    let (first, other) = (row(1000), row(1001));
    let again = Row { verification_id: first.verification_id, ..row(2000) };
    database.record(&[&first, &other, &again].map(|r| record(r.clone()))).await.unwrap();
    let nobodys = VerificationId::generate();
    let (first_of, other_of) = (first.verification_id.unwrap(), other.verification_id.unwrap());

    let approved = [(first_of, 3000), (nobodys, 3001), (other_of, 3002)];
    assert_eq!(database.set_verified(&approved).await.unwrap(), [nobodys]);
    // The first approval stands.
    assert!(database.set_verified(&[(first_of, 4000)]).await.unwrap().is_empty());

    for (id, time) in [(first.id, 3000), (again.id, 3000), (other.id, 3002)] {
        assert_eq!(stored(&database, id).await.verify_time, Some(time));
    }
    assert!(database.set_verified(&[]).await.unwrap().is_empty());
}

/// The view reads 2023-11-14 22:13:20.123, on every engine and whatever the session's time zone.
pub(super) async fn times_are_readable_in_the_view(database: Database) {
    const TEXT: &str = "SELECT create_time, verify_time FROM sms_log_readable";
    const AS_CHAR: &str =
        "SELECT CAST(create_time AS CHAR(23)), CAST(verify_time AS CHAR(23)) FROM sms_log_readable";
    database.record(&[record(row(1_700_000_000_123))]).await.unwrap();
    let times: (String, Option<String>) = match &database {
        Database::Sqlite(sqlite) => sqlx::query_as(TEXT).fetch_one(sqlite.readers()).await,
        Database::Postgres(pool) => sqlx::query_as(AS_CHAR).fetch_one(pool).await,
        Database::Mysql(pool) => sqlx::query_as(AS_CHAR).fetch_one(pool).await,
    }
    .unwrap();
    assert_eq!(times, ("2023-11-14 22:13:20.123".to_owned(), None));
}
