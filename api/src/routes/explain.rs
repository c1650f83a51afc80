//! `POST /v1/explain`: why a request of somebody would be refused, or what would carry it. Sends and counts nothing.

use std::net::IpAddr;

use axum::Json;
use axum::extract::State;
use postrider_common::config::{CodeRules, Dialect};
use postrider_common::database::account::Account;
use postrider_common::database::blacklist::{BanKind, BlacklistEntry};
use postrider_common::model::ids::VerificationId;
use postrider_common::model::job::Lane;
use postrider_common::model::owner::Owner;
use postrider_common::model::phone::PhoneNumber;
use postrider_common::store::{
    Ban, BanSubject, Explain, Explained, LimitUse, Read, VerificationState, VerificationStatus,
    Which, rank, verification_subject,
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::Object;

use crate::auth::caller::Admin;
use crate::dialects::LONGEST_PURPOSE;
use crate::http::body::{Body, Fields};
use crate::http::clock::{rfc3339, seconds_up, unix_ms};
use crate::http::problem::{Code, Problem};
use crate::http::rate_limit_headers::Policy;
use crate::messages::limit_subject::{Kind, LimitSubject, Limits};
use crate::messages::send::is_allowed;
use crate::openapi::problems;
use crate::openapi::schemas::{one_of, words};
use crate::routes::blacklist;
use crate::routes::notices::known;
use crate::routes::verifications::{is_purpose, rules_of};
use crate::server::state::{App, AppState};

#[cfg(test)]
mod tests;

/// Who would ask for what.
#[derive(Debug)]
struct Asked {
    phone: Option<PhoneNumber>,
    ip: Option<IpAddr>,
    /// Of a code and its check.
    purpose: Option<String>,
    /// Of a notice.
    template: Option<String>,
    account: Account,
    owner: Owner,
}

/// Who would ask for what, as the body says it: for a code and its check with `purpose`, for a notice with `template`.
#[derive(Debug, ToSchema)]
pub struct ExplainRequest {
    #[schema(min_length = 1, max_length = 64, example = "13800138000")]
    pub phone: Option<String>,
    /// The end user's address
    #[schema(min_length = 1, max_length = 128, example = "203.0.113.7")]
    pub client_ip: Option<String>,
    /// Of a code and its check
    #[schema(min_length = 1, max_length = 64, example = "login")]
    pub purpose: Option<String>,
    /// Of a notice
    #[schema(min_length = 1, max_length = 64)]
    pub template: Option<String>,
    /// Whose request; the caller's own, where it isn't said
    #[schema(minimum = 1)]
    pub account_id: Option<i64>,
    /// Whether with a test key
    pub test: Option<bool>,
}

/// How things stand for what was asked about.
#[derive(Debug, Serialize, ToSchema)]
pub struct Explanation {
    /// Masked.
    #[schema(required)]
    phone: Option<String>,
    account: AccountShown,
    /// The live or latest one of the phone and purpose.
    #[schema(required)]
    verification: Option<VerificationShown>,
    /// Every ban in force that hits.
    bans: Vec<blacklist::Entry>,
    /// One each for a code and its check, or for a notice.
    requests: Vec<RequestShown>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExplainedAccount)]
struct AccountShown {
    id: i64,
    username: String,
    may_send: bool,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExplainedVerification)]
struct VerificationShown {
    #[schema(value_type = String, format = "uuid")]
    id: VerificationId,
    #[schema(schema_with = words::<VerificationStatus>)]
    status: VerificationStatus,
    sends: u32,
    attempts_left: u32,
    #[schema(format = DateTime)]
    expires_at: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExplainedRequest)]
struct RequestShown {
    #[schema(schema_with = kinds)]
    kind: &'static str,
    /// `admitted`, or the `code` of the first refusal that it would meet.
    outcome: &'static str,
    limits: Vec<LimitShown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    template: Option<String>,
    /// In the order in which they would be tried. The first carries it, unless it can't.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    providers: Option<Vec<String>>,
}

fn kinds() -> Object {
    one_of(&[Kind::Code, Kind::Check, Kind::Notice].map(Kind::as_str))
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExplainedLimit)]
struct LimitShown {
    /// As in the header `RateLimit-Policy`.
    policy: String,
    quota: u32,
    window_seconds: u64,
    used: u32,
    remaining: u32,
    /// Until one more passes; 0: now.
    retry_after_seconds: u64,
}

