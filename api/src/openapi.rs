//! `/openapi.json`: the description of the API (OpenAPI 3.1), put together from what stands beside each handler.
//!
//! How an endpoint is described:
//!
//! 1. `#[utoipa::path]` on its handler, where the doc comment's first line is the summary and the rest the
//!    description: method, path, tag, `security` (the scope, `("bearer" = ["send"])`; `("bearer" = [])` where any
//!    log-in will do; `()` as well where it goes without; none where anybody may call it), parameters, request body and success, each body with an example.
//! 2. The request's struct beside the handler derives `ToSchema`; nothing reads it, since bodies are read by
//!    [`crate::http::body::Fields`], but tests hold the two together. The answer's struct derives it too; where a field is
//!    of a type that has no schema, `#[schema(schema_with = ..)]` or `value_type` says it ([`schemas`]).
//! 3. `extensions(("x-problems" = json!(problems(&[..]))))` names the codes that only this endpoint answers. Those
//!    that follow from the rest are added by [`problems`]: of the token where it has `security`, of the body where
//!    it has one, of the `Idempotency-Key` where it takes one, of a path's parameter, and of every endpoint.
//! 4. The handler is listed in `Described`, in the order of the route table.
//!
//! An endpoint of a dialect says so (`"x-dialect"`) and describes all of its answers itself; what more is sent to it is
//! ignored.
//!
//! Headers, who may call and the responses of problems are added to all by `finish`; `bodies` closes the requests.

mod bodies;
mod finish;
mod problems;
pub mod schemas;

use std::sync::LazyLock;

use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde_json::Value;
use utoipa::OpenApi as _;

pub use problems::{GUARDED, problems};

use crate::dialects;

/// Every endpoint of the route table.
#[derive(Debug, utoipa::OpenApi)]
#[openapi(
    info(
        title = "Postrider",
        description = include_str!("openapi/introduction.md"),
    ),
    servers((url = "/", description = "where this document was read")),
    paths(
        crate::routes::verifications::send,
        crate::routes::verification_checks::check,
        crate::routes::verifications::show,
        crate::routes::notices::send,
        crate::routes::message_list::list,
        crate::routes::messages::show,
        crate::routes::api_keys::list,
        crate::routes::api_keys::make,
        crate::routes::api_keys::delete,
        crate::routes::accounts::list,
        crate::routes::accounts::post,
        crate::routes::accounts::me,
        crate::routes::password_change::put,
        crate::routes::accounts::show,
        crate::routes::accounts::patch,
        crate::routes::credits::post,
        crate::routes::sessions::create,
        crate::routes::log_out::this_session,
        crate::routes::log_out::every_session,
        crate::routes::queues::list,
        crate::routes::blacklist::list,
        crate::routes::blacklist::add,
        crate::routes::blacklist::remove,
        crate::routes::blacklist::changes,
        crate::routes::explain::explain,
        crate::routes::sandbox::list,
        crate::routes::metrics::for_admins,
        show,
        crate::routes::docs::redirect,
        crate::routes::docs::page,
        crate::routes::docs::file,
        crate::routes::health::healthz,
        crate::routes::health::readyz,
    ),
    tags(
        (name = "codes", description = "Send a verification code, and check it"),
        (name = "notices", description = "Send a templated text without a code"),
        (name = "messages", description = "What became of what was sent"),
        (name = "accounts", description = "Who calls"),
        (name = "operation", description = "For whoever runs the service"),
        (name = "docs", description = "This description"),
    )
)]
struct Described;

/// The whole description.
pub fn document() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
        let mut described = Described::openapi();
        described.merge(dialects::Described::openapi());
        finish::finished(described)
    });
    &DOCUMENT
}

/// This description of the API
///
/// OpenAPI 3.1, made from the code that answers.
#[utoipa::path(
    get, path = "/openapi.json", tag = "docs", operation_id = "show_description",
    responses((
        status = 200, description = "The description", content_type = "application/json",
        body = schemas::Anything, example = json!({"openapi": "3.1.0"})
    )),
)]
pub async fn show() -> impl IntoResponse {
    static BYTES: LazyLock<Bytes> = LazyLock::new(|| document().to_string().into());
    ([(CONTENT_TYPE, "application/json")], BYTES.clone())
}

#[cfg(test)]
mod tests;
