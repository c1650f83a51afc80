//! What is asked of Redis at the same time shares a call of its script, and nothing else.

use futures::FutureExt as _;
use futures::future::join_all;
use postrider_common::limits::Scope;
use postrider_common::store::{AdmitAnswer, StoreError, rank};

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
    spoil.arg(&limits(&phones[7])[0].key).arg("of another type");
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
