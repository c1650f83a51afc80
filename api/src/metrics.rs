//! `/metrics`: the process's numbers as Prometheus reads them.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::app::Shared;
use crate::caller::Admin;

/// OpenTelemetry's buckets for the duration of calls, in seconds.
const BUCKETS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// Starts to count in this process; may be called once.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS)?
        .install_recorder()
}

/// `GET /metrics` on the API's own listener.
pub async fn for_admins(app: State<Shared>, _: Admin) -> impl IntoResponse {
    open(app).await
}

/// `GET /metrics` on a listener of its own, which only operators reach.
pub async fn open(State(app): State<Shared>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], app.metrics.render())
}
