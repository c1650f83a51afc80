//! `/docs`: a page to read and try the API's description with, from the binary alone.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use axum::body::Bytes;
use axum::extract::Path;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{IntoResponse, Redirect};
use utoipa_swagger_ui::Config;

use crate::http::problem::{Code, Problem};
use crate::openapi::schemas::Text;

/// Scripts and calls are this origin's only. The page sets styles on its elements, and draws icons from `data:`.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page's address
///
/// The page's files are named relative to `/docs/`.
#[utoipa::path(
    get, path = "/docs", tag = "docs", operation_id = "redirect_to_page",
    responses((
        status = 308, description = "It is at `/docs/`", headers(("Location" = String, description = "`/docs/`"))
    )),
)]
pub async fn redirect() -> Redirect {
    Redirect::permanent("/docs/")
}

/// A page to read and try the API with
#[utoipa::path(
    get, path = "/docs/", tag = "docs", operation_id = "show_page",
    responses((
        status = 200, description = "The page", content_type = "text/html", body = Text,
        example = "<!DOCTYPE html>"
    )),
)]
pub async fn page() -> Result<impl IntoResponse, Problem> {
    served("index.html")
}

/// A file of the page
#[utoipa::path(
    get, path = "/docs/{file}", tag = "docs", operation_id = "show_page_file",
    params(("file" = String, Path, description = "Its name", example = "swagger-initializer.js")),
    responses((
        status = 200, description = "A script, style or icon of the page", content_type = "*/*", body = Text,
        example = "window.onload = function() {}"
    )),
    extensions(("x-problems" = json!(crate::openapi::problems(&[&[Code::NotFound]])))),
)]
pub async fn file(Path(name): Path<String>) -> Result<impl IntoResponse, Problem> {
    served(&name)
}

fn served(name: &str) -> Result<impl IntoResponse + use<>, Problem> {
    static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| {
        // No validator: it would ask a server outside of here.
        let config = Config::from("/openapi.json").validator_url("none");
        Arc::new(config.use_base_layout().try_it_out_enabled(true))
    });
    let found = utoipa_swagger_ui::serve(name, Arc::clone(&CONFIG));
    let found = found.map_err(|error| Problem::new(Code::Internal).because(&error))?;
    let found = found.ok_or_else(|| Problem::new(Code::NotFound))?;
    let headers = [
        (CONTENT_TYPE, found.content_type),
        (CONTENT_SECURITY_POLICY, POLICY.to_owned()),
        (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (REFERRER_POLICY, "no-referrer".to_owned()),
        (CACHE_CONTROL, "no-cache".to_owned()),
    ];
    // The page is in the binary, and 1.5 MB large: it is answered from there, not from a copy for each request.
    let bytes = match found.bytes {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => Bytes::from(bytes),
    };
    Ok((headers, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;

    #[tokio::test]
    async fn a_file_is_not_copied_to_be_answered() {
        let answered = async || {
            let body = served("swagger-ui-bundle.js").unwrap().into_response().into_body();
            to_bytes(body, usize::MAX).await.unwrap()
        };
        let (first, second) = (answered().await, answered().await);
        assert!(first.len() > 100_000, "{}", first.len());
        assert_eq!(first.as_ptr(), second.as_ptr());
    }
}
