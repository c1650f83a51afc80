//! How long a list of bans may grow: what it costs to look something up in it, and what is dropped from it.

use std::time::{Duration, Instant};

use postrider_common::model::address;
use postrider_common::store::{
    Admit, AdmitAnswer, Ban, BanCheck, BanSubject, Banned, Explain, Settle, SettleAnswer, Store,
};

use super::{BEGIN, accepted, admit, live, redis, settle};

const EACH: usize = 100_000;
const PHONE: &str = "+8613800000001";
const IP: &str = "203.0.113.9";
/// A look through all of them takes at least ten times as long.
const SOON: Duration = Duration::from_millis(20);

async fn ban_many(store: &Store, subject: impl Fn(usize) -> BanSubject) {
    let bans: Vec<_> = (0..EACH).map(|n| Ban { subject: subject(n), until: 0 }).collect();
    for part in bans.chunks(2_000) {
        store.ban(part).await.unwrap();
    }
}

/// The bits of an IPv4 address by its number; those beyond the last begin anew.
fn nth(n: usize) -> String {
    let number = u32::try_from(n % (1 << 32)).unwrap();
    address::bits(std::net::Ipv4Addr::from_bits(number).into())
}

/// Phones, beginnings of phones, and networks of 13 lengths; none hits phone or address.
async fn fill(store: &Store) {
    ban_many(store, |n| BanSubject::Phone(format!("+86139{n:08}"))).await;
    ban_many(store, |n| BanSubject::PhonePrefix(format!("+4479{n:06}"))).await;
    ban_many(store, |n| {
        let bits = nth(0x0a00_0000 + (n << 12));
        BanSubject::Network(bits[..128 - n % 13].to_owned())
    })
    .await;
}

/// The shortest of five: others work on this machine too.
async fn shortest<F: Future<Output = ()>>(ask: impl Fn(i64) -> F) -> Duration {
    let mut shortest = Duration::MAX;
    for after in 0..5 {
        let begun = Instant::now();
        ask(BEGIN + after).await;
        shortest = shortest.min(begun.elapsed());
    }
    shortest
}

fn ban_check() -> BanCheck {
    BanCheck {
        phone: Some(PHONE.to_owned()),
        ip_bits: Some(address::bits(IP.parse().unwrap())),
        account_phone: None,
    }
}

fn send(now: i64) -> Admit {
    Admit { ban_check: ban_check(), verification: None, ..admit(PHONE, now, Vec::new()) }
}

pub(super) async fn many_bans_slow_nobody_down(store: Store) {
    accepted(store.admit(&admit(PHONE, BEGIN, Vec::new())).await.unwrap());
    let read = live(&store, PHONE).await;
    let (store, check) = (&store, &|now| Settle {
        ban_check: ban_check(),
        ..settle(PHONE, now, read, true, Vec::new())
    });
    let admitting = async |now| drop(accepted(store.admit(&send(now)).await.unwrap()));
    let settling = async |now| drop(store.settle(&check(now)).await.unwrap());
    let empty = (shortest(admitting).await, shortest(settling).await);
    fill(store).await;
    let full = (shortest(admitting).await, shortest(settling).await);
    assert!(full.0 < SOON && full.1 < SOON, "{full:?}, and without bans {empty:?}");

    let network = address::bits(IP.parse().unwrap())[..120].to_owned();
    store.ban(&[Ban { subject: BanSubject::Network(network), until: 0 }]).await.unwrap();
    let hit = store.settle(&check(BEGIN + 5)).await.unwrap();
    assert!(matches!(hit, SettleAnswer::Banned { what: Banned::Ip, .. }), "{hit:?}");
    let prefix = BanSubject::PhonePrefix("+8613".to_owned());
    store.ban(&[Ban { subject: prefix, until: 0 }]).await.unwrap();
    let hit = store.admit(&send(BEGIN + 5)).await.unwrap();
    assert!(matches!(hit, AdmitAnswer::Banned { what: Banned::Phone, .. }), "{hit:?}");
}

/// A ban of each kind that ends at this time, `n` of them.
fn ending(until: i64, n: usize) -> Vec<Ban> {
    (0..n)
        .flat_map(|n| {
            let bits = nth(n);
            [
                BanSubject::Phone(format!("+86139{n:08}")),
                BanSubject::PhonePrefix(format!("+4479{n:06}")),
                BanSubject::Network(bits),
            ]
        })
        .map(|subject| Ban { subject, until })
        .collect()
}

pub(super) async fn bans_that_ended_are_forgotten(store: Store) {
    let (network, short) = (address::bits(IP.parse().unwrap()), BEGIN + 1_000);
    let stand = [
        Ban { subject: BanSubject::Phone(PHONE.to_owned()), until: 0 },
        Ban { subject: BanSubject::PhonePrefix("+8613".to_owned()), until: short + 1 },
        Ban { subject: BanSubject::Network(network[..120].to_owned()), until: short + 1 },
    ];
    store.ban(&stand).await.unwrap();
    store.ban(&ending(short, 600)).await.unwrap();
    store.sweep_bans(Some(short)).await.unwrap();
    // At a time when all were in force, so that only what was forgotten doesn't hit.
    let bans = async |phone: &str, ip: &str| {
        let ip_bits = Some(address::bits(ip.parse().unwrap()));
        let ban_check = BanCheck { phone: Some(phone.to_owned()), ip_bits, account_phone: None };
        let ask = Explain { now: Some(BEGIN), limits: Vec::new(), ban_check };
        store.explain(&ask).await.unwrap().bans
    };
    let [phone, prefix, network] = stand;
    assert_eq!(bans("+8613800000001", IP).await, [phone, prefix, network]);
    for n in [0_u32, 1, 599] {
        let ip = std::net::Ipv4Addr::from_bits(n).to_string();
        assert_eq!(bans(&format!("+4479{n:06}"), &ip).await, [], "{n}");
    }
    store.ban(&ending(short, 1)).await.unwrap();
    assert_eq!(bans("+4479000000", "0.0.0.0").await.len(), 2, "their lengths are known again");
}

#[tokio::test]
async fn redis_keeps_nothing_of_bans_that_ended() {
    let held = redis().await;
    held.store.ban(&ending(BEGIN, 600)).await.unwrap();
    held.store.sweep_bans(Some(BEGIN)).await.unwrap();
    let client = ::redis::Client::open(held.redis.as_ref().unwrap().url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut ask = ::redis::cmd("HGETALL");
    let mut left: Vec<(String, String)> =
        ask.arg("bans").query_async(&mut connection).await.unwrap();
    left.sort();
    let lengths = |kind: &str| (format!("lengths:{kind}"), "{}".to_owned());
    assert_eq!(left, [lengths("network"), lengths("phone_prefix")]);
}
