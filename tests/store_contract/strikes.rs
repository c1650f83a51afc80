//! Automatic bans: what counts against a phone or an address, and what enough of it does.

use postrider_common::address;
use postrider_common::limits::Scope;
use postrider_common::store::{
    Admit, AdmitAnswer, Ban, BanCheck, BanSubject, LimitCheck, Settle, SettleAnswer, Store, Strike,
    rank,
};

use super::{BEGIN, accepted, admit, limit, live, settle};

const PHONE: &str = "+8613800000001";
const IP: &str = "203.0.113.9";

pub(super) fn strike(subject: BanSubject, threshold: u32) -> Strike {
    let key = format!("strike/{subject:?}/{threshold}");
    Strike { key, threshold, window_ms: 60_000, ban_ms: 3_600_000, subject }
}

fn phone() -> BanSubject {
    BanSubject::Phone(PHONE.to_owned())
}

fn network() -> BanSubject {
    BanSubject::Network(address::bits(IP.parse().unwrap()))
}

fn ban_check() -> BanCheck {
    BanCheck { phone: Some(PHONE.to_owned()), ip_bits: Some(address::bits(IP.parse().unwrap())) }
}

fn send(now: i64, limits: Vec<LimitCheck>, strikes: Vec<Strike>) -> Admit {
    Admit { strikes, ban_check: ban_check(), ..admit(PHONE, now, limits) }
}

fn phone_limit() -> Vec<LimitCheck> {
    vec![limit(PHONE, Scope::Phone, rank::PHONE, 1, 600_000)]
}

/// The bans that a refused send made.
async fn struck(store: &Store, ask: &Admit) -> Vec<Ban> {
    match store.admit(ask).await.unwrap() {
        AdmitAnswer::Limited { struck, .. } | AdmitAnswer::MaxSends { struck, .. } => struck,
        other => panic!("not refused: {other:?}"),
    }
}

pub(super) async fn refusals_that_reach_the_threshold_within_the_window_ban(store: Store) {
    let at = |now| send(now, phone_limit(), vec![strike(phone(), 3)]);
    accepted(store.admit(&at(BEGIN)).await.unwrap());
    for after in [1, 2, 60_001, 60_002] {
        // The first two have left the window when the next come.
        assert_eq!(struck(&store, &at(BEGIN + after)).await, [], "{after}");
    }
    let until = BEGIN + 60_003 + 3_600_000;
    let made = [Ban { subject: phone(), until }];
    assert_eq!(struck(&store, &at(BEGIN + 60_003)).await, made);
    let elsewhere = send(BEGIN + 60_004, Vec::new(), Vec::new());
    let banned = store.admit(&elsewhere).await.unwrap();
    assert!(matches!(banned, AdmitAnswer::Banned { until: till, .. } if till == until));
    let over = Admit { now: Some(until), ..elsewhere };
    assert!(matches!(store.admit(&over).await.unwrap(), AdmitAnswer::Admitted { .. }));
}

pub(super) async fn a_threshold_of_one_bans_at_once_and_its_window_begins_anew(store: Store) {
    let at = |now| send(now, phone_limit(), vec![strike(phone(), 1), strike(network(), 2)]);
    accepted(store.admit(&at(BEGIN)).await.unwrap());
    let until = BEGIN + 1 + 3_600_000;
    assert_eq!(struck(&store, &at(BEGIN + 1)).await, [Ban { subject: phone(), until }]);
    assert_eq!(struck(&store, &at(BEGIN + 2)).await, [], "who is banned already strikes nothing");
    store.unban(&[phone()]).await.unwrap();
    let until = BEGIN + 3 + 3_600_000;
    let both = [phone(), network()].map(|subject| Ban { subject, until });
    assert_eq!(struck(&store, &at(BEGIN + 3)).await, both, "phone and address at once");
    store.unban(&[phone(), network()]).await.unwrap();
    let until = BEGIN + 4 + 3_600_000;
    assert_eq!(
        struck(&store, &at(BEGIN + 4)).await,
        [Ban { subject: phone(), until }],
        "the address's window was emptied"
    );
}

