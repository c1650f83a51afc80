//! The two stores give the same answers to any sequence of operations and clock steps.

use std::collections::HashMap;

use postrider_common::model::ids::{MessageId, VerificationId};
use postrider_common::model::job::JobVerification;
use postrider_common::model::limits::Scope;
use postrider_common::secrets::KeyId;
use postrider_common::store::{
    Admit, AdmitMany, Ban, BanCheck, BanSubject, Call, Claim, ClaimVerification, Explain, GiveBack,
    Idempotency, LimitCheck, MessageStatus, Store, StoreError, Strike, StrikeAccounts, Take, rank,
};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::strikes::strike;
use super::{BEGIN, admit, claim, limit, live, redis, resolve, settle, sqlite};

#[tokio::test]
async fn both_stores_give_the_same_answers_to_any_sequence() {
    let (redis, sqlite) = (redis().await, sqlite().await);
    for seed in 0..100 {
        same_answers(seed, &redis.store, &sqlite.store).await;
    }
}

/// What messages come to.
const STATUSES: [MessageStatus; 5] = [
    MessageStatus::Failed,
    MessageStatus::Expired,
    MessageStatus::Retrying,
    MessageStatus::Sent,
    MessageStatus::Superseded,
];

/// Asks both stores the same.
macro_rules! both {
    ($stores:expr, $operation:ident($ask:expr)) => {{
        let ask = $ask;
        (text($stores.0.$operation(ask).await), text($stores.1.$operation(ask).await))
    }};
}

/// What was asked so far, and when.
struct Sequence {
    random: StdRng,
    tag: String,
    now: i64,
    /// As in the embedded form: guard and enqueue are one step.
    confirmed: bool,
    messages: Vec<MessageId>,
    /// Of those, by message.
    phones: HashMap<MessageId, String>,
    /// By the keys that they are derived from.
    derived: HashMap<String, MessageId>,
    taken: Vec<GiveBack>,
}

/// What two stores are asked alike, at random: few phones and keys, so that they meet.
async fn same_answers(seed: u64, redis: &Store, sqlite: &Store) {
    let mut sequence = Sequence {
        random: StdRng::seed_from_u64(seed),
        tag: seed.to_string(),
        now: BEGIN,
        confirmed: seed.is_multiple_of(5),
        messages: vec![MessageId::generate()],
        phones: HashMap::new(),
        derived: HashMap::new(),
        taken: Vec::new(),
    };
    for step in 0..60 {
        let at = format!("seed {seed}, step {step}");
        sequence.now +=
            [0, 1, 999, 20_000, 30_000, 60_000, 180_000][sequence.random.random_range(0..7)];
        let message = sequence.messages[sequence.random.random_range(0..sequence.messages.len())];
        let what = sequence.random.random_range(0..17);
        // Nobody works on what isn't accepted yet: then on one that never is.
        let derived = sequence.derived.values().any(|id| *id == message);
        let early = derived && redis.message(message).await.unwrap().is_none();
        let message = if early { sequence.messages[0] } else { message };
        let (ours, theirs) = sequence.ask((redis, sqlite), what, message, &at).await;
        assert_eq!(ours, theirs, "{at}, operation {what} at {}", sequence.now);
        let (ours, theirs) = both!((redis, sqlite), message(message));
        assert_eq!(ours, theirs, "{at}: the state of a message after operation {what}");
    }
}

impl Sequence {
    fn phone(&mut self) -> String {
        format!("+86138{:0>6}{:02}", self.tag, self.random.random_range(0..2))
    }

    fn limits(&mut self, phone: &str) -> Vec<LimitCheck> {
        let purpose = format!("{phone}:{}", self.random.random_range(0..3));
        vec![
            limit(phone, Scope::Phone, rank::PHONE, 1, 60_000),
            limit(&purpose, Scope::PhonePurpose, rank::PHONE, 2, 150_000),
            limit(phone, Scope::PhoneAll, rank::PHONE, 4, 300_000),
            limit(&self.tag, Scope::Global, rank::GLOBAL, 1500, 60_000),
        ]
    }

