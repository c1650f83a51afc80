//! The problems that each endpoint answers: those that it names, and those that follow from what it takes.

use serde_json::{Map, Value, json};

use crate::http::problem::{Code, FieldError, Problem};

/// What the guard refuses, of sends and of checks alike.
pub const GUARDED: &[Code] = &[
    Code::PhoneInvalid,
    Code::PhoneBlocked,
    Code::IpBlocked,
    Code::PhoneLimited,
    Code::IpLimited,
    Code::AccountLimited,
    Code::PrefixLimited,
    Code::GlobalLimited,
];

/// Of no endpoint: what is answered where there is none.
pub(super) const UNROUTED: &[Code] = &[Code::NotFound, Code::MethodNotAllowed];

const EVERYWHERE: &[Code] = &[Code::Internal, Code::RequestTimeout];
const OF_NO_TOKEN: &[Code] = &[Code::TokenMissing];
const OF_A_TOKEN: &[Code] = &[
    Code::TokenInvalid,
    Code::TokenExpired,
    Code::AddressNotAllowed,
    Code::StoreUnavailable,
    Code::DatabaseUnavailable,
];
const OF_A_SCOPE: &[Code] = &[Code::ScopeMissing];
const OF_A_LOG_IN: &[Code] = &[Code::SessionNeeded];
const OF_A_BODY: &[Code] = &[
    Code::BodyMalformed,
    Code::BodyTimeout,
    Code::BodyTooLarge,
    Code::ContentTypeUnsupported,
    Code::FieldsInvalid,
];
const OF_A_PATH: &[Code] = &[Code::RequestMalformed];
const OF_A_QUERY: &[Code] = &[Code::RequestMalformed, Code::FieldsInvalid];
const OF_A_KEY: &[Code] =
    &[Code::IdempotencyKeyInvalid, Code::IdempotencyKeyReused, Code::KeyMissing];
const OF_SENDING: &[Code] = &[
    Code::SendingNotAllowed,
    Code::CountryNotAllowed,
    Code::RequestInFlight,
    Code::Overloaded,
    Code::QueueUnavailable,
    Code::OutcomeUnknown,
];

/// The words of the codes that an endpoint names, for its `x-problems`.
pub fn problems(groups: &[&[Code]]) -> Vec<&'static str> {
    groups.iter().flat_map(|group| group.iter()).map(|code| code.word()).collect()
}

/// Who may call an operation, as its `security` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who<'a> {
    Anybody,
    /// Whoever shows a token that isn't an API key's.
    LoggedIn,
    Scope(&'a str),
    /// Or without one where the operator lets them: so the answer to none is the endpoint's own.
    ScopeOrTrust(&'a str),
}

impl<'a> Who<'a> {
    pub(super) fn of(operation: &'a Value) -> Self {
        let Some(ways) = operation["security"].as_array() else { return Self::Anybody };
        let scope = ways.iter().find_map(|way| way.pointer("/bearer/0")?.as_str());
        let none = ways.iter().any(|way| way.as_object().is_some_and(Map::is_empty));
        match scope {
            Some(scope) if none => Self::ScopeOrTrust(scope),
            Some(scope) => Self::Scope(scope),
            None => Self::LoggedIn,
        }
    }
}

/// Every code of an operation, in the order of the table. A dialect has words of its own.
pub(super) fn of_operation(operation: &Value) -> Vec<Code> {
    if operation["x-dialect"].is_string() {
        return Vec::new();
    }
    let own = operation["x-problems"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut words: Vec<&str> = own.collect();
    let who = Who::of(operation);
    let parameter = |place: &str, name: &str| {
        let mut parameters = operation["parameters"].as_array().into_iter().flatten();
        parameters.any(|one| one["in"] == place && (name.is_empty() || one["name"] == name))
    };
    let groups = [
        (true, EVERYWHERE),
        (who != Who::Anybody, OF_A_TOKEN),
        (matches!(who, Who::LoggedIn | Who::Scope(_)), OF_NO_TOKEN),
        (matches!(who, Who::Scope(_)), OF_A_SCOPE),
        (who == Who::LoggedIn, OF_A_LOG_IN),
        (who == Who::Scope("send"), OF_SENDING),
        (operation["requestBody"].is_object(), OF_A_BODY),
        (parameter("path", ""), OF_A_PATH),
        (parameter("query", ""), OF_A_QUERY),
        (parameter("header", "Idempotency-Key"), OF_A_KEY),
    ];
    for (_, group) in groups.into_iter().filter(|(applies, _)| *applies) {
        words.extend(group.iter().map(|code| code.word()));
    }
    Code::ALL.iter().copied().filter(|code| words.contains(&code.word())).collect()
}

/// An example of each problem, by its word.
pub(super) fn examples() -> Value {
    let example = |code: &Code| {
        let value = occurrence(*code).body("0198c9a1-52f0-7c3e-9d5b-6f1d2a7c4e10");
        (code.word().to_owned(), json!({ "summary": code.title(), "value": value }))
    };
    Value::Object(Code::ALL.iter().map(example).collect::<Map<_, _>>())
}

/// A problem as it is met.
fn occurrence(code: Code) -> Problem {
    let field = |field, why, detail: &str| Problem::field(code, field, why, detail);
    match code {
        Code::BodyMalformed => Problem::new(code).detail("not JSON at line 1, column 9"),
        Code::ScopeMissing => Problem::new(code).detail("the scope `send` is needed"),
        Code::FieldsInvalid => Problem::new(code).errors(&[FieldError {
            field: "phone".to_owned(),
            code: "missing",
            detail: "is needed".to_owned(),
        }]),
        Code::PhoneInvalid => field("phone", "not_mobile", "not a mobile number"),
        Code::CountryNotAllowed => {
            field("phone", "country", "the operator doesn't send to this country")
        }
        Code::PurposeInvalid => {
            field("purpose", "unknown", "no [purposes] of this name is configured")
        }
        Code::TemplateUnknown => {
            field("template", "unknown", "no [templates] of this name is configured")
        }
        Code::ParamsInvalid => Problem::new(code).errors(&[FieldError {
            field: "params.order".to_owned(),
            code: "missing",
            detail: "the template needs it".to_owned(),
        }]),
        Code::SafeListed => {
            field("value", "safe", "it is on the safe list, [bans] safe_phones and safe_networks")
        }
        Code::BanTooWide => {
            field("value", "wide", "the network is wider than /8: to ban it, add `\"force\": true`")
        }
        Code::CodeMismatch => Problem::new(code).with("attempts_left", 4),
        Code::PhoneLimited => Problem::new(code).detail("at most 1 in 60 s"),
        Code::IpLimited => Problem::new(code).detail("at most 20 in 60 s"),
        _ => Problem::new(code),
    }
}
