//! The outermost layer: gives each request an id, writes the body of problems, logs one line and counts.

use std::time::Instant;

use axum::Json;
use axum::extract::{MatchedPath, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

use crate::http::problem::{self, Problem, Told};

const HEADER: HeaderName = HeaderName::from_static("x-request-id");
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
const LONGEST: usize = 64;

tokio::task_local! {
    static CURRENT: String;
}

/// Wraps everything else. What is logged of a request is its method, its route as the table writes it, and its
/// id: never a path, a query or a header, since those may hold phone numbers and tokens.
pub async fn identify(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = given(request.headers()).unwrap_or_else(|| Uuid::now_v7().to_string());
    let method = known(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = CURRENT.scope(id.clone(), next.run(request)).await;
    let (mut response, problem) = with_body(response, &id);
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HEADER, value);
    }
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    record(method, route, &id, &response, problem.as_ref(), began);
    response
}

/// The id of the request that is being answered; `None` outside of any.
pub fn current() -> Option<String> {
    CURRENT.try_with(Clone::clone).ok()
}

/// The caller's own id, if it is one that can be logged as it is.
fn given(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(HEADER)?.to_str().ok()?;
    let fine = (1..=LONGEST).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    fine.then(|| text.to_owned())
}

/// Methods are what a caller makes them: an unknown one must not become a label.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        _ => "OTHER",
    }
}

fn with_body(response: Response, id: &str) -> (Response, Option<Problem>) {
    if let Some(Told(problem)) = response.extensions().get().cloned() {
        return (response, Some(problem));
    }
    let known = response.extensions().get::<Problem>().cloned();
    // An answer of ours that has a body keeps it, whatever its status: /readyz tells what is down.
    let ours =
        response.headers().get(CONTENT_TYPE).is_some_and(|value| value == "application/json");
    let bare = || if ours { None } else { problem::of_bare(response.status()) };
    let Some(problem) = known.or_else(bare) else {
        return (response, None);
    };
    let (mut parts, _) = response.into_parts();
    let mut written = (problem.code.status(), Json(problem.body(id))).into_response();
    parts.headers.remove(axum::http::header::CONTENT_LENGTH);
    written.headers_mut().extend(parts.headers);
    written.headers_mut().insert(CONTENT_TYPE, PROBLEM_JSON);
    (written, Some(problem))
}

fn record(
    method: &'static str,
    route: &str,
    id: &str,
    response: &Response,
    problem: Option<&Problem>,
    began: Instant,
) {
    let status = response.status().as_u16();
    let seconds = began.elapsed().as_secs_f64();
    let labels = [
        ("method", method.to_owned()),
        ("route", route.to_owned()),
        ("status", status.to_string()),
    ];
    metrics::histogram!("sms_http_request_duration_seconds", &labels).record(seconds);
    if let Some(problem) = problem {
        metrics::counter!("sms_http_problems_total", "code" => problem.code.word()).increment(1);
    }
    let code = problem.map(|problem| problem.code.word());
    if let Some(error) = problem.and_then(Problem::cause) {
        tracing::warn!(request.id = id, http.route = route, code, error, "a request failed");
    }
    tracing::info!(
        request.id = id,
        http.request.method = method,
        http.route = route,
        http.response.status_code = status,
        duration_ms = seconds * 1000.0,
        code,
        "answered"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_id_that_can_be_logged_is_taken_over() {
        let taken = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, HeaderValue::from_str(text).unwrap());
            given(&headers)
        };
        assert_eq!(taken("a.B-9_z").as_deref(), Some("a.B-9_z"));
        for text in ["", "a b", "a\"b", "ä", &"a".repeat(65)] {
            assert_eq!(taken(text), None, "{text}");
        }
    }
}
