//! What the code store promises, asserted alike over Redis and SQLite.

mod batch;
mod many_bans;
mod random;
mod strikes;
mod takes;
mod together;

use futures::future::join_all;
use postrider_common::address;
use postrider_common::database::Database;
use postrider_common::ids::{MessageId, VerificationId};
use postrider_common::job::Lane;
use postrider_common::limits::Scope;
use postrider_common::secret::KeyId;
use postrider_common::sqlite::Sqlite;
use postrider_common::store::redis::RedisStore;
use postrider_common::store::sqlite::SqliteStore;
use postrider_common::store::{
    About, AccountCheck, Admit, AdmitAnswer, Ban, BanCheck, BanSubject, Call, Claim,
    ClaimVerification, Claimed, Explain, Idempotency, LimitCheck, MessageStatus, NewVerification,
    Read, Resolve, ResolveAnswer, Settle, SettleAnswer, Store, StoreError, Take, Which, rank,
};

use self::batch::{
    a_batch_key_with_another_body_decides_nothing, a_batch_of_an_outdated_account_decides_nothing,
    a_batch_that_is_refused_as_a_whole_keeps_no_key, a_repeat_of_a_batch_is_answered_item_by_item,
    a_send_a_check_and_a_batch_never_answer_for_each_other, fifty_items_are_one_step,
    items_are_decided_in_their_order_each_seeing_what_those_before_it_counted,
};
use self::many_bans::{bans_that_ended_are_forgotten, many_bans_slow_nobody_down};
use self::strikes::{
    a_ban_that_is_there_is_never_shortened,
    a_check_of_nothing_that_lives_strikes_the_address_alone,
    a_failed_check_strikes_phone_and_address_and_a_refused_one_nothing,
    a_request_that_comes_again_under_its_id_strikes_each_time,
    a_threshold_of_one_bans_at_once_and_its_window_begins_anew,
    one_subject_may_be_struck_by_two_windows,
    only_what_speaks_against_phone_or_address_strikes_a_send,
    refusals_that_reach_the_threshold_within_the_window_ban,
};
use self::takes::{
    a_ban_refuses_to_take_in_its_rank, an_entry_is_taken_in_all_limits_or_in_none_and_given_back,
    explaining_names_every_ban_and_counts_nothing,
};
use crate::harness::services::{self, Redis};

const ACCOUNT: AccountCheck = AccountCheck { id: 7, version: 1 };
/// A time to begin at: any will do, as long as it is that of every request.
const BEGIN: i64 = 1_800_000_000_000;

struct Held {
    store: Store,
    redis: Option<Redis>,
    _folder: Option<tempfile::TempDir>,
}

async fn redis() -> Held {
    let redis = services::redis().await;
    let store = Store::Redis(RedisStore::new(&redis.url().into()).unwrap());
    assert!(matches!(store.epoch().await, Err(StoreError::Lost)), "a new Redis has no epoch");
    store.restore(Vec::new()).await.unwrap();
    store.set_account_version(ACCOUNT.id, ACCOUNT.version).await.unwrap();
    Held { store, redis: Some(redis), _folder: None }
}

async fn sqlite() -> Held {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = Sqlite::open(&folder.path().join("test.db")).await.unwrap();
    Database::sqlite(sqlite.clone()).migrate().await.unwrap();
    let store = Store::Sqlite(SqliteStore::new(sqlite));
    store.set_account_version(ACCOUNT.id, ACCOUNT.version).await.unwrap();
    Held { store, redis: None, _folder: Some(folder) }
}

fn limit(key: &str, scope: Scope, rank: u8, quota: u32, window_ms: i64) -> LimitCheck {
    LimitCheck {
        key: format!("{key}/{quota}"),
        scope,
        quota,
        window_ms,
        rank,
        refund: scope.is_phone(),
    }
}

