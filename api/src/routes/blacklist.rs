//! `/v1/blacklist`: the bans, for operators. The table first, since it is the truth; then the store, which enforces it
//! at once on every replica.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use postrider_common::config::Bans;
use postrider_common::database::blacklist::{BanKind, BlacklistEntry};
use postrider_common::database::blacklist_write::{BlacklistChange, Lift};
use postrider_common::database::{Database, DatabaseError};
use postrider_common::model::phone::PhoneNumber;
use postrider_common::restore_bans::{self, RestoreError};
use postrider_common::store::{Store, StoreError};
use serde::Serialize;
use utoipa::openapi::schema::Object;
use utoipa::{IntoParams, ToSchema};

use crate::auth::caller::Admin;
use crate::http::body::{Body, Fields};
use crate::http::clock::{parse_rfc3339, rfc3339, unix_ms};
use crate::http::pagination::{PageParams, PageQuery, Pages};
use crate::http::problem::{Code, Problem};
use crate::messages::bans::{is_safe_address, is_safe_network, is_safe_phone};
use crate::openapi::problems;
use crate::openapi::schemas::one_of;
use crate::server::state::{App, AppState};

#[cfg(test)]
mod tests;

const LONGEST_REASON: usize = 1000;
const KIND_WORDS: &str = "`phone`, `phone_prefix`, `account_phone`, `ip` or `cidr`";
/// How often, and how many times, a store that couldn't be told is told again.
const AGAIN: Duration = Duration::from_millis(500);
const TIMES: u32 = 1200;

/// Why a ban couldn't be set or lifted.
#[derive(Debug, thiserror::Error)]
pub enum BlacklistError {
    /// Nothing was changed.
    #[error(transparent)]
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
    /// A number, the beginning of numbers in E.164, an account's id with a slash and a number, an address, or a network
    #[schema(min_length = 1, max_length = 64, example = "203.0.113.7")]
    pub value: String,
    #[schema(min_length = 1, max_length = 1000)]
    pub reason: String,
    /// A time to come; for good, where it isn't said
    #[schema(format = DateTime)]
    pub until: Option<String>,
    /// Whether to ban a network wider than /8 (IPv6: /16), or numbers of which less than three digits after the country code are
    /// given; it is recorded
    pub force: Option<bool>,
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
    State(app): State<AppState>,
    _: Admin,
    PageQuery(query): PageQuery,
) -> Result<Json<Pages<Entry>>, Problem> {
    let mut fields = Fields::new(query);
    let kind = fields.parsed("kind", KIND_WORDS, BanKind::of_word);
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
/// A phone, numbers that begin alike, one account's checks of a phone (`7/+8613800138000`), an address or a network. It works
/// at once, on every replica; one that is there is replaced.
#[utoipa::path(
    post, path = "/v1/blacklist", tag = "operation", operation_id = "ban", security(("bearer" = ["admin"])),
    request_body(content = AddBan, example = json!(
        {"kind": "ip", "value": "203.0.113.7", "reason": "a thousand sends a minute"}
    )),
    responses((status = 201, description = "The ban", body = Entry, example = json!(example()))),
    extensions(("x-problems" = json!(problems(&[&[Code::SafeListed, Code::BanTooWide]])))),
)]
pub async fn add(
    State(app): State<AppState>,
    admin: Admin,
    Body { mut fields, .. }: Body,
) -> Result<(StatusCode, Json<Entry>), Problem> {
    let now = unix_ms();
    let reason = fields.text("reason", LONGEST_REASON);
    let until = fields.parsed("until", "a time to come as RFC 3339 says it", |text| {
        parse_rfc3339(text).filter(|until| *until > now)
    });
    let force = fields.flag("force");
    let (kind, value) = subject(&app, fields)?;
    if is_safe(&app.settings.bans, kind, &value) {
        let detail = "it is on the safe list, [bans] safe_phones and safe_networks";
        return Err(Problem::field(Code::SafeListed, "value", "safe", detail));
    }
    let wide = kind.wide(&value);
    if let Some(why) = wide.filter(|_| !force) {
        let detail = format!("{why}: to ban it, add `\"force\": true`");
        return Err(Problem::field(Code::BanTooWide, "value", "wide", detail));
    }
    let created_by = admin.account().username.clone();
    let entry = BlacklistEntry { kind, value, reason, created_by, until, create_time: now };
    let setting = {
        let (app, entry) = (Arc::clone(&app), entry.clone());
        async move { set(&app.database, &app.store, &entry, wide.is_some()).await }
    };
    change(&app, kind, &entry.value, setting).await?;
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
    State(app): State<AppState>,
    admin: Admin,
    Body { mut fields, .. }: Body,
) -> Result<StatusCode, Problem> {
    let reason = fields.optional_text("reason", LONGEST_REASON).unwrap_or_default();
    let (kind, value) = subject(&app, fields)?;
    let by = &admin.account().username;
    let lifting = {
        let (app, by, value) = (Arc::clone(&app), by.clone(), value.clone());
        async move {
            let asked = Lift { kind, value: &value, reason: &reason, by: &by, now: unix_ms() };
            lift(&app.database, &app.store, &asked).await
        }
    };
    let was_there = change(&app, kind, &value, lifting).await?;
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
    /// Whether the ban was so wide that it needed `force`.
    forced: bool,
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
            "changed_by": "ops", "changed_at": "2026-11-21T03:12:24.123Z", "until": null, "forced": false
        }],
        "next_cursor": null
    }))),
)]
pub async fn changes(
    State(app): State<AppState>,
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

/// Sets a ban. `forced`: it was too wide to be set otherwise.
pub async fn set(
    database: &Database,
    store: &Store,
    entry: &BlacklistEntry,
    forced: bool,
) -> Result<(), BlacklistError> {
    database.ban(entry, forced).await?;
    enforce(database, store, entry.kind, &entry.value).await
}

/// Lifts a ban; `false` where there was none. The store is told in any case, so that asking again mends what failed.
pub async fn lift(
    database: &Database,
    store: &Store,
    lift: &Lift<'_>,
) -> Result<bool, BlacklistError> {
    let was_there = database.unban(lift).await?;
    enforce(database, store, lift.kind, lift.value).await?;
    Ok(was_there)
}

/// Has the store enforce what the table says of this, which is looked at again afterwards: two changes at once end as
/// the table does. A store that lost its data is given all of the table.
async fn enforce(
    database: &Database,
    store: &Store,
    kind: BanKind,
    value: &str,
) -> Result<(), BlacklistError> {
    let subject = kind.subject(value);
    let subject = subject.ok_or_else(|| StoreError::Broken("it can't look that up".to_owned()))?;
    let said = async || Ok::<_, DatabaseError>(database.ban_of(kind, value, unix_ms()).await?);
    let mut entry = said().await?;
    loop {
        let told = match entry.as_ref().and_then(BlacklistEntry::ban) {
            Some(ban) => store.ban(&[ban]).await,
            None => store.unban(std::slice::from_ref(&subject)).await,
        };
        match told {
            Err(StoreError::Lost) => {
                // Another process may have read the table before this was in it, and restored first: it is told again.
                restore(database, store).await?;
                continue;
            }
            told => told?,
        }
        let now = said().await?;
        if now == entry {
            return Ok(());
        }
        entry = now;
    }
}

async fn restore(database: &Database, store: &Store) -> Result<(), BlacklistError> {
    restore_bans::restore(store, database).await.map_err(|error| match error {
        RestoreError::Database(error) => error.into(),
        RestoreError::Store(error) => error.into(),
    })
}

/// Brings a change to its end also where its caller goes away, and tells the store of it once that is back.
async fn change<T: Send + 'static>(
    app: &AppState,
    kind: BanKind,
    value: &str,
    change: impl Future<Output = Result<T, BlacklistError>> + Send + 'static,
) -> Result<T, Problem> {
    let (theirs, value) = (Arc::clone(app), value.to_owned());
    let changing = tokio::spawn(async move {
        let changed = change.await;
        if matches!(changed, Err(BlacklistError::Store(_))) {
            tokio::spawn(enforce_later(theirs, kind, value));
        }
        changed
    });
    let changed = changing.await.map_err(|error| Problem::new(Code::Internal).because(&error))?;
    changed.map_err(|error| match error {
        BlacklistError::Table(error) => error.into(),
        BlacklistError::Store(error) => app.store_failed(&error),
    })
}

