//! `GET /v1/messages/{id}`: one message and its timeline, from its row; until that exists, from the code store.

use axum::Json;
use axum::extract::{Path, State};
use postrider_common::database::DatabaseError;
use postrider_common::database::sms_log::Row;
use postrider_common::model::ids::{MessageId, VerificationId};
use postrider_common::model::job::{Attempt, Lane, Outcome};
use postrider_common::model::owner::Owner;
use postrider_common::store::{MessageState, MessageStatus};
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::caller::{Caller, Reads};
use crate::http::clock::rfc3339;
use crate::http::problem::{Code, Problem};
use crate::openapi::problems;
use crate::openapi::schemas::words;
use crate::server::state::AppState;

/// A message as its account may see it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Message {
    #[schema(value_type = String, format = "uuid")]
    id: MessageId,
    #[schema(schema_with = words::<Lane>)]
    kind: Lane,
    #[schema(schema_with = words::<MessageStatus>)]
    status: MessageStatus,
    /// Of a code
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    purpose: Option<String>,
    /// Of a notice
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    template: Option<String>,
    /// Masked
    phone: String,
    #[schema(value_type = Option<String>, format = "uuid", required)]
    verification_id: Option<VerificationId>,
    /// Who tried last
    #[schema(required)]
    provider: Option<String>,
    /// Why it failed, or is tried again
    #[schema(required)]
    error_code: Option<String>,
    /// All of them; the timeline shows the last 20.
    attempts: u32,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
    #[schema(format = DateTime, required)]
    verified_at: Option<String>,
    /// Sent with a test key: it went to the sandbox.
    test: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    timeline: Vec<Event>,
}

/// One step on its way: a status it came to, or an attempt and its outcome.
#[derive(Debug, Default, Serialize, ToSchema)]
struct Event {
    #[schema(format = DateTime)]
    at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = words::<MessageStatus>, required = false)]
    status: Option<MessageStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = words::<Outcome>, required = false)]
    outcome: Option<Outcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    provider: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    error_code: Option<String>,
}

/// Show a message
///
/// One message and its timeline, from the moment it was accepted. Another account's isn't found. No message is
/// `delivered` yet: what providers report after they accepted it isn't taken.
#[utoipa::path(
    get, path = "/v1/messages/{id}", tag = "messages", operation_id = "show_message",
    security(("bearer" = ["read"])), params(("id" = String, Path, description = "The message's id")),
    responses((status = 200, description = "The message", body = Message, example = json!(example()))),
    extensions(("x-problems" = json!(problems(&[&[Code::MessageNotFound]])))),
)]
pub async fn show(
    State(app): State<AppState>,
    caller: Caller<Reads>,
    Path(id): Path<String>,
) -> Result<Json<Message>, Problem> {
    let not_found = || Problem::new(Code::MessageNotFound);
    let id: MessageId = id.parse().map_err(|_| not_found())?;
    let row = find_row(&app, id).await;
    if let Ok(Some((row, attempts))) = row {
        let shown = caller.may_see(row.owner()).then(|| Message::of_row(&row, &attempts));
        return shown.map(Json).ok_or_else(not_found);
    }
    let state = app.store.message(id).await.map_err(|error| app.store_failed(&error))?;
    if let Some(state) = state {
        let shown = caller
            .may_see(Owner::of_store_id(state.account_id))
            .then(|| Message::of_state(id, state));
        return shown.map(Json).ok_or_else(not_found);
    }
    // The row may have been written between the two looks; if it couldn't be read the first time, say that.
    row?;
    match find_row(&app, id).await? {
        Some((row, attempts)) if caller.may_see(row.owner()) => {
            Ok(Json(Message::of_row(&row, &attempts)))
        }
        None if app.pressure.rows_may_wait() => Err(Problem::new(Code::DatabaseUnavailable)
            .because(&"no row of the message, while rows wait for the database")),
        None if app.database.has_refused_row(id).await? => {
            Err(Problem::new(Code::DatabaseUnavailable)
                .because(&"the message's row is a dead letter: the database refused it"))
        }
        _ => Err(not_found()),
    }
}

async fn find_row(
    app: &AppState,
    id: MessageId,
) -> Result<Option<(Row, Vec<Attempt>)>, DatabaseError> {
    let Some(row) = app.database.message(id).await? else { return Ok(None) };
    let attempts = app.database.attempts(id).await?;
    Ok(Some((row, attempts)))
}

