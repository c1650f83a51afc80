//! What the code store promises, asserted alike over Redis and SQLite.

mod batch;
mod checks;
mod claims;
#[cfg(test)]
mod keeping;
mod keys;
mod many_bans;
mod phone_limits;
mod random;
mod strikes;
mod takes;
mod together;

use futures::future::join_all;
use postrider_common::database::Database;
use postrider_common::model::address;
use postrider_common::model::ids::{MessageId, VerificationId};
use postrider_common::model::job::Lane;
use postrider_common::model::limits::Scope;
use postrider_common::secrets::KeyId;
use postrider_common::sqlite::Sqlite;
use postrider_common::store::redis::RedisStore;
use postrider_common::store::sqlite::SqliteStore;
use postrider_common::store::{
    About, Accepted, AccountCheck, Admit, AdmitAnswer, Ban, BanCheck, BanSubject, Call, Claim,
    ClaimVerification, Claimed, Explain, Idempotency, LimitCheck, MessageStatus, NewVerification,
    Read, Resolve, ResolveAnswer, Settle, SettleAnswer, Store, StoreError, Take, Which, rank,
};

use self::batch::{
    a_batch_key_with_another_body_decides_nothing, a_batch_of_an_outdated_account_decides_nothing,
    a_batch_that_is_refused_as_a_whole_keeps_no_key, a_repeat_of_a_batch_is_answered_item_by_item,
    a_send_a_check_and_a_batch_never_answer_for_each_other, fifty_items_are_one_step,
    items_are_decided_in_their_order_each_seeing_what_those_before_it_counted,
};
use self::checks::{
    a_resend_is_the_same_verification_until_it_closes,
    of_many_at_once_one_is_admitted_and_one_approved,
    the_fifth_wrong_try_closes_and_a_right_one_spends_nothing,
    what_a_check_reads_tells_whom_the_code_was_sent_to,
    whose_a_message_is_is_not_whose_account_is_checked,
    wrong_tries_add_up_over_resends_and_at_once,
};
use self::claims::{
    a_claim_asked_for_again_by_its_owner_counts_once, a_claim_is_a_lease_that_only_moves_on,
    a_job_of_a_lost_store_stays_unsure_until_its_result_is_written,
    a_job_that_comes_again_when_its_claim_is_gone_with_its_time_is_unsure,
    a_message_that_ends_unsent_gives_its_phone_windows_back,
    a_resend_of_what_was_approved_is_superseded, many_messages_are_archived_at_once,
    only_a_later_message_that_goes_on_supersedes_an_earlier_one,
    what_is_superseded_by_a_later_message_gives_its_windows_back,
};
use self::keys::{
    a_code_under_a_secret_that_the_caller_lacks_is_not_sent_again,
    a_key_that_met_a_message_in_doubt_is_forgotten_with_it,
    a_key_that_met_a_message_in_doubt_names_it_from_then_on,
    a_message_in_doubt_is_published_again_and_one_withdrawn_leaves_nothing,
    a_repeat_is_answered_by_its_key, what_is_withdrawn_takes_along_nothing_that_another_send_needs,
};
use self::many_bans::{bans_that_ended_are_forgotten, many_bans_slow_nobody_down};
use self::phone_limits::{
    a_limit_holds_where_the_clock_was_put_back, a_limit_that_found_no_room_is_given_back_as_well,
    a_phones_limits_are_given_back_one_by_one, each_of_a_phones_many_limits_counts,
};
use self::strikes::{
    a_ban_may_need_failures_of_several_accounts,
    a_ban_of_an_accounts_checks_of_a_phone_hits_those_alone,
    a_ban_that_is_there_is_never_shortened,
    a_check_of_nothing_that_lives_strikes_the_address_alone,
    a_failed_check_strikes_phone_and_address_and_a_refused_one_nothing,
    a_request_that_comes_again_under_its_id_strikes_each_time,
    a_threshold_of_one_bans_at_once_and_its_window_begins_anew,
    an_entry_counts_once_within_a_window_at_its_latest_time,
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
    folder: Option<tempfile::TempDir>,
}

async fn redis() -> Held {
    let redis = services::redis().await;
    let store = Store::Redis(RedisStore::new(&redis.url().into()).unwrap());
    assert!(matches!(store.epoch().await, Err(StoreError::Lost)), "a new Redis has no epoch");
    store.restore(Vec::new()).await.unwrap();
    store.set_account_version(ACCOUNT.id, ACCOUNT.version).await.unwrap();
    Held { store, redis: Some(redis), folder: None }
}