fn admit(phone: &str, now: i64, limits: Vec<LimitCheck>) -> Admit {
    Admit {
        now: Some(now),
        account: ACCOUNT,
        owner: ACCOUNT.id,
        message_id: MessageId::generate(),
        lane: Lane::Code,
        idempotency: None,
        subject: format!("code/{phone}"),
        limits,
        ban_check: BanCheck { phone: Some(phone.to_owned()), ip_bits: None },
        strikes: Vec::new(),
        verification: Some(NewVerification {
            id: VerificationId::generate(),
            subject: format!("7/login/{phone}"),
            account_id: ACCOUNT.id,
            purpose: "login".to_owned(),
            key_id: KeyId::from("0a0b0c0d"),
            digits: 6,
            ttl_ms: 180_000,
            max_attempts: 5,
            max_sends: 3,
            remember_ms: 780_000,
        }),
        ttl_ms: 180_000,
        confirmed: true,
        about: About {
            phone: "+86138****0000".to_owned(),
            purpose: "login".to_owned(),
            template: "verify".to_owned(),
        },
    }
}

fn settle(
    phone: &str,
    now: i64,
    read: Option<VerificationId>,
    right: bool,
    limits: Vec<LimitCheck>,
) -> Settle {
    Settle {
        now: Some(now),
        account: ACCOUNT,
        owner: ACCOUNT.id,
        which: Which::Subject(format!("7/login/{phone}")),
        read,
        right,
        idempotency: None,
        limits,
        ban_check: BanCheck { phone: Some(phone.to_owned()), ip_bits: None },
        strikes: Vec::new(),
    }
}

async fn live(store: &Store, phone: &str) -> Option<VerificationId> {
    let which = Which::Subject(format!("7/login/{phone}"));
    store.read(&Read { account_id: ACCOUNT.id, which }).await.unwrap().map(|live| live.id)
}

fn claim(message_id: MessageId, attempt: u32, owner: &str, now: i64) -> Claim {
    Claim {
        now: Some(now),
        message_id,
        generation: 0,
        attempt,
        owner: owner.to_owned(),
        lease_ms: 20_000,
        keep_until: now + 3_600_000,
        epoch: "another".to_owned(),
        redelivered: false,
        max_claims: 5,
        verification: None,
        call: None,
    }
}

fn resolve(message_id: MessageId, attempt: u32, resolution: &str, now: i64) -> Resolve {
    Resolve {
        now: Some(now),
        message_id,
        generation: 0,
        attempt,
        resolution: resolution.to_owned(),
        status: MessageStatus::Failed,
        attempts: Vec::new(),
        verification: None,
        finished: true,
        refund: true,
        lane: Lane::Code,
    }
}

fn accepted(answer: AdmitAnswer) -> postrider_common::store::Accepted {
    match answer {
        AdmitAnswer::Admitted { message, again: false, .. } => message,
        other => panic!("not admitted: {other:?}"),
    }
}

async fn windows_are_exact_at_their_edge(store: Store) {
    for (n, quota) in [1_u32, 3, 2000].into_iter().enumerate() {
        let phone = format!("+86138000000{n}");
        let limits = || vec![limit(&phone, Scope::Phone, rank::PHONE, quota, 60_000)];
        let notice = |now| Admit { verification: None, ..admit(&phone, now, limits()) };
        for _ in 0..quota {
            accepted(store.admit(&notice(BEGIN)).await.unwrap());
        }
        let refused = store.admit(&notice(BEGIN + 59_999)).await.unwrap();
        assert!(matches!(refused, AdmitAnswer::Limited { index: 0, .. }), "{quota}: {refused:?}");
        // Above 1,000 a window is counted in sixtieths, at most one too strict.
        let edge = if quota > 1000 { 61_000 } else { 60_000 };
        accepted(store.admit(&notice(BEGIN + edge)).await.unwrap());
    }
}

