//! `/metrics`: the process's numbers as Prometheus reads them.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use crate::auth::caller::Admin;
use crate::openapi::schemas::Text;
use crate::server::state::AppState;

/// The process's numbers
///
/// As Prometheus reads them. Where the operator has set `[metrics] listen`, they are open there.
#[utoipa::path(
    get, path = "/metrics", tag = "operation", operation_id = "metrics", security(("bearer" = ["admin"])),
    responses((
        status = 200, description = "Prometheus text", content_type = "text/plain", body = Text,
        example = "sms_guard_total{lane=\"code\",answer=\"admitted\"} 7\n"
    )),
)]
pub async fn for_admins(app: State<AppState>, _: Admin) -> impl IntoResponse {
    open(app).await
}

/// `GET /metrics` on a listener of its own, which only operators reach.
pub async fn open(State(app): State<AppState>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], app.metrics.render())
}
