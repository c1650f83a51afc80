//! Bearer tokens. Ours are JWTs (HS256) signed with a key of our own ring, made by a log-in or `postrider-api token`.

use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header,
};
use postrider_common::database::account::{Account, Role};
use postrider_common::secrets::{KeyId, KeyRing};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Issuer and audience alike: nobody else makes tokens for us, and ours are for nobody else.
const POSTRIDER: &str = "postrider";
/// RFC 9068: tells an access token from every other JWT that the key may sign one day.
const TYPE: &str = "at+jwt";
/// Tolerated difference between an identity provider's clock and the store's, in milliseconds. A token of ours may be used
/// as much too early, and never too late.
pub const LEEWAY_MS: i64 = 30_000;
/// Longest token of ours: none comes near it.
pub const MAX_OWN_BYTES: usize = 4096;
/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// To send codes and notices.
    Send,
    /// To check codes.
    Verify,
    /// To read messages and verifications.
    Read,
    /// To hold numbers and read what they receive.
    Numbers,
    /// To say whose address a request comes from; the account must be granted it too.
    OnBehalf,
    /// To operate the service; the account must be an admin's too.
    Admin,
}

impl Grant {
    /// What every token is made with.
    pub const USUAL: [Self; 3] = [Self::Send, Self::Verify, Self::Read];

    /// All that an account may do: what a token is made with when its owner logs in.
    pub fn of(account: &Account) -> Vec<Self> {
        let mut grants = vec![Self::Send, Self::Verify, Self::Read, Self::Numbers];
        grants.extend(account.on_behalf.then_some(Self::OnBehalf));
        grants.extend((account.role == Role::Admin).then_some(Self::Admin));
        grants
    }

    pub const ALL: [Self; 6] =
        [Self::Send, Self::Verify, Self::Read, Self::Numbers, Self::OnBehalf, Self::Admin];

    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|grant| grant.word() == word)
    }

    /// Whether it is among words with spaces between.
    pub fn is_in(self, scope: &str) -> bool {
        scope.split(' ').any(|word| word == self.word())
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Verify => "verify",
            Self::Read => "read",
            Self::Numbers => "numbers",
            Self::OnBehalf => "on_behalf",
            Self::Admin => "admin",
        }
    }
}

/// What a token says. `iat` has milliseconds (RFC 7519 allows fractions), so that a token issued just after
/// its account's older tokens were revoked is told from those.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Claims {
    iss: String,
    aud: String,
    sub: String,
    iat: f64,
    nbf: u64,
    exp: u64,
    jti: String,
    scope: String,
}

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("the token is not valid")]
    Invalid,
    #[error("the token has expired")]
    Expired,
}

/// A token that was found right, whoever made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub holder: Holder,
    /// What revokes it; `None`: only together with all others of its account.
    pub jti: Option<String>,
    /// Unix milliseconds.
    pub issued_at: i64,
    /// From when on (unix milliseconds) every process refuses it for its age, whatever its clock says.
    pub dead_at: i64,
    /// Words with spaces between.
    pub scope: String,
}

/// Whose a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    Account(i64),
    Username(String),
}

impl Claims {
    pub fn grants(&self, grant: Grant) -> bool {
        grant.is_in(&self.scope)
    }

    pub fn account_id(&self) -> Option<i64> {
        self.sub.parse().ok()
    }

    /// Unix milliseconds.
    #[expect(clippy::cast_possible_truncation, reason = "a time far out of range is clamped")]
    pub fn issued_at(&self) -> i64 {
        (self.iat * 1000.0).round() as i64
    }

    /// The token that these claims stand for.
    pub fn into_token(self) -> Result<Token, TokenError> {
        let expires_at = ms(self.exp);
        Ok(Token {
            holder: Holder::Account(self.account_id().ok_or(TokenError::Invalid)?),
            issued_at: self.issued_at(),
            dead_at: dead_at(expires_at),
            jti: Some(self.jti),
            scope: self.scope,
        })
    }
}

/// One leeway is granted, and what another process knows of the store's clock may differ as much.
pub fn dead_at(expires_at: i64) -> i64 {
    expires_at.saturating_add(2 * LEEWAY_MS)
}

/// Reads a token's header, of a token of at most `longest` bytes.
pub fn read_header(token: &str, longest: usize) -> Result<Header, TokenError> {
    if token.len() > longest {
        return Err(TokenError::Invalid);
    }
    let header = decode_header(token).map_err(|_| TokenError::Invalid)?;
    // RFC 7515, 4.1.11: what it names must be understood, and none of it is.
    header.crit.is_none().then_some(header).ok_or(TokenError::Invalid)
}

