//! The limits of a request: by what it is counted, and what a limit or ban that refuses it answers.

use axum::http::HeaderMap;
use postrider_common::config::{Dialect, ScopeLimits, Settings, limit_order};
use postrider_common::model::address;
use postrider_common::model::limits::{Limit, Scope};
use postrider_common::model::owner::Owner;
use postrider_common::model::phone::PhoneNumber;
use postrider_common::store::{Banned, LimitCheck, LimitState, rank};

use crate::http::client_ip::UserIp;
use crate::http::clock::{as_ms, unix_ms};
use crate::http::problem::{Code, Problem};
use crate::http::rate_limit_headers::{Policy, rate_limit_headers};

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
pub struct LimitSubject<'a> {
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

impl LimitSubject<'_> {
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
