//! The answer that most sends get: a new message, told by what its request doesn't say.

use serde::Deserialize;

use super::wire;
use crate::model::job::JobVerification;
use crate::store::{Accepted, AcceptedVerification, Admit, AdmitAnswer, LimitState, StoreError};

/// In the order in which `admit.lua` lists them. `expires_at`: of a code; 0 of a notice.
#[derive(Deserialize)]
struct NewMessage {
    accepted_at: i64,
    deadline: i64,
    epoch: String,
    resend_at: i64,
    expires_at: i64,
    #[serde(deserialize_with = "crate::store::operation::short::states")]
    limits: Vec<LimitState>,
}

/// Reads what follows the answer's letter.
pub(super) fn read(answer: &[u8], request: &Admit) -> Result<AdmitAnswer, StoreError> {
    let NewMessage { accepted_at, deadline, epoch, resend_at, expires_at, limits } =
        wire::unpack(answer)?;
    let verification = request.verification.as_ref().map(|new| AcceptedVerification {
        key_id: new.key_id.clone(),
        job: JobVerification {
            id: new.id,
            digits: new.digits,
            ttl_ms: new.ttl_ms,
            first_at: accepted_at,
            expires_at,
            sends: 1,
            max_attempts: new.max_attempts,
            remember_ms: new.remember_ms,
        },
    });
    let message_id = request.message_id;
    let client_ip = request.about.client_ip;
    let message =
        Accepted { message_id, accepted_at, deadline, epoch, resend_at, client_ip, verification };
    Ok(AdmitAnswer::Admitted { message, again: false, limits })
}
