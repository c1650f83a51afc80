//! Many messages asked for at once: one step, in their order, repeated item by item.

use futures::future::join_all;
use postrider_common::model::ids::MessageId;
use postrider_common::model::limits::Scope;
use postrider_common::store::{
    AccountCheck, Admit, AdmitAnswer, AdmitMany, AdmitManyAnswer, Ban, BanSubject, Idempotency,
    LimitCheck, MOST_AT_ONCE, Settle, SettleAnswer, Store, StoreError, rank,
};

use super::{ACCOUNT, BEGIN, admit, limit, live, redis, settle};

pub(super) fn batch(now: i64, items: Vec<Admit>) -> AdmitMany {
    AdmitMany { now: Some(now), account: ACCOUNT, batch: None, items }
}

fn keyed(key: &str, fingerprint: &str) -> Idempotency {
    Idempotency { key: key.to_owned(), fingerprints: vec![fingerprint.to_owned()] }
}

fn phone(n: usize) -> String {
    format!("+86138{n:08}")
}

fn phone_and_account(n: usize, of_account: u32) -> Vec<LimitCheck> {
    vec![
        limit(&phone(n), Scope::Phone, rank::PHONE, 1, 60_000),
        limit("account", Scope::Account, rank::ACCOUNT, of_account, 60_000),
    ]
}

/// A notice; what it says of time doesn't count.
fn notice(n: usize, limits: Vec<LimitCheck>) -> Admit {
    Admit { now: None, verification: None, ..admit(&phone(n), 0, limits) }
}

async fn decided(store: &Store, request: &AdmitMany) -> Vec<AdmitAnswer> {
    match store.admit_many(request).await.unwrap() {
        AdmitManyAnswer::Decided { answers } => answers,
        other => panic!("not decided: {other:?}"),
    }
}

/// Each answer in a word, with the place of the limit that refused.
fn words(answers: &[AdmitAnswer]) -> Vec<String> {
    let word = |answer: &AdmitAnswer| match answer {
        AdmitAnswer::Limited { index, .. } => format!("limited by {index}"),
        AdmitAnswer::Admitted { again: true, .. } => "again".to_owned(),
        AdmitAnswer::Admitted { .. } => "admitted".to_owned(),
        AdmitAnswer::Replayed(_) => "replayed".to_owned(),
        AdmitAnswer::InFlight { .. } => "in flight".to_owned(),
        AdmitAnswer::Banned { .. } => "banned".to_owned(),
        other => panic!("{other:?}"),
    };
    answers.iter().map(word).collect()
}

pub(super) async fn items_are_decided_in_their_order_each_seeing_what_those_before_it_counted(
    store: Store,
) {
    store.ban(&[Ban { subject: BanSubject::Phone(phone(2)), until: 0 }]).await.unwrap();
    let items: Vec<Admit> =
        [1, 2, 1, 3, 4].map(|n| notice(n, phone_and_account(n, 2))).into_iter().collect();
    let answers = decided(&store, &batch(BEGIN, items.clone())).await;
    assert_eq!(words(&answers), ["admitted", "banned", "limited by 0", "admitted", "limited by 1"]);
    let ids: Vec<_> = items.iter().map(|item| item.message_id).collect();
    for (place, answer) in answers.iter().enumerate() {
        let written = store.message(ids[place]).await.unwrap().map(|state| state.accepted_at);
        match answer {
            AdmitAnswer::Admitted { message, limits, .. } => {
                assert_eq!((message.message_id, message.accepted_at), (ids[place], BEGIN));
                assert_eq!(written, Some(BEGIN));
                let left: Vec<_> = limits.iter().map(|limit| limit.remaining).collect();
                assert_eq!(left, if place == 0 { [0, 1] } else { [0, 0] });
            }
            _ => assert_eq!(written, None, "what is refused is not written down"),
        }
    }
    let alone = store.admit(&Admit { now: Some(BEGIN + 1), ..items[3].clone() }).await.unwrap();
    assert_eq!(words(&[alone]), ["limited by 0"], "batches and single sends share their windows");
    assert_eq!(decided(&store, &batch(BEGIN, Vec::new())).await, []);
}