async fn refusals_come_in_their_order_and_count_nothing(store: Store) {
    let phone = "+8613800000001";
    let limits = || {
        vec![
            limit("phone", Scope::Phone, rank::PHONE, 2, 60_000),
            limit("ip", Scope::Ip, rank::IP, 1, 60_000),
            limit("all", Scope::Global, rank::GLOBAL, 1, 60_000),
        ]
    };
    accepted(store.admit(&admit(phone, BEGIN, limits())).await.unwrap());
    for _ in 0..5 {
        let answer = store.admit(&admit(phone, BEGIN + 1, limits())).await.unwrap();
        assert!(
            matches!(answer, AdmitAnswer::Limited { index: 1, wait_ms: 59_999, .. }),
            "{answer:?}"
        );
    }
    store.ban(&[Ban { subject: BanSubject::Phone(phone.to_owned()), until: 0 }]).await.unwrap();
    let answer = store.admit(&admit(phone, BEGIN + 2, vec![limits().remove(2)])).await.unwrap();
    assert!(
        matches!(answer, AdmitAnswer::Banned { .. }),
        "a ban comes before the global limit: {answer:?}"
    );
    store.unban(&[BanSubject::Phone(phone.to_owned())]).await.unwrap();
    let answer = store.admit(&admit(phone, BEGIN + 3, vec![limits().remove(0)])).await.unwrap();
    assert!(
        matches!(answer, AdmitAnswer::Admitted { .. }),
        "the refusals left room in the phone's window: {answer:?}"
    );
}

async fn a_repeat_is_answered_by_its_key(store: Store) {
    let keyed = |fingerprint: &str, now| {
        let idempotency =
            Some(Idempotency { key: "k".to_owned(), fingerprints: vec![fingerprint.to_owned()] });
        Admit { idempotency, confirmed: false, ..admit("+8613800000001", now, Vec::new()) }
    };
    let first = accepted(store.admit(&keyed("a", BEGIN)).await.unwrap());
    assert_eq!(store.admit(&keyed("b", BEGIN)).await.unwrap(), AdmitAnswer::KeyReused);
    assert_eq!(
        store.admit(&keyed("a", BEGIN + 10)).await.unwrap(),
        AdmitAnswer::InFlight { wait_ms: 29_990 }
    );
    let taken_over = store.admit(&keyed("a", BEGIN + 30_000)).await.unwrap();
    assert!(
        matches!(&taken_over, AdmitAnswer::Admitted { message, again: true, .. } if *message == first)
    );
    store.doubt(first.message_id).await.unwrap();
    let again = store.admit(&keyed("a", BEGIN + 30_001)).await.unwrap();
    assert!(
        matches!(&again, AdmitAnswer::Admitted { message, again: true, .. } if *message == first)
    );
    store.confirm(&[first.message_id]).await.unwrap();
    assert_eq!(
        store.admit(&keyed("a", BEGIN + 30_002)).await.unwrap(),
        AdmitAnswer::Replayed(first)
    );
}

async fn a_message_in_doubt_is_published_again_and_one_withdrawn_leaves_nothing(store: Store) {
    let phone = "+8613800000001";
    let limits = || vec![limit(phone, Scope::Phone, rank::PHONE, 1, 60_000)];
    let unconfirmed = |now| Admit { confirmed: false, ..admit(phone, now, limits()) };
    let first = accepted(store.admit(&unconfirmed(BEGIN)).await.unwrap());
    assert!(matches!(
        store.admit(&admit(phone, BEGIN, limits())).await.unwrap(),
        AdmitAnswer::Limited { .. }
    ));
    store.doubt(first.message_id).await.unwrap();
    let again = store.admit(&admit(phone, BEGIN + 1, limits())).await.unwrap();
    assert!(
        matches!(&again, AdmitAnswer::Admitted { message, again: true, .. } if *message == first),
        "{again:?}"
    );
    store.withdraw(first.message_id).await.unwrap();
    assert_eq!(live(&store, phone).await, None);
    assert_eq!(store.message(first.message_id).await.unwrap(), None);
    accepted(store.admit(&admit(phone, BEGIN + 2, limits())).await.unwrap());
}

async fn a_key_that_met_a_message_in_doubt_names_it_from_then_on(store: Store) {
    let phone = "+8613800000001";
    let unconfirmed = Admit { confirmed: false, ..admit(phone, BEGIN, Vec::new()) };
    let first = accepted(store.admit(&unconfirmed).await.unwrap());
    store.doubt(first.message_id).await.unwrap();
    let keyed = |now| Admit {
        idempotency: Some(Idempotency {
            key: "idem:k".to_owned(),
            fingerprints: vec!["body".to_owned()],
        }),
        ..admit(phone, now, Vec::new())
    };
    let again = store.admit(&keyed(BEGIN + 1)).await.unwrap();
    assert!(
        matches!(&again, AdmitAnswer::Admitted { message, again: true, .. } if *message == first),
        "{again:?}"
    );
    let early = store.admit(&keyed(BEGIN + 2)).await.unwrap();
    assert!(matches!(early, AdmitAnswer::InFlight { .. }), "{early:?}");
    store.confirm(&[first.message_id]).await.unwrap();
    assert_eq!(store.admit(&keyed(BEGIN + 3)).await.unwrap(), AdmitAnswer::Replayed(first.clone()));
    store.archive(&[first.message_id]).await.unwrap();
    assert_eq!(store.admit(&keyed(BEGIN + 4)).await.unwrap(), AdmitAnswer::Replayed(first));
}

