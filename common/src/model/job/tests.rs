//! What is read from the queue is a job or an error, whatever bytes are there.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn keys() -> KeyRing {
    "a-secret-of-the-tests-of-more-than-32-bytes".parse().unwrap()
}

fn contents() -> Contents {
    Contents {
        phone: PhoneNumber::from_e164("+8613800138000").unwrap(),
        params: Params::from([("number".to_owned(), "包裹".to_owned())]),
        client_ip: Some("2001:db8::7".parse().unwrap()),
    }
}

fn attempt() -> Attempt {
    Attempt {
        number: 1,
        provider: "main".to_owned(),
        outcome: Outcome::TooFast,
        scope: AnswerScope::Provider,
        at: 2,
        duration_ms: 30,
        provider_message_id: Some("900".to_owned()),
        provider_message_hash: Some("0a0b0c0d.00".to_owned()),
        error_code: Some("http_429".to_owned()),
        error_message: Some("慢".to_owned()),
    }
}

/// With everything that a job may hold.
fn job() -> Job {
    let message_id = MessageId::generate();
    Job {
        v: WIRE_NAME.to_owned(),
        message_id,
        account_id: 7,
        test: true,
        lane: Lane::Code,
        purpose: "login".to_owned(),
        template: "verify".to_owned(),
        raw_template: true,
        verification: Some(JobVerification {
            id: VerificationId::generate(),
            digits: 6,
            ttl_ms: 180_000,
            first_at: 1,
            expires_at: 180_001,
            sends: 2,
            max_attempts: 5,
            remember_ms: 780_000,
        }),
        key_id: keys().current().id.clone(),
        accepted_at: 1,
        deadline: 120_001,
        epoch: "epoch".to_owned(),
        generation: 1,
        attempt: 2,
        snoozed: 1,
        wait_ms: 5,
        tried: vec![TriedProvider { provider: "main".to_owned(), again_at: 60_000 }],
        attempts: vec![attempt()],
        earlier: EarlierAttempts { count: 9, unknowns: 1, refused_by: vec!["b".to_owned()] },
        sealed: contents().seal(&keys(), message_id),
    }
}

#[test]
fn a_job_is_read_back_as_it_was_written() {
    let job = job();
    let decoded = Job::decode(&job.encode()).unwrap();
    assert_eq!(decoded, job);
    let opened = Contents::open(&keys(), decoded.message_id, &decoded.sealed).unwrap();
    assert_eq!(opened, contents());
    let other = Job { v: "sms.2".to_owned(), ..job };
    assert!(matches!(Job::decode(&other.encode()), Err(JobError::OtherVersion)));
}

#[test]
fn a_job_that_an_older_process_queued_is_read() {
    let mut json: Value = serde_json::from_slice(&job().encode()).unwrap();
    for new in ["tried", "earlier"] {
        json.as_object_mut().unwrap().remove(new);
    }
    let decoded = Job::decode(&serde_json::to_vec(&json).unwrap()).unwrap();
    assert_eq!(
        (decoded.tried.len(), decoded.attempts_made(), decoded.unknowns()),
        (0, 1, 0),
        "{decoded:?}"
    );
}

#[test]
fn a_job_keeps_its_last_twenty_attempts_and_what_matters_of_the_rest() {
    let mut job = Job { attempts: Vec::new(), earlier: EarlierAttempts::default(), ..job() };
    let outcomes = [Outcome::Unknown, Outcome::RefusedHere, Outcome::RefusedHere, Outcome::Later];
    for (number, outcome) in (1..).zip(outcomes.iter().cycle().take(400)) {
        let provider = format!("{outcome:?}");
        job.add_attempt(Attempt {
            number,
            provider,
            outcome: *outcome,
            scope: AnswerScope::Message,
            ..attempt()
        });
    }
    assert_eq!(job.attempts.len(), MAX_KEPT_ATTEMPTS);
    assert_eq!((job.attempts[0].number, job.attempts[19].number), (381, 400));
    assert_eq!((job.attempts_made(), job.unknowns()), (400, 100));
    assert_eq!(job.earlier.refused_by, ["RefusedHere"]);
    assert!(job.was_refused_by("RefusedHere") && !job.was_refused_by("Later"));
    assert!(job.encode().len() < 6000, "{} bytes", job.encode().len());
    let of_us =
        Attempt { scope: AnswerScope::Provider, outcome: Outcome::RefusedHere, ..attempt() };
    job.add_attempt(of_us);
    assert!(!job.was_refused_by("main"), "an operator can fix it");
}

/// One change of a run of bytes: some are taken out at a place, others put there.
fn edits() -> impl Strategy<Value = Vec<(prop::sample::Index, usize, Vec<u8>)>> {
    let edit = (any::<prop::sample::Index>(), 0..4_usize, prop::collection::vec(any::<u8>(), 0..4));
    prop::collection::vec(edit, 1..4)
}

fn edited(mut bytes: Vec<u8>, edits: &[(prop::sample::Index, usize, Vec<u8>)]) -> Vec<u8> {
    for (place, taken, put) in edits {
        let from = place.index(bytes.len() + 1);
        let to = (from + taken).min(bytes.len());
        bytes.splice(from..to, put.iter().copied());
    }
    bytes
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!([{ "id": 1 }])),
    ]
}

/// What was taken for a job says the same when it is written again, and its contents are opened or refused.
fn is_whole(bytes: &[u8]) -> Result<(), TestCaseError> {
    let Ok(job) = Job::decode(bytes) else { return Ok(()) };
    prop_assert_eq!(&job.v, WIRE_NAME);
    prop_assert_eq!(&Job::decode(&job.encode()).unwrap(), &job);
    let _owner = job.owner();
    prop_assert!(job.attempts_made() as usize >= job.attempts.len());
    if let Ok(opened) = Contents::open(&keys(), job.message_id, &job.sealed) {
        prop_assert_eq!(opened, contents());
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_bytes_are_a_job_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        is_whole(&bytes)?;
    }

    #[test]
    fn a_damaged_job_is_a_job_or_an_error(edits in edits()) {
        is_whole(&edited(job().encode(), &edits))?;
    }

    #[test]
    fn a_job_with_other_values_is_a_job_or_an_error(
        at in prop::sample::select(vec![
            "v", "message_id", "account_id", "test", "lane", "purpose", "template", "verification",
            "key_id", "accepted_at", "deadline", "epoch", "generation", "attempt", "snoozed",
            "wait_ms", "tried", "attempts", "earlier", "earlier/count", "sealed", "verification/id", "verification/digits",
            "verification/ttl_ms", "attempts/0/number", "attempts/0/outcome",
            "attempts/0/error_code",
        ]),
        value in any_value(),
    ) {
        let mut json: Value = serde_json::from_slice(&job().encode()).unwrap();
        *json.pointer_mut(&format!("/{at}")).unwrap() = value;
        is_whole(&serde_json::to_vec(&json).unwrap())?;
    }

    #[test]
    fn a_damaged_seal_is_never_opened(edits in edits()) {
        let id = MessageId::generate();
        let sealed = contents().seal(&keys(), id);
        let damaged = edited(sealed.clone().into_bytes(), &edits);
        if let Ok(damaged) = String::from_utf8(damaged)
            && damaged != sealed
        {
            prop_assert!(Contents::open(&keys(), id, &damaged).is_err());
        }
    }
}
