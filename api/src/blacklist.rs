//! `/v1/blacklist`: the bans, for operators. The table first, since it is the truth; then the store, which enforces it
//! at once on every replica.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use ipnet::IpNet;
use postrider_common::config::Bans;
use postrider_common::database::blacklist::{BanKind, BlacklistEntry};
use postrider_common::database::blacklist_write::{BlacklistChange, Lift};
use postrider_common::database::{Database, DatabaseError};
use postrider_common::epoch::{self, RestoreError};
use postrider_common::phone::PhoneNumber;
use postrider_common::store::{Ban, Store, StoreError};
use serde::Serialize;
use utoipa::openapi::schema::Object;
use utoipa::{IntoParams, ToSchema};

use crate::app::{App, Shared};
use crate::bans::{is_safe_address, is_safe_phone};
use crate::caller::Admin;
use crate::clock::{parse_rfc3339, rfc3339, unix_ms};
use crate::json::{Body, Fields};
use crate::openapi::problems;
use crate::openapi::schemas::one_of;
use crate::pages::{PageParams, PageQuery, Pages};
use crate::problem::{Code, Problem};

#[cfg(test)]
mod tests;

const LONGEST_REASON: usize = 1000;

/// Why a ban couldn't be set or lifted.
#[derive(Debug, thiserror::Error)]
pub enum BlacklistError {
    /// Nothing was changed.
    #[error("the table of bans: {0}")]
    Table(#[from] DatabaseError),
    /// It is in the table, but not enforced yet: to be asked for again.
    #[error("the table has it, but the store isn't told: {0}")]
    Store(#[from] StoreError),
}

/// One ban. Phone numbers are masked, whole or not.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Ban)]
pub struct Entry {
    #[schema(schema_with = kinds)]
    kind: &'static str,
    value: String,
    reason: String,
    /// An account's user name; `postrider` where it came by itself, `postrider-api` from the command line.
    created_by: String,
    #[schema(format = DateTime)]
    created_at: String,
    /// Null: for good.
    #[schema(format = DateTime, required)]
    until: Option<String>,
}

/// What to ban, as the body says it.
#[derive(Debug, ToSchema)]
pub struct AddBan {
    #[schema(schema_with = kinds)]
    pub kind: String,
    /// A number, the beginning of numbers in E.164, an address, or a network
    #[schema(min_length = 1, max_length = 64, example = "203.0.113.7")]
    pub value: String,
    #[schema(min_length = 1, max_length = 1000)]
    pub reason: String,
    /// A time to come; for good, where it isn't said
    #[schema(format = DateTime)]
    pub until: Option<String>,
}

/// What to lift, as the body says it.
#[derive(Debug, ToSchema)]
pub struct LiftBan {
    #[schema(schema_with = kinds)]
    pub kind: String,
    /// As it was banned
    #[schema(min_length = 1, max_length = 64, example = "203.0.113.7")]
    pub value: String,
    #[schema(min_length = 1, max_length = 1000)]
    pub reason: Option<String>,
}

/// Which bans are asked for.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct WantedBans {
    #[param(schema_with = kinds)]
    pub kind: Option<String>,
}

pub fn kinds() -> Object {
    one_of(&BanKind::ALL.map(BanKind::as_str))
}

/// List bans
///
/// Those in force.
#[utoipa::path(
    get, path = "/v1/blacklist", tag = "operation", operation_id = "list_bans", security(("bearer" = ["admin"])),
    params(WantedBans, PageParams),
    responses((status = 200, description = "A page of them", body = Pages<Entry>, example = json!({
        "items": [example()], "next_cursor": null
    }))),
)]
pub async fn list(
    State(app): State<Shared>,
    _: Admin,
    PageQuery(query): PageQuery,
) -> Result<Json<Pages<Entry>>, Problem> {
    let mut fields = Fields::new(query);
    let kind = fields.parsed("kind", "`phone`, `phone_prefix`, `ip` or `cidr`", BanKind::of_word);
    let page = fields.page(|key| {
        let (kind, value) = key.split_once(' ')?;
        Some((BanKind::of_word(kind)?, value.to_owned()))
    });
    fields.done()?;
    let after = page.after.as_ref().map(|(kind, value)| (*kind, value.as_str()));
    let bans = app.database.bans_page(unix_ms(), kind, after, page.limit + 1).await?;
    let key = |ban: &BlacklistEntry| format!("{} {}", ban.kind, ban.value);
    Ok(Json(Pages::of(&bans, page.limit, key, Entry::of)))
}

