//! W3C trace context: the caller's `traceparent` goes with the job, or a new one does.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use uuid::Uuid;

const HEADER: &str = "traceparent";

/// A valid `traceparent`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Trace {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(given(&parts.headers).unwrap_or_else(new))
    }
}

/// The caller's, if it is valid: `00-<32 hex>-<16 hex>-<2 hex>`, no id all zeroes. Of a later version the known
/// beginning is taken.
fn given(headers: &HeaderMap) -> Option<Trace> {
    let text = headers.get(HEADER)?.to_str().ok()?;
    let known = text.get(..55)?;
    let parts: Vec<&str> = known.split('-').collect();
    let [version, trace, span, flags] = parts[..] else { return None };
    let rest = &text[55..];
    let whole =
        if version == "00" { rest.is_empty() } else { rest.is_empty() || rest.starts_with('-') };
    let hex = |part: &str, length: usize| {
        part.len() == length
            && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let some = |part: &str| part.bytes().any(|b| b != b'0');
    let fine =
        hex(version, 2) && version != "ff" && hex(trace, 32) && hex(span, 16) && hex(flags, 2);
    (whole && fine && some(trace) && some(span))
        .then(|| Trace(format!("00-{trace}-{span}-{flags}")))
}

/// New ids, random but for the time in front; the sampled flag is left to whoever does record.
fn new() -> Trace {
    let span = &Uuid::now_v7().simple().to_string()[16..];
    Trace(format!("00-{}-{span}-00", Uuid::now_v7().simple()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn header(text: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, HeaderValue::from_str(text).unwrap());
        given(&headers).map(|trace| trace.0)
    }

    #[test]
    fn a_valid_one_is_kept_and_a_later_version_understood() {
        let valid = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(header(valid).as_deref(), Some(valid));
        let later = valid.replacen("00", "cc", 1) + "-what-comes";
        assert_eq!(header(&later).as_deref(), Some(valid));
        let made = new().0;
        assert_eq!(header(&made), Some(made));
    }

    #[test]
    fn what_is_not_valid_is_replaced() {
        for text in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333-001",
        ] {
            assert_eq!(header(text), None, "{text}");
        }
    }
}
