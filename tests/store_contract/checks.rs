//! Verifications: sent again, tried, approved once.

use super::*;

pub(super) async fn a_resend_is_the_same_verification_until_it_closes(store: Store) {
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

pub(super) async fn the_fifth_wrong_try_closes_and_a_right_one_spends_nothing(store: Store) {
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

pub(super) async fn wrong_tries_add_up_over_resends_and_at_once(store: Store) {
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

pub(super) async fn what_a_check_reads_tells_whom_the_code_was_sent_to(store: Store) {
    let phone = "+8613800000001";
    accepted(store.admit(&admit(phone, BEGIN, Vec::new())).await.unwrap());
    let by_subject = Which::Subject(format!("7/login/{phone}"));
    let read = |which| Read { account_id: ACCOUNT.id, which };
    let live = store.read(&read(by_subject)).await.unwrap().unwrap();
    assert_eq!(live.subject, format!("7/login/{phone}"));
    let by_id = store.read(&read(Which::Id(live.id))).await.unwrap();
    assert_eq!(by_id, Some(live));
}

pub(super) async fn of_many_at_once_one_is_admitted_and_one_approved(store: Store) {
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

pub(super) async fn whose_a_message_is_is_not_whose_account_is_checked(store: Store) {
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
