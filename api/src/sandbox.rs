//! `GET /sandbox/messages`: what the sandbox provider was handed, so that a newcomer reads the code there.

use axum::Json;
use axum::extract::State;
use postrider_common::ids::MessageId;
use postrider_common::sandbox::SandboxText;
use postrider_common::store::SandboxMessage;
use serde::Serialize;

use crate::app::{App, Shared};
use crate::caller::{Caller, Reads};
use crate::clock::rfc3339;
use crate::problem::{Code, Problem};

#[derive(Debug, Serialize)]
pub struct Texts {
    messages: Vec<Kept>,
}

#[derive(Debug, Serialize)]
struct Kept {
    id: MessageId,
    phone: String,
    text: String,
    at: String,
}

/// `GET /sandbox/messages`: an account's own, newest first; a test key sees those of test keys. Without a
/// sandbox among the providers there is nothing here but for test keys.
pub async fn list(
    State(app): State<Shared>,
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
