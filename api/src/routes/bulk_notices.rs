//! `POST /v1/notices` with `phones`: each phone guarded on its own, all published, each one's fate in the answer.

use std::collections::HashSet;

use axum::Json;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use postrider_common::model::ids::MessageId;
use postrider_common::model::job::Lane;
use postrider_common::model::phone::PhoneNumber;
use postrider_common::store::{Idempotency, MOST_AT_ONCE};
use serde::Serialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use crate::auth::caller::{Caller, Sends};
use crate::http::clock::unix_ms;
use crate::http::problem::{Code, FieldError, Problem};
use crate::messages::guard;
use crate::messages::send::{NoticeToSend, Origin, check_country};
use crate::server::state::AppState;

#[cfg(test)]
mod tests;

/// Phones in one request at the most.
pub const MOST_PHONES: usize = 1000;
const DAY_MS: i64 = 86_400_000;

/// What became of each phone.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = NoticeFates)]
pub struct Fates {
    accepted: Vec<Accepted>,
    rejected: Vec<Rejected>,
}

/// On its way.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NoticeAccepted)]
struct Accepted {
    #[schema(value_type = String, format = "uuid")]
    id: MessageId,
    /// As it was given.
    phone: String,
}

/// Not sent, and why.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = NoticeRejected)]
struct Rejected {
    /// As it was given.
    phone: String,
    /// A problem's word.
    code: &'static str,
}

/// One phone of the request.
struct Recipient {
    given: String,
    number: Result<PhoneNumber, Problem>,
}

/// Sends a notice to many. 202 if any was accepted; else the problem of the first, with what became of each.
pub async fn send(
    app: &AppState,
    caller: &mut Caller<Sends>,
    notice: &NoticeToSend,
    phones: Vec<String>,
    origin: Origin,
) -> Result<Response, Problem> {
    let recipients = read(app, phones)?;
    app.pressure.check(Lane::Notice)?;
    let mut fates = Fates::default();
    let mut first = None;
    let mut headers = HeaderMap::new();
    for chunk in recipients.chunks(MOST_AT_ONCE) {
        let decided = decide(app, caller, notice, chunk, &origin).await?;
        for (recipient, fate) in chunk.iter().zip(decided) {
            let phone = recipient.given.clone();
            match fate {
                Ok((message, its_headers)) => {
                    headers = its_headers;
                    fates.accepted.push(Accepted { id: message.message_id, phone });
                }
                Err(problem) => {
                    fates.rejected.push(Rejected { phone, code: problem.code.word() });
                    first.get_or_insert(problem);
                }
            }
        }
    }
    match first {
        Some(problem) if fates.accepted.is_empty() => {
            Err(problem.with("rejected", json!(fates.rejected)))
        }
        _ => Ok((StatusCode::ACCEPTED, headers, Json(fates)).into_response()),
    }
}

type Fate = Result<(postrider_common::store::Accepted, HeaderMap), Problem>;

/// Decides about some of the phones. What fails for all of them, once others may have been accepted, is each one's
/// own failure: the answer must still tell what was accepted.
async fn decide(
    app: &AppState,
    caller: &mut Caller<Sends>,
    notice: &NoticeToSend,
    chunk: &[Recipient],
    origin: &Origin,
) -> Result<Vec<Fate>, Problem> {
    let owner = caller.owner();
    let fine = |recipient: &Recipient| {
        let number = recipient.number.clone()?;
        check_country(app, &number).map(|()| number)
    };
    let numbers: Vec<Result<PhoneNumber, Problem>> = chunk.iter().map(fine).collect();
    let asked = numbers.iter().flatten().map(|phone| {
        let (id, idempotency) = of_phone(origin.idempotency.as_ref(), phone);
        let counted = notice.counted(owner, Some(phone), origin.ip);
        notice.asked(app, counted, phone, id, idempotency)
    });
    let asked = asked.collect();
    let batch = origin.idempotency.clone();
    let decided = guard::admit_many(app, caller, batch, asked, origin.trace.clone()).await;
    let mut decided = match decided {
        Err(problem) if matches!(problem.code, Code::IdempotencyKeyReused | Code::KeyMissing) => {
            return Err(problem);
        }
        decided => decided.map(Vec::into_iter),
    };
    let fates = numbers.into_iter().map(|number| {
        let nobody = notice.counted(owner, None, origin.ip);
        let phone = number.inspect_err(|p| app.refusals.note(p, &nobody, &notice.template))?;
        let fate = match &mut decided {
            Ok(fates) => fates.next().unwrap_or_else(|| Err(Problem::new(Code::Internal))),
            Err(problem) => Err(problem.clone()),
        };
        let counted = notice.counted(owner, Some(&phone), origin.ip);
        fate.inspect_err(|problem| app.refusals.note(problem, &counted, &notice.template))
    });
    Ok(fates.collect())
}

/// No number may be there twice: its second SMS would be a mistake. One that can't be read is rejected on its own.
fn read(app: &AppState, phones: Vec<String>) -> Result<Vec<Recipient>, Problem> {
    let recipients: Vec<_> =
        phones.into_iter().map(|given| Recipient { number: app.phone(&given), given }).collect();
    let mut seen = HashSet::new();
    let mut errors = Vec::new();
    for (place, recipient) in recipients.iter().enumerate() {
        if let Ok(number) = &recipient.number
            && !seen.insert(number.as_e164())
        {
            let field = format!("phones[{place}]");
            let detail = "is there twice".to_owned();
            errors.push(FieldError { field, code: "duplicate", detail });
        }
    }
    drop(seen);
    if errors.is_empty() {
        return Ok(recipients);
    }
    Err(Problem::new(Code::FieldsInvalid).errors(&errors))
}

/// The id and the idempotency of one phone of a request with a key: derived, so that a repeat is the same message
/// also to a store that lost its data. The day is part of it, because a key may be used again once it is forgotten.
fn of_phone(
    request: Option<&Idempotency>,
    phone: &PhoneNumber,
) -> (MessageId, Option<Idempotency>) {
    let Some(request) = request else { return (MessageId::generate(), None) };
    let own = format!("{}|{}", request.key, phone.as_e164());
    let key = format!("idem:{}", hex::encode(Sha256::digest(&own)));
    let day = unix_ms() / DAY_MS;
    let id = MessageId::derived(&Sha256::digest(format!("{own}|{day}")).into());
    (id, Some(Idempotency { key, fingerprints: request.fingerprints.clone() }))
}
