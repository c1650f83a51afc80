//! `postrider-api token`: creates a token, and its account where there is none.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use postrider_common::config::Config;
use postrider_common::database::Database;
use postrider_common::database::account::Role;

use super::{duration, notify, print};
use crate::auth::registration::{self, USERNAME_RULE};
use crate::auth::token::{Grant, issue};
use crate::http::clock::{as_ms, unix_ms};
use crate::server::backends;

/// A scope that a token may have beside the usual ones.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ExtraScope {
    Numbers,
    #[value(name = "on_behalf")]
    OnBehalf,
}

impl From<ExtraScope> for Grant {
    fn from(scope: ExtraScope) -> Self {
        match scope {
            ExtraScope::Numbers => Self::Numbers,
            ExtraScope::OnBehalf => Self::OnBehalf,
        }
    }
}

#[derive(Debug, Args)]
pub struct Asked {
    /// The account's name; it is created where there is none.
    #[arg(long)]
    account: String,
    /// Fail where the account doesn't exist, in place of creating it.
    #[arg(long)]
    existing: bool,
    /// Make the account an admin's, and the token one that may operate the service.
    #[arg(long)]
    admin: bool,
    /// A scope beside `send verify read`; `on_behalf` is granted to the account too.
    #[arg(long = "scope", value_enum)]
    scopes: Vec<ExtraScope>,
    /// How long the token lives.
    #[arg(long, default_value = "24h", value_parser = duration)]
    ttl: Duration,
}

pub async fn run(config: &Config, asked: Asked) -> anyhow::Result<()> {
    let (database, store) = if asked.existing {
        backends::existing_tables_and_store(config).await?
    } else {
        backends::tables_and_store(config).await?
    };
    let known = database.account_by_name(&asked.account).await.context("the account")?.is_some();
    check_name(&asked, known)?;
    // Without the store, this machine's clock is right enough: a token may be used a little before its time.
    let answered = store.epoch().await.is_ok();
    let now = store.clock().now().filter(|_| answered).unwrap_or_else(unix_ms);
    let role = if asked.admin { Role::Admin } else { Role::Account };
    if asked.admin {
        warn_of_log_in(&database, &asked.account).await?;
    }
    let mut account =
        database.ensure_account(&asked.account, role, now).await.context("the account")?;
    if !known {
        notify(&format!("created account `{}`", asked.account))?;
    }
    let mut grants = Grant::USUAL.to_vec();
    grants.extend(asked.scopes.into_iter().map(Grant::from));
    if grants.contains(&Grant::OnBehalf) {
        let granted = database.grant_on_behalf(account.id, now).await.context("the account")?;
        account = granted.context("the account is gone")?;
    }
    // What the account just became it is at once also for processes that know it already. Without the
    // store this waits until they load it again; the token is good in any case.
    if let Err(error) = store.set_account_version(account.id, account.version).await {
        tracing::warn!(%error, "the code store wasn't told of the account");
    }
    if asked.admin {
        grants.push(Grant::Admin);
    }
    print(&issue(&config.keys, account.id, &grants, now, as_ms(asked.ttl))?)?;
    Ok(())
}

/// A new account has a name that somebody could register with; one that is there keeps its own.
fn check_name(asked: &Asked, known: bool) -> anyhow::Result<()> {
    let name = &asked.account;
    if !known && asked.existing {
        bail!("there is no account `{name}`; without --existing it would be created");
    }
    if !known && !registration::is_username(name) {
        bail!("--account: must be {USERNAME_RULE}");
    }
    Ok(())
}

/// Where registration is open anybody may have taken a name that an operator means to be his own.
async fn warn_of_log_in(database: &Database, name: &str) -> anyhow::Result<()> {
    let known = database.account_by_name(name).await.context("the account")?;
    let credentials = database.credentials(name).await.context("the account")?;
    if known.is_some_and(|account| account.role != Role::Admin)
        && credentials.is_some_and(|credentials| credentials.password_hash.is_some())
    {
        tracing::warn!(
            account.name = name,
            "this account was there, with a password: whoever knows that logs in as an admin now"
        );
    }
    Ok(())
}
