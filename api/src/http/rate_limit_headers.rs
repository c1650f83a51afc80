//! `RateLimit-Policy` and `RateLimit`: the IETF draft (draft-ietf-httpapi-ratelimit-headers, 2025-09), which may
//! still change; only here is known how it is written.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use postrider_common::model::limits::{Limit, Scope};
use postrider_common::store::LimitState;

use crate::http::clock::seconds_up;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");

/// Two structured fields, one member a window: `"phone-60s";q=1;w=60` and `"phone-60s";r=0;t=37`. Nothing where
/// nothing is limited. The whole service's own limits are left out: how busy it is is no caller's business.
pub fn rate_limit_headers(policies: &[Policy], states: &[LimitState]) -> HeaderMap {
    let shown = || policies.iter().zip(states).filter(|(p, _)| p.scope != Scope::Global);
    let policy = shown().map(|(policy, _)| {
        let Limit { quota, window } = policy.limit;
        format!("\"{}\";q={quota};w={}", policy.name(), window.as_secs())
    });
    let state = shown().map(|(policy, state)| {
        let wait = match state.wait_ms {
            ..=0 => String::new(),
            ms => format!(";t={}", seconds_up(ms)),
        };
        format!("\"{}\";r={}{wait}", policy.name(), state.remaining)
    });
    let mut headers = HeaderMap::new();
    for (header, members) in [(POLICY, policy.collect::<Vec<_>>()), (STATE, state.collect())] {
        if let Ok(value) = HeaderValue::from_str(&members.join(", "))
            && !members.is_empty()
        {
            headers.insert(header, value);
        }
    }
    headers
}

/// A limit as callers are told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    pub scope: Scope,
    pub limit: Limit,
    /// Counts the notices of one template alone.
    pub of_template: bool,
}

impl Policy {
    /// `phone-60s`; of a template, `template-phone-60s`.
    pub fn name(&self) -> String {
        let of = if self.of_template { "template-" } else { "" };
        format!("{of}{}-{}s", self.scope.policy(), self.limit.window.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_window_is_a_member_of_both_fields() {
        let policy = |scope, limit: &str| Policy {
            scope,
            limit: limit.parse().unwrap(),
            of_template: false,
        };
        let policies = [
            policy(Scope::Phone, "1/60s"),
            policy(Scope::PhoneAll, "30/1d"),
            policy(Scope::Global, "1000/60s"),
        ];
        let states = [
            LimitState { remaining: 0, wait_ms: 36_001 },
            LimitState { remaining: 29, wait_ms: 0 },
            LimitState { remaining: 1, wait_ms: 0 },
        ];
        let of_template = Policy { of_template: true, ..policies[0] };
        assert_eq!(of_template.name(), "template-phone-60s");
        let headers = rate_limit_headers(&policies, &states);
        assert_eq!(headers[POLICY], r#""phone-60s";q=1;w=60, "phone-all-86400s";q=30;w=86400"#);
        assert_eq!(headers[STATE], r#""phone-60s";r=0;t=37, "phone-all-86400s";r=29"#);
    }

    #[test]
    fn where_nothing_is_limited_nothing_is_said() {
        assert!(rate_limit_headers(&[], &[]).is_empty());
    }
}
