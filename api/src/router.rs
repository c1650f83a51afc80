//! The route table: every endpoint, and who may call it. (A handler's extractors say the same and enforce it.)

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;

use crate::app::Shared;
use crate::problem::{Code, Problem};
use crate::{
    health, json, message_list, messages, metrics, notices, queues, request_id, sandbox,
    verification_checks, verifications,
};

/// The API. A listener is passed in by whoever serves it.
pub fn app(app: Shared) -> Router {
    let routes = Router::new()
        //     path                                  who: a token's scope
        .route("/v1/verifications", post(verifications::send)) // send
        .route("/v1/verifications/check", post(verification_checks::check)) // verify
        .route("/v1/verifications/{id}", get(verifications::show)) // read; its own
        .route("/v1/notices", post(notices::send)) // send
        .route("/v1/messages", get(message_list::list)) // read; its own
        .route("/v1/messages/{id}", get(messages::show)) // read; its own
        .route("/v1/queues", get(queues::list)) // admin
        .route("/sandbox/messages", get(sandbox::list)) // read; its own
        .route("/metrics", get(metrics::for_admins)) // admin
        .route("/healthz", get(health::healthz)) // anybody
        .route("/readyz", get(health::readyz)); // anybody
    layered(routes, app)
}

/// What `[metrics] listen` serves, to whoever reaches it.
pub fn operations(app: Shared) -> Router {
    let routes = Router::new()
        .route("/metrics", get(metrics::open)) // anybody
        .route("/healthz", get(health::healthz)) // anybody
        .route("/readyz", get(health::readyz)); // anybody
    layered(routes, app)
}

/// What every request passes, from the last to the first: the id and the body of problems are outermost, so that
/// also a panic and a time-out have both.
fn layered(routes: Router<Shared>, app: Shared) -> Router {
    routes
        .fallback(async || StatusCode::NOT_FOUND)
        .layer(DefaultBodyLimit::max(json::LARGEST))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), in_time))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(request_id::identify))
        .with_state(app)
}

async fn in_time(State(app): State<Shared>, request: Request, next: Next) -> Response {
    let patience = app.settings.server.request_timeout;
    tokio::time::timeout(patience, next.run(request))
        .await
        .unwrap_or_else(|_| Problem::new(Code::RequestTimeout).into_response())
}

#[expect(clippy::needless_pass_by_value, reason = "the layer hands it over so")]
fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text");
    Problem::new(Code::Internal).because(&format!("a handler panicked: {text}")).into_response()
}
