//! Every refusal and failure that a caller can meet: one table of stable words, each with status and title,
//! answered as problem details (RFC 9457).

use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use postrider_common::database::DatabaseError;
use postrider_common::model::limits::Scope;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::http::clock::seconds_up;
use crate::http::rate_limit_headers::Policy;

macro_rules! codes {
    ($($name:ident = $status:literal $word:literal $title:literal,)*) => {
        /// The stable word of a problem.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code { $($name,)* }

        impl Code {
            /// Every one there is, for the docs and their test.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The word in the body's `code`.
            pub fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// Says the same every time; `detail` is about the occurrence.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }

            fn status_number(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }
        }
    };
}

codes! {
    RequestMalformed = 400 "request_malformed" "The request can't be read",
    BodyMalformed = 400 "body_malformed" "The body is not JSON",
    TokenMissing = 401 "token_missing" "No bearer token was given",
    TokenInvalid = 401 "token_invalid" "The token is not valid",
    CredentialsInvalid = 401 "credentials_invalid" "The user name or the password is wrong",
    TokenExpired = 401 "token_expired" "The token has expired",
    ScopeMissing = 403 "scope_missing" "The token lacks a scope that this takes",
    SessionNeeded = 403 "session_needed" "This takes the token of a log-in",
    AddressNotAllowed = 403 "address_not_allowed" "This API key may not be used from this address",
    SendingNotAllowed = 403 "sending_not_allowed" "This account may not send",
    RegistrationClosed = 403 "registration_closed" "Only an admin makes accounts here",
    PhoneBlocked = 403 "phone_blocked" "This phone number is blocked",
    IpBlocked = 403 "ip_blocked" "This address is blocked",
    NotFound = 404 "not_found" "There is nothing here",
    VerificationNotFound = 404 "verification_not_found" "No such verification, or it has expired",
    ApiKeyNotFound = 404 "api_key_not_found" "No such API key",
    AccountNotFound = 404 "account_not_found" "No such account",
    MessageNotFound = 404 "message_not_found" "No such message",
    NotBlacklisted = 404 "not_blacklisted" "There is no such ban",
    MethodNotAllowed = 405 "method_not_allowed" "Another method is needed here",
    BodyTimeout = 408 "body_timeout" "The body arrived too slowly",
    AlreadyUsed = 409 "already_used" "The code was right and has been used before",
    TooManyKeys = 409 "too_many_keys" "The account has as many API keys as it may",
    UsernameTaken = 409 "username_taken" "The user name is another account's",
    EmailTaken = 409 "email_taken" "The e-mail address is another account's",
    RequestInFlight = 409 "request_in_flight" "A request with this Idempotency-Key is not answered yet",
    BodyTooLarge = 413 "body_too_large" "The body is too large",
    ContentTypeUnsupported = 415 "content_type_unsupported" "The content type is not application/json",
    FieldsInvalid = 422 "fields_invalid" "Some fields are wrong",
    PhoneInvalid = 422 "phone_invalid" "The phone number can't be texted",
    CountryNotAllowed = 422 "country_not_allowed" "Numbers of this country are not texted",
    PurposeInvalid = 422 "purpose_invalid" "This purpose is not known",
    TemplateUnknown = 422 "template_unknown" "This template is not known",
    ParamsInvalid = 422 "params_invalid" "The parameters don't fit the template",
    PasswordWrong = 422 "password_wrong" "The old password is wrong",
    SecurityAnswerWrong = 422 "security_answer_wrong" "The answer to the security question is wrong",
    BalanceTooHigh = 422 "balance_too_high" "The balance would be higher than it may be",
    SafeListed = 422 "safe_listed" "This is never banned",
    BanTooWide = 422 "ban_too_wide" "The ban is so wide that it needs `force`",
    CodeMismatch = 422 "code_mismatch" "The code is wrong",
    IdempotencyKeyInvalid = 422 "idempotency_key_invalid" "The Idempotency-Key can't be used",
    IdempotencyKeyReused = 422 "idempotency_key_reused" "The Idempotency-Key was used with another body",
    LoginLimited = 429 "login_limited" "Too many failed log-ins",
    PhoneLimited = 429 "phone_limited" "Too many requests for this phone number",
    IpLimited = 429 "ip_limited" "Too many requests from this address",
    AccountLimited = 429 "account_limited" "Too many requests of this account",
    PrefixLimited = 429 "prefix_limited" "Too many requests for numbers like this one",
    GlobalLimited = 429 "global_limited" "Too many requests in all",
    MaxSendsReached = 429 "max_sends_reached" "This code was sent as often as it may be",
    TooManyAttempts = 429 "too_many_attempts" "The attempts of this verification are spent",
    Internal = 500 "internal" "Something is broken on our side",
    Overloaded = 503 "overloaded" "Too much is waiting to be done",
    QueueUnavailable = 503 "queue_unavailable" "The message could not be queued; nothing was counted",
    StoreUnavailable = 503 "store_unavailable" "The request could not be decided",
    KeyMissing = 503 "key_missing" "A secret that this request needs is missing",
    DatabaseUnavailable = 503 "database_unavailable" "The tables can't be read",
    OutcomeUnknown = 503 "outcome_unknown" "The message may be queued; the same request again is safe",
    RequestTimeout = 503 "request_timeout" "The request took too long",
}

