//! Asks the guard: builds what it looks at, asks once more where the caller's account was out of date, and says
//! every refusal in the caller's words.

use std::sync::Arc;

use axum::http::HeaderMap;
use postrider_common::accept::{AcceptError, AcceptManyAnswer, MakeJob, MakeJobs};
use postrider_common::config::{Dialect, ScopeLimits, Settings, limit_order};
use postrider_common::model::address;
use postrider_common::model::ids::MessageId;
use postrider_common::model::job::Lane;
use postrider_common::model::limits::{Limit, Scope};
use postrider_common::model::owner::Owner;
use postrider_common::model::phone::PhoneNumber;
use postrider_common::store::{
    Accepted, AccountCheck, Admit, AdmitAnswer, AdmitMany, BanCheck, Banned, Idempotency,
    LimitCheck, LimitState, NewVerification, Strike, rank,
};

use crate::auth::caller::{Caller, Sends};
use crate::http::client_ip::UserIp;
use crate::http::clock::{as_ms, unix_ms};
use crate::http::problem::{Code, Problem};
use crate::http::rate_limit_headers::{Policy, rate_limit_headers};
use crate::messages::job::Draft;
use crate::server::state::{App, Shared};

#[cfg(test)]
mod tests;

/// Each kind of request is counted on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Code,
    Notice,
    Check,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Notice => "notice",
            Self::Check => "check",
        }
    }
}

/// What a request is counted by.
#[derive(Debug, Clone, Copy)]
pub struct Counted<'a> {
    pub kind: Kind,
    pub owner: Owner,
    pub phone: Option<&'a PhoneNumber>,
    pub purpose: &'a str,
    pub ip: UserIp,
}

/// The limits of one request, in the order in which they are looked at.
#[derive(Debug, Clone)]
pub struct Limits {
    policies: Vec<Policy>,
    pub checks: Vec<LimitCheck>,
}

impl Counted<'_> {
    /// Every limit that has something to count by here: those of `live`, or of test keys, which have their own.
    pub fn limits(&self, settings: &Settings, live: &ScopeLimits) -> Limits {
        let scopes = if self.owner.is_test() { &settings.limits.test } else { live };
        self.limits_of(&[(scopes, None)])
    }

    /// Those of a notice: of all notices, and beside them those of its template.
    pub fn notice_limits(&self, settings: &Settings, template: &str) -> Limits {
        let live = settings.notice_limits(self.purpose);
        match settings.templates.get(template).filter(|_| !self.owner.is_test()) {
            Some(own) => self.limits_of(&[(&live, None), (&own.limits, Some(template))]),
            None => self.limits(settings, &live),
        }
    }

    /// The limits of lists, each of which may count the notices of one template alone.
    fn limits_of(&self, lists: &[(&ScopeLimits, Option<&str>)]) -> Limits {
        let mut both = Vec::new();
        for (scopes, template) in lists {
            let of_template = template.is_some();
            both.extend(scopes.in_order().into_iter().filter_map(|(scope, limit)| {
                let check = self.check(scope, limit, *template)?;
                Some((Policy { scope, limit, of_template }, check))
            }));
        }
        // Stable: of two that are alike, the one of all notices comes first.
        both.sort_by_key(|(policy, _)| limit_order(policy.scope, policy.limit));
        let (policies, checks) = both.into_iter().unzip();
        Limits { policies, checks }
    }

    fn check(&self, scope: Scope, limit: Limit, template: Option<&str>) -> Option<LimitCheck> {
        let account = self.owner.account_id();
        let phone = self.phone.map(PhoneNumber::as_e164);
        let subject = match scope {
            Scope::Phone => match Dialect::with_own_phone_limits(self.purpose) {
                Some(dialect) => format!("{account}:{}:{}", phone?, dialect.prefix()),
                None => format!("{account}:{}", phone?),
            },
            Scope::PhonePurpose => format!("{account}:{}:{}", phone?, self.purpose),
            Scope::PhoneAll => phone?.to_owned(),
            Scope::Ip => address::limit_subject(self.ip.address()?),
            Scope::Account => account.to_string(),
            Scope::AccountIp => format!("{account}:{}", address::limit_subject(self.ip.address()?)),
            Scope::Prefix => self.phone?.prefix().to_owned(),
            Scope::Global => "all".to_owned(),
        };
        // The limit itself is part of the key: two windows of one scope, or two purposes that differ in their
        // quotas, never share entries.
        let world = if self.owner.is_test() { "test-" } else { "" };
        let kind = self.kind.as_str();
        let of_template = template.map(|name| format!(":{name}")).unwrap_or_default();
        let key = format!("limit:{world}{kind}:{}:{subject}:{limit}{of_template}", scope.policy());
        Some(LimitCheck {
            key,
            scope,
            quota: limit.quota,
            window_ms: as_ms(limit.window),
            rank: rank_of(scope),
            phone: phone
                .filter(|_| scope.is_phone())
                .map(|phone| format!("limit:{world}{kind}:{phone}")),
        })
    }
}

