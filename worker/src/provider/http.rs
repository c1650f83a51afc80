//! The client that providers over HTTP share, and the meaning of an answer's status, of one that can't be read, and
//! of none.

mod no_answer;
#[cfg(test)]
mod tests;

use std::time::Duration;

use postrider_common::config;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Client, ClientBuilder, RequestBuilder, StatusCode, redirect, retry};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Answer;
use super::class::Class;

/// So much longer than for a connection an answer is waited for at least.
const MORE: Duration = Duration::from_millis(100);
/// The longest body that is read; providers answer with a few hundred bytes.
const LONGEST: usize = 64 * 1024;

/// A provider's answer over HTTP as it came.
#[derive(Debug)]
pub struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// What is no UTF-8 in it is replaced.
    pub body: String,
}

/// A client with both time-outs, that follows no redirect: a credential goes nowhere else. It speaks HTTP/1.1 alone, so
/// that each call has a connection: the streams of HTTP/2 are few, and a call would wait for one unseen.
pub(super) fn client(config: &config::Provider) -> Result<Client, reqwest::Error> {
    builder(config).build()
}

fn builder(config: &config::Provider) -> ClientBuilder {
    Client::builder()
        .connect_timeout(config.connect_timeout)
        // It runs from the call's beginning: where it ended before the other, a connection that never came would pass for
        // an answer that got lost.
        .read_timeout(config.read_timeout.max(config.connect_timeout + MORE))
        .timeout(config.connect_timeout + config.read_timeout)
        .redirect(redirect::Policy::none())
        // Whether a message is sent again is decided elsewhere; and each call would keep a copy of itself for it.
        .retry(retry::never().max_retries_per_request(0))
        .no_proxy()
}

/// Sends a request. `Err` is the meaning of no answer: without a connection the message was not carried; with one,
/// nobody knows.
pub(super) async fn exchange(request: RequestBuilder) -> Result<Response, Answer> {
    let mut response = request.send().await.map_err(|error| no_answer::classify(&error))?;
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| no_answer::classify(&error))? {
        body.extend_from_slice(&chunk);
        if body.len() > LONGEST {
            return Err(Class::Unknown
                .answer("broken_answer")
                .with_message("the answer is too long"));
        }
    }
    Ok(Response { status, headers, body: String::from_utf8_lossy(&body).into_owned() })
}

/// A text or a number as text; `None` of anything else. Only an answer's code decides: what stands beside it may have any
/// type.
pub(super) fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

impl Response {
    /// The body where it is an object of this shape; a list of the same values, which serde would take for one, is not.
    pub(super) fn object<T: DeserializeOwned>(&self) -> Option<T> {
        let body = self.body.trim_start_matches('\u{feff}');
        let is_object = body.trim_start().starts_with('{');
        is_object.then(|| serde_json::from_str(body).ok()).flatten()
    }

    /// The class of an answer with an error code, of which the provider's table says `listed`.
    pub(super) fn class(&self, listed: Option<Class>) -> Class {
        let class = match (self.status.as_u16(), listed) {
            (200..=299, Some(Class::Accepted)) => Class::Accepted,
            (_, Some(Class::Throttled)) => Class::Throttled,
            (401 | 403 | 404, _) => Class::Account,
            // Status and body contradict each other; nobody knows how far the request came.
            (_, Some(Class::Accepted)) | (408, None) => Class::Unknown,
            (429, _) => Class::Throttled,
            (_, Some(listed)) => listed,
            (200..=299 | 400..=499, None) => Class::Unlisted,
            (503, None) => Class::Later,
            _ => Class::Unknown,
        };
        let waits = matches!(class, Class::Later | Class::Unlisted);
        if waits && self.retry_after().is_some() { Class::Throttled } else { class }
    }

    /// An answer whose body isn't the provider's: empty, of a gateway, or cut off.
    pub(super) fn without_code(&self) -> Answer {
        let status = self.status.as_u16();
        let throttled = self.retry_after().is_some();
        let class = match status {
            401 | 403 | 404 => Class::Account,
            429 => Class::Throttled,
            408 => Class::Unknown,
            400..=499 | 503 if throttled => Class::Throttled,
            // Whatever stands before the provider refused it: its endpoint is wrong, or a gateway blocks us.
            400..=499 => Class::Account,
            503 => Class::Later,
            500.. => Class::Unknown,
            _ => return self.broken(),
        };
        self.answer(class, &format!("http_{status}"))
    }

    /// An answer that should be understood and isn't: the request may have been carried.
    pub(super) fn broken(&self) -> Answer {
        self.answer(Class::Unknown, "broken_answer")
            .with_message(format!("an answer that can't be read (HTTP {})", self.status.as_u16()))
    }

    /// An answer of this class, with the body and the wish for a pause that came.
    pub(super) fn answer(&self, class: Class, error_code: &str) -> Answer {
        let mut answer = class.answer(error_code);
        answer.response = Some(self.body.clone());
        answer.retry_after = answer.retry_after.max(self.retry_after());
        answer
    }

    /// `Retry-After` in seconds; a date is not looked at, since clocks differ.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let seconds = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
        // A day is longer than any message lives.
        Some(Duration::from_secs(u64::min(seconds, 86_400)))
    }
}

/// Any answer with such a body: any status, and whatever may be put into `Retry-After`.
#[cfg(test)]
pub(super) fn any_response(
    body: impl proptest::strategy::Strategy<Value = String>,
) -> impl proptest::strategy::Strategy<Value = Response> {
    use proptest::prelude::*;
    use reqwest::header::HeaderValue;

    let status = prop_oneof![
        Just(200),
        prop::sample::select(vec![201, 302, 400, 429, 500, 503]),
        100..=999_u16
    ];
    let retry_after = prop_oneof![
        Just(Vec::new()),
        "[0-9]{1,30}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..20)
    ];
    (status, retry_after, body).prop_map(|(status, retry_after, body)| {
        let retry_after = HeaderValue::from_bytes(&retry_after).ok();
        let headers = retry_after.map(|value| (RETRY_AFTER, value)).into_iter().collect();
        let status = StatusCode::from_u16(status).unwrap_or_default();
        Response { status, headers, body }
    })
}