async fn a_key_that_met_a_message_in_doubt_is_forgotten_with_it(store: Store) {
    let phone = "+8613800000001";
    let unconfirmed = Admit { confirmed: false, ..admit(phone, BEGIN, Vec::new()) };
    let first = accepted(store.admit(&unconfirmed).await.unwrap());
    store.doubt(first.message_id).await.unwrap();
    let idempotency =
        Idempotency { key: "idem:k".to_owned(), fingerprints: vec!["body".to_owned()] };
    let keyed = Admit { idempotency: Some(idempotency), ..admit(phone, BEGIN + 1, Vec::new()) };
    assert!(matches!(
        store.admit(&keyed).await.unwrap(),
        AdmitAnswer::Admitted { again: true, .. }
    ));
    store.withdraw(first.message_id).await.unwrap();
    let anew = accepted(store.admit(&keyed).await.unwrap());
    assert_ne!(anew.message_id, first.message_id, "that one was never queued");
}

async fn a_resend_is_the_same_verification_until_it_closes(store: Store) {
    let phone = "+8613800000001";
    let verification =
        |message: postrider_common::store::Accepted| message.verification.unwrap().job;
    let first =
        verification(accepted(store.admit(&admit(phone, BEGIN, Vec::new())).await.unwrap()));
    let second = verification(accepted(
        store.admit(&admit(phone, BEGIN + 60_000, Vec::new())).await.unwrap(),
    ));
    assert_eq!((first.id, second.sends, second.expires_at), (second.id, 2, BEGIN + 240_000));
    accepted(store.admit(&admit(phone, BEGIN + 120_000, Vec::new())).await.unwrap());
    let answer = store.admit(&admit(phone, BEGIN + 180_000, Vec::new())).await.unwrap();
    assert!(matches!(answer, AdmitAnswer::MaxSends { wait_ms: 120_000, .. }), "{answer:?}");
    let later = verification(accepted(
        store.admit(&admit(phone, BEGIN + 300_000, Vec::new())).await.unwrap(),
    ));
    assert_ne!(later.id, first.id, "the old one has expired");
}

async fn the_fifth_wrong_try_closes_and_a_right_one_spends_nothing(store: Store) {
    let phone = "+8613800000001";
    accepted(store.admit(&admit(phone, BEGIN, Vec::new())).await.unwrap());
    let read = live(&store, phone).await;
    for left in (0..5).rev() {
        let answer = store.settle(&settle(phone, BEGIN, read, false, Vec::new())).await.unwrap();
        assert!(
            matches!(answer, SettleAnswer::Mismatch { attempts_left, .. } if attempts_left == left),
            "{answer:?}"
        );
    }
    let answer = store.settle(&settle(phone, BEGIN, read, true, Vec::new())).await.unwrap();
    assert!(matches!(answer, SettleAnswer::Spent { .. }), "{answer:?}");
    let expired =
        store.settle(&settle(phone, BEGIN + 180_000, read, true, Vec::new())).await.unwrap();
    assert!(matches!(expired, SettleAnswer::Expired { .. }), "{expired:?}");
    let forgotten =
        store.settle(&settle(phone, BEGIN + 960_000, read, true, Vec::new())).await.unwrap();
    assert!(matches!(forgotten, SettleAnswer::NotSent { .. }), "{forgotten:?}");
}

