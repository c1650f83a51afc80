//! `/v1/api-keys`: long-lived keys of an account, made and deleted by whoever is logged in, and never by a key.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderName, StatusCode};
use ipnet::IpNet;
use postrider_common::database::api_key::{ApiKey, MOST};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::{Array, ArrayBuilder};
use uuid::Uuid;

use crate::auth::account_change::change;
use crate::auth::api_key;
use crate::auth::caller::{Caller, LoggedIn};
use crate::auth::token::Grant;
use crate::http::body::{Body, Fields};
use crate::http::clock::{parse_rfc3339, rfc3339, unix_ms};
use crate::http::problem::{Code, Problem};
use crate::openapi::problems;
use crate::openapi::schemas::one_of;
use crate::server::state::AppState;

/// How much of a key its account may see later on.
const HINT: usize = 12;
/// So many fit their column, whatever they are.
const MOST_NETWORKS: usize = 20;

/// A key as its account may see it: never itself.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiKey)]
pub struct Listed {
    #[schema(format = "uuid")]
    id: String,
    name: String,
    /// Its first characters
    hint: String,
    #[schema(schema_with = scopes)]
    scopes: Vec<String>,
    test: bool,
    /// Where it may be used from; anywhere, where there are none
    #[schema(value_type = Vec<String>)]
    networks: Vec<IpNet>,
    #[schema(format = DateTime, required)]
    expires_at: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
    /// To a minute or so.
    #[schema(format = DateTime, required)]
    last_used: Option<String>,
}

/// What to make, as the body says it.
#[derive(Debug, ToSchema)]
pub struct CreateApiKey {
    /// Without space at its ends
    #[schema(min_length = 1, max_length = 128, example = "shop back end")]
    pub name: String,
    /// None that the caller hasn't
    #[schema(schema_with = scopes)]
    pub scopes: Vec<String>,
    /// What it sends goes to the sandbox
    pub test: Option<bool>,
    /// Where it may be used from: addresses or networks; anywhere, where none is named
    #[schema(max_items = 20)]
    pub networks: Option<Vec<String>>,
    /// A time to come; never, where it isn't said
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
}

fn scopes() -> Array {
    let words = one_of(&Grant::ALL.map(Grant::word));
    ArrayBuilder::new().items(words).min_items(Some(1)).max_items(Some(16)).build()
}

/// A key as the description shows one.
fn example() -> serde_json::Value {
    serde_json::json!({
        "id": "0198c9a1-52f0-7c3e-9d5b-6f1d2a7c4e14", "name": "shop back end", "hint": "pk_live_4fQ0",
        "scopes": ["send", "verify"], "test": false, "networks": ["203.0.113.0/24"], "expires_at": null,
        "created_at": "2026-11-21T03:12:24.123Z", "last_used": null
    })
}

fn example_of_new() -> serde_json::Value {
    let mut made = example();
    made["key"] = "pk_live_4fQ0hYl2s8KqXb7RzvN3mTjW5eUcG1oPaD6iBkEwJxA".into();
    made
}

/// A new key, shown this once.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NewApiKey)]
pub struct Made {
    /// To be sent as `Authorization: Bearer`
    key: String,
    #[serde(flatten)]
    listed: Listed,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiKeys)]
pub struct Keys {
    items: Vec<Listed>,
}

/// What is asked for.
#[derive(Debug)]
struct Asked {
    name: String,
    scopes: Vec<Grant>,
    test: bool,
    networks: Vec<IpNet>,
    expires_at: Option<i64>,
}

/// Make an API key
///
/// The key itself is in this answer and nowhere else. A test key sends to the sandbox alone, and isn't an operator's. An
/// account has at most 100.
#[utoipa::path(
    post, path = "/v1/api-keys", tag = "accounts", operation_id = "create_api_key", security(("bearer" = [])),
    request_body(content = CreateApiKey, example = json!({
        "name": "shop back end", "scopes": ["send", "verify"], "networks": ["203.0.113.0/24"]
    })),
    responses((status = 201, description = "The key", body = Made, example = json!(example_of_new()))),
    extensions(("x-problems" = json!(problems(&[&[Code::ScopeMissing, Code::TooManyKeys]])))),
)]
pub async fn make(
    State(app): State<AppState>,
    caller: Caller<LoggedIn>,
    Body { fields, .. }: Body,
) -> Result<(StatusCode, [(HeaderName, &'static str); 1], Json<Made>), Problem> {
    let now = app.store_now().await?;
    let asked = read(fields, now)?;
    if let Some(lacking) = asked.scopes.iter().find(|scope| !caller.holds(**scope)) {
        let detail = format!("the scope `{}` is not yours to give", lacking.word());
        return Err(Problem::new(Code::ScopeMissing).detail(detail));
    }
    let (key, kept) = generate(asked, now);
    let adding = {
        let (app, id, kept) = (Arc::clone(&app), caller.account_id(), kept.clone());
        async move { Ok(app.database.add_api_key(id, &kept).await?) }
    };
    if !change(&app.accounts, caller.account_id(), adding).await? {
        let detail = format!("an account has at most {MOST} keys");
        return Err(Problem::new(Code::TooManyKeys).detail(detail));
    }
    tracing::info!(account.id = caller.account_id(), api_key.id = kept.id, "an API key was made");
    let made = Made { key, listed: Listed::of(&kept) };
    Ok((StatusCode::CREATED, [(CACHE_CONTROL, "no-store")], Json(made)))
}

/// List API keys
///
/// Those of the account that calls, oldest first; never the keys themselves.
#[utoipa::path(
    get, path = "/v1/api-keys", tag = "accounts", operation_id = "list_api_keys", security(("bearer" = [])),
    responses((status = 200, description = "All of them", body = Keys, example = json!({"items": [example()]}))),
)]
pub async fn list(
    State(app): State<AppState>,
    caller: Caller<LoggedIn>,
) -> Result<Json<Keys>, Problem> {
    // From the table: what is kept in memory doesn't know the latest uses.
    let keys = app.database.api_keys(caller.account_id()).await?;
    Ok(Json(Keys { items: keys.iter().map(|key| Listed::of(key)).collect() }))
}

