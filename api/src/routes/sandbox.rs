//! `GET /sandbox/messages`: what the sandbox provider was handed, so that a newcomer reads the code there.

use axum::Json;
use axum::extract::State;
use postrider_common::model::ids::MessageId;
use postrider_common::model::sandbox::SandboxText;
use postrider_common::store::SandboxMessage;
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::caller::{Caller, Reads};
use crate::http::clock::rfc3339;
use crate::http::problem::{Code, Problem};
use crate::openapi::problems;
use crate::server::state::{App, AppState};

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SandboxTexts)]
pub struct Texts {
    messages: Vec<Kept>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SandboxText)]
struct Kept {
    /// The message's
    #[schema(value_type = String, format = "uuid")]
    id: MessageId,
    /// Masked
    phone: String,
    text: String,
    #[schema(format = DateTime)]
    at: String,
}

/// Read what the sandbox kept
///
/// An account's own texts, newest first; a test key sees those of test keys. Without a sandbox among the providers
/// there is nothing here but for test keys.
#[utoipa::path(
    get, path = "/sandbox/messages", tag = "messages", operation_id = "list_sandbox_messages",
    security(("bearer" = ["read"])),
    responses((status = 200, description = "The texts", body = Texts, example = json!({"messages": [{
        "id": "0198c9a1-52f0-7c3e-9d5b-6f1d2a7c4e12", "phone": "+86138****8000",
        "text": "【Postrider】482915 is your code.", "at": "2026-11-21T03:12:24.480Z"
    }]}))),
    extensions(("x-problems" = json!(problems(&[&[Code::NotFound]])))),
)]
pub async fn list(
    State(app): State<AppState>,
    caller: Caller<Reads>,
) -> Result<Json<Texts>, Problem> {
    if !app.settings.has_sandbox() && !caller.owner().is_test() {
        return Err(Problem::new(Code::NotFound));
    }
    let kept = app.store.sandbox_list(caller.owner().store_id()).await;
    let kept = kept.map_err(|error| app.store_failed(&error))?;
    Ok(Json(Texts { messages: kept.iter().filter_map(|message| open(&app, message)).collect() }))
}

/// What can't be opened any more, its key being gone, isn't shown.
fn open(app: &App, message: &SandboxMessage) -> Option<Kept> {
    let id = message.message_id;
    let SandboxText { phone, text } = SandboxText::open(&app.keys, id, &message.sealed).ok()?;
    Some(Kept { id, phone, text, at: rfc3339(message.at) })
}
