//! What is asked of Redis at the same time shares a call of its script, and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::FutureExt as _;
use futures::future::join_all;
use postrider_common::model::job::Lane;
use postrider_common::model::limits::Scope;
use postrider_common::store::{Admit, AdmitAnswer, StoreError, rank};

use tokio::task::JoinSet;

use super::{BEGIN, admit, limit, redis};

#[tokio::test]
async fn one_that_fails_takes_no_others_answer_with_it() {
    let held = redis().await;
    let phones: Vec<String> = (0..20).map(|n| format!("+86138000000{n:02}")).collect();
    let limits = |phone: &str| vec![limit(phone, Scope::Phone, rank::PHONE, 1, 60_000)];
    // A limit of another type: its script fails in the middle of the others' call.
    let client = ::redis::Client::open(held.redis.as_ref().unwrap().url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut spoil = ::redis::cmd("LPUSH");
    spoil.arg(&limits(&phones[7])[0].phone).arg("of another type");
    spoil.exec_async(&mut connection).await.unwrap();

    let asks: Vec<_> = phones.iter().map(|phone| admit(phone, BEGIN, limits(phone))).collect();
    let answers = join_all(asks.iter().map(|ask| held.store.admit(ask))).await;
    for (n, answer) in answers.into_iter().enumerate() {
        match answer {
            Ok(AdmitAnswer::Admitted { message, .. }) if n != 7 => {
                assert_eq!(message.message_id, asks[n].message_id, "the answer of another");
            }
            Err(StoreError::Unavailable(_)) if n == 7 => {}
            other => panic!("{n}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_caller_that_went_away_is_not_counted() {
    let held = redis().await;
    let phone = "+8613800000001";
    let limits = || vec![limit(phone, Scope::Phone, rank::PHONE, 1, 60_000)];
    // Put in line, and dropped before anybody else of this runtime's one thread has run.
    let ask = admit(phone, BEGIN, limits());
    assert!(held.store.admit(&ask).now_or_never().is_none());
    let answer = held.store.admit(&admit(phone, BEGIN, limits())).await.unwrap();
    assert!(matches!(answer, AdmitAnswer::Admitted { .. }), "{answer:?}");
}

#[tokio::test]
async fn a_code_does_not_wait_for_the_notices_before_it() {
    let held = redis().await;
    let (asked, answered) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut notices = JoinSet::new();
    for n in 0..1_000 {
        let code = admit(&format!("+86138{n:08}"), BEGIN, Vec::new());
        let notice = Admit { lane: Lane::Notice, verification: None, ..code };
        let (store, asked, answered) = (held.store.clone(), asked.clone(), answered.clone());
        notices.spawn(async move {
            asked.fetch_add(1, Ordering::Relaxed);
            store.admit(&notice).await.unwrap();
            answered.fetch_add(1, Ordering::Relaxed);
        });
    }
    while asked.load(Ordering::Relaxed) < 1_000 {
        tokio::task::yield_now().await;
    }
    let before = answered.load(Ordering::Relaxed);
    assert!(before < 500, "hardly a line: {before} are answered");
    held.store.admit(&admit("+8613900000000", BEGIN, Vec::new())).await.unwrap();
    let meanwhile = answered.load(Ordering::Relaxed) - before;
    assert!(meanwhile < 100, "{meanwhile} notices, of {} in line, came first", 1_000 - before);
    notices.join_all().await;
}