async fn wrong_tries_add_up_over_resends_and_at_once(store: Store) {
    let phone = "+8613800000001";
    accepted(store.admit(&admit(phone, BEGIN, Vec::new())).await.unwrap());
    let read = live(&store, phone).await;
    let wrong = settle(phone, BEGIN, read, false, Vec::new());
    for left in [4, 3, 2] {
        let answer = store.settle(&wrong).await.unwrap();
        assert!(
            matches!(answer, SettleAnswer::Mismatch { attempts_left, .. } if attempts_left == left)
        );
    }
    accepted(store.admit(&admit(phone, BEGIN + 60_000, Vec::new())).await.unwrap());
    assert_eq!(live(&store, phone).await, read, "it is the same verification");
    let wrong = settle(phone, BEGIN + 60_000, read, false, Vec::new());
    let answers = join_all((0..40).map(|_| store.settle(&wrong))).await;
    let mismatches =
        answers.iter().filter(|a| matches!(a, Ok(SettleAnswer::Mismatch { .. }))).count();
    assert_eq!(mismatches, 2, "three were made before it was sent again");
    let right = store.settle(&settle(phone, BEGIN + 60_000, read, true, Vec::new())).await.unwrap();
    assert!(matches!(right, SettleAnswer::Spent { .. }), "{right:?}");
}

async fn what_a_check_reads_tells_whom_the_code_was_sent_to(store: Store) {
    let phone = "+8613800000001";
    accepted(store.admit(&admit(phone, BEGIN, Vec::new())).await.unwrap());
    let by_subject = Which::Subject(format!("7/login/{phone}"));
    let read = |which| Read { account_id: ACCOUNT.id, which };
    let live = store.read(&read(by_subject)).await.unwrap().unwrap();
    assert_eq!(live.subject, format!("7/login/{phone}"));
    let by_id = store.read(&read(Which::Id(live.id))).await.unwrap();
    assert_eq!(by_id, Some(live));
}

async fn of_many_at_once_one_is_admitted_and_one_approved(store: Store) {
    let phone = "+8613800000001";
    let limits = || vec![limit(phone, Scope::Phone, rank::PHONE, 1, 60_000)];
    let asks: Vec<_> = (0..100).map(|_| admit(phone, BEGIN, limits())).collect();
    let answers = join_all(asks.iter().map(|ask| store.admit(ask))).await;
    let admitted = answers.iter().filter(|a| matches!(a, Ok(AdmitAnswer::Admitted { .. }))).count();
    assert_eq!(admitted, 1);
    let ask = settle(phone, BEGIN, live(&store, phone).await, true, Vec::new());
    let answers = join_all((0..100).map(|_| store.settle(&ask))).await;
    assert_eq!(
        answers.iter().filter(|a| matches!(a, Ok(SettleAnswer::Approved { .. }))).count(),
        1
    );
    assert_eq!(answers.iter().filter(|a| matches!(a, Ok(SettleAnswer::Used { .. }))).count(), 99);
}