impl Code {
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.status_number()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The word for a limit of this scope that is used up.
    pub fn limited(scope: Scope) -> Self {
        match scope {
            Scope::Phone | Scope::PhonePurpose | Scope::PhoneAll => Self::PhoneLimited,
            Scope::Ip => Self::IpLimited,
            Scope::Account | Scope::AccountIp => Self::AccountLimited,
            Scope::Prefix => Self::PrefixLimited,
            Scope::Global => Self::GlobalLimited,
        }
    }
}

/// One wrong field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    pub field: String,
    pub code: &'static str,
    pub detail: String,
}

/// An answer that is no success. As a response it is empty, with itself among the extensions: the outermost
/// middleware writes the body, because that knows the request's id.
#[must_use]
#[derive(Debug, Clone)]
pub struct Problem {
    pub code: Code,
    occurrence: Box<Occurrence>,
}

/// What is said about this one. Boxed: nearly everything returns a `Result` with a problem in it.
#[derive(Debug, Clone, Default)]
struct Occurrence {
    detail: Option<String>,
    members: Map<String, Value>,
    headers: HeaderMap,
    cause: Option<String>,
    limit: Option<Policy>,
}

/// What the caller may try again is tried again after a second, unless something better is known.
const SOON_MS: i64 = 1000;

impl Problem {
    pub fn new(code: Code) -> Self {
        let mut problem = Self { code, occurrence: Box::default() };
        match code.status() {
            StatusCode::UNAUTHORIZED => {
                let scheme = HeaderValue::from_static("Bearer");
                problem.occurrence.headers.insert(WWW_AUTHENTICATE, scheme);
                problem
            }
            StatusCode::SERVICE_UNAVAILABLE => problem.retry_after(SOON_MS),
            _ => problem,
        }
    }