    /// Few keys and bodies, of sends, checks and batches alike.
    fn idempotency(&mut self) -> Option<Idempotency> {
        let key = format!("{}/{}", self.tag, self.random.random_range(0..3));
        let fingerprints = vec![format!("f{}", self.random.random_range(0..2))];
        self.random.random_bool(0.4).then_some(Idempotency { key, fingerprints })
    }

    fn send(&mut self) -> Admit {
        let phone = self.phone();
        let mut ask = admit(&phone, self.now, self.limits(&phone));
        ask.confirmed = self.confirmed;
        ask.idempotency = self.idempotency();
        let key = ["0a0b0c0d", "00000000"][usize::from(self.random.random_bool(0.1))];
        ask.known_keys = vec![KeyId::from(key)];
        ask.strikes = strikes(&phone, &mut self.random);
        if self.random.random_bool(0.25) {
            // One that comes again under its id and its key.
            let key = format!("{}/of/{phone}", self.tag);
            ask.message_id = *self.derived.entry(key.clone()).or_insert(ask.message_id);
            let fingerprints = vec![format!("f{}", self.random.random_range(0..2))];
            ask.idempotency = Some(Idempotency { key, fingerprints });
        }
        self.messages.push(ask.message_id);
        self.phones.insert(ask.message_id, phone);
        ask
    }

    fn batch(&mut self) -> AdmitMany {
        let items = (0..self.random.random_range(0..5)).map(|_| self.send()).collect();
        let batch = self.idempotency();
        AdmitMany { batch, ..super::batch::batch(self.now, items) }
    }

    async fn ask(
        &mut self,
        stores: (&Store, &Store),
        what: u32,
        message: MessageId,
        at: &str,
    ) -> (String, String) {
        match what {
            0..=2 => both!(stores, admit(&self.send())),
            3..=5 => both!(stores, admit_many(&self.batch())),
            6 => both!(stores, withdraw(message)),
            7 => both!(stores, confirm(&[message])),
            8 => both!(stores, doubt(message)),
            9 => {
                let phone = self.phone();
                let read = live(stores.0, &phone).await;
                assert_eq!(read, live(stores.1, &phone).await, "{at}");
                let checks =
                    vec![limit(&format!("check/{phone}"), Scope::Phone, rank::PHONE, 3, 120_000)];
                let right = self.random.random_bool(0.3);
                let mut ask = settle(&phone, self.now, read, right, checks);
                ask.strikes = strikes(&phone, &mut self.random);
                ask.ban_check.account_phone = Some(format!("7/{phone}"));
                ask.idempotency = self.idempotency();
                both!(stores, settle(&ask))
            }
            10 => both!(stores, archive(&[message])),
            11..=12 => {
                let state = stores.0.message(message).await.unwrap();
                // One that was withdrawn is put back for the messages of a store that lost its data alone.
                let verification = match state.and_then(|state| state.verification_id) {
                    Some(id) => stores.0.verification(id, Some(BEGIN)).await.unwrap(),
                    None => None,
                };
                let verification = verification.map(|known| known.id);
                both!(stores, claim(&self.claim(message, verification)))
            }
            13 => {
                let subject = BanSubject::Phone(self.phone());
                if self.random.random_bool(0.4) {
                    both!(
                        stores,
                        ban(&[Ban { subject: subject.clone(), until: self.now + 30_000 }])
                    )
                } else {
                    both!(stores, unban(std::slice::from_ref(&subject)))
                }
            }
            14 => {
                let phone = self.phone();
                let (now, limits) = (Some(self.now), self.limits(&phone));
                let account_phone = Some(format!("7/{phone}"));
                let ban_check = BanCheck { phone: Some(phone), ip_bits: None, account_phone };
                both!(stores, explain(&Explain { now, limits, ban_check }))
            }
            15 if self.taken.is_empty() || self.random.random_bool(0.6) => {
                let (ask, entry) = self.take(at);
                let (ours, theirs) = both!(stores, take(&ask));
                if ours.contains("Taken") {
                    self.taken.push(entry);
                }
                (ours, theirs)
            }
            15 => {
                let given_back = self.random.random_range(0..self.taken.len());
                both!(stores, give_back(&self.taken.swap_remove(given_back)))
            }
            _ => {
                let mut ask = resolve(message, self.random.random_range(1..3), "r", self.now);
                ask.refund = self.random.random_bool(0.5);
                ask.status = STATUSES[self.random.random_range(0..STATUSES.len())];
                let phone = self.phone();
                let ours = live(stores.0, &phone).await;
                ask.verification = ours.filter(|_| ask.refund);
                both!(stores, resolve(&ask))
            }
        }
    }