/// Delete an API key
///
/// It is dead at once, on every replica. Where the store can't be told the answer is 503: the same again tells it.
#[utoipa::path(
    delete, path = "/v1/api-keys/{id}", tag = "accounts", operation_id = "delete_api_key", security(("bearer" = [])),
    params(("id" = String, Path, description = "The key's id")),
    responses((status = 204, description = "The key is dead")),
    extensions(("x-problems" = json!(problems(&[&[Code::ApiKeyNotFound]])))),
)]
pub async fn delete(
    State(app): State<AppState>,
    caller: Caller<LoggedIn>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id = id.parse::<Uuid>().map_err(|_| Problem::new(Code::ApiKeyNotFound))?.to_string();
    let deleting = {
        let (app, account, id) = (Arc::clone(&app), caller.account_id(), id.clone());
        async move { Ok(app.database.delete_api_key(account, &id, unix_ms()).await?) }
    };
    // The store is told also where it was gone already: it may not have been told that time.
    if !change(&app.accounts, caller.account_id(), deleting).await? {
        return Err(Problem::new(Code::ApiKeyNotFound));
    }
    tracing::info!(account.id = caller.account_id(), api_key.id = id, "an API key was deleted");
    Ok(StatusCode::NO_CONTENT)
}

fn read(mut fields: Fields, now: i64) -> Result<Asked, Problem> {
    let name = fields.text("name", 128);
    if !name.is_empty() && (name.trim() != name || name.contains(char::is_control)) {
        fields.note("name", "format", "has no space at its ends");
    }
    let scopes = fields.parsed_list("scopes", 16, "a scope", Grant::of_word);
    if scopes.is_empty() && !fields.has_errors("scopes") {
        fields.note("scopes", "missing", "names at least one scope");
    }
    let test = fields.flag("test");
    if test && scopes.contains(&Grant::Admin) {
        fields.note("scopes", "test", "a test key can't have `admin`");
    }
    let networks =
        fields.parsed_list("networks", MOST_NETWORKS, "a network like 10.0.0.0/8", network);
    let expires_at = fields.parsed("expires_at", "a time to come as RFC 3339 says it", |text| {
        parse_rfc3339(text).filter(|at| *at > now)
    });
    fields.done()?;
    Ok(Asked { name, scopes, test, networks, expires_at })
}

/// A single address is a network too.
fn network(text: &str) -> Option<IpNet> {
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse().ok().or_else(address).map(|network: IpNet| network.trunc())
}

/// A new key, and what is kept of it.
fn generate(asked: Asked, now: i64) -> (String, ApiKey) {
    let key = api_key::generate(asked.test);
    let mut words: Vec<_> = Vec::new();
    for scope in &asked.scopes {
        if !words.contains(&scope.word()) {
            words.push(scope.word());
        }
    }
    let kept = ApiKey {
        id: Uuid::now_v7().to_string(),
        name: asked.name,
        hint: key[..HINT].to_owned(),
        hash: api_key::hash(&key),
        scopes: words.join(" "),
        test: asked.test,
        networks: asked.networks,
        expires_at: asked.expires_at,
        last_used: None,
        create_time: now,
    };
    (key, kept)
}

impl Listed {
    fn of(key: &ApiKey) -> Self {
        Self {
            id: key.id.clone(),
            name: key.name.clone(),
            hint: key.hint.clone(),
            scopes: key.scopes.split(' ').map(str::to_owned).collect(),
            test: key.test,
            networks: key.networks.clone(),
            expires_at: key.expires_at.map(rfc3339),
            created_at: rfc3339(key.create_time),
            last_used: key.last_used.map(rfc3339),
        }
    }
}

#[cfg(test)]
mod tests;
