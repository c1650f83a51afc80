//! `/v1/verifications`: sends a code, and says what became of it.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use postrider_common::config::CodeRules;
use postrider_common::ids::{MessageId, VerificationId};
use postrider_common::owner::Owner;
use postrider_common::store::{Accepted, VerificationStatus};
use serde::Serialize;

use crate::app::{App, Shared};
use crate::caller::{Caller, Reads, Sends};
use crate::client_ip::ClientIp;
use crate::clock::rfc3339;
use crate::guard::{Counted, Kind};
use crate::idempotency::IdempotencyKey;
use crate::json::Body;
use crate::problem::{Code, Problem};
use crate::sending::{self, CodeToSend, Origin};
use crate::trace::Trace;

/// The longest purpose that is looked at, in bytes.
pub const LONGEST_PURPOSE: usize = 64;

/// A code that is on its way.
#[derive(Debug, Serialize)]
pub struct Sent {
    id: VerificationId,
    message_id: MessageId,
    status: &'static str,
    expires_at: String,
    resend_at: String,
}

/// `POST /v1/verifications`
pub async fn send(
    State(app): State<Shared>,
    mut caller: Caller<Sends>,
    peer: ClientIp,
    key: IdempotencyKey,
    Trace(trace): Trace,
    Body { raw, mut fields }: Body,
) -> Result<(StatusCode, HeaderMap, Json<Sent>), Problem> {
    let (phone, purpose) = (fields.text("phone", 64), fields.text("purpose", LONGEST_PURPOSE));
    // Taken for the dialects' sake; every template has one language so far.
    let _locale = fields.optional_text("locale", 35);
    let given_ip = fields.address("client_ip");
    fields.done()?;
    let (owner, ip) = (caller.owner(), peer.of_user(&caller, given_ip));
    let known = || Ok((app.phone(&phone)?, rules_of(&app, &purpose)?));
    let (phone, rules) = known().inspect_err(|problem| {
        let counted = Counted { kind: Kind::Code, owner, phone: None, purpose: "", ip };
        app.refusals.note(problem, &counted, "");
    })?;
    let origin = Origin { ip, idempotency: key.of(caller.owner(), &raw, &app.keys), trace };
    let limits = app.settings.code_limits(&purpose);
    let asked = CodeToSend { phone, purpose, rules, limits };
    let (accepted, headers) = sending::code(&app, &mut caller, asked, origin).await?;
    Ok((StatusCode::ACCEPTED, headers, Json(Sent::of(&accepted)?)))
}

impl Sent {
    fn of(accepted: &Accepted) -> Result<Self, Problem> {
        let verification = accepted.verification.as_ref().ok_or_else(|| {
            Problem::new(Code::Internal).because(&"a code was accepted without a verification")
        })?;
        Ok(Self {
            id: verification.job.id,
            message_id: accepted.message_id,
            status: "accepted",
            expires_at: rfc3339(verification.job.expires_at),
            resend_at: rfc3339(accepted.resend_at),
        })
    }
}

/// Whether a text is `^[a-z0-9_.-]{1,64}$`.
pub fn is_purpose(text: &str) -> bool {
    (1..=LONGEST_PURPOSE).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.-".contains(&b))
}

/// The rules of a purpose that this service knows.
pub fn rules_of(app: &App, purpose: &str) -> Result<CodeRules, Problem> {
    let refused = |why, detail| Problem::field(Code::PurposeInvalid, "purpose", why, detail);
    if !is_purpose(purpose) {
        return Err(refused("format", "a purpose is ^[a-z0-9_.-]{1,64}$"));
    }
    let rules = app.settings.code_rules(purpose);
    rules.ok_or_else(|| refused("unknown", "no [purposes] of this name is configured"))
}

/// What became of a verification.
#[derive(Debug, Serialize)]
pub struct Verification {
    id: VerificationId,
    purpose: String,
    status: VerificationStatus,
    sends: u32,
    attempts_left: u32,
    created_at: String,
    expires_at: String,
    approved_at: Option<String>,
}

/// `GET /v1/verifications/{id}`
pub async fn show(
    State(app): State<Shared>,
    caller: Caller<Reads>,
    Path(id): Path<String>,
) -> Result<Json<Verification>, Problem> {
    let not_found = || Problem::new(Code::VerificationNotFound);
    let id: VerificationId = id.parse().map_err(|_| not_found())?;
    let found = app.store.verification(id, None).await;
    let state = found
        .map_err(|error| app.store_failed(&error))?
        .filter(|state| caller.may_see(Owner::of_store_id(state.account_id)))
        .ok_or_else(not_found)?;
    Ok(Json(Verification {
        id: state.id,
        purpose: state.purpose,
        status: state.status,
        sends: state.sends,
        attempts_left: state.attempts_left,
        created_at: rfc3339(state.first_at),
        expires_at: rfc3339(state.expires_at),
        approved_at: state.approved_at.map(rfc3339),
    }))
}
