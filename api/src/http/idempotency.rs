//! `Idempotency-Key`: read from the header, kept under a hash of account, path and key.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use postrider_common::model::owner::Owner;
use postrider_common::secrets::KeyRing;
use postrider_common::store::Idempotency;
use sha2::{Digest as _, Sha256};
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};

use crate::http::problem::{Code, Problem};

const HEADER: &str = "idempotency-key";
const LONGEST: usize = 128;

/// What the caller calls this request, if it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(Option<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let key = read(&parts.headers)?;
        Ok(Self(key.map(|key| (parts.uri.path().to_owned(), key))))
    }
}

impl IntoParams for IdempotencyKey {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let schema = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1));
        let header = ParameterBuilder::new()
            .name("Idempotency-Key")
            .parameter_in(ParameterIn::Header)
            .description(Some("Names the request, bare or in quotes: sent again within 24 h it is answered as before"))
            .schema(Some(schema.max_length(Some(2 * LONGEST + 2))));
        vec![header.build()]
    }
}

impl IdempotencyKey {
    /// As the caller wrote it, for what is kept under it elsewhere than in the store.
    pub fn text(&self) -> Option<&str> {
        self.0.as_ref().map(|(_, key)| key.as_str())
    }

    /// As the store is asked: the body's fingerprints are keyed, so that they tell nothing about a code in it.
    pub fn of(self, owner: Owner, body: &[u8], keys: &KeyRing) -> Option<Idempotency> {
        let (path, key) = self.0?;
        let hash = Sha256::digest(format!("{owner}|{path}|{key}"));
        Some(Idempotency {
            key: format!("idem:{}", hex::encode(hash)),
            fingerprints: keys.fingerprints(body),
        })
    }
}

/// The key, bare or as a structured-field string in quotes: `abc` and `"abc"` are the same. `None` where there is no
/// such header; one that is there twice, or is no key of 1 to 128 visible ASCII characters, is refused.
pub fn read(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut given = headers.get_all(HEADER).iter();
    let Some(value) = given.next() else { return Ok(None) };
    let refused = || {
        let detail = "1 to 128 visible ASCII characters, once, bare or in quotes";
        Problem::new(Code::IdempotencyKeyInvalid).detail(detail)
    };
    if given.next().is_some() {
        return Err(refused());
    }
    let text = value.to_str().map_err(|_| refused())?.trim();
    let key = match text.strip_prefix('"') {
        Some(rest) => unquoted(rest).ok_or_else(refused)?,
        None => text.to_owned(),
    };
    let fine = (1..=LONGEST).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
    if fine { Ok(Some(key)) } else { Err(refused()) }
}

/// The rest of a quoted string after its first quote; `\"` and `\\` are the only escapes (RFC 9651, 3.3.3).
fn unquoted(rest: &str) -> Option<String> {
    let mut text = String::with_capacity(rest.len());
    let mut letters = rest.chars();
    loop {
        match letters.next()? {
            '"' => return letters.next().is_none().then_some(text),
            '\\' => text.push(letters.next().filter(|escaped| matches!(escaped, '"' | '\\'))?),
            letter => text.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    fn header(text: &str) -> Result<Option<String>, Code> {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, HeaderValue::from_str(text).unwrap());
        read(&headers).map_err(|problem| problem.code)
    }

    #[test]
    fn quoted_and_bare_keys_are_one() {
        assert_eq!(header("8e03978e-40d5"), Ok(Some("8e03978e-40d5".to_owned())));
        assert_eq!(header("\"8e03978e-40d5\""), Ok(Some("8e03978e-40d5".to_owned())));
        assert_eq!(header(r#""a\"b\\c""#), Ok(Some(r#"a"b\c"#.to_owned())));
        assert_eq!(header(&"a".repeat(128)), Ok(Some("a".repeat(128))));
        assert_eq!(read(&HeaderMap::new()).ok(), Some(None));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let long = "a".repeat(129);
        for text in ["", "\"\"", "a b", "\"a", "\"a\"b", r#""a\x""#, long.as_str()] {
            assert_eq!(header(text), Err(Code::IdempotencyKeyInvalid), "{text}");
        }
        let mut twice = HeaderMap::new();
        twice.append(HEADER, HeaderValue::from_static("a"));
        twice.append(HEADER, HeaderValue::from_static("b"));
        assert!(read(&twice).is_err());
    }

    #[test]
    fn accounts_paths_and_keys_are_told_apart() {
        let keys: KeyRing = "a".repeat(40).parse().unwrap();
        let of = |account, path: &str, key: &str| {
            let key = IdempotencyKey(Some((path.to_owned(), key.to_owned())));
            key.of(Owner::new(account, false), b"body", &keys).unwrap().key
        };
        let first = of(7, "/v1/notices", "k");
        assert_eq!(first, of(7, "/v1/notices", "k"));
        assert_ne!(first, of(8, "/v1/notices", "k"));
        assert_ne!(first, of(7, "/v1/verifications", "k"));
        assert_ne!(first, of(7, "/v1/notices", "l"));
        assert_eq!(IdempotencyKey(None).of(Owner::new(7, false), b"", &keys).map(|i| i.key), None);
    }

    proptest! {
        #[test]
        fn any_header_is_a_key_or_refused(
            lines in prop::collection::vec(
                prop_oneof![
                    prop::collection::vec(any::<u8>(), 0..140),
                    "[ \"\\\\a-z]{0,12}".prop_map(String::into_bytes),
                    "\"?[!-~]{120,140}\"?".prop_map(String::into_bytes),
                ],
                0..3,
            ),
        ) {
            let mut headers = HeaderMap::new();
            for line in &lines {
                if let Ok(value) = HeaderValue::from_bytes(line) {
                    headers.append(HEADER, value);
                }
            }
            match read(&headers) {
                Ok(None) => prop_assert!(headers.is_empty()),
                Ok(Some(key)) => {
                    prop_assert_eq!(headers.len(), 1);
                    prop_assert!((1..=LONGEST).contains(&key.len()));
                    prop_assert!(key.bytes().all(|b| b.is_ascii_graphic()));
                }
                Err(problem) => prop_assert_eq!(problem.code, Code::IdempotencyKeyInvalid),
            }
        }

        #[test]
        fn every_key_is_read_bare_and_quoted(key in "[!-~]{1,128}") {
            let quoted = format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""));
            prop_assert_eq!(header(&quoted), Ok(Some(key.clone())));
            if !key.starts_with('"') {
                prop_assert_eq!(header(&key), Ok(Some(key)));
            }
        }
    }
}
