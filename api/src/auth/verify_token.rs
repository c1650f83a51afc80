//! Checks a bearer token, whoever made it.

use postrider_common::secrets::{KeyId, KeyRing};

use crate::auth::identity_provider::IdentityProvider;
use crate::auth::token::{MAX_OWN_BYTES, Token, TokenError, read_header, verify};

/// Longest token of an identity provider, which may list groups and rights.
const MAX_PROVIDER_BYTES: usize = 16 * 1024;

/// Checks a token of ours or of the identity provider's. Which of the two it is says the key that it names, and our own
/// come first. `now`: unix milliseconds of the store's clock, by which tokens are issued.
pub async fn verify_any(
    keys: &KeyRing,
    provider: Option<&IdentityProvider>,
    token: &str,
    now: i64,
) -> Result<Token, TokenError> {
    let longest = if provider.is_some() { MAX_PROVIDER_BYTES } else { MAX_OWN_BYTES };
    let header = read_header(token, longest)?;
    let kid = header.kid.as_deref().ok_or(TokenError::Invalid)?;
    match provider {
        Some(provider) if keys.get(&KeyId::from(kid)).is_none() => {
            provider.verify(&header, token, now).await
        }
        _ => verify(keys, token, now)?.into_token(),
    }
}
