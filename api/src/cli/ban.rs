//! `postrider-api ban` and `unban`: the table first, since it is the truth; then the store, which enforces it.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::{Args, ValueEnum};
use postrider_common::config::Config;
use postrider_common::database::blacklist::{BanKind, BlacklistEntry};
use postrider_common::database::blacklist_write::Lift;

use super::{duration, print};
use crate::http::clock::{as_ms, rfc3339, unix_ms};
use crate::routes::blacklist::{self, is_safe};
use crate::server::backends;

/// What can be banned from the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Kind {
    Phone,
    #[value(name = "phone_prefix")]
    PhonePrefix,
    /// Checks of a phone by one account.
    #[value(name = "account_phone")]
    AccountPhone,
    Ip,
    Cidr,
}

impl From<Kind> for BanKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Phone => Self::Phone,
            Kind::PhonePrefix => Self::PhonePrefix,
            Kind::AccountPhone => Self::AccountPhone,
            Kind::Ip => Self::Ip,
            Kind::Cidr => Self::Cidr,
        }
    }
}

/// Who says so, in the table.
const BY: &str = "postrider-api";

#[derive(Debug, Args)]
pub struct Asked {
    #[command(flatten)]
    whom: Whom,
    /// How long; for good where it isn't said.
    #[arg(long = "for", value_parser = duration)]
    duration: Option<Duration>,
    /// Why, for whoever reads the list.
    #[arg(long, default_value = "")]
    reason: String,
    /// Ban a network wider than /8 (IPv6: /16), or a phone prefix with fewer than three digits after the country code; it is
    /// recorded.
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
pub struct Lifted {
    #[command(flatten)]
    whom: Whom,
    /// Why, for whoever reads the changes.
    #[arg(long, default_value = "")]
    reason: String,
}

#[derive(Debug, Args)]
struct Whom {
    #[arg(value_enum)]
    kind: Kind,
    /// `+8613800138000`, `7/+8613800138000` (an account's id and a phone), `203.0.113.7`, `203.0.113.0/24`.
    value: String,
}

impl Whom {
    /// In the one form in which the table holds it.
    fn normalised(&self, config: &Config) -> anyhow::Result<(BanKind, String)> {
        let rules = config.settings.phone_rules().map_err(|problem| anyhow!(problem))?;
        let kind = BanKind::from(self.kind);
        Ok((kind, kind.normalise(&self.value, &rules)?))
    }
}

pub async fn ban(config: &Config, asked: Asked) -> anyhow::Result<()> {
    let (kind, value) = asked.whom.normalised(config)?;
    let wide = kind.wide(&value);
    let now = unix_ms();
    let until = asked.duration.map(|duration| now.saturating_add(as_ms(duration)));
    let entry = BlacklistEntry {
        kind,
        value,
        reason: asked.reason,
        created_by: BY.to_owned(),
        until,
        create_time: now,
    };
    if is_safe(&config.settings.bans, kind, &entry.value) {
        bail!("it is on the safe list, [bans] safe_phones and safe_networks");
    }
    if let Some(why) = wide.filter(|_| !asked.force) {
        bail!("{why}: to ban it, add --force");
    }
    let (database, store) = backends::existing_tables_and_store(config).await?;
    blacklist::set(&database, &store, &entry, wide.is_some()).await.context("ban again")?;
    let end =
        until.map_or_else(|| "for good".to_owned(), |until| format!("until {}", rfc3339(until)));
    print(&format!("banned {kind} {end}"))?;
    Ok(())
}

pub async fn unban(config: &Config, lifted: &Lifted) -> anyhow::Result<()> {
    let (kind, value) = lifted.whom.normalised(config)?;
    let (database, store) = backends::existing_tables_and_store(config).await?;
    let reason = &lifted.reason;
    let lift = Lift { kind, value: &value, reason, by: BY, now: unix_ms() };
    let was_there = blacklist::lift(&database, &store, &lift).await.context("lift it again")?;
    print(if was_there { "the ban is lifted" } else { "there was no such ban" })?;
    Ok(())
}
