//! `POST /v1/verifications/check`: whether a code is right.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use postrider_common::ids::VerificationId;
use postrider_common::owner::Owner;
use postrider_common::store::{Which, verification_subject};
use serde::Serialize;

use crate::app::{App, Shared};
use crate::caller::{Caller, Verifies};
use crate::checking::{self, CodeToCheck};
use crate::client_ip::ClientIp;
use crate::guard::{Counted, Kind};
use crate::idempotency::IdempotencyKey;
use crate::json::{Body, Fields};
use crate::problem::{Code, Problem};
use crate::verifications::{LONGEST_PURPOSE, rules_of};

#[derive(Debug, Serialize)]
pub struct Approved {
    id: VerificationId,
    status: &'static str,
}

/// `POST /v1/verifications/check`
pub async fn check(
    State(app): State<Shared>,
    mut caller: Caller<Verifies>,
    peer: ClientIp,
    key: IdempotencyKey,
    Body { raw, mut fields }: Body,
) -> Result<(HeaderMap, Json<Approved>), Problem> {
    let ip = peer.of_user(&caller, fields.address("client_ip"));
    let idempotency = key.of(caller.owner(), &raw, &app.keys);
    let asked = read(&app, caller.owner(), fields).inspect_err(|problem| {
        let owner = caller.owner();
        let counted = Counted { kind: Kind::Check, owner, phone: None, purpose: "", ip };
        app.refusals.note(problem, &counted, "");
    })?;
    let asked = CodeToCheck { ip, idempotency, ..asked };
    let (verdict, limits) = checking::check(&app, &mut caller, asked).await?;
    let (id, headers) = checking::settled(verdict, &limits)?;
    Ok((headers, Json(Approved { id, status: "approved" })))
}

fn read(app: &App, owner: Owner, mut fields: Fields) -> Result<CodeToCheck, Problem> {
    let code = fields.text("code", 32);
    let asked = |which| CodeToCheck {
        which,
        phone: None,
        purpose: String::new(),
        code,
        ip: None,
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