/// Explain
///
/// Why a request of somebody would be refused, or what would carry it. Sends and counts nothing.
#[utoipa::path(
    post, path = "/v1/explain", tag = "operation", operation_id = "explain", security(("bearer" = ["admin"])),
    request_body(content = ExplainRequest, example = json!(
        {"phone": "13800138000", "template": "order_shipped"}
    )),
    responses((status = 200, description = "How things stand", body = Explanation, example = json!({
        "phone": "+86138****8000", "account": {"id": 7, "username": "shop", "may_send": true}, "verification": null,
        "bans": [], "requests": [{
            "kind": "notice", "outcome": "phone_limited", "template": "order_shipped",
            "providers": ["main", "second"],
            "limits": [{
                "policy": "phone-3600s", "quota": 5, "window_seconds": 3600, "used": 5, "remaining": 0,
                "retry_after_seconds": 1237
            }]
        }]
    }))),
    extensions(("x-problems" = json!(problems(&[&[
        Code::PhoneInvalid, Code::PurposeInvalid, Code::TemplateUnknown
    ]])))),
)]
pub async fn explain(
    State(app): State<AppState>,
    admin: Admin,
    Body { fields, .. }: Body,
) -> Result<Json<Explanation>, Problem> {
    let asked = read(&app, &admin, fields).await?;
    let latest = latest(&app, &asked).await?;
    let mut requests = Vec::new();
    let mut bans = Vec::new();
    for &kind in asked.kinds() {
        let (limits, explained) = look(&app, &asked, kind).await?;
        requests.push(request(&app, &asked, kind, &limits, &explained, latest.as_ref())?);
        bans = explained.bans;
    }
    let mut entries = Vec::with_capacity(bans.len());
    for ban in &bans {
        entries.extend(entry(&app, ban).await?);
    }
    let Account { id, username, may_send, .. } = asked.account;
    Ok(Json(Explanation {
        phone: asked.phone.as_ref().map(PhoneNumber::masked),
        account: AccountShown { id, username, may_send },
        verification: latest.as_ref().map(VerificationShown::of),
        bans: entries,
        requests,
    }))
}

async fn read(app: &App, admin: &Admin, mut fields: Fields) -> Result<Asked, Problem> {
    let phone = fields.optional_text("phone", 64);
    let ip = fields.address("client_ip");
    let purpose = fields.optional_text("purpose", LONGEST_PURPOSE);
    let template = fields.optional_text("template", 64);
    if purpose.is_some() == template.is_some() {
        fields.note("purpose", "missing", "either `purpose` or `template` is needed");
    }
    let id = fields.optional_number("account_id", 1..=i64::MAX);
    let test = fields.flag("test");
    fields.done()?;
    let account = match id {
        Some(id) => app.database.account(id).await?,
        None => Some(admin.account().clone()),
    };
    let account = account.ok_or_else(|| {
        Problem::field(Code::FieldsInvalid, "account_id", "unknown", "there is no such account")
    })?;
    let phone = phone.map(|text| app.phone(&text)).transpose()?;
    let owner = Owner::new(account.id, test);
    Ok(Asked { phone, ip, purpose, template, account, owner })
}

impl Asked {
    fn kinds(&self) -> &'static [Kind] {
        if self.template.is_some() { &[Kind::Notice] } else { &[Kind::Code, Kind::Check] }
    }

    fn counted(&self, kind: Kind) -> LimitSubject<'_> {
        let purpose = self.purpose.as_deref().unwrap_or_default();
        LimitSubject {
            kind,
            owner: self.owner,
            phone: self.phone.as_ref(),
            purpose,
            ip: self.ip.into(),
        }
    }
}

/// The latest verification of the phone and purpose.
async fn latest(app: &AppState, asked: &Asked) -> Result<Option<VerificationState>, Problem> {
    let (Some(phone), Some(purpose)) = (&asked.phone, &asked.purpose) else { return Ok(None) };
    let which = Which::Subject(verification_subject(asked.owner, purpose, phone));
    let read = Read { account_id: asked.owner.store_id(), which };
    let live = app.store.read(&read).await.map_err(|error| app.store_failed(&error))?;
    let Some(live) = live else { return Ok(None) };
    app.store.verification(live.id, None).await.map_err(|error| app.store_failed(&error))
}

async fn look(app: &AppState, asked: &Asked, kind: Kind) -> Result<(Limits, Explained), Problem> {
    let counted = asked.counted(kind);
    let settings = &app.settings;
    let limits = match kind {
        Kind::Code => counted.limits(settings, &settings.code_limits(counted.purpose)),
        Kind::Check => counted.limits(settings, &settings.check_limits(counted.purpose)),
        Kind::Notice => {
            counted.notice_limits(settings, asked.template.as_deref().unwrap_or_default())
        }
    };
    let ban_check = counted.bans(&app.settings.bans);
    let request = Explain { now: None, limits: limits.checks.clone(), ban_check };
    let explained = app.store.explain(&request).await;
    Ok((limits, explained.map_err(|error| app.store_failed(&error))?))
}

