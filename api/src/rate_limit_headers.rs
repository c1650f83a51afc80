//! `RateLimit-Policy` and `RateLimit`: the IETF draft (draft-ietf-httpapi-ratelimit-headers, 2025-09), which may
//! still change; only here is known how it is written.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use postrider_common::limits::{Limit, Scope};
use postrider_common::store::LimitState;

use crate::clock::seconds_up;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");

/// Two structured fields, one member a window: `"phone-60s";q=1;w=60` and `"phone-60s";r=0;t=37`. Nothing where
/// nothing is limited. The whole service's own limits are left out: how busy it is is no caller's business.
pub fn rate_limit_headers(policies: &[(Scope, Limit)], states: &[LimitState]) -> HeaderMap {
    let shown = || policies.iter().zip(states).filter(|((scope, _), _)| *scope != Scope::Global);
    let policy = shown().map(|((scope, limit), _)| {
        format!("{};q={};w={}", name(*scope, limit), limit.quota, limit.window.as_secs())
    });
    let state = shown().map(|((scope, limit), state)| {
        let wait = match state.wait_ms {
            ..=0 => String::new(),
            ms => format!(";t={}", seconds_up(ms)),
        };
        format!("{};r={}{wait}", name(*scope, limit), state.remaining)
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

/// A policy's name: `phone-60s`.
pub fn policy_name(scope: Scope, limit: &Limit) -> String {
    format!("{}-{}s", scope.policy(), limit.window.as_secs())
}

fn name(scope: Scope, limit: &Limit) -> String {
    format!("\"{}\"", policy_name(scope, limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_window_is_a_member_of_both_fields() {
        let policies = [
            (Scope::Phone, "1/60s".parse().unwrap()),
            (Scope::PhoneAll, "30/1d".parse().unwrap()),
            (Scope::Global, "1000/60s".parse().unwrap()),
        ];
        let states = [
            LimitState { remaining: 0, wait_ms: 36_001 },
            LimitState { remaining: 29, wait_ms: 0 },
            LimitState { remaining: 1, wait_ms: 0 },
        ];
        let headers = rate_limit_headers(&policies, &states);
        assert_eq!(headers[POLICY], r#""phone-60s";q=1;w=60, "phone-all-86400s";q=30;w=86400"#);
        assert_eq!(headers[STATE], r#""phone-60s";r=0;t=37, "phone-all-86400s";r=29"#);
    }

    #[test]
    fn where_nothing_is_limited_nothing_is_said() {
        assert!(rate_limit_headers(&[], &[]).is_empty());
    }
}
