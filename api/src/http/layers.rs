//! Layers around every route: bounds on body and time, and an answer where a handler panics.

use std::any::Any;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::CONNECTION;
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use tower_http::catch_panic::CatchPanicLayer;

use crate::http::body;
use crate::http::body_progress::BodyProgress;
use crate::http::problem::{Code, Problem};

/// Adds the bounds that no handler sets itself: the bytes of a body, the time that an answer may take, and an answer where a
/// handler panics.
pub fn bounded<S: Clone + Send + Sync + 'static>(
    routes: Router<S>,
    timeout: Duration,
) -> Router<S> {
    routes
        .layer(DefaultBodyLimit::max(body::LARGEST))
        .layer(middleware::from_fn_with_state(timeout, in_time))
        .layer(CatchPanicLayer::custom(panicked))
}

async fn in_time(State(timeout): State<Duration>, request: Request, next: Next) -> Response {
    let (request, progress) = BodyProgress::watch(request);
    tokio::time::timeout(timeout, next.run(request)).await.unwrap_or_else(|_| {
        if !progress.is_awaited() {
            return Problem::new(Code::RequestTimeout).into_response();
        }
        // Nothing was done yet: a handler reads all of a body first. Its rest would be taken for another request.
        let close = HeaderMap::from_iter([(CONNECTION, HeaderValue::from_static("close"))]);
        Problem::new(Code::BodyTimeout).headers(close).into_response()
    })
}

#[expect(clippy::needless_pass_by_value, reason = "the layer hands it over so")]
fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text");
    Problem::new(Code::Internal).because(&format!("a handler panicked: {text}")).into_response()
}
