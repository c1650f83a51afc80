//! What the providers over HTTP have in common: the client, and what it means when no answer, or none that can
//! be read, comes back.

use std::time::Duration;

use postrider_common::config;
use postrider_common::job::Outcome;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, StatusCode, redirect, retry};
use serde::de::DeserializeOwned;

use super::Answer;

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
        .build()
}

/// Sends a request. `Err` is what the absence of an answer means: where no connection came about the
/// message was not carried; where one did, nobody knows.
pub(super) async fn exchange(request: RequestBuilder) -> Result<Response, Answer> {
    let mut response = request.send().await.map_err(|error| no_answer(&error))?;
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| no_answer(&error))? {
        body.extend_from_slice(&chunk);
        if body.len() > LONGEST {
            return Err(Answer::of(Outcome::Unknown, "broken_answer")
                .with_message("the answer is too long"));
        }
    }
    Ok(Response { status, headers, body: String::from_utf8_lossy(&body).into_owned() })
}

fn no_answer(error: &reqwest::Error) -> Answer {
    if error.is_connect() {
        Answer::of(Outcome::Later, "connect").with_message("no connection to the provider")
    } else if error.is_timeout() {
        Answer::of(Outcome::Unknown, "timeout").with_message("the provider did not answer in time")
    } else {
        Answer::of(Outcome::Unknown, "broken_answer")
            .with_message("the provider's answer broke off")
    }
}

impl Response {
    /// The body where it is an object of this shape; a list of the same values, which serde would take for one, is not.
    pub(super) fn object<T: DeserializeOwned>(&self) -> Option<T> {
        let is_object = self.body.trim_start().starts_with('{');
        is_object.then(|| serde_json::from_str(&self.body).ok()).flatten()
    }

    /// What a status means that the provider documents nothing else for. `None` where the body decides.
    pub(super) fn by_status(&self) -> Option<Answer> {
        let code = format!("http_{}", self.status.as_u16());
        let outcome = match self.status.as_u16() {
            429 => Outcome::TooFast,
            503 => Outcome::Later,
            500.. => Outcome::Unknown,
            _ => return None,
        };
        let mut answer = Answer::of(outcome, &code);
        answer.retry_after = self.retry_after();
        answer.response = Some(self.body.clone());
        Some(answer)
    }

    /// An answer that should be understood and isn't: the request may have been carried.
    pub(super) fn broken(&self) -> Answer {
        let mut answer = Answer::of(Outcome::Unknown, "broken_answer")
            .with_message(format!("an answer that can't be read (HTTP {})", self.status.as_u16()));
        answer.response = Some(self.body.clone());
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