/// Makes a token for an account that lives `ttl_ms` from `now` (unix milliseconds).
pub fn issue(
    keys: &KeyRing,
    account_id: i64,
    grants: &[Grant],
    now: i64,
    ttl_ms: i64,
) -> Result<String, jsonwebtoken::errors::Error> {
    let seconds = |ms: i64| u64::try_from(ms / 1000).unwrap_or(0);
    #[expect(clippy::cast_precision_loss, reason = "a time has far fewer than 52 bits")]
    let issued_at = now as f64 / 1000.0;
    let words: Vec<_> = grants.iter().map(|grant| grant.word()).collect();
    let claims = Claims {
        iss: POSTRIDER.to_owned(),
        aud: POSTRIDER.to_owned(),
        sub: account_id.to_string(),
        iat: issued_at,
        nbf: seconds(now),
        exp: seconds(now.saturating_add(ttl_ms)),
        jti: Uuid::now_v7().to_string(),
        scope: words.join(" "),
    };
    let current = keys.current();
    let mut header = Header::new(Algorithm::HS256);
    header.typ = Some(TYPE.to_owned());
    header.kid = Some(current.id.to_string());
    jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(current.signing.as_bytes()))
}

/// Checks a token of ours as RFC 8725 says: the algorithm is ours and never the token's, its key one of our ring, and
/// type, issuer, audience, subject and times are all there and right at `now`, unix milliseconds of the store's clock.
pub fn verify(keys: &KeyRing, token: &str, now: i64) -> Result<Claims, TokenError> {
    let header = read_header(token, MAX_OWN_BYTES)?;
    let is_ours = header.typ.as_deref().is_some_and(|typ| typ.eq_ignore_ascii_case(TYPE));
    let kid = header.kid.filter(|_| is_ours).ok_or(TokenError::Invalid)?;
    let key = keys.get(&KeyId::from(kid.as_str())).ok_or(TokenError::Invalid)?;
    let mut validation = without_clock(Algorithm::HS256);
    validation.set_issuer(&[POSTRIDER]);
    validation.set_audience(&[POSTRIDER]);
    validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
    let key = DecodingKey::from_secret(key.signing.as_bytes());
    let data = decode::<Claims>(token, &key, &validation).map_err(|_| TokenError::Invalid)?;
    check_times(ms(data.claims.nbf), ms(data.claims.exp), now)?;
    Ok(data.claims)
}

/// The library would ask this machine's clock.
pub fn without_clock(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    (validation.validate_exp, validation.validate_nbf) = (false, false);
    validation
}

/// All in unix milliseconds. A token isn't good any more at `exp` itself (RFC 7519, 4.1.4).
fn check_times(not_before: i64, expires_at: i64, now: i64) -> Result<(), TokenError> {
    if not_before > now.saturating_add(LEEWAY_MS) {
        return Err(TokenError::Invalid);
    }
    if now >= expires_at { Err(TokenError::Expired) } else { Ok(()) }
}