    fn claim(&mut self, message: MessageId, verification: Option<VerificationId>) -> Claim {
        let attempt = self.random.random_range(1..3);
        let owner = self.random.random_range(0..2).to_string();
        let begin_by = self.now + [-1, 0, 1, 60_000][self.random.random_range(0..4)];
        let call = Call { provider: format!("p{owner}"), begin_by };
        let call = self.random.random_bool(0.7).then_some(call);
        let phone = self.phones.get(&message).cloned().unwrap_or_default();
        let verification = verification.map(|id| self.verification(id, &phone));
        let supersedable = self.random.random_bool(0.7);
        Claim { call, verification, supersedable, ..claim(message, attempt, &owner, self.now) }
    }

    /// As a job of an earlier or of the last message has it.
    fn verification(&mut self, id: VerificationId, phone: &str) -> ClaimVerification {
        let expires_at = self.now + [0, 60_000, 180_000][self.random.random_range(0..3)];
        ClaimVerification {
            subject: format!("7/login/{phone}"),
            account_id: super::ACCOUNT.id,
            purpose: "login".to_owned(),
            key_id: KeyId::from("0a0b0c0d"),
            max_sends: 3,
            job: JobVerification {
                id,
                digits: 6,
                ttl_ms: 180_000,
                first_at: self.now,
                expires_at,
                sends: 1,
                max_attempts: 5,
                remember_ms: 780_000,
            },
        }
    }

    /// What to take, and how to give it back.
    fn take(&mut self, entry: &str) -> (Take, GiveBack) {
        let phone = self.phone();
        let (limits, entry) = (self.limits(&phone), entry.to_owned());
        let given_back = GiveBack { limits: limits.clone(), entry: entry.clone(), at: self.now };
        let ban_check = BanCheck { phone: Some(phone), ..BanCheck::default() };
        (Take { now: Some(self.now), limits, ban_check, entry }, given_back)
    }
}

/// Against the phone, all that begin like it, an account's checks of it and a network, each or none.
fn strikes(phone: &str, random: &mut StdRng) -> Vec<Strike> {
    let beginning = BanSubject::PhonePrefix(phone[..phone.len() - 1].to_owned());
    let network = BanSubject::Network("01".repeat(random.random_range(60..64)));
    let all = [
        strike(BanSubject::Phone(phone.to_owned()), random.random_range(1..4)),
        Strike {
            key: format!("long/{phone}"),
            ban_ms: 7_200_000,
            ..strike(BanSubject::Phone(phone.to_owned()), 3)
        },
        Strike { window_ms: 300_000, ban_ms: 20_000, ..strike(beginning, 5) },
        Strike {
            key: format!("network/{phone}"),
            entry: Some(random.random_range(0..3).to_string()),
            ..strike(network, 2)
        },
        Strike {
            accounts: Some(StrikeAccounts { account_id: random.random_range(7..11), min: 2 }),
            ban_ms: 20_000,
            ..strike(BanSubject::AccountPhone(format!("7/{phone}")), 4)
        },
    ];
    all.into_iter().filter(|_| random.random_bool(0.5)).collect()
}

/// An answer to compare: epochs differ by nature.
fn text<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> String {
    let text = format!("{:?}", answer.unwrap());
    let mut parts = text.split("epoch: \"");
    let before = parts.next().unwrap_or_default().to_owned();
    parts.fold(before, |text, part| format!("{text}epoch{}", part.split_once('"').unwrap().1))
}
