//! Answers whoever watches a worker: /healthz, /readyz and /metrics, on the listener of `[metrics]`, open to whoever
//! reaches it.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{Router, get};
use metrics_exporter_prometheus::PrometheusHandle;
use postrider_common::database::Database;
use postrider_common::queue::Queue;
use postrider_common::store::{Store, StoreError};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::missing_keys::MissingKeys;

/// Longest wait for the database: who probes may wait no longer than a second for the whole answer.
const DATABASE_TIMEOUT: Duration = Duration::from_millis(500);

/// What is looked at.
#[derive(Debug, Clone)]
pub struct Watched {
    pub store: Store,
    pub queue: Queue,
    pub database: Database,
    pub metrics: PrometheusHandle,
    pub key_missing: Arc<MissingKeys>,
}

/// The worker's own routes.
pub fn app(watched: Watched) -> Router {
    Router::new()
        .route("/healthz", get(async || Json(json!({ "status": "ok" }))))
        .route("/readyz", get(ready))
        .route("/metrics", get(async |State(watched): State<Watched>| watched.metrics.render()))
        .with_state(watched)
}

async fn ready(State(watched): State<Watched>) -> (StatusCode, Json<Value>) {
    let (queue, store, database) = tokio::join!(
        watched.queue.check_writes(),
        watched.store.check_writes(),
        timeout(DATABASE_TIMEOUT, watched.database.ping())
    );
    let database = matches!(database, Ok(Ok(())));
    let keys = !watched.key_missing.keep_jobs_waiting();
    // Without the database sends go on, and rows wait in the queue.
    let ready = queue.is_ok() && store.is_ok() && keys;
    let word = |up: bool| if up { "up" } else { "down" };
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let (store, reason) = match store {
        Ok(()) => ("up", None),
        Err(StoreError::Unfit(why)) => ("unfit", Some(why)),
        Err(_) => ("down", None),
    };
    let mut body = json!({
        "status": if ready { "ready" } else { "not_ready" },
        "queue": word(queue.is_ok()),
        "store": store,
        "database": word(database),
        "keys": if keys { "complete" } else { "missing" },
    });
    if let Some(reason) = reason {
        body["reason"] = reason.into();
    }
    (status, Json(body))
}