    /// What is the matter this time. Never shown of a 5xx.
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.occurrence.detail = Some(detail.into());
        self
    }

    /// What lies behind it: for our log, never for the caller.
    pub fn because(mut self, cause: &impl ToString) -> Self {
        self.occurrence.cause = Some(cause.to_string());
        self
    }

    pub fn by_limit(mut self, policy: Policy) -> Self {
        self.occurrence.limit = Some(policy);
        self
    }

    /// The limit that refused.
    pub fn limit(&self) -> Option<Policy> {
        self.occurrence.limit
    }

    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.occurrence.members.insert(member.to_owned(), value.into());
        self
    }

    pub fn errors(self, errors: &[FieldError]) -> Self {
        self.with("errors", json!(errors))
    }

    /// One wrong field that has a problem of its own.
    pub fn field(code: Code, field: &str, why: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let error = FieldError { field: field.to_owned(), code: why, detail: detail.clone() };
        Self::new(code).detail(detail).errors(&[error])
    }

    pub fn retry_after(mut self, ms: i64) -> Self {
        self.occurrence.headers.insert(RETRY_AFTER, HeaderValue::from(seconds_up(ms)));
        self
    }

    pub fn headers(mut self, headers: HeaderMap) -> Self {
        self.occurrence.headers.extend(headers);
        self
    }

    /// The same as `RateLimit-Policy` names it.
    pub fn policy(&self) -> Option<String> {
        self.limit().map(|policy| policy.name())
    }

    /// The first field that was wrong, and why.
    pub fn wrong_field(&self) -> Option<(&str, &str)> {
        let error = self.occurrence.members.get("errors")?.get(0)?;
        Some((error.get("field")?.as_str()?, error.get("code")?.as_str()?))
    }

    pub fn cause(&self) -> Option<&str> {
        self.occurrence.cause.as_deref()
    }

    /// The body, with the members of RFC 9457 and ours.
    pub fn body(&self, request_id: &str) -> Value {
        let mut body = self.occurrence.members.clone();
        let word = self.code.word();
        body.insert("type".to_owned(), format!("urn:postrider:problem:{word}").into());
        body.insert("title".to_owned(), self.code.title().into());
        body.insert("status".to_owned(), self.code.status().as_u16().into());
        body.insert("code".to_owned(), word.into());
        body.insert("request_id".to_owned(), request_id.into());
        if let Some(detail) = &self.occurrence.detail
            && !self.code.status().is_server_error()
        {
            body.insert("detail".to_owned(), detail.as_str().into());
        }
        Value::Object(body)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.code.status(), self.occurrence.headers.clone()).into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<DatabaseError> for Problem {
    fn from(error: DatabaseError) -> Self {
        Self::new(Code::DatabaseUnavailable).because(&error)
    }
}

/// Among a response's extensions: a problem that its body tells in other words than ours.
#[derive(Debug, Clone)]
pub struct Told(pub Problem);

/// The problem of an answer that some layer gave without one: an unknown path, a wrong method.
pub fn of_bare(status: StatusCode) -> Option<Problem> {
    let problem = match status {
        StatusCode::NOT_FOUND => Problem::new(Code::NotFound),
        StatusCode::METHOD_NOT_ALLOWED => Problem::new(Code::MethodNotAllowed),
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(Code::BodyTooLarge),
        status if status.is_client_error() => Problem::new(Code::RequestMalformed),
        status if status.is_server_error() => Problem::new(Code::Internal),
        _ => return None,
    };
    Some(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_the_members_of_rfc_9457_and_ours() {
        let problem =
            Problem::field(Code::PhoneInvalid, "phone", "not_mobile", "not a mobile number");
        assert_eq!(
            problem.body("abc"),
            json!({
                "type": "urn:postrider:problem:phone_invalid",
                "title": "The phone number can't be texted",
                "status": 422,
                "detail": "not a mobile number",
                "code": "phone_invalid",
                "request_id": "abc",
                "errors": [{"field": "phone", "code": "not_mobile", "detail": "not a mobile number"}],
            })
        );
    }

    #[test]
    fn a_server_error_never_says_why_and_says_when_to_come_back() {
        let problem = Problem::new(Code::StoreUnavailable).detail("host x").because(&"password y");
        assert_eq!(problem.body("abc").get("detail"), None);
        assert!(!problem.body("abc").to_string().contains("password"));
        assert_eq!(problem.into_response().headers()[RETRY_AFTER], "1");
    }

    #[test]
    fn words_are_stable_snake_case_and_each_is_there_once() {
        let mut words: Vec<_> = Code::ALL.iter().map(|code| code.word()).collect();
        assert!(words.iter().all(|w| w.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Code::ALL.len());
        for scope in [
            Scope::Phone,
            Scope::Ip,
            Scope::Account,
            Scope::AccountIp,
            Scope::Prefix,
            Scope::Global,
        ] {
            assert_eq!(Code::limited(scope).word(), scope.refusal());
        }
        assert!(Code::ALL.iter().all(|code| code.status().as_u16() == code.status_number()));
    }
}
