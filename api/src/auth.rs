//! Authentication: API keys, our own tokens and those of an identity provider; accounts and their passwords.

pub mod account_change;
pub mod accounts;
pub mod api_key;
pub mod caller;
pub mod credential;
pub mod identity_provider;
pub mod jwks;
pub mod login_limits;
pub mod passwords;
pub mod registration;
pub mod token;
pub mod verify_token;
