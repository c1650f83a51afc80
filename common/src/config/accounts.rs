//! `[accounts]`: who may register, how long a log-in lasts, how often one may fail, and the money's name.

use std::time::Duration;

use serde::Deserialize;

use super::values::{duration, list, optional_choice};
use crate::model::limits::Limit;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Accounts {
    /// `open` or `closed`, then an admin makes accounts; by default `open` embedded without `[jwt]`, else
    /// `closed`.
    #[serde(deserialize_with = "optional_choice")]
    pub registration: Option<Registration>,
    /// How long the token of a log-in lives, at most 31 days; `24h`.
    #[serde(deserialize_with = "duration")]
    pub session_ttl: Duration,
    /// The currency of balances, in ISO 4217's letters; `CNY`.
    pub currency: String,
    pub login_limits: LoginLimits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Registration {
    Open,
    Closed,
}

/// How often a log-in or a change of password may fail. A user name counts whether there is such an account or not.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoginLimits {
    /// For one user name from one address (IPv6: its /64); `10/10m`.
    #[serde(deserialize_with = "list")]
    pub account_ip: Vec<Limit>,
    /// For one user name from anywhere; `100/1h`. Below it nobody keeps an owner out from another address.
    #[serde(deserialize_with = "list")]
    pub account: Vec<Limit>,
    /// For all user names from one address (IPv6: its /64), new registrations counted apart by the same; `30/10m`.
    #[serde(deserialize_with = "list")]
    pub ip: Vec<Limit>,
}

impl Accounts {
    /// What is wrong with it: the key within the section, and why.
    pub(super) fn problem(&self) -> Option<(&'static str, &'static str)> {
        let ttl = self.session_ttl;
        let currency =
            self.currency.len() == 3 && self.currency.bytes().all(|b| b.is_ascii_uppercase());
        if ttl < Duration::from_secs(1) || ttl > Duration::from_hours(31 * 24) {
            Some(("session_ttl", "must be 1s to 31d"))
        } else if !currency {
            Some(("currency", "must be the three letters of an ISO 4217 currency, such as CNY"))
        } else {
            None
        }
    }
}

impl Default for Accounts {
    fn default() -> Self {
        Self {
            registration: None,
            session_ttl: Duration::from_hours(24),
            currency: "CNY".to_owned(),
            login_limits: LoginLimits::default(),
        }
    }
}

impl Default for LoginLimits {
    fn default() -> Self {
        let window = Duration::from_mins(10);
        Self {
            account_ip: vec![Limit { quota: 10, window }],
            account: vec![Limit { quota: 100, window: Duration::from_hours(1) }],
            ip: vec![Limit { quota: 30, window }],
        }
    }
}