pub(super) async fn a_repeat_of_a_batch_is_answered_item_by_item(store: Store) {
    let ask = |now| {
        let item = |n: usize| Admit {
            idempotency: Some(keyed(&format!("item {n}"), "body")),
            confirmed: false,
            ..notice(n, phone_and_account(n, 10))
        };
        AdmitMany { batch: Some(keyed("batch", "body")), ..batch(now, (1..=4).map(item).collect()) }
    };
    let first = decided(&store, &ask(BEGIN)).await;
    let ids: Vec<MessageId> = first
        .iter()
        .map(|answer| match answer {
            AdmitAnswer::Admitted { message, again: false, .. } => message.message_id,
            other => panic!("{other:?}"),
        })
        .collect();
    store.confirm(&[ids[0]]).await.unwrap();
    store.doubt(ids[1]).await.unwrap();
    store.withdraw(ids[2]).await.unwrap();
    let second = decided(&store, &ask(BEGIN + 10)).await;
    assert_eq!(words(&second), ["replayed", "again", "admitted", "in flight"]);
    assert!(matches!(&second[0], AdmitAnswer::Replayed(message) if message.message_id == ids[0]));
    match &second[1] {
        AdmitAnswer::Admitted { message, limits, .. } => {
            assert_eq!((message.message_id, message.accepted_at), (ids[1], BEGIN));
            assert_eq!(
                limits[1].remaining, 7,
                "three stand: it is counted once, one was withdrawn"
            );
        }
        other => panic!("{other:?}"),
    }
    let later = decided(&store, &ask(BEGIN + 30_010)).await;
    assert_eq!(words(&later), ["replayed", "again", "again", "again"]);
}

pub(super) async fn a_batch_key_with_another_body_decides_nothing(store: Store) {
    let ask = |now, body: &str, n| AdmitMany {
        batch: Some(keyed("batch", body)),
        ..batch(now, vec![notice(n, Vec::new())])
    };
    decided(&store, &ask(BEGIN, "a", 1)).await;
    let other = ask(BEGIN + 1, "b", 2);
    let answer = store.admit_many(&other).await.unwrap();
    assert!(matches!(answer, AdmitManyAnswer::KeyReused { .. }), "{answer:?}");
    assert_eq!(store.message(other.items[0].message_id).await.unwrap(), None);
    let after_a_day = ask(BEGIN + 86_400_000, "b", 2);
    assert_eq!(words(&decided(&store, &after_a_day).await), ["admitted"]);
}

pub(super) async fn a_batch_that_is_refused_as_a_whole_keeps_no_key(store: Store) {
    let ask = |now, body: &str, items| AdmitMany {
        batch: Some(keyed("batch", body)),
        ..batch(now, items)
    };
    assert_eq!(decided(&store, &ask(BEGIN, "none", Vec::new())).await, []);
    store.ban(&[Ban { subject: BanSubject::Phone(phone(1)), until: 0 }]).await.unwrap();
    let refused = ask(BEGIN + 1, "refused", vec![notice(1, Vec::new())]);
    assert_eq!(words(&decided(&store, &refused).await), ["banned"], "no items: no key");
    let some = ask(BEGIN + 2, "some", vec![notice(1, Vec::new()), notice(2, Vec::new())]);
    assert_eq!(words(&decided(&store, &some).await), ["banned", "admitted"], "all refused");
    let answer = store.admit_many(&refused).await.unwrap();
    assert!(matches!(answer, AdmitManyAnswer::KeyReused { .. }), "{answer:?}");

    // A replay keeps a batch's key as well.
    let item = Admit { idempotency: Some(keyed("item", "body")), ..notice(3, Vec::new()) };
    let again = |body: &str| AdmitMany {
        batch: Some(keyed("another", body)),
        ..batch(BEGIN + 3, vec![item.clone()])
    };
    store.admit(&Admit { now: Some(BEGIN + 2), ..item.clone() }).await.unwrap();
    assert_eq!(words(&decided(&store, &again("a")).await), ["replayed"]);
    let answer = store.admit_many(&again("b")).await.unwrap();
    assert!(matches!(answer, AdmitManyAnswer::KeyReused { .. }), "{answer:?}");
}