/// A ban as the description shows one.
pub fn example() -> serde_json::Value {
    serde_json::json!({
        "kind": "ip", "value": "203.0.113.7", "reason": "a thousand sends a minute", "created_by": "ops",
        "created_at": "2026-11-21T03:12:24.123Z", "until": null
    })
}

/// Ban
///
/// A phone, numbers that begin alike, an address or a network. It works at once, on every replica; one that is there is
/// replaced.
#[utoipa::path(
    post, path = "/v1/blacklist", tag = "operation", operation_id = "ban", security(("bearer" = ["admin"])),
    request_body(content = AddBan, example = json!(
        {"kind": "ip", "value": "203.0.113.7", "reason": "a thousand sends a minute"}
    )),
    responses((status = 201, description = "The ban", body = Entry, example = json!(example()))),
    extensions(("x-problems" = json!(problems(&[&[Code::SafeListed]])))),
)]
pub async fn add(
    State(app): State<Shared>,
    admin: Admin,
    Body { mut fields, .. }: Body,
) -> Result<(StatusCode, Json<Entry>), Problem> {
    let now = unix_ms();
    let reason = fields.text("reason", LONGEST_REASON);
    let until = fields.parsed("until", "a time to come as RFC 3339 says it", |text| {
        parse_rfc3339(text).filter(|until| *until > now)
    });
    let (kind, value) = subject(&app, fields)?;
    if is_safe(&app.settings.bans, kind, &value) {
        let detail = "it is on the safe list, [bans] safe_phones and safe_networks";
        return Err(Problem::field(Code::SafeListed, "value", "safe", detail));
    }
    let created_by = admin.account().username.clone();
    let entry = BlacklistEntry { kind, value, reason, created_by, until, create_time: now };
    set(&app.database, &app.store, &entry).await.map_err(|error| app.blacklist_failed(error))?;
    Ok((StatusCode::CREATED, Json(Entry::of(&entry))))
}

/// Lift a ban
///
/// What to lift is said in a body, since a query string ends up in logs.
#[utoipa::path(
    delete, path = "/v1/blacklist", tag = "operation", operation_id = "lift_ban", security(("bearer" = ["admin"])),
    request_body(content = LiftBan, example = json!({"kind": "ip", "value": "203.0.113.7"})),
    responses((status = 204, description = "It is lifted")),
    extensions(("x-problems" = json!(problems(&[&[Code::NotBlacklisted]])))),
)]
pub async fn remove(
    State(app): State<Shared>,
    admin: Admin,
    Body { mut fields, .. }: Body,
) -> Result<StatusCode, Problem> {
    let reason = fields.optional_text("reason", LONGEST_REASON).unwrap_or_default();
    let (kind, value) = subject(&app, fields)?;
    let by = &admin.account().username;
    let asked = Lift { kind, value: &value, reason: &reason, by, now: unix_ms() };
    let lifted = lift(&app.database, &app.store, &asked).await;
    let was_there = lifted.map_err(|error| app.blacklist_failed(error))?;
    if was_there { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::new(Code::NotBlacklisted)) }
}

/// One change of the blacklist: who did what when, and why.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BanChange)]
pub struct Change {
    #[schema(schema_with = actions)]
    action: &'static str,
    #[schema(schema_with = kinds)]
    kind: &'static str,
    value: String,
    reason: String,
    changed_by: String,
    #[schema(format = DateTime)]
    changed_at: String,
    #[schema(format = DateTime, required)]
    until: Option<String>,
}

fn actions() -> Object {
    one_of(&["banned", "lifted"])
}

/// List changes of the blacklist
///
/// Who banned or lifted what when, and why; newest first.
#[utoipa::path(
    get, path = "/v1/blacklist/changes", tag = "operation", operation_id = "list_ban_changes",
    security(("bearer" = ["admin"])), params(PageParams),
    responses((status = 200, description = "A page of them", body = Pages<Change>, example = json!({
        "items": [{
            "action": "banned", "kind": "ip", "value": "203.0.113.7", "reason": "a thousand sends a minute",
            "changed_by": "ops", "changed_at": "2026-11-21T03:12:24.123Z", "until": null
        }],
        "next_cursor": null
    }))),
)]
pub async fn changes(
    State(app): State<Shared>,
    _: Admin,
    PageQuery(query): PageQuery,
) -> Result<Json<Pages<Change>>, Problem> {
    let mut fields = Fields::new(query);
    let page = fields.page(|key| {
        let (time, id) = key.split_once(' ')?;
        Some((time.parse::<i64>().ok()?, id.to_owned()))
    });
    fields.done()?;
    let after = page.after.as_ref().map(|(time, id)| (*time, id.as_str()));
    let changes = app.database.blacklist_changes(after, page.limit + 1).await?;
    let key = |change: &BlacklistChange| format!("{} {}", change.create_time, change.id);
    Ok(Json(Pages::of(&changes, page.limit, key, Change::of)))
}

