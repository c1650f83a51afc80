//! The wire formats of older systems: which are served, whose account a request is, and that whatever goes wrong is
//! told in a dialect's own words. Each dialect is one file, which translates and decides nothing.

mod description;
pub mod flask;
pub mod mall;
pub mod platform;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::marker::PhantomData;

use axum::Router;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{ALLOW, AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use postrider_common::config::{Anonymous, Dialect, Settings};

pub use self::description::{Described, also_by_post};
use crate::auth::caller::{self, Caller, Policy};
use crate::http::client_ip::ClientIp;
use crate::http::layers::bounded;
use crate::http::problem::{self, Code, Problem, Told};
use crate::server::state::AppState;

/// The longest purpose that a dialect has, in bytes: a channel of 255 characters behind its prefix.
pub const LONGEST_PURPOSE: usize = 6 + 4 * 255;

/// The routes of every dialect that is enabled.
pub fn routes(app: &AppState) -> Router<AppState> {
    let served = |dialect| app.settings.dialects.enabled.contains(&dialect);
    let mut routes = Router::new();
    if served(Dialect::Mall) {
        let mall = mall::routes().merge(rest(&["/sms", "/sms/", "/sms/{*rest}"]));
        routes = routes.merge(speaking(mall, app, mall::say));
    }
    if served(Dialect::Flask) {
        let paths = &["/sms_message", "/sms_message/", "/sms_message/{*rest}"];
        let flask = flask::routes().merge(rest(paths));
        routes = routes.merge(speaking(flask, app, flask::say));
    }
    if served(Dialect::Platform) {
        let platform = platform::routes().merge(rest(&["/api/{*rest}"]));
        routes = routes.merge(speaking(platform, app, platform::say));
    }
    routes
}

/// What lies under a dialect's prefix and isn't there.
fn rest(paths: &[&str]) -> Router<AppState> {
    let nowhere = || any(async || StatusCode::NOT_FOUND);
    paths.iter().fold(Router::new(), |routes, path| routes.route(path, nowhere()))
}

/// How a dialect says a problem, at this path.
type Say = fn(&str, &Problem) -> Response;

/// Also a panic, a time-out and a path that isn't there are said so.
fn speaking(routes: Router<AppState>, app: &AppState, say: Say) -> Router<AppState> {
    let timeout = app.settings.server.request_timeout;
    bounded(routes, timeout).layer(middleware::from_fn_with_state(say, translate))
}

async fn translate(State(say): State<Say>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let mut response = next.run(request).await;
    let allow = response.headers_mut().remove(ALLOW);
    let known = response.extensions().get::<Problem>().cloned();
    let Some(problem) = known.or_else(|| problem::of_bare(response.status())) else {
        return response;
    };
    let mut answer = say(&path, &problem);
    if answer.status() != StatusCode::OK {
        // Beside a 200 they would contradict it, and tell what its body keeps to itself.
        let headers = answer.headers_mut();
        headers.extend(problem.clone().into_response().headers().clone());
        headers.extend(allow.map(|methods| (ALLOW, methods)));
    }
    // A dialect may have another status for it than we.
    if answer.status() == StatusCode::UNAUTHORIZED {
        answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    } else {
        answer.headers_mut().remove(WWW_AUTHENTICATE);
    }
    answer.extensions_mut().insert(Told(problem));
    answer
}

/// A dialect that has an account for callers without a token.
trait Profile: Send + Sync + 'static {
    fn anonymous(settings: &Settings) -> Option<&Anonymous>;
}

/// The caller of a dialect: whose token it is, or whose account the network that it comes from is given.
struct Known<D, P>(Caller<P>, PhantomData<D>);

impl<D: Profile, P: Policy> FromRequestParts<AppState> for Known<D, P> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, Problem> {
        let caller = if parts.headers.contains_key(AUTHORIZATION) {
            Caller::from_request_parts(parts, app).await
        } else {
            let Ok(address) = ClientIp::from_request_parts(parts, app).await;
            anonymous::<D, P>(app, address).await
        };
        Ok(Self(caller?, PhantomData))
    }
}

async fn anonymous<D: Profile, P: Policy>(
    app: &AppState,
    address: ClientIp,
) -> Result<Caller<P>, Problem> {
    let address = address.of_caller();
    let trusted = D::anonymous(&app.settings)
        .filter(|anonymous| anonymous.from.iter().any(|network| network.contains(&address)))
        .ok_or_else(|| Problem::new(Code::TokenMissing))?;
    caller::on_trust(app, &trusted.account).await
}

/// What is needed and isn't there.
fn missing(field: &str) -> Problem {
    Problem::field(Code::FieldsInvalid, field, "missing", "is needed")
}

/// The tables take no text with a zero in it, and no channel or purpose has any other control character.
fn fits(text: &str, longest: usize) -> bool {
    text.chars().count() <= longest && !text.contains(char::is_control)
}
