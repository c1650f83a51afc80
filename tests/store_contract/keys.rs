//! Idempotency keys, and messages whose publish is in doubt.

use super::*;

pub(super) async fn a_repeat_is_answered_by_its_key(store: Store) {
    let keyed = |fingerprint: &str, now| {
        let idempotency =
            Some(Idempotency { key: "k".to_owned(), fingerprints: vec![fingerprint.to_owned()] });
        Admit { idempotency, confirmed: false, ..admit("+8613800000001", now, Vec::new()) }
    };
    let first = accepted(store.admit(&keyed("a", BEGIN)).await.unwrap());
    let another = store.admit(&keyed("b", BEGIN)).await.unwrap();
    assert_eq!(another, AdmitAnswer::KeyReused { fingerprint: Some("a".to_owned()) });
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

pub(super) async fn a_message_in_doubt_is_published_again_and_one_withdrawn_leaves_nothing(
    store: Store,
) {
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

pub(super) async fn what_is_withdrawn_takes_along_nothing_that_another_send_needs(store: Store) {
    let phone = "+8613800000001";
    let unconfirmed = |now| Admit { confirmed: false, ..admit(phone, now, Vec::new()) };
    let first = accepted(store.admit(&unconfirmed(BEGIN)).await.unwrap());
    let second = accepted(store.admit(&unconfirmed(BEGIN + 1)).await.unwrap());
    let verification = first.verification.unwrap().job.id;
    assert_eq!(second.verification.unwrap().job.id, verification, "it is a re-send");
    store.withdraw(first.message_id).await.unwrap();
    assert_eq!(store.message(first.message_id).await.unwrap(), None);
    assert_eq!(live(&store, phone).await, Some(verification), "the second one's code is checked");

    // A repeat had it published meanwhile.
    store.confirm(&[second.message_id]).await.unwrap();
    store.withdraw(second.message_id).await.unwrap();
    assert!(store.message(second.message_id).await.unwrap().is_some(), "it is queued");
    assert_eq!(live(&store, phone).await, Some(verification));
}

pub(super) async fn a_key_that_met_a_message_in_doubt_names_it_from_then_on(store: Store) {
    let phone = "+8613800000001";
    let unconfirmed = Admit { confirmed: false, ..admit(phone, BEGIN, Vec::new()) };
    let first = accepted(store.admit(&unconfirmed).await.unwrap());
    store.doubt(first.message_id).await.unwrap();
    let keyed = |now| Admit {
        idempotency: Some(Idempotency {
            key: "idem:k".to_owned(),
            fingerprints: vec!["body".to_owned()],
        }),
        // From elsewhere: it stays the message that was counted for the first one's address.
        about: About { client_ip: Some([203, 0, 113, 8].into()), ..unconfirmed.about.clone() },
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

pub(super) async fn a_key_that_met_a_message_in_doubt_is_forgotten_with_it(store: Store) {
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

pub(super) async fn a_code_under_a_secret_that_the_caller_lacks_is_not_sent_again(store: Store) {
    let phone = "+8613800000001";
    let limits = || vec![limit(phone, Scope::Phone, rank::PHONE, 1, 60_000)];
    let ask = |now, keys: &[&str], limits| {
        let known_keys = keys.iter().map(|key| KeyId::from(*key)).collect();
        Admit { known_keys, confirmed: false, ..admit(phone, now, limits) }
    };
    let missing = AdmitAnswer::KeyMissing { key_id: KeyId::from("0a0b0c0d") };
    let first = accepted(store.admit(&ask(BEGIN, &["0a0b0c0d"], limits())).await.unwrap());
    let refused = store.admit(&ask(BEGIN + 1, &["00000000"], limits())).await.unwrap();
    assert_eq!(refused, missing, "before any limit");
    store.doubt(first.message_id).await.unwrap();
    let refused = store.admit(&ask(BEGIN + 2, &["00000000"], limits())).await.unwrap();
    assert_eq!(refused, missing, "one in doubt isn't published again");
    let both = ["00000000", "0a0b0c0d"];
    let again = store.admit(&ask(BEGIN + 3, &both, limits())).await.unwrap();
    assert!(
        matches!(&again, AdmitAnswer::Admitted { message, again: true, .. } if *message == first),
        "{again:?}"
    );
    store.confirm(&[first.message_id]).await.unwrap();
    let second = accepted(store.admit(&ask(BEGIN + 60_000, &both, limits())).await.unwrap());
    assert_eq!(second.verification.unwrap().job.sends, 2, "the refused ones counted nothing");
    let expired = BEGIN + 600_000;
    accepted(store.admit(&ask(expired, &["00000000"], limits())).await.unwrap());
}
