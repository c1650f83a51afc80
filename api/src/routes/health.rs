//! `/healthz` and `/readyz`: alive; able to serve.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use postrider_common::database::{Database, DatabaseError};
use postrider_common::store::StoreError;
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;
use utoipa::openapi::schema::Object;

use crate::openapi::schemas::one_of;
use crate::server::state::AppState;

/// Longest wait for the database: who probes may wait no longer than a second for the whole answer.
const DATABASE_TIMEOUT: Duration = Duration::from_millis(500);

/// Each part by name.
#[derive(Debug, Serialize, ToSchema)]
pub struct Readiness {
    #[schema(schema_with = readiness)]
    status: &'static str,
    #[schema(schema_with = part)]
    queue: &'static str,
    #[schema(schema_with = store)]
    store: &'static str,
    #[schema(schema_with = database)]
    database: &'static str,
    /// What to change where the store is unfit
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Liveness {
    #[schema(schema_with = alive)]
    status: &'static str,
}

fn readiness() -> Object {
    one_of(&["ready", "not_ready"])
}

fn part() -> Object {
    one_of(&["up", "down"])
}

fn store() -> Object {
    one_of(&["up", "down", "unfit"])
}

fn database() -> Object {
    one_of(&["up", "down", "migrations missing"])
}

fn alive() -> Object {
    one_of(&["alive"])
}

/// Alive?
///
/// This process answers.
#[utoipa::path(
    get, path = "/healthz", tag = "operation", operation_id = "healthz",
    responses((status = 200, description = "It does", body = Liveness, example = json!({"status": "alive"}))),
)]
pub async fn healthz() -> Json<Liveness> {
    Json(Liveness { status: "alive" })
}

/// Ready?
///
/// Whether a message could be accepted now: queue and store take writes. The database may be away meanwhile: sends go on and
/// rows follow; but without its tables nobody could ever be known.
#[utoipa::path(
    get, path = "/readyz", tag = "operation", operation_id = "readyz",
    responses(
        (status = 200, description = "It could", body = Readiness, example = json!(
            {"status": "ready", "queue": "up", "store": "up", "database": "up"}
        )),
        (status = 503, description = "It couldn't: see what is down", body = Readiness, example = json!(
            {"status": "not_ready", "queue": "up", "store": "down", "database": "up"}
        )),
    ),
)]
pub async fn readyz(State(app): State<AppState>) -> (StatusCode, Json<Readiness>) {
    let (queue, store, database) = tokio::join!(
        app.queue.check_writes(),
        app.store.check_writes(),
        timeout(DATABASE_TIMEOUT, app.database.ping()),
    );
    if let Err(error) = &store {
        // A store that lost its data is given its bans back, also where nobody sends.
        drop(app.store_failed(error));
    }
    let queue = word(queue.is_ok());
    let (store, reason) = match store {
        Ok(()) => ("up", None),
        Err(StoreError::Unfit(why)) => ("unfit", Some(why)),
        Err(_) => ("down", None),
    };
    let database = match database {
        Ok(Ok(())) => "up",
        Ok(Err(DatabaseError::TablesMissing(_))) => "migrations missing",
        Ok(Err(_)) | Err(_) => "down",
    };
    let embedded = matches!(app.database, Database::Sqlite(_));
    let tables = database == "up" || (database == "down" && !embedded);
    let ready = queue == "up" && store == "up" && tables;
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let status = if ready { "ready" } else { "not_ready" };
    (code, Json(Readiness { status, queue, store, database, reason }))
}

fn word(up: bool) -> &'static str {
    if up { "up" } else { "down" }
}
