//! Keys and order of the limits, and how a refusal is said.

use super::*;

fn scopes() -> ScopeLimits {
    let limits = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    ScopeLimits {
        phone: limits(&["5/1h", "1/60s"]),
        ip: limits(&["20/60s"]),
        global: limits(&["1000/60s"]),
        ..ScopeLimits::default()
    }
}

fn keys(counted: LimitSubject<'_>) -> Vec<String> {
    counted
        .limits(&Settings::default(), &scopes())
        .checks
        .into_iter()
        .map(|check| check.key)
        .collect()
}

#[test]
fn each_window_has_a_key_of_its_own_and_ranks_never_fall() {
    let phone = PhoneNumber::from_e164("+8613800138000").unwrap();
    let ip = UserIp::from(Some("2001:db8:1:2:3::4".parse().unwrap()));
    let counted = LimitSubject {
        kind: Kind::Code,
        owner: Owner::new(7, false),
        phone: Some(&phone),
        purpose: "login",
        ip,
    };
    assert_eq!(
        keys(counted),
        [
            "limit:code:phone:7:+8613800138000:1/60s",
            "limit:code:phone:7:+8613800138000:5/3600s",
            "limit:code:ip:2001:db8:1:2::/64:20/60s",
            "limit:code:global:all:1000/60s",
        ]
    );
    let checks = counted.limits(&Settings::default(), &scopes()).checks;
    assert!(checks.is_sorted_by_key(|check| check.rank));
    let together = Some("limit:code:+8613800138000");
    let phones: Vec<_> = checks.iter().map(|check| check.phone.as_deref()).collect();
    assert_eq!(phones, [together, together, None, None], "only the phone's are kept together");
}

#[test]
fn what_there_is_nothing_to_count_by_is_not_limited() {
    let counted = LimitSubject {
        kind: Kind::Check,
        owner: Owner::new(7, false),
        phone: None,
        purpose: "",
        ip: None.into(),
    };
    assert_eq!(keys(counted), ["limit:check:global:all:1000/60s"]);
}

#[test]
fn a_refusal_says_which_limit_and_when_to_come_back() {
    let phone = PhoneNumber::from_e164("+8613800138000").unwrap();
    let counted = LimitSubject {
        kind: Kind::Code,
        owner: Owner::new(7, false),
        phone: Some(&phone),
        purpose: "login",
        ip: None.into(),
    };
    let problem = counted.limits(&Settings::default(), &scopes()).used_up(0, 36_001, &[]);
    assert_eq!(problem.code, Code::PhoneLimited);
    let response = axum::response::IntoResponse::into_response(problem);
    assert_eq!(response.headers()["retry-after"], "37");
}

#[test]
fn a_refusal_waits_for_every_window_that_is_used_up() {
    let phone = PhoneNumber::from_e164("+8613800138000").unwrap();
    let owner = Owner::new(7, false);
    let counted = LimitSubject {
        kind: Kind::Code,
        owner,
        phone: Some(&phone),
        purpose: "login",
        ip: None.into(),
    };
    let full = |wait_ms| LimitState { remaining: 0, wait_ms };
    let states = [full(5_000), full(3_600_000), LimitState { remaining: 7, wait_ms: 0 }];
    let problem = counted.limits(&Settings::default(), &scopes()).used_up(0, 5_000, &states);
    let response = axum::response::IntoResponse::into_response(problem);
    assert_eq!(response.headers()["retry-after"], "3600");
}

#[test]
fn a_ban_says_when_it_ends_if_it_does() {
    let limits = Limits { policies: Vec::new(), checks: Vec::new() };
    let retry_after = |until| {
        let problem = limits.banned(Banned::Phone, until, &[]);
        let response = axum::response::IntoResponse::into_response(problem);
        let text = response.headers().get("retry-after")?.to_str().unwrap().to_owned();
        text.parse::<i64>().ok()
    };
    assert_eq!(retry_after(0), None);
    let seconds = retry_after(crate::http::clock::unix_ms() + 60_000).unwrap();
    assert!((59..=60).contains(&seconds), "{seconds}");
}
