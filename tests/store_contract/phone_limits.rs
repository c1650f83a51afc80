//! A phone's limits, which Redis keeps together as long as they are few.

use postrider_common::model::limits::Scope;
use postrider_common::store::{Admit, AdmitAnswer, Store, rank};

use super::{BEGIN, accepted, admit, limit};

const PHONE: &str = "+8613800000001";
/// More than are kept together.
const PURPOSES: i64 = 100;
const WINDOW: i64 = 60_000;

/// So many of the purpose within the window, and 2,000 of all.
fn one_of(quota: u32, purpose: i64, now: i64) -> Admit {
    let limits = vec![
        limit(&format!("{PHONE}:{purpose}"), Scope::PhonePurpose, rank::PHONE, quota, WINDOW),
        limit(PHONE, Scope::PhoneAll, rank::PHONE, 2000, WINDOW),
    ];
    Admit { verification: None, ..admit(PHONE, now, limits) }
}

fn notice(purpose: i64, now: i64) -> Admit {
    one_of(1, purpose, now)
}

async fn send(store: &Store, purpose: i64, now: i64) {
    accepted(store.admit(&notice(purpose, now)).await.unwrap());
}

async fn refused(store: &Store, purpose: i64, now: i64, wait: i64) {
    let answer = store.admit(&notice(purpose, now)).await.unwrap();
    assert!(
        matches!(answer, AdmitAnswer::Limited { index: 0, wait_ms, .. } if wait_ms == wait),
        "purpose {purpose}: {answer:?}"
    );
}

pub(super) async fn each_of_a_phones_many_limits_counts(store: Store) {
    for purpose in 0..PURPOSES {
        send(&store, purpose, BEGIN + purpose).await;
    }
    for purpose in 0..PURPOSES {
        refused(&store, purpose, BEGIN + PURPOSES, WINDOW + purpose - PURPOSES).await;
    }
    // In the other order, so that what had a key of its own finds room beside the others, and these don't.
    for purpose in (0..PURPOSES).rev() {
        refused(&store, purpose, BEGIN + WINDOW + purpose - 1, 1).await;
    }
    // Some of them with room beside the others, and some without.
    let later = BEGIN + WINDOW + PURPOSES;
    for purpose in (0..PURPOSES).rev() {
        send(&store, purpose, later).await;
    }
    for purpose in 0..PURPOSES {
        refused(&store, purpose, later + 1, WINDOW - 1).await;
    }
}

pub(super) async fn a_phones_limits_are_given_back_one_by_one(store: Store) {
    let mut sent = Vec::new();
    for purpose in 0..PURPOSES {
        let unconfirmed = Admit { confirmed: false, ..notice(purpose, BEGIN + purpose) };
        sent.push(accepted(store.admit(&unconfirmed).await.unwrap()).message_id);
    }
    for taken_back in [3, 99] {
        store.withdraw(sent[taken_back]).await.unwrap();
    }
    for purpose in 0..PURPOSES {
        let now = BEGIN + PURPOSES;
        if [3, 99].contains(&purpose) {
            send(&store, purpose, now).await;
        } else {
            refused(&store, purpose, now, WINDOW + purpose - PURPOSES).await;
        }
    }
}

pub(super) async fn a_limit_that_found_no_room_is_given_back_as_well(store: Store) {
    for purpose in 0..PURPOSES {
        send(&store, purpose, BEGIN).await;
    }
    // Of 100, the first with the others of its time, the second when these are gone and there is room again.
    let two = |now| Admit { confirmed: false, ..one_of(2, 100, now) };
    let first = accepted(store.admit(&two(BEGIN + WINDOW - 1)).await.unwrap());
    let later = BEGIN + WINDOW + 20_000;
    let second = accepted(store.admit(&two(later)).await.unwrap());
    for message in [first, second] {
        store.withdraw(message.message_id).await.unwrap();
    }
    for now in [later + 1, later + 2] {
        accepted(store.admit(&one_of(2, 100, now)).await.unwrap());
    }
    let refused = store.admit(&one_of(2, 100, later + 3)).await.unwrap();
    assert!(matches!(refused, AdmitAnswer::Limited { index: 0, .. }), "{refused:?}");
}

pub(super) async fn a_limit_holds_where_the_clock_was_put_back(store: Store) {
    send(&store, 1, BEGIN).await;
    // The first one's window is over by then, and a moment later it isn't.
    send(&store, 2, BEGIN + WINDOW).await;
    refused(&store, 1, BEGIN + WINDOW - 1000, 1000).await;
}