pub(super) async fn a_request_that_comes_again_under_its_id_strikes_each_time(store: Store) {
    accepted(store.admit(&send(BEGIN, phone_limit(), Vec::new())).await.unwrap());
    let first = send(BEGIN + 1, phone_limit(), vec![strike(phone(), 3)]);
    assert_eq!(struck(&store, &first).await, []);
    assert_eq!(struck(&store, &Admit { now: Some(BEGIN + 2), ..first.clone() }).await, []);
    let third = Admit { now: Some(BEGIN + 2), ..first };
    assert_eq!(struck(&store, &third).await.len(), 1, "also within a millisecond");
}

pub(super) async fn a_ban_that_is_there_is_never_shortened(store: Store) {
    // Neither the phone nor the address is looked for, so that the bans don't refuse first.
    let at = |now| {
        let strikes = vec![strike(phone(), 1), strike(network(), 1)];
        let ban_check = BanCheck { phone: None, ip_bits: None };
        Admit { ban_check, ..send(now, phone_limit(), strikes) }
    };
    accepted(store.admit(&at(BEGIN)).await.unwrap());
    let for_good = Ban { subject: phone(), until: 0 };
    let for_long = Ban { subject: network(), until: BEGIN + 7_200_000 };
    store.ban(&[for_good, for_long]).await.unwrap();
    assert_eq!(struck(&store, &at(BEGIN + 1)).await, []);
    let banned = store.admit(&send(BEGIN + 7_199_999, Vec::new(), Vec::new())).await.unwrap();
    assert!(matches!(banned, AdmitAnswer::Banned { until: 0, .. }), "{banned:?}");
    store.unban(&[phone()]).await.unwrap();
    let banned = store.admit(&send(BEGIN + 7_199_999, Vec::new(), Vec::new())).await.unwrap();
    let until = BEGIN + 7_200_000;
    assert!(matches!(banned, AdmitAnswer::Banned { until: till, .. } if till == until));
    store.ban(&[Ban { subject: phone(), until: BEGIN + 3 }]).await.unwrap();
    let until = BEGIN + 2 + 3_600_000;
    assert_eq!(struck(&store, &at(BEGIN + 2)).await, [Ban { subject: phone(), until }]);
}

pub(super) async fn one_subject_may_be_struck_by_two_windows(store: Store) {
    let strikes = || {
        let long = Strike { key: "long".to_owned(), ban_ms: 86_400_000, ..strike(phone(), 2) };
        vec![strike(phone(), 2), long]
    };
    accepted(store.admit(&send(BEGIN, phone_limit(), strikes())).await.unwrap());
    assert_eq!(struck(&store, &send(BEGIN + 1, phone_limit(), strikes())).await, []);
    let until = BEGIN + 2 + 86_400_000;
    assert_eq!(
        struck(&store, &send(BEGIN + 2, phone_limit(), strikes())).await,
        [Ban { subject: phone(), until }]
    );
}

pub(super) async fn only_what_speaks_against_phone_or_address_strikes_a_send(store: Store) {
    let one = || vec![strike(phone(), 1)];
    let refused_by = async |name: &str, scope, rank| {
        let limits = || vec![limit(name, scope, rank, 1, 600_000)];
        let notice = |now| Admit { verification: None, ..send(now, limits(), one()) };
        accepted(store.admit(&notice(BEGIN)).await.unwrap());
        let bans = struck(&store, &notice(BEGIN + 1)).await;
        store.unban(&[phone()]).await.unwrap();
        !bans.is_empty()
    };
    assert!(refused_by("ip", Scope::Ip, rank::IP).await);
    assert!(refused_by("prefix", Scope::Prefix, rank::PREFIX).await);
    assert!(!refused_by("account", Scope::Account, rank::ACCOUNT).await);
    assert!(!refused_by("all", Scope::Global, rank::GLOBAL).await);
    for _ in 0..3 {
        accepted(store.admit(&send(BEGIN, Vec::new(), one())).await.unwrap());
    }
    assert_eq!(struck(&store, &send(BEGIN, Vec::new(), one())).await.len(), 1, "max_sends strikes");
}

