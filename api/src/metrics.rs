//! `/metrics`: the process's numbers as Prometheus reads them.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use crate::app::Shared;
use crate::caller::Admin;

/// `GET /metrics` on the API's own listener.
pub async fn for_admins(app: State<Shared>, _: Admin) -> impl IntoResponse {
    open(app).await
}

/// `GET /metrics` on a listener of its own, which only operators reach.
pub async fn open(State(app): State<Shared>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], app.metrics.render())
}