async fn a_claim_is_a_lease_that_only_moves_on(store: Store) {
    let message = MessageId::generate();
    let take = async |attempt, owner, now| {
        store.claim(&claim(message, attempt, owner, now)).await.unwrap().claim
    };
    let call = async |owner: &str, now, begin_by| {
        let call = Some(Call { provider: "main".to_owned(), begin_by });
        store.claim(&Claim { call, ..claim(message, 1, owner, now) }).await.unwrap().claim
    };
    assert_eq!(take(1, "a", BEGIN).await, Claimed::Granted);
    assert_eq!(take(1, "b", BEGIN + 1000).await, Claimed::Busy { wait_ms: 19_000 });
    let run_out = BEGIN + 20_000;
    assert_eq!(take(1, "b", run_out).await, Claimed::Granted, "it never got to the call");
    assert_eq!(call("a", run_out + 1, BEGIN * 2).await, Claimed::Busy { wait_ms: 19_999 });
    assert_eq!(call("b", run_out + 1, run_out + 1).await, Claimed::Expired, "too late");
    assert_eq!(call("b", run_out, run_out + 1).await, Claimed::Granted);
    assert_eq!(call("b", run_out + 1, BEGIN * 2).await, Claimed::Granted, "it asks once more");
    let interrupted =
        Claimed::Interrupted { called_at: BEGIN + 20_001, provider: "main".to_owned() };
    assert_eq!(call("c", BEGIN + 40_001, BEGIN * 2).await, interrupted);
    assert_eq!(take(1, "c", BEGIN + 40_001).await, interrupted, "it asks once more");
    let written = store.resolve(&resolve(message, 1, "r", BEGIN + 40_002)).await.unwrap();
    assert!(matches!(written, ResolveAnswer::Written { .. }));
    let late = store.resolve(&resolve(message, 1, "late", BEGIN + 40_003)).await.unwrap();
    assert_eq!(late, ResolveAnswer::Already { resolution: "r".to_owned() });
    assert_eq!(
        take(1, "d", BEGIN + 40_004).await,
        Claimed::Resolved { resolution: "r".to_owned() }
    );
    assert_eq!(take(2, "d", BEGIN + 40_005).await, Claimed::Granted);
    assert_eq!(take(1, "e", BEGIN + 40_006).await, Claimed::Stale);
    store.resolve(&resolve(message, 2, "end", BEGIN + 40_007)).await.unwrap();
    store.archive(&[message]).await.unwrap();
    assert_eq!(take(2, "f", BEGIN + 40_008).await, Claimed::Resolved { resolution: String::new() });

    let poison = MessageId::generate();
    let mut met = Vec::new();
    for n in 0..5 {
        met.push(
            store.claim(&claim(poison, 1, &n.to_string(), BEGIN + n * 30_000)).await.unwrap().claim,
        );
    }
    assert_eq!(met.pop(), Some(Claimed::Poison));
    assert!(met.iter().all(|claim| *claim == Claimed::Granted), "{met:?}");
    let unsure = Claim { redelivered: true, ..claim(MessageId::generate(), 1, "a", BEGIN) };
    assert_eq!(store.claim(&unsure).await.unwrap().claim, Claimed::Unsure);
}

async fn a_claim_asked_for_again_by_its_owner_counts_once(store: Store) {
    let message = MessageId::generate();
    let take = async |owner: String, now| {
        store.claim(&claim(message, 1, &owner, now)).await.unwrap().claim
    };
    // No answer came, so the worker asks again: the store had done it each time.
    for n in 0..10 {
        assert_eq!(take("a".to_owned(), BEGIN + n).await, Claimed::Granted);
    }
    for n in 1..4 {
        assert_eq!(take(n.to_string(), BEGIN + n * 30_000).await, Claimed::Granted);
    }
    assert_eq!(take("last".to_owned(), BEGIN + 120_000).await, Claimed::Poison);
    assert_eq!(
        take("last".to_owned(), BEGIN + 120_001).await,
        Claimed::Poison,
        "a repeat is told the same"
    );
}

async fn a_job_of_a_lost_store_stays_unsure_until_its_result_is_written(store: Store) {
    let message = MessageId::generate();
    let take = async |owner: &str, now| {
        let ask = Claim { redelivered: true, ..claim(message, 1, owner, now) };
        store.claim(&ask).await.unwrap().claim
    };
    assert_eq!(take("a", BEGIN).await, Claimed::Unsure);
    assert_eq!(take("a", BEGIN + 1).await, Claimed::Unsure, "no answer came, so it asks again");
    assert_eq!(take("b", BEGIN + 2).await, Claimed::Busy { wait_ms: 19_999 });
    assert_eq!(take("b", BEGIN + 30_000).await, Claimed::Unsure, "the first one died");
    store.resolve(&resolve(message, 1, "r", BEGIN + 30_001)).await.unwrap();
    assert_eq!(take("c", BEGIN + 30_002).await, Claimed::Resolved { resolution: "r".to_owned() });
}

async fn a_message_that_ends_unsent_gives_its_phone_windows_back(store: Store) {
    let phone = "+8613800000001";
    let limits = || {
        vec![
            limit(phone, Scope::Phone, rank::PHONE, 1, 60_000),
            limit(phone, Scope::PhoneAll, rank::PHONE, 2000, 60_000),
            limit("ip", Scope::Ip, rank::IP, 3, 60_000),
        ]
    };
    let first = accepted(store.admit(&admit(phone, BEGIN, limits())).await.unwrap());
    store.resolve(&resolve(first.message_id, 1, "r", BEGIN + 1)).await.unwrap();
    match store.admit(&admit(phone, BEGIN + 2, limits())).await.unwrap() {
        AdmitAnswer::Admitted { limits, .. } => {
            assert_eq!(
                limits.iter().map(|limit| limit.remaining).collect::<Vec<_>>(),
                [0, 1999, 1]
            );
        }
        other => panic!("{other:?}"),
    }
}