pub(super) async fn a_failed_check_strikes_phone_and_address_and_a_refused_one_nothing(
    store: Store,
) {
    let limits = || vec![limit("checks", Scope::Phone, rank::PHONE, 100, 60_000)];
    let strikes = || vec![strike(network(), 2), strike(phone(), 7)];
    let check = |now, read, right| Settle {
        strikes: strikes(),
        ban_check: BanCheck { phone: Some(PHONE.to_owned()), ip_bits: None },
        ..settle(PHONE, now, read, right, limits())
    };
    let made = async |ask: Settle| match store.settle(&ask).await.unwrap() {
        SettleAnswer::NotSent { struck, .. }
        | SettleAnswer::Expired { struck, .. }
        | SettleAnswer::Spent { struck, .. }
        | SettleAnswer::Mismatch { struck, .. } => struck.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!(made(check(BEGIN, None, false)).await, 0, "not sent: the address's first");
    accepted(store.admit(&admit(PHONE, BEGIN, Vec::new())).await.unwrap());
    let read = live(&store, PHONE).await;
    let mut struck = Vec::new();
    for after in 1..=5 {
        struck.push(made(check(BEGIN + after, read, false)).await);
    }
    assert_eq!(
        struck,
        [1, 0, 1, 0, 1],
        "every second failure bans the address, which isn't asked for"
    );
    assert_eq!(made(check(BEGIN + 6, read, true)).await, 0, "spent, but the code is right");
    assert_eq!(made(check(BEGIN + 7, read, false)).await, 0, "spent: the phone's sixth");
    assert_eq!(made(check(BEGIN + 7, read, false)).await, 2, "spent: the phone's seventh");
    let banned = store.settle(&check(BEGIN + 8, read, false)).await.unwrap();
    assert!(matches!(banned, SettleAnswer::Banned { .. }), "{banned:?}");
    store.unban(&[phone(), network()]).await.unwrap();
    let one = |now, right, limits| Settle {
        strikes: vec![strike(phone(), 1)],
        ..settle(PHONE, now, read, right, limits)
    };
    let full = || vec![limit("checks", Scope::Phone, rank::PHONE, 1, 600_000)];
    assert_eq!(made(one(BEGIN + 180_000, true, full())).await, 0, "expired");
    let limited = store.settle(&one(BEGIN + 180_001, false, full())).await.unwrap();
    assert!(matches!(limited, SettleAnswer::Limited { .. }), "{limited:?}");
    let elsewhere = Admit { now: Some(BEGIN + 180_002), ..admit(PHONE, BEGIN, Vec::new()) };
    accepted(store.admit(&elsewhere).await.unwrap());
}

pub(super) async fn a_check_of_nothing_that_lives_strikes_the_address_alone(store: Store) {
    let check = |now, read| {
        let strikes = vec![strike(phone(), 1), strike(network(), 1)];
        let ban_check = BanCheck { phone: Some(PHONE.to_owned()), ip_bits: None };
        Settle { strikes, ban_check, ..settle(PHONE, now, read, false, Vec::new()) }
    };
    let ban = |now| Ban { subject: network(), until: now + 3_600_000 };
    for after in 0..3 {
        let now = BEGIN + after;
        let limits = Vec::new();
        let answer = store.settle(&check(now, None)).await.unwrap();
        assert_eq!(answer, SettleAnswer::NotSent { limits, struck: vec![ban(now)] });
    }
    accepted(store.admit(&admit(PHONE, BEGIN, Vec::new())).await.unwrap());
    let read = live(&store, PHONE).await;
    let (now, limits) = (BEGIN + 180_000, Vec::new());
    let answer = store.settle(&check(now, read)).await.unwrap();
    assert_eq!(answer, SettleAnswer::Expired { limits, struck: vec![ban(now)] });
    let limits = Vec::new();
    accepted(store.admit(&admit(PHONE, now, limits)).await.unwrap());
    let read = live(&store, PHONE).await;
    let answer = store.settle(&check(now + 1, read)).await.unwrap();
    assert!(matches!(answer, SettleAnswer::Mismatch { struck, .. } if struck.len() == 2));
}
