//! The public keys of an identity provider: a JSON Web Key Set (RFC 7517) in a file, each key with the one algorithm
//! that it is used with.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};

/// The largest file that is read, in bytes.
const LARGEST: u64 = 1024 * 1024;
const SHORTEST_RSA: usize = 2048;

/// By `kid`.
pub type Keys = HashMap<String, Arc<PublicKey>>;

#[derive(Debug)]
pub struct PublicKey {
    pub key: DecodingKey,
    pub algorithm: Algorithm,
}

/// Why a file of keys isn't used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    #[error("jwt.jwks_file can't be read: {0}")]
    Unreadable(String),
    #[error("jwt.jwks_file: the key `{kid}` {problem}")]
    Key { kid: String, problem: &'static str },
    #[error("jwt.jwks_file holds no public key for EdDSA, RS256 or ES256 with a `kid`")]
    None,
}

/// Reads a key set. A symmetric or private key, an RSA key under 2048 bits, a broken key and a `kid` that is there
/// twice refuse the whole file; what is for another use or algorithm is left out.
pub fn read(file: &Path) -> Result<Keys, JwksError> {
    let unreadable = |problem: String| JwksError::Unreadable(problem);
    let length = std::fs::metadata(file).map_err(|error| unreadable(error.to_string()))?.len();
    if length > LARGEST {
        return Err(unreadable("it is larger than 1 MiB".to_owned()));
    }
    let text = std::fs::read(file).map_err(|error| unreadable(error.to_string()))?;
    let set: Value =
        serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string()))?;
    let keys = set.get("keys").and_then(Value::as_array);
    let keys = keys.ok_or_else(|| unreadable("it has no list `keys`".to_owned()))?;
    of_set(keys)
}

fn of_set(set: &[Value]) -> Result<Keys, JwksError> {
    let mut keys = Keys::new();
    for jwk in set.iter().filter_map(Value::as_object) {
        let kid = text(jwk, "kid").unwrap_or_default();
        let wrong = |problem| JwksError::Key { kid: kid.to_owned(), problem };
        match public_key(jwk).map_err(wrong)? {
            Some(key) if !kid.is_empty() => {
                if keys.insert(kid.to_owned(), Arc::new(key)).is_some() {
                    return Err(wrong("is there twice"));
                }
            }
            _ => tracing::warn!(kid, "a key of jwt.jwks_file is not used"),
        }
    }
    if keys.is_empty() { Err(JwksError::None) } else { Ok(keys) }
}

/// The key and its algorithm; `None` where it is for something else.
fn public_key(jwk: &Map<String, Value>) -> Result<Option<PublicKey>, &'static str> {
    let kind = text(jwk, "kty");
    if kind == Some("oct") || jwk.contains_key("k") {
        return Err("is a symmetric one: whoever checks with it could sign too");
    }
    if jwk.contains_key("d") {
        return Err("is a private one, which belongs to the identity provider alone");
    }
    let broken = |_| "can't be read";
    let (key, algorithm) = match (kind, text(jwk, "crv")) {
        (Some("RSA"), _) => {
            let (modulus, exponent) = (bytes(jwk, "n")?, bytes(jwk, "e")?);
            if bits(&modulus) < SHORTEST_RSA {
                return Err("has fewer than 2048 bits");
            }
            (DecodingKey::from_rsa_raw_components(&modulus, &exponent), Algorithm::RS256)
        }
        (Some("EC"), Some("P-256")) => {
            let (x, y) = (coordinate(jwk, "x")?, coordinate(jwk, "y")?);
            (DecodingKey::from_ec_components(x, y).map_err(broken)?, Algorithm::ES256)
        }
        (Some("OKP"), Some("Ed25519")) => {
            let x = coordinate(jwk, "x")?;
            (DecodingKey::from_ed_components(x).map_err(broken)?, Algorithm::EdDSA)
        }
        _ => return Ok(None),
    };
    let fits = |name, word| jwk.get(name).is_none_or(|value| value.as_str() == Some(word));
    let checks = |value: &Value| {
        value.as_array().is_some_and(|words| words.iter().any(|word| word == "verify"))
    };
    let used = fits("use", "sig") && jwk.get("key_ops").is_none_or(checks);
    let used = used && fits("alg", word_of(algorithm));
    Ok(used.then_some(PublicKey { key, algorithm }))
}

fn word_of(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::RS256 => "RS256",
        Algorithm::ES256 => "ES256",
        _ => "EdDSA",
    }
}

fn text<'a>(jwk: &'a Map<String, Value>, member: &str) -> Option<&'a str> {
    jwk.get(member).and_then(Value::as_str)
}

fn bytes(jwk: &Map<String, Value>, member: &str) -> Result<Vec<u8>, &'static str> {
    let text = text(jwk, member).ok_or("lacks a member")?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| "can't be read")
}

/// A member of 32 bytes, as it stands.
fn coordinate<'a>(jwk: &'a Map<String, Value>, member: &str) -> Result<&'a str, &'static str> {
    if bytes(jwk, member)?.len() != 32 {
        return Err("has a member of the wrong length");
    }
    text(jwk, member).ok_or("lacks a member")
}

/// The length of a big-endian number.
fn bits(number: &[u8]) -> usize {
    let Some(first) = number.iter().position(|byte| *byte != 0) else { return 0 };
    let leading = usize::try_from(number[first].leading_zeros()).unwrap_or(0);
    (number.len() - first) * 8 - leading
}
