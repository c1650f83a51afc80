//! What every message costs in this crate: the guard's request as `MessagePack`, the job's encoding and decoding, the code.
#![expect(clippy::expect_used, reason = "what is measured is made of constants")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use postrider_common::model::code::Code;
use postrider_common::model::ids::{MessageId, VerificationId};
use postrider_common::model::job::{
    Contents, EarlierAttempts, Job, JobVerification, Lane, WIRE_NAME,
};
use postrider_common::model::limits::Scope;
use postrider_common::model::phone::PhoneNumber;
use postrider_common::model::template::Params;
use postrider_common::secrets::KeyRing;
use postrider_common::store::redis::wire;
use postrider_common::store::{
    About, AccountCheck, Admit, BanCheck, LimitCheck, NewVerification, rank,
};

fn keys() -> KeyRing {
    "a-secret-of-the-bench-of-more-than-32-bytes".parse().expect("a long secret")
}

fn job(keys: &KeyRing) -> Job {
    let message_id = MessageId::generate();
    let phone = PhoneNumber::from_e164("+8613800138000").expect("a phone number");
    let contents = Contents { phone, params: Params::new(), client_ip: None };
    Job {
        v: WIRE_NAME.to_owned(),
        message_id,
        account_id: 7,
        test: false,
        lane: Lane::Code,
        purpose: "login".to_owned(),
        template: "verify".to_owned(),
        raw_template: false,
        verification: Some(JobVerification {
            id: VerificationId::generate(),
            digits: 6,
            ttl_ms: 180_000,
            first_at: 1_800_000_000_000,
            expires_at: 1_800_000_180_000,
            sends: 1,
            max_attempts: 5,
            remember_ms: 780_000,
        }),
        key_id: keys.current().id.clone(),
        accepted_at: 1_800_000_000_000,
        deadline: 1_800_000_120_000,
        epoch: "0198c0de-0000-7000-8000-000000000000".to_owned(),
        generation: 0,
        attempt: 1,
        snoozed: 0,
        wait_ms: 0,
        tried: Vec::new(),
        attempts: Vec::new(),
        earlier: EarlierAttempts::default(),
        sealed: contents.seal(keys, message_id),
    }
}

/// With a limit in each scope.
fn admit(keys: &KeyRing) -> Admit {
    let scopes = [
        (Scope::Phone, rank::PHONE),
        (Scope::PhonePurpose, rank::PHONE),
        (Scope::PhoneAll, rank::PHONE),
        (Scope::Ip, rank::IP),
        (Scope::Account, rank::ACCOUNT),
        (Scope::Prefix, rank::PREFIX),
        (Scope::Global, rank::GLOBAL),
    ];
    let limit = |(scope, rank): (Scope, u8)| LimitCheck {
        key: format!("limit:code:{}:7:+8613800138000:login:5/3600s", scope.policy()),
        scope,
        quota: 5,
        window_ms: 3_600_000,
        rank,
        phone: scope.is_phone().then(|| "limit:code:+8613800138000".to_owned()),
    };
    Admit {
        now: None,
        account: AccountCheck { id: 7, version: 1 },
        owner: 7,
        message_id: MessageId::generate(),
        lane: Lane::Code,
        idempotency: None,
        subject: "code:7:login:+8613800138000".to_owned(),
        limits: scopes.map(limit).into(),
        ban_check: BanCheck {
            phone: Some("+8613800138000".to_owned()),
            ip_bits: Some("01".repeat(64)),
            account_phone: None,
        },
        strikes: Vec::new(),
        verification: Some(NewVerification {
            id: VerificationId::generate(),
            subject: "code:7:login:+8613800138000".to_owned(),
            account_id: 7,
            purpose: "login".to_owned(),
            key_id: keys.current().id.clone(),
            digits: 6,
            ttl_ms: 180_000,
            max_attempts: 5,
            max_sends: 5,
            remember_ms: 780_000,
        }),
        known_keys: keys.ids(),
        ttl_ms: 180_000,
        confirmed: false,
        about: About {
            phone: "+86138****8000".to_owned(),
            purpose: "login".to_owned(),
            template: "verify".to_owned(),
            client_ip: None,
        },
    }
}

fn hot_path(criterion: &mut Criterion) {
    let keys = keys();
    let (job, admit) = (job(&keys), admit(&keys));
    let encoded = job.encode();
    let verification = VerificationId::generate();
    criterion.bench_function("guard request to MessagePack", |b| {
        b.iter(|| wire::encode(black_box(&admit)));
    });
    criterion.bench_function("job to JSON", |b| b.iter(|| black_box(&job).encode()));
    criterion.bench_function("job from JSON", |b| b.iter(|| Job::decode(black_box(&encoded))));
    criterion.bench_function("job's sealed part opened", |b| {
        b.iter(|| Contents::open(&keys, job.message_id, black_box(&job.sealed)));
    });
    criterion.bench_function("code derived", |b| {
        b.iter(|| Code::derive(&keys.current().code, black_box(verification), 6));
    });
}

criterion_group!(benches, hot_path);
criterion_main!(benches);
