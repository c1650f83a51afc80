//! Claims and results: who works on a job, and what of it stands.

use super::*;

pub(super) async fn a_claim_is_a_lease_that_only_moves_on(store: Store) {
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

pub(super) async fn many_messages_are_archived_at_once(store: Store) {
    // More than go in one call of Redis, and more such calls than are under way.
    let messages: Vec<_> = (0..300).map(|_| MessageId::generate()).collect();
    for message in &messages {
        store.claim(&claim(*message, 1, "a", BEGIN)).await.unwrap();
        store.resolve(&resolve(*message, 1, "r", BEGIN + 1)).await.unwrap();
    }
    store.archive(&messages).await.unwrap();
    for message in messages {
        let met = store.claim(&claim(message, 1, "b", BEGIN + 2)).await.unwrap().claim;
        assert_eq!(met, Claimed::Resolved { resolution: String::new() });
    }
}

pub(super) async fn a_claim_asked_for_again_by_its_owner_counts_once(store: Store) {
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

pub(super) async fn a_job_of_a_lost_store_stays_unsure_until_its_result_is_written(store: Store) {
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

pub(super) async fn a_job_that_comes_again_when_its_claim_is_gone_with_its_time_is_unsure(
    store: Store,
) {
    let sent = accepted(store.admit(&admit("+8613800000001", BEGIN, Vec::new())).await.unwrap());
    let met = async |redelivered, keep_until| {
        let known = claim(MessageId::generate(), 1, "a", BEGIN);
        let ask = Claim { epoch: sent.epoch.clone(), redelivered, keep_until, ..known };
        store.claim(&ask).await.unwrap().claim
    };
    assert_eq!(met(true, BEGIN + 1).await, Claimed::Granted, "a claim would still be there");
    assert_eq!(met(true, BEGIN).await, Claimed::Unsure, "a provider may have been called");
    assert_eq!(met(false, BEGIN).await, Claimed::Granted, "nobody had it before");
}

pub(super) async fn a_message_that_ends_unsent_gives_its_phone_windows_back(store: Store) {
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

pub(super) async fn a_resend_of_what_was_approved_is_superseded(store: Store) {
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
