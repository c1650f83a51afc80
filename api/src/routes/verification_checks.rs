//! `POST /v1/verifications/check`: whether a code is right.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use postrider_common::model::ids::VerificationId;
use postrider_common::model::owner::Owner;
use postrider_common::store::{Which, verification_subject};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::Object;

use crate::auth::caller::{Caller, Verifies};
use crate::http::body::{Body, Fields};
use crate::http::client_ip::ClientIp;
use crate::http::idempotency::IdempotencyKey;
use crate::http::problem::{Code, Problem};
use crate::messages::check::{self, CodeToCheck};
use crate::messages::limit_subject::Kind;
use crate::openapi::schemas::one_of;
use crate::openapi::{GUARDED, problems};
use crate::routes::verifications::{LONGEST_PURPOSE, rules_of};
use crate::server::state::{App, AppState};

/// Longest code that is looked at: the most digits, full-width, with spaces between.
const MAX_CODE_BYTES: usize = 64;

/// A code to be checked, as the body says it: by phone and purpose, or by the verification's id.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum CheckCode {
    OfPhone(CheckCodeOfPhone),
    OfVerification(CheckCodeOfVerification),
}

#[derive(Debug, Deserialize, ToSchema)]
pub struct CheckCodeOfPhone {
    /// E.164, or a national number of the operator's region
    #[schema(min_length = 1, max_length = 64, example = "13800138000")]
    pub phone: String,
    /// As it was given when the code was sent
    #[schema(pattern = "^[a-z0-9_.-]{1,64}$", example = "login")]
    pub purpose: String,
    /// What the end user typed; spaces, hyphens and full-width digits are fine
    #[schema(min_length = 1, max_length = 64)]
    pub code: String,
    /// The end user's address; believed of a token with the scope `on_behalf`
    #[schema(min_length = 1, max_length = 128, example = "203.0.113.7")]
    pub client_ip: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
pub struct CheckCodeOfVerification {
    /// As the send was answered
    #[schema(format = "uuid")]
    pub id: String,
    /// What the end user typed; spaces, hyphens and full-width digits are fine
    #[schema(min_length = 1, max_length = 64)]
    pub code: String,
    /// The end user's address; believed of a token with the scope `on_behalf`
    #[schema(min_length = 1, max_length = 128, example = "203.0.113.7")]
    pub client_ip: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Approved {
    #[schema(value_type = String, format = "uuid")]
    id: VerificationId,
    #[schema(schema_with = only_approved)]
    status: &'static str,
}

fn only_approved() -> Object {
    one_of(&["approved"])
}

/// Check a code
///
/// A right code is approved once: the same again is 409 `already_used`, unless the `Idempotency-Key` is the same. A
/// wrong one is 422 `code_mismatch` with the tries that are left; after the last, 429 `too_many_attempts`.
#[utoipa::path(
    post, path = "/v1/verifications/check", tag = "codes", operation_id = "check_code",
    security(("bearer" = ["verify"])), params(IdempotencyKey),
    request_body(content = CheckCode, examples(
        ("of_phone" = (summary = "By phone and purpose", value = json!(
            {"phone": "13800138000", "purpose": "login", "code": "482915"}
        ))),
        ("of_verification" = (summary = "By the verification's id", value = json!(
            {"id": "0198c9a1-52f0-7c3e-9d5b-6f1d2a7c4e11", "code": "482915"}
        ))),
    )),
    responses((status = 200, description = "The code was right", body = Approved, example = json!(
        {"id": "0198c9a1-52f0-7c3e-9d5b-6f1d2a7c4e11", "status": "approved"}
    ))),
    extensions(("x-problems" = json!(problems(&[GUARDED, &[
        Code::PurposeInvalid, Code::VerificationNotFound, Code::AlreadyUsed, Code::CodeMismatch,
        Code::TooManyAttempts,
    ]])))),
)]
pub async fn check(
    State(app): State<AppState>,
    mut caller: Caller<Verifies>,
    peer: ClientIp,
    key: IdempotencyKey,
    Body { raw, mut fields }: Body,
) -> Result<(HeaderMap, Json<Approved>), Problem> {
    let ip = peer.of_user(caller.on_behalf(), fields.address("client_ip"));
    let idempotency = key.of(caller.owner(), &raw, &app.keys);
    let owner = caller.owner();
    let asked = read(&app, owner, fields)
        .inspect_err(|wrong| app.refusals.note_unread(wrong, Kind::Check, owner, ip))?;
    let asked = CodeToCheck { ip, idempotency, ..asked };
    let (verdict, limits) = check::check(&app, &mut caller, asked).await?;
    let (id, headers) = check::settled(verdict, &limits)?;
    Ok((headers, Json(Approved { id, status: "approved" })))
}

fn read(app: &App, owner: Owner, mut fields: Fields) -> Result<CodeToCheck, Problem> {
    let code = fields.text("code", MAX_CODE_BYTES);
    let asked = |which| CodeToCheck {
        which,
        phone: None,
        purpose: String::new(),
        code,
        ip: None.into(),
        idempotency: None,
    };
    if fields.has("id") {
        let id = fields.parsed("id", "the id of a verification", |text| text.parse().ok());
        fields.done()?;
        // `done` refuses a null: an id that is there and read as nothing is wrong too.
        let id = id.ok_or_else(|| {
            Problem::field(Code::FieldsInvalid, "id", "type", "is the id of a verification")
        })?;
        return Ok(asked(Which::Id(id)));
    }
    let (phone, purpose) = (fields.text("phone", 64), fields.text("purpose", LONGEST_PURPOSE));
    fields.done()?;
    let phone = app.phone(&phone)?;
    rules_of(app, &purpose)?;
    let which = Which::Subject(verification_subject(owner, &purpose, &phone));
    Ok(CodeToCheck { phone: Some(phone), purpose, ..asked(which) })
}