fn ms(seconds: u64) -> i64 {
    i64::try_from(seconds.saturating_mul(1000)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::clock::unix_ms;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::{Value, json};

    const HOUR: i64 = 3_600_000;

    fn ring(letter: &str) -> KeyRing {
        letter.repeat(40).parse().unwrap()
    }

    fn claims() -> Value {
        let now = unix_ms() / 1000;
        json!({
            "iss": "postrider", "aud": "postrider", "sub": "7", "iat": now, "nbf": now, "exp": now + 60,
            "jti": "x", "scope": "send",
        })
    }

    fn header(keys: &KeyRing) -> Header {
        let mut header = Header::new(Algorithm::HS256);
        header.typ = Some(TYPE.to_owned());
        header.kid = Some(keys.current().id.to_string());
        header
    }

    fn sign(keys: &KeyRing, header: &Header, claims: &Value) -> String {
        let key = EncodingKey::from_secret(keys.current().signing.as_bytes());
        jsonwebtoken::encode(header, claims, &key).unwrap()
    }

    #[test]
    fn a_token_of_ours_is_taken_also_after_a_rotation() {
        let old = ring("a");
        let token = issue(&old, 7, &[Grant::Send, Grant::OnBehalf], unix_ms(), HOUR).unwrap();
        let rotated: KeyRing = format!("{},{}", "b".repeat(40), "a".repeat(40)).parse().unwrap();
        let claims = verify(&rotated, &token, unix_ms()).unwrap();
        assert_eq!(claims.account_id(), Some(7));
        assert!(claims.grants(Grant::Send) && claims.grants(Grant::OnBehalf));
        assert!(!claims.grants(Grant::Admin) && !claims.grants(Grant::Read));
        assert_eq!(
            verify(&ring("b"), &token, unix_ms()),
            Err(TokenError::Invalid),
            "its key is gone"
        );
    }

    #[test]
    fn issue_times_have_milliseconds() {
        let token = issue(&ring("a"), 7, &[], unix_ms() / 1000 * 1000 + 123, HOUR).unwrap();
        assert_eq!(verify(&ring("a"), &token, unix_ms()).unwrap().issued_at() % 1000, 123);
    }

    #[test]
    fn an_expired_token_is_told_from_a_wrong_one() {
        let keys = ring("a");
        let now = unix_ms() / 1000 * 1000;
        let token = issue(&keys, 7, &[], now, HOUR).unwrap();
        assert!(verify(&keys, &token, now + HOUR - 1).is_ok());
        assert_eq!(verify(&keys, &token, now + HOUR), Err(TokenError::Expired));
    }

    #[test]
    fn times_are_checked_by_the_clock_that_is_given() {
        let keys = ring("a");
        // Issued by a store whose clock is an hour ahead of this machine's, and behind.
        for ahead in [HOUR, -HOUR] {
            let now = unix_ms() + ahead;
            let token = issue(&keys, 7, &[], now, 60_000).unwrap();
            assert!(verify(&keys, &token, now).is_ok(), "{ahead}");
            assert!(verify(&keys, &token, now - LEEWAY_MS).is_ok(), "{ahead}");
            assert_eq!(verify(&keys, &token, now - 32_000), Err(TokenError::Invalid));
        }
    }

    #[test]
    fn claims_that_are_wrong_or_missing_are_refused() {
        let keys = ring("a");
        assert!(verify(&keys, &sign(&keys, &header(&keys), &claims()), unix_ms()).is_ok());
        for (name, value) in [
            ("aud", json!("someone")),
            ("iss", json!("someone")),
            ("nbf", json!(unix_ms() / 1000 + 90)),
            ("exp", Value::Null),
            ("exp", json!("never")),
        ] {
            let mut wrong = claims();
            wrong[name] = value;
            let token = sign(&keys, &header(&keys), &wrong);
            assert_eq!(verify(&keys, &token, unix_ms()), Err(TokenError::Invalid), "{name}");
        }
        for name in ["iss", "aud", "sub", "exp", "nbf", "iat", "scope"] {
            let mut lacking = claims();
            lacking.as_object_mut().unwrap().remove(name);
            let token = sign(&keys, &header(&keys), &lacking);
            assert_eq!(verify(&keys, &token, unix_ms()), Err(TokenError::Invalid), "{name}");
        }
    }

    #[test]
    fn the_header_chooses_neither_algorithm_nor_key() {
        let keys = ring("a");
        let mut unknown_key = header(&keys);
        unknown_key.kid = Some("00000000".to_owned());
        let mut no_key = header(&keys);
        no_key.kid = None;
        let mut other_type = header(&keys);
        other_type.typ = Some("JWT".to_owned());
        let mut other_algorithm = header(&keys);
        other_algorithm.alg = Algorithm::HS512;
        for header in [unknown_key, no_key, other_type, other_algorithm] {
            let token = sign(&keys, &header, &claims());
            assert_eq!(verify(&keys, &token, unix_ms()), Err(TokenError::Invalid), "{header:?}");
        }
        let kid = keys.current().id.to_string();
        let none = json!({"alg": "none", "typ": TYPE, "kid": kid}).to_string();
        let text = |json: &str| URL_SAFE_NO_PAD.encode(json);
        let unsigned = format!("{}.{}.", text(&none), text(&claims().to_string()));
        for token in [unsigned.as_str(), "", "..", "a.b.c", &"a".repeat(5000)] {
            assert_eq!(verify(&keys, token, unix_ms()), Err(TokenError::Invalid));
        }
    }

    #[test]
    fn a_changed_token_is_refused() {
        let keys = ring("a");
        let token = sign(&keys, &header(&keys), &claims());
        let mut parts: Vec<_> = token.split('.').map(str::to_owned).collect();
        let mut more = claims();
        more["scope"] = json!("admin");
        parts[1] = URL_SAFE_NO_PAD.encode(more.to_string());
        assert_eq!(verify(&keys, &parts.join("."), unix_ms()), Err(TokenError::Invalid));
    }
}
