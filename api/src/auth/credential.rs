//! What a caller shows for its account: a token, an API key, or nothing, where the configuration trusts it. Whether it
//! is still good is asked of the account as it is now, with every request.

use std::net::IpAddr;
use std::sync::Arc;

use postrider_common::database::account::Account;
use postrider_common::database::api_key::ApiKey;
use subtle::ConstantTimeEq as _;

use crate::auth::accounts::AccountCache;
use crate::auth::api_key;
use crate::auth::token::{Grant, Holder, Token, TokenError};
use crate::auth::verify_token::verify_any;
use crate::http::problem::{Code, Problem};
use crate::server::state::AppState;

#[derive(Debug)]
pub enum Credential {
    /// A JWT.
    Token(Token),
    /// An API key, and the address that it came from.
    Key { key: Arc<ApiKey>, address: IpAddr },
    /// Nothing: the configuration names the account.
    Trust,
}

/// The account that a bearer's text stands for at `now`, unix milliseconds of the store's clock.
pub async fn of_bearer(
    app: &AppState,
    text: &str,
    address: IpAddr,
    now: i64,
) -> Result<(Arc<Account>, Credential), Problem> {
    if api_key::is_api_key(text) {
        let (account, key) = find_key(&app.accounts, &api_key::hash(text)).await?;
        return Ok((account, Credential::Key { key, address }));
    }
    let provider = app.identity_provider.as_ref();
    let token = verify_any(&app.keys, provider, text, now).await.map_err(refused)?;
    let account = match &token.holder {
        Holder::Account(id) => app.accounts.get_or_load(*id).await?,
        Holder::Username(name) => app.accounts.find_by_name(name).await?,
    };
    let account = account.ok_or_else(|| refused(TokenError::Invalid))?;
    Ok((account, Credential::Token(token)))
}

impl Credential {
    pub fn grants(&self, grant: Grant) -> bool {
        match self {
            Self::Token(token) => grant.is_in(&token.scope),
            Self::Key { key, .. } => grant.is_in(&key.scopes),
            Self::Trust => Grant::USUAL.contains(&grant),
        }
    }

    /// Whether what is sent with it goes to the sandbox.
    pub fn is_test(&self) -> bool {
        matches!(self, Self::Key { key, .. } if key.test)
    }

    /// Whether it is still good for the account as it is at `now`, unix milliseconds of the store's clock.
    pub fn check(&self, account: &Account, now: i64) -> Result<(), Problem> {
        match self {
            Self::Token(token) => check_token(token, account),
            Self::Key { key, address } => check_key(key, *address, account, now),
            Self::Trust => Ok(()),
        }
    }

    pub fn check_logged_in(&self) -> Result<(), Problem> {
        match self {
            Self::Token(_) => Ok(()),
            Self::Key { .. } | Self::Trust => Err(Problem::new(Code::SessionNeeded)),
        }
    }
}

fn check_token(token: &Token, account: &Account) -> Result<(), Problem> {
    let revoked = token.jti.as_ref().is_some_and(|jti| account.revoked.contains(jti));
    if revoked || token.issued_at < account.tokens_valid_from {
        return Err(refused(TokenError::Invalid));
    }
    Ok(())
}

fn check_key(key: &ApiKey, address: IpAddr, account: &Account, now: i64) -> Result<(), Problem> {
    if !account.api_keys.iter().any(|known| known.id == key.id) {
        return Err(refused(TokenError::Invalid));
    }
    if key.expires_at.is_some_and(|at| at <= now) {
        return Err(refused(TokenError::Expired));
    }
    if !key.networks.is_empty() && !key.networks.iter().any(|net| net.contains(&address)) {
        return Err(Problem::new(Code::AddressNotAllowed));
    }
    Ok(())
}

/// The key with this hash, and its account.
async fn find_key(
    accounts: &AccountCache,
    hash: &str,
) -> Result<(Arc<Account>, Arc<ApiKey>), Problem> {
    let invalid = || refused(TokenError::Invalid);
    let id = match accounts.id_of_key(hash) {
        Some(id) => id,
        None => accounts.look_up_key(hash).await?.ok_or_else(invalid)?,
    };
    let mut account = accounts.get_or_load(id).await?.ok_or_else(invalid)?;
    if key_of(&account, hash).is_none() {
        // The account that is remembered may be older than the key.
        account = accounts.load(id).await?.ok_or_else(invalid)?;
    }
    let Some(key) = key_of(&account, hash) else {
        accounts.forget_key(hash);
        return Err(invalid());
    };
    Ok((account, key))
}

fn key_of(account: &Account, hash: &str) -> Option<Arc<ApiKey>> {
    let is_it = |key: &&Arc<ApiKey>| bool::from(key.hash.as_bytes().ct_eq(hash.as_bytes()));
    account.api_keys.iter().find(is_it).map(Arc::clone)
}

pub fn refused(error: TokenError) -> Problem {
    match error {
        TokenError::Invalid => Problem::new(Code::TokenInvalid),
        TokenError::Expired => Problem::new(Code::TokenExpired),
    }
}