impl Message {
    /// As a list shows it: without its timeline.
    pub fn listed(row: &Row) -> Self {
        let code = row.lane == Lane::Code;
        Self {
            id: row.id,
            kind: row.lane,
            status: row.message_status(),
            purpose: row.purpose.clone(),
            template: (!code).then(|| row.template_code.clone()),
            phone: row.masked_phone(),
            verification_id: row.verification_id,
            provider: row.provider.clone(),
            error_code: row.error_code.clone(),
            attempts: row.attempts,
            created_at: rfc3339(row.create_time),
            updated_at: rfc3339(row.update_time),
            verified_at: row.verify_time.map(rfc3339),
            test: row.test,
            timeline: Vec::new(),
        }
    }

    fn of_row(row: &Row, attempts: &[Attempt]) -> Self {
        let listed = Self::listed(row);
        let end = (listed.status, row.update_time);
        Self { timeline: timeline(row.create_time, attempts, end), ..listed }
    }

    fn of_state(id: MessageId, state: MessageState) -> Self {
        let code = state.lane == Lane::Code;
        let last = state.attempts.last();
        Self {
            id,
            test: Owner::of_store_id(state.account_id).is_test(),
            kind: state.lane,
            status: state.status,
            purpose: (!state.about.purpose.is_empty()).then_some(state.about.purpose),
            template: (!code).then_some(state.about.template),
            phone: state.about.phone,
            verification_id: state.verification_id,
            provider: last.map(|attempt| attempt.provider.clone()),
            error_code: last.and_then(|attempt| attempt.error_code.clone()),
            // Numbered from 1; the store keeps the last ones.
            attempts: last.map_or(0, |attempt| attempt.number),
            created_at: rfc3339(state.accepted_at),
            updated_at: rfc3339(state.updated_at),
            verified_at: None,
            timeline: timeline(
                state.accepted_at,
                &state.attempts,
                (state.status, state.updated_at),
            ),
        }
    }
}

/// Accepted, each attempt, and where it stands now.
fn timeline(accepted_at: i64, attempts: &[Attempt], now: (MessageStatus, i64)) -> Vec<Event> {
    let status = |status, at| Event { at: rfc3339(at), status: Some(status), ..Event::default() };
    let mut events = vec![status(MessageStatus::Accepted, accepted_at)];
    events.extend(attempts.iter().map(|attempt| Event {
        at: rfc3339(attempt.at),
        outcome: Some(attempt.outcome),
        provider: Some(attempt.provider.clone()),
        error_code: attempt.error_code.clone(),
        ..Event::default()
    }));
    if now.0 != MessageStatus::Accepted {
        events.push(status(now.0, now.1));
    }
    events
}

/// A message as the description shows one: sent at the second try.
pub fn example() -> serde_json::Value {
    serde_json::json!({
        "id": "0198c9a1-52f0-7c3e-9d5b-6f1d2a7c4e12", "kind": "code", "status": "sent", "purpose": "login",
        "phone": "+86138****8000", "verification_id": "0198c9a1-52f0-7c3e-9d5b-6f1d2a7c4e11",
        "provider": "second", "error_code": null, "attempts": 2, "created_at": "2026-11-21T03:12:24.123Z",
        "updated_at": "2026-11-21T03:12:26.480Z", "verified_at": null, "test": false,
        "timeline": [
            {"at": "2026-11-21T03:12:24.123Z", "status": "accepted"},
            {"at": "2026-11-21T03:12:24.301Z", "outcome": "later", "provider": "first", "error_code": "busy"},
            {"at": "2026-11-21T03:12:26.480Z", "outcome": "accepted", "provider": "second"},
            {"at": "2026-11-21T03:12:26.480Z", "status": "sent"},
        ],
    })
}

#[cfg(test)]
mod tests {
    use postrider_common::model::job::AnswerScope;

    use super::*;
    use serde_json::json;

    #[test]
    fn a_timeline_begins_with_accepted_and_ends_with_what_is_now() {
        let attempt = Attempt {
            number: 1,
            provider: "main".to_owned(),
            outcome: Outcome::Later,
            scope: AnswerScope::Message,
            at: 1000,
            duration_ms: 5,
            provider_message_id: None,
            provider_message_hash: None,
            error_code: Some("busy".to_owned()),
            error_message: None,
        };
        let events = timeline(0, &[attempt], (MessageStatus::Retrying, 2000));
        assert_eq!(
            json!(events),
            json!([
                {"at": "1970-01-01T00:00:00.000Z", "status": "accepted"},
                {"at": "1970-01-01T00:00:01.000Z", "outcome": "later", "provider": "main",
                 "error_code": "busy"},
                {"at": "1970-01-01T00:00:02.000Z", "status": "retrying"},
            ])
        );
        assert_eq!(timeline(0, &[], (MessageStatus::Accepted, 0)).len(), 1);
    }
}