fn rank_of(scope: Scope) -> u8 {
    match scope {
        Scope::Phone | Scope::PhonePurpose | Scope::PhoneAll => rank::PHONE,
        Scope::Ip => rank::IP,
        Scope::Account | Scope::AccountIp => rank::ACCOUNT,
        Scope::Prefix => rank::PREFIX,
        Scope::Global => rank::GLOBAL,
    }
}

impl Limits {
    /// Scope and window of each, in the order of `checks`.
    pub fn policies(&self) -> impl Iterator<Item = &Policy> {
        self.policies.iter()
    }

    pub fn headers(&self, states: &[LimitState]) -> HeaderMap {
        rate_limit_headers(&self.policies, states)
    }

    /// Of a request for many phones: only what it shares.
    pub fn shared_headers(&self, states: &[LimitState]) -> HeaderMap {
        let is_shared = |scope: Scope| matches!(scope, Scope::Ip | Scope::Account);
        let both = self.policies.iter().zip(states).filter(|(policy, _)| is_shared(policy.scope));
        let (policies, states): (Vec<_>, Vec<_>) = both.unzip();
        rate_limit_headers(&policies, &states)
    }

    /// The refusal of the limit at `index`.
    pub fn used_up(&self, index: usize, wait_ms: i64, states: &[LimitState]) -> Problem {
        let Some(policy @ Policy { scope, limit, .. }) = self.policies.get(index) else {
            return Problem::new(Code::Internal)
                .because(&"the store named a limit that isn't there");
        };
        let problem = Problem::new(Code::limited(*scope)).by_limit(*policy);
        // Until every window that is used up has room, not only the one that is told: who comes back then gets through.
        let wait_ms = states.iter().map(|state| state.wait_ms).fold(wait_ms, i64::max);
        let problem = problem.headers(self.headers(states)).retry_after(wait_ms);
        if *scope == Scope::Global {
            // How much the whole service takes is no caller's business.
            return problem;
        }
        problem.detail(format!("at most {} in {} s", limit.quota, limit.window.as_secs()))
    }

    /// The refusal of a ban that lasts until then (unix milliseconds; 0 for good).
    pub fn banned(&self, what: Banned, until: i64, states: &[LimitState]) -> Problem {
        let code = match what {
            Banned::Phone => Code::PhoneBlocked,
            Banned::Ip => Code::IpBlocked,
        };
        let problem = Problem::new(code).headers(self.headers(states));
        // By this machine's clock, which is right enough for advice.
        if until == 0 { problem } else { problem.retry_after(until - unix_ms()) }
    }
}

/// A message that the guard is asked for.
#[derive(Debug)]
pub struct Asked {
    /// The id that the message gets if it is new.
    pub id: MessageId,
    pub draft: Draft,
    /// What makes two requests without an idempotency key the same.
    pub subject: String,
    /// Only for codes.
    pub verification: Option<NewVerification>,
    pub ttl_ms: i64,
    pub idempotency: Option<Idempotency>,
    pub limits: Limits,
    pub bans: BanCheck,
    pub strikes: Vec<Strike>,
}

impl Asked {
    /// As the store is asked, with what the answer needs: the limits, and how an admitted message's job is made.
    fn into_request(self, app: &Shared, account: AccountCheck) -> (Admit, Limits, MakeJob) {
        let is_code = self.verification.is_some();
        let request = Admit {
            now: None,
            account,
            owner: self.draft.owner.store_id(),
            message_id: self.id,
            lane: self.draft.lane,
            idempotency: self.idempotency,
            subject: self.subject,
            limits: self.limits.checks.clone(),
            ban_check: self.bans,
            strikes: self.strikes,
            verification: self.verification,
            known_keys: if is_code { app.keys.ids() } else { Vec::new() },
            ttl_ms: self.ttl_ms,
            confirmed: false,
            about: self.draft.about(),
        };
        (request, self.limits, self.draft.into_make_job(app))
    }
}

/// Asks for one message, and has it queued where it is admitted. Gives the headers for the answer too.
pub async fn admit(
    app: &Shared,
    caller: &mut Caller<Sends>,
    asked: Asked,
    trace: String,
) -> Result<(Accepted, HeaderMap), Problem> {
    let (mut request, limits, make_job) = asked.into_request(app, caller.version());
    for _ in 0..2 {
        request.account = caller.version();
        let answer = app.acceptor.accept(request.clone(), Some(trace.clone()), make_job.clone());
        match answer.await.map_err(|error| not_accepted(app, &error))? {
            AdmitAnswer::StaleAccount => caller.reload(app).await?,
            answer => {
                note(app, request.lane, Owner::of_store_id(request.owner), &answer);
                return decided(app, answer, &limits);
            }
        }
    }
    Err(changing())
}

