//! Who calls: the extractors that a handler names its policy with. `Caller<Sends>` in a signature means that
//! nobody gets in whose token doesn't say so.

use std::marker::PhantomData;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use postrider_common::database::account::{Account, Role};
use postrider_common::model::owner::Owner;
use postrider_common::store::AccountCheck;

use crate::auth::credential::{self, Credential, refused};
use crate::auth::token::{Grant, Token, TokenError};
use crate::http::client_ip::ClientIp;
use crate::http::clock::unix_ms;
use crate::http::problem::{Code, Problem};
use crate::server::state::AppState;

/// What a route asks of its caller.
pub trait Policy: Send + Sync + 'static {
    /// What it must be allowed; nothing: to be logged in, with a token and never an API key.
    const GRANT: Option<Grant>;
    /// Whether the handler asks the store's guard, which looks at the account's version with all else.
    const GUARDED: bool;
}

macro_rules! policies {
    ($($(#[$doc:meta])* $name:ident: $grant:expr, guarded $guarded:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name;

        impl Policy for $name {
            const GRANT: Option<Grant> = $grant;
            const GUARDED: bool = $guarded;
        }
    )*};
}

policies! {
    /// May send codes and notices; the account must be allowed to send.
    Sends: Some(Grant::Send), guarded true;
    /// May check codes.
    Verifies: Some(Grant::Verify), guarded true;
    /// May read what became of its messages.
    Reads: Some(Grant::Read), guarded false;
    /// An admin's account, with a token that says so.
    Administers: Some(Grant::Admin), guarded false;
    /// Whoever logged in, whatever the token allows.
    LoggedIn: None, guarded false;
}

/// An operator.
pub type Admin = Caller<Administers>;

/// A caller of a known account that the policy lets in.
#[derive(Debug)]
pub struct Caller<P> {
    account: Arc<Account>,
    credential: Credential,
    /// When it called, in unix milliseconds of the store's clock.
    now: i64,
    policy: PhantomData<P>,
}

impl<P: Policy> FromRequestParts<AppState> for Caller<P> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, Problem> {
        let Ok(address) = ClientIp::from_request_parts(parts, app).await;
        authenticate(app, bearer(&parts.headers)?, address.of_caller()).await
    }
}

/// The caller with this token or key, wherever the request carries it. `address` is the caller's own.
pub async fn authenticate<P: Policy>(
    app: &AppState,
    token: &str,
    address: IpAddr,
) -> Result<Caller<P>, Problem> {
    let now = app.store_now().await?;
    let (account, credential) = credential::of_bearer(app, token, address, now).await?;
    let owner = Owner::new(account.id, credential.is_test());
    let admitted = Caller::admit(app, account, credential, now).await;
    admitted.inspect_err(|problem| app.refusals.note_access(problem, owner, Some(address)))
}

/// The caller of an account that the configuration names, for requests without a token from networks that it
/// trusts: with the usual scopes, and never more.
pub async fn on_trust<P: Policy>(app: &AppState, username: &str) -> Result<Caller<P>, Problem> {
    let unknown = || {
        let because =
            format!("the configuration names the account `{username}`, which isn't there");
        Problem::new(Code::TokenMissing).because(&because)
    };
    let account = app.accounts.find_by_name(username).await?.ok_or_else(unknown)?;
    Caller::admit(app, account, Credential::Trust, app.store_now().await?).await
}

impl<P: Policy> Caller<P> {
    async fn admit(
        app: &AppState,
        account: Arc<Account>,
        credential: Credential,
        now: i64,
    ) -> Result<Self, Problem> {
        let mut caller = Self { account, credential, now, policy: PhantomData };
        // What the account as it is remembered doesn't allow, it may allow by now: the store knows.
        if !P::GUARDED || caller.check().is_err() || caller.lacks_on_behalf() {
            caller.refresh(app).await?;
        }
        if let Credential::Key { key, .. } = &caller.credential {
            app.key_uses.note(&key.id, unix_ms());
        }
        Ok(caller)
    }

    pub fn account(&self) -> &Account {
        &self.account
    }

