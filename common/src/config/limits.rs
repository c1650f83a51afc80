//! `[limits]`: how often a phone, an address, an account may ask, by the kind of request.

use std::time::Duration;

use serde::Deserialize;

use super::values::{list, optional_list};
use crate::model::limits::{Limit, Scope};

/// Limits of some scopes; the others stay as they are elsewhere.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScopeOverrides {
    #[serde(deserialize_with = "optional_list")]
    pub phone: Option<Vec<Limit>>,
    #[serde(deserialize_with = "optional_list")]
    pub phone_purpose: Option<Vec<Limit>>,
    #[serde(deserialize_with = "optional_list")]
    pub phone_all: Option<Vec<Limit>>,
    #[serde(deserialize_with = "optional_list")]
    pub ip: Option<Vec<Limit>>,
    #[serde(deserialize_with = "optional_list")]
    pub account: Option<Vec<Limit>>,
    #[serde(deserialize_with = "optional_list")]
    pub prefix: Option<Vec<Limit>>,
    #[serde(deserialize_with = "optional_list")]
    pub global: Option<Vec<Limit>>,
}

impl ScopeOverrides {
    pub(super) fn over(self, base: ScopeLimits) -> ScopeLimits {
        ScopeLimits {
            phone: self.phone.unwrap_or(base.phone),
            phone_purpose: self.phone_purpose.unwrap_or(base.phone_purpose),
            phone_all: self.phone_all.unwrap_or(base.phone_all),
            ip: self.ip.unwrap_or(base.ip),
            account: self.account.unwrap_or(base.account),
            prefix: self.prefix.unwrap_or(base.prefix),
            global: self.global.unwrap_or(base.global),
        }
    }
}

/// The limits of one kind of request, each scope a list of windows.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScopeLimits {
    #[serde(deserialize_with = "list")]
    pub phone: Vec<Limit>,
    #[serde(deserialize_with = "list")]
    pub phone_purpose: Vec<Limit>,
    #[serde(deserialize_with = "list")]
    pub phone_all: Vec<Limit>,
    #[serde(deserialize_with = "list")]
    pub ip: Vec<Limit>,
    #[serde(deserialize_with = "list")]
    pub account: Vec<Limit>,
    #[serde(deserialize_with = "list")]
    pub prefix: Vec<Limit>,
    #[serde(deserialize_with = "list")]
    pub global: Vec<Limit>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// `phone = ["1/60s"]`, `phone_all = ["30/1d"]`, `ip = ["20/60s"]`, `global = ["1000/60s"]`.
    #[serde(deserialize_with = "code_limits")]
    pub code: ScopeLimits,
    /// `phone = ["5/1h", "20/1d"]`.
    #[serde(deserialize_with = "notice_limits")]
    pub notice: ScopeLimits,
    /// Failed checks: `phone = ["10/10m"]`, `ip = ["60/60s"]`.
    #[serde(deserialize_with = "check_limits")]
    pub check: ScopeLimits,
    /// Whatever test keys ask for, in place of the others: `account = ["60/60s", "1000/1d"]`.
    #[serde(deserialize_with = "test_limits")]
    pub test: ScopeLimits,
}

impl ScopeLimits {
    /// Every limit with its scope, in the order in which they are looked at: scope by scope, within a scope
    /// (and over the phone scopes together) the shortest window first.
    #[must_use]
    pub fn in_order(&self) -> Vec<(Scope, Limit)> {
        let mut all: Vec<(Scope, Limit)> = [
            (Scope::Phone, &self.phone),
            (Scope::PhonePurpose, &self.phone_purpose),
            (Scope::PhoneAll, &self.phone_all),
            (Scope::Ip, &self.ip),
            (Scope::Account, &self.account),
            (Scope::Prefix, &self.prefix),
            (Scope::Global, &self.global),
        ]
        .into_iter()
        .flat_map(|(scope, limits)| limits.iter().map(move |limit| (scope, *limit)))
        .collect();
        all.sort_by_key(|(scope, limit)| limit_order(*scope, *limit));
        all
    }

    /// Returns whether no scope has a limit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.in_order().is_empty()
    }
}

/// Sorts limits into the order in which they are looked at; see [`ScopeLimits::in_order`].
#[must_use]
pub fn limit_order(scope: Scope, limit: Limit) -> (Scope, Duration, Scope) {
    let place = if scope.is_phone() { Scope::Phone } else { scope };
    (place, limit.window, scope)
}

fn limits(texts: &[(u32, u64)]) -> Vec<Limit> {
    texts
        .iter()
        .map(|&(quota, seconds)| Limit { quota, window: Duration::from_secs(seconds) })
        .collect()
}

fn default_code_limits() -> ScopeLimits {
    ScopeLimits {
        phone: limits(&[(1, 60)]),
        phone_all: limits(&[(30, 86_400)]),
        ip: limits(&[(20, 60)]),
        global: limits(&[(1000, 60)]),
        ..ScopeLimits::default()
    }
}

fn default_notice_limits() -> ScopeLimits {
    ScopeLimits { phone: limits(&[(5, 3600), (20, 86_400)]), ..ScopeLimits::default() }
}

fn default_check_limits() -> ScopeLimits {
    ScopeLimits { phone: limits(&[(10, 600)]), ip: limits(&[(60, 60)]), ..ScopeLimits::default() }
}

fn default_test_limits() -> ScopeLimits {
    ScopeLimits { account: limits(&[(60, 60), (1000, 86_400)]), ..ScopeLimits::default() }
}

/// A scope that `[limits.code]` doesn't name keeps its default.
fn code_limits<'de, D: serde::Deserializer<'de>>(d: D) -> Result<ScopeLimits, D::Error> {
    ScopeOverrides::deserialize(d).map(|own| own.over(default_code_limits()))
}

fn notice_limits<'de, D: serde::Deserializer<'de>>(d: D) -> Result<ScopeLimits, D::Error> {
    ScopeOverrides::deserialize(d).map(|own| own.over(default_notice_limits()))
}

fn check_limits<'de, D: serde::Deserializer<'de>>(d: D) -> Result<ScopeLimits, D::Error> {
    ScopeOverrides::deserialize(d).map(|own| own.over(default_check_limits()))
}

fn test_limits<'de, D: serde::Deserializer<'de>>(d: D) -> Result<ScopeLimits, D::Error> {
    ScopeOverrides::deserialize(d).map(|own| own.over(default_test_limits()))
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            code: default_code_limits(),
            notice: default_notice_limits(),
            check: default_check_limits(),
            test: default_test_limits(),
        }
    }
}
