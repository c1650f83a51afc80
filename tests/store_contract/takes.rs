//! Limits and bans without a message: entries taken and given back, and how they stand.

use postrider_common::model::address;
use postrider_common::model::limits::Scope;
use postrider_common::store::{
    Ban, BanCheck, BanSubject, Explain, Explained, GiveBack, LimitCheck, LimitUse, Store, Take,
    TakeAnswer, rank,
};

use super::{BEGIN, accepted, admit, limit};

const PHONE: &str = "+8613800000001";
const IP: &str = "203.0.113.9";

fn limits() -> Vec<LimitCheck> {
    vec![
        limit("one", Scope::Ip, rank::IP, 1, 60_000),
        limit("few", Scope::Ip, rank::IP, 3, 600_000),
        limit("many", Scope::Global, rank::GLOBAL, 2000, 600_000),
    ]
}

fn ban_check() -> BanCheck {
    BanCheck {
        phone: Some(PHONE.to_owned()),
        ip_bits: Some(address::bits(IP.parse().unwrap())),
        account_phone: None,
    }
}

fn take(entry: &str, now: i64) -> Take {
    Take { now: Some(now), limits: limits(), ban_check: ban_check(), entry: entry.to_owned() }
}

async fn explain(store: &Store, now: i64) -> Explained {
    let ask = Explain { now: Some(now), limits: limits(), ban_check: ban_check() };
    store.explain(&ask).await.unwrap()
}

async fn used(store: &Store, now: i64) -> Vec<u32> {
    explain(store, now).await.limits.iter().map(|limit| limit.used).collect()
}

pub(super) async fn an_entry_is_taken_in_all_limits_or_in_none_and_given_back(store: Store) {
    let taken = store.take(&take("a", BEGIN)).await.unwrap();
    assert!(matches!(&taken, TakeAnswer::Taken { at: BEGIN, limits } if limits.len() == 3));
    let refused = store.take(&take("b", BEGIN + 1)).await.unwrap();
    assert!(
        matches!(refused, TakeAnswer::Limited { index: 0, wait_ms: 59_999, .. }),
        "{refused:?}"
    );
    assert_eq!(used(&store, BEGIN + 1).await, [1, 1, 1], "what was refused counts nowhere");
    let give_back = |entry: &str, at| GiveBack { limits: limits(), entry: entry.to_owned(), at };
    store.take(&take("b", BEGIN + 60_000)).await.unwrap();
    store.give_back(&give_back("a", BEGIN)).await.unwrap();
    assert_eq!(used(&store, BEGIN + 60_001).await, [1, 1, 1], "what b took stays");
    store.give_back(&give_back("b", BEGIN + 60_000)).await.unwrap();
    assert_eq!(used(&store, BEGIN + 60_001).await, [0, 0, 0]);
    let again = store.take(&take("c", BEGIN + 60_002)).await.unwrap();
    assert!(matches!(again, TakeAnswer::Taken { .. }), "{again:?}");
}

pub(super) async fn a_ban_refuses_to_take_in_its_rank(store: Store) {
    let network = BanSubject::Network(address::bits(IP.parse().unwrap()));
    store.ban(&[Ban { subject: network, until: 0 }]).await.unwrap();
    let refused = store.take(&take("a", BEGIN)).await.unwrap();
    assert!(matches!(refused, TakeAnswer::Banned { until: 0, .. }), "{refused:?}");
    assert_eq!(used(&store, BEGIN).await, [0, 0, 0]);
    let phone = BanCheck { ip_bits: None, ..ban_check() };
    let taken = store.take(&Take { ban_check: phone, ..take("a", BEGIN) }).await.unwrap();
    assert!(matches!(taken, TakeAnswer::Taken { .. }), "{taken:?}");
    let refused = store.take(&take("b", BEGIN + 1)).await.unwrap();
    assert!(matches!(refused, TakeAnswer::Limited { index: 0, .. }), "{refused:?}");
}

pub(super) async fn explaining_names_every_ban_and_counts_nothing(store: Store) {
    let network = |text: &str| BanSubject::Network(address::network_bits(text.parse().unwrap()));
    let bans = [
        Ban { subject: BanSubject::Phone(PHONE.to_owned()), until: BEGIN + 60_000 },
        Ban { subject: BanSubject::PhonePrefix("+86".to_owned()), until: 0 },
        Ban { subject: BanSubject::PhonePrefix("+86138".to_owned()), until: BEGIN + 5 },
        Ban { subject: network("203.0.113.0/24"), until: 0 },
        Ban { subject: network("203.0.113.9/32"), until: 0 },
    ];
    let strangers = [
        Ban { subject: BanSubject::PhonePrefix("+87".to_owned()), until: 0 },
        Ban { subject: network("198.51.100.0/24"), until: 0 },
    ];
    let notice =
        postrider_common::store::Admit { verification: None, ..admit(PHONE, BEGIN, limits()) };
    accepted(store.admit(&notice).await.unwrap());
    store.ban(&strangers).await.unwrap();
    store.ban(&bans).await.unwrap();
    let limits = vec![
        LimitUse { used: 1, remaining: 0, wait_ms: 59_999 },
        LimitUse { used: 1, remaining: 2, wait_ms: 0 },
        LimitUse { used: 1, remaining: 1999, wait_ms: 0 },
    ];
    let at = |now, bans: &[Ban]| Explained { now, limits: limits.clone(), bans: bans.to_vec() };
    assert_eq!(explain(&store, BEGIN + 1).await, at(BEGIN + 1, &bans));
    assert_eq!(explain(&store, BEGIN + 1).await, at(BEGIN + 1, &bans), "it counts nothing");
    let [phone, wide, _over, wider, narrow] = bans;
    let later = explain(&store, BEGIN + 5).await;
    assert_eq!(later.bans, [phone, wide, wider, narrow]);
    let nothing = Explain { now: Some(BEGIN), limits: Vec::new(), ban_check: BanCheck::default() };
    let empty = Explained { now: BEGIN, limits: Vec::new(), bans: Vec::new() };
    assert_eq!(store.explain(&nothing).await.unwrap(), empty);
}