    pub fn account_id(&self) -> i64 {
        self.account.id
    }

    /// Whose messages and verifications it works with.
    pub fn owner(&self) -> Owner {
        Owner::new(self.account.id, self.credential.is_test())
    }

    /// What the guard compares with the store.
    pub fn version(&self) -> AccountCheck {
        AccountCheck { id: self.account.id, version: self.account.version }
    }

    /// Whether it may say whose address a request comes from: token and account must both allow it.
    pub fn on_behalf(&self) -> bool {
        self.account.on_behalf && self.credential.grants(Grant::OnBehalf)
    }

    /// Whether it is an operator: token and account must both say so.
    pub fn is_admin(&self) -> bool {
        self.account.role == Role::Admin && self.credential.grants(Grant::Admin)
    }

    /// Whether it may do this, and so may give a key of its own that may.
    pub fn holds(&self, grant: Grant) -> bool {
        match grant {
            Grant::OnBehalf => self.on_behalf(),
            Grant::Admin => self.is_admin(),
            _ => self.credential.grants(grant),
        }
    }

    /// Whether it may see what is `owner`'s.
    pub fn may_see(&self, owner: Owner) -> bool {
        self.owner() == owner || self.is_admin()
    }

    /// Loads the account again: the guard said that ours is out of date. The request was read by what the old one was
    /// allowed: where that says whose address counts, it is to be asked again.
    pub async fn reload(&mut self, app: &AppState) -> Result<(), Problem> {
        let on_behalf = self.on_behalf();
        self.load(app).await?;
        self.check()?;
        if self.on_behalf() == on_behalf { Ok(()) } else { Err(changing()) }
    }

    /// Checks the account as it is now: loads it again if the store knows another version of it. So a token that was
    /// revoked on another replica is dead here too, and a right that was granted there counts here.
    async fn refresh(&mut self, app: &AppState) -> Result<(), Problem> {
        let version = app.store.account_version(self.account.id).await;
        if version.map_err(|error| app.store_failed(&error))? != Some(self.account.version) {
            self.load(app).await?;
        }
        self.check()
    }

    async fn load(&mut self, app: &AppState) -> Result<(), Problem> {
        let account = app.accounts.load(self.account.id).await?;
        self.account = account.ok_or_else(|| refused(TokenError::Invalid))?;
        Ok(())
    }

    /// Whether its token allows to act on behalf of users, and the account doesn't.
    fn lacks_on_behalf(&self) -> bool {
        self.credential.grants(Grant::OnBehalf) && !self.account.on_behalf
    }

    fn check(&self) -> Result<(), Problem> {
        self.credential.check(&self.account, self.now)?;
        let Some(grant) = P::GRANT else { return self.credential.check_logged_in() };
        if !self.holds(grant) {
            let detail = format!("the scope `{}` is needed", grant.word());
            return Err(Problem::new(Code::ScopeMissing).detail(detail));
        }
        if grant == Grant::Send && !self.account.may_send {
            return Err(Problem::new(Code::SendingNotAllowed));
        }
        Ok(())
    }
}

impl Caller<LoggedIn> {
    /// The token that it logged in with.
    pub fn token(&self) -> Result<&Token, Problem> {
        match &self.credential {
            Credential::Token(token) => Ok(token),
            Credential::Key { .. } | Credential::Trust => Err(Problem::new(Code::SessionNeeded)),
        }
    }
}

/// The answer where the account changed while it was being loaded: rare enough to leave it to the caller.
pub fn changing() -> Problem {
    Problem::new(Code::StoreUnavailable).because(&"the account keeps changing")
}

pub fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let missing = || Problem::new(Code::TokenMissing);
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let value = given.next().ok_or_else(missing)?;
    // Who is asked for is said once: something in front of us may have looked at the other one.
    if given.next().is_some() {
        return Err(refused(TokenError::Invalid));
    }
    let text = value.to_str().map_err(|_| refused(TokenError::Invalid))?;
    let (scheme, token) = text.split_once(' ').ok_or_else(missing)?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).ok_or_else(missing)
}

#[cfg(test)]
mod tests;
