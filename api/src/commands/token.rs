//! `postrider-api token`: makes a token, and its account where there is none.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use postrider_common::config::Config;
use postrider_common::database::account::Role;

use super::print;
use crate::cli::{ExtraScope, duration};
use crate::clock::{as_ms, unix_ms};
use crate::connect;
use crate::token::{Grant, issue};

#[derive(Debug, Args)]
pub struct Asked {
    /// The account's name.
    #[arg(long)]
    account: String,
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
    let (database, store) = connect::tables_and_store(config).await?;
    let (now, role) = (unix_ms(), if asked.admin { Role::Admin } else { Role::Account });
    let mut account =
        database.ensure_account(&asked.account, role, now).await.context("the account")?;
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
