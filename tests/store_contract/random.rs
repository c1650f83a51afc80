//! The two stores give the same answers to any sequence of operations and clock steps.

use postrider_common::ids::MessageId;
use postrider_common::limits::Scope;
use postrider_common::store::{
    Admit, Ban, BanCheck, BanSubject, Calling, Explain, GiveBack, Idempotency, Store, StoreError,
    Strike, Take, rank,
};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::strikes::strike;
use super::{BEGIN, admit, claim, limit, live, redis, resolve, settle, sqlite};

#[tokio::test]
async fn both_stores_give_the_same_answers_to_any_sequence() {
    let (redis, sqlite) = (redis().await, sqlite().await);
    for seed in 0..60 {
        same_answers(seed, &redis.store, &sqlite.store).await;
    }
}

/// What two stores are asked alike, at random: few phones and keys, so that they meet.
async fn same_answers(seed: u64, redis: &Store, sqlite: &Store) {
    let mut random = StdRng::seed_from_u64(seed);
    let (mut now, mut messages) = (BEGIN, vec![MessageId::generate()]);
    let (tag, mut taken) = (seed.to_string(), Vec::new());
    for step in 0..60 {
        now += [0, 1, 999, 20_000, 30_000, 60_000, 180_000][random.random_range(0..7)];
        let phone = format!("+86138{tag:0>6}{:02}", random.random_range(0..2));
        let limits = vec![
            limit(&phone, Scope::Phone, rank::PHONE, 1, 60_000),
            limit(&phone, Scope::PhoneAll, rank::PHONE, 4, 300_000),
            limit(&tag, Scope::Global, rank::GLOBAL, 1500, 60_000),
        ];
        let message = messages[random.random_range(0..messages.len())];
        let what = random.random_range(0..15);
        let (ours, theirs) = match what {
            0..=3 => {
                let mut ask =
                    Admit { confirmed: random.random_bool(0.2), ..admit(&phone, now, limits) };
                if random.random_bool(0.4) {
                    let fingerprints = vec![format!("f{}", random.random_range(0..2))];
                    ask.idempotency = Some(Idempotency {
                        key: format!("{tag}/{}", random.random_range(0..2)),
                        fingerprints,
                    });
                }
                ask.strikes = strikes(&phone, &mut random);
                messages.push(ask.message_id);
                (text(redis.admit(&ask).await), text(sqlite.admit(&ask).await))
            }
            4 => (text(redis.withdraw(message).await), text(sqlite.withdraw(message).await)),
            5 => (text(redis.confirm(&[message]).await), text(sqlite.confirm(&[message]).await)),
            6 => (text(redis.doubt(message).await), text(sqlite.doubt(message).await)),
            7 => {
                let read = live(redis, &phone).await;
                assert_eq!(read, live(sqlite, &phone).await, "seed {seed}, step {step}");
                let checks =
                    vec![limit(&format!("check/{phone}"), Scope::Phone, rank::PHONE, 3, 120_000)];
                let mut ask = settle(&phone, now, read, random.random_bool(0.3), checks);
                ask.strikes = strikes(&phone, &mut random);
                (text(redis.settle(&ask).await), text(sqlite.settle(&ask).await))
            }
            8 => {
                let ask = claim(
                    message,
                    random.random_range(1..3),
                    &random.random_range(0..2).to_string(),
                    now,
                );
                (text(redis.claim(&ask).await), text(sqlite.claim(&ask).await))
            }
            9 => (text(redis.archive(&[message]).await), text(sqlite.archive(&[message]).await)),
            10 => {
                let ask = Calling {
                    now: Some(now),
                    message_id: message,
                    generation: 0,
                    attempt: random.random_range(1..3),
                    owner: random.random_range(0..2).to_string(),
                    lease_ms: 20_000,
                    provider: "main".to_owned(),
                };
                (text(redis.calling(&ask).await), text(sqlite.calling(&ask).await))
            }
            11 => {
                let subject = BanSubject::Phone(phone.clone());
                if random.random_bool(0.4) {
                    let bans = [Ban { subject, until: now + 30_000 }];
                    (text(redis.ban(&bans).await), text(sqlite.ban(&bans).await))
                } else {
                    (
                        text(redis.unban(std::slice::from_ref(&subject)).await),
                        text(sqlite.unban(&[subject]).await),
                    )
                }
            }
            12 => {
                let ban_check = BanCheck { phone: Some(phone.clone()), ip_bits: None };
                let ask = Explain { now: Some(now), limits, ban_check };
                (text(redis.explain(&ask).await), text(sqlite.explain(&ask).await))
            }
            13 if taken.is_empty() || random.random_bool(0.6) => {
                let ban_check = BanCheck { phone: Some(phone.clone()), ip_bits: None };
                let entry = format!("{tag}/{step}");
                taken.push(GiveBack { limits: limits.clone(), entry: entry.clone(), at: now });
                let ask = Take { now: Some(now), limits, ban_check, entry };
                (text(redis.take(&ask).await), text(sqlite.take(&ask).await))
            }
            13 => {
                // What was refused is given back too: alike, if wrongly.
                let ask = taken.swap_remove(random.random_range(0..taken.len()));
                (text(redis.give_back(&ask).await), text(sqlite.give_back(&ask).await))
            }
            _ => {
                let mut ask = resolve(message, random.random_range(1..3), "r", now);
                ask.refund = random.random_bool(0.5);
                (text(redis.resolve(&ask).await), text(sqlite.resolve(&ask).await))
            }
        };
        assert_eq!(ours, theirs, "seed {seed}, step {step}, operation {what}, {phone} at {now}");
        let states = (text(redis.message(message).await), text(sqlite.message(message).await));
        assert_eq!(
            states.0, states.1,
            "seed {seed}, step {step}: the state of a message after operation {what}"
        );
    }
}

/// Against the phone and all that begin like it, each or none.
fn strikes(phone: &str, random: &mut StdRng) -> Vec<Strike> {
    let beginning = BanSubject::PhonePrefix(phone[..phone.len() - 1].to_owned());
    let all = [
        strike(BanSubject::Phone(phone.to_owned()), random.random_range(1..4)),
        Strike {
            key: format!("long/{phone}"),
            ban_ms: 7_200_000,
            ..strike(BanSubject::Phone(phone.to_owned()), 3)
        },
        Strike { window_ms: 300_000, ban_ms: 20_000, ..strike(beginning, 5) },
    ];
    all.into_iter().filter(|_| random.random_bool(0.5)).collect()
}

/// An answer to compare: epochs differ by nature.
fn text<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> String {
    let text = format!("{:?}", answer.unwrap());
    match text.split_once("epoch: \"") {
        Some((before, after)) => format!("{before}epoch{}", after.split_once('"').unwrap().1),
        None => text,
    }
}
