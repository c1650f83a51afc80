//! Parameters by name, wherever a request has them: in its query, or in a POST's form or JSON.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, Method, StatusCode};
use postrider_common::config;
use serde_json::value::RawValue;
use url::form_urlencoded;

use crate::auth::caller::{self, Caller, Policy};
use crate::dialects::{anonymous, missing};
use crate::http::client_ip::ClientIp;
use crate::http::problem::{Code, Problem};
use crate::server::state::AppState;

/// Of what is there twice the first counts; a body's come before the query's. Passwords and tokens are among them.
pub(in crate::dialects) struct Parameters {
    given: BTreeMap<String, String>,
    headers: HeaderMap,
}

impl FromRequest<AppState> for Parameters {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &AppState) -> Result<Self, Problem> {
        let (headers, uri) = (request.headers().clone(), request.uri().clone());
        let mut given = match *request.method() {
            Method::POST => of_body(request, app).await?,
            _ => BTreeMap::new(),
        };
        let query = uri.query().unwrap_or_default();
        add(&mut given, form_urlencoded::parse(query.as_bytes()));
        Ok(Self { given, headers })
    }
}

impl Parameters {
    /// One that has to be there; an empty one isn't.
    pub(super) fn needed(&mut self, name: &'static str) -> Result<String, Problem> {
        self.optional(name).ok_or_else(|| missing(name))
    }

    /// Whose token is among them or in the header; or whose account the network that it comes from is given.
    pub(super) async fn caller<P: Policy>(
        &mut self,
        app: &AppState,
        peer: ClientIp,
    ) -> Result<Caller<P>, Problem> {
        let token = match self.optional("token") {
            Some(token) => Cow::Owned(token),
            None if self.headers.contains_key(AUTHORIZATION) => {
                Cow::Borrowed(caller::bearer(&self.headers)?)
            }
            None => return anonymous::<config::Platform, P>(app, peer).await,
        };
        caller::authenticate(app, &token, peer.of_caller()).await
    }

    fn optional(&mut self, name: &str) -> Option<String> {
        self.given.remove(name).filter(|text| !text.trim().is_empty())
    }
}

async fn of_body(request: Request, app: &AppState) -> Result<BTreeMap<String, String>, Problem> {
    let content_type = request.headers().get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let body =
        Bytes::from_request(request, app).await.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Problem::new(Code::BodyTooLarge),
            _ => Problem::new(Code::BodyMalformed),
        })?;
    match essence.as_str() {
        _ if body.is_empty() => Ok(BTreeMap::new()),
        "application/json" => of_json(&body),
        "application/x-www-form-urlencoded" => {
            let mut given = BTreeMap::new();
            add(&mut given, form_urlencoded::parse(&body));
            Ok(given)
        }
        _ => Err(Problem::new(Code::ContentTypeUnsupported)),
    }
}

/// Texts as they are, and numbers as they are written: an amount must not go through a float.
fn of_json(body: &[u8]) -> Result<BTreeMap<String, String>, Problem> {
    let members: BTreeMap<String, &RawValue> =
        serde_json::from_slice(body).map_err(|_| Problem::new(Code::BodyMalformed))?;
    let text = |raw: &RawValue| match raw.get().as_bytes().first() {
        Some(b'"') => serde_json::from_str(raw.get()).ok(),
        Some(b'-' | b'0'..=b'9') => Some(raw.get().to_owned()),
        _ => None,
    };
    Ok(members.into_iter().filter_map(|(name, raw)| Some((name, text(raw)?))).collect())
}

fn add(given: &mut BTreeMap<String, String>, more: form_urlencoded::Parse<'_>) {
    for (name, value) in more {
        given.entry(name.into_owned()).or_insert_with(|| value.into_owned());
    }
}
