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
use postrider_common::owner::Owner;
use postrider_common::store::AccountCheck;

pub use crate::account_cache::load;
use crate::account_cache::of_name;
use crate::app::Shared;
use crate::client_ip::ClientIp;
use crate::clock::unix_ms;
use crate::credential::{self, Credential, refused};
use crate::problem::{Code, Problem};
use crate::token::{Grant, Token, TokenError};

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
    policy: PhantomData<P>,
}

impl<P: Policy> FromRequestParts<Shared> for Caller<P> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Problem> {
        let Ok(address) = ClientIp::from_request_parts(parts, app).await;
        authenticate(app, bearer(&parts.headers)?, address.of_caller()).await
    }
}

/// The caller with this token or key, wherever the request carries it. `address` is the caller's own.
pub async fn authenticate<P: Policy>(
    app: &Shared,
    token: &str,
    address: IpAddr,
) -> Result<Caller<P>, Problem> {
    let (account, credential) = credential::of_bearer(app, token, address).await?;
    let owner = Owner::new(account.id, credential.is_test());
    let admitted = Caller::admit(app, account, credential).await;
    admitted.inspect_err(|problem| app.refusals.note_access(problem, owner, Some(address)))
}

/// The caller of an account that the configuration names, for requests without a token from networks that it
/// trusts: with the usual scopes, and never more.
pub async fn on_trust<P: Policy>(app: &Shared, username: &str) -> Result<Caller<P>, Problem> {
    let unknown = || {
        let because =
            format!("the configuration names the account `{username}`, which isn't there");
        Problem::new(Code::TokenMissing).because(&because)
    };
    let account = of_name(app, username).await?.ok_or_else(unknown)?;
    Caller::admit(app, account, Credential::Trust).await
}

impl<P: Policy> Caller<P> {
    async fn admit(
        app: &Shared,
        account: Arc<Account>,
        credential: Credential,
    ) -> Result<Self, Problem> {
        let mut caller = Self { account, credential, policy: PhantomData };
        caller.check()?;
        if !P::GUARDED {
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

    /// Loads the account again: the guard said that ours is out of date.
    pub async fn reload(&mut self, app: &Shared) -> Result<(), Problem> {
        let account = load(app, self.account.id).await?;
        self.account = account.ok_or_else(|| refused(TokenError::Invalid))?;
        self.check()
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

    fn check(&self) -> Result<(), Problem> {
        self.credential.check(&self.account)?;
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
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    use crate::testing::TestApp;

    const ANYWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    async fn caller<P: Policy>(test: &TestApp, token: &str) -> Result<Caller<P>, Code> {
        authenticate(&test.app, token, ANYWHERE).await.map_err(|problem| problem.code)
    }

    #[tokio::test]
    async fn acting_on_behalf_takes_the_scope_and_the_grant() {
        let test = TestApp::start(&[]).await;
        let both = test.token("shop", &[Grant::Read, Grant::OnBehalf]).await;
        assert!(caller::<Reads>(&test, &both).await.unwrap().on_behalf());
        let without_scope = test.token("shop", &[Grant::Read]).await;
        assert!(!caller::<Reads>(&test, &without_scope).await.unwrap().on_behalf());
        let other = test.app.database.ensure_account("other", Role::Account, 0).await.unwrap();
        let grants = [Grant::Read, Grant::OnBehalf];
        let pretender =
            crate::token::issue(&test.app.keys, other.id, &grants, unix_ms(), 60_000).unwrap();
        assert!(!caller::<Reads>(&test, &pretender).await.unwrap().on_behalf());
        test.app.database.grant_on_behalf(other.id, 0).await.unwrap();
        load(&test.app, other.id).await.unwrap();
        assert!(caller::<Reads>(&test, &pretender).await.unwrap().on_behalf());
    }

    #[tokio::test]
    async fn who_is_trusted_without_a_token_may_do_the_usual_and_no_more() {
        let test = TestApp::start(&[]).await;
        test.token("ops", &[Grant::Admin, Grant::OnBehalf]).await;
        let trusted = on_trust::<Sends>(&test.app, "ops").await.unwrap();
        assert_eq!(trusted.account().username, "ops");
        assert!(!trusted.is_admin() && !trusted.on_behalf() && !trusted.owner().is_test());
        assert!(on_trust::<Verifies>(&test.app, "ops").await.is_ok());
        assert!(on_trust::<Reads>(&test.app, "ops").await.is_ok());
        let code = |problem: Problem| problem.code;
        let admin = on_trust::<Administers>(&test.app, "ops").await.map_err(code);
        assert_eq!(admin.unwrap_err(), Code::ScopeMissing);
        let logged_in = on_trust::<LoggedIn>(&test.app, "ops").await.map_err(code);
        assert_eq!(logged_in.unwrap_err(), Code::SessionNeeded);
        let nobody = on_trust::<Sends>(&test.app, "nobody").await.map_err(code);
        assert_eq!(nobody.unwrap_err(), Code::TokenMissing);
    }

    #[tokio::test]
    async fn a_token_without_scopes_is_logged_in_and_may_do_nothing_else() {
        let test = TestApp::start(&[]).await;
        let token = test.token("shop", &[]).await;
        assert!(caller::<LoggedIn>(&test, &token).await.is_ok());
        assert_eq!(caller::<Reads>(&test, &token).await.unwrap_err(), Code::ScopeMissing);
    }

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
        let mut twice = HeaderMap::new();
        twice.append(AUTHORIZATION, HeaderValue::from_static("Bearer abc"));
        twice.append(AUTHORIZATION, HeaderValue::from_static("Bearer abc"));
        assert_eq!(bearer(&twice).unwrap_err().code, Code::TokenInvalid);
    }
}