async fn a_resend_of_what_was_approved_is_superseded(store: Store) {
    let phone = "+8613800000001";
    let message = accepted(store.admit(&admit(phone, BEGIN, Vec::new())).await.unwrap());
    let verification = message.verification.clone().unwrap();
    store.settle(&settle(phone, BEGIN, Some(verification.job.id), true, Vec::new())).await.unwrap();
    let subject = format!("7/login/{phone}");
    let verification = Some(ClaimVerification {
        subject,
        account_id: ACCOUNT.id,
        purpose: "login".to_owned(),
        key_id: verification.key_id,
        max_sends: 3,
        job: verification.job,
    });
    let ask = Claim { verification, ..claim(message.message_id, 1, "a", BEGIN + 1) };
    assert_eq!(store.claim(&ask).await.unwrap().claim, Claimed::Superseded);
}

async fn bans_hit_what_they_name_and_end(store: Store) {
    let network = |text: &str| BanSubject::Network(address::network_bits(text.parse().unwrap()));
    let ban = |subject, until| Ban { subject, until };
    let bans = [
        ban(BanSubject::PhonePrefix("+86170".to_owned()), 0),
        ban(network("203.0.113.0/24"), BEGIN + 1000),
        ban(network("2001:db8::/33"), 0),
        ban(network("198.51.100.7/32"), 0),
    ];
    store.ban(&bans).await.unwrap();
    let hit = async |phone: &str, ip: &str, now| {
        let ip_bits = Some(address::bits(ip.parse().unwrap()));
        let ban_check = BanCheck { phone: Some(phone.to_owned()), ip_bits };
        let answer =
            store.admit(&Admit { ban_check, ..admit(phone, now, Vec::new()) }).await.unwrap();
        matches!(answer, AdmitAnswer::Banned { .. })
    };
    assert!(hit("+8617000000001", "192.0.2.1", BEGIN).await);
    assert!(hit("+8613800000001", "203.0.113.9", BEGIN + 999).await);
    assert!(!hit("+8613800000001", "203.0.113.9", BEGIN + 1000).await, "it is over");
    assert!(hit("+8613800000002", "2001:db8:1::1", BEGIN).await);
    assert!(!hit("+8613800000003", "2001:db8:8000::1", BEGIN).await);
    assert!(
        hit("+8613800000004", "198.51.100.7", BEGIN).await
            && !hit("+8613800000005", "198.51.100.8", BEGIN).await
    );
    store.unban(&[BanSubject::PhonePrefix("+86170".to_owned())]).await.unwrap();
    assert!(!hit("+8617000000001", "192.0.2.1", BEGIN).await);
}

async fn whose_a_message_is_is_not_whose_account_is_checked(store: Store) {
    let phone = "+8613800000001";
    let owner = -ACCOUNT.id;
    let mut ask = Admit { owner, ..admit(phone, BEGIN, Vec::new()) };
    ask.verification.as_mut().unwrap().account_id = owner;
    let message = accepted(store.admit(&ask).await.unwrap());
    assert_eq!(store.message(message.message_id).await.unwrap().unwrap().account_id, owner);
    assert_eq!(live(&store, phone).await, None, "the account itself has sent nothing");
    let read = message.verification.map(|verification| verification.job.id);
    let which = Which::Subject(format!("7/login/{phone}"));
    let found = store.read(&Read { account_id: owner, which }).await.unwrap();
    assert_eq!(found.map(|live| live.id), read);
    let check = settle(phone, BEGIN, read, true, Vec::new());
    let not_its = store.settle(&check).await.unwrap();
    assert!(matches!(not_its, SettleAnswer::NotSent { .. }), "{not_its:?}");
    let its = store.settle(&Settle { owner, ..check }).await.unwrap();
    assert!(matches!(its, SettleAnswer::Approved { first: true, .. }), "{its:?}");
}

