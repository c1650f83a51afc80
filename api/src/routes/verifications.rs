//! `/v1/verifications`: sends a code, and says what became of it.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use postrider_common::config::CodeRules;
use postrider_common::model::ids::{MessageId, VerificationId};
use postrider_common::model::owner::Owner;
use postrider_common::store::{Accepted, VerificationStatus};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::Object;

use crate::auth::caller::{Caller, Reads, Sends};
use crate::http::body::Body;
use crate::http::client_ip::ClientIp;
use crate::http::clock::rfc3339;
use crate::http::idempotency::IdempotencyKey;
use crate::http::problem::{Code, Problem};
use crate::http::trace::Trace;
use crate::messages::limit_subject::Kind;
use crate::messages::send::{self, CodeToSend, Origin};
use crate::openapi::schemas::{one_of, words};
use crate::openapi::{GUARDED, problems};
use crate::server::state::{App, AppState};

#[cfg(test)]
mod tests;

/// The longest purpose that is looked at, in bytes.
pub const LONGEST_PURPOSE: usize = 64;

/// A code to be sent, as the body says it.
#[derive(Debug, ToSchema)]
pub struct SendCode {
    /// E.164, or a national number of the operator's region
    #[schema(min_length = 1, max_length = 64, example = "13800138000")]
    pub phone: String,
    /// What the code is for; each has rules of its own
    #[schema(pattern = "^[a-z0-9_.-]{1,64}$", example = "login")]
    pub purpose: String,
    /// The language that is wished for; taken and ignored, since a template has one
    #[schema(min_length = 1, max_length = 35)]
    pub locale: Option<String>,
    /// The end user's address; believed of a token with the scope `on_behalf`
    #[schema(min_length = 1, max_length = 128, example = "203.0.113.7")]
    pub client_ip: Option<String>,
}

/// A code that is on its way.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SentCode)]
pub struct Sent {
    #[schema(value_type = String, format = "uuid")]
    id: VerificationId,
    #[schema(value_type = String, format = "uuid")]
    message_id: MessageId,
    #[schema(schema_with = only_accepted)]
    status: &'static str,
    /// Until then the code can be checked
    #[schema(format = DateTime)]
    expires_at: String,
    /// From then on another send for this phone is let through by its shortest limit
    #[schema(format = DateTime)]
    resend_at: String,
}

fn only_accepted() -> Object {
    one_of(&["accepted"])
}

/// Send a code
///
/// Sends a verification code to a phone. 202 means that the job is on disk. Asked again while the code lives, the
/// same code is sent again, as another message of the same verification.
#[utoipa::path(
    post, path = "/v1/verifications", tag = "codes", operation_id = "send_code",
    security(("bearer" = ["send"])), params(IdempotencyKey),
    request_body(content = SendCode, example = json!({"phone": "13800138000", "purpose": "login"})),
    responses((
        status = 202, description = "Accepted: the job is on disk", body = Sent, example = json!({
            "id": "0198c9a1-52f0-7c3e-9d5b-6f1d2a7c4e11", "message_id": "0198c9a1-52f0-7c3e-9d5b-6f1d2a7c4e12",
            "status": "accepted", "expires_at": "2026-11-21T03:15:24.123Z", "resend_at": "2026-11-21T03:13:24.123Z"
        })
    )),
    extensions(("x-problems" = json!(problems(&[GUARDED, &[Code::PurposeInvalid, Code::MaxSendsReached]])))),
)]
pub async fn send(
    State(app): State<AppState>,
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
    let (owner, ip) = (caller.owner(), peer.of_user(caller.on_behalf(), given_ip));
    let known = || Ok((app.phone(&phone)?, rules_of(&app, &purpose)?));
    let (phone, rules) =
        known().inspect_err(|wrong| app.refusals.note_unread(wrong, Kind::Code, owner, ip))?;
    let origin = Origin { ip, idempotency: key.of(caller.owner(), &raw, &app.keys), trace };
    let limits = app.settings.code_limits(&purpose);
    let asked = CodeToSend { phone, purpose, rules, limits };
    let (accepted, headers) = send::code(&app, &mut caller, asked, origin).await?;
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
#[derive(Debug, Serialize, ToSchema)]
pub struct Verification {
    #[schema(value_type = String, format = "uuid")]
    id: VerificationId,
    purpose: String,
    #[schema(schema_with = words::<VerificationStatus>)]
    status: VerificationStatus,
    /// How often its code was sent
    sends: u32,
    attempts_left: u32,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    expires_at: String,
    #[schema(format = DateTime, required)]
    approved_at: Option<String>,
}

/// Show a verification
///
/// Its state: `pending`, `approved`, `expired`, or `exhausted` where its attempts are spent. Another account's
/// isn't found.
#[utoipa::path(
    get, path = "/v1/verifications/{id}", tag = "codes", operation_id = "show_verification",
    security(("bearer" = ["read"])), params(("id" = String, Path, description = "The verification's id")),
    responses((status = 200, description = "Its state", body = Verification, example = json!({
        "id": "0198c9a1-52f0-7c3e-9d5b-6f1d2a7c4e11", "purpose": "login", "status": "pending", "sends": 1,
        "attempts_left": 5, "created_at": "2026-11-21T03:12:24.123Z", "expires_at": "2026-11-21T03:15:24.123Z",
        "approved_at": null
    }))),
    extensions(("x-problems" = json!(problems(&[&[Code::VerificationNotFound]])))),
)]
pub async fn show(
    State(app): State<AppState>,
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