/// Asks for many messages in one step; see [`MOST_AT_ONCE`](postrider_common::store::MOST_AT_ONCE). `batch` is the
/// idempotency of the request as a whole. Gives each one's fate in their order; the error is of all of them.
pub async fn admit_many(
    app: &Shared,
    caller: &mut Caller<Sends>,
    batch: Option<Idempotency>,
    asked: Vec<Asked>,
    trace: String,
) -> Result<Vec<Result<(Accepted, HeaderMap), Problem>>, Problem> {
    let (mut items, mut limits, mut jobs) = (Vec::new(), Vec::new(), Vec::new());
    for asked in asked {
        let (item, its_limits, make_job) = asked.into_request(app, caller.version());
        items.push(item);
        limits.push(its_limits);
        jobs.push(make_job);
    }
    let about: Vec<_> = items.iter().map(|i| (i.lane, Owner::of_store_id(i.owner))).collect();
    let mut request = AdmitMany { now: None, account: caller.version(), batch, items };
    let make_jobs: MakeJobs = Arc::new(move |place, accepted| jobs[place](accepted));
    for _ in 0..2 {
        request.account = caller.version();
        request.items.iter_mut().for_each(|item| item.account = request.account);
        let answer =
            app.acceptor.accept_many(request.clone(), Some(trace.clone()), make_jobs.clone()).await;
        match answer.map_err(|error| not_accepted(app, &error))? {
            AcceptManyAnswer::StaleAccount => caller.reload(app).await?,
            AcceptManyAnswer::KeyReused { fingerprint } => {
                return Err(app.key_reused(fingerprint.as_deref()));
            }
            AcceptManyAnswer::Decided(answers) => {
                let each = answers.into_iter().zip(&about).zip(&limits);
                return Ok(each
                    .map(|((answer, (lane, owner)), limits)| {
                        let answer = answer.map_err(|error| not_accepted(app, &error))?;
                        note(app, *lane, *owner, &answer);
                        let headers = match &answer {
                            AdmitAnswer::Admitted { limits: states, .. } => {
                                limits.shared_headers(states)
                            }
                            _ => HeaderMap::new(),
                        };
                        decided(app, answer, limits).map(|(accepted, _)| (accepted, headers))
                    })
                    .collect());
            }
        }
    }
    Err(changing())
}

/// Counts what was decided, and writes down the bans that it made.
fn note(app: &Shared, lane: Lane, owner: Owner, answer: &AdmitAnswer) {
    let word = word(answer);
    metrics::counter!("sms_guard_total", "lane" => lane.as_str(), "answer" => word).increment(1);
    if let AdmitAnswer::Limited { struck, .. } | AdmitAnswer::MaxSends { struck, .. } = answer {
        let kind = match lane {
            Lane::Code => Kind::Code,
            Lane::Notice => Kind::Notice,
        };
        app.automatic_bans.note(struck.clone(), kind, owner);
    }
}

/// The account changed while it was being loaded: rare enough to leave it to the caller.
pub fn changing() -> Problem {
    Problem::new(Code::StoreUnavailable).because(&"the account keeps changing")
}

fn decided(
    app: &App,
    answer: AdmitAnswer,
    limits: &Limits,
) -> Result<(Accepted, HeaderMap), Problem> {
    match answer {
        AdmitAnswer::Admitted { message, limits: states, .. } => {
            Ok((message, limits.headers(&states)))
        }
        AdmitAnswer::Replayed(message) => Ok((message, HeaderMap::new())),
        AdmitAnswer::StaleAccount => Err(changing()),
        AdmitAnswer::KeyReused { fingerprint } => Err(app.key_reused(fingerprint.as_deref())),
        AdmitAnswer::KeyMissing { key_id } => Err(app.key_missing(&key_id)),
        AdmitAnswer::InFlight { wait_ms } => {
            Err(Problem::new(Code::RequestInFlight).retry_after(wait_ms))
        }
        AdmitAnswer::Limited { index, wait_ms, limits: states, .. } => {
            Err(limits.used_up(index, wait_ms, &states))
        }
        AdmitAnswer::MaxSends { wait_ms, limits: states, .. } => {
            let problem = Problem::new(Code::MaxSendsReached).retry_after(wait_ms);
            Err(problem.headers(limits.headers(&states)))
        }
        AdmitAnswer::Banned { what, until, limits: states } => {
            Err(limits.banned(what, until, &states))
        }
    }
}

fn not_accepted(app: &Shared, error: &AcceptError) -> Problem {
    match error {
        AcceptError::Store(error) => app.store_failed(error),
        AcceptError::NotQueued(why) => Problem::new(Code::QueueUnavailable).because(why),
        AcceptError::OutcomeUnknown(why) => Problem::new(Code::OutcomeUnknown).because(why),
    }
}

fn word(answer: &AdmitAnswer) -> &'static str {
    match answer {
        AdmitAnswer::Admitted { again: true, .. } => "admitted_again",
        AdmitAnswer::Admitted { .. } => "admitted",
        AdmitAnswer::Replayed(_) => "replayed",
        AdmitAnswer::StaleAccount => "stale_account",
        AdmitAnswer::KeyReused { .. } => "key_reused",
        AdmitAnswer::KeyMissing { .. } => "key_missing",
        AdmitAnswer::InFlight { .. } => "in_flight",
        AdmitAnswer::Limited { .. } => "limited",
        AdmitAnswer::MaxSends { .. } => "max_sends",
        AdmitAnswer::Banned { .. } => "banned",
    }
}