async fn sqlite() -> Held {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = Sqlite::open(&folder.path().join("test.db")).await.unwrap();
    Database::sqlite(sqlite.clone()).migrate().await.unwrap();
    let store = Store::Sqlite(SqliteStore::new(sqlite));
    store.set_account_version(ACCOUNT.id, ACCOUNT.version).await.unwrap();
    Held { store, redis: None, folder: Some(folder) }
}

/// Of a phone's limit `key` is the phone, and after a colon what else it counts by.
fn limit(key: &str, scope: Scope, rank: u8, quota: u32, window_ms: i64) -> LimitCheck {
    let phone = key.split(':').next().filter(|_| scope.is_phone());
    LimitCheck {
        key: format!("{key}/{quota}"),
        scope,
        quota,
        window_ms,
        rank,
        phone: phone.map(|phone| format!("of/{phone}")),
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
        ban_check: BanCheck { phone: Some(phone.to_owned()), ..BanCheck::default() },
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
        known_keys: Vec::new(),
        ttl_ms: 180_000,
        confirmed: true,
        about: About {
            phone: "+86138****0000".to_owned(),
            purpose: "login".to_owned(),
            template: "verify".to_owned(),
            client_ip: Some([203, 0, 113, 7].into()),
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
        ban_check: BanCheck { phone: Some(phone.to_owned()), ..BanCheck::default() },
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
        supersedable: false,
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
        let ban_check = BanCheck { phone: Some(phone.to_owned()), ip_bits, account_phone: None };
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

#[tokio::test]
async fn a_store_that_lost_its_data_decides_nothing_until_its_bans_are_back() {
    let held = redis().await;
    held.redis.as_ref().unwrap().empty().await;
    let ask = admit("+8613800000001", BEGIN, Vec::new());
    assert!(matches!(held.store.admit(&ask).await, Err(StoreError::Lost)));
    assert!(matches!(held.store.ban(&[]).await, Err(StoreError::Lost)));
    assert!(matches!(held.store.check_writes().await, Err(StoreError::Lost)));
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
    each_of_a_phones_many_limits_counts,
    a_phones_limits_are_given_back_one_by_one,
    a_limit_that_found_no_room_is_given_back_as_well,
    a_limit_holds_where_the_clock_was_put_back,
    a_repeat_is_answered_by_its_key,
    a_code_under_a_secret_that_the_caller_lacks_is_not_sent_again,
    a_message_in_doubt_is_published_again_and_one_withdrawn_leaves_nothing,
    what_is_withdrawn_takes_along_nothing_that_another_send_needs,
    a_key_that_met_a_message_in_doubt_names_it_from_then_on,
    a_key_that_met_a_message_in_doubt_is_forgotten_with_it,
    a_resend_is_the_same_verification_until_it_closes,
    wrong_tries_add_up_over_resends_and_at_once,
    what_a_check_reads_tells_whom_the_code_was_sent_to,
    the_fifth_wrong_try_closes_and_a_right_one_spends_nothing,
    of_many_at_once_one_is_admitted_and_one_approved,
    a_claim_is_a_lease_that_only_moves_on,
    a_claim_asked_for_again_by_its_owner_counts_once,
    many_messages_are_archived_at_once,
    a_job_of_a_lost_store_stays_unsure_until_its_result_is_written,
    a_job_that_comes_again_when_its_claim_is_gone_with_its_time_is_unsure,
    a_message_that_ends_unsent_gives_its_phone_windows_back,
    a_resend_of_what_was_approved_is_superseded,
    only_a_later_message_that_goes_on_supersedes_an_earlier_one,
    what_is_superseded_by_a_later_message_gives_its_windows_back,
    bans_hit_what_they_name_and_end,
    whose_a_message_is_is_not_whose_account_is_checked,
    refusals_that_reach_the_threshold_within_the_window_ban,
    a_threshold_of_one_bans_at_once_and_its_window_begins_anew,
    a_ban_that_is_there_is_never_shortened,
    a_request_that_comes_again_under_its_id_strikes_each_time,
    a_ban_may_need_failures_of_several_accounts,
    a_ban_of_an_accounts_checks_of_a_phone_hits_those_alone,
    an_entry_counts_once_within_a_window_at_its_latest_time,
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
