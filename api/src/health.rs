//! `/healthz` and `/readyz`: alive; able to serve.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use postrider_common::database::DatabaseError;
use serde::Serialize;
use tokio::time::timeout;

use crate::app::Shared;

/// A part that says nothing for so long is down.
const PATIENCE: Duration = Duration::from_secs(1);

/// Each part by name.
#[derive(Debug, Serialize)]
pub struct Readiness {
    status: &'static str,
    queue: &'static str,
    store: &'static str,
    database: &'static str,
}

/// `GET /healthz`: this process answers.
pub async fn healthz() -> Json<serde_json::Value> {
    Json(serde_json::json!({ "status": "alive" }))
}

/// `GET /readyz`: whether a message could be accepted now. The database may be away meanwhile: sends go on and
/// rows follow; but without its tables nobody could ever be known.
pub async fn readyz(State(app): State<Shared>) -> (StatusCode, Json<Readiness>) {
    let (queue, store, database) = tokio::join!(
        timeout(PATIENCE, app.queue.ping()),
        timeout(PATIENCE, app.store.ping()),
        timeout(PATIENCE, app.database.ping()),
    );
    if let Ok(Err(error)) = &store {
        // A store that lost its data is given its bans back, also where nobody sends.
        drop(app.store_failed(error));
    }
    let queue = word(matches!(queue, Ok(Ok(()))));
    let store = word(matches!(store, Ok(Ok(()))));
    let database = match database {
        Ok(Ok(())) => "up",
        Ok(Err(DatabaseError::Refused(_))) => "migrations missing",
        Ok(Err(DatabaseError::Unavailable(_))) | Err(_) => "down",
    };
    let ready = queue == "up" && store == "up" && database != "migrations missing";
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let status = if ready { "ready" } else { "not_ready" };
    (code, Json(Readiness { status, queue, store, database }))
}

fn word(up: bool) -> &'static str {
    if up { "up" } else { "down" }
}
