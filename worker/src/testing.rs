//! Jobs and attempts for the unit tests.

use postrider_common::model::ids::MessageId;
use postrider_common::model::job::{
    AnswerScope, Attempt, EarlierAttempts, Job, Lane, Outcome, WIRE_NAME,
};
use postrider_common::secrets::KeyId;

pub(crate) fn attempt(number: u32, provider: &str, outcome: Outcome) -> Attempt {
    Attempt {
        number,
        provider: provider.to_owned(),
        outcome,
        scope: AnswerScope::Message,
        at: 0,
        duration_ms: 1,
        provider_message_id: None,
        provider_message_hash: None,
        error_code: Some("word".to_owned()),
        error_message: None,
    }
}

/// A job whose attempts so far, all at provider `a`, ended so; its deadline is far.
pub(crate) fn job(lane: Lane, outcomes: &[Outcome]) -> Job {
    let attempts: Vec<_> =
        (1..).zip(outcomes).map(|(number, outcome)| attempt(number, "a", *outcome)).collect();
    Job {
        v: WIRE_NAME.to_owned(),
        message_id: MessageId::generate(),
        account_id: 1,
        test: false,
        lane,
        purpose: "login".to_owned(),
        template: "verify".to_owned(),
        raw_template: false,
        verification: None,
        key_id: KeyId::from("00000000"),
        accepted_at: 0,
        deadline: 1_000_000,
        epoch: "e".to_owned(),
        generation: 0,
        attempt: u32::try_from(attempts.len()).unwrap() + 1,
        snoozed: 0,
        wait_ms: 0,
        tried: Vec::new(),
        attempts,
        earlier: EarlierAttempts::default(),
        sealed: String::new(),
    }
}
