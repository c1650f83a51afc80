//! Automatic bans: what counts against a phone or an address, and what enough of it does.

use postrider_common::model::address;
use postrider_common::model::limits::Scope;
use postrider_common::store::{
    Admit, AdmitAnswer, Ban, BanCheck, BanSubject, Explain, LimitCheck, Settle, SettleAnswer,
    Store, Strike, StrikeAccounts, rank,
};

use super::{BEGIN, accepted, admit, limit, live, settle};

const PHONE: &str = "+8613800000001";
const IP: &str = "203.0.113.9";

pub(super) fn strike(subject: BanSubject, threshold: u32) -> Strike {
    let key = format!("strike/{subject:?}/{threshold}");
    Strike {
        key,
        threshold,
        window_ms: 60_000,
        ban_ms: 3_600_000,
        subject,
        entry: None,
        accounts: None,
    }
}

fn phone() -> BanSubject {
    BanSubject::Phone(PHONE.to_owned())
}

fn network() -> BanSubject {
    BanSubject::Network(address::bits(IP.parse().unwrap()))
}

fn ban_check() -> BanCheck {
    BanCheck {
        phone: Some(PHONE.to_owned()),
        ip_bits: Some(address::bits(IP.parse().unwrap())),
        account_phone: None,
    }
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
        let ban_check = BanCheck::default();
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

pub(super) async fn an_entry_counts_once_within_a_window_at_its_latest_time(store: Store) {
    let at = |now, entry: &str| {
        let strike = Strike { entry: Some(entry.to_owned()), ..strike(network(), 3) };
        send(now, phone_limit(), vec![strike])
    };
    accepted(store.admit(&at(BEGIN, "a")).await.unwrap());
    for after in [1, 2, 2, 3, 50_000] {
        assert_eq!(struck(&store, &at(BEGIN + after, "a")).await, [], "{after}");
    }
    assert_eq!(struck(&store, &at(BEGIN + 50_001, "b")).await, []);
    assert_eq!(struck(&store, &at(BEGIN + 109_999, "b")).await, [], "a counts, at its latest time");
    let third = struck(&store, &at(BEGIN + 109_999, "c")).await;
    assert_eq!(third, [Ban { subject: network(), until: BEGIN + 109_999 + 3_600_000 }]);
    store.unban(&[network()]).await.unwrap();
    for (after, entry) in [(110_000, "a"), (110_001, "b"), (170_000, "c"), (170_001, "d")] {
        assert_eq!(struck(&store, &at(BEGIN + after, entry)).await, [], "{entry}: begun anew");
    }
    assert_eq!(struck(&store, &at(BEGIN + 170_002, "e")).await.len(), 1);
}

pub(super) async fn a_ban_may_need_failures_of_several_accounts(store: Store) {
    let at = |now, account_id| {
        let accounts = Some(StrikeAccounts { account_id, min: 3 });
        send(now, phone_limit(), vec![Strike { accounts, ..strike(phone(), 4) }])
    };
    accepted(store.admit(&at(BEGIN, 7)).await.unwrap());
    for (after, account) in (1..9).map(|after| (after, 7)).chain([(9, 8), (10, 8)]) {
        assert_eq!(struck(&store, &at(BEGIN + after, account)).await, [], "{after} of {account}");
    }
    let made = struck(&store, &at(BEGIN + 11, 9)).await;
    assert_eq!(made, [Ban { subject: phone(), until: BEGIN + 11 + 3_600_000 }]);
    store.unban(&[phone()]).await.unwrap();
    for (after, account) in [(12, 7), (13, 8), (14, 9), (60_013, 7), (60_014, 10)] {
        let made = struck(&store, &at(BEGIN + after, account)).await;
        assert_eq!(made, [], "{after}: begun anew, and what left the window doesn't count");
    }
    assert_eq!(struck(&store, &at(BEGIN + 60_015, 10)).await, [], "three failures of two accounts");
    assert_eq!(struck(&store, &at(BEGIN + 60_016, 11)).await.len(), 1);
}

pub(super) async fn a_ban_of_an_accounts_checks_of_a_phone_hits_those_alone(store: Store) {
    let pair = "7/+8613800000001".to_owned();
    let until = BEGIN + 1000;
    let ban = Ban { subject: BanSubject::AccountPhone(pair.clone()), until };
    accepted(store.admit(&admit(PHONE, BEGIN, Vec::new())).await.unwrap());
    let read = live(&store, PHONE).await;
    let check = |now, account_phone: &str| {
        let account_phone = Some(account_phone.to_owned());
        let ban_check = BanCheck { account_phone, ..ban_check() };
        Settle { ban_check, ..settle(PHONE, now, read, false, Vec::new()) }
    };
    let strike = strike(ban.subject.clone(), 1);
    let failed = Settle { strikes: vec![strike.clone()], ..check(BEGIN, &pair) };
    let answer = store.settle(&failed).await.unwrap();
    let made = [Ban { until: BEGIN + strike.ban_ms, ..ban.clone() }];
    assert!(matches!(answer, SettleAnswer::Mismatch { struck, .. } if struck == made));
    store.ban(std::slice::from_ref(&ban)).await.unwrap();
    let answer = store.settle(&check(BEGIN + 1, &pair)).await.unwrap();
    assert!(matches!(answer, SettleAnswer::Banned { until: till, .. } if till == until));
    for other in ["8/+8613800000001", "7/+861380000000", "7/+86138000000011"] {
        let answer = store.settle(&check(BEGIN + 1, other)).await.unwrap();
        assert!(matches!(answer, SettleAnswer::Mismatch { .. }), "{other}: {answer:?}");
    }
    accepted(store.admit(&send(BEGIN + 1, Vec::new(), Vec::new())).await.unwrap());
    let prefix = BanSubject::PhonePrefix("+8613".to_owned());
    let wider = Ban { subject: prefix.clone(), until: 0 };
    store.ban(std::slice::from_ref(&wider)).await.unwrap();
    let (now, limits) = (Some(BEGIN + 2), Vec::new());
    let explain = Explain { now, limits, ban_check: check(BEGIN, &pair).ban_check };
    let bans = store.explain(&explain).await.unwrap().bans;
    assert_eq!(bans, [wider, ban.clone()], "the widest first");
    store.unban(&[prefix, ban.subject.clone()]).await.unwrap();
    let answer = store.settle(&check(BEGIN + 2, &pair)).await.unwrap();
    assert!(matches!(answer, SettleAnswer::Mismatch { .. }), "{answer:?}");
    store.ban(&[ban]).await.unwrap();
    store.sweep_bans(Some(until)).await.unwrap();
    let over = store.explain(&explain).await.unwrap().bans;
    assert_eq!(over, [], "swept once it is over");
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
        ban_check: BanCheck { phone: Some(PHONE.to_owned()), ..BanCheck::default() },
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
        let ban_check = BanCheck { phone: Some(PHONE.to_owned()), ..BanCheck::default() };
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
