//! A provider's answer (its status on the first line, `Retry-After` on the second, the body after it): accepted is only
//! what is documented as a success, and such a success is never taken for an SMS that wasn't carried.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use postrider_common::config::ProviderKind;
use postrider_common::model::job::{Lane, Outcome};
use postrider_worker::provider::{Answer, Response, classify};
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let mut lines = bytes.splitn(3, |byte| *byte == b'\n');
    let [Some(status), Some(retry_after), Some(body)] = [(); 3].map(|()| lines.next()) else {
        return;
    };
    let Ok(status) = StatusCode::from_bytes(status) else { return };
    let retry_after = HeaderValue::from_bytes(retry_after).ok();
    let headers: HeaderMap = retry_after.map(|value| (RETRY_AFTER, value)).into_iter().collect();
    let body = String::from_utf8_lossy(body).into_owned();
    let json: Value = serde_json::from_str(&body).unwrap_or_default();
    let response = Response { status, headers, body };
    for (kind, success) in
        [(ProviderKind::Aliyun, json["Code"] == "OK"), (ProviderKind::Spug, json["code"] == 200)]
    {
        for lane in Lane::ALL {
            let answer = classify(kind, lane, &response).unwrap();
            is_sound(&answer, &response, status.is_success() && success);
        }
    }
});

fn is_sound(answer: &Answer, response: &Response, documented: bool) {
    let accepted = answer.outcome == Outcome::Accepted;
    assert!(documented || !accepted, "{answer:?}");
    // Where its other members can't be read it may have been carried.
    assert!(!documented || matches!(answer.outcome, Outcome::Accepted | Outcome::Unknown));
    assert_eq!(answer.error_code.is_none(), accepted);
    assert!(answer.retry_after.is_none_or(|time| time <= Duration::from_secs(86_400)));
    assert!(answer.response.as_ref().is_none_or(|kept| *kept == response.body));
}
