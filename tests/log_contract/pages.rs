//! Lists come newest first, in pages that miss nothing and repeat nothing.

use std::time::Instant;

use postrider_common::database::Database;
use postrider_common::database::sms_log::{Cursor, Filter, Row, RowStatus};
use postrider_common::model::ids::MessageId;
use postrider_common::model::job::Lane;
use postrider_common::model::owner::Owner;
use postrider_common::store::MessageStatus;

use super::{ACCOUNT, dead_letter, failed, record, row};

async fn write(database: &Database, rows: &[Row]) {
    let records: Vec<_> = rows.iter().cloned().map(record).collect();
    database.record(&records).await.unwrap();
}

async fn ids(database: &Database, filter: &Filter) -> Vec<MessageId> {
    let page = database.messages(Owner::new(ACCOUNT, false), filter, None, 100).await.unwrap();
    page.into_iter().map(|row| row.id).collect()
}

pub(super) async fn pages_give_every_row_once_newest_first(database: Database) {
    // Many of one millisecond, so that a page ends between them.
    let mut rows: Vec<Row> = (0..25).map(|number| row(1000 + number / 10)).collect();
    let strangers = Row { account_id: ACCOUNT + 1, ..row(1001) };
    write(&database, &rows).await;
    write(&database, &[strangers]).await;
    rows.sort_by_key(|row| std::cmp::Reverse((row.create_time, row.id)));

    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = database
            .messages(Owner::new(ACCOUNT, false), &Filter::default(), after, 7)
            .await
            .unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 7);
        after = Some(Cursor { create_time: last.create_time, id: last.id });
        seen.extend(page);
    }
    assert_eq!(seen, rows);
}

/// Whatever else the account sent: those of its test keys, those of one phone, the newest are neither searched for among
/// the rest, nor sorted.
pub(super) async fn a_page_takes_no_longer_among_many_others(database: Database) {
    for batch in 0..20 {
        let many: Vec<_> = (0..1000).map(|number| row(1_000_000 + batch * 1000 + number)).collect();
        write(&database, &many).await;
    }
    let phone = "+8613900139000".to_owned();
    let few = (0..3).flat_map(|time| {
        let test = Row { test: true, ..row(time) };
        let alone = Row { account_id: ACCOUNT + 1, ..row(time) };
        [test, alone, Row { phone_number: phone.clone(), ..row(time) }]
    });
    write(&database, &few.collect::<Vec<_>>()).await;

    let (all, of_phone) = (Filter::default(), Filter { phone: Some(phone), ..Filter::default() });
    let (ours, of_test_keys) = (Owner::new(ACCOUNT, false), Owner::new(ACCOUNT, true));
    let pages = [
        (Owner::new(ACCOUNT + 1, false), &all),
        (of_test_keys, &all),
        (ours, &of_phone),
        (ours, &all),
    ];
    let mut times = [const { Vec::new() }; 4];
    // In turns, so that what slows the machine for a while slows all of them.
    for _ in 0..31 {
        for ((owner, filter), times) in pages.iter().zip(&mut times) {
            let begun = Instant::now();
            let page = database.messages(*owner, filter, None, 3).await.unwrap();
            times.push(begun.elapsed());
            assert_eq!(page.len(), 3);
        }
    }
    let [alone, others @ ..] = times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2]
    });
    for (took, page) in others.into_iter().zip(&pages[1..]) {
        assert!(took < 5 * alone, "{page:?}: {took:?} in place of {alone:?}");
    }
}

pub(super) async fn a_filter_leaves_the_rest_out(database: Database) {
    let wanted = row(1000);
    let others = [
        Row { phone_number: "+8613900139000".to_owned(), ..row(1000) },
        Row { lane: Lane::Notice, ..row(1000) },
        Row { purpose: Some("Login".to_owned()), ..row(1000) },
        Row { purpose: None, ..row(1000) },
        row(999),
        row(1001),
    ];
    write(&database, &others).await;
    write(&database, std::slice::from_ref(&wanted)).await;
    let filter = Filter {
        phone: Some(wanted.phone_number.clone()),
        status: Some(MessageStatus::Sent),
        lane: Some(Lane::Code),
        purpose: wanted.purpose.clone(),
        from: Some(1000),
        to: Some(1001),
    };
    assert_eq!(ids(&database, &filter).await, [wanted.id]);
    assert_eq!(ids(&database, &Filter { from: Some(1001), ..Filter::default() }).await.len(), 1);
    assert_eq!(ids(&database, &Filter { to: Some(1000), ..Filter::default() }).await.len(), 1);
}

pub(super) async fn every_row_is_listed_under_its_status(database: Database) {
    let rows = [
        row(1000),
        failed(1000, "expired"),
        failed(1000, "superseded"),
        failed(1000, "poison"),
        failed(1000, "isv.MOBILE_NUMBER_ILLEGAL"),
        Row { error_code: None, ..failed(1000, "") },
        Row { status: RowStatus::Unknown, ..failed(1000, "timeout") },
    ];
    write(&database, &rows).await;
    for status in [
        MessageStatus::Accepted,
        MessageStatus::Sending,
        MessageStatus::Retrying,
        MessageStatus::Sent,
        MessageStatus::Delivered,
        MessageStatus::Failed,
        MessageStatus::Expired,
        MessageStatus::Superseded,
        MessageStatus::Poison,
        MessageStatus::Unknown,
    ] {
        let filter = Filter { status: Some(status), ..Filter::default() };
        let mut expected: Vec<MessageId> =
            rows.iter().filter(|row| row.message_status() == status).map(|row| row.id).collect();
        expected.sort_by_key(|id| std::cmp::Reverse(*id));
        assert_eq!(ids(&database, &filter).await, expected, "{status:?}");
    }
}

pub(super) async fn dead_letters_come_in_pages(database: Database) {
    for (id, time) in [("a", 5), ("b", 5), ("c", 4), ("B", 5)] {
        let dead = dead_letter(id, time);
        let record = postrider_common::database::sms_log::Record {
            row: None,
            attempts: Vec::new(),
            dead_letter: Some(dead),
        };
        database.record(&[record]).await.unwrap();
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = database.dead_letters(after.clone(), 1).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some((last.create_time, last.id.clone()));
        seen.push(last.id.clone());
    }
    assert_eq!(seen, ["b", "a", "B", "c"]);
}