#[tokio::test]
async fn a_store_that_lost_its_data_decides_nothing_until_its_bans_are_back() {
    let held = redis().await;
    held.redis.as_ref().unwrap().empty().await;
    let ask = admit("+8613800000001", BEGIN, Vec::new());
    assert!(matches!(held.store.admit(&ask).await, Err(StoreError::Lost)));
    assert!(matches!(held.store.ban(&[]).await, Err(StoreError::Lost)));
    let (limits, ban_check, now) = (Vec::new(), ask.ban_check.clone(), None);
    let take = Take { now, limits, ban_check, entry: "a".to_owned() };
    assert!(matches!(held.store.take(&take).await, Err(StoreError::Lost)));
    let Take { limits, ban_check, .. } = take;
    let explain = held.store.explain(&Explain { now, limits, ban_check }).await;
    assert!(matches!(explain, Err(StoreError::Lost)));
    let subject = BanSubject::Phone("+8613800000001".to_owned());
    held.store.restore(vec![Ban { subject, until: 0 }]).await.unwrap();
    assert_eq!(held.store.admit(&ask).await.unwrap(), AdmitAnswer::StaleAccount);
    held.store.set_account_version(ACCOUNT.id, ACCOUNT.version).await.unwrap();
    assert!(matches!(held.store.admit(&ask).await.unwrap(), AdmitAnswer::Banned { .. }));
}

macro_rules! over_both {
    ($($promise:ident),+ $(,)?) => {
        mod on_redis { $(#[tokio::test] async fn $promise() { let held = super::redis().await; super::$promise(held.store.clone()).await; })+ }
        mod on_sqlite { $(#[tokio::test] async fn $promise() { let held = super::sqlite().await; super::$promise(held.store.clone()).await; })+ }
    };
}

over_both!(
    windows_are_exact_at_their_edge,
    refusals_come_in_their_order_and_count_nothing,
    a_repeat_is_answered_by_its_key,
    a_message_in_doubt_is_published_again_and_one_withdrawn_leaves_nothing,
    a_key_that_met_a_message_in_doubt_names_it_from_then_on,
    a_key_that_met_a_message_in_doubt_is_forgotten_with_it,
    a_resend_is_the_same_verification_until_it_closes,
    wrong_tries_add_up_over_resends_and_at_once,
    what_a_check_reads_tells_whom_the_code_was_sent_to,
    the_fifth_wrong_try_closes_and_a_right_one_spends_nothing,
    of_many_at_once_one_is_admitted_and_one_approved,
    a_claim_is_a_lease_that_only_moves_on,
    a_claim_asked_for_again_by_its_owner_counts_once,
    a_job_of_a_lost_store_stays_unsure_until_its_result_is_written,
    a_message_that_ends_unsent_gives_its_phone_windows_back,
    a_resend_of_what_was_approved_is_superseded,
    bans_hit_what_they_name_and_end,
    whose_a_message_is_is_not_whose_account_is_checked,
    refusals_that_reach_the_threshold_within_the_window_ban,
    a_threshold_of_one_bans_at_once_and_its_window_begins_anew,
    a_ban_that_is_there_is_never_shortened,
    a_request_that_comes_again_under_its_id_strikes_each_time,
    one_subject_may_be_struck_by_two_windows,
    only_what_speaks_against_phone_or_address_strikes_a_send,
    a_failed_check_strikes_phone_and_address_and_a_refused_one_nothing,
    an_entry_is_taken_in_all_limits_or_in_none_and_given_back,
    a_ban_refuses_to_take_in_its_rank,
    explaining_names_every_ban_and_counts_nothing,
    items_are_decided_in_their_order_each_seeing_what_those_before_it_counted,
    a_repeat_of_a_batch_is_answered_item_by_item,
    a_batch_key_with_another_body_decides_nothing,
    a_send_a_check_and_a_batch_never_answer_for_each_other,
    fifty_items_are_one_step,
    a_batch_of_an_outdated_account_decides_nothing,
    many_bans_slow_nobody_down,
    bans_that_ended_are_forgotten,
    a_batch_that_is_refused_as_a_whole_keeps_no_key,
    a_check_of_nothing_that_lives_strikes_the_address_alone,
);
