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

/// The claim of an accepted code that no attempt can have been carried of.
fn claim_of(message: &Accepted, phone: &str, attempt: u32, now: i64) -> Claim {
    let verification = message.verification.clone().unwrap();
    let verification = Some(ClaimVerification {
        subject: format!("7/login/{phone}"),
        account_id: ACCOUNT.id,
        purpose: "login".to_owned(),
        key_id: verification.key_id,
        max_sends: 3,
        job: verification.job,
    });
    let owner = format!("of attempt {attempt}");
    let epoch = message.epoch.clone();
    let supersedable = true;
    Claim { verification, supersedable, epoch, ..claim(message.message_id, attempt, &owner, now) }
}

pub(super) async fn a_resend_of_what_was_approved_is_superseded(store: Store) {
    let phone = "+8613800000001";
    let message = accepted(store.admit(&admit(phone, BEGIN, Vec::new())).await.unwrap());
    let verification = message.verification.clone().unwrap();
    store.settle(&settle(phone, BEGIN, Some(verification.job.id), true, Vec::new())).await.unwrap();
    let ask = Claim { supersedable: false, ..claim_of(&message, phone, 1, BEGIN + 1) };
    assert_eq!(store.claim(&ask).await.unwrap().claim, Claimed::Superseded);
}

/// Two messages of one verification, the later one's publish confirmed or in flight.
async fn two_of_one(store: &Store, phone: &str, confirmed: bool) -> (Accepted, Accepted) {
    let first = accepted(store.admit(&admit(phone, BEGIN, Vec::new())).await.unwrap());
    let later = Admit { confirmed, ..admit(phone, BEGIN + 60_000, Vec::new()) };
    let later = accepted(store.admit(&later).await.unwrap());
    let id = |message: &Accepted| message.verification.as_ref().unwrap().job.id;
    assert_eq!(id(&first), id(&later));
    (first, later)
}

pub(super) async fn only_a_later_message_that_goes_on_supersedes_an_earlier_one(store: Store) {
    let now = BEGIN + 60_001;
    let met = async |ask: Claim| store.claim(&ask).await.unwrap().claim;
    let end = async |message: &Accepted, status, now| {
        let ask = Resolve { status, ..resolve(message.message_id, 1, "r", now) };
        store.resolve(&ask).await.unwrap();
    };

    let phone = "+8613800000001";
    let (first, later) = two_of_one(&store, phone, true).await;
    let may_be_carried = Claim { supersedable: false, ..claim_of(&first, phone, 1, now) };
    assert_eq!(met(may_be_carried).await, Claimed::Granted);
    assert_eq!(met(claim_of(&first, phone, 2, now)).await, Claimed::Superseded);
    assert_eq!(met(claim_of(&later, phone, 1, now)).await, Claimed::Granted, "it is the newest");

    let phone = "+8613800000002";
    let (first, later) = two_of_one(&store, phone, false).await;
    assert_eq!(met(claim_of(&first, phone, 1, now)).await, Claimed::Granted, "it isn't published");
    store.doubt(later.message_id).await.unwrap();
    assert_eq!(met(claim_of(&first, phone, 2, now)).await, Claimed::Granted, "it may not be");
    store.confirm(&[later.message_id]).await.unwrap();
    assert_eq!(met(claim_of(&first, phone, 3, now)).await, Claimed::Superseded);

    let phone = "+8613800000003";
    let (first, later) = two_of_one(&store, phone, false).await;
    store.withdraw(later.message_id).await.unwrap();
    assert_eq!(met(claim_of(&first, phone, 1, now)).await, Claimed::Granted, "it was withdrawn");

    let ends = [
        (MessageStatus::Failed, Claimed::Granted),
        (MessageStatus::Expired, Claimed::Granted),
        (MessageStatus::Poison, Claimed::Granted),
        (MessageStatus::Retrying, Claimed::Superseded),
        (MessageStatus::Sent, Claimed::Superseded),
        (MessageStatus::Unknown, Claimed::Superseded),
    ];
    for (n, (status, then)) in ends.into_iter().enumerate() {
        let phone = format!("+861380000001{n}");
        let (first, later) = two_of_one(&store, &phone, true).await;
        met(claim_of(&later, &phone, 1, now)).await;
        end(&later, status, now + 1).await;
        assert_eq!(met(claim_of(&first, &phone, 1, now + 2)).await, then, "{status:?}");
        store.archive(&[later.message_id]).await.unwrap();
        assert_eq!(met(claim_of(&first, &phone, 2, now + 3)).await, then, "{status:?}, archived");
    }

    // One that is being called goes on, and so does one whose call was cut off.
    let phone = "+8613800000004";
    let first = accepted(store.admit(&admit(phone, BEGIN, Vec::new())).await.unwrap());
    let call = Some(Call { provider: "main".to_owned(), begin_by: BEGIN * 2 });
    assert_eq!(met(Claim { call, ..claim_of(&first, phone, 1, BEGIN) }).await, Claimed::Granted);
    accepted(store.admit(&admit(phone, BEGIN + 1, Vec::new())).await.unwrap());
    let another = |now| Claim { owner: "another".to_owned(), ..claim_of(&first, phone, 1, now) };
    assert_eq!(met(another(BEGIN + 2)).await, Claimed::Busy { wait_ms: 19_998 });
    let cut_off = met(another(BEGIN + 30_000)).await;
    assert!(matches!(cut_off, Claimed::Interrupted { .. }), "{cut_off:?}");
}

pub(super) async fn what_is_superseded_by_a_later_message_gives_its_windows_back(store: Store) {
    let phone = "+8613800000001";
    let limits = || vec![limit(phone, Scope::Phone, rank::PHONE, 2, 600_000)];
    let ask = |now| admit(phone, now, limits());
    let first = accepted(store.admit(&ask(BEGIN)).await.unwrap());
    accepted(store.admit(&ask(BEGIN + 1)).await.unwrap());
    let refused = store.admit(&ask(BEGIN + 2)).await.unwrap();
    assert!(matches!(refused, AdmitAnswer::Limited { .. }), "{refused:?}");
    let claimed = store.claim(&claim_of(&first, phone, 1, BEGIN + 3)).await.unwrap().claim;
    assert_eq!(claimed, Claimed::Superseded);
    let status = MessageStatus::Superseded;
    let end = Resolve { status, ..resolve(first.message_id, 1, "r", BEGIN + 4) };
    store.resolve(&end).await.unwrap();
    let state = store.message(first.message_id).await.unwrap().unwrap();
    assert_eq!(state.status, MessageStatus::Superseded);
    accepted(store.admit(&ask(BEGIN + 5)).await.unwrap());
}