pub(super) async fn a_send_a_check_and_a_batch_never_answer_for_each_other(store: Store) {
    let send = |key: &str, now| Admit {
        idempotency: Some(keyed(key, "body")),
        ..admit(&phone(1), now, Vec::new())
    };
    let many = |key: &str, now| AdmitMany {
        batch: Some(keyed(key, "body")),
        ..batch(now, vec![notice(2, Vec::new())])
    };
    store.admit(&send("send", BEGIN)).await.unwrap();
    decided(&store, &many("batch", BEGIN)).await;
    let read = live(&store, &phone(1)).await;
    let check = |key: &str, now| Settle {
        idempotency: Some(keyed(key, "body")),
        ..settle(&phone(1), now, read, true, Vec::new())
    };
    store.settle(&check("check", BEGIN)).await.unwrap();
    for key in ["batch", "check"] {
        let answer = store.admit(&send(key, BEGIN + 1)).await.unwrap();
        assert!(
            matches!(answer, AdmitAnswer::KeyReused { fingerprint: None }),
            "{key}: {answer:?}"
        );
    }
    for key in ["send", "check"] {
        let answer = store.admit_many(&many(key, BEGIN + 1)).await.unwrap();
        assert!(
            matches!(answer, AdmitManyAnswer::KeyReused { fingerprint: None }),
            "{key}: {answer:?}"
        );
    }
    for key in ["send", "batch"] {
        let answer = store.settle(&check(key, BEGIN + 1)).await.unwrap();
        assert!(
            matches!(answer, SettleAnswer::KeyReused { fingerprint: None }),
            "{key}: {answer:?}"
        );
    }
    // A day later each key is free, whatever it was of.
    let day = BEGIN + 86_400_000;
    assert_eq!(words(&[store.admit(&send("check", day)).await.unwrap()]), ["admitted"]);
    let read = live(&store, &phone(1)).await;
    let first = Settle { read, ..check("send", day) };
    for again in [false, true] {
        let answer = store.settle(&first).await.unwrap();
        assert!(
            matches!(answer, SettleAnswer::Approved { first, .. } if first != again),
            "{answer:?}"
        );
    }
}

pub(super) async fn fifty_items_are_one_step(store: Store) {
    let item = |n| notice(n, vec![limit("all", Scope::Global, rank::GLOBAL, 60, 60_000)]);
    let asks: Vec<_> = (0..4)
        .map(|b| batch(BEGIN, (0..MOST_AT_ONCE).map(|n| item(b * MOST_AT_ONCE + n)).collect()))
        .collect();
    let answers = join_all(asks.iter().map(|ask| decided(&store, ask))).await;
    let mut admitted: Vec<usize> = answers
        .iter()
        .map(|answers| {
            let words = words(answers);
            assert_eq!(words.len(), MOST_AT_ONCE);
            assert!(words.is_sorted(), "whoever is first is admitted first: {words:?}");
            words.iter().filter(|word| *word == "admitted").count()
        })
        .collect();
    admitted.sort_unstable();
    assert_eq!(admitted, [0, 0, 10, 50], "no other batch comes between a batch's items");
    let too_many = batch(BEGIN, (0..=MOST_AT_ONCE).map(item).collect());
    assert!(matches!(store.admit_many(&too_many).await, Err(StoreError::Broken(_))));
}

pub(super) async fn a_batch_of_an_outdated_account_decides_nothing(store: Store) {
    let ask = AdmitMany {
        account: AccountCheck { version: ACCOUNT.version + 1, ..ACCOUNT },
        batch: Some(keyed("batch", "body")),
        ..batch(BEGIN, vec![notice(1, Vec::new())])
    };
    assert_eq!(store.admit_many(&ask).await.unwrap(), AdmitManyAnswer::StaleAccount);
    assert_eq!(store.message(ask.items[0].message_id).await.unwrap(), None);
    let other = AdmitMany { account: ACCOUNT, batch: Some(keyed("batch", "other")), ..ask };
    assert_eq!(words(&decided(&store, &other).await), ["admitted"], "the key was not spent");
}

#[tokio::test]
async fn a_store_that_lost_its_data_decides_about_no_batch() {
    let held = redis().await;
    held.redis.as_ref().unwrap().empty().await;
    let ask = batch(BEGIN, vec![notice(1, Vec::new())]);
    assert!(matches!(held.store.admit_many(&ask).await, Err(StoreError::Lost)));
}