async fn enforce_later(app: AppState, kind: BanKind, value: String) {
    for _ in 0..TIMES {
        tokio::time::sleep(AGAIN).await;
        if enforce(&app.database, &app.store, kind, &value).await.is_ok() {
            return;
        }
    }
    tracing::error!(ban.kind = kind.as_str(), "the store was never told of a ban, or of its end");
}

/// Whether no ban of this would ever hit.
pub fn is_safe(rules: &Bans, kind: BanKind, value: &str) -> bool {
    match kind {
        BanKind::Phone => is_safe_phone(rules, value),
        BanKind::Ip => value.parse().is_ok_and(|address| is_safe_address(rules, address)),
        BanKind::Cidr => value.parse().is_ok_and(|network| is_safe_network(rules, network)),
        BanKind::AccountPhone => {
            value.split_once('/').is_some_and(|(_, phone)| is_safe_phone(rules, phone))
        }
        // A prefix hits what isn't safe behind it.
        BanKind::PhonePrefix => false,
    }
}

/// What is to be banned or lifted, in its one written form.
fn subject(app: &App, mut fields: Fields) -> Result<(BanKind, String), Problem> {
    if !fields.has("kind") {
        fields.note("kind", "missing", "is needed");
    }
    let kind = fields.parsed("kind", KIND_WORDS, BanKind::of_word);
    let value = fields.text("value", 64);
    let written = kind.map(|kind| (kind, kind.normalise(&value, &app.phone_rules)));
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
            forced: change.forced,
        }
    }
}

/// A phone number is masked, as everywhere.
fn shown(kind: BanKind, value: &str) -> String {
    match kind {
        BanKind::Phone => masked(value),
        BanKind::AccountPhone => match value.split_once('/') {
            Some((account, phone)) => format!("{account}/{}", masked(phone)),
            None => String::new(),
        },
        BanKind::PhonePrefix | BanKind::Ip | BanKind::Cidr => value.to_owned(),
    }
}

fn masked(e164: &str) -> String {
    PhoneNumber::from_e164(e164).map_or_else(|_| String::new(), |phone| phone.masked())
}
