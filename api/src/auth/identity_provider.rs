//! Tokens that an identity provider makes for us (`[jwt]`), checked as RFC 8725 says: by a key of the one file that is
//! configured, with the algorithm that the key is for, whatever the token's header says.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::{Header, decode};
use postrider_common::config::Jwt;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::auth::jwks::{JwksError, Keys, PublicKey, read};
use crate::auth::token::{Holder, LEEWAY_MS, Token, TokenError, dead_at, without_clock};

/// The file isn't read more often than this, however many unknown keys are named.
const NOT_BEFORE: Duration = Duration::from_secs(10);
/// And it is read again after this, so that a key that was taken out of it ends.
const NOT_AFTER: Duration = Duration::from_mins(1);

/// The one identity provider whose tokens are taken.
#[derive(Debug)]
pub struct IdentityProvider {
    file: PathBuf,
    account_claim: String,
    types: Vec<String>,
    issuer: String,
    audience: String,
    known: RwLock<Known>,
    /// Held by whoever reads the file: others wait for what it finds.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone)]
struct Known {
    keys: Arc<Keys>,
    read_at: Instant,
}

impl IdentityProvider {
    /// Reads the keys; `None` where no provider is configured. Refuses a file that can't be read, or that holds a key
    /// which must not be used: see [`read`].
    pub fn load(settings: &Jwt) -> Result<Option<Self>, JwksError> {
        let Some((file, issuer, audience)) = settings.provider() else { return Ok(None) };
        let keys = Arc::new(read(file)?);
        Ok(Some(Self {
            file: file.to_owned(),
            account_claim: settings.account_claim.clone(),
            types: settings.types.clone(),
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            known: RwLock::new(Known { keys, read_at: Instant::now() }),
            reading: tokio::sync::Mutex::new(()),
        }))
    }

    /// Checks a token whose header was read already. The header names a key of ours by `kid`, and decides nothing else:
    /// `jku`, `jwk`, `x5u` and `x5c` aren't looked at. `now`: unix milliseconds of the store's clock.
    pub async fn verify(
        &self,
        header: &Header,
        token: &str,
        now: i64,
    ) -> Result<Token, TokenError> {
        let kid = header.kid.as_deref().ok_or(TokenError::Invalid)?;
        let typ = header.typ.as_deref().ok_or(TokenError::Invalid)?;
        // RFC 7515, 4.1.9: the prefix is understood.
        let typ = typ.strip_prefix("application/").unwrap_or(typ);
        if !self.types.iter().any(|known| known.eq_ignore_ascii_case(typ)) {
            return Err(TokenError::Invalid);
        }
        let key = self.key(kid).await.ok_or(TokenError::Invalid)?;
        let mut validation = without_clock(key.algorithm);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        let data = decode::<Map<String, Value>>(token, &key.key, &validation);
        let claims = data.map_err(|_| TokenError::Invalid)?.claims;
        check_times(&claims, now)?;
        self.read(&claims)
    }

    fn read(&self, claims: &Map<String, Value>) -> Result<Token, TokenError> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let time = |name| time_of(claims, name);
        let (issued, expires) = time("iat")?.zip(time("exp")?).ok_or(TokenError::Invalid)?;
        let username = text(&self.account_claim).filter(|name| !name.is_empty());
        let token = Token {
            holder: Holder::Username(username.ok_or(TokenError::Invalid)?.to_owned()),
            // Theirs may be of any length; a hash has one, and is none of ours.
            jti: text("jti").map(|jti| hex::encode(Sha256::digest(jti))),
            // As old as it may be, if their clock is ahead of ours: what ends older tokens must end it too.
            issued_at: issued.saturating_sub(LEEWAY_MS),
            dead_at: dead_at(expires),
            scope: text("scope").unwrap_or_default().to_owned(),
        };
        // A list of issuers is none.
        let from_us = text("iss") == Some(&*self.issuer);
        from_us.then_some(token).ok_or(TokenError::Invalid)
    }

    async fn key(&self, kid: &str) -> Option<Arc<PublicKey>> {
        let known = self.known();
        let age = known.read_at.elapsed();
        let key = known.keys.get(kid);
        if age < NOT_BEFORE || (key.is_some() && age < NOT_AFTER) {
            return key.cloned();
        }
        self.read_again(known.read_at).await;
        self.known().keys.get(kid).cloned()
    }

    /// Reads the file, off the threads that serve; one that can't be used leaves the keys as they were.
    async fn read_again(&self, last: Instant) {
        let _one_at_a_time = self.reading.lock().await;
        if self.known().read_at != last {
            return;
        }
        let file = self.file.clone();
        let found = tokio::task::spawn_blocking(move || read(&file)).await;
        let found = found.unwrap_or_else(|error| Err(JwksError::Unreadable(error.to_string())));
        let keys = found.map_or_else(
            |error| {
                tracing::error!(%error, "the identity provider's keys can't be read again");
                self.known().keys
            },
            Arc::new,
        );
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        *known = Known { keys, read_at: Instant::now() };
    }

    fn known(&self) -> Known {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Checks a token's times at `now`, as far as two clocks may differ. One issued in the future would outlive every
/// revocation.
fn check_times(claims: &Map<String, Value>, now: i64) -> Result<(), TokenError> {
    let latest = now.saturating_add(LEEWAY_MS);
    let begun = |time: Option<i64>| time.is_none_or(|time| time <= latest);
    if !begun(time_of(claims, "iat")?) || !begun(time_of(claims, "nbf")?) {
        return Err(TokenError::Invalid);
    }
    let expires_at = time_of(claims, "exp")?.ok_or(TokenError::Invalid)?;
    if expires_at.saturating_add(LEEWAY_MS) < now { Err(TokenError::Expired) } else { Ok(()) }
}

/// A time of a token in unix milliseconds, where it has one: a claim has seconds, with or without a fraction.
#[expect(clippy::cast_possible_truncation, reason = "a time far out of range is clamped")]
fn time_of(claims: &Map<String, Value>, name: &str) -> Result<Option<i64>, TokenError> {
    let Some(claim) = claims.get(name) else { return Ok(None) };
    let seconds = claim.as_f64().ok_or(TokenError::Invalid)?;
    Ok(Some((seconds * 1000.0).round() as i64))
}

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod signers;
#[cfg(test)]
mod tests;
