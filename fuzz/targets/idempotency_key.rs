//! `Idempotency-Key` headers, one a line: a key or refused, and a key is the same bare and quoted.

#![no_main]

use axum::http::header::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use postrider_api::http::idempotency::read;
use postrider_api::http::problem::Code;

const HEADER: HeaderName = HeaderName::from_static("idempotency-key");

fuzz_target!(|bytes: &[u8]| {
    let lines = bytes.split(|byte| *byte == b'\n');
    let headers: HeaderMap = lines
        .filter_map(|line| HeaderValue::from_bytes(line).ok())
        .map(|value| (HEADER, value))
        .collect();
    match read(&headers) {
        Ok(None) => assert!(headers.is_empty()),
        Ok(Some(key)) => {
            assert_eq!(headers.len(), 1);
            assert!((1..=128).contains(&key.len()));
            assert!(key.bytes().all(|byte| byte.is_ascii_graphic()));
            is_read_again(&key);
        }
        Err(problem) => assert_eq!(problem.code, Code::IdempotencyKeyInvalid),
    }
});

fn is_read_again(key: &str) {
    let header =
        |text: &str| HeaderMap::from_iter([(HEADER, HeaderValue::from_str(text).unwrap())]);
    let quoted = format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""));
    assert_eq!(read(&header(&quoted)).ok().flatten().as_deref(), Some(key));
    if !key.starts_with('"') {
        assert_eq!(read(&header(key)).ok().flatten().as_deref(), Some(key));
    }
}