/// Sets a ban; a store that lost its data is given all of them.
pub async fn set(
    database: &Database,
    store: &Store,
    entry: &BlacklistEntry,
) -> Result<(), BlacklistError> {
    let ban = entry.ban().ok_or_else(|| StoreError::Broken("it can't look that up".to_owned()))?;
    database.ban(entry).await?;
    tell(database, store, &ban).await
}

async fn tell(database: &Database, store: &Store, ban: &Ban) -> Result<(), BlacklistError> {
    match store.ban(std::slice::from_ref(ban)).await {
        Err(StoreError::Lost) => {}
        told => return Ok(told?),
    }
    match epoch::restore(store, database).await {
        Ok(()) => {}
        Err(RestoreError::Database(error)) => return Err(error.into()),
        Err(RestoreError::Store(error)) => return Err(error.into()),
    }
    // Another process may have read the table before this ban was in it, and restored first.
    Ok(store.ban(std::slice::from_ref(ban)).await?)
}

/// Lifts a ban; `false` where there was none. The store is told in any case, so that asking again mends what failed.
pub async fn lift(
    database: &Database,
    store: &Store,
    lift: &Lift<'_>,
) -> Result<bool, BlacklistError> {
    let subject = lift.kind.subject(lift.value);
    let subject = subject.ok_or_else(|| StoreError::Broken("it can't look that up".to_owned()))?;
    let was_there = database.unban(lift).await?;
    match store.unban(&[subject]).await {
        // A store that lost its data gets its bans from the table, where this one is no more.
        Ok(()) | Err(StoreError::Lost) => Ok(was_there),
        Err(error) => Err(error.into()),
    }
}

/// Whether no ban of this would ever hit.
pub fn is_safe(rules: &Bans, kind: BanKind, value: &str) -> bool {
    match kind {
        BanKind::Phone => is_safe_phone(rules, value),
        BanKind::Ip => value.parse().is_ok_and(|address| is_safe_address(rules, address)),
        BanKind::Cidr => value
            .parse::<IpNet>()
            .is_ok_and(|network| rules.safe_networks.iter().any(|safe| safe.contains(&network))),
        // A prefix hits what isn't safe behind it.
        BanKind::PhonePrefix => false,
    }
}

/// What is to be banned or lifted, in its one written form.
fn subject(app: &App, mut fields: Fields) -> Result<(BanKind, String), Problem> {
    if !fields.has("kind") {
        fields.note("kind", "missing", "is needed");
    }
    let kind = fields.parsed("kind", "`phone`, `phone_prefix`, `ip` or `cidr`", BanKind::of_word);
    let value = fields.text("value", 64);
    let written = kind.map(|kind| (kind, kind.normalise(&value, app.region)));
    if let Some((_, Err(error))) = &written
        && !value.is_empty()
    {
        fields.note("value", "format", error.problem());
    }
    fields.done()?;
    match written {
        Some((kind, Ok(value))) => Ok((kind, value)),
        _ => Err(Problem::field(Code::FieldsInvalid, "kind", "missing", "is needed")),
    }
}

impl App {
    fn blacklist_failed(self: &std::sync::Arc<Self>, error: BlacklistError) -> Problem {
        match error {
            BlacklistError::Table(error) => error.into(),
            BlacklistError::Store(error) => self.store_failed(&error),
        }
    }
}

impl Entry {
    pub fn of(ban: &BlacklistEntry) -> Self {
        Self {
            kind: ban.kind.as_str(),
            value: shown(ban.kind, &ban.value),
            reason: ban.reason.clone(),
            created_by: ban.created_by.clone(),
            created_at: rfc3339(ban.create_time),
            until: ban.until.map(rfc3339),
        }
    }
}

impl Change {
    fn of(change: &BlacklistChange) -> Self {
        Self {
            action: change.action.as_str(),
            kind: change.kind.as_str(),
            value: shown(change.kind, &change.value),
            reason: change.reason.clone(),
            changed_by: change.changed_by.clone(),
            changed_at: rfc3339(change.create_time),
            until: change.until.map(rfc3339),
        }
    }
}

/// A phone number is masked, as everywhere.
fn shown(kind: BanKind, value: &str) -> String {
    match kind {
        BanKind::Phone => {
            PhoneNumber::from_e164(value).map_or_else(|_| String::new(), |p| p.masked())
        }
        _ => value.to_owned(),
    }
}