fn request(
    app: &App,
    asked: &Asked,
    kind: Kind,
    limits: &Limits,
    explained: &Explained,
    latest: Option<&VerificationState>,
) -> Result<RequestShown, Problem> {
    let (template, lane, sends_left) = match kind {
        Kind::Notice => {
            let name = asked.template.as_deref().unwrap_or_default();
            known(app, name)?;
            (Some(name.to_owned()), Some(Lane::Notice), true)
        }
        Kind::Code => {
            let purpose = asked.purpose.as_deref().unwrap_or_default();
            let rules = rules_of_any(app, purpose)?;
            let left = latest.is_none_or(|v| {
                v.status != VerificationStatus::Pending || v.sends < rules.max_sends
            });
            (Some(rules.template), Some(Lane::Code), left)
        }
        Kind::Check => (None, None, true),
    };
    let first = lane.and_then(|lane| refused_at_once(app, asked, lane));
    let first = first.or_else(|| refused_by_count(limits, explained, sends_left));
    let first = first.or_else(|| match kind {
        Kind::Check => refused_check(latest),
        Kind::Code | Kind::Notice => None,
    });
    Ok(RequestShown {
        kind: kind.as_str(),
        outcome: first.map_or("admitted", Code::word),
        limits: limits.policies().zip(&explained.limits).map(LimitShown::of).collect(),
        template,
        providers: lane.map(|_| providers(app, asked.owner)),
    })
}

/// The rules of a purpose of v1's, or of a dialect's, which takes more of them.
fn rules_of_any(app: &App, purpose: &str) -> Result<CodeRules, Problem> {
    if let Some(rules) = app.settings.dialect_rules(purpose) {
        return Ok(rules);
    }
    let of_mall = app.settings.dialects.enabled.contains(&Dialect::Mall) && is_purpose(purpose);
    rules_of(app, purpose)
        .or_else(|problem| if of_mall { Ok(app.settings.code.clone()) } else { Err(problem) })
}

/// What even the right code is answered.
fn refused_check(latest: Option<&VerificationState>) -> Option<Code> {
    match latest.map(|verification| verification.status) {
        None | Some(VerificationStatus::Expired) => Some(Code::VerificationNotFound),
        Some(VerificationStatus::Exhausted) => Some(Code::TooManyAttempts),
        Some(VerificationStatus::Approved) => Some(Code::AlreadyUsed),
        Some(VerificationStatus::Pending) => None,
    }
}

/// What refuses before anything is counted.
fn refused_at_once(app: &App, asked: &Asked, lane: Lane) -> Option<Code> {
    if !asked.account.may_send {
        return Some(Code::SendingNotAllowed);
    }
    if asked.phone.as_ref().is_some_and(|phone| !is_allowed(app, phone)) {
        return Some(Code::CountryNotAllowed);
    }
    app.pressure.check(lane).err().map(|problem| problem.code)
}

/// The first refusal in the guard's order.
fn refused_by_count(limits: &Limits, explained: &Explained, sends_left: bool) -> Option<Code> {
    let used_up = limits
        .checks
        .iter()
        .zip(&explained.limits)
        .filter(|(_, state)| state.remaining == 0)
        .map(|(check, _)| (check.rank, Code::limited(check.scope)));
    let banned = explained.bans.iter().map(|ban| match ban.subject {
        BanSubject::Network(_) => (rank::BANS, Code::IpBlocked),
        BanSubject::Phone(_) | BanSubject::PhonePrefix(_) | BanSubject::AccountPhone(_) => {
            (rank::BANS, Code::PhoneBlocked)
        }
    });
    let sent_enough = (!sends_left).then_some((rank::MAX_SENDS, Code::MaxSendsReached));
    // The first of those of one rank, as they are listed.
    used_up.chain(sent_enough).chain(banned).min_by_key(|(rank, _)| *rank).map(|(_, code)| code)
}

fn providers(app: &App, owner: Owner) -> Vec<String> {
    if owner.is_test() {
        return vec!["sandbox".to_owned()];
    }
    app.settings.providers_in_order().into_iter().map(|(name, _)| name.to_owned()).collect()
}

/// A ban of the store's with what the table says about it.
async fn entry(app: &App, ban: &Ban) -> Result<Option<blacklist::Entry>, Problem> {
    let Some((kind, value)) = BanKind::of_subject(&ban.subject) else { return Ok(None) };
    let found = app.database.ban_of(kind, &value, unix_ms()).await?;
    let entry = found.unwrap_or_else(|| BlacklistEntry {
        kind,
        value,
        reason: "it is not in the table yet".to_owned(),
        created_by: String::new(),
        until: (ban.until > 0).then_some(ban.until),
        create_time: unix_ms(),
    });
    Ok(Some(blacklist::Entry::of(&entry)))
}

impl VerificationShown {
    fn of(state: &VerificationState) -> Self {
        Self {
            id: state.id,
            status: state.status,
            sends: state.sends,
            attempts_left: state.attempts_left,
            expires_at: rfc3339(state.expires_at),
        }
    }
}

impl LimitShown {
    fn of((policy, state): (&Policy, &LimitUse)) -> Self {
        Self {
            policy: policy.name(),
            quota: policy.limit.quota,
            window_seconds: policy.limit.window.as_secs(),
            used: state.used,
            remaining: state.remaining,
            retry_after_seconds: if state.wait_ms > 0 { seconds_up(state.wait_ms) } else { 0 },
        }
    }
}
