//! Who calls: the extractors that a handler names its policy with. `Caller<Sends>` in a signature means that
//! nobody gets in whose token doesn't say so.

use std::marker::PhantomData;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use postrider_common::database::account::{Account, Role};
use postrider_common::owner::Owner;
use postrider_common::store::AccountCheck;

use crate::app::{App, Shared};
use crate::problem::{Code, Problem};
use crate::token::{self, Claims, Grant, TokenError};

/// What a route asks of its caller.
pub trait Policy: Send + Sync + 'static {
    const GRANT: Grant;
    /// Whether the handler asks the store's guard, which looks at the account's version with all else.
    const GUARDED: bool;
}

macro_rules! policies {
    ($($(#[$doc:meta])* $name:ident: $grant:ident, guarded $guarded:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name;

        impl Policy for $name {
            const GRANT: Grant = Grant::$grant;
            const GUARDED: bool = $guarded;
        }
    )*};
}

policies! {
    /// May send codes and notices; the account must be allowed to send.
    Sends: Send, guarded true;
    /// May check codes.
    Verifies: Verify, guarded true;
    /// May read what became of its messages.
    Reads: Read, guarded false;
    /// An admin's account, with a token that says so.
    Administers: Admin, guarded false;
}

/// An operator.
pub type Admin = Caller<Administers>;

/// A caller with a valid token of a known account that the policy lets in.
#[derive(Debug)]
pub struct Caller<P> {
    account: Arc<Account>,
    claims: Claims,
    policy: PhantomData<P>,
}

impl<P: Policy> FromRequestParts<Shared> for Caller<P> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Problem> {
        let claims = token::verify(&app.keys, bearer(&parts.headers)?).map_err(refused)?;
        let id = claims.account_id().ok_or_else(|| refused(TokenError::Invalid))?;
        let account = match app.accounts.get(id) {
            Some(account) => account,
            None => load(app, id).await?,
        };
        let mut caller = Self { account, claims, policy: PhantomData };
        caller.check()?;
        if !P::GUARDED {
            caller.refresh(app).await?;
        }
        Ok(caller)
    }
}

impl<P: Policy> Caller<P> {
    pub fn account_id(&self) -> i64 {
        self.account.id
    }

    /// Whose messages and verifications it works with.
    pub fn owner(&self) -> Owner {
        Owner::new(self.account.id, false)
    }

    /// What the guard compares with the store.
    pub fn version(&self) -> AccountCheck {
        AccountCheck { id: self.account.id, version: self.account.version }
    }

    /// Whether it may say whose address a request comes from.
    pub fn on_behalf(&self) -> bool {
        self.claims.grants(Grant::OnBehalf)
    }

    /// Whether it may see what is `owner`'s.
    pub fn may_see(&self, owner: Owner) -> bool {
        self.owner() == owner || self.is_admin()
    }

    /// Loads the account again and tells the store its version: the guard said that ours is out of date.
    pub async fn reload(&mut self, app: &Shared) -> Result<(), Problem> {
        self.account = load(app, self.account.id).await?;
        self.check()?;
        let AccountCheck { id, version } = self.version();
        app.store.set_account_version(id, version).await.map_err(|error| app.store_failed(&error))
    }

    /// Loads the account again if the store knows another version of it: so a token that was revoked on
    /// another replica is dead here too.
    async fn refresh(&mut self, app: &Shared) -> Result<(), Problem> {
        let version = app.store.account_version(self.account.id).await;
        match version.map_err(|error| app.store_failed(&error))? {
            Some(version) if version == self.account.version => Ok(()),
            _ => self.reload(app).await,
        }
    }

    fn is_admin(&self) -> bool {
        self.account.role == Role::Admin && self.claims.grants(Grant::Admin)
    }

    fn check(&self) -> Result<(), Problem> {
        if self.claims.issued_at() < self.account.tokens_valid_from {
            return Err(refused(TokenError::Invalid));
        }
        let admin_needed = P::GRANT == Grant::Admin;
        if !self.claims.grants(P::GRANT) || (admin_needed && !self.is_admin()) {
            let detail = format!("the scope `{}` is needed", P::GRANT.word());
            return Err(Problem::new(Code::ScopeMissing).detail(detail));
        }
        if P::GRANT == Grant::Send && !self.account.may_send {
            return Err(Problem::new(Code::SendingNotAllowed));
        }
        Ok(())
    }
}

async fn load(app: &App, id: i64) -> Result<Arc<Account>, Problem> {
    let Some(account) = app.database.account(id).await? else {
        app.accounts.forget(id);
        return Err(refused(TokenError::Invalid));
    };
    Ok(app.accounts.put(account))
}

fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let missing = || Problem::new(Code::TokenMissing);
    let value = headers.get(AUTHORIZATION).ok_or_else(missing)?;
    let text = value.to_str().map_err(|_| refused(TokenError::Invalid))?;
    let (scheme, token) = text.split_once(' ').ok_or_else(missing)?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).ok_or_else(missing)
}

fn refused(error: TokenError) -> Problem {
    match error {
        TokenError::Invalid => Problem::new(Code::TokenInvalid),
        TokenError::Expired => Problem::new(Code::TokenExpired),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn a_bearer_token_is_found_in_any_case() {
        let found = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, HeaderValue::from_static(text));
            bearer(&headers).map(str::to_owned).map_err(|problem| problem.code)
        };
        assert_eq!(found("Bearer abc").as_deref(), Ok("abc"));
        assert_eq!(found("bearer abc").as_deref(), Ok("abc"));
        assert_eq!(found("Basic abc"), Err(Code::TokenMissing));
        assert_eq!(found("abc"), Err(Code::TokenMissing));
        assert!(bearer(&HeaderMap::new()).is_err());
    }
}
