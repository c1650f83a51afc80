//! How often a log-in may fail: a try is counted before the password is looked at, so that many at once can't go beyond
//! a limit, and given back where it was right.

use std::net::IpAddr;

use axum::http::HeaderMap;
use postrider_common::config::LoginLimits;
use postrider_common::model::address;
use postrider_common::model::limits::{Limit, Scope};
use postrider_common::store::{BanCheck, GiveBack, LimitCheck, LimitState, Take, TakeAnswer, rank};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::http::clock::as_ms;
use crate::http::problem::{Code, Problem};
use crate::http::rate_limit_headers::{Policy, rate_limit_headers};
use crate::server::state::AppState;

/// A try that was counted.
#[derive(Debug)]
pub struct Try {
    counted: GiveBack,
    headers: HeaderMap,
}

impl Try {
    /// Counts a log-in, or whatever else takes a password, for a user name and an address. Refuses with `login_limited`.
    pub async fn log_in(app: &AppState, name: &str, ip: Option<IpAddr>) -> Result<Self, Problem> {
        // Names are hashed: what people type there is now and then a password.
        let name = hex::encode(Sha256::digest(name.to_lowercase()));
        let limits = failures(&app.settings.accounts.login_limits, "login", &name, ip);
        count(app, limits, Code::LoginLimited).await
    }

    /// Counts a change of password by who is logged in: apart from log-ins, so that nobody who fails those in an account's
    /// name keeps its owner from it. Refuses with `login_limited`.
    pub async fn own_password(
        app: &AppState,
        account_id: i64,
        ip: Option<IpAddr>,
    ) -> Result<Self, Problem> {
        let limits = &app.settings.accounts.login_limits;
        let limits = failures(limits, "password", &account_id.to_string(), ip);
        count(app, limits, Code::LoginLimited).await
    }

    /// Counts a registration for an address: each costs two hashes. Refuses with `ip_limited`.
    pub async fn registration(app: &AppState, ip: Option<IpAddr>) -> Result<Self, Problem> {
        let limits = &app.settings.accounts.login_limits;
        count(app, of_address("register", &limits.ip, ip).unzip(), Code::IpLimited).await
    }

    /// When it was counted, unix milliseconds of the store's clock.
    pub fn at(&self) -> i64 {
        self.counted.at
    }

    /// It failed, and stays counted.
    pub fn failed(self, code: Code) -> Problem {
        Problem::new(code).headers(self.headers)
    }

    /// It did not fail.
    pub async fn give_back(self, app: &AppState) {
        if let Err(error) = app.store.give_back(&self.counted).await {
            tracing::warn!(%error, "a log-in that did not fail stays counted");
        }
    }
}

type Limits = (Vec<Policy>, Vec<LimitCheck>);

/// Counts what a hash follows, unless that would find no place: then neither store nor database is asked.
async fn count(app: &AppState, (policies, limits): Limits, refusal: Code) -> Result<Try, Problem> {
    app.passwords.has_place()?;
    let entry = Uuid::now_v7().to_string();
    let ban_check = BanCheck::default();
    let take = Take { now: None, limits, ban_check, entry };
    let headers = |states: &[LimitState]| rate_limit_headers(&policies, states);
    match app.store.take(&take).await.map_err(|error| app.store_failed(&error))? {
        TakeAnswer::Taken { at, limits } => {
            let headers = headers(&limits);
            Ok(Try { counted: GiveBack { limits: take.limits, entry: take.entry, at }, headers })
        }
        TakeAnswer::Limited { index, wait_ms, limits } => {
            let wait_ms = limits.iter().map(|state| state.wait_ms).fold(wait_ms, i64::max);
            let problem = Problem::new(refusal).headers(headers(&limits)).retry_after(wait_ms);
            Err(match policies.get(index) {
                Some(policy) => problem.by_limit(*policy).detail(format!(
                    "at most {} in {} s",
                    policy.limit.quota,
                    policy.limit.window.as_secs()
                )),
                None => problem,
            })
        }
        TakeAnswer::Banned { .. } => {
            Err(Problem::new(Code::Internal)
                .because(&"the store named a ban that wasn't asked for"))
        }
    }
}

/// The limits of what fails in an account's name. One account and one address reach theirs long before the account alone
/// does: who fails from elsewhere keeps nobody out.
fn failures(limits: &LoginLimits, kind: &'static str, account: &str, ip: Option<IpAddr>) -> Limits {
    let address = ip.map(address::limit_subject);
    let by_both = in_order(&limits.account_ip).filter_map(|limit| {
        let key = format!("limit:{kind}:account-ip:{account}:{}:{limit}", address.as_ref()?);
        Some(check(key, Scope::AccountIp, rank::ACCOUNT, limit))
    });
    let by_account = in_order(&limits.account).map(|limit| {
        let key = format!("limit:{kind}:account:{account}:{limit}");
        check(key, Scope::Account, rank::ACCOUNT, limit)
    });
    of_address(kind, &limits.ip, ip).chain(by_both).chain(by_account).unzip()
}

fn of_address(
    kind: &'static str,
    limits: &[Limit],
    ip: Option<IpAddr>,
) -> impl Iterator<Item = (Policy, LimitCheck)> {
    let subject = ip.map(address::limit_subject);
    in_order(limits).filter_map(move |limit| {
        let key = format!("limit:{kind}:ip:{}:{limit}", subject.as_ref()?);
        Some(check(key, Scope::Ip, rank::IP, limit))
    })
}

/// The shortest window first.
fn in_order(limits: &[Limit]) -> impl Iterator<Item = Limit> + use<> {
    let mut limits = limits.to_vec();
    limits.sort_by_key(|limit| limit.window);
    limits.into_iter()
}

fn check(key: String, scope: Scope, rank: u8, limit: Limit) -> (Policy, LimitCheck) {
    let window_ms = as_ms(limit.window);
    let check = LimitCheck { key, scope, quota: limit.quota, window_ms, rank, phone: None };
    (Policy { scope, limit, of_template: false }, check)
}
